"""`restore`: from an image file to a signed, logged bundle beside it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from restore_manifests.c2pa_claim import embed, source_ancestors
from restore_manifests.canonical import sha256_hex
from restore_manifests.errors import ModelError, UndecidableError, UsageError
from restore_manifests.keys import load_identity
from restore_manifests.log import TransparencyLog
from restore_manifests.log_proof import verify_inclusion
from restore_manifests.pixels import encode_png, pixels_sha256
from restore_manifests.schema import (
    Body,
    Decoder,
    Finding,
    Label,
    LogAnchor,
    Map,
    Maps,
    ModelUse,
    Request,
    Result,
    Source,
    Tool,
    body_bytes,
    manifest_bytes,
    recorded_name,
)
from restore_manifests.signing import sign_manifest
from restore_sdk.estimates import abstentions, describe
from restore_sdk.evidence import Evidence, open_evidence
from restore_sdk.home import restore_home
from restore_sdk.maps import EDIT_MAP_METHOD, edit_map
from restore_sdk.models import models_folder
from restore_sdk.output import BUNDLE_SUFFIXES, check_vacant, encode_result, write_bundle
from restore_sdk.plan import Executed, execute, make_plan

if TYPE_CHECKING:
    from restore_manifests.keys import Identity
    from restore_models.program import Program
    from restore_models.restorer import Executor
    from restore_models.zoo import ModelFile

__all__ = ["CONFIDENCE_METHOD", "STATEMENT", "Restoration", "restore"]

Progress = Callable[[str, float], None]
"""Called with what is being done and the finished share of the current image, 0 to 1."""

CONFIDENCE_METHOD = (
    "Width of the network's learned 5 % to 95 % quantile interval (pinball loss), mean of the channels, "
    "in half 8-bit levels, clipped at 255."
)
NO_GUARANTEE = "None: the quantiles were learned, not calibrated on independent images."
STATEMENT = (
    "Enhanced image: pixels were estimated by a neural network. Not for identification on its own; "
    "compare it with the original, the edit map and the confidence map."
)
_MODES = ("auto", "blind", "guided")
_ARITHMETIC = ("exact", "float")


@dataclass(frozen=True)
class Restoration:
    """One finished bundle."""

    result: Path
    manifest: Path
    edit_map: Path
    confidence_map: Path
    pixels_sha256: str
    degradation: dict[str, dict[str, Any]]
    abstained: bool
    findings: list[dict[str, Any]]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The document of the command contract."""
        return {
            "result": str(self.result),
            "manifest": str(self.manifest),
            "edit_map": str(self.edit_map),
            "confidence_map": str(self.confidence_map),
            "pixels_sha256": self.pixels_sha256,
            "degradation": self.degradation,
            "abstained": self.abstained,
            "findings": self.findings,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True)
class _Job:
    """What is the same for every image of one call."""

    request: Request
    model: ModelFile
    program: Program
    executor: Executor
    identity: Identity
    out: Path | None
    force: bool


def restore(
    images: Sequence[Path | str] | Path | str,
    *,
    out: Path | str | None = None,
    prompt: str = "",
    mode: str = "auto",
    scale: int = 1,
    seed: int = 0,
    guidance_scale: float = 1.0,
    model: str | Path | None = None,
    arithmetic: str = "exact",
    strict: bool = False,
    force: bool = False,
    identity: Identity | None = None,
    passphrase: str | None = None,
    progress: Progress | None = None,
) -> list[Restoration]:
    """Restores images and writes for each a bundle: result, maps, proof and signed manifest.

    Args:
        images: files to restore; each is opened read-only.
        out: folder of the bundles; None: beside each image.
        prompt: recorded with the result. The shipped model is blind: a prompt does not change its pixels.
        mode: `auto` or `blind`; `guided` needs a text-guided model.
        scale: 1, 2 or 4; above 1 the image is enlarged bicubically and then restored.
        seed: recorded; the shipped model uses no random numbers.
        guidance_scale: recorded; used by guided models only.
        model: id of an installed model or a model file; None: the shipped one.
        arithmetic: `exact`, recomputable byte for byte anywhere, or `float`, a preview that is not.
        strict: refuse an image outside the calibrated domain instead of flagging it.
        force: replace an older bundle of the same name.
        identity: who signs; None: the one in RESTORE_HOME, opened with `passphrase`.
        progress: see `Progress`.

    Raises:
        UsageError: for options that do not go together, or a bundle that is already there.
        EvidenceError: for an image that cannot be opened.
        ModelError, KeyStoreError, LogError, StorageError: as their names say.
        UndecidableError: with `strict`, for an image outside the domain.
    """
    paths = [Path(images)] if isinstance(images, str | Path) else [Path(image) for image in images]
    _check(paths, out, mode, scale, arithmetic)
    job = _prepare(
        Request(
            prompt=prompt,
            mode=mode,
            scale=scale,
            seed=seed,
            guidance_scale=guidance_scale,
            arithmetic=arithmetic,
            strict=strict,
        ),
        model,
        identity or load_identity(restore_home(), passphrase),
        Path(out) if out is not None else None,
        force,
    )
    return [_restore_one(job, path, progress) for path in paths]


def _check(paths: list[Path], out: Path | str | None, mode: str, scale: int, arithmetic: str) -> None:
    if not paths:
        raise UsageError("There is no image to restore.", hint="Name at least one image file.")
    if mode not in _MODES:
        raise UsageError(f"There is no mode {mode!r}.", hint=f"Use one of: {', '.join(_MODES)}.")
    if mode == "guided":
        raise ModelError(
            "Mode guided needs a text-guided model, and none is installed.",
            hint="Use --mode blind, which is what the shipped model does.",
        )
    if scale not in (1, 2, 4):
        raise UsageError(f"A scale of {scale} is not known.", hint="Use 1, 2 or 4.")
    if arithmetic not in _ARITHMETIC:
        raise UsageError(f"There is no arithmetic {arithmetic!r}.", hint="Use exact or float.")
    targets = [(Path(out) if out is not None else path.parent, path.stem) for path in paths]
    if len(set(targets)) < len(targets):
        raise UsageError(
            "Two of the images would have results of the same name.",
            hint="Restore them in two calls with different folders.",
        )


def _prepare(
    request: Request, model: str | Path | None, identity: Identity, out: Path | None, force: bool
) -> _Job:
    from restore_models.restorer import TorchRunner  # noqa: PLC0415 -- keeps torch out of light commands
    from restore_models.zoo import open_model  # noqa: PLC0415

    found, program = open_model(model, models_folder())
    executor = TorchRunner(program, exact=request.arithmetic == "exact")
    return _Job(request, found, program, executor, identity, out, force)


def _restore_one(job: _Job, path: Path, progress: Progress | None) -> Restoration:
    started = time.monotonic()
    say = progress or _silent
    say(f"reading {path.name}", 0.0)
    directory = job.out if job.out is not None else path.parent
    evidence = open_evidence(path)
    # Before the work, and before the log says that it was done; write_bundle looks again under its lock.
    check_vacant([_beside(evidence, suffix[1:]) for suffix in BUNDLE_SUFFIXES], directory, force=job.force)
    plan = make_plan(
        scale=job.request.scale,
        model_id=job.model.id,
        program_sha256=job.program.program_sha256(),
        arithmetic=job.request.arithmetic,
    )
    executed = execute(
        plan,
        evidence.pixels,
        evidence.alpha,
        lambda _: job.executor,
        lambda share: say(f"restoring {path.name}", 0.05 + 0.75 * share),
    )
    degradation = describe(executed.estimates, job.program.notes)
    reasons = abstentions(degradation, evidence.height, evidence.width)
    if reasons and job.request.strict:
        raise UndecidableError(
            f"{path.name} is outside the domain of the model: {'; '.join(reasons)}.",
            hint="Run without --strict to restore it all the same, flagged.",
        )
    say(f"drawing the maps of {path.name}", 0.8)
    body, files = _record(job, evidence, executed, plan, degradation, reasons)
    say(f"signing the record of {path.name}", 0.9)
    written = write_bundle(_sign(job, evidence, body, files), directory, force=job.force)
    say(f"finished {path.name}", 1.0)
    edit, confidence = body.maps.edit, body.maps.confidence
    assert edit is not None and confidence is not None  # noqa: S101 -- _record has just made both
    return Restoration(
        result=written[body.result.name],
        manifest=written[_beside(evidence, "manifest.json")],
        edit_map=written[edit.name],
        confidence_map=written[confidence.name],
        pixels_sha256=body.result.pixels_sha256,
        degradation={name: value.model_dump() for name, value in degradation.items()},
        abstained=body.abstained,
        findings=[finding.model_dump() for finding in body.findings],
        seconds=time.monotonic() - started,
    )


def _silent(_what: str, _share: float) -> None:
    """Progress that nobody asked for."""


def _record(
    job: _Job, evidence: Evidence, executed: Executed, plan: list[Any], degradation: Any, reasons: list[str]
) -> tuple[Body, dict[str, bytes]]:
    """The body of the manifest, and the files that it names (the result without its claim yet)."""
    changed, statistics = edit_map(executed.before, executed.pixels)
    edit_png, confidence_png = encode_png(changed), encode_png(executed.confidence)
    height, width = executed.pixels.shape[:2]
    result_name, edit_name, confidence_name = (
        _beside(evidence, f"{kind}.png") for kind in ("restored", "edit", "confidence")
    )
    files = {
        result_name: encode_result(executed.pixels, executed.alpha, evidence),
        edit_name: edit_png,
        confidence_name: confidence_png,
    }
    confidence_statistics = {
        "mean": round(float(executed.confidence.mean(dtype="float64")) / 2, 3),
        "share_above_20_levels": round(float((executed.confidence > 40).mean()), 6),
    }
    samples = executed.pixels if executed.alpha is None else _stacked(executed)
    body = Body(
        id=str(uuid.uuid4()),
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        tool=Tool(name="restore", version=version("forensic-restore")),
        source=_source(evidence),
        request=job.request,
        plan=plan,
        trace=executed.trace,
        models=[_model_use(job)],
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
            consistency=None,
        ),
        maps=Maps(
            edit=_map(edit_name, changed, edit_png, EDIT_MAP_METHOD, None, statistics),
            confidence=_map(
                confidence_name,
                executed.confidence,
                confidence_png,
                CONFIDENCE_METHOD,
                NO_GUARANTEE,
                confidence_statistics,
            ),
        ),
        findings=_findings(job, reasons),
        label=Label(digital_source_type="algorithmicallyEnhanced", statement=STATEMENT),
        ingredients=source_ancestors(evidence.data, evidence.mime),
    )
    return body, files


def _stacked(executed: Executed) -> Any:
    import numpy as np  # noqa: PLC0415

    return np.dstack([executed.pixels, executed.alpha])  # type: ignore[list-item]  # only called with an alpha


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


def _model_use(job: _Job) -> ModelUse:
    standing: Literal["exact", "tolerance"] = "exact" if job.request.arithmetic == "exact" else "tolerance"
    return ModelUse(
        id=job.model.id,
        file_sha256=job.program.file_sha256,
        program_sha256=job.program.program_sha256(),
        licence=str(job.program.notes.get("licence", "not stated")),
        arithmetic=standing,
    )


def _findings(job: _Job, reasons: list[str]) -> list[Finding]:
    findings = [
        Finding(checker="domain", severity="warning", message=f"Outside the domain: {reason}.", details={})
        for reason in reasons
    ]
    if job.request.prompt:
        message = "The prompt is recorded, but the model is blind: it had no influence on the pixels."
        findings.append(Finding(checker="prompt", severity="info", message=message, details={}))
    if job.request.arithmetic == "float":
        message = (
            "Preview in floating point: another machine may differ in the last place; do not hand it over."
        )
        findings.append(Finding(checker="arithmetic", severity="warning", message=message, details={}))
    return findings


def _sign(job: _Job, evidence: Evidence, body: Body, files: dict[str, bytes]) -> dict[str, bytes]:
    """All files of the bundle: the claim is embedded, the record signed and logged."""
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
    manifest = sign_manifest(body, result, job.identity, anchors=[anchor])
    return {
        body.result.name: result,
        **maps,
        _beside(evidence, "tlog-proof"): proof.encode(),
        _beside(evidence, "manifest.json"): manifest_bytes(manifest),
    }


def _beside(evidence: Evidence, ending: str) -> str:
    return recorded_name(f"{Path(evidence.name).stem}.{ending}")
