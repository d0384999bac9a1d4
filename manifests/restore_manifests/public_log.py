"""How a public log speaks of a record: not by the record, whose names and prompts are nobody's business.

Two forms of entry. For any log that takes bytes (Tessera, c2sp.org/tlog-tiles), our own line:

    restore.digest/1
    sha256:<64 hexadecimal digits of the RFC 8785 form of the body>

For Rekor v2 its `hashedrekord` 0.0.2: the same hash, the manifest's own signature over the body and the
signer's public key, as RFC 8785 JSON (rekor-tiles, api/proto/rekor/v2/hashedrekord.proto; CLIENTS.md). Rekor
takes ECDSA signatures in this form; for RSA it knows PKCS#1 v1.5 only, and Ed25519 only over a prehash.

Pure: requests are built and responses read here; who carries them is the caller's business.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from restore_manifests.canonical import canonical_bytes, parse_json_strict, sha256_hex
from restore_manifests.checkpoint import VerifierKey, decode_base64, parse_decimal
from restore_manifests.errors import LogError, ManifestError, UndecidableError, VerificationError
from restore_manifests.log_proof import LogProof, verify_inclusion
from restore_manifests.schema import Manifest, PublicLogAnchor, Signature, body_bytes
from restore_manifests.signing import Problem, load_certificates

__all__ = [
    "digest_entry",
    "entry_problem",
    "public_anchor",
    "read_rekor_response",
    "rekor_request",
]

_KINDS = {"ES256": ("SHA2_256", "PKIX_ECDSA_P256_SHA_256"), "ES384": ("SHA2_384", "PKIX_ECDSA_P384_SHA_384")}
"""Rekor's names of the hash and of the key, by our algorithm."""


def digest_entry(manifest: Manifest) -> bytes:
    """The entry of form `restore.digest/1` for a record."""
    return f"restore.digest/1\nsha256:{sha256_hex(body_bytes(manifest.body))}\n".encode()


def rekor_request(manifest: Manifest) -> bytes:
    """The body of Rekor's CreateEntry (POST /api/v2/log/entries), JSON.

    Raises LogError if the record is not signed with ECDSA, ManifestError if its certificates are unreadable.
    """
    data, signature = _rekor_parts(manifest)
    request = {"hashedRekordRequestV002": {"digest": data["digest"], "signature": signature}}
    return canonical_bytes(request)


def read_rekor_response(response: bytes, manifest: Manifest, key: VerifierKey) -> PublicLogAnchor:
    """The anchor in Rekor's answer (a TransparencyLogEntry), checked before it is given.

    Index, root and size of the answer are not believed: they come from the checkpoint that `key` signed
    (CLIENTS.md, "Miscellaneous verification bundle changes"). Raises UndecidableError if the answer is none,
    or of another entry than was asked for, or does not hold.
    """
    try:
        answer = parse_json_strict(response)
        entry = decode_base64(answer["canonicalizedBody"])
        inclusion = answer["inclusionProof"]
        path = tuple(decode_base64(step) for step in inclusion.get("hashes", []))
        proof = LogProof(parse_decimal(str(answer["logIndex"])), path, inclusion["checkpoint"]["envelope"])
        text = proof.encode()
    except (ManifestError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UndecidableError(
            "The public log answered something that is no entry of Rekor v2.",
            hint="Check its address: it has to be a Rekor of version 2.",
        ) from error
    return public_anchor("hashedrekord/0.0.2", entry, text, manifest, key)


def public_anchor(
    form: Any, entry: bytes, proof: str, manifest: Manifest, key: VerifierKey
) -> PublicLogAnchor:
    """The anchor of an entry that the log with `key` holds. Raises UndecidableError if it does not hold."""
    try:
        place = verify_inclusion(proof, entry, key.encode())
    except VerificationError as error:
        raise UndecidableError(
            f"The public log's answer does not hold: {error.message}",
            hint="Check that the key given is that of this log.",
        ) from error
    anchor = PublicLogAnchor(
        type="public-log",
        format=form,
        origin=place.origin,
        index=place.index,
        tree_size=place.tree_size,
        public_key=key.encode(),
        entry=base64.b64encode(entry).decode(),
        proof=proof,
    )
    if problem := entry_problem(anchor, manifest):
        raise UndecidableError(
            f"The public log entered something else than it was given: {problem.message}",
            hint="Check its address.",
        )
    return anchor


def entry_problem(anchor: PublicLogAnchor, manifest: Manifest) -> Problem | None:
    """None if the entry speaks of this record, in the form that the anchor says. Never raises."""
    try:
        entry = decode_base64(anchor.entry)
    except (ValueError, binascii.Error):
        return Problem("log-entry-form", "The entry of the public log is not in its plain base64 form.")
    other = Problem("log-entry-other", "The entry of the public log is about another record.")
    if anchor.format == "restore.digest/1":
        return None if entry == digest_entry(manifest) else other
    try:
        document = parse_json_strict(entry)
        data, signature = _rekor_parts(manifest)
        spec = document["spec"]["hashedRekordV002"]
        known = (document["kind"], document["apiVersion"]) == ("hashedrekord", "0.0.2")
    except (ManifestError, LogError, KeyError, TypeError):
        return Problem("log-entry-form", "The entry of the public log is no hashedrekord of version 0.0.2.")
    return None if known and spec == {"data": data, "signature": signature} else other


def _rekor_parts(manifest: Manifest) -> tuple[dict[str, str], dict[str, Any]]:
    """The `data` and the `signature` of the hashedrekord for a record, as protojson writes them."""
    signature = next((one for one in manifest.signatures if one.scope == "body"), None)
    if signature is None or signature.algorithm not in _KINDS:
        raise LogError(
            "Rekor takes records that are signed with ECDSA only, and this one is not.",
            hint="Enter it in a log of the other kind, or sign with an ES256 or ES384 key.",
        )
    hash_name, key_name = _KINDS[signature.algorithm]
    digest = hashlib.new(
        "sha256" if hash_name == "SHA2_256" else "sha384", body_bytes(manifest.body)
    ).digest()
    public = load_certificates(signature)[0].public_key()
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return (
        {"algorithm": hash_name, "digest": base64.b64encode(digest).decode()},
        {
            "content": base64.b64encode(_der(signature)).decode(),
            "verifier": {
                "keyDetails": key_name,
                "publicKey": {"rawBytes": base64.b64encode(spki).decode()},
            },
        },
    )


def _der(signature: Signature) -> bytes:
    """ECDSA-Sig-Value (RFC 3279, 2.2.3) of a signature in the fixed form r||s (RFC 7518, 3.4)."""
    try:
        raw = base64.b64decode(signature.value, validate=True)
    except (binascii.Error, ValueError):
        raise ManifestError("The signature of the record is not base64 text.") from None
    half = len(raw) // 2
    return encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))
