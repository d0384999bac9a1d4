"""Evaluation suites under the field's protocols, over a folder of clean images.

`gaussian`: noise drawn by NumPy's legacy generator with seed 0 for each image, neither clipped nor
quantised; the restored image clamped and rounded to 8 bits; PSNR over RGB, border 0, whole image, mean of
the images' PSNRs. `realistic`: the same and mixed damage as 8-bit files hold it. `jpeg`: libjpeg-turbo
through OpenCV, border 0. `sr`: MATLAB-style bicubic reduction, border of `scale` pixels cut, luma of
BT.601. Figures compare only within one suite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from restore_manifests.errors import UsageError
from restore_models.degradations import (
    FloatImage,
    blur_kernel,
    gaussian_noise,
    jpeg,
    quantise,
    reduce_bicubic,
)
from restore_models.resample import enlarge
from restore_models.restorer import Executor, restore_pixels

__all__ = ["SUITES", "Row", "evaluate_suite", "read_images"]

SUITES = ("gaussian", "realistic", "jpeg", "sr")

Image8 = NDArray[np.uint8]


@dataclass(frozen=True)
class Row:
    """Means over the images of one folder: PSNR in dB and SSIM (Wang et al. 2004), of input and result."""

    dataset: str
    setting: str
    psnr: float
    ssim: float
    psnr_input: float
    ssim_input: float
    images: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def read_images(folder: Path) -> list[tuple[str, Image8]]:
    """The clean images of a folder, by name: uint8, (height, width) where the file is grey, else RGB.

    Raises:
        UsageError: if there is none.
    """
    images = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.suffix.lower() not in {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"}:
            continue
        decoded = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
        if decoded is None or decoded.dtype != np.uint8:
            continue
        if decoded.ndim == 3:
            decoded = decoded[:, :, 2::-1]
            if (decoded[:, :, 0] == decoded[:, :, 1]).all() and (decoded[:, :, 1] == decoded[:, :, 2]).all():
                decoded = decoded[:, :, 0]
        images.append((path.name, np.ascontiguousarray(decoded).astype(np.uint8, copy=False)))
    if not images:
        raise UsageError(
            f"There is no 8-bit image in {folder}.", hint="Name a folder of images with --images."
        )
    return images


def evaluate_suite(
    suite: str, images: Path, executor: Executor, progress: Callable[[float], None] | None = None
) -> list[Row]:
    """One row per setting of a suite.

    Raises:
        UsageError: if the suite is unknown or there are no images.
    """
    settings = _settings(suite)
    pictures = read_images(images)
    rows = []
    for index, (setting, measure) in enumerate(settings):
        figures = []
        for number, (_, clean) in enumerate(pictures):
            figures.append(measure(executor, clean))
            if progress is not None:
                progress((index + (number + 1) / len(pictures)) / len(settings))
        psnr, ssim, psnr_input, ssim_input = (float(value) for value in np.mean(figures, axis=0))
        rows.append(
            Row(
                images.name,
                setting,
                round(psnr, 3),
                round(ssim, 4),
                round(psnr_input, 3),
                round(ssim_input, 4),
                len(pictures),
            )
        )
    return rows


Figures = tuple[float, float, float, float]
Measure = Callable[[Executor, Image8], Figures]


def _settings(suite: str) -> list[tuple[str, Measure]]:
    match suite:
        case "gaussian":
            return [(f"sigma {s}", _unclipped(s)) for s in (15, 25, 50)]
        case "jpeg":
            return [(f"quality {q}", _from_file(_compressed(q))) for q in (10, 20, 30, 40)]
        case "sr":
            return [(f"x{s}", _super_resolved(s)) for s in (2, 4)]
        case "realistic":
            noisy = [(f"sigma {s}, 8-bit file", _from_file(_noisy_file(s))) for s in (15, 25, 50)]
            return [*noisy, *((name, _from_file(make)) for name, make in _mixed())]
        case _:
            raise UsageError(f"There is no suite {suite!r}.", hint=f"Use one of: {', '.join(SUITES)}.")


def _as_float(clean: Image8) -> FloatImage:
    """(h, w, 3) in [0, 1]; grey in all three channels."""
    rgb = np.repeat(clean[:, :, None], 3, axis=2) if clean.ndim == 2 else clean
    return rgb.astype(np.float32) / np.float32(255.0)


def _like(image: FloatImage, clean: Image8) -> Image8:
    levels: Image8 = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return levels[:, :, 0] if clean.ndim == 2 else levels


def _unclipped(sigma: int) -> Measure:
    def measure(executor: Executor, clean: Image8) -> Figures:
        noise = np.random.RandomState(0).normal(0, sigma / 255.0, clean.shape)
        noisy = clean / 255.0 + noise
        return _figures(clean, _restore_unclipped(executor, noisy), np.clip(np.rint(noisy * 255), 0, 255))

    return measure


def _restore_unclipped(executor: Executor, image: NDArray[np.float64]) -> NDArray[np.float64]:
    """The whole image at once; values outside [0, 1] go in as they are. Result in levels, whole numbers."""
    program = executor.program
    rgb = np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image
    height, width = rgb.shape[:2]
    pads = [(0, -size % program.multiple) for size in (height, width)]
    padded = np.pad(rgb, [*pads, (0, 0)], mode="symmetric")
    integers = np.rint(padded * 1020).astype(np.int32) - 510
    residual = executor.integers(np.ascontiguousarray(integers.transpose(2, 0, 1)))["residual"]
    scale = 2.0 ** -program.instruction_exponent(program.outputs["residual"]) * 512 / 4
    restored = rgb * 255 + residual[:, :height, :width].transpose(1, 2, 0) * scale
    restored = restored.mean(axis=2) if image.ndim == 2 else restored
    return np.clip(np.rint(restored), 0, 255)


def _from_file(make: Callable[[FloatImage], FloatImage]) -> Measure:
    def measure(executor: Executor, clean: Image8) -> Figures:
        worse = _like(make(_as_float(clean)), clean)
        return _figures(clean, restore_pixels(executor, worse).pixels, worse)

    return measure


def _compressed(quality: int) -> Callable[[FloatImage], FloatImage]:
    return lambda image: jpeg(image, quality)


def _noisy_file(sigma: int) -> Callable[[FloatImage], FloatImage]:
    return lambda image: quantise(gaussian_noise(image, sigma, np.random.default_rng([0, sigma])))


def _mixed() -> Iterator[tuple[str, Callable[[FloatImage], FloatImage]]]:
    def noise_jpeg(image: FloatImage) -> FloatImage:
        return jpeg(gaussian_noise(image, 15, np.random.default_rng(0)), 60)

    def blur_noise(image: FloatImage) -> FloatImage:
        rng = np.random.default_rng(0)
        blurred = cv2.filter2D(image, -1, blur_kernel("gaussian", 1.5, rng), borderType=cv2.BORDER_REFLECT)
        return quantise(gaussian_noise(blurred.astype(np.float32), 5, rng))

    yield "sigma 15, then JPEG quality 60", noise_jpeg
    yield "blur 1.5 pixels, then sigma 5", blur_noise


def _super_resolved(factor: int) -> Measure:
    def measure(executor: Executor, clean: Image8) -> Figures:
        clean = clean[: clean.shape[0] // factor * factor, : clean.shape[1] // factor * factor]
        small = _like(reduce_bicubic(_as_float(clean), factor), clean)
        large = enlarge(small, factor)
        restored = restore_pixels(executor, large).pixels
        inner = (slice(factor, -factor), slice(factor, -factor))
        return _figures(*(_luma(image)[inner] for image in (clean, restored, large)))

    return measure


def _luma(image: NDArray[Any]) -> NDArray[np.float64]:
    """Y of BT.601 in studio range, as MATLAB's rgb2ycbcr gives it, not rounded."""
    rgb = np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image
    luma: NDArray[np.float64] = 16 + rgb.astype(np.float64) @ np.array([65.481, 128.553, 24.966]) / 255
    return luma


def _figures(clean: NDArray[Any], restored: NDArray[Any], worse: NDArray[Any]) -> Figures:
    return (*_quality(clean, restored), *_quality(clean, worse))


def _quality(clean: NDArray[Any], image: NDArray[Any]) -> tuple[float, float]:
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
