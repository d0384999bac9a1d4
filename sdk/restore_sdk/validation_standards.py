"""Published examples of the standards that a record rests on, computed by the code that makes records."""

from __future__ import annotations

import json
from collections.abc import Iterator

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from restore_manifests.canonical import canonical_bytes, sha256_hex
from restore_manifests.merkle import Frontier, leaf_hash
from restore_manifests.validation import KnownAnswer

__all__ = ["standards"]

_JSON = (
    rb'{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],'
    rb'"string":"\u20ac$\u000F\u000aA\u0027\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}'
)
"""RFC 8785 section 3.2.2."""

_LEAVES = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
"""The leaves of the test tree that implementations of RFC 6962 share (certificate-transparency)."""


def standards() -> Iterator[KnownAnswer]:
    """One test for each standard."""
    yield _test(
        "standard.sha-256",
        "FIPS 180-4: SHA-256 of 'abc'",
        b"abc",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        sha256_hex(b"abc"),
    )
    yield _test(
        "standard.json",
        "RFC 8785, section 3.2.2: SHA-256 of the canonical form",
        _JSON,
        "2d5e01a318d0f0879ab568c4be289c8b1f64ef8921a53c6277d5e069978baacb",
        sha256_hex(canonical_bytes(json.loads(_JSON))),
    )
    leaves = [bytes.fromhex(leaf) for leaf in _LEAVES]
    tree = Frontier()
    for leaf in leaves:
        tree.append(leaf_hash(leaf))
    yield _test(
        "standard.merkle-tree",
        "RFC 9162, section 2.1.1: root over the eight shared test leaves",
        b"".join(leaves),
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        tree.root().hex(),
    )
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    yield _test(
        "standard.ed25519",
        "RFC 8032, section 7.1, test 1: the signature over the empty message",
        b"",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bac"
        "c61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        Ed25519PrivateKey.from_private_bytes(seed).sign(b"").hex(),
    )
    yield _test(
        "standard.ecdsa",
        "RFC 6979, A.2.5, P-256 with SHA-256: signature over 'sample' holds, over 'test' does not",
        b"sample",
        "holds, does not hold",
        f"{_ecdsa(b'sample')}, {_ecdsa(b'test')}",
    )
    yield _test(
        "standard.ciede2000",
        "Sharma, Wu and Dalal (2005), table 1: pairs 1, 7, 17 and 34, to four decimals",
        b"",
        "2.0425 2.3669 27.1492 0.9082",
        _ciede2000(),
    )


def _ecdsa(message: bytes) -> str:
    x = 0x60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6
    y = 0x7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299
    r = 0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716
    s = 0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    try:
        public.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return "does not hold"
    return "holds"


def _ciede2000() -> str:
    import numpy as np  # noqa: PLC0415

    from restore_sdk.ciede2000 import delta_e_2000  # noqa: PLC0415

    pairs = np.array(
        [
            [[50.0, 2.6772, -79.7751], [50.0, 0.0, -82.7485]],
            [[50.0, 0.0, 0.0], [50.0, -1.0, 2.0]],
            [[50.0, 2.5, 0.0], [73.0, 25.0, -18.0]],
            [[2.0776, 0.0795, -1.1350], [0.9033, -0.0636, -0.5514]],
        ]
    )
    return " ".join(f"{value:.4f}" for value in delta_e_2000(pairs[:, 0].T, pairs[:, 1].T))


def _test(name: str, about: str, data: bytes, expected: str, found: str) -> KnownAnswer:
    return KnownAnswer(
        id=name,
        about=about,
        input_sha256=sha256_hex(data),
        expected=expected,
        found=found,
        verdict="pass" if expected == found else "fail",
    )
