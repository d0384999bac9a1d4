"""The suite `calibration`: how often the truth lies outside the interval of the confidence map.

Of a program with a calibration (`calibration`) that is measured for each of its classes, beside what it
guarantees, on pictures made as those of the calibration were; and for damage that it does not know, whether
that is flagged. Of a program without one, for each kind of degradation that training knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from restore_models.calibration import (
    DELTA,
    SCALE_ONE,
    CalibratedClass,
    Calibration,
    read_calibration,
    risk_upper_bound,
)
from restore_models.calibration_images import DamagedPicture, measure_damaged, shown_forms
from restore_models.cascade import Cascade
from restore_models.degradations import FloatImage, downscale, gaussian_noise, quantise, reduce_bicubic
from restore_models.evaluation_images import Image8, Item, divisible, middle
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
    restore_outputs,
)
from restore_models.evaluation_routed import CascadeSubject
from restore_models.evaluation_statements import damaged_middle, kinds
from restore_models.lone_pixels import lone_pixels
from restore_models.program import made_for_scale

__all__ = ["GUARANTEE_NOTE", "LEARNED_NOTE", "calibration_cases", "with_risk_bound"]

LEARNED_NOTE = (
    "outside is the share of samples whose true value lies outside the learned 5 % to 95 % interval (0.10 "
    "would be nominal), a mean over these pictures; outside_upper bounds the mean over the distribution that "
    f"they were drawn from with {1 - DELTA:.0%} confidence, if they were drawn independently. Neither holds "
    "for a single pixel, nor for other pictures or other damage."
)
GUARANTEE_NOTE = (
    "outside is the share of samples whose true value lies outside the calibrated interval, a mean over "
    "these pictures; alpha is what the calibration allows on average over pictures like its own, and holds "
    "says whether these keep it. Evaluate on other pictures than those of the calibration. flagged is the "
    "share of damaged pictures above what the class was calibrated on, or with more pixels that stand alone "
    "than any picture of the calibration: nothing is guaranteed for them. Rows that begin with shifted are "
    "of damage that the calibration does not know. Nothing here holds for a single pixel."
)
_SHIFTED = "shifted: "


def calibration_cases(subject: Subject) -> tuple[list[Case], str]:
    """The cases, and a note on their figures.

    Without a calibration: one setting per kind of degradation, with `outside`, of it `below` and `above`, and
    `width` of the interval in 8-bit levels. With one: a setting for each class that pictures fell in and for
    each shift, with `outside`, `alpha`, `holds`, `width`, and `flagged`.

    Raises:
        UsageError: if the subject states no intervals.
        ModelError: if its calibration is damaged.
    """
    ways = _ways(subject)
    if not ways:
        return [_learned(kind) for kind in kinds()], LEARNED_NOTE
    return [*map(_by_class, ways), *(_shifted(ways, name, make) for name, make in _shifts())], GUARANTEE_NOTE


def _learned(kind: str) -> Case:
    def measure(subject: Subject, item: Item, number: int) -> list[Sample]:
        executor = executor_of(subject, "interval")
        clean, worse, _ = damaged_middle(item.clean, kind, number)
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


# ---- with a calibration ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Way:
    """How pictures are restored, and the calibration for that."""

    cascade: Cascade
    calibration: Calibration
    first: str | None = None
    """The id of what restores before the picture is enlarged."""


def _ways(subject: Subject) -> list[_Way]:
    """All for which the program has a calibration; the one of the program alone comes first."""
    executor = executor_of(subject, "interval")
    found: list[tuple[str | None, Cascade]] = [
        (None, Cascade(executor, made_for_scale(executor.program) or 1))
    ]
    if isinstance(subject, CascadeSubject):
        found += subject.cascades.items()
    ways = []
    for first, cascade in found:
        small = cascade.small.program.program_sha256() if cascade.small else None
        if (calibration := read_calibration(executor.program, small)) is not None:
            ways.append(_Way(cascade, calibration, first))
    return ways


def _given(subject: Subject, shown: Image8) -> str | None:
    return subject.first(shown) if isinstance(subject, CascadeSubject) else None


def _by_class(way: _Way) -> Case:
    """One sample for each class that damaged forms of the picture fell in: their mean."""
    calibration, cascade = way.calibration, way.cascade
    before = f"after {way.first}: " if way.first else ""

    def measure(subject: Subject, item: Item, number: int) -> list[Sample]:
        groups: dict[str, list[DamagedPicture]] = {}
        clean = middle(item.clean, calibration.side)
        for form in shown_forms(cascade.program, clean, number, after_small=way.first is not None):
            if form.kind not in calibration.damage or (
                way.first and _given(subject, form.shown) != way.first
            ):
                continue
            picture = measure_damaged(cascade, form.clean, form.shown, form.kind, form.applied)
            found = calibration.class_of(picture.estimates)
            if found is not None:
                groups.setdefault(found.name, []).append(picture)
        by_name = {one.name: one for one in calibration.classes}
        return [_sample(before + name, calibration, by_name[name], group) for name, group in groups.items()]

    return measure


def _shifted(ways: list[_Way], name: str, make: Callable[[FloatImage, int], FloatImage]) -> Case:
    """Of the way that the damaged picture goes."""

    def measure(subject: Subject, item: Item, number: int) -> list[Sample]:
        scale = ways[0].cascade.scale
        clean = divisible(middle(item.clean, ways[0].calibration.side), scale)
        small = reduce_bicubic(as_float(clean), scale) if scale > 1 else as_float(clean)
        shown = levels_like(make(small, number), clean)
        first = _given(subject, shown)
        way = next((one for one in ways if one.first == first), ways[0])
        picture = measure_damaged(way.cascade, clean, shown)
        found = way.calibration.class_of(picture.estimates)
        return [_sample(_SHIFTED + name, way.calibration, found, [picture])] if found else []

    return measure


def _sample(
    setting: str, calibration: Calibration, found: CalibratedClass, group: list[DamagedPicture]
) -> Sample:
    scale = SCALE_ONE if found.scale_64ths is None else found.scale_64ths
    outside = float(np.mean([picture.outside[scale] for picture in group]))
    width = float(np.mean([picture.width for picture in group])) * scale / SCALE_ONE + 1
    flagged = sum(
        bool(calibration.outside(found, picture.estimates))
        or calibration.has_impulses(lone_pixels(picture.shown))
        for picture in group
    )
    figures: dict[str, Ratio] = {
        "outside": (outside, 1),
        "alpha": (calibration.alpha, 0 if found.scale_64ths is None else 1),
        "width": (width, 1),
        "flagged": (flagged, len(group)),
    }
    return Sample(setting, _mean([quality(p.clean, p.restored, p.worse) for p in group]), figures)


def _mean(figures: list[Quality]) -> Quality:
    one, two, three, four = (float(value) for value in np.mean(figures, axis=0))
    return one, two, three, four


def _shifts() -> Iterator[tuple[str, Callable[[FloatImage, int], FloatImage]]]:
    """Damage far from the calibration's: its noise ends at 55, its reduction at 4; impulses it has none."""

    def noise(image: FloatImage, number: int) -> FloatImage:
        return quantise(gaussian_noise(image, 90, np.random.default_rng([number, 90])))

    def reduction(image: FloatImage, _number: int) -> FloatImage:
        return quantise(downscale(image, 8, "area"))

    def impulses(share: float) -> Callable[[FloatImage, int], FloatImage]:
        def make(image: FloatImage, number: int) -> FloatImage:
            drawn = np.random.default_rng([number, 7]).random(image.shape[:2])[:, :, None]
            result: FloatImage = np.where(drawn < share / 2, 0, np.where(drawn > 1 - share / 2, 1, image))
            return result.astype(np.float32)

        return make

    yield "noise of sigma 90", noise
    yield "reduced 8 times", reduction
    yield "salt and pepper, 10 % of the pixels", impulses(0.10)
    yield "salt and pepper, 2 % of the pixels", impulses(0.02)


def with_risk_bound(figures: dict[str, float | None], images: int) -> dict[str, float | None]:
    """The figures of a row with `outside_upper`, see `risk_upper_bound`, and, beside `alpha`, `holds`."""
    risk = figures["outside"]
    upper = None if risk is None else round(risk_upper_bound(risk, images), 4)
    found = {**figures, "outside_upper": upper}
    alpha = figures.get("alpha")
    if "alpha" in figures:
        found["holds"] = None if alpha is None or risk is None else risk <= alpha
    return found
