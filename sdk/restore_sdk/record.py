"""The record of one restoration: the manifest's body, and the signed, logged bundle made from it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

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
from restore_manifests.signing import seal_files, sign_sealed
from restore_sdk.compression_step import agreement_finding
from restore_sdk.confidence import calibration_finding, confidence_guarantee, confidence_method
from restore_sdk.consistency import measure_consistency
from restore_sdk.evidence import Evidence
from restore_sdk.home import restore_home
from restore_sdk.maps import EDIT_MAP_METHOD, edit_map
from restore_sdk.output import encode_result
from restore_sdk.plan import Executed
from restore_sdk.stamping import add_stamps
from restore_sdk.verification import thread_count

if TYPE_CHECKING:
    from restore_manifests.keys import Identity
    from restore_sdk.model_in_use import ModelInUse


__all__ = [
    "Hashes",
    "Job",
    "SignedRecord",
    "beside_source",
    "hashing",
    "make_record",
    "sign_record",
]


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
    height, width = executed.pixels.shape[:2]
    result_name, edit_name, confidence_name = (
        beside_source(evidence, f"{kind}.png") for kind in ("restored", "edit", "confidence")
    )
    maps = {edit_name: changed}
    if executed.confidence is not None:
        maps[confidence_name] = executed.confidence
    samples = executed.samples
    with hashing(samples, maps) as hashes:  # beside the encoder, which takes far longer
        pictures = {name: hashes.of_file(name, encode_png(pixels)) for name, pixels in maps.items()}
        files = {result_name: encode_result(executed.pixels, executed.alpha, evidence), **pictures}
    confidence = None
    if executed.confidence is not None:
        confidence = Map(
            name=confidence_name,
            pixels_sha256=hashes.map_pixels(confidence_name),
            file_sha256=hashes.map_file(confidence_name),
            method=confidence_method(executed.calibration, executed.estimates, plan),
            guarantee=confidence_guarantee(executed.calibration, executed.estimates, reasons),
            statistics={
                "mean": round(float(executed.confidence.mean(dtype="float64")) / 2, 3),
                "share_above_20_levels": round(float((executed.confidence > 40).mean()), 6),
            },
        )
    calibrated = calibration_finding(executed.calibration, executed.estimates, reasons)
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
            pixels_sha256=hashes.result_pixels(),
            width=width,
            height=height,
            channels=1 if samples.ndim == 2 else samples.shape[2],
            bits=evidence.bits,
            consistency=consistency.figures if consistency else None,
        ),
        maps=Maps(
            edit=Map(
                name=edit_name,
                pixels_sha256=hashes.map_pixels(edit_name),
                file_sha256=hashes.map_file(edit_name),
                method=EDIT_MAP_METHOD,
                guarantee=None,
                statistics=statistics,
            ),
            confidence=confidence,
        ),
        findings=[
            *_findings(job, evidence, reasons),
            *([calibrated] if calibrated else []),
            *agreement_finding(plan, executed.agreement),
            *([consistency.finding()] if consistency else []),
        ],
        label=job.model.label,
        ingredients=source_ancestors(evidence.data, evidence.mime),
    )
    return body, files


class Hashes:
    """SHA-256 of what a restoration made, computed in the threads of `pool` from when it is known."""

    def __init__(
        self, pool: ThreadPoolExecutor, samples: NDArray[Any], maps: Mapping[str, NDArray[Any]]
    ) -> None:
        """Begin with the pixels: the `samples` of the result, and the `maps` by the names of their files."""
        self._pool = pool
        self._result = pool.submit(pixels_sha256, samples)
        self._maps = {name: pool.submit(pixels_sha256, one) for name, one in maps.items()}
        self._files: dict[str, Future[str]] = {}

    def of_file(self, name: str, data: bytes) -> bytes:
        """Hash the file of a map as well; gives `data` back."""
        self._files[name] = self._pool.submit(sha256_hex, data)
        return data

    def result_pixels(self) -> str:
        """Of the samples of the result."""
        return self._result.result()

    def map_pixels(self, name: str) -> str:
        """Of the samples of a map."""
        return self._maps[name].result()

    def map_file(self, name: str) -> str:
        """Of the file of a map, which `of_file` was given."""
        return self._files[name].result()


@contextmanager
def hashing(samples: NDArray[Any], maps: Mapping[str, NDArray[Any]]) -> Iterator[Hashes]:
    """Hashes of the result's `samples` and of `maps` (by file name); at the end, all are there."""
    with ThreadPoolExecutor(thread_count()) as pool:
        yield Hashes(pool, samples, maps)


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


@dataclass(frozen=True)
class SignedRecord:
    """All `files` of a bundle by name, and the SHA-256 of those that the record names.

    `unstamped` says what a timestamp authority did not do. It cannot be in the signed body, which was there
    before, and would be wrong there once the record is stamped later.
    """

    files: dict[str, bytes]
    digests: dict[str, str]
    unstamped: list[Finding]


def sign_record(job: Job, evidence: Evidence, body: Body, files: dict[str, bytes]) -> SignedRecord:
    """All of the bundle: the claim is embedded, the record signed, logged and, if asked for, stamped.

    `files` are those that `make_record` gave with `body`.
    """
    text = body_bytes(body)
    maps = {name: data for name, data in files.items() if name != body.result.name}
    digests = {one.name: one.file_sha256 for one in (body.maps.edit, body.maps.confidence) if one}
    result = embed(
        files[body.result.name],
        body=body,
        manifest_text=text.decode(),
        source_bytes=evidence.data,
        source_mime=evidence.mime,
        maps=maps,
        identity=job.identity,
        map_hashes=digests,
    )
    with ThreadPoolExecutor(1) as pool:  # the log waits for the disk meanwhile
        sealing = pool.submit(seal_files, body, result)
        anchor = _logged(text)
    seal = sealing.result()
    signed = sign_sealed(body, seal, job.identity, anchors=[anchor])
    manifest, problems = add_stamps(signed, job.authorities)
    bundle = {
        body.result.name: result,
        **maps,
        beside_source(evidence, "tlog-proof"): anchor.proof.encode(),
        beside_source(evidence, "manifest.json"): manifest_bytes(manifest),
    }
    unstamped = [
        Finding(
            checker="timestamp",
            severity="warning",
            message=f"Not timestamped: {problem.message} {problem.hint}",
            details={},
        )
        for problem in problems
    ]
    return SignedRecord(bundle, {**digests, body.result.name: seal.result.sha256}, unstamped)


def _logged(text: bytes) -> LogAnchor:
    """Append the record to the log of this machine's user, and prove it."""
    with TransparencyLog.open(restore_home() / "log") as log:
        index = log.append(text)
        proof = log.inclusion_proof_text(index)
        return LogAnchor(
            type="tlog-proof",
            origin=log.origin,
            index=index,
            # Not log.size: another process may have appended since.
            tree_size=verify_inclusion(proof, text, log.vkey).tree_size,
            public_key=log.vkey,
            proof=proof,
        )


def beside_source(evidence: Evidence, ending: str) -> str:
    return recorded_name(f"{Path(evidence.name).stem}.{ending}")
