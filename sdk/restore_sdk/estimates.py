"""What the estimate head said, in units that people use, and when the tool must abstain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from restore_manifests.schema import Degradation

if TYPE_CHECKING:
    from restore_models.program import Program

__all__ = ["abstentions", "describe", "notes_of"]

SMALLEST_SIDE = 32
"""Below this many pixels a side there is less than half an attention window to go by."""

_LIMITS = {
    "noise_sigma": (
        62.0,
        "the noise (sigma about {value:.0f} of 255) is far above the 55 that it was trained up to",
    ),
    "blur_sigma": (3.6, "the blur (about {value:.1f} pixels) is wider than any it was trained on"),
}


def describe(estimates: dict[str, int], notes: dict[str, Any]) -> dict[str, Degradation]:
    """Estimates with intervals.

    Args:
        estimates: thousandths of the head's units, by `restore_models.architecture.ESTIMATES`.
        notes: of the model; `estimate_error` holds for each name the 5 % and 95 % quantiles of truth minus
            estimate on held-out images, in the same thousandths.
    """
    errors = notes.get("estimate_error", {})
    found: dict[str, Degradation] = {}
    for name, value in estimates.items():
        low, high = (int(v) for v in errors.get(name, (0, 0)))
        triple = [max(0, value + shift) for shift in (low, 0, high)]
        match name:
            case "noise_sigma":
                found["noise_sigma"] = _degradation([v * 0.025 for v in triple], "8-bit levels")
            case "blur_sigma":
                found["blur_sigma"] = _degradation([v * 0.001 for v in triple], "pixels")
            case "jpeg_loss":
                ends = [max(1.0, 100 - v * 0.05) for v in reversed(triple)]
                found["jpeg_quality"] = _degradation(ends, "quality, 100: no loss seen")
            case "scale_log2":
                found["downscale_factor"] = _degradation([2.0 ** (v / 1000) for v in triple], "times")
            case _:
                continue
    return found


def notes_of(programs: Sequence[Program]) -> dict[str, Any]:
    """The notes that `describe` goes by, of the one or two programs that restored a picture, in order."""
    from restore_models.cascade import estimate_errors  # noqa: PLC0415 -- torch stays out of light commands

    return {**programs[0].notes, "estimate_error": estimate_errors(programs)}


def _degradation(ends: list[float], unit: str) -> Degradation:
    low, value, high = (round(end, 2) for end in ends)
    return Degradation(value=value, low=min(low, value), high=max(high, value), unit=unit)


def abstentions(degradation: dict[str, Degradation], height: int, width: int) -> list[str]:
    """Why the image is outside what the model was trained and measured on; empty if it is not."""
    reasons = []
    if min(height, width) < SMALLEST_SIDE:
        reasons.append(f"the image is only {width}x{height} pixels, less than {SMALLEST_SIDE} on a side")
    for name, (limit, text) in _LIMITS.items():
        if name in degradation and degradation[name].value > limit:
            reasons.append(text.format(value=degradation[name].value))
    return reasons
