"""What every suite shares: what is measured, a measurement of one picture, and how figures are taken.

PSNR is over all samples of a picture (RGB where it has colour) with no border cut, of 8-bit levels; SSIM is
that of Wang et al. 2004, with an 11x11 Gaussian window of 1.5 pixels. A mean over pictures is the mean of
their figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from restore_manifests.errors import UsageError
from restore_models.compression_constraint import in_agreement
from restore_models.degradations import FloatImage
from restore_models.evaluation_images import Image8, Item
from restore_models.program import made_for_scale
from restore_models.resample import enlarge
from restore_models.restorer import Executor, restore_pixels
from restore_models.views import in_all_views

__all__ = [
    "Case",
    "ProgramSubject",
    "Quality",
    "Ratio",
    "Reading",
    "Sample",
    "Subject",
    "as_float",
    "executor_of",
    "from_file",
    "levels_like",
    "luma",
    "quality",
    "restore_outputs",
]

Quality = tuple[float, float, float, float]
"""PSNR (dB) and SSIM of the result, then of the input, each against the clean picture."""
Ratio = tuple[float, float]
"""A share as its two parts. Over pictures the parts are summed: a mean is a ratio whose second part is 1."""


@runtime_checkable
class Subject(Protocol):
    """What is measured: a program of ours, or an external model."""

    scale: int
    """How many times it enlarges, or, of a program, has been enlarged what it is for."""

    def restore(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """A picture as a file holds it, uint8 (height, width[, 3]); the same type, `scale` times larger."""

    def enlarge(self, small: NDArray[Any], factor: int) -> NDArray[Any]:
        """A picture as a file holds it, restored at `factor` times its size."""

    def restore_unclipped(self, image: NDArray[np.float64]) -> NDArray[np.float64]:
        """A picture nominally in [0, 1] with values outside; the result in whole 8-bit levels."""


@dataclass(frozen=True)
class Reading:
    """The text that was read from a picture, from its degraded form and from the result."""

    image: str
    setting: str
    truth: str
    input: str
    output: str


@dataclass(frozen=True)
class Sample:
    """One picture under one setting: its quality, the suite's own figures, and text if any was read."""

    setting: str
    quality: Quality
    figures: Mapping[str, Ratio] = field(default_factory=dict)
    reading: Reading | None = None


Case = Callable[[Subject, Item, int], list[Sample]]
"""Measures one picture; the number is its place in the set, for seeds."""


class ProgramSubject:
    """An integer program behind the `Subject` protocol."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.scale = made_for_scale(executor.program) or 1

    def restore(self, pixels: NDArray[Any]) -> NDArray[Any]:
        restored = restore_pixels(self.executor, pixels).pixels
        return restored if self.scale != 1 else in_agreement(pixels, restored)

    def enlarge(self, small: NDArray[Any], factor: int) -> NDArray[Any]:
        return restore_pixels(self.executor, enlarge(small, factor)).pixels

    def restore_unclipped(self, image: NDArray[np.float64]) -> NDArray[np.float64]:
        rgb = np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image
        restored = rgb * 255 + restore_outputs(self.executor, rgb)["residual"]
        restored = restored.mean(axis=2) if image.ndim == 2 else restored
        return np.clip(np.rint(restored), 0, 255)


def executor_of(subject: Subject, what: str) -> Executor:
    """What runs the program that is measured.

    Raises:
        UsageError: if it is no program of ours, which would not state `what` is to be measured.
    """
    if isinstance(subject, ProgramSubject):
        return subject.executor
    raise UsageError(
        f"This model states no {what}, so that there is none to measure.",
        hint="Measure a model made by restore, or use another suite.",
    )


def restore_outputs(executor: Executor, rgb: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """The program's `residual` (h, w, 3) and `interval` (h, w, 6: below, above) in 8-bit levels.

    `rgb` is (h, w, 3), nominally in [0, 1], and may leave it. The whole image is run at once, mirrored at
    its far edges to the program's multiple.
    """
    program = executor.program
    height, width = rgb.shape[:2]
    pads = [(0, -size % program.multiple) for size in (height, width)]
    padded = np.pad(rgb, [*pads, (0, 0)], mode="symmetric")
    integers = np.rint(padded * 1020).astype(np.int32) - 510
    outputs = in_all_views(executor, np.ascontiguousarray(integers.transpose(2, 0, 1)))
    found: dict[str, NDArray[np.float64]] = {}
    for name in ("residual", "interval"):
        scale = 2.0 ** -program.instruction_exponent(program.outputs[name]) * 512 / 4
        found[name] = outputs[name][:, :height, :width].transpose(1, 2, 0).astype(np.float64) * scale
    return found


def from_file(setting: str, make: Callable[[FloatImage], FloatImage]) -> Case:
    """The case of a clean picture damaged by `make` and kept in an 8-bit file."""

    def measure(subject: Subject, item: Item, _number: int) -> list[Sample]:
        worse = levels_like(make(as_float(item.clean)), item.clean)
        return [Sample(setting, quality(item.clean, subject.restore(worse), worse))]

    return measure


def as_float(clean: Image8) -> FloatImage:
    """(h, w, 3) in [0, 1]; grey in all three channels."""
    rgb = np.repeat(clean[:, :, None], 3, axis=2) if clean.ndim == 2 else clean
    return rgb.astype(np.float32) / np.float32(255.0)


def levels_like(image: FloatImage, clean: Image8) -> Image8:
    """`image` in [0, 1] as 8-bit levels; only its first channel where `clean` is grey."""
    levels: Image8 = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return levels[:, :, 0] if clean.ndim == 2 else levels


def luma(image: NDArray[Any]) -> NDArray[np.float64]:
    """Y of BT.601 in studio range, as MATLAB's rgb2ycbcr gives it, not rounded."""
    rgb = np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image
    found: NDArray[np.float64] = 16 + rgb.astype(np.float64) @ np.array([65.481, 128.553, 24.966]) / 255
    return found


def quality(clean: NDArray[Any], restored: NDArray[Any], worse: NDArray[Any]) -> Quality:
    """PSNR and SSIM of `restored` and of `worse` against `clean`, all in 8-bit levels and of one shape."""
    return (*_figures(clean, restored), *_figures(clean, worse))


def _figures(clean: NDArray[Any], image: NDArray[Any]) -> tuple[float, float]:
    one, other = clean.astype(np.float64), image.astype(np.float64)
    error = float(np.mean((one - other) ** 2))
    psnr = 10 * math.log10(255**2 / error) if error else 100.0
    if min(one.shape[:2]) < 11:
        return psnr, float(error == 0)
    axis = 2 if one.ndim == 3 else None
    ssim = structural_similarity(  # type: ignore[no-untyped-call]  # scikit-image has no types
        one,
        other,
        data_range=255,
        channel_axis=axis,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return psnr, float(ssim)
