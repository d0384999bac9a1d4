"""A record as an in-toto statement in a signed DSSE envelope.

Statement v1 (in-toto attestation framework), envelope and pre-authentication encoding of DSSE v1.0.2. The
subjects are the result file and the maps; the predicate is the record's body. Signatures are as the DSSE
libraries of in-toto, sigstore and securesystemslib expect them: ECDSA as ASN.1 DER, not as r and s side by
side; RSA-PSS and Ed25519 as they are. The certificate stands beside the signature under the names that
Witness reads; other readers ignore them, as DSSE demands of members that they do not know.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from restore_manifests.canonical import canonical_bytes
from restore_manifests.keys import Identity
from restore_manifests.schema import Manifest

__all__ = ["PAYLOAD_TYPE", "PREDICATE_TYPE", "envelope", "pre_authentication", "statement"]

PAYLOAD_TYPE = "application/vnd.in-toto+json"
PREDICATE_TYPE = "urn:restore:predicate:restoration:1"
"""Predicate: `schema` and `body` of the manifest, `body_sha256` of the body's RFC 8785 bytes, `anchors`."""


def statement(record: Manifest) -> dict[str, Any]:
    """The unsigned statement."""
    body, sealed = record.body, record.files.result
    subjects = [(sealed.name, sealed.sha256)]
    subjects += [(m.name, m.file_sha256) for m in (body.maps.edit, body.maps.confidence) if m]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in subjects],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "schema": record.schema_,
            "body_sha256": record.files.body_sha256,
            "body": body.model_dump(mode="json"),
            "anchors": [anchor.model_dump(mode="json") for anchor in record.anchors],
        },
    }


def envelope(record: Manifest, identity: Identity) -> bytes:
    """The statement in an envelope signed by `identity`, as the bytes of a JSON file."""
    payload = canonical_bytes(statement(record))
    raw = identity.sign(pre_authentication(PAYLOAD_TYPE, payload))
    leaf, *others = (base64.b64encode(c.public_bytes(Encoding.PEM)).decode() for c in identity.chain)
    signature = {
        "keyid": identity.key_id,
        "sig": base64.b64encode(_as_peers_expect(raw, identity.algorithm)).decode(),
        "certificate": leaf,
        "intermediates": others,
    }
    document = {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [signature],
    }
    return (json.dumps(document, indent=2) + "\n").encode()


def pre_authentication(kind: str, payload: bytes) -> bytes:
    """The bytes that are signed: DSSE v1.0.2, protocol, "PAE"."""
    name = kind.encode()
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)


def _as_peers_expect(raw: bytes, algorithm: str) -> bytes:
    if not algorithm.startswith("ES"):
        return raw
    half = len(raw) // 2
    return encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))
