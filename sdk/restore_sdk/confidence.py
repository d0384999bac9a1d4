"""What the record says of the confidence map: how it was made, what it guarantees, and for which picture not.

The calibration is in the model file (`restore_models.calibration`). The plan names it by digest, so that
`verify` scales the intervals by the very same one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from restore_manifests.canonical import canonical_bytes, sha256_hex
from restore_manifests.errors import UndecidableError
from restore_manifests.schema import Finding, Step
from restore_sdk.compression_step import AGREE
from restore_sdk.route_step import restores_twice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from restore_models.calibration import CalibratedClass, Calibration
    from restore_models.program import Program

__all__ = [
    "CHECKER",
    "CONFIDENCE_METHOD",
    "NO_GUARANTEE",
    "calibration_doubts",
    "calibration_finding",
    "calibration_sha256",
    "confidence_guarantee",
    "confidence_method",
    "planned_calibration",
]

CHECKER = "calibration"
CONFIDENCE_METHOD = (
    "Width of the network's learned 5 % to 95 % quantile interval (pinball loss), mean of the channels, "
    "in half 8-bit levels, clipped at 255."
)
_SUMMED = (
    " Two networks restored, one before enlarging and one after it: the interval is the sum of both, that "
    "of the first enlarged by repeating its values."
)
_SUMMED_IN_ONE_SIZE = " Two networks restored, one after the other: the interval is the sum of both."
_AGREED = (
    " The intervals stay where the network put them; the result was brought to agree with the compression of "
    "its source afterwards."
)
NO_GUARANTEE = "None: the quantiles were learned, not calibrated on independent images."
_PARAMETER = "calibration_sha256"
_QUANTITIES = {
    "noise_sigma": "noise",
    "blur_sigma": "blur",
    "jpeg_loss": "compression",
    "scale_log2": "reduction",
}


def calibration_sha256(program: Program, small: Program | None = None) -> str | None:
    """SHA-256 of the RFC 8785 form of a program's calibration; None if it has none.

    `small` is the program that restored the picture before it was enlarged, if one did: then it is the
    calibration for what comes from that.

    Raises:
        ModelError: if the calibration is damaged or that of another program.
    """
    from restore_models.calibration import read_calibration  # noqa: PLC0415 -- with the models only

    calibration = read_calibration(program, small.program_sha256() if small else None)
    return _digest(calibration) if calibration else None


def planned_calibration(step: Step, program: Program, small: Program | None = None) -> Calibration | None:
    """The calibration that a restoring step of a plan names; None if it names none. `small` as above.

    Raises:
        ModelError: as `calibration_sha256`.
        UndecidableError: if the model installed here has another one.
    """
    from restore_models.calibration import read_calibration  # noqa: PLC0415 -- with the models only

    wanted = step.parameters.get(_PARAMETER)
    if wanted is None:
        return None
    calibration = read_calibration(program, small.program_sha256() if small else None)
    if calibration is None or _digest(calibration) != wanted:
        raise UndecidableError(
            "The model installed here has another calibration than the one recorded.",
            hint="Install the model file whose SHA-256 the manifest names.",
        )
    return calibration


def _digest(calibration: Calibration) -> str:
    return sha256_hex(canonical_bytes(calibration.to_notes()))


def calibration_doubts(
    calibration: Calibration | None, estimates: Mapping[str, int], pixels: NDArray[Any]
) -> list[str]:
    """Why a picture is outside what the intervals were calibrated on; empty if it is not.

    Args:
        calibration: of the intervals.
        estimates: those that its classes go by, see `plan.Executed`.
        pixels: of the source, uint8 or uint16, (height, width[, 3]).
    """
    if calibration is None:
        return []
    return [*_impulses(calibration, pixels), *_above(calibration, estimates)]


def _impulses(calibration: Calibration, pixels: NDArray[Any]) -> list[str]:
    from restore_models.lone_pixels import lone_pixels  # noqa: PLC0415 -- with the models only

    if calibration.lone_pixels is None or not calibration.has_impulses(lone := lone_pixels(pixels)):
        return []
    return [
        f"{lone} of a million pixels stand alone, as in impulse noise, and no picture that the intervals "
        f"were calibrated on had more than {calibration.lone_pixels}"
    ]


def _above(calibration: Calibration, estimates: Mapping[str, int]) -> list[str]:
    found = calibration.class_of(estimates)
    above = calibration.outside(found, estimates) if found else []
    if found is None or not above:
        return []
    names = " and ".join(_QUANTITIES[name] for name in above)
    verb = "is" if len(above) == 1 else "are"
    return [f"its {names} {verb} above all that the intervals of its class ({found.name}) were calibrated on"]


def confidence_method(
    calibration: Calibration | None, estimates: Mapping[str, int], plan: Sequence[Step]
) -> str:
    """How the confidence map of a picture that was restored by `plan` was computed."""
    scale = calibration.scale(estimates) if calibration else None
    end = ""
    if restores_twice(plan):
        end = _SUMMED if any(step.operation == "enlarge" for step in plan) else _SUMMED_IN_ONE_SIZE
    if any(step.operation == AGREE for step in plan):
        end += _AGREED
    if scale is None:
        return CONFIDENCE_METHOD + end
    return (
        "Width of the interval round each sample: the network's learned 5 % to 95 % quantile interval "
        f"(pinball loss) times {scale}/64, and half an 8-bit level on each side; mean of the channels, in "
        f"half 8-bit levels, clipped at 255.{end}"
    )


def confidence_guarantee(
    calibration: Calibration | None, estimates: Mapping[str, int], reasons: list[str]
) -> str:
    """What the confidence map guarantees, in one sentence; `reasons` are why the tool abstained."""
    if calibration is None:
        return NO_GUARANTEE
    found = calibration.class_of(estimates)
    if found is None or found.scale_64ths is None:
        return f"None: intervals of the class {_name(found)} could not be calibrated."
    if reasons:
        return "None: the picture is outside what the intervals were calibrated on."
    return (
        f"At most {_percent(calibration.alpha)} of the samples lie outside their interval, as an average "
        f"over images like those of the calibration (class {found.name}, {found.images} images; with "
        f"confidence {_percent(1 - calibration.delta)}): not per pixel, not for this image by itself, and "
        "void under shift, that is for other scenes, cameras or damage."
    )


def calibration_finding(
    calibration: Calibration | None, estimates: Mapping[str, int], reasons: list[str]
) -> Finding | None:
    """The figures of the guarantee; None for a model without calibration."""
    if calibration is None:
        return None
    found = calibration.class_of(estimates)
    scale = found.scale_64ths if found else None
    return Finding(
        checker=CHECKER,
        severity="info",
        message=f"Confidence map: {confidence_guarantee(calibration, estimates, reasons)}",
        details={
            "class": _name(found),
            "alpha": calibration.alpha,
            "delta": calibration.delta,
            "images": found.images if found else 0,
            "scale_64ths": scale,
            "guaranteed": scale is not None and not reasons,
        },
    )


def _name(found: CalibratedClass | None) -> str:
    return found.name if found else "unknown"


def _percent(share: float) -> str:
    return f"{round(100 * share, 4):g} %"
