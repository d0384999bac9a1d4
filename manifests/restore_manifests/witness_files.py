"""A witness on one machine: its key, and what it has seen of each log, in one folder.

    witness.key                           the witness's Ed25519 key, readable by its owner only
    <SHA-256 of the origin>.checkpoint    the newest checkpoint of that log that was cosigned

A log is read from its static files (tiles.py), so that the witness needs nothing of the log but what
everybody may read, and its public key.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from restore_manifests.canonical import sha256_hex
from restore_manifests.checkpoint import COSIGNATURE, Checkpoint, SigningKey, VerifierKey, verify_checkpoint
from restore_manifests.errors import LogError, StorageError, VerificationError
from restore_manifests.merkle import consistency_path
from restore_manifests.private_files import write_private
from restore_manifests.tiles import TileReader
from restore_manifests.witness import cosign

__all__ = ["Witness"]

_KEY_NAME = "witness.key"
_LOCK_SECONDS = 60.0


class Witness:
    """The witness in one folder. Several processes may use it: one after the other."""

    def __init__(self, folder: Path, key: SigningKey) -> None:
        """Internal: use `Witness.open`."""
        self._folder = folder
        self._key = key

    @classmethod
    def open(cls, folder: Path, *, name: str) -> Witness:
        """The witness kept in `folder`; a new one called `name` if there is none.

        Raises LogError if its key is damaged or `name` cannot name one, StorageError.
        """
        with _locked(folder):
            path = folder / _KEY_NAME
            if not path.exists():
                if any(folder.glob("*.checkpoint")):
                    raise LogError(
                        f"The key {_KEY_NAME} of the witness in {folder} is missing.",
                        hint="Restore it from a backup.",
                    )
                key = SigningKey.generate(name, COSIGNATURE)
                write_private(path, f"{key.encode()}\n".encode())
            try:
                return cls(folder, SigningKey.parse(path.read_text("utf-8").strip(), COSIGNATURE))
            except (LogError, UnicodeDecodeError):
                raise LogError(
                    f"The key {_KEY_NAME} of the witness in {folder} is damaged.",
                    hint="Restore it from a backup.",
                ) from None

    @property
    def vkey(self) -> str:
        """The witness's public key, one line: what others need to check its cosignatures."""
        return self._key.verifier.encode()

    def last(self, log: VerifierKey) -> Checkpoint | None:
        """What was seen last of a log; raises LogError if that is damaged."""
        try:
            return verify_checkpoint(self._path(log).read_text("utf-8"), log)
        except FileNotFoundError:
            return None
        except (UnicodeDecodeError, VerificationError):
            raise LogError(
                f"What the witness in {self._folder} remembers of {log.name} is damaged, or was signed with "
                "another key of that log.",
                hint="Restore the folder from a backup; never delete it to go on.",
            ) from None

    def witness(self, tiles: Path, log: VerifierKey, at: datetime) -> str:
        """Cosign the checkpoint of the log in the static files `tiles`; returns it with the new line.

        What was seen is on the disk before. Raises VerificationError, signing and storing nothing, if the log
        was rolled back or forked or did not sign it; LogError for files that are missing, StorageError.
        """
        try:
            note = (tiles / "checkpoint").read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise LogError(
                f"There is no checkpoint of a log in {tiles}.", hint="Make one with: restore log export DIR"
            ) from error
        with _locked(self._folder):
            last, head = self.last(log), verify_checkpoint(note, log)
            proof: list[bytes] = []
            if last is not None and last.size <= head.size:
                reader = TileReader(lambda path: (tiles / path).read_bytes(), head.size)
                proof = consistency_path(reader, last.size, head.size)
            done = cosign(note, log=log, last=last, proof=proof, key=self._key, at=at)
            write_private(self._path(log), done.note.encode())
        return done.note

    def _path(self, log: VerifierKey) -> Path:
        return self._folder / f"{sha256_hex(log.name.encode())}.checkpoint"


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with FileLock(folder / ".lock", timeout=_LOCK_SECONDS):
            yield
    except Timeout as error:
        raise StorageError(f"Another program keeps the witness in {folder} busy.") from error
    except OSError as error:
        raise StorageError(
            f"The witness in {folder} cannot be used: {error.strerror or error}.",
            hint="Name a folder that is yours to write.",
        ) from error
