"""Timestamps of a log's states: an independent authority's word on when the log had come so far.

    {"schema": "restore.checkpoint-stamps/1",
     "checkpoint": "example.com/log\\n42\\n...",      the signed note
     "timestamps": ["MIIE...", ...]}                 RFC 3161 tokens (DER, base64) over its signed text

The signed text (origin, size and root hash, without the signature lines) is what is stamped: cosignatures may
be added to the note later, and everything that the root hash stands for existed at the time stated.

Pure: bytes, keys, roots and the time in, what they say out.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from cryptography import x509
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from restore_manifests.canonical import canonical_bytes, parse_json_strict
from restore_manifests.checkpoint import Checkpoint, VerifierKey, decode_base64, note_text, verify_checkpoint
from restore_manifests.errors import LogError, ManifestError
from restore_manifests.signing import Problem
from restore_manifests.timestamp import Stamp, verify_token

__all__ = ["MAX_STAMPS", "StampedCheckpoint"]

MAX_STAMPS = 64
_SCHEMA = "restore.checkpoint-stamps/1"


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    schema_: Annotated[Literal["restore.checkpoint-stamps/1"], Field(alias="schema")]
    checkpoint: Annotated[str, Field(max_length=1 << 20)]
    timestamps: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=100_000, pattern=r"^[A-Za-z0-9+/]+={0,2}$")]],
        Field(max_length=MAX_STAMPS),
    ]


@dataclass(frozen=True)
class StampedCheckpoint:
    """A checkpoint (C2SP signed note) and the timestamps over its signed text."""

    note: str
    tokens: tuple[bytes, ...] = ()

    @property
    def stamped_bytes(self) -> bytes:
        """What the timestamps are over."""
        return note_text(self.note).encode()

    def encode(self) -> bytes:
        """The document as it is stored. Raises LogError if it has more than MAX_STAMPS timestamps."""
        if len(self.tokens) > MAX_STAMPS:
            raise LogError(
                f"A checkpoint has at most {MAX_STAMPS} timestamps, and this one is full.",
                hint="It has been stamped often enough.",
            )
        tokens = [base64.b64encode(token).decode() for token in self.tokens]
        document = {"schema": _SCHEMA, "checkpoint": self.note, "timestamps": tokens}
        return canonical_bytes(document) + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> StampedCheckpoint:
        """Raises LogError if `data` is no such document; nothing that it says is verified."""
        try:
            document = _Document.model_validate(parse_json_strict(data))
            tokens = tuple(decode_base64(token) for token in document.timestamps)
        except (ManifestError, ValidationError, ValueError) as error:
            raise LogError(
                "The timestamps of a checkpoint cannot be read.",
                hint=f'The file is JSON with "schema": "{_SCHEMA}", as restore log stamp wrote it.',
            ) from error
        return cls(document.checkpoint, tokens)

    def verify(
        self, key: VerifierKey, roots: Sequence[x509.Certificate], now: datetime
    ) -> tuple[Checkpoint, list[Stamp | Problem]]:
        """What the log with `key` signed, and what each timestamp says of it under `roots`; `now` is aware.

        Raises VerificationError if the log did not sign it. A Problem with a code of timestamp.UNDECIDED says
        nothing against its token.
        """
        head = verify_checkpoint(self.note, key)
        return head, [verify_token(token, self.stamped_bytes, roots, now) for token in self.tokens]
