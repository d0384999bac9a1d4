"""What the checks of a record work on: the inputs as given, and what follows from them, computed once."""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Protocol

from cryptography import x509

from restore_manifests import c2pa_claim
from restore_manifests.canonical import sha256_hex
from restore_manifests.checkpoint import note_text
from restore_manifests.errors import ManifestError, RestoreError
from restore_manifests.log_proof import LogProof, LogProofError, verify_inclusion
from restore_manifests.pixels import MAX_PIXELS
from restore_manifests.revocation import Revocation
from restore_manifests.schema import LogAnchor, Manifest, TimestampAnchor, body_bytes, stamped_bytes
from restore_manifests.signing import Problem, load_certificates
from restore_manifests.timestamp import Stamp, verify_token

if TYPE_CHECKING:
    from restore_manifests.c2pa_claim import ClaimView

__all__ = [
    "Recomputation",
    "Record",
    "RecordInputs",
    "ResultFile",
    "SourcePixels",
    "StoredFile",
    "file_sha256",
]


class StoredFile(Protocol):
    """A file that need not be held in memory to be judged by its hash.

    Both methods raise a RestoreError where it cannot be read. Once `read` was called, `sha256` is of what it
    gave, and it gives the same again, whatever became of the file.
    """

    def sha256(self) -> str:
        """SHA-256 of the bytes, in hexadecimal."""

    def read(self) -> bytes:
        """The bytes."""

    @property
    def size(self) -> int:
        """How many bytes there are, as far as is known."""


@dataclass(frozen=True)
class SourcePixels:
    """Digest of a source's pixels, with the `decoder` ("name version") that read them; or the `problem`."""

    sha256: str | None = None
    decoder: str | None = None
    problem: str = ""


@dataclass(frozen=True)
class Recomputation:
    """Pixel digests made again from the source; None where that was not possible, with the reason."""

    pixels_sha256: str | None = None
    edit_sha256: str | None = None
    confidence_sha256: str | None = None
    reason: str = ""
    contradicted: tuple[str, ...] = ()
    """Other statements of the record that came out differently, for people."""


@dataclass(frozen=True)
class RecordInputs:
    """Everything a verdict is made from. `now` is aware; a member that is None was not found or not given.

    A StoredFile is read as a whole only where its picture has to be decoded; then its hash is of those bytes.

    `source_pixels_sha256` comes with the `source_decoder` ("name version") that made it, or with
    `source_problem`. `weights` gives the SHA-256 of the weights installed here by model id. `recomputed` is
    None where no recomputation was asked for.
    """

    result_bytes: bytes
    manifest_bytes: bytes
    now: datetime
    source_bytes: bytes | StoredFile | None = None
    source_pixels_sha256: str | None = None
    source_decoder: str | None = None
    source_problem: str = ""
    edit_map_bytes: bytes | StoredFile | None = None
    confidence_map_bytes: bytes | StoredFile | None = None
    weights: Mapping[str, str | None] = field(default_factory=dict)
    recomputed: Recomputation | None = None
    trust_roots_pem: str | None = None
    log_public_key: str | None = None
    revocations: tuple[Revocation, ...] = ()
    public_log_keys: tuple[str, ...] = ()
    """Keys of public logs, beside `log_public_key`, that of the laboratory's own."""
    tsa_roots_pem: str | None = None
    """Roots trusted for timestamps only, beside those of `trust_roots_pem`, which are trusted for both."""
    max_pixels: int = MAX_PIXELS
    pixels: bool = True
    """Whether pictures are decoded whose bytes are those that a trusted signer signed."""

    @property
    def size(self) -> int:
        """Bytes of all pictures together."""
        pictures = (self.result_bytes, self.source_bytes, self.edit_map_bytes, self.confidence_map_bytes)
        return sum(len(data) if isinstance(data, bytes) else data.size for data in pictures if data)

    def in_memory(self) -> RecordInputs:
        """The same with all bytes read. A file that cannot be read was not found."""
        return replace(
            self,
            source_bytes=_read(self.source_bytes),
            edit_map_bytes=_read(self.edit_map_bytes),
            confidence_map_bytes=_read(self.confidence_map_bytes),
        )


class ResultFile:
    """A result without a manifest that could be read: only its claim can be judged."""

    def __init__(self, inputs: RecordInputs) -> None:
        self.inputs = inputs
        self.expected_ancestors: dict[str, str] = {}

    @cached_property
    def roots(self) -> tuple[x509.Certificate, ...] | None:
        """The trust roots given; None if there were none, empty if they cannot be read."""
        return _certificates(self.inputs.trust_roots_pem)

    @cached_property
    def claim(self) -> ClaimView:
        return c2pa_claim.read(self.inputs.result_bytes, self.roots or ())


class Record(ResultFile):
    """A result with its manifest."""

    def __init__(self, inputs: RecordInputs, manifest: Manifest) -> None:
        super().__init__(inputs)
        self.manifest = manifest
        self.body = manifest.body
        self.signed = body_bytes(manifest.body)
        self.created = datetime.fromisoformat(manifest.body.created)
        worst_last = sorted(
            manifest.body.ingredients, key=lambda i: ("pass", "unable", "fail").index(i.verdict)
        )
        self.expected_ancestors = {item.label: item.verdict for item in worst_last}

    @cached_property
    def result_sha256(self) -> str:
        """Of the bytes of the result file as it is."""
        return sha256_hex(self.inputs.result_bytes)

    @property
    def result_is_sealed(self) -> bool:
        """Whether the result file is, by its hash, the one that the manifest's seal names."""
        return self.result_sha256 == self.manifest.files.result.sha256

    @cached_property
    def source_sha256(self) -> str | None:
        """Of the bytes of the source file as it is; None if it was not found."""
        data = self.inputs.source_bytes
        return None if data is None else file_sha256(data)

    @cached_property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """The signer's certificates. Raises ManifestError if there are none that can be read."""
        if not self.manifest.signatures:
            raise ManifestError("Nobody signed the manifest.")
        return load_certificates(self.manifest.signatures[0])

    @cached_property
    def stamps(self) -> list[tuple[TimestampAnchor, Stamp | Problem]]:
        """Every timestamp of the manifest, with what became of it under the roots given."""
        return [(one, self._stamp(one)) for one in self.manifest.anchors if isinstance(one, TimestampAnchor)]

    def _stamp(self, anchor: TimestampAnchor) -> Stamp | Problem:
        try:
            token = base64.b64decode(anchor.token, validate=True)
        except (binascii.Error, ValueError):
            token = b""
        if base64.b64encode(token).decode() != anchor.token:
            return Problem("timestamp-form", "The timestamp is not in its plain base64 form.")
        roots = [*(self.roots or ()), *(_certificates(self.inputs.tsa_roots_pem) or ())]
        stamped = (
            self._log_states if anchor.over == "checkpoint" else [stamped_bytes(self.manifest, anchor.over)]
        )
        found: Stamp | Problem = Problem(
            "timestamp-other",
            "The timestamp is for a state of a log, and no log proof shows that the record is in that state.",
        )
        for data in stamped:
            found = verify_token(token, data, roots, self.inputs.now)
            if isinstance(found, Stamp) or found.code != "timestamp-other":
                break
        return found

    @cached_property
    def _log_states(self) -> list[bytes]:
        """The signed texts of the checkpoints under whose roots the log proofs show this record."""
        states = []
        for anchor in self.manifest.anchors:
            if isinstance(anchor, LogAnchor):
                with contextlib.suppress(LogProofError):  # what is wrong with it `log.inclusion` says
                    verify_inclusion(anchor.proof, self.signed, anchor.public_key)
                    states.append(note_text(LogProof.parse(anchor.proof).checkpoint).encode())
        return states

    @cached_property
    def signed_by(self) -> datetime | None:
        """The earliest time at which a trusted timestamp shows that the signatures existed."""
        times = [
            one.time for anchor, one in self.stamps if isinstance(one, Stamp) and anchor.over == "record"
        ]
        return min(times, default=None)

    @property
    def signer_serial(self) -> int | None:
        """The serial number of the signer's certificate; None if there is none that can be read."""
        try:
            return self.chain[0].serial_number
        except ManifestError:
            return None


@lru_cache(maxsize=8)
def _certificates(pem: str | None) -> tuple[x509.Certificate, ...] | None:
    if pem is None:
        return None
    try:
        return tuple(x509.load_pem_x509_certificates(pem.encode()))
    except ValueError:
        return ()


def file_sha256(data: bytes | StoredFile) -> str:
    """Of a file that is in memory or not. Raises what a StoredFile raises."""
    return sha256_hex(data) if isinstance(data, bytes) else data.sha256()


def _read(data: bytes | StoredFile | None) -> bytes | None:
    try:
        return data if data is None or isinstance(data, bytes) else data.read()
    except RestoreError:
        return None
