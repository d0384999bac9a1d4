"""Witnesses: somebody else's signature on a log's checkpoint, given only while its history is one.

Source: c2sp.org/tlog-cosignature (Ed25519, `cosignature/v1`), and the rules of c2sp.org/tlog-witness for what
a witness may sign. A cosignature is one more line under the checkpoint; whoever does not know the witness
ignores it (c2sp.org/signed-note).

    — witness.example/w1 <base64(4 bytes key ID, 8 bytes time, 64 bytes Ed25519 signature)>

Pure: what a witness remembers comes in and goes out as a value (see witness_files.py).
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from restore_manifests.checkpoint import (
    Checkpoint,
    SigningKey,
    VerifierKey,
    note_signatures,
    note_text,
    verify_checkpoint,
)
from restore_manifests.errors import LogError, VerificationError
from restore_manifests.merkle import verify_consistency_path

__all__ = ["Cosigned", "add_signatures", "cosign", "verify_cosignature"]

_TIME_BYTES = 8


@dataclass(frozen=True)
class Cosigned:
    """A checkpoint with one more signature, and what the witness has to remember of that log from now on."""

    note: str
    seen: Checkpoint


def cosign(
    note: str,
    *,
    log: VerifierKey,
    last: Checkpoint | None,
    proof: Sequence[bytes],
    key: SigningKey,
    at: datetime,
) -> Cosigned:
    """Cosign a log's checkpoint at the time `at` (aware), if it extends the one seen `last` (None: none yet).

    `proof` is the consistency proof (RFC 9162 section 2.1.4) from `last` to it. The caller stores `seen`
    durably before it hands the note out. Raises VerificationError, having signed nothing, for a checkpoint
    that the log did not sign, a shorter history (rollback), or another one (fork).
    """
    head = verify_checkpoint(note, log)
    if last is not None:
        if last.origin != head.origin:
            raise VerificationError(f"The checkpoint is of the log {head.origin}, not of {last.origin}.")
        if head.size < last.size:
            raise VerificationError(
                f"The log {head.origin} was rolled back from {last.size} entries to {head.size}.",
                hint="Keep both checkpoints: together they prove it.",
            )
        if not verify_consistency_path(last.size, head.size, last.root, head.root, proof):
            raise VerificationError(
                f"The log {head.origin} was forked, or its proof does not hold: its {head.size} entries do "
                f"not begin with the {last.size} seen before.",
                hint="Keep both checkpoints: together they prove it.",
            )
    seconds = int(at.timestamp())
    signature = key.private.sign(_message(note_text(note), seconds))
    blob = key.verifier.key_id + seconds.to_bytes(_TIME_BYTES, "big") + signature
    return Cosigned(f"{note}\u2014 {key.name} {base64.b64encode(blob).decode()}\n", head)


def verify_cosignature(note: str, key: VerifierKey) -> datetime:
    """When the witness with that `key` (of the kind COSIGNATURE) saw the checkpoint, by its own clock.

    Raises VerificationError if it did not sign it. Whether the log did is `verify_checkpoint`'s question.
    """
    found = note_signatures(note, key)
    if not found:
        raise VerificationError(f"The witness {key.name} did not sign this checkpoint.")
    times = []
    for blob in found:
        seconds = int.from_bytes(blob[:_TIME_BYTES], "big")
        try:
            message = _message(note_text(note), seconds)
            Ed25519PublicKey.from_public_bytes(key.public).verify(blob[_TIME_BYTES:], message)
            times.append(datetime.fromtimestamp(seconds, UTC))
        except (InvalidSignature, ValueError, OverflowError, OSError):
            raise VerificationError(f"The cosignature of {key.name} does not fit the checkpoint.") from None
    return min(times)


def add_signatures(note: str, other: str) -> str:
    """`note` with the signature lines that `other`, a note over the same text, has beyond it.

    Raises LogError if the texts differ.
    """
    if note_text(note) != note_text(other):
        raise LogError(
            "The two checkpoints are not of the same state of the log.",
            hint="Bring the cosignatures together that are of one size.",
        )
    lines = dict.fromkeys([*_lines_of(note), *_lines_of(other)])
    return f"{note_text(note)}\n" + "".join(f"{line}\n" for line in lines)


def _message(text: str, seconds: int) -> bytes:
    """What a cosignature is over, tlog-cosignature "Ed25519 signed message"."""
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()


def _lines_of(note: str) -> list[str]:
    return note.rpartition("\n\n")[2].splitlines()
