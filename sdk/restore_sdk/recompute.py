"""Recomputation: the plan of a manifest run again on the source, for `verify`."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from restore_manifests.errors import RestoreError, UndecidableError
from restore_manifests.pixels import decode_png, pixels_sha256
from restore_manifests.record import Recomputation
from restore_sdk.compression_step import compression_problem
from restore_sdk.confidence import (
    CHECKER,
    calibration_doubts,
    calibration_finding,
    confidence_guarantee,
    confidence_method,
)
from restore_sdk.consistency import measure_consistency
from restore_sdk.estimates import abstentions, describe, notes_of
from restore_sdk.executors import make_executor
from restore_sdk.external_step import OPERATION, recorded_external
from restore_sdk.labels import label_of, training_doubts
from restore_sdk.maps import edit_map
from restore_sdk.models import models_folder
from restore_sdk.plan import execute
from restore_sdk.route_step import RESTORE_SMALL, routing_problem

if TYPE_CHECKING:
    from restore_manifests.schema import Body, Step
    from restore_models.external import ExternalModel
    from restore_models.program import Program
    from restore_models.restorer import Executor
    from restore_sdk.evidence import Evidence
    from restore_sdk.plan import Executed

__all__ = ["FLOAT_TOLERANCE", "recompute"]

FLOAT_TOLERANCE = 2
"""Levels (of 255, or 257ths of 65,535) by which a result in floating point may differ between machines."""


def recompute(body: Body, evidence: Evidence, result: bytes) -> Recomputation:
    """Runs the recorded plan again and digests what comes out.

    A result in floating point counts as recomputed, its recorded digests returned, if no sample differs by
    more than `FLOAT_TOLERANCE` levels. Never raises for a foreseeable reason: the reason is returned.
    """
    if evidence.pixels_sha256 != body.source.pixels_sha256:
        return Recomputation(reason="The source found is not the one recorded, so nothing can be recomputed.")
    operations = [step.operation for step in body.plan]
    if len(set(operations)) < len(operations):  # else a stranger's plan could enlarge without end
        return Recomputation(reason="The plan does one operation twice, which restore never plans.")
    programs: dict[str, Program] = {}
    try:
        executed = execute(
            body.plan, evidence.pixels, evidence.alpha, lambda step: _runner(step, body, programs)
        )
        if any(model.arithmetic == "tolerance" for model in body.models):
            return _within_tolerance(body, executed, result)
    except RestoreError as problem:
        return Recomputation(reason=str(problem))
    edit, statistics = edit_map(executed.before, executed.pixels)
    return Recomputation(
        pixels_sha256=pixels_sha256(executed.samples),
        edit_sha256=pixels_sha256(edit),
        confidence_sha256=None if executed.confidence is None else pixels_sha256(executed.confidence),
        contradicted=tuple(_contradicted(body, evidence, executed, programs, statistics)),
    )


def _contradicted(
    body: Body,
    evidence: Evidence,
    executed: Executed,
    programs: dict[str, Program],
    statistics: dict[str, float],
) -> Iterator[str]:
    if executed.trace != body.trace:
        yield "its trace has other hashes"
    if (problem := routing_problem(body, executed.seen)) is not None:
        yield problem
    if body.tool.version != version("forensic-restore"):
        return  # another version may word these differently
    restoring = [programs[name] for name in (RESTORE_SMALL, "restore") if name in programs]
    degradation = describe(executed.estimates, notes_of(restoring))
    if degradation != body.degradation:
        yield "its estimates of the degradation are others"
    if body.label != label_of(*restoring):
        yield "its label is another"
    reasons = [
        *training_doubts(*restoring),
        *abstentions(degradation, evidence.height, evidence.width),
        *calibration_doubts(executed.calibration, executed.estimates, evidence.pixels),
    ]
    if (bool(reasons), reasons) != (body.abstained, body.abstentions):
        yield "whether and why the tool abstained is another"
    if body.maps.edit and body.maps.edit.statistics != statistics:
        yield "the statistics of its edit map are others"
    if (problem := _confidence_problem(body, executed, reasons)) is not None:
        yield problem
    if (problem := compression_problem(body, evidence.pixels, executed.agreement)) is not None:
        yield problem
    if body.result.consistency is not None:  # earlier records do not state it
        again = measure_consistency(evidence.pixels, executed.pixels, degradation)
        stated = [finding for finding in body.findings if finding.checker == "consistency"]
        if again is None or (again.figures, [again.finding()]) != (body.result.consistency, stated):
            yield "its consistency with the source is another"


def _confidence_problem(body: Body, executed: Executed, reasons: list[str]) -> str | None:
    """What is wrong with what the record says of its confidence map; None where nothing is."""
    recorded, said = body.maps.confidence, (executed.calibration, executed.estimates)
    stated = [finding for finding in body.findings if finding.checker == CHECKER]
    finding = calibration_finding(*said, reasons)
    if stated != ([finding] if finding else []):
        return "the figures of its calibration are others"
    texts = confidence_method(*said, body.plan), confidence_guarantee(*said, reasons)
    if recorded is not None and (recorded.method, recorded.guarantee) != texts:
        return "what its confidence map guarantees is another"
    return None


def _runner(step: Step, body: Body, programs: dict[str, Program]) -> Executor | ExternalModel:
    """What runs one recorded step: see `_executor` and `recorded_external`."""
    if step.operation == OPERATION:
        return recorded_external(step, body)
    return _executor(step, body, programs)


def _executor(step: Step, body: Body, programs: dict[str, Program]) -> Executor:
    """The executor of one recorded step, of the very program that the record names; noted in `programs`.

    The name is a stranger's: only installed models are looked through, never a path.

    Raises:
        ModelError: if no such model is installed, or this machine gets its known answers wrong.
        UndecidableError: if the installed model of that name is another program.
    """
    from restore_models.zoo import known_models, open_model  # noqa: PLC0415 -- keeps torch out of light commands

    name = str(step.parameters.get("model"))
    installed = {m.id for m in known_models(models_folder())}
    found, program = open_model(
        name if name in installed & {m.id for m in body.models} else "", models_folder()
    )
    if program.program_sha256() != step.parameters.get("program_sha256"):
        raise UndecidableError(
            f"The model {found.id!r} installed here is another program than the one recorded.",
            hint="Install the version of the model that the manifest names.",
        )
    programs[step.operation] = program
    return make_executor(found, program, exact=step.parameters.get("arithmetic") == "exact")


def _within_tolerance(body: Body, executed: Executed, result: bytes) -> Recomputation:
    """The maps: the edit map is drawn again from the recorded pixels, the confidence map cannot be."""
    recorded, samples = decode_png(result), executed.samples
    if recorded.shape != samples.shape or recorded.dtype != samples.dtype:
        return Recomputation(reason="The result has another size or depth than the recomputation.")
    unit = 1 if samples.dtype == np.uint8 else 257
    worst = int(np.abs(recorded.astype(np.int64) - samples.astype(np.int64)).max())
    if worst > FLOAT_TOLERANCE * unit or pixels_sha256(recorded) != body.result.pixels_sha256:
        return Recomputation(pixels_sha256=pixels_sha256(samples))
    colours = recorded
    if executed.alpha is not None:
        colours = recorded[:, :, 0] if recorded.shape[2] == 2 else recorded[:, :, :3]
    edit, _ = edit_map(executed.before, colours)
    return Recomputation(pixels_sha256=body.result.pixels_sha256, edit_sha256=pixels_sha256(edit))
