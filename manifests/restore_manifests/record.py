"""What the checks of a record work on: the inputs as given, and what follows from them, computed once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from cryptography import x509

from restore_manifests import c2pa_claim
from restore_manifests.errors import ManifestError
from restore_manifests.pixels import MAX_PIXELS
from restore_manifests.schema import Manifest, body_bytes
from restore_manifests.signing import load_certificates

if TYPE_CHECKING:
    from restore_manifests.c2pa_claim import ClaimView

__all__ = ["Recomputation", "Record", "RecordInputs", "ResultFile"]


@dataclass(frozen=True)
class Recomputation:
    """Pixel digests made again from the source; None where that was not possible, with the reason."""

    pixels_sha256: str | None = None
    edit_sha256: str | None = None
    confidence_sha256: str | None = None
    reason: str = ""


@dataclass(frozen=True)
class RecordInputs:
    """Everything a verdict is made from. `now` is aware; a member that is None was not found or not given.

    `source_pixels_sha256` comes with the `source_decoder` ("name version") that made it, or with
    `source_problem`. `weights` gives the SHA-256 of the weights installed here by model id. `recomputed` is
    None where no recomputation was asked for.
    """

    result_bytes: bytes
    manifest_bytes: bytes
    now: datetime
    source_bytes: bytes | None = None
    source_pixels_sha256: str | None = None
    source_decoder: str | None = None
    source_problem: str = ""
    edit_map_bytes: bytes | None = None
    confidence_map_bytes: bytes | None = None
    weights: Mapping[str, str | None] = field(default_factory=dict)
    recomputed: Recomputation | None = None
    trust_roots_pem: str | None = None
    log_public_key: str | None = None
    max_pixels: int = MAX_PIXELS


class ResultFile:
    """A result without a manifest that could be read: only its claim can be judged."""

    def __init__(self, inputs: RecordInputs) -> None:
        self.inputs = inputs
        self.expected_ancestors: dict[str, str] = {}

    @cached_property
    def roots(self) -> list[x509.Certificate] | None:
        """The trust roots given; None if there were none, empty if they cannot be read."""
        if self.inputs.trust_roots_pem is None:
            return None
        try:
            return x509.load_pem_x509_certificates(self.inputs.trust_roots_pem.encode())
        except ValueError:
            return []

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
        self.expected_ancestors = {item.label: item.verdict for item in manifest.body.ingredients}

    @cached_property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """The signer's certificates. Raises ManifestError if there are none that can be read."""
        if not self.manifest.signatures:
            raise ManifestError("Nobody signed the manifest.")
        return load_certificates(self.manifest.signatures[0])

    @property
    def signer_serial(self) -> int | None:
        """The serial number of the signer's certificate; None if there is none that can be read."""
        try:
            return self.chain[0].serial_number
        except ManifestError:
            return None
