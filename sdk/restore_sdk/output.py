"""Results on disk: one PNG with the source's metadata, and bundles that are written whole or not at all.

A bundle's files cannot be renamed in one step, so a commit is made restartable. All files are staged in a
hidden folder `.<stem>.restore-partial-<random>` of the target folder; then a journal appears in it under
its final name, which is the moment of commit; then each file is renamed into place, the manifest last. A
staging folder without a journal belongs to a run that was killed before its commit and is swept away; one
with a journal is finished. Everything happens under one lock per folder, so whatever is found while holding
it is left from the dead.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import struct
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from restore_manifests.canonical import sha256_hex
from restore_manifests.errors import StorageError, UsageError
from restore_manifests.pixels import encode_png
from restore_sdk.bundle_names import BUNDLE_SUFFIXES, MANIFEST_SUFFIX
from restore_sdk.evidence import Evidence

__all__ = [
    "Recovery",
    "check_vacant",
    "encode_result",
    "leftovers",
    "recover",
    "replace_file",
    "write_bundle",
]

_LOCK_NAME = ".restore.lock"
_JOURNAL = "restore-commit.json"
_SCHEMA = "restore.commit/1"
_PARTIAL = re.compile(r"\..*\.restore-partial-[0-9a-f]{16}")
_LOCK_SECONDS = 120.0


@dataclass(frozen=True)
class Recovery:
    """What `recover` did, each folder by its stem."""

    finished: tuple[str, ...] = ()
    swept: tuple[str, ...] = ()


def encode_result(pixels: NDArray[Any], alpha: NDArray[Any] | None, evidence: Evidence) -> bytes:
    """A PNG of upright `pixels` (uint8 or uint16, `(H, W)` or `(H, W, 3)`) with the metadata of its source.

    ICC profile, EXIF, XMP, texts and resolution are carried. EXIF stays byte for byte where it is (maker
    notes hold offsets that a rewriting would break) but for three things: orientation becomes 1, the
    recorded width and height become those of `pixels`, and the thumbnail, which shows the source, is
    unlinked. The resolution grows with the size, so that the picture keeps its extent on paper. Raises
    UsageError for arrays that PNG cannot carry.
    """
    height, width = pixels.shape[:2]
    text = dict(evidence.text)
    if evidence.xmp:
        packet = re.sub(rb"(tiff:Orientation(?:=[\"']|>))[1-8]", rb"\g<1>1", evidence.xmp)
        text["XML:com.adobe.xmp"] = packet.decode()
    dpi = evidence.dpi
    if dpi:
        dpi = (dpi[0] * width / evidence.width, dpi[1] * height / evidence.height)
    return encode_png(
        pixels if alpha is None else np.dstack((pixels, alpha)),
        icc=evidence.icc,
        exif=_exif_of_result(evidence.exif, width, height) if evidence.exif else None,
        text=text,
        dpi=dpi,
    )


def _exif_of_result(exif: bytes, width: int, height: int) -> bytes:
    """Patch orientation and sizes in place (TIFF 6.0, section 2; JEITA CP-3451, 4.6.8) and unlink IFD1."""
    block = bytearray(exif)
    order = "<" if exif[:2] == b"II" else ">"
    wanted = {0x0112: 1, 0xA002: width, 0xA003: height}

    def patch(start: int) -> int | None:
        """Patch one directory, unlink what follows it, and return where the EXIF directory is."""
        inner = None
        (count,) = struct.unpack_from(f"{order}H", block, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, number = struct.unpack_from(f"{order}HHI", block, at)
            if tag in wanted and number == 1 and wanted[tag] < {3: 1 << 16, 4: 1 << 32}.get(kind, 0):
                struct.pack_into(f"{order}{'H' if kind == 3 else 'I'}", block, at + 8, wanted[tag])
            elif tag == 0x8769:
                (inner,) = struct.unpack_from(f"{order}I", block, at + 8)
        with contextlib.suppress(struct.error):  # some writers leave out the final link
            struct.pack_into(f"{order}I", block, start + 2 + 12 * count, 0)
        return inner

    with contextlib.suppress(struct.error):  # a directory cut short: what can be patched has been
        inner = patch(*struct.unpack_from(f"{order}I", block, 4))
        if inner is not None:
            patch(inner)
    return bytes(block)


def write_bundle(
    files: Mapping[str, bytes],
    directory: Path,
    *,
    force: bool = False,
    digests: Mapping[str, str] | None = None,
) -> dict[str, Path]:
    """Write the files of one bundle, all or none, and return where each one is.

    `files` maps names to contents: one `<stem>.manifest.json`, and others that begin with `<stem>.`. The
    folder is made if need be, and what killed runs left in it is settled first. With `force` an older
    bundle of the same stem is replaced as a whole: its files that the new one does not have go as well.
    `digests` gives the SHA-256 of files by name, as far as the caller has made it from these bytes; a commit
    that was cut short is only completed with files that have it.

    Raises UsageError, having written nothing, where one of the files exists and `force` is not set, or the
    folder is none; StorageError for a full disk, a read-only folder, or a lock that another run does not
    give back.
    """
    names = _in_order(files)
    stem = names[-1].removesuffix(MANIFEST_SUFFIX)
    with _storage(directory):
        if directory.exists() and not directory.is_dir():
            raise UsageError(f"{directory} is not a folder.", hint="Name a folder for the results.")
        directory.mkdir(parents=True, exist_ok=True)
        with _locked(directory):
            _settle(directory)
            present = check_vacant(names, directory, force=force)
            if folders := [name for name in present if (directory / name).is_dir()]:
                raise UsageError(f"{folders[0]} in {directory} is a folder.", hint="Move it elsewhere.")
            stale = [stem + suffix for suffix in BUNDLE_SUFFIXES if stem + suffix not in files]
            stale = [name for name in stale if names[-1] in present and (directory / name).is_file()]
            partial = _stage(directory, stem, {name: files[name] for name in names}, stale, digests or {})
            _place(partial, directory, names, stale)
    return {name: directory / name for name in names}


def check_vacant(names: Sequence[str], directory: Path, *, force: bool) -> list[str]:
    """Which of the files exist already; raises UsageError if there is one and `force` is not set."""
    present = [name for name in names if os.path.lexists(directory / name)]
    if present and not force:
        raise UsageError(
            f"{present[0]} already exists in {directory}.",
            hint="Choose another folder for the results, or replace them with --force.",
        )
    return present


def replace_file(path: Path, data: bytes, *, before: bytes) -> None:
    """Put `data` in the place of `path`, which holds `before`, in one step.

    Raises UsageError, having changed nothing, where somebody else has changed the file meanwhile, and
    StorageError as `write_bundle` does.
    """
    with _storage(path.parent), _locked(path.parent):
        temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
        try:
            if path.read_bytes() != before:
                raise UsageError(f"{path} was changed by another program meanwhile.", hint="Run it again.")
            _write(temporary, data)
            temporary.chmod(path.stat().st_mode & 0o777)
            temporary.replace(path)
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def leftovers(directory: Path) -> list[Path]:
    """Staging folders in `directory`, of killed runs or of one that is writing now. Nothing is changed."""
    try:
        found = [path for path in directory.iterdir() if _PARTIAL.fullmatch(path.name)]
        return sorted(path for path in found if path.is_dir() and not path.is_symlink())
    except OSError:
        return []


def recover(directory: Path) -> Recovery:
    """Finish the commits and sweep away the stagings that killed runs left in `directory`.

    A run that is writing there at the same time is waited for, not disturbed. Where nothing is left,
    nothing is touched. Raises StorageError where something is left and cannot be settled.
    """
    if leftovers(directory):
        with _storage(directory), _locked(directory):
            return _settle(directory)
    if (directory / _LOCK_NAME).exists():  # a run killed before it staged anything
        with contextlib.suppress(OSError), _locked(directory, seconds=0):
            pass
    return Recovery()


def _in_order(files: Mapping[str, bytes]) -> list[str]:
    """The names, manifest last; UsageError unless they are plain names of one bundle."""
    manifests = [name for name in files if name.endswith(MANIFEST_SUFFIX)]
    if len(manifests) != 1:
        raise UsageError(
            f"A bundle has one manifest, not {len(manifests)}.", hint=f"Its name ends {MANIFEST_SUFFIX}."
        )
    stem = manifests[0].removesuffix(MANIFEST_SUFFIX)
    for name in files:
        if not _is_plain(name) or not stem or not name.startswith(f"{stem}."):
            raise UsageError(
                f"{name!a} is not a name for a file of the bundle {stem!a}.", hint="Rename the source."
            )
    return [*(name for name in files if name != manifests[0]), manifests[0]]


def _is_plain(name: str) -> bool:
    return not name.startswith(".") and Path(name).name == name and "\0" not in name


def _stage(
    directory: Path, stem: str, files: Mapping[str, bytes], stale: Sequence[str], digests: Mapping[str, str]
) -> Path:
    partial = directory / f".{stem[:40]}.restore-partial-{secrets.token_hex(8)}"
    journal = {
        "schema": _SCHEMA,
        "files": [{"name": n, "sha256": digests.get(n) or sha256_hex(data)} for n, data in files.items()],
        "remove": list(stale),
    }
    staged = {**files, f"{_JOURNAL}.tmp": json.dumps(journal).encode()}
    partial.mkdir()
    try:
        # most of it is waiting for the disk, which is quicker with all that is to be synced than one by one
        with ThreadPoolExecutor(len(staged) + 1) as pool:
            waiting = [pool.submit(_sync_folder, directory)]
            waiting += [pool.submit(_write, partial / name, data) for name, data in staged.items()]
        for one in waiting:
            one.result()
        _sync_folder(partial)  # everything is on the disk before the name that says so
        (partial / f"{_JOURNAL}.tmp").replace(partial / _JOURNAL)
        _sync_folder(partial)
    except BaseException:
        _discard(partial)
        raise
    return partial


def _finish(partial: Path, directory: Path) -> None:
    """Carry out a committed staging that a killed run left; it can be repeated from any point."""
    _place(partial, directory, *_read_journal(partial))


def _place(partial: Path, directory: Path, files: Sequence[str], stale: Sequence[str]) -> None:
    """Move the staged `files` into place, in order, after removing the `stale` ones of an older bundle."""
    try:
        for name in stale:
            (directory / name).unlink(missing_ok=True)
        for name in files:
            if (partial / name).exists():
                (partial / name).replace(directory / name)
        _sync_folder(directory)
    except OSError as error:
        raise StorageError(
            f"The bundle in {directory} is stored but cannot be put in place: {error.strerror or error}.",
            hint="Close programs that hold its old files open; the next run completes it.",
        ) from error
    _discard(partial)


def _read_journal(partial: Path) -> tuple[list[str], list[str]]:
    """Names to move, in order, and names to remove. Nothing is moved that is not what was staged."""
    try:
        journal = json.loads((partial / _JOURNAL).read_bytes())
        digests = {str(entry["name"]): entry["sha256"] for entry in journal["files"]}
        stale = [str(name) for name in journal["remove"]]
        names = _in_order(dict.fromkeys([*digests, *stale], b""))
        if journal["schema"] != _SCHEMA or names[-1] not in digests:
            raise ValueError("not a journal")
        for name, digest in digests.items():
            staged = partial / name
            if staged.is_symlink() or (staged.exists() and _sha256(staged) != digest):
                raise ValueError(name)
    except (ValueError, KeyError, TypeError, RecursionError, UsageError) as error:
        raise StorageError(
            f"An unfinished write in {partial.parent} is damaged: {partial.name}.",
            hint="Move that hidden folder elsewhere and run again.",
        ) from error
    return [name for name in names if name in digests], stale


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _settle(directory: Path) -> Recovery:
    """Settle what is left in `directory`, whose lock is held: nobody alive can own any of it."""
    finished, swept = [], []
    for partial in leftovers(directory):
        stem = partial.name[1:].rpartition(".restore-partial-")[0]
        if (partial / _JOURNAL).exists():
            _finish(partial, directory)
            finished.append(stem)
        else:
            _discard(partial)
            swept.append(stem)
    return Recovery(tuple(finished), tuple(swept))


def _discard(partial: Path) -> None:
    # the journal first: without it, a removal that is itself cut short is never taken for a commit
    (partial / _JOURNAL).unlink(missing_ok=True)
    shutil.rmtree(partial, ignore_errors=True)


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(directory: Path) -> None:
    if os.name != "nt":  # Windows cannot open folders, and makes renames durable by itself
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _locked(directory: Path, *, seconds: float | None = None) -> Iterator[None]:
    """Hold the folder's lock; the system frees it when its holder dies, and its file goes with it."""
    lock = FileLock(
        directory / _LOCK_NAME, timeout=_LOCK_SECONDS if seconds is None else seconds, poll_interval=0.01
    )
    with lock:
        try:
            yield
        finally:
            if (
                os.name != "nt"
            ):  # waiters notice that the file they hold open has no name any more, and start over
                (directory / _LOCK_NAME).unlink(missing_ok=True)
    if os.name == "nt":
        with contextlib.suppress(OSError):  # refused while another run has it open: that run will remove it
            (directory / _LOCK_NAME).unlink()


@contextlib.contextmanager
def _storage(directory: Path) -> Iterator[None]:
    """Turn what the system says into one sentence."""
    try:
        yield
    except Timeout as error:
        raise StorageError(
            f"Another run has been writing into {directory} for {_LOCK_SECONDS:.0f} seconds.",
            hint="Wait until it ends, or use another folder for the results.",
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
            message, hint = f"The disk that holds {directory} is full.", "Free some space and run again."
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            message, hint = f"{directory} cannot be written to.", "Choose another folder for the results."
        else:
            message = f"The result cannot be stored in {directory}: {error.strerror or error}."
            hint = "Choose another folder for the results."
        raise StorageError(message, hint=f"{hint} Nothing was changed.") from error
