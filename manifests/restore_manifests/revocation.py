"""Revoked certificates: a small file that says from when on signatures of a certificate do not count.

    {"schema": "restore.revocations/1",
     "revoked": [{"serial": "5f3a...", "issuer": null, "since": "2026-05-01T00:00:00Z", "reason": "lost"}]}

`serial` is the certificate's serial number in hexadecimal, as `openssl x509 -serial` prints it (either case);
`issuer` narrows it to one issuer (RFC 4514) where serial numbers are small, or is null. The list is not
signed: who verifies says which one to believe, as with the roots.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from cryptography import x509
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from restore_manifests.canonical import parse_json_strict
from restore_manifests.errors import KeyStoreError, ManifestError

__all__ = ["Revocation", "parse_revocations", "revoked_since"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class Revocation(_Model):
    """One certificate, and the moment (UTC) from which on its signatures do not count."""

    serial: Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{1,64}$")]
    issuer: Annotated[str, Field(max_length=1_000)] | None
    since: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")]
    reason: Annotated[str, Field(max_length=1_000)]

    @property
    def time(self) -> datetime:
        return datetime.fromisoformat(self.since)

    def names(self, certificate: x509.Certificate) -> bool:
        """Whether it is this certificate that was revoked."""
        same_issuer = self.issuer is None or self.issuer == certificate.issuer.rfc4514_string()
        return same_issuer and int(self.serial, 16) == certificate.serial_number


class _List(_Model):
    schema_: Annotated[Literal["restore.revocations/1"], Field(alias="schema")]
    revoked: Annotated[list[Revocation], Field(max_length=100_000)]


def parse_revocations(data: bytes) -> tuple[Revocation, ...]:
    """The entries of a revocation list; raises KeyStoreError if it is none: an unread list must not pass."""
    try:
        found = tuple(_List.model_validate(parse_json_strict(data)).revoked)
        for entry in found:
            _ = entry.time
    except (ManifestError, ValidationError, ValueError) as error:
        raise KeyStoreError(
            "The revocation list cannot be read.",
            hint='It is JSON with "schema": "restore.revocations/1", see docs/keys.md.',
        ) from error
    return found


def revoked_since(chain: Sequence[x509.Certificate], revocations: Sequence[Revocation]) -> datetime | None:
    """The earliest time from which on a certificate of `chain` is revoked; None if none is."""
    times = [entry.time for entry in revocations if any(entry.names(one) for one in chain)]
    return min(times, default=None)
