"""One function for each parser that reads strangers' bytes: what may be raised, and what must hold.

A target takes any bytes. It raises nothing but what its parser documents, which it swallows itself, so that
whatever does come out of it is a finding: a crash, or a property that does not hold.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from restore_manifests import c2pa_claim, schema
from restore_manifests.canonical import canonical_bytes, parse_json_strict
from restore_manifests.checkpoint import Checkpoint, VerifierKey, note_text, verify_checkpoint
from restore_manifests.checkpoint_stamps import StampedCheckpoint
from restore_manifests.errors import (
    EvidenceError,
    KeyStoreError,
    LogError,
    ManifestError,
    ModelError,
    UndecidableError,
    UsageError,
    VerificationError,
)
from restore_manifests.log_proof import LogProof, LogProofError, verify_inclusion
from restore_manifests.pixels import decode_png, encode_png
from restore_manifests.public_log import entry_problem, read_rekor_response
from restore_manifests.report import Verdict
from restore_manifests.revocation import parse_revocations
from restore_manifests.schema import Manifest, PublicLogAnchor, Signature, manifest_bytes, parse_manifest
from restore_manifests.signing import chain_problem, load_certificates
from restore_manifests.timestamp import Stamp, TimestampQuery, read_response, verify_token
from restore_manifests.validation import SheetTrust, verify_sheet
from restore_manifests.verifier import RecordInputs, verify_record
from restore_manifests.witness import add_signatures, verify_cosignature
from restore_models.program import parse_program
from restore_sdk.audit_drift import Reference
from restore_sdk.evidence import decode_evidence

__all__ = ["CORPUS", "SPLIT", "TARGETS"]

CORPUS = Path(__file__).parent / "corpus"
SPLIT = b"\n--- the result ---\n"
"""Between manifest and result in the input of the target `record`."""

NOW = datetime(2026, 12, 1, tzinfo=UTC)
"""When the certificates in the corpus were valid."""
MAX_PIXELS = 1 << 20

Target = Callable[[bytes], None]
TARGETS: dict[str, Target] = {}


def target(function: Target) -> Target:
    """Register a function under its name."""
    TARGETS[function.__name__.replace("_", "-")] = function
    return function


@target
def strict_json(data: bytes) -> None:
    try:
        value = parse_json_strict(data)
        canonical = canonical_bytes(value)
    except ManifestError:
        return
    again = parse_json_strict(canonical)
    assert canonical_bytes(again) == canonical, "the canonical form is not a fixed point"
    assert json.loads(data) == value, "another parser reads it differently"


@target
def manifest(data: bytes) -> None:
    short = schema._as_written(data)
    try:
        parsed = schema._in_general(data)
    except ManifestError:
        assert short is None, "the short way reads what the general one refuses"
        return
    assert short in (None, parsed), "the short way reads it differently"
    assert parse_manifest(manifest_bytes(parsed)) == parsed, "it does not survive being stored"


@target
def record(data: bytes) -> None:
    first, _, result = data.partition(SPLIT)
    report = verify_record(
        RecordInputs(result_bytes=result, manifest_bytes=first, now=NOW, max_pixels=MAX_PIXELS)
    )
    assert report.checks, "nothing was said"
    assert report.verdict is not Verdict.PASS, "it passed without any root of trust"
    broken = [check.message for check in report.checks if check.code == "check-broke"]
    assert not broken, f"a check broke and was caught at the last line of defence: {broken}"


@target
def claim(data: bytes) -> None:
    c2pa_claim.read(data)


@target
def png(data: bytes) -> None:
    try:
        pixels = decode_png(data, max_pixels=MAX_PIXELS)
    except EvidenceError:
        return
    assert np.array_equal(decode_png(encode_png(pixels)), pixels), "its pixels do not survive"


@target
def evidence(data: bytes) -> None:
    try:
        opened = decode_evidence(data, "fuzz", max_pixels=MAX_PIXELS)
    except EvidenceError:
        return
    again = decode_evidence(data, "fuzz", max_pixels=MAX_PIXELS)
    assert opened.pixels_sha256 == again.pixels_sha256, "two readings differ"


@target
def checkpoint(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    vkey, _, note = text.partition("\n")
    try:
        key = VerifierKey.parse(vkey)
        assert key.encode() == vkey, "a key has two spellings"
    except LogError:
        key = VerifierKey("fuzz.example", bytes(32))
    for check in (verify_checkpoint, verify_cosignature):
        try:
            check(note, key)
        except VerificationError:
            continue
    try:
        head = Checkpoint.parse(note_text(note))
        assert Checkpoint.parse(head.text()) == head, "a head does not survive"
    except VerificationError:
        pass
    with contextlib.suppress(LogError):
        add_signatures(note, text)


@target
def log_proof(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    vkey, _, proof = text.partition("\n")
    try:
        assert LogProof.parse(proof).encode() == proof, "a proof has two spellings"
        verify_inclusion(proof, b"entry", vkey)
    except LogProofError:
        return


@target
def checkpoint_stamps(data: bytes) -> None:
    try:
        stamped = StampedCheckpoint.parse(data)
    except LogError:
        return
    assert StampedCheckpoint.parse(stamped.encode()) == stamped, "it does not survive being stored"


@target
def timestamp(data: bytes) -> None:
    assert not isinstance(verify_token(data, b"fuzz", [], NOW), Stamp), "a time was believed without a root"
    try:
        read_response(data, TimestampQuery(b"", 1, b"fuzz"))
    except UndecidableError:
        return


@target
def certificates(data: bytes) -> None:
    parts = [
        part + "-----END CERTIFICATE-----\n" for part in _text(data).split("-----END CERTIFICATE-----\n")
    ]
    signature = Signature.model_construct(
        scope="body", algorithm="ES256", certificates=parts[:4], value="AA=="
    )
    try:
        chain_problem(load_certificates(signature), NOW)
    except ManifestError:
        return


@target
def revocations(data: bytes) -> None:
    try:
        parse_revocations(data)
    except KeyStoreError:
        return


@target
def sheet(data: bytes) -> None:
    report = verify_sheet(data, SheetTrust(now=NOW))
    assert report.verdict is not Verdict.PASS, "it passed without any root of trust"


@target
def rekor(data: bytes) -> None:
    with contextlib.suppress(UndecidableError):
        read_rekor_response(data, _known(), VerifierKey("fuzz.example", bytes(32)))
    entry = base64.b64encode(data).decode()
    anchor: Any = PublicLogAnchor.model_construct(format="hashedrekord/0.0.2", entry=entry)
    entry_problem(anchor, _known())


@target
def program(data: bytes) -> None:
    try:
        parse_program(data, "fuzz")
    except ModelError:
        return


@target
def period(data: bytes) -> None:
    try:
        Reference.parse(_text(data))
    except UsageError:
        return


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


_MANIFESTS: list[Manifest] = []


def _known() -> Manifest:
    if not _MANIFESTS:
        _MANIFESTS.append(parse_manifest((CORPUS / "manifest" / "bundle.json").read_bytes()))
    return _MANIFESTS[0]
