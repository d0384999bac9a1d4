"""Files of models and training, written whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from restore_manifests.errors import StorageError

__all__ = ["write_whole"]


def write_whole(path: Path, data: bytes) -> None:
    """All of `data` or none of it, in a folder that is made if need be.

    Raises:
        StorageError: if the folder cannot be written.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as problem:
        raise StorageError(
            f"{path} cannot be written: {problem.strerror}.",
            hint="Free some space or name a folder that you can write to.",
        ) from problem
