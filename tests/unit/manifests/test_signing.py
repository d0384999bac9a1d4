"""Signatures and chains: what holds, and each way in which one does not."""

from __future__ import annotations

import base64
import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from restore_manifests.errors import ManifestError
from restore_manifests.keys import Identity, create_identity
from restore_manifests.schema import Signature
from restore_manifests.signing import (
    chain_problem,
    leads_to_root,
    leaf_problem,
    load_certificates,
    signature_problem,
)

NOW = datetime.now(UTC)
PLAIN_USAGE = dict.fromkeys(
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


def test_a_key_that_is_not_on_its_curve_is_a_problem(tmp_path: Path) -> None:
    """Found by fuzzing: the library reads such a certificate, and raises only when the key is asked for."""
    identity = create_identity(tmp_path, name="L", passphrase=None, unprotected=True)
    der = bytearray(identity.chain[0].public_bytes(Encoding.DER))
    point = identity.chain[0].public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    der[der.index(point) + 5] ^= 1
    leaf = x509.load_der_x509_certificate(bytes(der))
    value = base64.b64encode(identity.sign(b"data")).decode()
    signature = Signature(scope="body", algorithm="ES256", certificates=["x"], value=value)
    assert signature_problem(signature, b"data", identity.chain[0]) is None
    problem = signature_problem(signature, b"data", leaf)
    assert problem is not None
    assert problem.code == "certificate-form"


class Authority:
    """Issues certificates with one thing wrong."""

    def __init__(self, name: str = "Root", issuer: Authority | None = None, **options: Any) -> None:
        self.key = ec.generate_private_key(options.pop("curve", ec.SECP256R1()))
        issuer = issuer or self
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.certificate = issuer.issue(self, **{"ca": True, "eku": None, **options})

    def issue(
        self,
        holder: Authority,
        *,
        ca: bool = False,
        path_length: int | None = None,
        eku: tuple[str, ...] | None = ("1.3.6.1.5.5.7.3.4",),
        may_sign: bool = True,
        aki: bool = True,
        days: tuple[int, int] = (-1, 30),
        digest: hashes.HashAlgorithm | None = None,
        critical: x509.ExtensionType | None = None,
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(holder.name)
            .issuer_name(self.name)
            .public_key(holder.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + timedelta(days=days[0]))
            .not_valid_after(NOW + timedelta(days=days[1]))
            .add_extension(x509.BasicConstraints(ca, path_length), critical=True)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=may_sign and not ca, key_cert_sign=may_sign and ca, **PLAIN_USAGE
                ),
                critical=True,
            )
        )
        if eku is not None:
            builder = builder.add_extension(
                x509.ExtendedKeyUsage([x509.ObjectIdentifier(oid) for oid in eku]), critical=False
            )
        if aki:
            key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
            builder = builder.add_extension(key_id, critical=False)
        if critical is not None:
            builder = builder.add_extension(critical, critical=True)
        return builder.sign(self.key, digest or hashes.SHA256())


def leaf(root: Authority, **options: Any) -> x509.Certificate:
    return Authority("Signer", root, ca=False, **{"eku": ("1.3.6.1.5.5.7.3.4",), **options}).certificate


def signed(identity: Identity, data: bytes) -> Signature:
    return Signature(
        scope="body",
        algorithm=identity.algorithm,
        certificates=[c.public_bytes(Encoding.PEM).decode() for c in identity.chain],
        value=base64.b64encode(identity.sign(data)).decode(),
    )


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "PS256", "Ed25519"])
def test_every_algorithm_signs_and_verifies(tmp_path: Path, algorithm: Any) -> None:
    identity = create_identity(tmp_path, name="Lab", algorithm=algorithm, passphrase=None, unprotected=True)
    signature = signed(identity, b"data")
    chain = load_certificates(signature)
    assert chain == identity.chain
    assert signature_problem(signature, b"data", chain[0]) is None
    assert signature_problem(signature, b"date", chain[0]).code == "signature-mismatch"  # type: ignore[union-attr]
    assert chain_problem(chain, NOW + timedelta(minutes=1)) is None
    assert identity.root is not None
    assert leads_to_root(chain, [identity.root], NOW + timedelta(minutes=1))


def test_another_algorithm_is_refused(identity: Identity) -> None:
    signature = signed(identity, b"data").model_copy(update={"algorithm": "ES384"})
    problem = signature_problem(signature, b"data", identity.chain[0])
    assert problem is not None
    assert problem.code == "algorithm"


@pytest.mark.parametrize(
    "change", [lambda v: v + "\n", lambda v: v[:-1], lambda v: v.rstrip("="), lambda v: "?" + v]
)
def test_base64_has_one_form(identity: Identity, change: Any) -> None:
    signature = signed(identity, b"data")
    problem = signature_problem(
        signature.model_copy(update={"value": change(signature.value)}), b"data", identity.chain[0]
    )
    assert problem is not None
    assert problem.code == "signature-form"


def test_unused_bits_of_base64_are_not_ignored(identity: Identity) -> None:
    signature = signed(identity, b"data")  # 64 bytes: the last character before == has four unused bits
    assert signature.value.endswith("==")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    value = signature.value[:-3] + alphabet[alphabet.index(signature.value[-3]) + 1] + "=="
    assert base64.b64decode(value) == base64.b64decode(signature.value)
    problem = signature_problem(signature.model_copy(update={"value": value}), b"data", identity.chain[0])
    assert problem is not None
    assert problem.code == "signature-form"


@given(st.binary(max_size=80))
def test_any_value_is_refused(identity: Identity, value: bytes) -> None:
    text = base64.b64encode(value or b"x").decode()
    signature = signed(identity, b"data").model_copy(update={"value": text})
    problem = signature_problem(signature, b"data", identity.chain[0])
    assert problem is not None
    assert problem.code == "signature-mismatch"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"eku": ("1.3.6.1.5.5.7.3.3",)}, "certificate-purpose"),
        ({"eku": ("2.5.29.37.0",)}, "certificate-purpose"),
        ({"eku": ("1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.8")}, "certificate-purpose"),
        ({"eku": None}, "certificate-profile"),
        ({"aki": False}, "certificate-profile"),
        ({"may_sign": False}, "certificate-purpose"),
        ({"ca": True}, "certificate-purpose"),
        ({"curve": ec.SECP521R1()}, "weak-key"),
        ({"curve": ec.SECP256K1()}, "weak-key"),
        ({"curve": ec.SECP192R1()}, "weak-key"),
    ],
)
def test_unsuitable_signers_are_refused(options: dict[str, Any], code: str) -> None:
    certificate = Authority(
        "Signer", Authority(), **{"ca": False, "eku": ("1.3.6.1.5.5.7.3.4",), **options}
    ).certificate
    problem = leaf_problem(certificate)
    assert problem is not None
    assert problem.code == code
    assert problem.message.endswith(".")


@pytest.mark.parametrize("eku", ["1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1"])
def test_accepted_purposes(eku: str) -> None:
    assert leaf_problem(leaf(Authority(), eku=(eku,))) is None


def test_chain_through_an_intermediate() -> None:
    root = Authority()
    middle = Authority("Branch", root, path_length=0)
    chain = [leaf(middle), middle.certificate]
    assert chain_problem(chain, NOW) is None
    assert leads_to_root(chain, [root.certificate], NOW)
    assert leads_to_root([*chain, root.certificate], [root.certificate], NOW)
    assert leads_to_root(chain, [middle.certificate], NOW)
    assert not leads_to_root(chain, [Authority().certificate], NOW)
    assert not leads_to_root(chain, [], NOW)


def test_the_signer_is_not_its_own_root() -> None:
    certificate = leaf(Authority())
    assert not leads_to_root([certificate], [certificate], NOW)


@pytest.mark.parametrize(
    ("options", "at", "code"),
    [
        ({}, NOW + timedelta(days=31), "certificate-time"),
        ({}, NOW - timedelta(days=2), "certificate-time"),
        ({"critical": x509.OCSPNoCheck()}, NOW, "certificate-form"),
    ],
)
def test_chains_that_do_not_hold(options: dict[str, Any], at: datetime, code: str) -> None:
    problem = chain_problem([leaf(Authority(), **options)], at)
    assert problem is not None
    assert problem.code == code


def test_broken_chains() -> None:
    root, impostor = Authority(), Authority()
    short = Authority("Short", root, path_length=0)
    below = Authority("Below", short)
    no_authority = Authority("Nobody", root, ca=False, eku=("1.3.6.1.5.5.7.3.4",))
    cannot_sign = Authority("Mute", root, may_sign=False)
    expired = Authority("Late", root, days=(-9, -2))
    chains = [
        [leaf(root), impostor.certificate],
        [leaf(below), below.certificate, short.certificate],
        [leaf(no_authority), no_authority.certificate],
        [leaf(cannot_sign), cannot_sign.certificate],
        [leaf(expired), expired.certificate],
    ]
    codes = [problem.code if (problem := chain_problem(chain, NOW)) else None for chain in chains]
    assert codes == ["chain-broken"] * 4 + ["certificate-time"]
    del chains[1]  # as a trust root, an intermediate may vouch for its own signers
    assert not any(leads_to_root(chain[:1], [chain[1]], NOW) for chain in chains)


def test_weak_hashes_in_the_chain_are_refused() -> None:
    problem = chain_problem([leaf(Authority(), digest=hashes.SHA224())], NOW)
    assert problem is not None
    assert problem.code == "weak-key"


@pytest.mark.parametrize(
    "change",
    [
        lambda pem: "comment\n" + pem,
        lambda pem: pem.replace("\n", "\r\n"),
        lambda pem: pem + pem,
        lambda pem: pem[:-40],
        lambda pem: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        lambda pem: "",
    ],
)
def test_certificates_have_one_form(identity: Identity, change: Any) -> None:
    signature = signed(identity, b"data")
    bad = signature.model_copy(update={"certificates": [change(signature.certificates[0])]})
    with pytest.raises(ManifestError, match="certificate"):
        load_certificates(bad)


@given(st.data())
def test_any_damage_to_a_certificate_is_noticed(identity: Identity, data: st.DataObject) -> None:
    der = bytearray(identity.chain[0].public_bytes(Encoding.DER))
    place = data.draw(st.integers(0, len(der) - 1))
    der[place] ^= data.draw(st.integers(1, 255))
    lines = base64.encodebytes(bytes(der)).decode().replace("\n", "")
    wrapped = "\n".join(lines[at : at + 64] for at in range(0, len(lines), 64))
    pem = f"-----BEGIN CERTIFICATE-----\n{wrapped}\n-----END CERTIFICATE-----\n"
    signature = signed(identity, b"data").model_copy(update={"certificates": [pem]})
    try:
        chain = load_certificates(signature)
    except ManifestError:
        return
    assert identity.root is not None
    at = NOW + timedelta(minutes=1)
    assert chain_problem(chain, at) or not leads_to_root(chain, [identity.root], at)


def test_identity_signs_what_it_is_given(identity: Identity) -> None:
    assert len(identity.sign(b"")) == 64
    assert dataclasses.is_dataclass(identity)
