"""The record of one restoration: the manifest's body, and the signed, logged bundle made from it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_manifests.c2pa_claim import embed, source_ancestors
from restore_manifests.canonical import sha256_hex
from restore_manifests.log import TransparencyLog
from restore_manifests.log_proof import verify_inclusion
from restore_manifests.pixels import encode_png, pixels_sha256
from restore_manifests.schema import (
    Body,
    Decoder,
    Finding,
    LogAnchor,
    Map,
    Maps,
    Request,
    Result,
    Source,
    Tool,
    body_bytes,
    manifest_bytes,
    recorded_name,
)
from restore_manifests.signing import sign_manifest
from restore_sdk.confidence import calibration_finding, confidence_guarantee, confidence_method
from restore_sdk.consistency import measure_consistency
from restore_sdk.evidence import Evidence
from restore_sdk.home import restore_home
from restore_sdk.maps import EDIT_MAP_METHOD, edit_map
from restore_sdk.output import encode_result
from restore_sdk.plan import Executed
from restore_sdk.stamping import add_stamps

if TYPE_CHECKING:
    from restore_manifests.keys import Identity
    from restore_sdk.model_in_use import ModelInUse


__all__ = ["Job", "beside_source", "make_record", "sign_record"]


@dataclass(frozen=True)
class Job:
    """What is to be done with one image, and by whom."""

    request: Request
    model: ModelInUse
    identity: Identity
    out: Path | None
    force: bool
    authorities: tuple[str, ...] = ()
    """Addresses of the timestamp authorities to ask."""


def make_record(
    job: Job, evidence: Evidence, executed: Executed, plan: list[Any], degradation: Any, reasons: list[str]
) -> tuple[Body, dict[str, bytes]]:
    """The body of the manifest, and the files that it names (the result without its claim yet)."""
    changed, statistics = edit_map(executed.before, executed.pixels)
    edit_png = encode_png(changed)
    height, width = executed.pixels.shape[:2]
    result_name, edit_name = (beside_source(evidence, f"{kind}.png") for kind in ("restored", "edit"))
    files = {
        result_name: encode_result(executed.pixels, executed.alpha, evidence),
        edit_name: edit_png,
    }
    confidence = None
    if executed.confidence is not None:
        name, png = beside_source(evidence, "confidence.png"), encode_png(executed.confidence)
        files[name] = png
        statistics_of_it = {
            "mean": round(float(executed.confidence.mean(dtype="float64")) / 2, 3),
            "share_above_20_levels": round(float((executed.confidence > 40).mean()), 6),
        }
        confidence = _map(
            name,
            executed.confidence,
            png,
            confidence_method(executed.calibration, executed.estimates),
            confidence_guarantee(executed.calibration, executed.estimates, reasons),
            statistics_of_it,
        )
    calibrated = calibration_finding(executed.calibration, executed.estimates, reasons)
    samples = executed.samples
    consistency = None
    if job.request.arithmetic == "exact":  # else another machine would find other figures
        consistency = measure_consistency(evidence.pixels, executed.pixels, degradation)
    body = Body(
        id=str(uuid.uuid4()),
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        tool=Tool(name="restore", version=version("forensic-restore")),
        source=_source(evidence),
        request=job.request,
        plan=plan,
        trace=executed.trace,
        models=job.model.uses(job.request),
        degradation=degradation,
        abstained=bool(reasons),
        abstentions=reasons,
        result=Result(
            name=result_name,
            pixels_sha256=pixels_sha256(samples),
            width=width,
            height=height,
            channels=1 if samples.ndim == 2 else samples.shape[2],
            bits=evidence.bits,
            consistency=consistency.figures if consistency else None,
        ),
        maps=Maps(
            edit=_map(edit_name, changed, edit_png, EDIT_MAP_METHOD, None, statistics),
            confidence=confidence,
        ),
        findings=[
            *_findings(job, evidence, reasons),
            *([calibrated] if calibrated else []),
            *([consistency.finding()] if consistency else []),
        ],
        label=job.model.label,
        ingredients=source_ancestors(evidence.data, evidence.mime),
    )
    return body, files


def _map(name: str, pixels: Any, png: bytes, method: str, guarantee: str | None, statistics: Any) -> Map:
    return Map(
        name=name,
        pixels_sha256=pixels_sha256(pixels),
        file_sha256=sha256_hex(png),
        method=method,
        guarantee=guarantee,
        statistics=statistics,
    )


def _source(evidence: Evidence) -> Source:
    return Source(
        name=recorded_name(evidence.name),
        file_sha256=evidence.file_sha256,
        bytes=len(evidence.data),
        format=evidence.format,
        pixels_sha256=evidence.pixels_sha256,
        width=evidence.width,
        height=evidence.height,
        channels=evidence.channels,
        bits=evidence.bits,
        decoder=Decoder(name=evidence.decoder.name, version=evidence.decoder.version),
        orientation=evidence.orientation,
        icc_sha256=sha256_hex(evidence.icc) if evidence.icc else None,
        metadata_kept=list(evidence.metadata_kept),
        metadata_lost=list(evidence.metadata_lost),
    )


def _findings(job: Job, evidence: Evidence, reasons: list[str]) -> list[Finding]:
    findings = [
        Finding(checker="domain", severity="warning", message=f"Outside the domain: {reason}.", details={})
        for reason in reasons
    ]
    if job.request.prompt:
        message = "The prompt is recorded, but the model is blind: it had no influence on the pixels."
        findings.append(Finding(checker="prompt", severity="info", message=message, details={}))
    return [*findings, *job.model.remarks(job.request, evidence.height, evidence.width)]


def sign_record(
    job: Job, evidence: Evidence, body: Body, files: dict[str, bytes]
) -> tuple[dict[str, bytes], list[Finding]]:
    """All files of the bundle: the claim is embedded, the record signed, logged and, if asked for, stamped.

    What a timestamp authority did not do comes back as findings: they cannot be in the signed body, which was
    there before, and would be wrong there once the record is stamped later.
    """
    text = body_bytes(body)
    maps = {name: data for name, data in files.items() if name != body.result.name}
    result = embed(
        files[body.result.name],
        body=body,
        manifest_text=text.decode(),
        source_bytes=evidence.data,
        source_mime=evidence.mime,
        maps=maps,
        identity=job.identity,
    )
    with TransparencyLog.open(restore_home() / "log") as log:
        index = log.append(text)
        proof = log.inclusion_proof_text(index)
        anchor = LogAnchor(
            type="tlog-proof",
            origin=log.origin,
            index=index,
            # Not log.size: another process may have appended since.
            tree_size=verify_inclusion(proof, text, log.vkey).tree_size,
            public_key=log.vkey,
            proof=proof,
        )
    signed = sign_manifest(body, result, job.identity, anchors=[anchor])
    manifest, problems = add_stamps(signed, job.authorities)
    bundle = {
        body.result.name: result,
        **maps,
        beside_source(evidence, "tlog-proof"): proof.encode(),
        beside_source(evidence, "manifest.json"): manifest_bytes(manifest),
    }
    return bundle, [
        Finding(
            checker="timestamp",
            severity="warning",
            message=f"Not timestamped: {problem.message} {problem.hint}",
            details={},
        )
        for problem in problems
    ]


def beside_source(evidence: Evidence, ending: str) -> str:
    return recorded_name(f"{Path(evidence.name).stem}.{ending}")
