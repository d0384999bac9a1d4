"""The plan of a restoration and its execution: what `restore` runs and `verify` replays.

A plan is a list of steps, each one operation with parameters. Running a plan needs the pixels of the
evidence and the model that it names, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from restore_manifests.errors import ManifestError, UndecidableError
from restore_manifests.pixels import pixels_sha256
from restore_manifests.schema import Step, TraceStep
from restore_sdk import compression_step, route_step
from restore_sdk.confidence import planned_calibration
from restore_sdk.external_step import run_external

if TYPE_CHECKING:
    from restore_models.calibration import Calibration
    from restore_models.cascade import EarlierInterval
    from restore_models.compression_constraint import Agreement
    from restore_models.external import ExternalModel
    from restore_models.restorer import Executor
    from restore_models.routing import Seen

__all__ = ["Executed", "execute", "make_plan"]

_SMALL_SHARE = 1 / 3
"""Of the time of both restoring steps, what the first takes where the picture is enlarged after it."""


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
    """What the first restoring program says of the picture that it was given: the source, or the source
    enlarged. Empty where an external model restored."""
    trace: list[TraceStep]
    seen: Seen | None = None
    """What a routing step found."""
    calibration: Calibration | None = None
    """What the intervals of the confidence map were scaled by; classes are those of `estimates`."""
    agreement: Agreement | None = None
    """With the compression of the source, where the plan asked for it."""

    @property
    def samples(self) -> NDArray[Any]:
        """Pixels with alpha, where there is one, as the last channel."""
        return self.pixels if self.alpha is None else np.dstack([self.pixels, self.alpha])


def make_plan(
    *,
    scale: int,
    model_id: str,
    program_sha256: str,
    arithmetic: str,
    views: int = 1,
    calibration_sha256: str | None = None,
    small: tuple[str, str] | None = None,
) -> list[Step]:
    """The steps for one image: enlarge where asked for, then restore. `small` is the id of a model, and the
    SHA-256 of its program, that restores before all that. `views` are the program's; one is not mentioned."""
    steps = []
    if small is not None:
        first = {"model": small[0], "program_sha256": small[1], "arithmetic": arithmetic}
        steps.append(Step(operation=route_step.RESTORE_SMALL, parameters={**first}))
    if scale != 1:
        steps.append(Step(operation="enlarge", parameters={"factor": scale, "kernel": "bicubic, a = -0.75"}))
    parameters: dict[str, str | int] = {
        "model": model_id,
        "program_sha256": program_sha256,
        "arithmetic": arithmetic,
    }
    if views != 1:
        parameters["views"] = views
    if calibration_sha256 is not None:
        parameters["calibration_sha256"] = calibration_sha256
    steps.append(Step(operation="restore", parameters={**parameters}))
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
    return _Run(pixels, alpha, find_executor, progress, seen).follow(plan)


class _Run:
    """A plan on its way: what each operation does to the pixels, and when it may come."""

    def __init__(
        self,
        pixels: NDArray[Any],
        alpha: NDArray[Any] | None,
        find_executor: Callable[[Step], Executor | ExternalModel],
        progress: Callable[[float], None] | None,
        seen: Seen | None,
    ) -> None:
        self._evidence = self._pixels = self._before = pixels
        self._alpha = alpha
        self._find = find_executor
        self._progress = progress
        self._seen = seen
        self._small: Executor | None = None
        self._earlier: EarlierInterval | None = None
        self._factor = 1
        self._estimates: dict[str, int] = {}
        self._confidence: NDArray[np.uint8] | None = None
        self._calibration: Calibration | None = None
        self._agreement: Agreement | None = None
        self._restored = False
        self._may_restore_twice = False
        self._operations = {
            route_step.ROUTE: self._route,
            route_step.RESTORE_SMALL: self._restore_small,
            "enlarge": self._enlarge,
            "restore": self._restore,
            "restore_external": self._restore_external,
            compression_step.AGREE: self._agree,
        }

    def follow(self, plan: list[Step]) -> Executed:
        trace = []
        digest = pixels_sha256(self._pixels)
        for step in plan:
            operation = self._operations.get(step.operation)
            if operation is None:
                raise ManifestError(
                    f"The plan holds the operation {step.operation!r}, which this version does not know.",
                    hint="Use the version of restore that the manifest names.",
                )
            operation(step)
            after = pixels_sha256(self._pixels)
            trace.append(TraceStep(operation=step.operation, input_sha256=digest, output_sha256=after))
            digest = after
        if not self._restored:
            raise UndecidableError("The plan restores nothing: it has no restore step.")
        return Executed(
            self._pixels,
            self._alpha,
            self._before,
            self._confidence,
            self._estimates,
            trace,
            self._seen,
            self._calibration,
            self._agreement,
        )

    def _route(self, step: Step) -> None:
        from restore_models.routing import (  # noqa: PLC0415 -- torch stays out of light commands
            blur_after_in,
            restored_sample,
            seen_in,
            shown_compression,
            softness_in_sample,
        )

        self._may_restore_twice = route_step.may_restore_twice(step)
        if self._pixels is not self._evidence:
            raise ManifestError("The plan chooses a model late, which restore never plans.")
        if self._seen is None:
            sample = restored_sample(self._executor(step), self._pixels)
            self._seen = seen_in(sample, self._pixels)
            if route_step.asks_compression(step, self._seen):
                shown = shown_compression(self._pixels)
                self._seen = replace(self._seen, shown_compression=shown)
            if (look := route_step.second_look(step, self._seen)) is not None:
                blur, reduction = softness_in_sample(self._executor(look), self._pixels)
                self._seen = replace(self._seen, blur=blur, reduction=reduction)
            if (look := route_step.look_after(step, self._seen)) is not None:
                blur = blur_after_in(sample, self._executor(look), route_step.soft_tiles(step))
                self._seen = replace(self._seen, blur_after=blur)

    def _restore_small(self, step: Step) -> None:
        from restore_models.cascade import EarlierInterval  # noqa: PLC0415 -- as above
        from restore_models.restorer import restore_pixels  # noqa: PLC0415

        if self._pixels is not self._evidence:
            raise ManifestError("The plan restores the small picture late, which restore never plans.")
        self._small = self._executor(step)
        self._earlier = EarlierInterval(self._small.program, *self._pixels.shape[:2])
        restored = restore_pixels(
            self._small, self._pixels, watch=self._earlier.keep, progress=self._part(0, _SMALL_SHARE)
        )
        self._pixels, self._estimates = restored.pixels, restored.estimates

    def _enlarge(self, step: Step) -> None:
        from restore_models.resample import FACTORS, enlarge  # noqa: PLC0415 -- as above

        factor = step.parameters.get("factor")
        if not isinstance(factor, int) or factor not in FACTORS or self._restored:
            raise ManifestError(f"The plan enlarges by {factor!r}, which this version does not know.")
        self._factor = factor
        self._before = enlarge(self._evidence, factor)
        self._pixels = self._before if self._small is None else enlarge(self._pixels, factor)
        self._alpha = None if self._alpha is None else enlarge(self._alpha, factor)

    def _restore(self, step: Step) -> None:
        from restore_models.restorer import restore_pixels  # noqa: PLC0415 -- as above

        self._check_first()
        if self._small is not None and self._before is self._evidence and not self._may_restore_twice:
            raise ManifestError("The plan restores twice in one size, which restore never plans.")
        executor = self._executor(step)
        small = self._small.program if self._small else None
        self._calibration = planned_calibration(step, executor.program, small)
        restored = restore_pixels(
            executor,
            self._pixels,
            interval_scale=self._scale if self._calibration else None,
            added=self._earlier.enlarged(executor.program, self._factor) if self._earlier else None,
            progress=self._part(_SMALL_SHARE if small else 0, 1),
        )
        self._pixels, self._confidence = restored.pixels, restored.interval
        self._estimates = self._of_both(restored.estimates)
        self._restored = True

    def _restore_external(self, step: Step) -> None:
        from restore_models.external import ExternalModel  # noqa: PLC0415 -- as above
        from restore_models.resample import enlarge  # noqa: PLC0415

        self._check_first()
        if self._small is not None:
            raise ManifestError("The plan mixes models of two kinds, which restore never plans.")
        model = self._find(step)
        assert isinstance(model, ExternalModel)  # noqa: S101 -- `find_executor` goes by the operation
        if model.scale != 1 and self._before is not self._evidence:
            raise ManifestError("The plan enlarges twice, which restore never plans.")
        self._before = enlarge(self._pixels, model.scale)
        self._pixels = run_external(step, model, self._pixels, self._progress)
        self._alpha = None if self._alpha is None else enlarge(self._alpha, model.scale)
        self._restored = True

    def _agree(self, step: Step) -> None:
        if not self._restored or self._small is not None or self._confidence is None or self._factor != 1:
            raise ManifestError("The plan has a step for compressed pictures where restore never plans one.")
        self._agreement = compression_step.agree(step, self._evidence, self._pixels)
        self._pixels = self._agreement.pixels

    def _check_first(self) -> None:
        if self._restored:
            raise ManifestError("The plan restores twice, which restore never plans.")

    def _scale(self, estimates: Mapping[str, int]) -> int | None:
        """What the intervals are multiplied by: by what the first program said, which may be this one."""
        assert self._calibration is not None  # noqa: S101 -- asked for only then
        return self._calibration.scale(self._of_both(estimates))

    def _of_both(self, estimates: Mapping[str, int]) -> dict[str, int]:
        """What is said of the picture, `estimates` being those of the program that makes the result."""
        from restore_models.cascade import estimates_of_both  # noqa: PLC0415 -- as above

        if self._small is None:
            return dict(estimates)
        return estimates_of_both(self._estimates, estimates, self._factor)

    def _part(self, start: float, end: float) -> Callable[[float], None] | None:
        """Progress of one restoring step as a share of all."""
        progress = self._progress
        return None if progress is None else lambda share: progress(start + share * (end - start))

    def _executor(self, step: Step) -> Executor:
        """What runs a step of ours."""
        from restore_models.external import ExternalModel  # noqa: PLC0415 -- torch stays out of light commands

        found = self._find(step)
        assert not isinstance(found, ExternalModel)  # noqa: S101 -- `find_executor` goes by the operation
        if (said := step.parameters.get("views", 1)) != found.program.views:
            raise ManifestError(
                f"The step {step.operation} says {said!r} views, but its program looks in "
                f"{found.program.views}."
            )
        return found
