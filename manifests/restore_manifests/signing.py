"""Signatures over records, and the certificates behind them.

What is refused here follows the C2PA certificate profile (C2PA 2.2, section 14.5.1), so that one identity
serves the manifest and the claim, and RFC 5280 section 6 for chains. Nothing here reads files or the clock.
What depends on the bytes of certificates alone, not on a time or a list, is remembered by those bytes: an
audit meets the same few signers in thousands of records.
"""

from __future__ import annotations

import base64
import binascii
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from restore_manifests.canonical import sha256_hex
from restore_manifests.errors import ManifestError
from restore_manifests.schema import (
    Anchor,
    Body,
    FilesSeal,
    Manifest,
    SealedFile,
    Signature,
    body_bytes,
    files_bytes,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

    from restore_manifests.keys import Identity

__all__ = [
    "ACCEPTED_EKU",
    "Algorithm",
    "Problem",
    "algorithm_of",
    "chain_problem",
    "common_name",
    "leads_to_root",
    "leaf_problem",
    "load_certificates",
    "seal_files",
    "sign_manifest",
    "sign_sealed",
    "signature_problem",
]

Algorithm = Literal["ES256", "ES384", "PS256", "Ed25519"]

ACCEPTED_EKU = (
    "1.3.6.1.5.5.7.3.4",  # emailProtection
    "1.3.6.1.5.5.7.3.36",  # documentSigning, RFC 9336
    "1.3.6.1.4.1.62558.2.1",  # c2pa-claim-signing
)
"""Extended key usages with which a certificate may sign a claim; the C2PA reader is given the same list."""

_SIGNING_HASHES = ("sha256", "sha384", "sha512")
_HANDLED = {  # a critical extension outside this list must stop the check (RFC 5280, section 4.2)
    x509.BasicConstraints.oid,
    x509.KeyUsage.oid,
    x509.ExtendedKeyUsage.oid,
    x509.SubjectKeyIdentifier.oid,
    x509.AuthorityKeyIdentifier.oid,
    x509.SubjectAlternativeName.oid,
    x509.CertificatePolicies.oid,
}
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion)


@dataclass(frozen=True)
class Problem:
    """What is wrong with a signature or a chain: a code for machines and a sentence for people."""

    code: str
    message: str


def algorithm_of(key: CertificatePublicKeyTypes) -> Algorithm | None:
    """The one algorithm a key signs with here; None for weak curves, small or huge RSA, other kinds."""
    match key:
        case ec.EllipticCurvePublicKey(curve=ec.SECP256R1()):
            return "ES256"
        case ec.EllipticCurvePublicKey(curve=ec.SECP384R1()):
            return "ES384"
        case rsa.RSAPublicKey(key_size=size) if 2048 <= size <= 8192:
            return "PS256"
        case ed25519.Ed25519PublicKey():
            return "Ed25519"
        case _:
            return None


def seal_files(body: Body, result: bytes) -> FilesSeal:
    """Bind the finished result file, whose name the body gives, to the body."""
    return FilesSeal(
        body_sha256=sha256_hex(body_bytes(body)),
        result=SealedFile(name=body.result.name, sha256=sha256_hex(result), bytes=len(result)),
    )


def sign_manifest(
    body: Body, result: bytes, identity: Identity, *, anchors: Sequence[Anchor] = ()
) -> Manifest:
    """The manifest of `body` and the finished `result` file; one signature over each."""
    return sign_sealed(body, seal_files(body, result), identity, anchors=anchors)


def sign_sealed(
    body: Body, files: FilesSeal, identity: Identity, *, anchors: Sequence[Anchor] = ()
) -> Manifest:
    """The same with the seal of the finished result file, made by `seal_files`."""
    signatures = [
        Signature(
            scope=scope,
            algorithm=identity.algorithm,
            certificates=[_pem(certificate) for certificate in identity.chain],
            value=base64.b64encode(identity.sign(data)).decode(),
        )
        for scope, data in _signed_parts(body, files)
    ]
    return Manifest(body=body, files=files, signatures=signatures, anchors=list(anchors))


def _signed_parts(body: Body, files: FilesSeal) -> tuple[tuple[Literal["body", "files"], bytes], ...]:
    return (("body", body_bytes(body)), ("files", files_bytes(files)))


def load_certificates(signature: Signature) -> tuple[x509.Certificate, ...]:
    """The chain of a signature, the signer's certificate first.

    Raises ManifestError if one cannot be read.
    """
    return _chain(tuple(signature.certificates))


@lru_cache(maxsize=64)
def _chain(texts: tuple[str, ...]) -> tuple[x509.Certificate, ...]:
    chain = []
    for text in texts:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # what the library would only warn of is refused
                certificate = x509.load_pem_x509_certificate(text.encode())
                list(certificate.extensions)
        except (*_UNREADABLE, Warning) as error:
            raise ManifestError(f"A certificate of the signature cannot be read: {error}.") from error
        if _pem(certificate) != text:
            raise ManifestError("A certificate of the signature is not in its plain PEM form.")
        chain.append(certificate)
    return tuple(chain)


def signature_problem(signature: Signature, data: bytes, leaf: x509.Certificate) -> Problem | None:
    """None if `signature` is that of `leaf`'s key over `data`."""
    try:
        value = base64.b64decode(signature.value, validate=True)
    except (binascii.Error, ValueError):
        return Problem("signature-form", "The signature is not base64 text.")
    if base64.b64encode(value).decode() != signature.value:
        return Problem("signature-form", "The signature is not in its plain base64 form.")
    try:
        key = leaf.public_key()
    except _UNREADABLE as error:  # a point that is not on its curve, for one
        return Problem("certificate-form", f"The key of the signer's certificate cannot be read: {error}.")
    if (found := algorithm_of(key)) != signature.algorithm:
        return Problem(
            "algorithm", f"The signature says {signature.algorithm}, the certificate's key is for {found}."
        )
    try:
        _verify(key, value, data)
    except (InvalidSignature, ValueError):
        part = {"body": "record", "files": "seal of the result file"}[signature.scope]
        return Problem(
            "signature-mismatch",
            f"The {part} was changed after it was signed, or another key signed it: the signature of "
            f"{common_name(leaf)} does not fit.",
        )
    return None


def _verify(key: CertificatePublicKeyTypes, value: bytes, data: bytes) -> None:
    match key:
        case ec.EllipticCurvePublicKey():
            size = key.key_size // 8
            if len(value) != 2 * size:
                raise InvalidSignature
            r, s = int.from_bytes(value[:size], "big"), int.from_bytes(value[size:], "big")
            kind = hashes.SHA256() if size == 32 else hashes.SHA384()
            key.verify(encode_dss_signature(r, s), data, ec.ECDSA(kind))
        case rsa.RSAPublicKey():
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)
            key.verify(value, data, pss, hashes.SHA256())
        case ed25519.Ed25519PublicKey():
            key.verify(value, data)
        case _:
            raise InvalidSignature


@lru_cache(maxsize=256)  # a certificate is as good as another one where their DER bytes are the same
def leaf_problem(leaf: x509.Certificate) -> Problem | None:
    """None if the certificate may sign: strong key, digitalSignature, an accepted EKU, no CA."""
    try:
        if algorithm_of(leaf.public_key()) is None:
            return Problem(
                "weak-key",
                f"The key of {common_name(leaf)} is of a kind that is not accepted (weak or unknown).",
            )
        eku = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
        leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except x509.ExtensionNotFound as error:
        return Problem(
            "certificate-profile", f"The certificate of {common_name(leaf)} lacks a required part: {error}."
        )
    except _UNREADABLE as error:
        return Problem("certificate-form", f"The signer's certificate cannot be read: {error}.")
    names = {usage_oid.dotted_string for usage_oid in eku}
    if not names or not names <= set(ACCEPTED_EKU):
        return Problem(
            "certificate-purpose",
            f"The certificate of {common_name(leaf)} was issued for another purpose than signing documents.",
        )
    if not usage.digital_signature or usage.key_cert_sign or _is_ca(leaf):
        return Problem("certificate-purpose", f"The certificate of {common_name(leaf)} may not sign records.")
    return None


def chain_problem(chain: Sequence[x509.Certificate], at: datetime) -> Problem | None:
    """None if all were valid at `at` (aware), each was issued by the next, and the first may sign."""
    if problem := leaf_problem(chain[0]):
        return problem
    try:
        for certificate in chain:
            if problem := _certificate_problem(certificate, at):
                return problem
        for depth, (child, issuer) in enumerate(pairwise(chain)):
            if not _issued(child, issuer, depth):
                return Problem(
                    "chain-broken",
                    f"The certificate of {common_name(child)} was not issued by {common_name(issuer)}.",
                )
    except _UNREADABLE as error:
        return Problem("certificate-form", f"A certificate of the chain cannot be read: {error}.")
    return None


def leads_to_root(chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], at: datetime) -> bool:
    """Whether an unbroken `chain` ends at, or was issued by, one of `roots` that was valid at `at`."""
    for depth, certificate in enumerate(chain):
        for root in roots:
            same = depth > 0 and certificate == root and _is_ca(root)
            if same or (_certificate_problem(root, at) is None and _issued(certificate, root, depth)):
                return True
    return False


def _certificate_problem(certificate: x509.Certificate, at: datetime) -> Problem | None:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not start <= at <= end:
        return Problem(
            "certificate-time",
            f"The certificate of {common_name(certificate)} is valid from {start:%Y-%m-%d} "
            f"to {end:%Y-%m-%d}, not on {at:%Y-%m-%d}.",
        )
    return _lasting_problem(certificate)


@lru_cache(maxsize=256)
def _lasting_problem(certificate: x509.Certificate) -> Problem | None:
    """Whatever the time is."""
    digest = certificate.signature_hash_algorithm  # None for Ed25519, which has its own
    if (digest and digest.name not in _SIGNING_HASHES) or algorithm_of(certificate.public_key()) is None:
        return Problem(
            "weak-key", f"The certificate of {common_name(certificate)} uses a weak key or a weak hash."
        )
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _HANDLED:
            return Problem(
                "certificate-form",
                f"The certificate of {common_name(certificate)} has a critical extension that "
                f"is not understood ({extension.oid.dotted_string}).",
            )
    return None


@lru_cache(maxsize=256)
def _issued(child: x509.Certificate, issuer: x509.Certificate, depth: int) -> bool:
    """RFC 5280 6.1.4: issuer is a CA that may sign certificates, with at most `depth` CAs below it."""
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
        child.verify_directly_issued_by(issuer)
    except (x509.ExtensionNotFound, InvalidSignature, *_UNREADABLE):
        return False
    short_enough = constraints.path_length is None or constraints.path_length >= depth
    return bool(constraints.ca and usage.key_cert_sign and short_enough)


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


@lru_cache(maxsize=256)
def common_name(certificate: x509.Certificate) -> str:
    """The common name, for people, quoted and shortened: it is the signer's own words."""
    try:
        names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    except _UNREADABLE:
        return "an unnamed signer"
    return repr(str(names[0].value)[:80]) if names else "an unnamed signer"


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()
