"""Suites about what the model says of a picture: `estimate` (what is wrong with it) and `calibration` (how
sure it is of each pixel).

Both draw, for each picture and each kind of degradation that training knows, one strength from a generator
seeded by the picture's place in the set, and keep the damaged picture as an 8-bit file does. Of a picture
larger than 512 pixels on a side the middle is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy.stats import binom  # type: ignore[import-untyped]  # scipy has no types

from restore_manifests.errors import UsageError
from restore_models.architecture import ESTIMATES
from restore_models.degradations import Applied, degrade
from restore_models.evaluation_images import Image8, Item
from restore_models.evaluation_protocol import (
    Case,
    ProgramSubject,
    Quality,
    Ratio,
    Sample,
    Subject,
    as_float,
    levels_like,
    quality,
    restore_outputs,
)
from restore_models.restorer import Executor, restore_pixels
from restore_models.training_config import TrainingConfig

__all__ = [
    "CALIBRATION_NOTE",
    "DELTA",
    "calibration_cases",
    "estimate_cases",
    "kinds",
    "risk_upper_bound",
    "with_risk_bound",
]

DELTA = 0.05
"""How often, over draws of the set of pictures, the stated upper bound of the risk may be wrong."""
CALIBRATION_NOTE = (
    "outside is the share of samples whose true value lies outside the learned 5 % to 95 % interval (0.10 "
    "would be nominal), a mean over these pictures; outside_upper bounds the mean over the distribution that "
    f"they were drawn from with {1 - DELTA:.0%} confidence, if they were drawn independently. Neither holds "
    "for a single pixel, nor for other pictures or other damage."
)

_SIDE = 512
_SEED = 20
_UNITS = {"noise_sigma": 0.025, "blur_sigma": 0.001, "jpeg_loss": 0.05, "scale_log2": 0.001}
"""Of one thousandth of the estimate head's units: 8-bit levels, pixels, points of quality, halvings."""


def kinds() -> list[str]:
    """The kinds of degradation that training knows by default, sorted."""
    return sorted(TrainingConfig().shares())


def _middle(clean: Image8) -> Image8:
    top, left = (max(0, (size - _SIDE) // 2) for size in clean.shape[:2])
    return np.ascontiguousarray(clean[top : top + _SIDE, left : left + _SIDE])


def _damaged(clean: Image8, kind: str, number: int) -> tuple[Image8, Applied]:
    worse, applied = degrade(as_float(clean), np.random.default_rng([_SEED, number]), {kind: 1.0})
    return levels_like(worse, clean), applied


def _executor(subject: Subject, what: str) -> Executor:
    if isinstance(subject, ProgramSubject):
        return subject.executor
    raise UsageError(
        f"This model states no {what}, so that there is none to measure.",
        hint="Measure a model made by restore, or use another suite.",
    )


# ---- what is wrong with the picture ----------------------------------------------------------------------


def estimate_cases() -> list[Case]:
    """Settings `<quantity>, all` and `<quantity>, <kind>`, the latter where that kind damages by it.

    Figures: `mae` and `bias` (estimate minus truth) in 8-bit levels (noise_sigma), pixels (blur_sigma),
    points of quality (jpeg_loss) and halvings (scale_log2); `inside`, the share of truths inside the
    recorded interval (0.90 would be nominal).
    """
    return [_estimate(kind) for kind in kinds()]


def _estimate(kind: str) -> Case:
    def measure(subject: Subject, item: Item, number: int) -> list[Sample]:
        executor = _executor(subject, "estimate")
        clean = _middle(item.clean)
        worse, applied = _damaged(clean, kind, number)
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


# ---- how sure it is of each pixel ------------------------------------------------------------------------


def calibration_cases() -> list[Case]:
    """One setting per kind of degradation.

    Figures: `outside`, the mean over pictures of the share of samples whose true value is outside the
    interval, of it `below` and `above`; `width` of the interval in 8-bit levels.
    """
    return [_calibration(kind) for kind in kinds()]


def _calibration(kind: str) -> Case:
    def measure(subject: Subject, item: Item, number: int) -> list[Sample]:
        executor = _executor(subject, "interval")
        clean = _middle(item.clean)
        worse, _ = _damaged(clean, kind, number)
        rgb = as_float(worse).astype(np.float64)
        outputs = restore_outputs(executor, rgb)
        point = rgb * 255 + outputs["residual"]
        low, high = point - outputs["interval"][:, :, :3], point + outputs["interval"][:, :, 3:]
        if clean.ndim == 2:
            point, low, high = (values.mean(axis=2) for values in (point, low, high))
        below, above = float(np.mean(clean < low)), float(np.mean(clean > high))
        restored = np.clip(np.rint(point), 0, 255)
        found: dict[str, Ratio] = {
            "outside": (below + above, 1),
            "below": (below, 1),
            "above": (above, 1),
            "width": (float(np.mean(high - low)), 1),
        }
        return [Sample(kind, quality(clean, restored, worse), found)]

    return measure


def with_risk_bound(figures: dict[str, float | None], images: int) -> dict[str, float | None]:
    """The figures of a row of `calibration` with `outside_upper`, see `risk_upper_bound`."""
    risk = figures["outside"]
    upper = None if risk is None else round(risk_upper_bound(risk, images), 4)
    return {**figures, "outside_upper": upper}


def risk_upper_bound(risk: float, images: int, delta: float = DELTA) -> float:
    """The Hoeffding-Bentkus upper bound of the expected loss, for losses in [0, 1].

    Bates et al., Distribution-free, risk-controlling prediction sets (2021), 3.1: the largest R at which
    min(exp(-n h1(min(r, R), R)), e P[Bin(n, R) <= ceil(n r)]) is at least `delta`; `risk` r is the mean of n
    independent losses.
    """

    def tail(bound: float) -> float:
        """The p-value of the true risk being `bound` or more."""
        low = min(risk, bound)
        divergence = low * math.log(low / bound) if low else 0.0
        if low < 1:
            divergence += (1 - low) * math.log((1 - low) / (1 - bound))
        hoeffding = math.exp(-images * divergence)
        return min(hoeffding, math.e * float(binom.cdf(math.ceil(images * risk), images, bound)))

    if risk >= 1:
        return 1.0
    low, high = risk, 1.0
    for _ in range(60):  # the tail falls as the bound rises
        middle = (low + high) / 2
        if middle >= 1:
            break
        low, high = (middle, high) if tail(middle) >= delta else (low, middle)
    return high
