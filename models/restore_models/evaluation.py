"""Evaluation suites under the field's protocols, over a folder of images.

`gaussian`: noise drawn by NumPy's legacy generator with seed 0 for each image, neither clipped nor
quantised; the restored image clamped and rounded to 8 bits; PSNR over RGB, border 0, whole image, mean of
the images' PSNRs. `realistic`: the same and mixed damage as 8-bit files hold it. `jpeg`: libjpeg-turbo
through OpenCV, border 0. `sr`: MATLAB-style bicubic reduction, border of `scale` pixels cut, luma of
BT.601. `real`: pairs of a degraded picture and its reference (`evaluation_images.read_pairs`), border 0.
`estimate`: `evaluation_statements`. `calibration`: `evaluation_calibration`. `hallucination`:
`evaluation_hallucination`. A program for grey pictures is measured on the luma. Figures compare only within
one suite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from restore_manifests.errors import UsageError
from restore_models.degradations import (
    FloatImage,
    blur_kernel,
    camera,
    gaussian_noise,
    jpeg,
    low_light,
    one_channel,
    quantise,
    reduce_bicubic,
)
from restore_models.evaluation_images import Item, divisible, luma8, read_images, read_items, read_pairs
from restore_models.evaluation_protocol import (
    Case,
    ProgramSubject,
    Reading,
    Sample,
    Subject,
    as_float,
    from_file,
    levels_like,
    luma,
    quality,
)
from restore_models.program import made_for_grey
from restore_models.resample import enlarge
from restore_models.restorer import Executor, is_grey

__all__ = ["SUITES", "Evaluation", "Row", "evaluate_suite", "read_images"]

SUITES = ("gaussian", "realistic", "jpeg", "sr", "real", "estimate", "calibration", "hallucination")


@dataclass(frozen=True)
class Row:
    """Means over the images of one folder: PSNR in dB and SSIM (Wang et al. 2004), of input and result.

    `figures` are the suite's own; None where nothing was there to be counted. In the suite `estimate` a
    picture counts once for each damage done to it.
    """

    dataset: str
    setting: str
    psnr: float
    ssim: float
    psnr_input: float
    ssim_input: float
    images: int
    figures: dict[str, float | None] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The row of the command contract."""
        return {
            "dataset": self.dataset,
            "setting": self.setting,
            "psnr": self.psnr,
            "ssim": self.ssim,
            "psnr_input": self.psnr_input,
            "ssim_input": self.ssim_input,
            **self.figures,
            "images": self.images,
        }


@dataclass(frozen=True)
class Evaluation:
    """A suite as measured: a row per setting, remarks on what the figures are, and text as it was read."""

    rows: list[Row]
    notes: list[str] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)


def evaluate_suite(
    suite: str,
    images: Path,
    subject: Executor | Subject,
    progress: Callable[[float], None] | None = None,
) -> Evaluation:
    """One row per setting of a suite.

    Args:
        suite: one of `SUITES`.
        images: folder of clean pictures; for `real`, of pairs.
        subject: what runs a program, or another subject of measurement.
        progress: called with the finished share, 0 to 1.

    Raises:
        UsageError: if the suite is unknown, there are no images, or the subject does not go with the suite.
    """
    if suite not in SUITES:
        raise UsageError(f"There is no suite {suite!r}.", hint=f"Use one of: {', '.join(SUITES)}.")
    measured = subject if isinstance(subject, Subject) else ProgramSubject(subject)
    # How often the intervals of a program for enlarged pictures hold is measured on such.
    of_intervals = suite == "calibration" and isinstance(measured, ProgramSubject)
    if measured.scale != 1 and suite != "sr" and not of_intervals:
        raise UsageError(
            f"The model enlarges {measured.scale} times, which the suite {suite} does not measure.",
            hint="Use the suite sr.",
        )
    cases, notes = _cases(suite, measured)
    items = read_pairs(images) if suite == "real" else read_items(images)
    if isinstance(measured, ProgramSubject) and made_for_grey(measured.executor.program):
        items = [_in_luma(item) for item in items]
        notes = [*notes, "Of colour pictures the luma is measured: the model is for grey ones."]
    samples: list[Sample] = []
    for index, case in enumerate(cases):
        for number, item in enumerate(items):
            samples += case(measured, item, number)
            if progress is not None:
                progress((index + (number + 1) / len(items)) / len(cases))
    name = images.name or images.resolve().name  # "." has no name of its own
    rows = [_row(name, suite, group) for group in _by_setting(suite, samples)]
    return Evaluation(rows, notes, [sample.reading for sample in samples if sample.reading])


def _in_luma(item: Item) -> Item:
    degraded = None if item.degraded is None else luma8(item.degraded)
    return replace(item, clean=luma8(item.clean), degraded=degraded)


def _cases(suite: str, subject: Subject) -> tuple[Sequence[Case], list[str]]:
    """The cases of a suite, and remarks on what its figures are."""
    if suite in ("estimate", "calibration", "hallucination"):
        return _own_cases(suite, subject)
    match suite:
        case "gaussian":
            cases = [_unclipped(s) for s in (15, 25, 50)]
        case "jpeg":
            cases = [from_file(f"quality {q}", _compressed(q)) for q in (10, 20, 30, 40)]
        case "realistic":
            noisy = [from_file(f"sigma {s}, 8-bit file", _noisy_file(s)) for s in (15, 25, 50)]
            cases = [*noisy, *(from_file(name, make) for name, make in _mixed())]
        case "sr":
            cases = [_super_resolved(s) for s in (2, 4) if subject.scale in (1, s)]
            if not cases:
                raise UsageError(
                    f"The model enlarges {subject.scale} times, which the suite sr does not measure.",
                    hint="It measures enlargement 2 and 4 times.",
                )
        case _:
            cases = [_pair]
    return cases, []


def _own_cases(suite: str, subject: Subject) -> tuple[Sequence[Case], list[str]]:
    """The suites about what a model says and adds."""
    from restore_models import evaluation_text as text  # noqa: PLC0415 -- what another suite does not need
    from restore_models.evaluation_calibration import calibration_cases  # noqa: PLC0415
    from restore_models.evaluation_hallucination import hallucination_cases  # noqa: PLC0415
    from restore_models.evaluation_statements import estimate_cases  # noqa: PLC0415

    if suite == "estimate":
        return estimate_cases(), []
    if suite == "calibration":
        cases, note = calibration_cases(subject)
        return cases, [note]
    reader = text.find_reader()
    return hallucination_cases(reader), [text.NO_READER] if reader is None else []


def _by_setting(suite: str, samples: list[Sample]) -> Iterator[list[Sample]]:
    """The samples of each setting, in the order in which settings came up, in `estimate` by quantity."""
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.setting, []).append(sample)
    settings = list(groups)
    if suite == "estimate":
        quantities = list(dict.fromkeys(setting.partition(", ")[0] for setting in settings))
        settings.sort(key=lambda s: (quantities.index(s.partition(", ")[0]), not s.endswith(", all"), s))
    return (groups[setting] for setting in settings)


def _row(dataset: str, suite: str, samples: list[Sample]) -> Row:
    psnr, ssim, psnr_input, ssim_input = (
        float(value) for value in np.mean([sample.quality for sample in samples], axis=0)
    )
    figures: dict[str, float | None] = {}
    for name in samples[0].figures:
        above, below = (float(sum(sample.figures[name][part] for sample in samples)) for part in (0, 1))
        figures[name] = round(above / below, 4) if below else None
    if suite == "calibration":
        from restore_models.evaluation_calibration import with_risk_bound  # noqa: PLC0415 -- scipy

        figures = with_risk_bound(figures, len(samples))
    return Row(
        dataset,
        samples[0].setting,
        round(psnr, 3),
        round(ssim, 4),
        round(psnr_input, 3),
        round(ssim_input, 4),
        len(samples),
        figures,
    )


# ---- the cases of the field's own suites -----------------------------------------------------------------


def _unclipped(sigma: int) -> Case:
    def measure(subject: Subject, item: Item, _number: int) -> list[Sample]:
        noise = np.random.RandomState(0).normal(0, sigma / 255.0, item.clean.shape)
        noisy = item.clean / 255.0 + noise
        restored = subject.restore_unclipped(noisy)
        return [
            Sample(f"sigma {sigma}", quality(item.clean, restored, np.clip(np.rint(noisy * 255), 0, 255)))
        ]

    return measure


def _compressed(quality_factor: int) -> Callable[[FloatImage], FloatImage]:
    return lambda image: jpeg(image, quality_factor)


def _noisy_file(sigma: int) -> Callable[[FloatImage], FloatImage]:
    return lambda image: quantise(gaussian_noise(image, sigma, np.random.default_rng([0, sigma])))


def _mixed() -> Iterator[tuple[str, Callable[[FloatImage], FloatImage]]]:
    def soft_and_noisy(image: FloatImage, blur: float, noise: float) -> FloatImage:
        rng = _generator(image)
        blurred = cv2.filter2D(image, -1, blur_kernel("gaussian", blur, rng), borderType=cv2.BORDER_REFLECT)
        return gaussian_noise(blurred.astype(np.float32), noise, rng)

    def noise_jpeg(image: FloatImage) -> FloatImage:
        return jpeg(gaussian_noise(image, 15, _generator(image)), 60)

    def blur_noise(image: FloatImage) -> FloatImage:
        return quantise(soft_and_noisy(image, 1.5, 5))

    def blur_noise_jpeg(image: FloatImage) -> FloatImage:
        return jpeg(soft_and_noisy(image, 1.0, 10), 75)

    def camera_jpeg(image: FloatImage) -> FloatImage:
        noisy = camera(image, 1.0, _generator(image))
        # What a camera does to a grey picture it does in colour, of which the green is kept.
        return jpeg(np.repeat(noisy[:, :, 1:2], 3, axis=2) if is_grey(image) else noisy, 80)

    def dark_jpeg(image: FloatImage) -> FloatImage:
        return jpeg(low_light(image, 3.0, _generator(image), well=8000.0, read=3.0), 80)

    yield "sigma 15, then JPEG quality 60", noise_jpeg
    yield "blur 1.5 pixels, then sigma 5", blur_noise
    yield "blur 1 pixel, sigma 10, then JPEG quality 75", blur_noise_jpeg
    yield "camera at gain 1, then JPEG quality 80", camera_jpeg
    yield "3 stops dark, then JPEG quality 80", dark_jpeg


def _generator(image: FloatImage) -> np.random.Generator:
    """Of noise for one picture: of a grey one the same in all channels."""
    rng = np.random.default_rng(0)
    return one_channel(rng) if is_grey(image) else rng


def _pair(subject: Subject, item: Item, _number: int) -> list[Sample]:
    assert item.degraded is not None  # noqa: S101 -- read_pairs gives nothing else
    return [Sample("pairs", quality(item.clean, subject.restore(item.degraded), item.degraded))]


def _super_resolved(factor: int) -> Case:
    def measure(subject: Subject, item: Item, _number: int) -> list[Sample]:
        clean = divisible(item.clean, factor)
        small = levels_like(reduce_bicubic(as_float(clean), factor), clean)
        large = enlarge(small, factor)
        restored = subject.enlarge(small, factor)
        inner = (slice(factor, -factor), slice(factor, -factor))
        return [Sample(f"x{factor}", quality(*(luma(image)[inner] for image in (clean, restored, large))))]

    return measure
