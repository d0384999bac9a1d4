"""Recomputation: the plan of a manifest run again on the source, for `verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from restore_manifests.errors import RestoreError, UndecidableError
from restore_manifests.pixels import decode_png, pixels_sha256
from restore_manifests.record import Recomputation
from restore_sdk.maps import edit_map
from restore_sdk.models import models_folder
from restore_sdk.plan import execute

if TYPE_CHECKING:
    from restore_manifests.schema import Body, Step
    from restore_models.restorer import Executor
    from restore_sdk.evidence import Evidence

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
    try:
        executed = execute(body.plan, evidence.pixels, evidence.alpha, lambda step: _executor(step, body))
    except RestoreError as problem:
        return Recomputation(reason=str(problem))
    edit, _ = edit_map(executed.before, executed.pixels)
    samples = executed.samples
    if any(model.arithmetic == "tolerance" for model in body.models):
        return _within_tolerance(body, samples, result)
    return Recomputation(
        pixels_sha256=pixels_sha256(samples),
        edit_sha256=pixels_sha256(edit),
        confidence_sha256=pixels_sha256(executed.confidence),
    )


def _executor(step: Step, body: Body) -> Executor:
    """The executor of one recorded step, of the very program that the record names.

    Raises:
        ModelError: if no such model is installed.
        UndecidableError: if the installed model of that name is another program.
    """
    from restore_models.restorer import TorchRunner  # noqa: PLC0415 -- keeps torch out of light commands
    from restore_models.zoo import open_model  # noqa: PLC0415

    name = str(step.parameters.get("model"))
    found, program = open_model(name if name in {m.id for m in body.models} else "", models_folder())
    if program.program_sha256() != step.parameters.get("program_sha256"):
        raise UndecidableError(
            f"The model {found.id!r} installed here is another program than the one recorded.",
            hint="Install the version of the model that the manifest names.",
        )
    return TorchRunner(program, exact=step.parameters.get("arithmetic") == "exact")


def _within_tolerance(body: Body, samples: NDArray[Any], result: bytes) -> Recomputation:
    recorded = decode_png(result)
    if recorded.shape != samples.shape or recorded.dtype != samples.dtype:
        return Recomputation(reason="The result has another size or depth than the recomputation.")
    unit = 1 if samples.dtype == np.uint8 else 257
    worst = int(np.abs(recorded.astype(np.int64) - samples.astype(np.int64)).max())
    if worst > FLOAT_TOLERANCE * unit or pixels_sha256(recorded) != body.result.pixels_sha256:
        return Recomputation(pixels_sha256=pixels_sha256(samples))
    maps = body.maps
    return Recomputation(
        pixels_sha256=body.result.pixels_sha256,
        edit_sha256=maps.edit.pixels_sha256 if maps.edit else None,
        confidence_sha256=maps.confidence.pixels_sha256 if maps.confidence else None,
    )
