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

if TYPE_CHECKING:
    from restore_models.restorer import Executor

__all__ = ["Executed", "execute", "make_plan"]


@dataclass(frozen=True)
class Executed:
    """What running a plan gives.

    `pixels` and `alpha` are the result; `before` is the input brought to the result's size, against which
    the edit map is drawn; `confidence` is uint8 (height, width), see `restore_models.restorer.Restored`.
    """

    pixels: NDArray[Any]
    alpha: NDArray[Any] | None
    before: NDArray[Any]
    confidence: NDArray[np.uint8]
    estimates: dict[str, int]
    trace: list[TraceStep]

    @property
    def samples(self) -> NDArray[Any]:
        """Pixels with alpha, where there is one, as the last channel."""
        return self.pixels if self.alpha is None else np.dstack([self.pixels, self.alpha])


def make_plan(*, scale: int, model_id: str, program_sha256: str, arithmetic: str) -> list[Step]:
    """The steps for one image: enlarge where asked for, then restore."""
    steps = []
    if scale != 1:
        steps.append(Step(operation="enlarge", parameters={"factor": scale, "kernel": "bicubic, a = -0.75"}))
    parameters = {"model": model_id, "program_sha256": program_sha256, "arithmetic": arithmetic}
    steps.append(Step(operation="restore", parameters=dict(parameters)))
    return steps


def execute(
    plan: list[Step],
    pixels: NDArray[Any],
    alpha: NDArray[Any] | None,
    find_executor: Callable[[Step], Executor],
    progress: Callable[[float], None] | None = None,
) -> Executed:
    """Runs a plan on upright pixels, uint8 or uint16, (height, width[, 3]); alpha of the same type beside it.

    Raises:
        ManifestError: if the plan holds an operation or parameter that this version does not know.
        ModelError, UndecidableError: from `find_executor`.
    """
    from restore_models.resample import FACTORS, enlarge  # noqa: PLC0415 -- torch stays out of light commands
    from restore_models.restorer import restore_pixels  # noqa: PLC0415

    trace = []
    before = pixels
    confidence: NDArray[np.uint8] | None = None
    estimates: dict[str, int] = {}
    digest = pixels_sha256(pixels)
    for step in plan:
        match step.operation:
            case "enlarge":
                factor = step.parameters.get("factor")
                if not isinstance(factor, int) or factor not in FACTORS or confidence is not None:
                    raise ManifestError(f"The plan enlarges by {factor!r}, which this version does not know.")
                pixels = enlarge(pixels, factor)
                alpha = None if alpha is None else enlarge(alpha, factor)
                before = pixels
            case "restore":
                restored = restore_pixels(find_executor(step), pixels, progress=progress)
                pixels, confidence, estimates = restored.pixels, restored.interval, restored.estimates
            case unknown:
                raise ManifestError(
                    f"The plan holds the operation {unknown!r}, which this version does not know.",
                    hint="Use the version of restore that the manifest names.",
                )
        after = pixels_sha256(pixels)
        trace.append(TraceStep(operation=step.operation, input_sha256=digest, output_sha256=after))
        digest = after
    if confidence is None:
        raise UndecidableError("The plan restores nothing: it has no restore step.")
    return Executed(pixels, alpha, before, confidence, estimates, trace)
