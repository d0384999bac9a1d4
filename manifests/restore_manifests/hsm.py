"""A signing key in a PKCS#11 token (smart card, HSM): the key never leaves it.

    <home>/keys/token.json     the driver, the token's label, the key's label; no secret
    <home>/keys/chain.pem      the signer's certificate and intermediates
    <home>/keys/root.pem       the root, where the chain given held it

Needs python-pkcs11, the extra `hsm`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509

from restore_manifests.errors import KeyStoreError, StorageError
from restore_manifests.keys import TOKEN_NAME, Identity, check_vacant, ordered_chain
from restore_manifests.private_files import write_private
from restore_manifests.schema import Signature
from restore_manifests.signing import Algorithm, algorithm_of, chain_problem, signature_problem

__all__ = ["TokenPlace", "load_token_identity", "use_token"]


@dataclass(frozen=True)
class TokenPlace:
    """Where a key is: the driver's shared library, and the labels of the token and of the key in it."""

    module: str
    token: str
    key: str


@dataclass(frozen=True)
class _TokenKey:
    """Signs in the token, in a session of its own each time: a token may be pulled out in between."""

    place: TokenPlace
    algorithm: Algorithm
    _pin: str = field(repr=False)

    def sign(self, data: bytes, /) -> bytes:
        from pkcs11 import MGF, Mechanism  # noqa: PLC0415

        with _opened(self.place, self._pin) as key:
            match self.algorithm:
                case "ES256":
                    return bytes(key.sign(hashlib.sha256(data).digest(), mechanism=Mechanism.ECDSA))
                case "ES384":
                    return bytes(key.sign(hashlib.sha384(data).digest(), mechanism=Mechanism.ECDSA))
                case "PS256":
                    parameters = (Mechanism.SHA256, MGF.SHA256, hashlib.sha256().digest_size)
                    mechanism = Mechanism.SHA256_RSA_PKCS_PSS
                    return bytes(key.sign(data, mechanism=mechanism, mechanism_param=parameters))
                case "Ed25519":
                    return bytes(key.sign(data, mechanism=Mechanism.EDDSA))


def use_token(home: Path, place: TokenPlace, chain_pem: bytes, *, pin: str, force: bool = False) -> Identity:
    """Sign with the key at `place` from now on; its certificates, the signer's first, are `chain_pem`.

    Raises KeyStoreError if the token, the key or the PIN is not there, if the key is not that of the
    certificate, or if C2PA readers would refuse the certificate; StorageError.
    """
    check_vacant(home, force)
    chain, root = _chain(chain_pem)
    identity = _identity(place, chain, root, pin)
    if problem := chain_problem(chain, datetime.now(UTC)):
        raise KeyStoreError(
            f"The certificate cannot be used for signing records. {problem.message}",
            hint="Ask for one with digitalSignature and the extended key usage emailProtection.",
        )
    _try_out(identity)
    folder = home / "keys"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(folder / "chain.pem", identity.chain_pem.encode())
        if identity.root_pem:
            write_private(folder / "root.pem", identity.root_pem.encode())
        else:
            (folder / "root.pem").unlink(missing_ok=True)
        write_private(folder / TOKEN_NAME, json.dumps(asdict(place), indent=2).encode() + b"\n")
        (folder / "identity.p12").unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"The identity cannot be stored in {folder}: {error.strerror}.") from error
    return identity


def load_token_identity(path: Path, pin: str | None) -> Identity:
    """The identity that the token.json at `path` describes. Raises KeyStoreError; the key is not used yet."""
    try:
        place = TokenPlace(**json.loads(path.read_bytes()))
        root = path.with_name("root.pem")
        pem = path.with_name("chain.pem").read_bytes() + (root.read_bytes() if root.is_file() else b"")
    except (OSError, ValueError, TypeError) as error:
        raise KeyStoreError(
            f"The signing identity {path} cannot be read.",
            hint="Import it again with: restore keys import --force",
        ) from error
    if not pin:
        raise KeyStoreError(
            f"The token {place.token!r} needs its PIN.", hint="Set RESTORE_PASSPHRASE, or type it when asked."
        )
    return _identity(place, *_chain(pem), pin)


def _chain(pem: bytes) -> tuple[tuple[x509.Certificate, ...], x509.Certificate | None]:
    try:
        leaf, *others = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise KeyStoreError(
            "The chain holds no certificates that can be read.",
            hint="It is PEM, the signer's certificate first.",
        ) from error
    return ordered_chain(leaf, others)


def _identity(
    place: TokenPlace, chain: tuple[x509.Certificate, ...], root: x509.Certificate | None, pin: str
) -> Identity:
    algorithm = algorithm_of(chain[0].public_key())
    if algorithm is None:
        raise KeyStoreError("The certificate is for a key of a kind that is not accepted.")
    return Identity(algorithm, chain, root, _TokenKey(place, algorithm, pin))


def _try_out(identity: Identity) -> None:
    words = b"restore: does this key belong to this certificate?"
    signature = Signature(
        scope="body",
        algorithm=identity.algorithm,
        certificates=[identity.chain_pem],
        value=base64.b64encode(identity.sign(words)).decode(),
    )
    if signature_problem(signature, words, identity.chain[0]):
        raise KeyStoreError(
            "The key in the token is not the one that the certificate was issued for.",
            hint="Name the right key by its label, or the chain that belongs to it.",
        )


@contextmanager
def _opened(place: TokenPlace, pin: str) -> Iterator[Any]:
    try:
        import pkcs11  # noqa: PLC0415
    except ImportError as error:
        raise KeyStoreError(
            "Keys in tokens need the package python-pkcs11.",
            hint="Install it with: pip install forensic-restore[hsm]",
        ) from error
    try:
        token = pkcs11.lib(place.module).get_token(token_label=place.token)
        with token.open(user_pin=pin) as session:
            yield session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=place.key)
    except (pkcs11.PKCS11Error, RuntimeError) as error:
        raise KeyStoreError(
            f"The key {place.key!r} in the token {place.token!r} cannot be used ({type(error).__name__}).",
            hint="See that the token is there, its driver installed, and the PIN right.",
        ) from error
