"""The step that brings a result to agree with the compression of its source: what it records, and whether
that holds.

Records of versions before 0.13 have none; those of 0.13 draw no coefficients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from restore_manifests.errors import ManifestError
from restore_manifests.schema import Body, Finding, Step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from restore_models.compression_constraint import Agreement
    from restore_models.compression_grid import CompressionGrid

__all__ = ["AGREE", "CHECKER", "agree", "agreement_finding", "compression_problem", "with_agreement"]

AGREE = "agree_with_compression"
CHECKER = "compression"

_BEFORE = {"route", "restore"}
_LARGEST = {"quality": 95, "top": 7, "left": 7, "reach_64ths": 32, "most_outside_thousandths": 1000}
"""The parameters, with the largest value of each; the smallest is 0, of the quality 1."""
_DRAWING = {"half_way_step": 255, "least_drawn_step": 255}
"""Likewise; both or none of them, as in records of 0.13."""
_STEPS = "steps"
"""And one more: so many whole numbers from 0 to 255."""
_COUNT = 64


def with_agreement(plan: list[Step], pixels: NDArray[Any]) -> list[Step]:
    """A plan for upright pixels, uint8 or uint16, (height, width[, 3]), with this step at its end where they
    show a compression and one program restores them, exactly and in their own size."""
    from restore_models.compression_constraint import Limits  # noqa: PLC0415 -- for a run only
    from restore_models.compression_grid import find_grid  # noqa: PLC0415

    alone = {step.operation for step in plan} <= _BEFORE
    if not alone or plan[-1].parameters.get("arithmetic") != "exact" or (grid := find_grid(pixels)) is None:
        return plan
    values = (grid.quality, grid.top, grid.left, *astuple(Limits()))
    parameters: dict[str, Any] = dict(zip(_LARGEST | _DRAWING, values, strict=True))
    parameters[_STEPS] = list(grid.steps)
    return [*plan, Step(operation=AGREE, parameters=parameters)]


def agree(step: Step, source: NDArray[Any], result: NDArray[Any]) -> Agreement:
    """Carries the step out.

    Raises:
        ManifestError: if its parameters are none, or the pixels are not 8-bit ones.
    """
    from restore_models.compression_constraint import Limits, agreeing  # noqa: PLC0415 -- for a run only

    if source.dtype.name != "uint8":
        raise ManifestError("The plan has a step for 8-bit pictures where the source has more bits.")
    said = _numbers(step)
    limits = Limits(
        reach=said["reach_64ths"],
        most_outside=said["most_outside_thousandths"],
        half=said["half_way_step"],
        least=said["least_drawn_step"],
    )
    return agreeing(source, result, _grid_of(step), limits)


def agreement_finding(plan: Sequence[Step], agreement: Agreement | None) -> list[Finding]:
    """What the record says of the step, if the plan has it."""
    step = _step_of(plan)
    if step is None or agreement is None:
        return []
    said = _numbers(step)
    begin = (
        f"The source was compressed as JPEG of quality {said['quality']}. Of the coefficients that it shows "
        f"not to be zero, {agreement.outside / 10:.1f} % lay in the restored picture outside of what that "
        "proves"
    )
    if agreement.applied:
        end = f"; all were brought to within {said['reach_64ths']}/64 of a step of what the source says"
        end += ", and large ones drawn towards it." if said["half_way_step"] else "."
    else:
        end = (
            f", more than {said['most_outside_thousandths'] / 10:.1f} %: it was noisy or soft before it was "
            "compressed, or compressed twice. They were left as they are."
        )
    details = {"outside_thousandths": agreement.outside, "applied": agreement.applied}
    return [Finding(checker=CHECKER, severity="info", message=begin + end, details=details)]


def compression_problem(body: Body, pixels: NDArray[Any], agreement: Agreement | None) -> str | None:
    """What is wrong with what a record says of the compression of its source; None where nothing is."""
    from restore_models.compression_grid import find_grid  # noqa: PLC0415 -- for a run only

    step = _step_of(body.plan)
    if step is not None and find_grid(pixels) != _grid_of(step):
        return "the compression that it sees in its source is another"
    stated = [finding for finding in body.findings if finding.checker == CHECKER]
    if stated != agreement_finding(body.plan, agreement):
        return "what it says of the compression of its source is another"
    return None


def _step_of(plan: Sequence[Step]) -> Step | None:
    return next((step for step in plan if step.operation == AGREE), None)


def _grid_of(step: Step) -> CompressionGrid:
    from restore_models.compression_grid import CompressionGrid  # noqa: PLC0415 -- for a run only

    said = _numbers(step)
    return CompressionGrid(said["top"], said["left"], said["quality"], _steps_of(step))


def _numbers(step: Step) -> dict[str, int]:
    """The parameters that are numbers; 0 for those that records of 0.13 have not.

    Raises:
        ManifestError: if they are others, or beyond their range.
    """
    said = {name: value for name, value in step.parameters.items() if type(value) is int}
    largest = _LARGEST | _DRAWING
    in_range = said.keys() in (_LARGEST.keys(), largest.keys()) and all(
        (name == "quality") <= value <= largest[name] for name, value in said.items()
    )
    if not in_range or step.parameters.keys() != {*said, _STEPS} or len(_steps_of(step)) != _COUNT:
        raise ManifestError(
            "The plan has a step for compressed pictures with parameters that it cannot have."
        )
    return dict.fromkeys(_DRAWING, 0) | said


def _steps_of(step: Step) -> tuple[int, ...]:
    """The steps of luma that a plan states; none, if one of them is no such number."""
    stated = step.parameters.get(_STEPS)
    if not isinstance(stated, list):
        return ()
    numbers = tuple(one for one in stated if type(one) is int and 0 <= one <= 255)
    return numbers if len(numbers) == len(stated) else ()
