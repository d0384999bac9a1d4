"""Identities: made, kept, imported, refused; and accepted by C2PA, which is the point of them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import NoEncryption, pkcs12

from restore_manifests import c2pa_claim
from restore_manifests.errors import KeyStoreError, StorageError, UsageError
from restore_manifests.keys import (
    KDF_ROUNDS,
    Identity,
    create_identity,
    identity_path,
    import_identity,
    load_identity,
)
from restore_manifests.pixels import encode_png
from restore_manifests.schema import body_bytes

ALGORITHMS = ["ES256", "ES384", "PS256", "Ed25519"]
PASS = "correct horse"  # noqa: S105
EMAIL = "1.3.6.1.5.5.7.3.4"
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def issue(
    name: str,
    key: Key,
    issuer: tuple[x509.Certificate, Key] | None,
    *,
    ca: bool = False,
    eku: str | None = EMAIL,
    signs: bool = True,
    start: timedelta = timedelta(days=-1),
    end: timedelta = timedelta(days=30),
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    issuer_name, issuer_key = (issuer[0].subject, issuer[1]) if issuer else (subject, key)
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + start)
        .not_valid_after(now + end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=signs and not ca, key_cert_sign=ca, **usage), critical=True
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    )
    if eku and not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([x509.ObjectIdentifier(eku)]), critical=False)
    digest = None if isinstance(issuer_key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(issuer_key, digest)


def authority() -> list[tuple[x509.Certificate, Key]]:
    """A root and an intermediate."""
    root_key = ec.generate_private_key(ec.SECP256R1())
    root = issue("Authority", root_key, None, ca=True)
    middle_key = ec.generate_private_key(ec.SECP256R1())
    middle = issue("Branch", middle_key, (root, root_key), ca=True)
    return [(root, root_key), (middle, middle_key)]


def foreign(key: Key | None = None, *, with_root: bool = True, **leaf: Any) -> bytes:
    """A PKCS#12 file as an authority would hand it out, its certificates in no useful order."""
    (root, _), (middle, middle_key) = authority()
    key = key or ec.generate_private_key(ec.SECP256R1())
    certificate = issue("Examiner", key, (middle, middle_key), **leaf)
    others = [root, middle] if with_root else [middle]
    return pkcs12.serialize_key_and_certificates(b"x", key, certificate, others, NoEncryption())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_created_identity_is_trusted_by_c2pa(tmp_path: Path, good: Any, algorithm: Any) -> None:
    identity = create_identity(tmp_path, name="Jürgen's Lab", algorithm=algorithm, passphrase=PASS)
    body = good.manifest.body
    signed = c2pa_claim.embed(
        encode_png(np.zeros((8, 8, 3), np.uint8)),
        body=body,
        manifest_text=body_bytes(body).decode(),
        source_bytes=good.inputs.source_bytes,
        source_mime="image/png",
        maps={},
        identity=identity,
    )
    view = c2pa_claim.read(signed, [identity.root])
    assert (view.problem, view.failures, view.credential_failures, view.binding_problem) == (
        None,
        (),
        (),
        None,
    )
    assert view.signer_serial == identity.chain[0].serial_number
    stranger = c2pa_claim.read(signed, [good.identity.root])
    assert stranger.credential_failures == ("signingCredential.untrusted",)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_identity_is_kept(tmp_path: Path, algorithm: Any) -> None:
    made = create_identity(tmp_path, name="Lab", algorithm=algorithm, passphrase=PASS, days=10)
    loaded = load_identity(tmp_path, PASS)
    assert (loaded.algorithm, loaded.name, loaded.chain, loaded.root) == (
        algorithm,
        "Lab",
        made.chain,
        made.root,
    )
    assert loaded.key_id == made.key_id
    assert len(loaded.key_id) == 64
    assert timedelta(days=9) < loaded.not_after - datetime.now(UTC) <= timedelta(days=10)
    assert (tmp_path / "keys" / "root.pem").read_text() == made.root_pem
    assert (tmp_path / "keys" / "chain.pem").read_text() == made.chain_pem
    assert "PRIVATE" not in made.chain_pem + str(made.root_pem)
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == [
        "chain.pem",
        "identity.p12",
        "root.pem",
    ]


def test_key_is_protected_by_600000_rounds(tmp_path: Path) -> None:
    create_identity(tmp_path, name="Lab", passphrase=PASS)
    data = identity_path(tmp_path).read_bytes()
    assert KDF_ROUNDS == 600_000
    # DER INTEGER 600000: the rounds of PBKDF2 and of the MAC are written in the file
    assert data.count(b"\x02\x03\x09\x27\xc0") >= 2
    with pytest.raises(KeyStoreError, match="passphrase"):
        load_identity(tmp_path, "wrong")
    with pytest.raises(KeyStoreError, match="passphrase"):
        load_identity(tmp_path, None)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes; the user's profile is private there")
def test_key_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    create_identity(tmp_path, name="Lab", passphrase=None, unprotected=True)
    assert stat.S_IMODE(identity_path(tmp_path).stat().st_mode) == 0o600
    assert stat.S_IMODE(identity_path(tmp_path).parent.stat().st_mode) == 0o700


def test_unprotected_only_when_said(tmp_path: Path) -> None:
    for passphrase in (None, ""):
        with pytest.raises(UsageError, match="passphrase"):
            create_identity(tmp_path, name="Lab", passphrase=passphrase)
    with pytest.raises(UsageError, match="not both"):
        create_identity(tmp_path, name="Lab", passphrase=PASS, unprotected=True)
    with pytest.raises(UsageError):
        import_identity(tmp_path, foreign(), None)
    assert not identity_path(tmp_path).exists()


def test_never_overwritten_without_force(tmp_path: Path) -> None:
    first = create_identity(tmp_path, name="Lab", passphrase=None, unprotected=True)
    with pytest.raises(KeyStoreError, match="already"):
        create_identity(tmp_path, name="Lab", passphrase=None, unprotected=True)
    with pytest.raises(KeyStoreError, match="already"):
        import_identity(tmp_path, foreign(), None, unprotected=True)
    assert load_identity(tmp_path, None).key_id == first.key_id
    second = create_identity(tmp_path, name="Lab", passphrase=None, unprotected=True, force=True)
    assert load_identity(tmp_path, None).key_id == second.key_id != first.key_id


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 65])
def test_bad_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        create_identity(tmp_path, name=name, passphrase=PASS)


@pytest.mark.parametrize("days", [0, -1, 40_000])
def test_bad_lifetimes_are_refused(tmp_path: Path, days: int) -> None:
    with pytest.raises(UsageError):
        create_identity(tmp_path, name="Lab", passphrase=PASS, days=days)


def test_unknown_algorithm_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="RS1"):
        create_identity(tmp_path, name="Lab", passphrase=PASS, algorithm="RS1")  # type: ignore[arg-type]


def test_missing_and_damaged_identities(tmp_path: Path) -> None:
    with pytest.raises(KeyStoreError, match="no signing identity"):
        load_identity(tmp_path, PASS)
    identity_path(tmp_path).parent.mkdir()
    for data in (b"", b"garbage", bytes(4000)):
        identity_path(tmp_path).write_bytes(data)
        with pytest.raises(KeyStoreError, match="cannot be opened"):
            load_identity(tmp_path, PASS)
    identity_path(tmp_path).unlink()
    identity_path(tmp_path).mkdir()
    with pytest.raises(KeyStoreError, match="cannot be read"):
        load_identity(tmp_path, PASS)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file where the folder should be")
    with pytest.raises(StorageError):
        create_identity(tmp_path, name="Lab", passphrase=None, unprotected=True)


def test_import_of_a_foreign_identity(tmp_path: Path, good: Any) -> None:
    imported = import_identity(tmp_path, foreign(), None, unprotected=True)
    assert imported.name == "Examiner"
    assert len(imported.chain) == 2  # the signer and the branch; the root stands apart
    assert imported.root is not None
    assert load_identity(tmp_path, None).chain == imported.chain
    signed = c2pa_claim.embed(
        encode_png(np.zeros((8, 8), np.uint8)),
        body=good.manifest.body,
        manifest_text="{}",
        source_bytes=good.inputs.source_bytes,
        source_mime="image/png",
        maps={},
        identity=imported,
    )
    assert c2pa_claim.read(signed, [imported.root]).credential_failures == ()


def test_import_without_a_root(tmp_path: Path) -> None:
    imported = import_identity(tmp_path, foreign(with_root=False), None, unprotected=True)
    assert imported.root is None
    assert imported.root_pem is None
    assert len(imported.chain) == 2
    assert not (tmp_path / "keys" / "root.pem").exists()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"start": timedelta(days=-9), "end": timedelta(days=-1)}, "valid from"),
    "not yet valid": ({"start": timedelta(days=2), "end": timedelta(days=9)}, "valid from"),
    "code signing": ({"eku": "1.3.6.1.5.5.7.3.3"}, "another purpose"),
    "any purpose": ({"eku": "2.5.29.37.0"}, "another purpose"),
    "server": ({"eku": "1.3.6.1.5.5.7.3.1"}, "another purpose"),
    "no purpose": ({"eku": None}, "lacks a required part"),
    "an authority itself": ({"ca": True, "eku": EMAIL}, "lacks|may not sign"),
    "no digitalSignature": ({"signs": False}, "may not sign"),
}


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_certificates_that_c2pa_refuses_are_not_imported(tmp_path: Path, name: str) -> None:
    options, said = REFUSED[name]
    with pytest.raises(KeyStoreError, match=said):
        import_identity(tmp_path, foreign(**options), None, unprotected=True)
    assert not identity_path(tmp_path).exists()


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP521R1()),
        ec.generate_private_key(ec.SECP256K1()),
        rsa.generate_private_key(65537, 1024),  # noqa: S505
    ],
    ids=["P-521", "secp256k1", "RSA 1024"],
)
def test_weak_or_unusual_keys_are_not_imported(tmp_path: Path, key: Key) -> None:
    with pytest.raises(KeyStoreError, match="kind that is not accepted"):
        import_identity(tmp_path, foreign(key), None, unprotected=True)


def test_self_signed_signer_is_not_imported(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    data = pkcs12.serialize_key_and_certificates(b"x", key, issue("Self", key, None), None, NoEncryption())
    with pytest.raises(KeyStoreError, match="own key"):
        import_identity(tmp_path, data, None, unprotected=True)


def test_file_without_a_certificate_is_not_imported(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    data = pkcs12.serialize_key_and_certificates(b"x", key, None, None, NoEncryption())
    with pytest.raises(KeyStoreError, match="both"):
        import_identity(tmp_path, data, None, unprotected=True)


def test_key_never_shows_in_a_representation(identity: Identity) -> None:
    assert "_key" not in repr(identity)
    assert "PrivateKey" not in repr(identity)


def test_importing_errors_loads_nothing_else() -> None:
    code = "import sys, restore_manifests.errors; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "restore_manifests.errors" in found.stdout
    assert not {"numpy", "pydantic", "cryptography", "restore_manifests.schema"} & set(found.stdout.split())
