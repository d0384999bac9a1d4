"""The examiner's identity: a private key, its certificate chain, and where both are kept.

    <home>/keys/identity.p12   key and chain, PKCS#12, 600,000 rounds of PBKDF2-HMAC-SHA256, AES-256
    <home>/keys/chain.pem      the signer's certificate and intermediates, for others
    <home>/keys/root.pem       the trust root to hand to whoever verifies
    <home>/keys/token.json     instead of identity.p12 where the key is in a PKCS#11 token (hsm.py)

Users of C2PA tools lose weeks on chains that no reader accepts; what is made or imported here is checked
first.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs12,
)

from restore_manifests.canonical import sha256_hex
from restore_manifests.errors import KeyStoreError, StorageError, UsageError
from restore_manifests.private_files import write_private
from restore_manifests.signing import ACCEPTED_EKU, Algorithm, algorithm_of, chain_problem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

__all__ = [
    "KDF_ROUNDS",
    "TOKEN_NAME",
    "ExternalKey",
    "Identity",
    "check_vacant",
    "create_identity",
    "identity_path",
    "import_identity",
    "load_identity",
    "ordered_chain",
]

TOKEN_NAME = "token.json"  # noqa: S105 -- a file name
"""Stands in the place of identity.p12 where the key is in a PKCS#11 token (hsm.py)."""

KDF_ROUNDS = 600_000
"""OWASP's figure for PBKDF2-HMAC-SHA256."""

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


class ExternalKey(Protocol):
    """A private key that is kept elsewhere."""

    def sign(self, data: bytes, /) -> bytes:
        """As `Identity.sign`."""
        ...


@dataclass(frozen=True)
class Identity:
    """A key that signs, and the certificates that say whose it is.

    `chain` has the signer's certificate first and no root; `root` is what a verifier must trust, None where
    an imported file did not hold it.
    """

    algorithm: Algorithm
    chain: tuple[x509.Certificate, ...]
    root: x509.Certificate | None
    _key: PrivateKey | ExternalKey = field(repr=False)

    @property
    def name(self) -> str:
        """The common name in the signer's certificate."""
        names = self.chain[0].subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return str(names[0].value) if names else ""

    @property
    def key_id(self) -> str:
        """SHA-256 of the public key (SubjectPublicKeyInfo, DER), 64 hexadecimal digits."""
        public = self.chain[0].public_key()
        return sha256_hex(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    @property
    def chain_pem(self) -> str:
        """The chain as PEM, the signer's certificate first, without the root."""
        return _pem(self.chain)

    @property
    def root_pem(self) -> str | None:
        """The trust root as PEM."""
        return _pem([self.root]) if self.root else None

    @property
    def not_after(self) -> datetime:
        """The last moment at which the signer's certificate is valid (UTC)."""
        return self.chain[0].not_valid_after_utc

    def sign(self, data: bytes) -> bytes:
        """The signature over `data`: r||s of fixed length for ECDSA (RFC 7518, 3.4), as COSE has it."""
        match self._key:
            case ec.EllipticCurvePrivateKey() as key:
                kind = hashes.SHA256() if self.algorithm == "ES256" else hashes.SHA384()
                r, s = decode_dss_signature(key.sign(data, ec.ECDSA(kind)))
                size = key.key_size // 8
                return r.to_bytes(size, "big") + s.to_bytes(size, "big")
            case rsa.RSAPrivateKey() as key:
                pss = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)
                return key.sign(data, pss, hashes.SHA256())
            case key:
                return key.sign(data)


def identity_path(home: Path) -> Path:
    """Where the identity of `home` is, or would be."""
    token = home / "keys" / TOKEN_NAME
    return token if token.is_file() else token.with_name("identity.p12")


def create_identity(
    home: Path,
    *,
    name: str,
    algorithm: Algorithm = "ES256",
    passphrase: str | None,
    unprotected: bool = False,
    days: int = 1826,
    force: bool = False,
) -> Identity:
    """Make a root and a signer's certificate of `name`, valid for `days`, and keep them under `home`.

    The root's key signs once and is forgotten, so nobody can issue a second signer under it. Raises
    UsageError without a passphrase unless `unprotected` says so, KeyStoreError if an identity is there and
    not `force`.
    """
    _check_protection(passphrase, unprotected)
    if not name.strip() or len(name) > 64 or not name.isprintable():
        raise UsageError("The name of an identity is one line of 1 to 64 printable characters.")
    if not 1 <= days <= 36_500:
        raise UsageError("An identity is valid for 1 to 36500 days.")
    check_vacant(home, force)
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)  # for clocks that run behind
    end = start + timedelta(days=days, minutes=5)
    root_key, key = _generate(algorithm), _generate(algorithm)
    root_name, leaf_name = _subject(f"{name} root"[:64], name), _subject(name, name)
    root = (
        _certificate(root_name, root_name, root_key, start, end + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .sign(root_key, _digest(root_key))
    )
    leaf = (
        _certificate(leaf_name, root_name, key, start, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.ObjectIdentifier(ACCEPTED_EKU[0])]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False
        )
        .sign(root_key, _digest(root_key))
    )
    identity = Identity(algorithm, (leaf,), root, key)
    _store(home, identity, passphrase)
    return identity


def load_identity(home: Path, passphrase: str | None) -> Identity:
    """The identity kept under `home`; for a key in a token, `passphrase` is its PIN.

    Raises KeyStoreError if there is none or the passphrase does not open it.
    """
    path = identity_path(home)
    if path.name == TOKEN_NAME:
        from restore_manifests.hsm import load_token_identity  # noqa: PLC0415 -- needs what most do without

        return load_token_identity(path, passphrase)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise KeyStoreError(
            f"There is no signing identity in {path.parent}.", hint="Make one with: restore keys init"
        ) from error
    except OSError as error:
        raise KeyStoreError(f"The signing identity {path} cannot be read: {error.strerror}.") from error
    return _open(data, passphrase, str(path))


def import_identity(
    home: Path, p12_bytes: bytes, passphrase: str | None, *, unprotected: bool = False, force: bool = False
) -> Identity:
    """Take over a key and chain issued elsewhere (PKCS#12), protected again by the same passphrase.

    Raises KeyStoreError if the file does not open, or if its certificate is one that C2PA readers refuse:
    expired, self-signed, of a weak key, or without digitalSignature and an accepted extended key usage.
    """
    _check_protection(passphrase, unprotected)
    check_vacant(home, force)
    identity = _open(p12_bytes, passphrase, "The PKCS#12 file")
    if problem := chain_problem(identity.chain, datetime.now(UTC)):
        raise KeyStoreError(
            f"The certificate cannot be used for signing records. {problem.message}",
            hint="Ask for one with digitalSignature and the extended key usage emailProtection.",
        )
    _store(home, identity, passphrase)
    return identity


def _open(data: bytes, passphrase: str | None, where: str) -> Identity:
    try:
        bundle = pkcs12.load_pkcs12(data, _encoded(passphrase) if passphrase else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyStoreError(
            f"{where} cannot be opened: the passphrase is wrong or missing, or the file is damaged.",
            hint="Set RESTORE_PASSPHRASE, or type the passphrase when asked.",
        ) from error
    if bundle.key is None or bundle.cert is None:
        raise KeyStoreError(f"{where} does not hold both a private key and its certificate.")
    key, leaf = bundle.key, bundle.cert.certificate
    algorithm = algorithm_of(leaf.public_key())
    if algorithm is None or not isinstance(key, PrivateKey):
        raise KeyStoreError(
            f"{where} holds a key of a kind that is not accepted.",
            hint="Use an ECDSA key on P-256 or P-384, Ed25519, or RSA with 2048 to 8192 bits.",
        )
    if key.public_key() != leaf.public_key():
        raise KeyStoreError(f"{where} holds a certificate that belongs to another key.")
    chain, root = ordered_chain(leaf, [extra.certificate for extra in bundle.additional_certs])
    return Identity(algorithm, chain, root, key)


def ordered_chain(
    leaf: x509.Certificate, others: list[x509.Certificate]
) -> tuple[tuple[x509.Certificate, ...], x509.Certificate | None]:
    """Leaf to root, each issued by the next; the root is the one that issued itself. Raises KeyStoreError."""
    chain, rest = [leaf], list(others)
    if _issued(leaf, leaf):
        raise KeyStoreError(
            "The certificate is signed by its own key, which C2PA readers refuse.",
            hint="Use a certificate that an authority issued, or make an identity with: restore keys init",
        )
    while issuer := next((other for other in rest if _issued(chain[-1], other)), None):
        rest.remove(issuer)
        if _issued(issuer, issuer):
            return tuple(chain), issuer
        chain.append(issuer)
    return tuple(chain), None


def _issued(child: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        child.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _check_protection(passphrase: str | None, unprotected: bool) -> None:
    if not passphrase and not unprotected:
        raise UsageError(
            "A signing key needs a passphrase.",
            hint="Set RESTORE_PASSPHRASE or type one; for tests only, say that the key is to be unprotected.",
        )
    if passphrase and unprotected:
        raise UsageError("A key is either protected by a passphrase or unprotected, not both.")


def check_vacant(home: Path, force: bool) -> None:
    """Raises KeyStoreError if there is an identity and not `force`."""
    if not force and os.path.lexists(identity_path(home)):
        raise KeyStoreError(
            f"There already is a signing identity in {identity_path(home).parent}.",
            hint="Move it away first, or replace it for good with --force.",
        )


def _store(home: Path, identity: Identity, passphrase: str | None) -> None:
    encryption: KeySerializationEncryption = NoEncryption()
    if passphrase:
        encryption = (
            PrivateFormat.PKCS12.encryption_builder()
            .kdf_rounds(KDF_ROUNDS)
            .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
            .hmac_hash(hashes.SHA256())
            .build(_encoded(passphrase))
        )
    others = [*identity.chain[1:], *([identity.root] if identity.root else [])]
    if not isinstance(identity._key, PrivateKey):
        raise KeyStoreError("A key in a token cannot be stored in a file.")
    p12 = pkcs12.serialize_key_and_certificates(
        identity.name.encode(), identity._key, identity.chain[0], others or None, encryption
    )
    path = home / "keys" / "identity.p12"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path.with_name("chain.pem"), identity.chain_pem.encode())
        if identity.root_pem:
            write_private(path.with_name("root.pem"), identity.root_pem.encode())
        else:
            path.with_name("root.pem").unlink(missing_ok=True)
        write_private(path, p12)
        path.with_name(TOKEN_NAME).unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"The identity cannot be stored in {path.parent}: {error.strerror}.") from error


def _encoded(passphrase: str) -> bytes:
    # from an environment that is not UTF-8, undecodable bytes arrive as lone surrogates
    return passphrase.encode("utf-8", "surrogateescape")


def _generate(algorithm: Algorithm) -> PrivateKey:
    match algorithm:
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "ES384":
            return ec.generate_private_key(ec.SECP384R1())
        case "PS256":
            return rsa.generate_private_key(65537, 3072)
        case "Ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            raise UsageError(
                f"{algorithm!r} is not a signature algorithm; use ES256, ES384, PS256 or Ed25519."
            )


def _digest(key: CertificateIssuerPrivateKeyTypes) -> hashes.SHA256 | hashes.SHA384 | None:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return None
    return (
        hashes.SHA384()
        if isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size == 384
        else hashes.SHA256()
    )


def _subject(common_name: str, organisation: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, organisation),  # C2PA viewers show this one
        ]
    )


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificates: tuple[x509.Certificate, ...] | list[x509.Certificate]) -> str:
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in certificates)
