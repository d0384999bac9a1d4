"""The plan of a restoration and its execution: what `restore` runs and `verify` replays.

A plan is a list of steps, each one operation with parameters. Running a plan needs the pixels of the
evidence and the model that it names, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from restore_manifests.errors import ManifestError, UndecidableError
from restore_manifests.pixels import pixels_sha256
from restore_manifests.schema import Step, TraceStep
from restore_sdk import route_step
from restore_sdk.confidence import planned_calibration
from restore_sdk.external_step import run_external

if TYPE_CHECKING:
    from restore_models.calibration import Calibration
    from restore_models.external import ExternalModel
    from restore_models.restorer import Executor
    from restore_models.routing import Seen

__all__ = ["Executed", "execute", "make_plan"]


@dataclass(frozen=True)
class Executed:
    """What running a plan gives.

    `pixels` and `alpha` are the result; `before` is the input brought to the result's size, against which
    the edit map is drawn; `confidence` is uint8 (height, width), see `restore_models.restorer.Restored`, and
    None where an external model restored, which states no intervals.
    """

    pixels: NDArray[Any]
    alpha: NDArray[Any] | None
    before: NDArray[Any]
    confidence: NDArray[np.uint8] | None
    estimates: dict[str, int]
    trace: list[TraceStep]
    seen: Seen | None = None
    """What a routing step found."""
    calibration: Calibration | None = None
    """What the intervals of the confidence map were scaled by."""

    @property
    def samples(self) -> NDArray[Any]:
        """Pixels with alpha, where there is one, as the last channel."""
        return self.pixels if self.alpha is None else np.dstack([self.pixels, self.alpha])


def make_plan(
    *, scale: int, model_id: str, program_sha256: str, arithmetic: str, calibration_sha256: str | None = None
) -> list[Step]:
    """The steps for one image: enlarge where asked for, then restore."""
    steps = []
    if scale != 1:
        steps.append(Step(operation="enlarge", parameters={"factor": scale, "kernel": "bicubic, a = -0.75"}))
    parameters = {"model": model_id, "program_sha256": program_sha256, "arithmetic": arithmetic}
    if calibration_sha256 is not None:
        parameters["calibration_sha256"] = calibration_sha256
    steps.append(Step(operation="restore", parameters=dict(parameters)))
    return steps


def execute(
    plan: list[Step],
    pixels: NDArray[Any],
    alpha: NDArray[Any] | None,
    find_executor: Callable[[Step], Executor | ExternalModel],
    progress: Callable[[float], None] | None = None,
    *,
    seen: Seen | None = None,
) -> Executed:
    """Runs a plan on upright pixels, uint8 or uint16, (height, width[, 3]); alpha of the same type beside it.

    `seen` is what the routing step would find, where it has just been looked for to make the plan.

    Raises:
        ManifestError: if the plan holds an operation or parameter that this version does not know.
        ModelError, UndecidableError: from `find_executor`.
    """
    from restore_models.external import ExternalModel  # noqa: PLC0415 -- torch stays out of light commands
    from restore_models.resample import FACTORS, enlarge  # noqa: PLC0415
    from restore_models.restorer import restore_pixels  # noqa: PLC0415

    trace = []
    restored_by: str | None = None
    before = evidence_pixels = pixels
    confidence: NDArray[np.uint8] | None = None
    estimates: dict[str, int] = {}
    calibration: Calibration | None = None
    digest = pixels_sha256(pixels)
    for step in plan:
        match step.operation:
            case route_step.ROUTE:
                if pixels is not evidence_pixels:
                    raise ManifestError("The plan chooses a model late, which restore never plans.")
                seen = _look(step, pixels, find_executor) if seen is None else seen
            case "enlarge":
                factor = step.parameters.get("factor")
                if not isinstance(factor, int) or factor not in FACTORS or restored_by:
                    raise ManifestError(f"The plan enlarges by {factor!r}, which this version does not know.")
                pixels = enlarge(pixels, factor)
                alpha = None if alpha is None else enlarge(alpha, factor)
                before = pixels
            case "restore" | "restore_external" if restored_by:
                raise ManifestError("The plan restores twice, which restore never plans.")
            case "restore":
                executor = find_executor(step)
                assert not isinstance(executor, ExternalModel)  # noqa: S101 -- `find_executor` goes by the operation
                calibration = planned_calibration(step, executor.program)
                scale = calibration.scale if calibration else None
                restored = restore_pixels(executor, pixels, interval_scale=scale, progress=progress)
                pixels, confidence, estimates = restored.pixels, restored.interval, restored.estimates
                restored_by = step.operation
            case "restore_external":
                model = find_executor(step)
                assert isinstance(model, ExternalModel)  # noqa: S101 -- as above
                if model.scale != 1 and before is not evidence_pixels:
                    raise ManifestError("The plan enlarges twice, which restore never plans.")
                before = enlarge(pixels, model.scale)
                pixels = run_external(step, model, pixels, progress)
                alpha = None if alpha is None else enlarge(alpha, model.scale)
                restored_by = step.operation
            case unknown:
                raise ManifestError(
                    f"The plan holds the operation {unknown!r}, which this version does not know.",
                    hint="Use the version of restore that the manifest names.",
                )
        after = pixels_sha256(pixels)
        trace.append(TraceStep(operation=step.operation, input_sha256=digest, output_sha256=after))
        digest = after
    if restored_by is None:
        raise UndecidableError("The plan restores nothing: it has no restore step.")
    return Executed(pixels, alpha, before, confidence, estimates, trace, seen, calibration)


def _look(
    step: Step, pixels: NDArray[Any], find_executor: Callable[[Step], Executor | ExternalModel]
) -> Seen:
    """What the restoring model is chosen by."""
    from restore_models.external import ExternalModel  # noqa: PLC0415 -- torch stays out of light commands
    from restore_models.routing import seen_in_sample  # noqa: PLC0415

    router = find_executor(step)
    assert not isinstance(router, ExternalModel)  # noqa: S101 -- `find_executor` goes by the operation
    return seen_in_sample(router, pixels)
