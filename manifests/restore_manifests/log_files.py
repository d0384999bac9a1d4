"""What stands beside a log's database: its key, its witness, and its errors in one sentence each."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import threading
import time
from typing import TYPE_CHECKING

from restore_manifests.checkpoint import SigningKey
from restore_manifests.errors import LogError, RestoreError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = [
    "CHECKPOINT_NAME",
    "KEY_NAME",
    "PATIENCE_SECONDS",
    "in_one_sentence",
    "load_key",
    "patiently",
    "read_witness",
    "sweep",
    "write_key",
    "write_witness",
]

KEY_NAME = "log.key"
CHECKPOINT_NAME = "checkpoint"
PATIENCE_SECONDS = 60.0
"""How long to wait for other processes that write."""

_STALE_SECONDS = 60.0
_PASSING = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_STORAGE = frozenset(
    {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM}
)


@contextlib.contextmanager
def in_one_sentence(folder: Path) -> Iterator[None]:
    """Turn what SQLite and the system raise into LogError or StorageError about the log in `folder`."""
    try:
        yield
    except RestoreError:
        raise
    except sqlite3.Error as error:
        raise _explained(error, folder) from error
    except UnicodeDecodeError as error:  # SQLite quotes damage that is no text
        raise LogError(
            f"The log in {folder} is damaged: it holds text that cannot be read.",
            hint="Keep it as it is, and restore a backup beside it.",
        ) from error
    except OSError as error:
        raise StorageError(
            f"The log in {folder} cannot be used ({error.strerror or error}).",
            hint="See that it is a folder that is yours to write, on a disk with space.",
        ) from error


def patiently(begin: Callable[[], object]) -> None:
    """Try again where SQLite gives up at once instead of waiting: turning WAL on, another's recovery."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            begin()
        except sqlite3.OperationalError as error:
            if _primary_code(error) not in _PASSING or time.monotonic() > deadline:
                raise
        else:
            return
        time.sleep(0.005 + secrets.randbelow(20) / 1000)


def load_key(folder: Path) -> SigningKey:
    """The log's key; raises LogError if it is missing or cannot be read as a key."""
    try:
        text = (folder / KEY_NAME).read_text(encoding="ascii")
    except FileNotFoundError:
        raise LogError(
            f"The key {KEY_NAME} of the log in {folder} is missing.", hint="Restore it from a backup."
        ) from None
    except UnicodeDecodeError:
        text = ""
    try:
        return SigningKey.parse(text.removesuffix("\n"))
    except LogError:
        raise LogError(
            f"The key {KEY_NAME} of the log in {folder} is damaged.", hint="Restore it from a backup."
        ) from None


def write_key(folder: Path, key: SigningKey) -> None:
    """Whole or not at all, for the owner's eyes only, and on the disk before the log that needs it.

    The caller holds the write lock of the database, so nobody else writes a key now.
    """
    unfinished = folder / f"{KEY_NAME}.tmp"
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii", newline="\n") as file:
        file.write(key.encode() + "\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(folder / KEY_NAME)
    with contextlib.suppress(OSError):  # Windows has no descriptor of a folder, and syncs renames itself
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_witness(folder: Path) -> str | None:
    """The checkpoint that stands beside the database; None if there is none."""
    try:
        note = (folder / CHECKPOINT_NAME).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        return "damaged"  # no signed note, and refused as such
    return note if note.strip("\0") else None  # a power cut may leave it blank: no witness, no alarm


def write_witness(folder: Path, note: str) -> None:
    """Best effort: the entries are safe already, so a failure here must not look like a failed append."""
    unfinished = folder / f"{CHECKPOINT_NAME}.{os.getpid()}.{threading.get_ident()}.tmp"
    with contextlib.suppress(OSError):
        unfinished.write_text(note, encoding="utf-8", newline="\n")
        unfinished.replace(folder / CHECKPOINT_NAME)


def sweep(folder: Path) -> None:
    """Remove what killed processes left of `write_witness`."""
    for leftover in folder.glob(f"{CHECKPOINT_NAME}.*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > _STALE_SECONDS:
                leftover.unlink()


def _explained(error: sqlite3.Error, folder: Path) -> RestoreError:
    code = _primary_code(error)
    if code == sqlite3.SQLITE_FULL:
        return StorageError(f"The disk of the log in {folder} is full.", hint="Free some space.")
    if code in _STORAGE:
        return StorageError(
            f"The log in {folder} cannot be read or written ({error}).",
            hint="See that the folder is on a local disk, has space, and is yours to write.",
        )
    if code in _PASSING:
        return LogError(f"The log in {folder} is kept busy by another program.", hint="Try again later.")
    if isinstance(error, sqlite3.ProgrammingError):
        return LogError(f"The log in {folder} is closed.")
    return LogError(
        f"The log in {folder} is damaged or is not a log ({error}).",
        hint="Keep it as it is, and restore a backup beside it.",
    )


def _primary_code(error: sqlite3.Error) -> int | None:
    """SQLite's primary result code; None where Python's own layer raised."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
