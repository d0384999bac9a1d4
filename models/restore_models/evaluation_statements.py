"""The suite `estimate`: how well the model says what is wrong with a picture.

For each picture and each kind of degradation that training knows, one strength is drawn from a generator
seeded by the picture's place in the set, and the damaged picture is kept as an 8-bit file does. Of a picture
larger than 512 pixels on a side the middle is taken.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from restore_models.architecture import ESTIMATES
from restore_models.degradations import Applied, degrade
from restore_models.evaluation_images import Image8, Item
from restore_models.evaluation_protocol import (
    Case,
    Quality,
    Ratio,
    Sample,
    Subject,
    as_float,
    executor_of,
    levels_like,
    quality,
)
from restore_models.restorer import restore_pixels
from restore_models.training_config import TrainingConfig

__all__ = ["damaged_middle", "estimate_cases", "kinds"]

_SIDE = 512
_SEED = 20
_UNITS = {"noise_sigma": 0.025, "blur_sigma": 0.001, "jpeg_loss": 0.05, "scale_log2": 0.001}
"""Of one thousandth of the estimate head's units: 8-bit levels, pixels, points of quality, halvings."""


def kinds() -> list[str]:
    """The kinds of degradation that training knows by default, sorted."""
    return sorted(TrainingConfig().shares())


def damaged_middle(clean: Image8, kind: str, number: int) -> tuple[Image8, Image8, Applied]:
    """The middle of a picture, the same after one kind of damage, and what was done to it."""
    top, left = (max(0, (size - _SIDE) // 2) for size in clean.shape[:2])
    part = np.ascontiguousarray(clean[top : top + _SIDE, left : left + _SIDE])
    worse, applied = degrade(as_float(part), np.random.default_rng([_SEED, number]), {kind: 1.0})
    return part, levels_like(worse, part), applied


def estimate_cases() -> list[Case]:
    """Settings `<quantity>, all` and `<quantity>, <kind>`, the latter where that kind damages by it.

    Figures: `mae` and `bias` (estimate minus truth) in 8-bit levels (noise_sigma), pixels (blur_sigma),
    points of quality (jpeg_loss) and halvings (scale_log2); `inside`, the share of truths inside the
    recorded interval (0.90 would be nominal).
    """
    return [_estimate(kind) for kind in kinds()]


def _estimate(kind: str) -> Case:
    def measure(subject: Subject, item: Item, number: int) -> list[Sample]:
        executor = executor_of(subject, "estimate")
        clean, worse, applied = damaged_middle(item.clean, kind, number)
        restored = restore_pixels(executor, worse)
        errors = executor.program.notes.get("estimate_error", {})
        return list(
            _said(kind, applied, restored.estimates, dict(errors), quality(clean, restored.pixels, worse))
        )

    return measure


def _said(
    kind: str,
    applied: Applied,
    estimates: dict[str, int],
    errors: dict[str, tuple[int, int]],
    figures: Quality,
) -> Iterator[Sample]:
    for name, target in zip(ESTIMATES, applied.targets(), strict=True):
        truth, said = 1000 * target, max(0, estimates[name])
        unit = _UNITS[name]
        low, high = (max(0, estimates[name] + shift) for shift in errors.get(name, (0, 0)))
        found: dict[str, Ratio] = {
            "mae": (abs(said - truth) * unit, 1),
            "bias": ((said - truth) * unit, 1),
            "inside": (float(low <= truth <= high), 1),
        }
        yield Sample(f"{name}, all", figures, found)
        if truth:
            yield Sample(f"{name}, {kind}", figures, found)
