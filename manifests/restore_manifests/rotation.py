"""A new signing key in the place of an old one, whose records still verify.

    <home>/keys/retired/<key id>/    key, chain and root of each identity that was replaced
    <home>/keys/roots.pem            the root of this identity and of all retired ones: hand this to verifiers

The old key stays in its retired folder under its passphrase, for who wants to keep it; nothing needs it.
"""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from restore_manifests.canonical import sha256_hex
from restore_manifests.errors import KeyStoreError, StorageError
from restore_manifests.keys import TOKEN_NAME, Identity, create_identity, identity_path
from restore_manifests.private_files import write_private
from restore_manifests.signing import Algorithm

__all__ = ["ROOTS_NAME", "rotate_identity"]

ROOTS_NAME = "roots.pem"
_KEPT = ("identity.p12", TOKEN_NAME, "chain.pem", "root.pem")


def rotate_identity(
    home: Path,
    *,
    algorithm: Algorithm = "ES256",
    passphrase: str | None,
    unprotected: bool = False,
    days: int = 1826,
    name: str | None = None,
) -> Identity:
    """Replace the identity under `home` by a new one, of the same `name` unless given; the old one is kept.

    The old one is on the disk in its retired folder before anything is replaced. Raises KeyStoreError if
    there is none to replace, and whatever `create_identity` raises.
    """
    folder = identity_path(home).parent
    try:
        leaf = x509.load_pem_x509_certificates((folder / "chain.pem").read_bytes())[0]
        old = {name: (folder / name).read_bytes() for name in _KEPT if (folder / name).is_file()}
    except (OSError, ValueError) as error:
        raise KeyStoreError(
            f"There is no signing identity in {folder} that could be replaced.",
            hint="Make one with: restore keys init",
        ) from error
    public = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    retired = folder / "retired" / sha256_hex(public)[:16]
    common = leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    try:
        retired.mkdir(parents=True, exist_ok=True, mode=0o700)
        for file, data in old.items():
            write_private(retired / file, data)
    except OSError as error:
        raise _unwritable(folder, error) from error
    identity = create_identity(
        home,
        name=name or (str(common[0].value) if common else ""),
        algorithm=algorithm,
        passphrase=passphrase,
        unprotected=unprotected,
        days=days,
        force=True,
    )
    try:
        roots = [folder / "root.pem", *sorted((folder / "retired").glob("*/root.pem"))]
        write_private(folder / ROOTS_NAME, b"".join(root.read_bytes() for root in roots))
    except OSError as error:
        raise _unwritable(folder, error) from error
    return identity


def _unwritable(folder: Path, error: OSError) -> StorageError:
    return StorageError(
        f"The identity cannot be replaced in {folder}: {error.strerror}.", hint="The old one is kept."
    )
