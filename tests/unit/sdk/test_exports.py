"""Exports: what other programs read must be what they expect, and nothing broken gets out."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import c2pa
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from restore_manifests.canonical import parse_json_strict, sha256_hex
from restore_manifests.errors import EvidenceError, KeyStoreError, VerificationError
from restore_manifests.keys import Identity, create_identity
from restore_manifests.schema import parse_manifest
from restore_sdk.case_files import open_case
from restore_sdk.exports import ExportForm, export_record
from restore_sdk.exports_in_toto import PREDICATE_TYPE, envelope
from restore_sdk.exports_sidecar import sidecar

MakeBundle = Callable[..., Any]


def two_steps(document: dict[str, Any]) -> None:
    document["plan"].insert(0, {"operation": "enlarge", "parameters": {"factor": 2, "kernel": "cubic"}})
    document["trace"] = [
        {"operation": "enlarge", "input_sha256": "1" * 64, "output_sha256": "2" * 64},
        {"operation": "restore", "input_sha256": "2" * 64, "output_sha256": "3" * 64},
    ]


@pytest.mark.parametrize("form", list(ExportForm))
@pytest.mark.parametrize("damage", ["result", "manifest", "map"])
def test_a_record_with_a_failed_check_is_not_exported(
    make_bundle: MakeBundle, tmp_path: Path, signer: Identity, form: ExportForm, damage: str
) -> None:
    bundle = make_bundle(tmp_path / "case")
    if damage == "result":
        bundle.result.write_bytes(bundle.result.read_bytes()[:-1] + b"?")
    elif damage == "manifest":
        text = bundle.manifest.read_text(encoding="utf-8")
        bundle.manifest.write_text(text.replace('"seed": 0', '"seed": 1'), encoding="utf-8")
    else:
        bundle.edit.write_bytes(bundle.confidence.read_bytes())
    with pytest.raises(VerificationError, match="is not exported, because") as caught:
        export_record(bundle.manifest, form, open_identity=lambda: signer)
    assert caught.value.exit_code == 1


def test_the_key_is_not_touched_before_the_checks(make_bundle: MakeBundle, tmp_path: Path) -> None:
    def closed() -> Identity:
        raise KeyStoreError("no key here")

    bundle = make_bundle(tmp_path / "case")
    assert export_record(bundle.manifest, ExportForm.C2PA_SIDECAR, open_identity=closed)
    with pytest.raises(KeyStoreError):
        export_record(bundle.manifest, ExportForm.IN_TOTO, open_identity=closed)
    bundle.result.write_bytes(b"")
    with pytest.raises(VerificationError):
        export_record(bundle.manifest, ExportForm.IN_TOTO, open_identity=closed)


# ---- in-toto ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "Ed25519"])
def test_the_envelope_is_signed_as_dsse_readers_check_it(
    make_bundle: MakeBundle, tmp_path: Path, algorithm: Any
) -> None:
    bundle = make_bundle(tmp_path / "case")
    identity = create_identity(
        tmp_path / "keys", name="Exporter", algorithm=algorithm, passphrase=None, unprotected=True
    )
    data = export_record(bundle.manifest, ExportForm.IN_TOTO, open_identity=lambda: identity)
    document = json.loads(data)
    assert document["payloadType"] == "application/vnd.in-toto+json"
    payload = base64.b64decode(document["payload"])
    signed = b"DSSEv1 28 application/vnd.in-toto+json " + str(len(payload)).encode() + b" " + payload
    (signature,) = document["signatures"]
    value, key = base64.b64decode(signature["sig"]), identity.chain[0].public_key()

    def check(message: bytes) -> None:
        if isinstance(key, ec.EllipticCurvePublicKey):  # takes ASN.1 DER
            key.verify(value, message, ec.ECDSA(hashes.SHA256() if algorithm == "ES256" else hashes.SHA384()))
        else:
            assert isinstance(key, ed25519.Ed25519PublicKey)
            key.verify(value, message)

    check(signed)
    with pytest.raises(InvalidSignature):
        check(signed + b" ")
    assert signature["keyid"] == identity.key_id
    certificates = [signature["certificate"], *signature["intermediates"]]
    assert "".join(base64.b64decode(text).decode() for text in certificates) == identity.chain_pem


def test_the_statement_names_result_and_maps_and_carries_the_record(
    make_bundle: MakeBundle, tmp_path: Path, signer: Identity
) -> None:
    bundle = make_bundle(tmp_path / "case")
    record = parse_manifest(bundle.manifest.read_bytes())
    said = parse_json_strict(base64.b64decode(json.loads(envelope(record, signer))["payload"]))
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["predicateType"] == PREDICATE_TYPE
    files = (bundle.result, bundle.edit, bundle.confidence)
    assert said["subject"] == [
        {"name": file.name, "digest": {"sha256": sha256_hex(file.read_bytes())}} for file in files
    ]
    assert said["predicate"]["body"] == record.body.model_dump(mode="json")
    assert said["predicate"]["body_sha256"] == record.files.body_sha256


# ---- CASE/UCO --------------------------------------------------------------------------------------------


def validate(graph: bytes, folder: Path) -> int:
    pytest.importorskip("case_utils", reason="case_validate is not installed: pip install case-utils")
    path = folder / "graph.jsonld"
    path.write_bytes(graph)
    code = "import sys; from case_utils.case_validate import main; sys.exit(main())"
    words = [sys.executable, "-c", code, "--built-version", "case-1.5.0", str(path)]
    # it says "Conforms: True" of misspelt properties as well: only the exit code counts
    return subprocess.run(words, capture_output=True, check=False, timeout=300).returncode


@pytest.mark.slow
def test_case_validate_accepts_the_graph_and_no_misspelt_one(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "case", changes=two_steps)
    graph = export_record(bundle.manifest, ExportForm.CASE_UCO)
    assert validate(graph, tmp_path) == 0
    assert validate(graph.replace(b"uco-core:tag", b"uco-core:tagg"), tmp_path) == 1


def test_the_graph_tells_the_files_and_one_action_a_step(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "case", changes=two_steps)
    graph = export_record(bundle.manifest, ExportForm.CASE_UCO)
    assert graph == export_record(bundle.manifest, ExportForm.CASE_UCO)
    nodes = json.loads(graph)["@graph"]
    names: list[str] = []
    wanted: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if "@id" in value:
                (wanted if len(value) == 1 else names).append(value["@id"])
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(nodes)
    assert len(names) == len(set(names))
    assert set(wanted) <= set(names)
    text = graph.decode()
    for file in (bundle.source, bundle.result, bundle.edit, bundle.confidence):
        assert sha256_hex(file.read_bytes()) in text
    first, second = [n for n in nodes if n["@type"] == "case-investigation:InvestigativeAction"]
    assert (first["uco-core:name"], second["uco-core:name"]) == ("enlarge", "restore")
    assert first["uco-action:result"] == second["uco-action:object"]
    assert second["case-investigation:wasInformedBy"] == [{"@id": first["@id"]}]
    arguments = {f["uco-action:argumentName"]: f["uco-action:value"] for f in first["uco-core:hasFacet"]}
    assert arguments == {"factor": "2", "kernel": "cubic"}


# ---- C2PA sidecar ----------------------------------------------------------------------------------------


def codes(asset: bytes, store: bytes) -> set[str]:
    with c2pa.Reader("image/png", io.BytesIO(asset), store) as reader:
        document = json.loads(reader.json())
    return {item["code"] for item in document.get("validation_status", [])}


def test_the_sidecar_reads_back_for_its_result_and_for_no_other(
    make_bundle: MakeBundle, tmp_path: Path
) -> None:
    bundle, other = make_bundle(tmp_path / "case"), make_bundle(tmp_path / "other", seed=8)
    store = export_record(bundle.manifest, ExportForm.C2PA_SIDECAR)
    assert codes(bundle.result.read_bytes(), store) == {"signingCredential.untrusted"}
    assert "assertion.dataHash.mismatch" in codes(other.result.read_bytes(), store)


def test_a_result_without_a_claim_has_no_sidecar(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "case")
    with pytest.raises(EvidenceError, match="0 C2PA manifest stores"):
        sidecar(bundle.source.read_bytes())


def test_names_are_made_from_the_manifest(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "case")
    assert open_case(bundle.manifest).beside_manifest("c2pa") == tmp_path / "case" / "plate.c2pa"
