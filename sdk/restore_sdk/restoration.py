"""`restore`: from an image file to a signed, logged bundle beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_manifests.errors import ModelError, UndecidableError, UsageError
from restore_manifests.keys import load_identity
from restore_manifests.schema import Degradation, Request, Step
from restore_sdk.bundle_names import BUNDLE_SUFFIXES
from restore_sdk.compression_step import with_agreement
from restore_sdk.confidence import calibration_doubts
from restore_sdk.estimates import abstentions
from restore_sdk.evidence import Evidence, open_evidence
from restore_sdk.home import restore_home
from restore_sdk.model_in_use import ModelInUse, RoutedInUse, open_in_use
from restore_sdk.output import check_vacant, write_bundle
from restore_sdk.overlap import overlapped
from restore_sdk.plan import Executed, execute
from restore_sdk.record import Job, beside_source, make_record, sign_record
from restore_sdk.stamping import check_authorities

if TYPE_CHECKING:
    from restore_manifests.keys import Identity

__all__ = ["Restoration", "restore"]

Progress = Callable[[str, float], None]
"""Called with what is being done and the finished share of all images, 0 to 1."""

_MODES = ("auto", "blind", "guided")
_ARITHMETIC = ("exact", "float")


@dataclass(frozen=True)
class Restoration:
    """One finished bundle."""

    result: Path
    manifest: Path
    edit_map: Path
    confidence_map: Path | None
    """None where an external model restored, which states no intervals."""
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
            "confidence_map": str(self.confidence_map) if self.confidence_map else None,
            "pixels_sha256": self.pixels_sha256,
            "degradation": self.degradation,
            "abstained": self.abstained,
            "findings": self.findings,
            "seconds": round(self.seconds, 3),
        }


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
    tsa: Sequence[str] = (),
    progress: Progress | None = None,
) -> list[Restoration]:
    """Restores images and writes for each a bundle: result, maps, proof and signed manifest.

    While one image is restored the next is read and the one before is written; an image that fails ends the
    call, with those before it written and none after it.

    Args:
        images: files to restore; each is opened read-only.
        out: folder of the bundles; None: beside each image.
        prompt: recorded with the result. The shipped model is blind: a prompt does not change its pixels.
        mode: `auto` (each image gets the shipped model for its damage and the scale) or `blind` (one blind
            model for all); `guided` needs a text-guided model.
        scale: 1, 2 or 4; above 1 the image is enlarged bicubically and then restored, in mode `auto` by the
            model for that scale, and before that, unless it is clean, in its own size.
        seed: recorded; the shipped model uses no random numbers.
        guidance_scale: recorded; used by guided models only.
        model: id of an installed model or a model file; None: as `mode` says. A model made by others (extra
            `spandrel`) runs in floating point, whatever `arithmetic` says, and its results are flagged.
        arithmetic: `exact`, recomputable byte for byte anywhere, or `float`, a preview that is not.
        strict: refuse an image outside the calibrated domain instead of flagging it.
        force: replace an older bundle of the same name.
        identity: who signs; None: the one in RESTORE_HOME, opened with `passphrase`.
        tsa: addresses of RFC 3161 timestamp authorities, the only thing here that uses a network. One that
            does not answer is a finding; the record can be stamped later.
        progress: see `Progress`.

    Raises:
        UsageError: for options that do not go together, or a bundle that is already there.
        EvidenceError: for an image that cannot be opened.
        ModelError, KeyStoreError, LogError, StorageError: as their names say.
        UndecidableError: with `strict`, for an image outside the domain.
    """
    paths = [Path(images)] if isinstance(images, str | Path) else [Path(image) for image in images]
    _check(paths, out, mode, scale, arithmetic)
    authorities = check_authorities(tsa)
    call = _prepare(
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
        authorities,
    )
    say = progress or _silent
    # One picture reports its stages; of many only the network does, whose share is of the whole list.
    alone = len(paths) == 1
    return overlapped(
        list(enumerate(paths)),
        lambda item: _read(call, item[1], say if alone else _silent, item[0]),
        lambda opened: _compute(call, opened, _part(say, opened.index, len(paths))),
        lambda computed: _write(computed, say if alone else _silent),
    )


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


@dataclass(frozen=True)
class _Call:
    """What is the same for every image of one call."""

    request: Request
    models: ModelInUse | RoutedInUse
    identity: Identity
    out: Path | None
    force: bool
    authorities: tuple[str, ...]

    def job(self, evidence: Evidence) -> Job:
        """What is to be done with one image, its model chosen."""
        model = self.models.for_image(evidence.pixels)
        return Job(self.request, model, self.identity, self.out, self.force, self.authorities)


def _prepare(
    request: Request,
    model: str | Path | None,
    identity: Identity,
    out: Path | None,
    force: bool,
    authorities: tuple[str, ...],
) -> _Call:
    in_use = open_in_use(
        model, exact=request.arithmetic == "exact", route=request.mode == "auto", scale=request.scale
    )
    return _Call(in_use.settle(request), in_use, identity, out, force, authorities)


@dataclass(frozen=True)
class _Opened:
    index: int
    path: Path
    started: float
    evidence: Evidence


@dataclass(frozen=True)
class _Computed:
    opened: _Opened
    job: Job
    plan: list[Step]
    executed: Executed
    degradation: dict[str, Degradation]
    reasons: list[str]


def _read(call: _Call, path: Path, say: Progress, index: int) -> _Opened:
    started = time.monotonic()
    say(f"reading {path.name}", 0.0)
    evidence = open_evidence(path)
    # Before the work, and before the log says that it was done; write_bundle looks again under its lock.
    check_vacant(
        [beside_source(evidence, suffix[1:]) for suffix in BUNDLE_SUFFIXES],
        call.out if call.out is not None else path.parent,
        force=call.force,
    )
    return _Opened(index, path, started, evidence)


def _compute(call: _Call, opened: _Opened, say: Progress) -> _Computed:
    evidence, name = opened.evidence, opened.path.name
    say(f"restoring {name}", 0.05)
    job = call.job(evidence)
    plan = with_agreement(job.model.plan(job.request), evidence.pixels)
    executed = execute(
        plan,
        evidence.pixels,
        evidence.alpha,
        job.model.runner,
        lambda share: say(f"restoring {name}", 0.05 + 0.75 * share),
        seen=job.model.seen,
    )
    degradation = job.model.degradation(executed.estimates)
    reasons = [
        *job.model.doubts,
        *abstentions(degradation, evidence.height, evidence.width),
        *calibration_doubts(executed.calibration, executed.estimates, evidence.pixels),
    ]
    if reasons and job.request.strict:
        raise UndecidableError(
            f"{name} is outside the domain of the model: {'; '.join(reasons)}.",
            hint="Run without --strict to restore it all the same, flagged.",
        )
    return _Computed(opened, job, plan, executed, degradation, reasons)


def _write(computed: _Computed, say: Progress) -> Restoration:
    job, opened, evidence = computed.job, computed.opened, computed.opened.evidence
    name = opened.path.name
    say(f"drawing the maps of {name}", 0.8)
    body, files = make_record(
        job, evidence, computed.executed, computed.plan, computed.degradation, computed.reasons
    )
    say(f"signing the record of {name}", 0.9)
    signed = sign_record(job, evidence, body, files)
    folder = job.out if job.out is not None else opened.path.parent
    written = write_bundle(signed.files, folder, force=job.force, digests=signed.digests)
    say(f"finished {name}", 1.0)
    edit, confidence = body.maps.edit, body.maps.confidence
    assert edit is not None  # noqa: S101 -- make_record has just made it
    return Restoration(
        result=written[body.result.name],
        manifest=written[beside_source(evidence, "manifest.json")],
        edit_map=written[edit.name],
        confidence_map=written[confidence.name] if confidence else None,
        pixels_sha256=body.result.pixels_sha256,
        degradation={name: value.model_dump() for name, value in computed.degradation.items()},
        abstained=body.abstained,
        findings=[finding.model_dump() for finding in (*body.findings, *signed.unstamped)],
        seconds=time.monotonic() - opened.started,
    )


def _part(say: Progress, index: int, count: int) -> Progress:
    """Progress of one image as a share of all."""
    if count == 1:
        return say
    return lambda what, share: say(f"{what} ({index + 1} of {count})", (index + share) / count)


def _silent(_what: str, _share: float) -> None:
    """Progress that nobody asked for."""
