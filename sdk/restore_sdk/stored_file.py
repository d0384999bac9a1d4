"""Files that are hashed as they are read, and held in memory only where somebody needs their bytes."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

from restore_manifests.canonical import sha256_hex
from restore_manifests.errors import UsageError

__all__ = ["MAX_FILE_BYTES", "StoredFile", "file_size", "read_file", "sha256_of_file"]

MAX_FILE_BYTES = 4 * 1024**3
"""Of a result or a map; a larger file is a mistake or an attack on memory."""


class StoredFile:
    """A regular file that could be opened (the StoredFile of `verify_record`); its bytes are read once."""

    def __init__(self, path: Path, *, max_bytes: int = MAX_FILE_BYTES) -> None:
        """Raises UsageError as `read_file` does."""
        self._path = path
        self._max_bytes = max_bytes
        self._data: bytes | None = None
        self.size = file_size(path, max_bytes=max_bytes)
        try:
            path.open("rb").close()
        except OSError as error:
            raise _unreadable(path, error) from error

    def sha256(self) -> str:
        """SHA-256 of the bytes that `read` gave or, before it was called, of the file as it is now."""
        return sha256_of_file(self._path) if self._data is None else sha256_hex(self._data)

    def read(self) -> bytes:
        """The bytes, the same ones each time."""
        if self._data is None:
            self._data = read_file(self._path, max_bytes=self._max_bytes)
        return self._data


def file_size(path: Path, *, max_bytes: int = MAX_FILE_BYTES) -> int:
    """Of a regular file of at most `max_bytes`. Raises UsageError for everything else, with the reason."""
    try:
        found = path.stat()
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist.", hint="Check the path.") from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(found.st_mode):  # opening a pipe or device would block or act on it
        what = "is a folder" if stat.S_ISDIR(found.st_mode) else "is no regular file"
        raise UsageError(f"{path} {what}.", hint="Check the path.")
    if found.st_size > max_bytes:
        raise UsageError(
            f"{path} has more than {max_bytes:,} bytes.", hint="Check that it is the right file."
        )
    return found.st_size


def read_file(path: Path, *, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """The bytes of a regular file. Raises UsageError for everything else, with the reason."""
    file_size(path, max_bytes=max_bytes)
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def sha256_of_file(path: Path, *, max_bytes: int = MAX_FILE_BYTES) -> str:
    """SHA-256 of the bytes of a regular file, in hexadecimal. Raises UsageError as `read_file` does.

    Piece by piece: a buffer that stays in the processor's cache takes less time than one for the whole.
    """
    file_size(path, max_bytes=max_bytes)
    try:
        with path.open("rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UsageError:
    reason = getattr(error, "strerror", None) or error
    return UsageError(f"{path} cannot be read: {reason}.", hint="Check the path and its permissions.")
