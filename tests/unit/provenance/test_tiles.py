"""The log as static files: read back by a client of a few lines that knows only c2sp.org/tlog-tiles."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pymerkle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_cli.__main__ import main
from restore_manifests.checkpoint import VerifierKey, verify_checkpoint
from restore_manifests.errors import LogError, StorageError
from restore_manifests.log import TransparencyLog
from restore_manifests.merkle import (
    consistency_path,
    inclusion_path,
    leaf_hash,
    tree_root,
    verify_consistency_path,
    verify_inclusion_path,
)
from restore_manifests.tiles import TileReader, export_tiles, tile_path

# ---- the independent client: nothing of restore in it ----------------------------------------------------


def client_path(level: str, number: int, width: int) -> str:
    digits = f"{number:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    name = "/".join(["x" + group for group in groups[:-1]] + groups[-1:])
    return f"tile/{level}/{name}" + ("" if width == 256 else f".p/{width}")


def client_entries(folder: Path, size: int) -> Iterator[bytes]:
    for start in range(0, size, 256):
        data = (folder / client_path("entries", start // 256, min(256, size - start))).read_bytes()
        while data:
            length = int.from_bytes(data[:2], "big")
            yield data[2 : 2 + length]
            data = data[2 + length :]


def client_hashes(folder: Path, level: int, count: int) -> list[bytes]:
    row: list[bytes] = []
    for start in range(0, count, 256):
        tile = (folder / client_path(str(level), start // 256, min(256, count - start))).read_bytes()
        row += [tile[i : i + 32] for i in range(0, len(tile), 32)]
    assert len(row) == count
    return row


def mth(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + mth(leaves[:split]) + mth(leaves[split:])).digest()


def client_root(folder: Path, size: int) -> bytes:
    """The root over the lowest tiles; every level above has to be the roots of the full tiles below."""
    level, row = 0, client_hashes(folder, 0, size)
    root = mth(row)
    while len(row) >= 256:
        expected = [mth(row[i : i + 256]) for i in range(0, len(row) - 255, 256)]
        level += 1
        row = client_hashes(folder, level, len(expected))
        assert row == expected
    return root


# ---- tests -----------------------------------------------------------------------------------------------


def filled(folder: Path, size: int) -> TransparencyLog:
    log = TransparencyLog.open(folder, origin="test.example/log")
    log.append_many([b"entry %d" % number * (1 + number % 3) for number in range(size)])
    return log


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 511, 512, 700, 65536 + 3])
def test_an_independent_client_reads_it_back(tmp_path: Path, size: int) -> None:
    with filled(tmp_path / "log", size) as log:
        done = export_tiles(log, tmp_path / "public")
        entries = list(log.entries())
    note = (tmp_path / "public" / "checkpoint").read_text("utf-8")
    origin, count, root = note.split("\n")[:3]
    assert (done.checkpoint, done.size, done.left_out) == (note, size, ())
    assert (origin, int(count)) == ("test.example/log", size)
    assert list(client_entries(tmp_path / "public", size)) == entries
    if size:
        assert client_root(tmp_path / "public", size) == base64.b64decode(root)
        tree = pymerkle.InmemoryTree.init_from_entries(entries)
        assert tree.get_root(size) == base64.b64decode(root)
    else:
        assert [path.name for path in (tmp_path / "public").iterdir()] == ["checkpoint"]


def test_it_grows_and_keeps_what_was_published(tmp_path: Path) -> None:
    public = tmp_path / "public"
    with filled(tmp_path / "log", 300) as log:
        export_tiles(log, public)
        before = {path: path.read_bytes() for path in public.rglob("*") if path.is_file()}
        log.append_many([b"more"] * 300)
        export_tiles(log, public)
        root = verify_checkpoint(log.checkpoint(), VerifierKey.parse(log.vkey)).root
    kept = {path: path.read_bytes() for path in before if path.name != "checkpoint"}
    assert kept.items() <= before.items()
    assert client_root(public, 600) == root


def test_another_history_is_not_written_over_it(tmp_path: Path) -> None:
    with filled(tmp_path / "one", 300) as log:
        export_tiles(log, tmp_path / "public")
    before = (tmp_path / "public" / "checkpoint").read_bytes()
    with TransparencyLog.open(tmp_path / "two", origin="test.example/log") as other:
        other.append_many([b"another"] * 300)
        with pytest.raises(LogError, match="of another log, or of another history"):
            export_tiles(other, tmp_path / "public")
    assert (tmp_path / "public" / "checkpoint").read_bytes() == before


def test_an_entry_too_long_for_the_format_is_left_out(tmp_path: Path) -> None:
    with TransparencyLog.open(tmp_path / "log") as log:
        log.append_many([b"x" * 65_535, b"short"])
        assert export_tiles(log, tmp_path / "fits").left_out == ()
        log.append(b"x" * 65_536)
        done = export_tiles(log, tmp_path / "public")
        root = verify_checkpoint(done.checkpoint, VerifierKey.parse(log.vkey)).root
    assert done.left_out == ("tile/entries/000.p/3",)
    assert client_root(tmp_path / "public", 3) == root


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with filled(tmp_path / "log", 3) as log, pytest.raises(StorageError, match="cannot be written"):
        export_tiles(log, tmp_path / "file" / "public")


@given(st.integers(0, 10**12), st.integers(1, 256))
def test_paths_are_those_of_the_specification(number: int, width: int) -> None:
    assert tile_path(3, number, width) == client_path("3", number, width)
    assert tile_path(0, 1234067) == "tile/0/x001/x234/067"


@pytest.mark.parametrize("size", [1, 256, 300, 1000])
def test_proofs_from_tiles(tmp_path: Path, size: int) -> None:
    with filled(tmp_path / "log", size) as log:
        export_tiles(log, tmp_path / "public")
        head = verify_checkpoint(log.checkpoint(), VerifierKey.parse(log.vkey))
        entries = list(log.entries())
    reader = TileReader(lambda path: (tmp_path / "public" / path).read_bytes(), size)
    assert tree_root(reader, size) == head.root
    for index in {0, size // 2, size - 1}:
        path = inclusion_path(reader, index, size)
        assert verify_inclusion_path(leaf_hash(entries[index]), index, size, path, head.root)
        old = index + 1
        proof = consistency_path(reader, old, size)
        assert verify_consistency_path(old, size, tree_root(reader, old), head.root, proof)


def test_tiles_that_are_missing_or_short(tmp_path: Path) -> None:
    with filled(tmp_path / "log", 300) as log:
        export_tiles(log, tmp_path / "public")
    fetched = TileReader(lambda path: (tmp_path / "public" / path).read_bytes(), 301)
    with pytest.raises(LogError, match="cannot be read"):
        fetched(0, 300)
    with pytest.raises(LogError, match="3 bytes instead of"):
        TileReader(lambda _: b"abc", 300)(0, 1)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with filled(tmp_path / "log", 3):
        pass
    words = ["log", "export", str(tmp_path / "public"), "--log", str(tmp_path / "log")]
    assert main(words) == 0
    assert main(words) == 0
    assert "3 entries of test.example/log" in capsys.readouterr().out
    assert (tmp_path / "public" / "tile" / "0" / "000.p" / "3").is_file()
