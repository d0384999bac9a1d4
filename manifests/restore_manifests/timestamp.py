"""RFC 3161 timestamps: an independent authority's word that some bytes existed at a time.

Pure: bytes, trusted roots and the time in, a time or a problem out. Requests are built and responses read
here; who carries them to an authority and back is the caller's business.

What is kept is the TimeStampToken (RFC 3161 section 2.4.2), which `openssl ts -verify -token_in` reads too.
Its certificates are judged at the time that it states, so a token holds after they have expired. The
certificates inside a token come from a stranger: they may link to a trusted root, and are never trusted
themselves.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256, sha384, sha512
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from restore_manifests.errors import UndecidableError
from restore_manifests.signing import Problem, common_name

if TYPE_CHECKING:
    from rfc3161_client import TimeStampResponse

__all__ = ["UNDECIDED", "Stamp", "TimestampQuery", "read_response", "stamp_query", "verify_token"]

UNDECIDED = ("timestamp-root", "timestamp-clock")
"""Codes of problems that say nothing against a token: something needed to judge it is missing."""

_CLOCK_SKEW = timedelta(minutes=10)
_MAX_TOKEN = 64 << 10
_MAX_CHAIN = 8
_UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    Warning,
)


@dataclass(frozen=True)
class Stamp:
    """What a valid token says: the bytes existed at `time` (aware; the authority's stated error added)."""

    time: datetime
    authority: str
    """The authority's name for people, quoted."""


@dataclass(frozen=True)
class TimestampQuery:
    """A TimeStampReq to be sent as application/timestamp-query, and what its answer must carry."""

    request: bytes
    nonce: int
    data: bytes


def stamp_query(data: bytes) -> TimestampQuery:
    """Ask for a timestamp of `data`: SHA-256, a random nonce, and the authority's certificate with it."""
    builder = TimestampRequestBuilder().data(data).hash_algorithm(HashAlgorithm.SHA256)
    request = builder.nonce(nonce=True).cert_request(cert_request=True).build()
    nonce = request.nonce
    assert nonce is not None  # noqa: S101 -- asked for in the line above
    return TimestampQuery(request.as_bytes(), nonce, data)


def read_response(response: bytes, query: TimestampQuery) -> bytes:
    """The token in an authority's answer (application/timestamp-reply).

    Raises UndecidableError if the authority refused, or answered something else than it was asked. Whether
    the authority is to be trusted is not asked here.
    """
    refused = UndecidableError(
        "The timestamp authority did not give a timestamp.", hint="Try again later, or another authority."
    )
    try:
        decoded = decode_timestamp_response(response)
        if decoded.status not in (0, 1):  # granted, granted with modifications (RFC 3161, 2.4.2)
            raise refused
        token = bytes(decoded.time_stamp_token())
        other = decoded.tst_info.nonce != query.nonce or _imprint_problem(decoded, query.data)
        complete = len(token) <= _MAX_TOKEN and bool(_certificates(decoded))
    except _UNREADABLE as error:
        raise refused from error
    if other:
        raise UndecidableError(
            "The timestamp authority answered another question than it was asked.",
            hint="Check its address, and what stands between this machine and it.",
        )
    if not complete:
        raise UndecidableError(
            "The timestamp authority left its certificate out, or sent far too much.",
            hint="Use another authority.",
        )
    return token


def verify_token(
    token: bytes, data: bytes, roots: Sequence[x509.Certificate], now: datetime
) -> Stamp | Problem:
    """When `data` existed, according to a `token` whose authority one of `roots` vouches for.

    `now` is aware. Never raises; a Problem with a code of UNDECIDED says nothing against the token.
    """
    try:
        decoded = decode_timestamp_response(_response_of(token))
        if bytes(decoded.time_stamp_token()) != token:
            return _unreadable()
        return _imprint_problem(decoded, data) or _judge(decoded, data, roots, now)
    except VerificationError as error:
        return Problem("timestamp-signature", f"The timestamp does not hold ({str(error).rstrip('.')}).")
    except _UNREADABLE:
        return _unreadable()


def _judge(
    decoded: TimeStampResponse, data: bytes, roots: Sequence[x509.Certificate], now: datetime
) -> Stamp | Problem:
    certificates = _certificates(decoded)
    leaf = _signer(decoded, certificates)
    if leaf is None:
        return Problem("timestamp-signer", "The timestamp does not carry the certificate that signed it.")
    name = common_name(leaf)
    root = _root_of(leaf, certificates, roots)
    if root is None:
        message = f"The timestamp authority calls itself {name}; no root that was given vouches for it."
        return Problem("timestamp-root", message)
    VerifierBuilder().add_root_certificate(root).build().verify_message(decoded, data)
    time = decoded.tst_info.gen_time + _error(decoded)
    if time > now + _CLOCK_SKEW:
        message = f"{name} stamped it on {time:%Y-%m-%d %H:%M:%S} UTC, later than this machine's clock."
        return Problem("timestamp-clock", message)
    return Stamp(time, name)


def _response_of(token: bytes) -> bytes:
    """The token as the answer it came in: TimeStampResp { PKIStatusInfo { granted }, token }, DER."""
    if len(token) > _MAX_TOKEN:
        raise ValueError("too long")
    content = b"\x30\x03\x02\x01\x00" + token
    size = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return b"\x30" + (size if len(content) < 128 else bytes([0x80 | len(size)]) + size) + content


def _unreadable() -> Problem:
    return Problem("timestamp-form", "The timestamp is no RFC 3161 token that can be read.")


def _imprint_problem(decoded: TimeStampResponse, data: bytes) -> Problem | None:
    imprint = decoded.tst_info.message_imprint
    digest = {
        "2.16.840.1.101.3.4.2.1": sha256,
        "2.16.840.1.101.3.4.2.2": sha384,
        "2.16.840.1.101.3.4.2.3": sha512,
    }.get(imprint.hash_algorithm.dotted_string)
    if digest is None:
        return Problem("timestamp-hash", "The timestamp uses a hash that is not accepted.")
    if digest(data).digest() != imprint.message:
        return Problem("timestamp-other", "The timestamp is for something else, or the record was changed.")
    return None


def _certificates(decoded: TimeStampResponse) -> list[x509.Certificate]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what the library would only warn of is refused
        found = [x509.load_der_x509_certificate(bytes(one)) for one in decoded.signed_data.certificates]
        for certificate in found:
            _ = certificate.serial_number, list(certificate.extensions)
    return found


def _signer(decoded: TimeStampResponse, certificates: list[x509.Certificate]) -> x509.Certificate | None:
    infos = list(decoded.signed_data.signer_infos)
    found = [
        one
        for one in certificates
        if len(infos) == 1 and (one.issuer, one.serial_number) == (infos[0].issuer, infos[0].serial_number)
    ]
    return found[0] if len(found) == 1 else None


def _root_of(
    leaf: x509.Certificate, links: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]
) -> x509.Certificate | None:
    """The trusted root above `leaf`. Which path is valid is then decided by the verification itself."""
    current = leaf
    for _ in range(_MAX_CHAIN):
        if root := next((one for one in roots if one == current or _issued(current, one)), None):
            return root if root != leaf else None
        above = next((one for one in links if one != current and _issued(current, one)), None)
        if above is None:
            return None
        current = above
    return None


def _issued(child: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        child.verify_directly_issued_by(issuer)
    except (InvalidSignature, *_UNREADABLE):
        return False
    return True


def _error(decoded: TimeStampResponse) -> timedelta:
    """The authority's own bound on its error, RFC 3161 section 2.4.2 "accuracy"."""
    accuracy = decoded.tst_info.accuracy
    if accuracy is None:  # optional, though the library's annotation does not say so
        return timedelta()
    return timedelta(
        seconds=accuracy.seconds or 0,
        milliseconds=accuracy.millis or 0,
        microseconds=accuracy.micros or 0,
    )
