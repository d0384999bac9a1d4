"""Proof that some bytes are in a transparency log: one small text file, checked offline.

Source: c2sp.org/tlog-proof.

    c2sp.org/tlog-proof@v1
    extra <base64>            optional, not authenticated
    index 7
    <base64 hash>             the inclusion path, RFC 9162 section 2.1.3.1, one hash a line
    ...
                              blank line
    <checkpoint>              c2sp.org/tlog-checkpoint, verbatim

Pure, and free of any database: this is all that a verifier needs.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from enum import StrEnum

from restore_manifests.checkpoint import VerifierKey, decode_base64, parse_decimal, verify_checkpoint
from restore_manifests.errors import LogError, VerificationError
from restore_manifests.merkle import HASH_BYTES, MAX_PATH, leaf_hash, verify_inclusion_path

__all__ = ["IncludedAt", "LogProof", "LogProofError", "ProofPart", "verify_inclusion"]

_FIRST_LINE = "c2sp.org/tlog-proof@v1"
_MAX_EXTRA = 1 << 20


class ProofPart(StrEnum):
    """Which half of a log proof failed."""

    INCLUSION = "inclusion"
    """The entry is not at that place under that root, or the path cannot be read."""
    CHECKPOINT = "checkpoint"
    """The root is not vouched for by the log's key."""


class LogProofError(VerificationError):
    """A log proof does not hold; `part` says which half. INCLUSION means that the checkpoint did hold."""

    def __init__(self, message: str, *, part: ProofPart, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.part = part


@dataclass(frozen=True)
class IncludedAt:
    """What a valid proof says: these bytes are entry `index` of that log when it had `tree_size` entries."""

    origin: str
    index: int
    tree_size: int
    root_hex: str


@dataclass(frozen=True)
class LogProof:
    """The parts of a proof text, nothing of it checked yet."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: str
    """The signed note, verbatim."""
    extra: bytes | None = None
    """Opaque and NOT authenticated: never trust it."""

    def encode(self) -> str:
        lines = [_FIRST_LINE]
        if self.extra is not None:
            lines.append(f"extra {base64.b64encode(self.extra).decode('ascii')}")
        lines.append(f"index {self.index}")
        lines += [base64.b64encode(step).decode("ascii") for step in self.path]
        return "\n".join(lines) + f"\n\n{self.checkpoint}"

    @classmethod
    def parse(cls, text: str) -> LogProof:
        """Raises LogProofError if the text does not follow c2sp.org/tlog-proof."""
        head, checkpoint = _halves(text)
        return _parse_head(head, checkpoint)


def verify_inclusion(proof_text: str, data: bytes, vkey: str) -> IncludedAt:
    """Check that `data` is in the log whose key is `vkey`; raises LogProofError, a VerificationError.

    The checkpoint is checked before the path, so that a failure of part INCLUSION says that the log's
    signature held and that it is the entry, its place or its path that does not.
    """
    head, note = _halves(proof_text)
    try:
        checkpoint = verify_checkpoint(note, VerifierKey.parse(vkey))
    except (VerificationError, LogError) as error:
        raise LogProofError(error.message, hint=error.hint, part=ProofPart.CHECKPOINT) from None
    proof = _parse_head(head, note)
    if proof.index >= checkpoint.size:
        raise LogProofError(
            f"The log proof names entry {proof.index} of a log that has {checkpoint.size}.",
            part=ProofPart.INCLUSION,
        )
    if not verify_inclusion_path(leaf_hash(data), proof.index, checkpoint.size, proof.path, checkpoint.root):
        raise LogProofError(
            f"The log {checkpoint.origin} does not hold this record as its entry {proof.index}.",
            hint="The record or its log proof was changed after it was logged.",
            part=ProofPart.INCLUSION,
        )
    return IncludedAt(checkpoint.origin, proof.index, checkpoint.size, checkpoint.root.hex())


def _halves(text: str) -> tuple[str, str]:
    head, blank, checkpoint = text.partition("\n\n")
    if not blank:
        raise LogProofError("The log proof carries no checkpoint.", part=ProofPart.CHECKPOINT)
    return head, checkpoint


def _parse_head(head: str, checkpoint: str) -> LogProof:
    lines = head.split("\n")
    try:
        if len(head) > _MAX_EXTRA or lines.pop(0) != _FIRST_LINE:
            raise ValueError("another format")
        extra = decode_base64(lines.pop(0)[6:]) if lines[0].startswith("extra ") else None
        word, number = lines.pop(0).split(" ")
        index = parse_decimal(number)
        path = tuple(decode_base64(line) for line in lines)
        if word != "index" or len(path) > MAX_PATH or any(len(step) != HASH_BYTES for step in path):
            raise ValueError("not an index and hashes")
    except (ValueError, IndexError):
        raise LogProofError(
            f"The log proof does not follow {_FIRST_LINE}.",
            hint="Take the .tlog-proof file as it was written, without any change of its lines.",
            part=ProofPart.INCLUSION,
        ) from None
    return LogProof(index, path, checkpoint, extra)
