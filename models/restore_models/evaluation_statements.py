"""The suite `estimate`: how well the model says what is wrong with a picture.

For each picture and each kind of degradation that training knows, one strength is drawn from a generator
seeded by the picture's place in the set, and the damaged picture is kept as an 8-bit file does. Of a picture
larger than 512 pixels on a side the middle is taken. Beside that noise, Gaussian blur and JPEG are each done
alone, at fixed levels, to the middle 256 pixels, and JPEG also to a picture that is then cropped, so that its
blocks begin elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np

from restore_models.architecture import ESTIMATES
from restore_models.cascade import Cascade, estimate_errors
from restore_models.degradation_kinds import degrade
from restore_models.degradations import Applied, FloatImage, blur_kernel, gaussian_noise, jpeg
from restore_models.evaluation_images import Image8, Item, middle
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
from restore_models.evaluation_routed import RoutedSubject
from restore_models.training_config import TrainingConfig

__all__ = ["damaged_middle", "estimate_cases", "kinds"]

_SIDE = 512
_SIDE_ALONE = 256
_NOISE = (5, 15, 25, 35, 50)
_QUALITIES = (10, 20, 30, 50, 70, 90)
_BLURS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
_CROP = (3, 5)
"""Rows and columns cut off, so that no block of 8 begins at the corner."""
_SEED = 20
_UNITS = {"noise_sigma": 0.025, "blur_sigma": 0.001, "jpeg_loss": 0.05, "scale_log2": 0.001}
"""Of one thousandth of the estimate head's units: 8-bit levels, pixels, points of quality, halvings."""


def kinds() -> list[str]:
    """The kinds of degradation that training knows by default, sorted."""
    return sorted(TrainingConfig().shares())


def damaged_middle(clean: Image8, kind: str, number: int) -> tuple[Image8, Image8, Applied]:
    """The middle of a picture, the same after one kind of damage, and what was done to it."""
    part = middle(clean, _SIDE)
    worse, applied = degrade(as_float(part), np.random.default_rng([_SEED, number]), {kind: 1.0})
    return part, levels_like(worse, part), applied


def estimate_cases() -> list[Case]:
    """Settings `<quantity>, all` and `<quantity>, <kind>`, the latter where that kind damages by it; and of
    damage done alone `<quantity>, alone`, over the levels, and `<quantity>, alone: <level>`.

    Figures: `mae` and `bias` (estimate minus truth) in 8-bit levels (noise_sigma), pixels (blur_sigma),
    points of quality (jpeg_loss) and halvings (scale_log2); `inside`, the share of truths inside the
    recorded interval (0.90 would be nominal).
    """
    return [*(_estimate(kind) for kind in kinds()), *(_estimate_alone(*one) for one in _alone())]


def _estimate(kind: str) -> Case:
    def measure(subject: Subject, item: Item, number: int) -> list[Sample]:
        clean, worse, applied = damaged_middle(item.clean, kind, number)
        samples = []
        for name, sample in _said(subject, clean, worse, applied):
            samples.append(Sample(f"{name}, all", *sample))
            if getattr(applied, name):
                samples.append(Sample(f"{name}, {kind}", *sample))
        return samples

    return measure


_Damage = Callable[[FloatImage, int], FloatImage]


def _alone() -> Iterator[tuple[str, str, _Damage, Applied, tuple[int, int]]]:
    """Quantity, level, what does it to the picture of a number, what is true then, and what is cut off."""

    def noise(sigma: int) -> _Damage:
        return lambda image, number: gaussian_noise(image, sigma, np.random.default_rng([number, sigma]))

    def compressed(quality_factor: int) -> _Damage:
        return lambda image, _number: jpeg(image, quality_factor)

    def blurred(sigma: float) -> _Damage:
        kernel = blur_kernel("gaussian", sigma, np.random.default_rng(0))
        return lambda image, _number: cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT)

    for sigma in _NOISE:
        yield "noise_sigma", f"{sigma}", noise(sigma), Applied(noise_sigma=sigma), (0, 0)
    for width in _BLURS:
        yield "blur_sigma", f"{width}", blurred(width), Applied(blur_sigma=width), (0, 0)
    for crop, word in (((0, 0), ""), (_CROP, "cropped, ")):
        for factor in _QUALITIES:
            truth = Applied(jpeg_loss=100 - factor)
            yield "jpeg_loss", f"{word}quality {factor}", compressed(factor), truth, crop


def _estimate_alone(
    quantity: str, level: str, make: _Damage, applied: Applied, crop: tuple[int, int]
) -> Case:
    group = f"{quantity}, alone and cropped" if any(crop) else f"{quantity}, alone"

    def measure(subject: Subject, item: Item, number: int) -> list[Sample]:
        clean = middle(item.clean, _SIDE_ALONE)
        if min(clean.shape[:2]) <= max(crop):
            return []
        worse = levels_like(make(as_float(clean), number), clean)
        clean, worse = (np.ascontiguousarray(image[crop[0] :, crop[1] :]) for image in (clean, worse))
        sample = dict(_said(subject, clean, worse, applied))[quantity]
        return [Sample(group, *sample), Sample(f"{quantity}, alone: {level}", *sample)]

    return measure


def _said(
    subject: Subject, clean: Image8, worse: Image8, applied: Applied
) -> Iterator[tuple[str, tuple[Quality, dict[str, Ratio]]]]:
    """Of each quantity the figures of one damaged picture."""
    cascade = _cascade(subject, worse)
    restored = cascade.restore(worse)
    errors = estimate_errors(cascade.programs())
    figures = quality(clean, restored.pixels, worse)
    for name, target in zip(ESTIMATES, applied.targets(), strict=True):
        truth, said = 1000 * target, max(0, restored.estimates[name])
        unit = _UNITS[name]
        low, high = (max(0, restored.estimates[name] + shift) for shift in errors.get(name, (0, 0)))
        found: dict[str, Ratio] = {
            "mae": (abs(said - truth) * unit, 1),
            "bias": ((said - truth) * unit, 1),
            "inside": (float(low <= truth <= high), 1),
        }
        yield name, (figures, found)


def _cascade(subject: Subject, worse: Image8) -> Cascade:
    """What restores this picture and judges it."""
    if isinstance(subject, RoutedSubject):
        return subject.cascade(worse)
    return Cascade(executor_of(subject, "estimate"))
