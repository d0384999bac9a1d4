"""Results on disk: metadata carried, bundles whole or not at all, faults of the disk in one sentence."""

from __future__ import annotations

import errno
import hashlib
import io
import itertools
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import piexif
import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from restore_manifests.errors import StorageError, UsageError
from restore_sdk import output
from restore_sdk.bundle_names import BUNDLE_SUFFIXES
from restore_sdk.evidence import decode_evidence
from restore_sdk.output import encode_result, leftovers, recover, write_bundle

RGB = np.random.default_rng(3).integers(0, 256, (10, 20, 3), dtype=np.uint8)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def bundle(
    content: str, stem: str = "photo", suffixes: tuple[str, ...] = BUNDLE_SUFFIXES
) -> dict[str, bytes]:
    return {stem + suffix: f"{content} {suffix}".encode() for suffix in suffixes}


def inside(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def jpeg(exif: bytes, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "JPEG", exif=exif, **options)
    return buffer.getvalue()


# ---- the result's file -----------------------------------------------------------------------------------


def test_result_carries_metadata_and_stands_upright() -> None:
    note = bytes(range(256))
    exif = piexif.dump(
        {
            "0th": {piexif.ImageIFD.Orientation: 6, piexif.ImageIFD.Make: b"Maker"},
            "Exif": {
                piexif.ExifIFD.MakerNote: note,
                piexif.ExifIFD.PixelXDimension: 20,
                piexif.ExifIFD.PixelYDimension: 10,
                piexif.ExifIFD.DateTimeOriginal: b"2024:01:02 03:04:05",
            },
            "GPS": {piexif.GPSIFD.GPSLatitudeRef: b"N"},
            "1st": {piexif.ImageIFD.Compression: 6},
            "thumbnail": jpeg(b""),
        }
    )
    xmp = b"<x tiff:Orientation='6'/><tiff:Orientation>6</tiff:Orientation>"
    evidence = decode_evidence(
        jpeg(exif, xmp=xmp, icc_profile=SRGB, dpi=(300, 150), comment=b"seen"), "s.jpg"
    )
    assert evidence.pixels.shape == (20, 10, 3)
    pixels = np.repeat(np.repeat(evidence.pixels, 2, 0), 2, 1)

    data = encode_result(pixels, None, evidence)

    again = decode_evidence(data, "r.png")
    assert np.array_equal(again.pixels, pixels)
    assert again.orientation == 1
    assert again.icc == SRGB
    assert again.xmp == xmp.replace(b"6", b"1")
    assert again.text == {"Comment": "seen"}
    assert again.dpi == pytest.approx((300, 600), rel=1e-3)  # twice the pixels on the same paper, turned
    assert again.metadata_lost == ()
    assert again.exif is not None
    parts = piexif.load(b"Exif\0\0" + again.exif)
    assert parts["0th"][piexif.ImageIFD.Orientation] == 1
    assert parts["0th"][piexif.ImageIFD.Make] == b"Maker"
    assert parts["Exif"][piexif.ExifIFD.MakerNote] == note
    assert parts["Exif"][piexif.ExifIFD.PixelXDimension] == 20
    assert parts["Exif"][piexif.ExifIFD.PixelYDimension] == 40
    assert parts["GPS"][piexif.GPSIFD.GPSLatitudeRef] == b"N"
    assert parts["1st"] == {}
    assert parts["thumbnail"] is None
    # all the rest is where it was: maker notes hold offsets
    assert evidence.exif is not None
    assert len(again.exif) == len(evidence.exif)
    assert again.exif.index(note) == evidence.exif.index(note)
    assert data == encode_result(pixels, None, evidence)


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_of_either_byte_order_is_patched(order: str) -> None:
    block = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, 1)
    block += struct.pack(f"{order}HHIHH", 0x0112, 3, 1, 8, 0) + struct.pack(f"{order}I", 0)
    evidence = decode_evidence(jpeg(b"Exif\0\0" + block), "e.jpg")
    assert evidence.orientation == 8
    again = decode_evidence(encode_result(evidence.pixels, None, evidence), "r.png")
    assert again.orientation == 1
    assert again.exif == block[:18] + struct.pack(f"{order}H", 1) + block[20:]


@given(st.binary(max_size=120))
def test_damaged_exif_never_stops_a_result(rest: bytes) -> None:
    evidence = decode_evidence(jpeg(b"Exif\0\0II*\0\x08\0\0\0" + rest), "e.jpg")
    again = decode_evidence(encode_result(evidence.pixels, None, evidence), "r.png")
    assert np.array_equal(again.pixels, evidence.pixels)
    assert again.orientation == 1


def test_result_of_16_bit_with_alpha() -> None:
    wide = np.random.default_rng(1).integers(0, 65536, (6, 5, 4), dtype=np.uint16)
    text = PngImagePlugin.PngInfo()
    text.add_text("Zeuge", "Müller")
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "PNG", pnginfo=text)
    evidence = decode_evidence(buffer.getvalue(), "s.png")
    again = decode_evidence(encode_result(wide[..., :3], wide[..., 3], evidence), "r.png")
    assert np.array_equal(again.samples, wide)
    assert again.text == {"Zeuge": "Müller"}


# ---- bundles ---------------------------------------------------------------------------------------------


def test_bundle_is_written_and_nothing_else_stays(tmp_path: Path) -> None:
    where = tmp_path / "new" / "folder"
    paths = write_bundle(bundle("one"), where)
    assert inside(where) == bundle("one")
    assert paths == {name: where / name for name in bundle("one")}
    assert leftovers(where) == []


def test_existing_results_are_kept_without_force(tmp_path: Path) -> None:
    (tmp_path / "photo.edit.png").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"photo\.edit\.png already exists") as caught:
        write_bundle(bundle("two"), tmp_path)
    assert caught.value.exit_code == 2
    assert "--force" in caught.value.hint
    assert inside(tmp_path) == {"photo.edit.png": b"mine"}


def test_force_replaces_a_bundle_as_a_whole(tmp_path: Path) -> None:
    write_bundle(bundle("old"), tmp_path)
    write_bundle(bundle("other", "else"), tmp_path)
    fewer = bundle("new", suffixes=(".restored.png", ".manifest.json"))
    write_bundle(fewer, tmp_path, force=True)
    assert inside(tmp_path) == fewer | bundle("other", "else")


def test_force_leaves_files_of_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "photo.confidence.png").write_bytes(b"not of a bundle: there is no manifest")
    fewer = bundle("new", suffixes=(".restored.png", ".manifest.json"))
    write_bundle(fewer, tmp_path, force=True)
    assert "photo.confidence.png" in inside(tmp_path)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"a.restored.png": b""},
        {"a.manifest.json": b"", "b.manifest.json": b""},
        {"a.manifest.json": b"", "b.restored.png": b""},
        {"../a.manifest.json": b""},
        {"a.manifest.json": b"", "a./../../b": b""},
        {".manifest.json": b""},
        {".hidden.manifest.json": b""},
        {"a\0.manifest.json": b""},
    ],
)
def test_names_are_of_one_bundle(tmp_path: Path, files: dict[str, bytes]) -> None:
    with pytest.raises(UsageError):
        write_bundle(files, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folders_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(UsageError, match="is not a folder"):
        write_bundle(bundle("x"), tmp_path / "file")
    (tmp_path / "photo.restored.png").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        write_bundle(bundle("x"), tmp_path, force=True)
    assert leftovers(tmp_path) == []


def failing(number: int, after: int) -> Callable[[int], None]:
    """An fsync that fails on its `after`-th call, in whichever thread that is."""
    calls = itertools.count(1)

    def fsync(_: int) -> None:
        if next(calls) == after:
            raise OSError(number, os.strerror(number))

    return fsync


@pytest.mark.parametrize("after", range(1, 11))
@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.ENOSPC, "is full"), (errno.EROFS, "cannot be written to"), (errno.EIO, "cannot be stored")],
)
def test_failing_disk_leaves_the_old_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, says: str, after: int
) -> None:
    write_bundle(bundle("old"), tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(number, after))
        if after == 10:  # the folder, after every file is in place
            with pytest.raises(StorageError, match="stored but cannot be put in place"):
                write_bundle(bundle("new"), tmp_path, force=True)
        else:
            with pytest.raises(StorageError, match=says) as caught:
                write_bundle(bundle("new"), tmp_path, force=True)
            assert caught.value.exit_code == 4
            assert leftovers(tmp_path) == []
    recover(tmp_path)
    assert inside(tmp_path) == bundle("new" if after == 10 else "old")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no descriptors of folders")
def test_what_the_commit_promises_is_on_the_disk_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file and both folders are synced before the journal has its name, and that before any move."""
    events: list[tuple[str, int | str]] = []  # in whichever thread, in the order in which they ended
    true_sync, true_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        true_sync(descriptor)
        events.append(("sync", os.fstat(descriptor).st_ino))

    def replace(self: Path, target: Path) -> Path:
        events.append(("rename", target.name))
        if target.name == "restore-commit.json":
            inodes.update({path.name: path.stat().st_ino for path in self.parent.iterdir()})
            inodes["staging"] = self.parent.stat().st_ino
        return true_replace(self, target)

    inodes: dict[str, int] = {"target": tmp_path.stat().st_ino}
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        patch.setattr(Path, "replace", replace)
        write_bundle(bundle("new"), tmp_path)
    at = events.index(("rename", "restore-commit.json"))
    staged = {*bundle("new"), "restore-commit.json.tmp"}
    assert inodes.keys() == {*staged, "target", "staging"}
    before = [what for kind, what in events[:at] if kind == "sync"]
    assert set(before) == set(inodes.values())
    assert before[-1] == inodes["staging"]  # which thereby names all of them
    assert events[at + 1] == ("sync", inodes["staging"])
    assert {what for kind, what in events[at + 2 : -1] if kind == "rename"} == set(bundle("new"))
    assert events[-2:] == [("rename", "photo.manifest.json"), ("sync", inodes["target"])]


def test_hashes_that_are_known_are_not_made_again_and_are_held_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = bundle("new")
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    with monkeypatch.context() as patch:
        patch.setattr(output, "sha256_hex", lambda data: 1 // 0)
        paths = write_bundle(files, tmp_path / "whole", digests=digests)
    assert inside(tmp_path / "whole") == files
    assert paths.keys() == files.keys()
    wrong = digests | {"photo.edit.png": "0" * 64}
    with monkeypatch.context() as patch:
        patch.setattr(output, "_place", lambda *_: None)  # killed once it was committed
        write_bundle(files, tmp_path / "cut", digests=wrong)
    with pytest.raises(StorageError, match="is damaged"):
        recover(tmp_path / "cut")


def test_read_only_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with pytest.raises(StorageError, match="cannot be written to"):
        write_bundle(bundle("x"), tmp_path)
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StorageError, match="cannot be written to"):
        write_bundle(bundle("x"), tmp_path / "new")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder_for_real(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(StorageError, match="cannot be written to"):
            write_bundle(bundle("x"), tmp_path)
    finally:
        tmp_path.chmod(0o755)


def test_another_run_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "_LOCK_SECONDS", 0.05)
    with FileLock(tmp_path / ".restore.lock"), pytest.raises(StorageError, match="Another run"):
        write_bundle(bundle("x"), tmp_path)
    write_bundle(bundle("x"), tmp_path)


# ---- what killed runs leave ------------------------------------------------------------------------------


def interrupted(directory: Path, monkeypatch: pytest.MonkeyPatch, renames: int) -> None:
    """Leave `directory` as a power cut after so many renames of a forced write would."""
    true_replace = Path.replace
    done = 0

    def replace(self: Path, target: Path) -> Path:
        nonlocal done
        if done == renames:
            raise OSError(errno.EIO, "power cut")
        done += 1
        return true_replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        patch.setattr(output, "_discard", lambda _: None)
        with pytest.raises(StorageError):
            write_bundle(bundle("new"), directory, force=True)


@pytest.mark.parametrize("renames", range(6))
def test_recovery_gives_old_or_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int) -> None:
    write_bundle(bundle("old"), tmp_path)
    interrupted(tmp_path, monkeypatch, renames)
    assert len(leftovers(tmp_path)) == 1
    done = recover(tmp_path)
    committed = renames > 0  # the first rename is the journal's
    assert (done.finished, done.swept) == ((("photo",), ()) if committed else ((), ("photo",)))
    assert inside(tmp_path) == bundle("new" if committed else "old")
    assert leftovers(tmp_path) == []
    assert recover(tmp_path) == output.Recovery()


def test_the_next_write_settles_what_was_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bundle(bundle("old"), tmp_path)
    interrupted(tmp_path, monkeypatch, 2)
    write_bundle(bundle("other", "else"), tmp_path)
    assert inside(tmp_path) == bundle("new") | bundle("other", "else")


def test_lock_file_of_the_dead_goes(tmp_path: Path) -> None:
    (tmp_path / ".restore.lock").write_bytes(b"")
    recover(tmp_path)
    assert inside(tmp_path) == {}


def test_recovery_where_there_is_nothing(tmp_path: Path) -> None:
    assert recover(tmp_path) == output.Recovery()
    assert recover(tmp_path / "none") == output.Recovery()
    (tmp_path / ".photo.restore-partial-0123456789abcdef").write_bytes(b"a file of that name is nobody's")
    assert leftovers(tmp_path) == []


def journal(name: str = "a.manifest.json", content: bytes = b"m", remove: str = "a.edit.png") -> bytes:
    entry = {"name": name, "sha256": hashlib.sha256(content).hexdigest()}
    return json.dumps({"schema": "restore.commit/1", "files": [entry], "remove": [remove]}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        journal().replace(b"commit/1", b"commit/2"),
        journal(name="../a.manifest.json"),
        journal(remove="../../precious"),
        journal(content=b"another"),
    ],
    ids=["empty", "list", "deep", "schema", "escape", "removes-elsewhere", "changed-file"],
)
def test_damaged_or_forged_journals_move_nothing(tmp_path: Path, data: bytes) -> None:
    partial = tmp_path / ".a.restore-partial-0123456789abcdef"
    partial.mkdir()
    (partial / "a.manifest.json").write_bytes(b"m")
    (partial / "restore-commit.json").write_bytes(data)
    with pytest.raises(StorageError, match="is damaged"):
        recover(tmp_path)
    assert inside(tmp_path) == {}
    assert (partial / "a.manifest.json").exists()
    (partial / "restore-commit.json").write_bytes(journal())
    assert recover(tmp_path).finished == ("a",)
