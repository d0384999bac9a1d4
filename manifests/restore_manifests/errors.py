"""Every error that `restore` raises for a foreseeable reason.

    RestoreError                 exit 2
    +-- UsageError               exit 2   options that do not go together or name nothing
    +-- EvidenceError            exit 2   an input image that cannot be opened
    +-- ManifestError            exit 2   a manifest that cannot be read
    +-- KeyStoreError            exit 2   a key or certificate that cannot be read or made
    +-- LogError                 exit 2   a transparency log that is damaged or not ours
    +-- ModelError               exit 3   weights that are missing, damaged or refused
    +-- UndecidableError         exit 3   something needed to decide is missing
    +-- VerificationError        exit 1   a check failed where a caller asked for success
    +-- StorageError             exit 4   disk full, read-only folder

This module is the one leaf that every package may import; it imports the standard library only.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "EvidenceError",
    "KeyStoreError",
    "LogError",
    "ManifestError",
    "ModelError",
    "RestoreError",
    "StorageError",
    "UndecidableError",
    "UsageError",
    "VerificationError",
]


class RestoreError(Exception):
    """Root of the tree.

    `message` is one sentence that says what is wrong; `hint`, one that says what to do about it.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UsageError(RestoreError):
    """Options that do not go together, or that name something that does not exist."""


class EvidenceError(RestoreError):
    """An input image that is missing, truncated, too large, or not an image."""


class ManifestError(RestoreError):
    """A manifest that cannot be read or does not follow the schema."""


class KeyStoreError(RestoreError):
    """A key or certificate that cannot be read, made or used."""


class LogError(RestoreError):
    """A transparency log that is damaged, locked, or belongs to another origin."""


class ModelError(RestoreError):
    """Weights that are missing, damaged, or whose certificate does not hold."""

    exit_code: ClassVar[int] = 3


class UndecidableError(RestoreError):
    """Something needed to reach a verdict is missing."""

    exit_code: ClassVar[int] = 3


class VerificationError(RestoreError):
    """A check failed where the caller asked for success."""

    exit_code: ClassVar[int] = 1


class StorageError(RestoreError):
    """The result cannot be stored; whatever was there before is untouched."""

    exit_code: ClassVar[int] = 4
