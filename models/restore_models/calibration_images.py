"""Calibrating a program on clean images: what lies outside its intervals, by class of picture.

Each image is cut to its middle and damaged once in each of the `kinds_for` the program, with a strength drawn
by its place in the set, and kept as an 8-bit file does. The program's estimates of the damaged picture say
its class. For a program for enlarged pictures it is reduced first; and where another program restores the
picture before, in the size that it came in, what both say tells the class (`estimates_of_both`), and only the
pictures count that it would be given. The loss of an image in a class is the mean, over its damaged forms
that fell in it, of the share of samples whose truth is outside the interval. Images are drawn independently,
their damaged forms are not, which is why an image counts once in a class.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from restore_manifests.errors import UsageError
from restore_models.architecture import ESTIMATES
from restore_models.calibration import (
    ALPHA,
    DELTA,
    SCALE_LIMIT,
    SCALE_ONE,
    CalibratedClass,
    Calibration,
    CalibrationImage,
    choose_scale,
)
from restore_models.calibration_sources import SOURCES_NAME, calibration_images
from restore_models.cascade import Cascade
from restore_models.degradation_kinds import degrade, small_picture
from restore_models.degradations import Applied, FloatImage, jpeg, reduce_bicubic
from restore_models.evaluation_images import Image8, divisible, luma8, middle
from restore_models.evaluation_protocol import as_float, levels_like
from restore_models.lone_pixels import lone_pixels
from restore_models.program import Program, made_for_grey, made_for_scale
from restore_models.restorer import Executor, Integers, interval_unit

__all__ = [
    "CLASSES",
    "CLASSES_AFTER",
    "ENLARGED_KINDS",
    "KINDS",
    "NAMED_KINDS",
    "SMALL_KINDS",
    "SOURCES_NAME",
    "DamagedPicture",
    "Shown",
    "calibrate_program",
    "damaged",
    "kinds_for",
    "measure_damaged",
    "scales_needed",
    "shown_forms",
]

KINDS = (
    *("gaussian", "light_gaussian", "jpeg", "double_jpeg", "blur", "reduced", "mixed", "none"),
    *("enlarged", "reduced_mixed", "faint_gaussian"),
)
"""Kinds of damage that are drawn: those of `degradation_kinds.degrade`, of which `jpeg` in its place on the
grid of the clean picture. Light noise counts twice, and faint noise besides: most photographs have it;
`enlarged` is what `restore run --scale` gives the network, and `reduced_mixed` what has been scanned, made
small and saved. What a picture suffers follows from its number and the place of the kind in `_ALL_KINDS`:
new ones come last."""
NAMED_KINDS = ("strong_gaussian", "light_clipped_gaussian", "strong_clipped_gaussian")
"""Drawn where they are named only, for programs that are for that damage."""
SIDE = 256
ENLARGED_KINDS = ("enlarged2", "enlarged4", "worn_enlarged2", "worn_enlarged4")
"""What a program for enlarged images is calibrated on, of which those of its scale."""
SMALL_KINDS = (
    *("gaussian", "light_gaussian", "jpeg", "double_jpeg", "mixed"),
    *("reduced_mixed", "soft", "reduced", "blur"),
)
"""What happens to a reduced picture that another program restores before it is enlarged."""
CLASSES: tuple[tuple[str, dict[str, int]], ...] = (
    ("reduction", {"scale_log2": 500}),
    ("blur", {"blur_sigma": 500}),
    ("mixed", {"noise_sigma": 120, "jpeg_loss": 300}),
    ("strong noise", {"noise_sigma": 800}),
    ("noise", {"noise_sigma": 120}),
    ("compression", {"jpeg_loss": 300}),
    ("little damage", {}),
)
"""Names and lower limits in thousandths of the estimate head's units, in the order in which they are tried: a
halving's half, half a pixel, 3 and 20 levels of noise, 15 points of quality."""

CLASSES_AFTER: tuple[tuple[str, dict[str, int]], ...] = (
    ("reduction", {"scale_log2": 500}),
    ("blur", {"blur_sigma": 500}),
    ("mixed", {"noise_sigma": 120, "jpeg_loss": 300}),
    ("strong noise", {"noise_sigma": 800}),
    ("compression", {"jpeg_loss": 160}),
    ("noise", {}),
)
"""As `CLASSES`, where another program restores before: clean pictures are not among them."""

_SEED = 31
_ALL_KINDS = (*KINDS[:10], *ENLARGED_KINDS, "soft", "faint_gaussian", *NAMED_KINDS)
"""By its place here a kind of damage has its random numbers."""

Shares = NDArray[np.float64]


@dataclass(frozen=True)
class DamagedPicture:
    """One damaged form of one image, restored.

    `outside` is the share of samples outside the interval at every scale from 0 to `SCALE_LIMIT`; `width` the
    mean width of the learned interval in 8-bit levels. `shown` is the picture as it came, `worse` the same in
    the size of the result.
    """

    kind: str
    applied: Applied
    estimates: dict[str, int]
    outside: Shares
    width: float
    clean: Image8
    shown: Image8
    worse: Image8
    restored: Image8


@dataclass(frozen=True)
class Shown:
    """A damaged form of an image as it is shown to the tool, with its truth in the size of the result."""

    kind: str
    applied: Applied
    clean: Image8
    shown: Image8


def kinds_for(program: Program, *, after_small: bool = False) -> tuple[str, ...]:
    """The kinds of damage that a program is calibrated on: those of what it is for.

    Args:
        program: the one whose intervals are scaled.
        after_small: whether another one restores the picture before.
    """
    scale = made_for_scale(program)
    if scale is None:
        return KINDS
    return SMALL_KINDS if after_small else tuple(kind for kind in ENLARGED_KINDS if kind.endswith(str(scale)))


def _drawable(program: Program, *, after_small: bool) -> tuple[str, ...]:
    """As `kinds_for`, and what is drawn where it is named only."""
    kinds = kinds_for(program, after_small=after_small)
    return (*kinds, *NAMED_KINDS) if kinds == KINDS else kinds


def shown_forms(
    program: Program,
    clean: Image8,
    number: int,
    *,
    after_small: bool = False,
    kinds: Collection[str] | None = None,
) -> Iterator[Shown]:
    """All damaged forms of one clean picture, the image with `number` in its set; as `kinds_for`, or of
    `kinds` only."""
    scale = made_for_scale(program) or 1
    clean = divisible(clean, scale)
    named = [kind for kind in _drawable(program, after_small=after_small) if kind in (kinds or ())]
    for kind in named or kinds_for(program, after_small=after_small):
        shown, applied = damaged(clean, kind, number) if scale == 1 else _small(clean, scale, kind, number)
        yield Shown(kind, applied, clean, shown)


def _small(clean: Image8, scale: int, kind: str, number: int) -> tuple[Image8, Applied]:
    """`clean` reduced, with one kind of damage."""
    if kind not in ENLARGED_KINDS:
        small = reduce_bicubic(as_float(clean), scale)
        return damaged(levels_like(small, clean), kind, number)
    rng = np.random.default_rng([_SEED, number, _ALL_KINDS.index(kind)])
    small, applied = small_picture(as_float(clean), scale, rng, worn=kind.startswith("worn"))
    return levels_like(small, clean), applied


def damaged(clean: Image8, kind: str, number: int) -> tuple[Image8, Applied]:
    """`clean` after one kind of damage, the strength drawn by the image's `number` in its set."""
    rng = np.random.default_rng([_SEED, number, _ALL_KINDS.index(kind)])
    image = as_float(clean)
    # `degrade` shifts some pictures of this kind, for training; against their truth they cannot be measured.
    grey = clean.ndim == 2
    worse, applied = (
        _compressed(image, rng) if kind == "jpeg" else degrade(image, rng, {kind: 1.0}, grey=grey)
    )
    return levels_like(worse, clean), applied


def _compressed(image: FloatImage, rng: np.random.Generator) -> tuple[FloatImage, Applied]:
    quality = int(rng.integers(8, 96))
    return jpeg(image, quality, subsample=rng.random() < 0.5), Applied(jpeg_loss=100 - quality)


def measure_damaged(
    restorer: Executor | Cascade, clean: Image8, shown: Image8, kind: str = "", applied: Applied | None = None
) -> DamagedPicture:
    """Restores one picture of known truth, uint8 (height, width[, 3]), and counts what is outside."""
    cascade = restorer if isinstance(restorer, Cascade) else Cascade(restorer)
    parts = np.empty((6, *clean.shape[:2]), np.int64)

    def keep(rows: slice, columns: slice, interval: Integers) -> None:
        parts[:, rows, columns] = interval

    found = cascade.restore(shown, keep)
    unit = interval_unit(cascade.program)
    below, above = (parts[half].transpose(1, 2, 0) for half in (slice(0, 3), slice(3, 6)))
    if clean.ndim == 2:  # a grey sample is the mean of three
        below, above, unit = below.sum(axis=2), above.sum(axis=2), 3 * unit
    needed = scales_needed(clean, found.pixels, below, above, unit)
    within = np.cumsum(np.bincount(needed.ravel(), minlength=SCALE_LIMIT + 2))[: SCALE_LIMIT + 1]
    return DamagedPicture(
        kind=kind,
        applied=applied or Applied(),
        estimates=found.estimates,
        outside=1.0 - within / needed.size,
        width=float((below + above).mean() / unit),
        clean=clean,
        shown=shown,
        worse=cascade.enlarged(shown),
        restored=found.pixels,
    )


def scales_needed(
    truth: Image8, result: Image8, below: NDArray[np.int64], above: NDArray[np.int64], unit: int
) -> NDArray[np.int64]:
    """The least scale, in 64ths, at which each interval holds its truth; past `SCALE_LIMIT` if none does.

    The interval is [result - scale below / (64 unit) - 1/2, result + scale above / (64 unit) + 1/2] in 8-bit
    levels, ends included; all arrays are of one shape.
    """
    error = truth.astype(np.int64) - result.astype(np.int64)
    side = np.where(error < 0, below, above)
    # |error| <= scale side / (64 unit) + 1/2, in whole numbers:
    wanted = (2 * np.abs(error) - 1) * (SCALE_ONE // 2) * unit
    needed = np.where(side > 0, -(-wanted // np.maximum(side, 1)), SCALE_LIMIT + 1)
    return np.where(error == 0, 0, np.minimum(needed, SCALE_LIMIT + 1))


@dataclass
class _Tally:
    """What fell in one class: by image the sum of its curves and their number, and all estimates."""

    curves: dict[int, tuple[Shares, int]] = field(default_factory=dict)
    estimates: list[dict[str, int]] = field(default_factory=list)

    def add(self, number: int, picture: DamagedPicture) -> None:
        total, count = self.curves.get(number, (np.zeros(SCALE_LIMIT + 1), 0))
        self.curves[number] = total + picture.outside, count + 1
        self.estimates.append(picture.estimates)

    def risk(self) -> Shares:
        """The mean loss over the images at every scale."""
        means = [total / count for total, count in self.curves.values()]
        risk: Shares = np.mean(means, axis=0)
        return risk

    def ranges(self) -> dict[str, tuple[int, int]]:
        if not self.estimates:
            return {}
        each = {name: [said[name] for said in self.estimates] for name in ESTIMATES}
        return {name: (min(values), max(values)) for name, values in each.items()}


def calibrate_program(
    executor: Executor,
    folder: Path,
    *,
    small: Executor | None = None,
    given_to_small: Callable[[Image8], bool] | None = None,
    kinds: Collection[str] | None = None,
    alpha: float = ALPHA,
    delta: float = DELTA,
    side: int = SIDE,
    progress: Callable[[float], None] | None = None,
) -> Calibration:
    """Chooses the scale of each class on the clean images of a folder.

    Args:
        executor: what runs the program, exactly.
        folder: 8-bit images that the program was not trained on, and where there is one `SOURCES_NAME`; of
            colour the luma is taken for a program that is for grey ones.
        small: what restores a picture before the program, and before it is enlarged; None: nothing does.
        given_to_small: whether a picture is one that `small` is given; None: all are.
        kinds: of damage, those of `kinds_for` and `NAMED_KINDS` that the program is for; None: all of the
            first.
        alpha: the share of samples that may lie outside, on average over pictures of a class.
        delta: how often, over draws of the images, that may turn out wrong, for each class by itself.
        side: of the part of each image that is used, in pixels.
        progress: called with the finished share, 0 to 1.

    Raises:
        UsageError: if a share is none, a kind is none that is drawn, there is no image, two images are the
            same, or the table of sources cannot be read.
    """
    drawable = _drawable(executor.program, after_small=small is not None)
    if unknown := sorted(set(kinds or ()) - set(drawable)):
        raise UsageError(
            f"Nothing is calibrated on the kind {unknown[0]!r} for this model.",
            hint=f"Use some of: {', '.join(drawable)}.",
        )
    for name, value in (("alpha", alpha), ("delta", delta)):
        if not 0 < value < 1:
            raise UsageError(f"The {name} of {value} is no share.", hint="Give a number between 0 and 1.")
    images = calibration_images(folder)
    cascade = Cascade(executor, made_for_scale(executor.program) or 1, small)
    tallies = {name: _Tally() for name, _ in _classes(cascade)}
    empty = _calibration(cascade, alpha, delta, side, [], {}, tallies, 0)
    drawn: dict[str, list[Applied]] = {}
    lone = 0
    for number, (_, clean) in enumerate(images):
        part = middle(clean, side)
        part = luma8(part) if made_for_grey(cascade.program) else part
        forms = shown_forms(cascade.program, part, number, after_small=small is not None, kinds=kinds)
        for form in forms:
            if given_to_small and not given_to_small(form.shown):
                continue
            picture = measure_damaged(cascade, form.clean, form.shown, form.kind, form.applied)
            chosen = empty.class_of(picture.estimates)
            assert chosen is not None  # noqa: S101 -- the last class asks for nothing
            tallies[chosen.name].add(number, picture)
            drawn.setdefault(picture.kind, []).append(picture.applied)
            lone = max(lone, lone_pixels(picture.shown))
        if progress is not None:
            progress((number + 1) / len(images))
    return _calibration(cascade, alpha, delta, side, [image for image, _ in images], drawn, tallies, lone)


def _calibration(
    cascade: Cascade,
    alpha: float,
    delta: float,
    side: int,
    images: Sequence[CalibrationImage],
    drawn: dict[str, list[Applied]],
    tallies: dict[str, _Tally],
    lone: int,
) -> Calibration:
    return Calibration(
        program_sha256=cascade.program.program_sha256(),
        small_program_sha256=cascade.small.program.program_sha256() if cascade.small else None,
        alpha=alpha,
        delta=delta,
        side=side,
        damage={kind: _range(applied) for kind, applied in sorted(drawn.items())},
        classes=tuple(_class(name, least, tallies[name], alpha, delta) for name, least in _classes(cascade)),
        images=tuple(images),
        lone_pixels=lone,
    )


def _classes(cascade: Cascade) -> tuple[tuple[str, dict[str, int]], ...]:
    return CLASSES if cascade.small is None else CLASSES_AFTER


def _class(name: str, least: dict[str, int], tally: _Tally, alpha: float, delta: float) -> CalibratedClass:
    count = len(tally.curves)
    curve = tally.risk() if count else np.ones(SCALE_LIMIT + 1)
    chosen = choose_scale(lambda scale: float(curve[scale]), count, alpha, delta)
    scale, risk, upper = chosen or (None, None, None)
    return CalibratedClass(
        name=name,
        at_least=least,
        images=count,
        pictures=len(tally.estimates),
        scale_64ths=scale,
        risk=None if risk is None else round(risk, 6),
        risk_upper=None if upper is None else round(upper, 6),
        within=tally.ranges(),
    )


def _range(applied: Iterable[Applied]) -> dict[str, tuple[float, float]]:
    """The least and greatest of each quantity that this kind of damage has."""
    values = {name: [float(getattr(one, name)) for one in applied] for name in ESTIMATES}
    return {name: (round(min(v), 3), round(max(v), 3)) for name, v in values.items() if any(v)}
