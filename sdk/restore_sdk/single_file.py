"""One file written whole or not at all, and never over another one unasked."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from restore_manifests.errors import StorageError, UsageError

__all__ = ["check_place", "write_file"]


def check_place(path: Path, *, force: bool = False) -> None:
    """Raises UsageError if no file can be written to `path`, or one is there and not `force`."""
    if path.is_dir() or not path.parent.is_dir():
        why = "it is a folder" if path.is_dir() else "there is no such folder"
        raise UsageError(f"{path} cannot be written: {why}.", hint="Name a file in a folder that exists.")
    if path.exists() and not force:
        raise UsageError(f"{path} already exists.", hint="Name another file, or replace it with --force.")


def write_file(path: Path, data: bytes | Iterable[bytes], *, force: bool = False) -> None:
    """Write `data`, whole or in parts, to `path`, all of it or nothing.

    Raises UsageError as `check_place` does, StorageError if it cannot be stored.
    """
    check_place(path, force=force)
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as stream:
            stream.writelines([data] if isinstance(data, bytes) else data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror}.",
            hint="Name a file in a folder where you can write.",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
