"""Tampering, each kind caught by the check it belongs to; hostile bytes; and what a verdict is made of."""

from __future__ import annotations

import base64
import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import restore_manifests
from restore_manifests import verifier
from restore_manifests.canonical import canonical_bytes, sha256_hex
from restore_manifests.data_hash import DataHash
from restore_manifests.errors import ManifestError, UsageError
from restore_manifests.keys import Identity
from restore_manifests.log import TransparencyLog
from restore_manifests.pixels import decode_png, encode_png, pixels_sha256, png_chunks
from restore_manifests.report import SAME_BYTES
from restore_manifests.schema import body_bytes, manifest_bytes, parse_manifest
from restore_manifests.signing import sign_manifest
from restore_manifests.verifier import (
    Check,
    Recomputation,
    RecordInputs,
    Report,
    SourcePixels,
    Verdict,
    verify_record,
)

ALL = [
    "result.file",
    "result.pixels",
    "manifest.schema",
    "signature",
    "signer.trust",
    "c2pa.binding",
    "c2pa.agrees",
    "source.file",
    "source.pixels",
    "maps.edit",
    "maps.confidence",
    "log.inclusion",
    "log.checkpoint",
    "model.weights",
    "recompute.pixels",
]
ALL_PIXELS = ("result.pixels", "source.pixels", "maps.edit", "maps.confidence")
Build = Callable[..., Any]


def verdicts(inputs: RecordInputs) -> dict[str, Check]:
    return {check.id: check for check in verify_record(inputs).checks}


def failing(inputs: RecordInputs) -> set[str]:
    return {check.id for check in verify_record(inputs).checks if check.verdict is Verdict.FAIL}


def unable(inputs: RecordInputs) -> set[str]:
    return {check.id for check in verify_record(inputs).checks if check.verdict is Verdict.UNABLE}


def flip(data: bytes, place: int = -20) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


def edited(good: Any, old: str, new: str) -> RecordInputs:
    text = good.inputs.manifest_bytes.decode()
    assert text.count(old) == 1, old
    return good.with_(manifest_bytes=text.replace(old, new).encode())


def one_pixel(good: Any) -> RecordInputs:
    """One sample differs by one; the file is a right PNG that keeps its old claim."""
    data = good.inputs.result_bytes
    start, claim = next((start, body) for start, name, body in png_chunks(data) if name == b"caBX")
    pixels = decode_png(data).copy()
    pixels[3, 4, 1] ^= 1
    fresh = encode_png(pixels)
    return good.with_(result_bytes=fresh[:start] + data[start : start + 12 + len(claim)] + fresh[start:])


def claim_byte(good: Any) -> RecordInputs:
    data = good.inputs.result_bytes
    start = next(start for start, name, _ in png_chunks(data) if name == b"caBX")
    place = data.index(b"org.restore.run", start)
    return good.with_(result_bytes=flip(data, place))


def stripped(good: Any) -> RecordInputs:
    data = good.inputs.result_bytes
    start, claim = next((start, body) for start, name, body in png_chunks(data) if name == b"caBX")
    return good.with_(result_bytes=data[:start] + data[start + 12 + len(claim) :])


def proof(good: Any, change: Callable[[str], str]) -> RecordInputs:
    (anchor,) = good.manifest.anchors
    return good.with_manifest(anchors=[anchor.model_copy(update={"proof": change(anchor.proof)})])


def path_changed(text: str) -> str:
    head, blank, note = text.partition("\n\n")
    *lines, last = head.split("\n")
    digest = base64.b64encode(flip(base64.b64decode(last), 5)).decode()
    return "\n".join([*lines, digest]) + blank + note


def note_changed(text: str) -> str:
    head, blank, note = text.partition("\n\n")
    origin, size, root, *rest = note.split("\n")
    return (
        head
        + blank
        + "\n".join([origin, size, base64.b64encode(flip(base64.b64decode(root), 5)).decode(), *rest])
    )


def resigned(good: Any, other: Identity) -> RecordInputs:
    """Somebody else signs the same record and the same file."""
    manifest = sign_manifest(
        good.manifest.body, good.inputs.result_bytes, other, anchors=good.manifest.anchors
    )
    return good.with_(manifest_bytes=manifest_bytes(manifest))


def test_good_record_passes_every_check(good: Any) -> None:
    report = verify_record(good.inputs)
    assert [check.id for check in report.checks] == ALL
    assert {check.verdict for check in report.checks} == {Verdict.PASS}
    assert (report.verdict, report.exit_code) == (Verdict.PASS, 0)
    document = json.loads(json.dumps(report.to_json()))
    assert document["verdict"] == "pass"
    assert set(document["checks"][0]) == {"id", "verdict", "code", "message"}
    for check in report.checks:
        assert check.message.endswith(".")
        assert check.message[0].isupper()


# name -> (what is changed, the checks that catch it, all of them)
TAMPERING: dict[str, tuple[Callable[[Any], RecordInputs], set[str]]] = {
    "one pixel": (one_pixel, {"result.file", "result.pixels", "c2pa.binding"}),
    "a byte after the result": (
        lambda good: good.with_(result_bytes=good.inputs.result_bytes + b"x"),
        {"result.file", "result.pixels", "c2pa.binding"},
    ),
    "claim byte": (claim_byte, {"result.file", "result.pixels", "c2pa.binding"}),
    "claim stripped": (stripped, {"result.file", "c2pa.binding"}),
    "prompt": (
        lambda good: edited(good, "remove the noise", "invent a plate"),
        {"signature", "c2pa.agrees", "log.inclusion"},
    ),
    "plan parameter": (
        lambda good: edited(good, '"sigma": 12.5', '"sigma": 12.4'),
        {"signature", "c2pa.agrees", "log.inclusion"},
    ),
    "abstention": (
        lambda good: edited(good, '"abstained": false', '"abstained": true'),
        {"signature", "c2pa.agrees", "log.inclusion"},
    ),
    "unknown member": (
        lambda good: edited(good, '"abstained": false', '"abstained": false, "note": 1'),
        {"manifest.schema"},
    ),
    "duplicate member": (
        lambda good: edited(good, '"abstained": false', '"abstained": true, "abstained": false'),
        {"manifest.schema"},
    ),
    "schema version": (
        lambda good: edited(good, "restore.manifest/1", "restore.manifest/2"),
        {"manifest.schema"},
    ),
    "bytes after the manifest": (
        lambda good: good.with_(manifest_bytes=good.inputs.manifest_bytes + b"{}"),
        {"manifest.schema"},
    ),
    "edit map byte": (
        lambda good: good.with_(edit_map_bytes=flip(good.inputs.edit_map_bytes)),
        {"maps.edit"},
    ),
    "confidence map byte": (
        lambda good: good.with_(confidence_map_bytes=flip(good.inputs.confidence_map_bytes)),
        {"maps.confidence"},
    ),
    "maps exchanged": (
        lambda good: good.with_(
            edit_map_bytes=good.inputs.confidence_map_bytes, confidence_map_bytes=good.inputs.edit_map_bytes
        ),
        {"maps.edit", "maps.confidence"},
    ),
    "proof path": (lambda good: proof(good, path_changed), {"log.inclusion"}),
    "proof index": (
        lambda good: proof(good, lambda text: text.replace("index 1", "index 0")),
        {"log.inclusion"},
    ),
    "checkpoint root": (lambda good: proof(good, note_changed), {"log.checkpoint"}),
    "proof emptied": (lambda good: proof(good, lambda text: ""), {"log.checkpoint"}),
    "source": (
        lambda good: good.with_(source_bytes=flip(good.inputs.source_bytes), source_pixels_sha256="0" * 64),
        {"source.file", "source.pixels"},
    ),
    "weights": (lambda good: good.with_(weights={"swin-unet-small": "0" * 64}), {"model.weights"}),
    "recomputed pixels": (
        lambda good: good.with_(recomputed=Recomputation(pixels_sha256="0" * 64)),
        {"recompute.pixels"},
    ),
    "recomputed edit map": (
        lambda good: good.with_(recomputed=dataclasses.replace(good.inputs.recomputed, edit_sha256="0" * 64)),
        {"maps.edit"},
    ),
    "recomputed confidence map": (
        lambda good: good.with_(
            recomputed=dataclasses.replace(good.inputs.recomputed, confidence_sha256="0" * 64)
        ),
        {"maps.confidence"},
    ),
    "signature removed": (
        lambda good: good.with_manifest(signatures=good.manifest.signatures[:1]),
        {"signature"},
    ),
    "signatures removed": (
        lambda good: good.with_manifest(signatures=[]),
        {"signature", "signer.trust", "c2pa.agrees"},
    ),
    "signatures exchanged": (
        lambda good: good.with_manifest(
            signatures=[
                good.manifest.signatures[0].model_copy(update={"value": good.manifest.signatures[1].value}),
                good.manifest.signatures[1],
            ]
        ),
        {"signature"},
    ),
}


def by_bytes(good: Any, **changes: Any) -> RecordInputs:
    return good.with_(recomputed=None, **({"pixels": False} | changes))


def test_pictures_are_not_decoded_whose_bytes_a_trusted_signer_signed(
    good: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(*_: Any, **__: Any) -> Any:
        raise AssertionError("a picture was decoded")

    monkeypatch.setattr(verifier, "decode_png", decode)
    report = verify_record(by_bytes(good), source=decode)
    assert report.verdict is Verdict.PASS, report
    found = {check.id: check for check in report.checks}
    assert [check.id for check in report.checks] == [name for name in ALL if name != "recompute.pixels"]
    for name in ALL_PIXELS:
        assert found[name].code == SAME_BYTES
        assert "byte for byte" in found[name].message
        assert "not decoded" in found[name].message
    assert "neither decoded nor computed again" in report.praise


def test_who_is_not_trusted_has_signed_nothing_that_counts(good: Any, other_identity: Identity) -> None:
    """Without a root, with another one, with a revoked signer, or with a signature that does not hold."""
    root = other_identity.root_pem
    for inputs in (by_bytes(good, trust_roots_pem=None), by_bytes(good, trust_roots_pem=root)):
        assert not any(check.code == SAME_BYTES for check in verify_record(inputs).checks)
    broken = dataclasses.replace(edited(good, '"abstained": false', '"abstained": true'), recomputed=None)
    report = verify_record(dataclasses.replace(broken, pixels=False))
    assert report.verdict is Verdict.FAIL
    assert not any(check.code == SAME_BYTES for check in report.checks)


@pytest.mark.parametrize(
    ("name", "wrong"),
    list(zip(("result", "source", "edit_map", "confidence_map"), ALL_PIXELS, strict=True)),
)
def test_a_picture_of_other_bytes_is_decoded_and_the_others_are_not(good: Any, name: str, wrong: str) -> None:
    member = f"{name}_bytes"
    other = encode_png(decode_png(getattr(good.inputs, member)) // 2)
    seen: list[str] = []

    def source() -> SourcePixels:
        seen.append("source")
        return SourcePixels(pixels_sha256(decode_png(other)), "pillow 12")

    report = verify_record(by_bytes(good, **{member: other}), source=source)
    found = {check.id: check for check in report.checks}
    assert found[wrong].verdict is Verdict.FAIL
    assert seen == (["source"] if name == "source" else [])
    assert {found[other].code for other in ALL_PIXELS if other != wrong} == {SAME_BYTES}, report


class Shifting:
    """A file that changes while it is looked at: hashed it is `first`, read it is `then`."""

    def __init__(self, first: bytes, then: bytes | None = None) -> None:
        self.first, self.data, self.was_read = first, first if then is None else then, False
        self.size = len(first)

    def sha256(self) -> str:
        return sha256_hex(self.data if self.was_read else self.first)

    def read(self) -> bytes:
        self.was_read = True
        return self.data


class Gone(Shifting):
    def sha256(self) -> str:
        raise UsageError("It has gone.")

    read = sha256  # type: ignore[assignment]


STORED = {
    "source_bytes": "source.file",
    "edit_map_bytes": "maps.edit",
    "confidence_map_bytes": "maps.confidence",
}


def stored(good: Any, kind: Any = Shifting, **changes: Any) -> RecordInputs:
    files = {name: kind(getattr(good.inputs, name)) for name in STORED}
    return by_bytes(good, **(files | changes))


def test_files_that_are_not_held_are_hashed_and_not_read(good: Any) -> None:
    inputs = stored(good)
    assert inputs.size == good.inputs.size
    assert verify_record(inputs) == verify_record(by_bytes(good))
    assert not any(getattr(inputs, name).was_read for name in STORED)


@pytest.mark.parametrize("options", [{"pixels": True}, {"trust_roots_pem": None}])
def test_where_pictures_are_decoded_the_hash_is_of_the_decoded_bytes(
    good: Any, options: dict[str, Any]
) -> None:
    assert verify_record(stored(good, **options)) == verify_record(by_bytes(good, **options))
    for name, check in STORED.items():
        data = getattr(good.inputs, name)
        other = encode_png(decode_png(data) // 2)
        inputs = stored(good, **{name: Shifting(data, other)}, **options)
        assert verdicts(inputs)[check].code == "file-mismatch"


def test_a_file_that_was_changed_is_caught_by_its_hash_and_changing_it_back_does_not_help(good: Any) -> None:
    for name, check in STORED.items():
        data = getattr(good.inputs, name)
        inputs = stored(good, **{name: Shifting(encode_png(decode_png(data) // 2), data)})
        assert verdicts(inputs)[check].code == "file-mismatch"
        assert verify_record(inputs).verdict is Verdict.FAIL


@pytest.mark.parametrize("pixels", [False, True])
def test_a_file_that_cannot_be_read_any_more_never_passes(good: Any, pixels: bool) -> None:
    found = verdicts(stored(good, Gone, pixels=pixels, source_pixels_sha256=None))
    for name in ("source.file", "source.pixels", "maps.edit", "maps.confidence"):
        assert found[name].verdict is Verdict.UNABLE


def test_a_signer_who_misstates_the_pixels_is_caught_where_they_are_decoded(good: Any) -> None:
    """Only decoding can show this, so it is what the other reading leaves open."""
    result = good.manifest.body.result.model_copy(update={"pixels_sha256": "0" * 64})
    body = good.manifest.body.model_copy(update={"result": result})
    signed = sign_manifest(body, good.inputs.result_bytes, good.identity)
    inputs = good.with_(manifest_bytes=manifest_bytes(signed), recomputed=None)
    assert verdicts(inputs)["result.pixels"].code == "pixels-mismatch"
    assert verdicts(dataclasses.replace(inputs, pixels=False))["result.pixels"].code == SAME_BYTES


def test_what_was_recomputed_is_compared_with_decoded_pixels(good: Any) -> None:
    report = verify_record(good.with_(pixels=False))
    assert not any(check.code == SAME_BYTES for check in report.checks)


def test_the_form_of_the_claims_binding_is_judged_without_hashing_again(
    good: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DataHash, "form_problem", "the claim leaves out other bytes than the claim itself")
    assert verdicts(by_bytes(good))["c2pa.binding"].code == "binding-mismatch"


@pytest.mark.parametrize("threads", [2, 3, 9])
def test_threads_do_not_change_a_word(good: Any, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier, "_WORTH_A_THREAD", 0)
    hostile = dataclasses.replace(
        good.inputs, edit_map_bytes=b"x", result_bytes=good.inputs.result_bytes[:-9]
    )
    for inputs in (good.inputs, hostile, by_bytes(good)):
        assert verify_record(inputs, threads=threads) == verify_record(inputs)


def test_a_source_is_decoded_when_its_turn_comes(good: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier, "_WORTH_A_THREAD", 0)
    bare = dataclasses.replace(good.inputs, source_pixels_sha256=None, source_decoder=None)
    known = SourcePixels(good.inputs.source_pixels_sha256, good.inputs.source_decoder)
    for threads in (1, 3):
        assert verify_record(bare, source=lambda: known, threads=threads) == verify_record(good.inputs)
        found = {c.id: c for c in verify_record(bare, source=lambda: 1 // 0, threads=threads).checks}
        assert found["source.pixels"].code == "check-broke"


@pytest.mark.parametrize("name", TAMPERING)
def test_tampering_is_caught_by_its_check(good: Any, name: str) -> None:
    change, expected = TAMPERING[name]
    report = verify_record(change(good))
    assert {check.id for check in report.checks if check.verdict is Verdict.FAIL} == expected
    assert (report.verdict, report.exit_code) == (Verdict.FAIL, 1)
    for check in report.checks:
        assert check.message.endswith(".")
        assert check.code != "check-broke"


def test_signed_by_another_identity(good: Any, other_identity: Identity) -> None:
    inputs = resigned(good, other_identity)
    assert failing(inputs) == {"signer.trust", "c2pa.agrees"}
    without_root = dataclasses.replace(inputs, trust_roots_pem=None)
    assert failing(without_root) == {"c2pa.agrees"}  # the claim still names the first signer
    assert verify_record(without_root).exit_code == 1
    their_root = dataclasses.replace(inputs, trust_roots_pem=other_identity.root_pem)
    assert failing(their_root) == {"signer.trust", "c2pa.agrees"}  # the claim's signer is not theirs


def test_certificate_of_another_without_signing_again(good: Any, other_identity: Identity) -> None:
    theirs = resigned(good, other_identity)
    certificates = parse_manifest(theirs.manifest_bytes).signatures[0].certificates
    signatures = [s.model_copy(update={"certificates": certificates}) for s in good.manifest.signatures]
    assert "signature" in failing(good.with_manifest(signatures=signatures))
    mixed = [good.manifest.signatures[0], parse_manifest(theirs.manifest_bytes).signatures[1]]
    assert verdicts(good.with_manifest(signatures=mixed))["signature"].code == "signature-signers"


def test_another_result_sealed_by_the_same_signer(good: Any, build: Build) -> None:
    """Parts of two genuine records of one signer do not make a third."""
    other = build(size=(24, 40))
    swapped = good.with_manifest(
        files=other.manifest.files, signatures=[good.manifest.signatures[0], other.manifest.signatures[1]]
    )
    assert verdicts(swapped)["signature"].code == "seal-mismatch"
    assert {"signature", "result.file"} <= failing(swapped)
    assert {"result.file", "result.pixels", "c2pa.agrees"} <= failing(
        good.with_(result_bytes=other.inputs.result_bytes)
    )


class TestTrust:
    def test_nobody_is_trusted_without_a_root(self, good: Any) -> None:
        report = verify_record(good.with_(trust_roots_pem=None))
        assert unable(good.with_(trust_roots_pem=None)) == {"signer.trust"}
        assert (report.verdict, report.exit_code) == (Verdict.UNABLE, 3)

    def test_another_root(self, good: Any, other_identity: Identity) -> None:
        assert failing(good.with_(trust_roots_pem=other_identity.root_pem)) == {"signer.trust"}

    def test_several_roots(self, good: Any, other_identity: Identity) -> None:
        both = f"{other_identity.root_pem}{good.identity.root_pem}"
        assert verify_record(good.with_(trust_roots_pem=both)).exit_code == 0

    @pytest.mark.parametrize(
        "pem", ["", "garbage", "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----"]
    )
    def test_unreadable_roots(self, good: Any, pem: str) -> None:
        inputs = good.with_(trust_roots_pem=pem)
        assert verdicts(inputs)["signer.trust"].code == "root-unreadable"
        assert unable(inputs) == {"signer.trust"}  # a bad trust file says nothing against the record
        assert not failing(inputs)

    def test_expired_since(self, good: Any) -> None:
        later = good.identity.not_after + timedelta(days=1)
        assert verdicts(good.with_(now=later))["signer.trust"].code == "certificate-expired"
        assert unable(good.with_(now=later)) == {"signer.trust"}

    def test_created_after_now(self, good: Any) -> None:
        assert verdicts(good.with_(now=good.inputs.now - timedelta(days=1)))["signer.trust"].code == "clock"

    @pytest.mark.parametrize("days", [-1, 4000])
    def test_created_outside_the_certificate(self, build: Build, days: int) -> None:
        record = build(created=datetime.now(UTC) + timedelta(days=days))
        inputs = record.with_(now=datetime.now(UTC) + timedelta(days=5000))
        assert verdicts(inputs)["signature"].code == "certificate-time"
        assert verify_record(inputs).exit_code == 1


class TestClaim:
    def test_record_inside_differs(self, good: Any, build: Build) -> None:
        body = json.loads(body_bytes(good.manifest.body))
        body["request"]["prompt"] = "something else"
        record = build(text=canonical_bytes(body).decode())
        check = verdicts(record.inputs)["c2pa.agrees"]
        assert (check.verdict, check.code) == (Verdict.FAIL, "record-differs")
        assert "request.prompt" in check.message

    def test_record_inside_in_another_form(self, build: Build, good: Any) -> None:
        """The same members in another order or layout are not the signed bytes."""
        created = datetime.fromisoformat(good.manifest.body.created)
        loose = json.dumps(json.loads(body_bytes(good.manifest.body)), indent=1)
        record = build(created=created, text=loose)
        check = verdicts(record.inputs)["c2pa.agrees"]
        assert (check.verdict, check.code) == (Verdict.FAIL, "record-differs")
        assert "another form" in check.message

    @pytest.mark.parametrize("text", ["", "not JSON", '{"a":1,"a":2}'])
    def test_record_inside_is_no_record(self, build: Build, text: str) -> None:
        assert failing(build(text=text).inputs) == {"c2pa.agrees"}

    def test_maps_left_out_of_the_claim(self, build: Build) -> None:
        assert verdicts(build(maps_inside=False).inputs)["c2pa.agrees"].code == "maps-differ"

    def test_claim_signed_by_another(self, good: Any, build: Build, other_identity: Identity) -> None:
        """The result was claimed by one, the manifest of it signed by another."""
        theirs = build(other_identity)
        manifest = sign_manifest(
            theirs.manifest.body, theirs.inputs.result_bytes, good.identity, anchors=theirs.manifest.anchors
        )
        inputs = theirs.with_(manifest_bytes=manifest_bytes(manifest), trust_roots_pem=good.identity.root_pem)
        assert failing(inputs) == {"signer.trust", "c2pa.agrees"}
        assert verdicts(inputs)["signer.trust"].code == "claim-signer"


class TestAncestors:
    def test_source_with_an_intact_claim(self, good: Any, build: Build) -> None:
        record = build(source=good.inputs.result_bytes)
        assert verdicts(record.inputs)["c2pa.ancestors"].verdict is Verdict.PASS
        assert verify_record(record.inputs).exit_code == 0

    def test_source_with_a_broken_claim(self, good: Any, build: Build) -> None:
        record = build(source=one_pixel(good).result_bytes)
        assert failing(record.inputs) == {"c2pa.ancestors"}
        assert "assertion.dataHash.mismatch" in verdicts(record.inputs)["c2pa.ancestors"].message

    def test_source_claimed_by_a_stranger(self, good: Any, build: Build, other_identity: Identity) -> None:
        record = build(other_identity, source=good.inputs.result_bytes)
        assert unable(record.inputs) == {"c2pa.ancestors"}

    def test_source_with_an_unreadable_claim(self, good: Any, build: Build) -> None:
        data = good.inputs.result_bytes
        start = data.index(b"caBX")
        record = build(source=data[: start + 60] + bytes(900) + data[start + 960 :])
        assert failing(record.inputs) == {"c2pa.ancestors"}

    def test_ancestor_that_the_result_does_not_carry(self, good: Any) -> None:
        body = good.manifest.body.model_copy(
            update={"ingredients": [restore_manifests.schema.Ingredient(label="urn:c2pa:x", verdict="pass")]}
        )
        check = verdicts(good.with_manifest(body=body))["c2pa.ancestors"]
        assert (check.verdict, check.code) == (Verdict.FAIL, "ancestor-missing")


class TestLog:
    def test_without_a_given_key_it_says_so(self, good: Any) -> None:
        check = verdicts(good.with_(log_public_key=None))["log.checkpoint"]
        assert check.verdict is Verdict.PASS
        assert "no key was given" in check.message

    def test_another_key(self, good: Any, tmp_path: Path) -> None:
        with TransparencyLog.open(tmp_path / "another", origin="test.example/log") as log:
            key = log.vkey
        assert failing(good.with_(log_public_key=key)) == {"log.checkpoint"}
        assert failing(good.with_(log_public_key="garbage")) == {"log.checkpoint"}

    def test_proof_of_another_log(self, good: Any, tmp_path: Path) -> None:
        """The record was entered elsewhere: right there, but not under the key that is trusted."""
        with TransparencyLog.open(tmp_path / "another", origin="test.example/log") as log:
            index = log.append(body_bytes(good.manifest.body))
            change = {
                "proof": log.inclusion_proof_text(index),
                "index": index,
                "tree_size": log.size,
                "public_key": log.vkey,
            }
        anchors = [good.manifest.anchors[0].model_copy(update=change)]
        assert failing(good.with_manifest(anchors=anchors)) == {"log.checkpoint"}
        kept = [good.manifest.anchors[0].model_copy(update={"proof": change["proof"]})]
        assert failing(good.with_manifest(anchors=kept)) == {"log.checkpoint"}

    @pytest.mark.parametrize(
        ("member", "value", "caught"),
        [
            ("index", 0, "log.inclusion"),
            ("tree_size", 9, "log.inclusion"),
            ("origin", "another.example/log", "log.checkpoint"),
            ("public_key", "garbage", "log.checkpoint"),
        ],
    )
    def test_what_the_anchor_says_must_be_what_is_proved(
        self, good: Any, member: str, value: Any, caught: str
    ) -> None:
        anchors = [good.manifest.anchors[0].model_copy(update={member: value})]
        assert failing(good.with_manifest(anchors=anchors)) == {caught}

    def test_a_second_anchor_must_hold_too(self, good: Any) -> None:
        first = good.manifest.anchors[0]
        broken = first.model_copy(update={"proof": path_changed(first.proof)})
        for anchors in ([first, broken], [broken, first]):
            assert failing(good.with_manifest(anchors=anchors)) == {"log.inclusion"}

    def test_no_anchor_is_never_a_pass(self, good: Any) -> None:
        assert unable(good.with_manifest(anchors=[])) == {"log.inclusion", "log.checkpoint"}


class TestMissing:
    def test_source(self, good: Any) -> None:
        inputs = good.with_(
            source_bytes=None,
            source_pixels_sha256=None,
            recomputed=Recomputation(reason="the source was not found"),
        )
        assert unable(inputs) == {"source.file", "source.pixels", "recompute.pixels"}
        assert verify_record(inputs).exit_code == 3
        assert "the source was not found" in verdicts(inputs)["recompute.pixels"].message

    def test_source_that_cannot_be_decoded(self, good: Any) -> None:
        check = verdicts(good.with_(source_pixels_sha256=None, source_problem="no decoder"))["source.pixels"]
        assert check.verdict is Verdict.UNABLE
        assert "no decoder" in check.message

    def test_another_decoder(self, good: Any) -> None:
        other = {"source_pixels_sha256": "0" * 64, "source_decoder": "pillow 13"}
        assert verdicts(good.with_(**other))["source.pixels"].code == "decoder-differs"
        same = {**other, "source_decoder": "pillow 12"}
        assert failing(good.with_(**same)) == {"source.pixels"}

    @pytest.mark.parametrize("kind", ["edit", "confidence"])
    def test_maps(self, good: Any, kind: str) -> None:
        assert unable(good.with_(**{f"{kind}_map_bytes": None})) == {f"maps.{kind}"}

    @pytest.mark.parametrize("weights", [{}, {"swin-unet-small": None}, {"another": "0" * 64}])
    def test_weights(self, good: Any, weights: dict[str, str | None]) -> None:
        assert unable(good.with_(weights=weights)) == {"model.weights"}

    def test_recomputation_not_asked_for(self, good: Any) -> None:
        report = verify_record(good.with_(recomputed=None))
        assert [check.id for check in report.checks] == [name for name in ALL if name != "recompute.pixels"]
        assert report.exit_code == 0

    def test_inexact_arithmetic_is_no_mismatch(self, good: Any) -> None:
        models = [good.manifest.body.models[0].model_copy(update={"arithmetic": "tolerance"})]
        body = good.manifest.body.model_copy(update={"models": models})
        changed = good.with_manifest(body=body)
        inputs = dataclasses.replace(changed, recomputed=Recomputation(pixels_sha256="0" * 64))
        assert verdicts(inputs)["recompute.pixels"].code == "tolerance"

    def test_maps_and_models_that_the_record_does_not_have(self, good: Any) -> None:
        maps = good.manifest.body.maps.model_copy(update={"edit": None, "confidence": None})
        body = good.manifest.body.model_copy(update={"maps": maps, "models": []})
        found = verdicts(good.with_manifest(body=body))
        assert not {"maps.edit", "maps.confidence", "model.weights"} & found.keys()


def test_pixels_that_lie_about_themselves(good: Any) -> None:
    """A result of other dimensions is named as such; an image too large is not decoded."""
    wider = good.manifest.body.result.model_copy(update={"width": 33})
    body = good.manifest.body.model_copy(update={"result": wider})
    assert verdicts(good.with_manifest(body=body))["result.pixels"].code == "pixels-shape"
    check = verdicts(good.with_(max_pixels=10))["result.pixels"]
    assert check.code == "pixels-unreadable"


def test_a_map_that_is_not_an_image(good: Any) -> None:
    data = b"not a PNG"
    edit = good.manifest.body.maps.edit.model_copy(update={"file_sha256": sha256_hex(data)})
    maps = good.manifest.body.maps.model_copy(update={"edit": edit})
    body = good.manifest.body.model_copy(update={"maps": maps})
    changed = dataclasses.replace(good.with_manifest(body=body), edit_map_bytes=data)
    assert verdicts(changed)["maps.edit"].code == "map-unreadable"
    other = encode_png(np.zeros((24, 32), np.uint8))
    edit = edit.model_copy(update={"file_sha256": sha256_hex(other)})
    body = body.model_copy(update={"maps": maps.model_copy(update={"edit": edit})})
    changed = dataclasses.replace(good.with_manifest(body=body), edit_map_bytes=other)
    assert verdicts(changed)["maps.edit"].code == "pixels-mismatch"
    assert pixels_sha256(np.zeros((24, 32), np.uint8)) != edit.pixels_sha256


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"schema":' + b"9" * 9999 + b"}"]
)
def test_manifests_that_cannot_be_read(good: Any, data: bytes) -> None:
    report = verify_record(good.with_(manifest_bytes=data))
    assert [check.id for check in report.checks] == ["manifest.schema", "c2pa.binding"]
    assert [check.verdict for check in report.checks] == [Verdict.FAIL, Verdict.PASS]
    assert report.exit_code == 1


@pytest.mark.parametrize("data", [b"", b"x", b"\x89PNG\r\n\x1a\n", bytes(1000)])
def test_results_that_cannot_be_read(good: Any, data: bytes) -> None:
    assert {"result.file", "result.pixels", "c2pa.binding"} <= failing(good.with_(result_bytes=data))


def test_worst_verdict_wins() -> None:
    def report(*found: Verdict) -> Report:
        return Report(tuple(Check("x", verdict, "c", "M.") for verdict in found))

    assert report(Verdict.PASS, Verdict.PASS).exit_code == 0
    assert report(Verdict.PASS, Verdict.UNABLE).exit_code == 3
    assert report(Verdict.UNABLE, Verdict.FAIL, Verdict.PASS).exit_code == 1
    assert report().exit_code == 3


MEMBERS = ["result_bytes", "manifest_bytes", "source_bytes", "edit_map_bytes", "confidence_map_bytes"]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_no_mutation_raises_or_passes_with_another_meaning(good: Any, data: st.DataObject) -> None:
    member = data.draw(st.sampled_from(MEMBERS))
    original: bytes = getattr(good.inputs, member)
    changed = bytearray(original)
    match data.draw(st.sampled_from(["replace", "delete", "insert", "cut"])):
        case "replace":
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
        case "delete":
            start = data.draw(st.integers(0, len(changed) - 1))
            del changed[start : start + data.draw(st.integers(1, 40))]
        case "insert":
            at = data.draw(st.integers(0, len(changed)))
            changed[at:at] = data.draw(st.binary(min_size=1, max_size=20))
        case _:
            del changed[data.draw(st.integers(0, len(changed) - 1)) :]
    mutated = bytes(changed)
    report = verify_record(good.with_(**{member: mutated}))
    assert all(check.code != "check-broke" for check in report.checks)
    if report.verdict is not Verdict.PASS or mutated == original:
        return
    assert member == "manifest_bytes"  # every other input is covered by a hash
    try:
        assert canonical_bytes(json.loads(mutated)) == canonical_bytes(json.loads(original))
    except ManifestError:
        pytest.fail("a manifest passed that cannot be read")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200), st.text(max_size=200))
def test_no_text_given_as_trust_raises_or_is_trusted(good: Any, roots: str, key: str) -> None:
    found = verdicts(good.with_(trust_roots_pem=roots, log_public_key=key))
    assert found["signer.trust"].verdict is not Verdict.PASS
    assert found["log.checkpoint"].verdict is not Verdict.PASS


def test_hostile_certificates_never_raise(good: Any) -> None:
    pem = good.manifest.signatures[0].certificates[0]
    for bad in ("", "x", pem[:200], pem.replace("MII", "MIJ"), "-----BEGIN CERTIFICATE-----\n"):
        signatures = [s.model_copy(update={"certificates": [bad]}) for s in good.manifest.signatures]
        assert failing(good.with_manifest(signatures=signatures)) >= {"signature", "signer.trust"}


def test_exports_are_sorted_complete_and_lazy() -> None:
    assert restore_manifests.__all__ == sorted(restore_manifests.__all__)
    assert {name: getattr(restore_manifests, name) for name in dir(restore_manifests)}.keys() == set(
        restore_manifests.__all__
    )
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = restore_manifests.nothing_like_it


def test_importing_the_verifier_is_light() -> None:
    """What takes long to import is imported where it is used; timed in benchmarks/bench_start.py."""
    code = "import sys, restore_manifests.verifier; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "cv2", "c2pa", "PIL", "torch"} & set(done.stdout.split())


def test_a_root_is_a_certificate(good: Any) -> None:
    assert x509.load_pem_x509_certificate(good.inputs.trust_roots_pem.encode()) == good.identity.root
