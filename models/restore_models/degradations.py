"""What happens to pictures: seeded degradations with a record of what was applied.

All functions take and return float32 images of shape (height, width, 3), RGB, sRGB-encoded, nominally in
[0, 1], and draw only from the generator they are given, so that a seed says everything. Gaussian noise
under the published protocol is neither clipped nor quantised; what comes from a file always is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Applied",
    "FloatImage",
    "blur_kernel",
    "camera",
    "downscale",
    "gaussian_noise",
    "jpeg",
    "jpeg_loss_like",
    "low_light",
    "one_channel",
    "quantise",
    "reduce_bicubic",
]

FloatImage = NDArray[Any]
"""Always float32; spelt loosely because OpenCV's type stubs say only that it is some number."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What was done to one image; also what the estimate head learns to say.

    `noise_sigma` is the noise's standard deviation in 8-bit levels, `blur_sigma` the kernel's in pixels,
    `jpeg_loss` 100 minus the quality (0: not compressed), `scale_log2` how many halvings of resolution.
    Of two compressions the coarser counts; for video coding see `jpeg_loss_like`.
    """

    noise_sigma: float = 0.0
    blur_sigma: float = 0.0
    jpeg_loss: float = 0.0
    scale_log2: float = 0.0

    def targets(self) -> tuple[float, float, float, float]:
        """The estimate head's targets, each scaled to about [0, 2]."""
        return (self.noise_sigma / 25.0, self.blur_sigma, self.jpeg_loss / 50.0, self.scale_log2)


def quantise(image: FloatImage) -> FloatImage:
    """What an 8-bit file keeps: clipped to [0, 1] and rounded to 255ths."""
    result: FloatImage = np.round(np.clip(image, 0.0, 1.0) * np.float32(255.0)) / np.float32(255.0)
    return result


def gaussian_noise(image: FloatImage, sigma: float, rng: np.random.Generator) -> FloatImage:
    """Additive white Gaussian noise of `sigma` 8-bit levels, not clipped."""
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    noisy: FloatImage = image + noise * np.float32(sigma / 255.0)
    return noisy


def jpeg(image: FloatImage, quality: int, *, subsample: bool = True) -> FloatImage:
    """Compressed as JPEG and decoded again (libjpeg-turbo through OpenCV)."""
    levels = np.round(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420 if subsample else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    _, data = cv2.imencode(".jpg", levels[:, :, ::-1], options)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None  # noqa: S101 -- it was encoded one line above
    return decoded[:, :, ::-1].astype(np.float32) / np.float32(255.0)


def blur_kernel(kind: str, sigma: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """A kernel whose standard deviation along its axes is about `sigma` pixels; sums to one.

    `gaussian`, `defocus` (a disc of radius 2 sigma) or `motion` (a line, at a random angle).
    """
    size = 2 * int(np.ceil(3.5 * sigma)) + 1
    axis = np.arange(size, dtype=np.float32) - size // 2
    x, y = np.meshgrid(axis, axis)
    if kind == "gaussian":
        kernel = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    elif kind == "defocus":
        kernel = np.clip(2 * sigma + 0.5 - np.hypot(x, y), 0.0, 1.0)
    else:
        angle = rng.uniform(0.0, np.pi)
        along = x * np.cos(angle) + y * np.sin(angle)
        across = -x * np.sin(angle) + y * np.cos(angle)
        half = np.sqrt(3.0) * sigma
        kernel = np.clip(half + 0.5 - np.abs(along), 0.0, 1.0) * np.clip(1.0 - np.abs(across), 0.0, 1.0)
    result: NDArray[np.float32] = (kernel / kernel.sum()).astype(np.float32)
    return result


def downscale(image: FloatImage, factor: int, method: str) -> FloatImage:
    """Reduced by `factor` (`bicubic` or `bilinear`, antialiased, `nearest`, `area`), enlarged bicubically."""
    height, width = image.shape[:2]
    methods = {"nearest": cv2.INTER_NEAREST, "area": cv2.INTER_AREA, "bilinear": cv2.INTER_LINEAR}
    size = (width // factor, height // factor)
    if method == "bicubic":
        small = reduce_bicubic(image, factor)
    else:
        source = cv2.blur(image, (factor, factor)) if method == "bilinear" else image
        small = cv2.resize(source, size, interpolation=methods[method])
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)


def reduce_bicubic(image: FloatImage, factor: int) -> FloatImage:
    """MATLAB's imresize for whole factors: a bicubic kernel (a = -0.5) stretched by the factor."""
    span = 4 * factor
    centre = (factor - 1) / 2.0
    start = int(np.floor(centre - span / 2.0 + 1e-9)) + 1
    offsets = np.arange(start, start + span)
    t = np.abs((offsets - centre) / factor)
    weights = np.where(
        t <= 1, 1.5 * t**3 - 2.5 * t**2 + 1, np.where(t < 2, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2, 0.0)
    )
    weights = (weights / weights.sum()).astype(np.float32)
    before, after = max(0, -start), max(0, int(offsets[-1]) - (factor - 1))
    for axis in (0, 1):
        pads = [(0, 0)] * 3
        pads[axis] = (before, after)
        padded = np.pad(image, pads, mode="symmetric")
        count = image.shape[axis] // factor
        total = np.zeros([count if i == axis else n for i, n in enumerate(image.shape)], np.float32)
        for tap, weight in enumerate(weights):
            first = tap + start + before
            index = slice(first, first + count * factor, factor)
            piece = padded[index] if axis == 0 else padded[:, index]
            total += weight * piece[tuple(slice(0, n) for n in total.shape)]
        image = total
    return image


def camera(image: FloatImage, gain: float, rng: np.random.Generator) -> FloatImage:
    """A sensor's way: to linear light, white balance undone, RGGB mosaic, shot and read noise, and back.

    `gain` scales the noise: variance = 0.01 gain x + (0.02 gain)^2 in linear light, 10-bit samples.
    """
    linear = np.clip(image, 0.0, 1.0) ** np.float32(2.2)
    balance = np.array([rng.uniform(1.5, 2.4), 1.0, rng.uniform(1.4, 2.2)], np.float32)
    raw = linear / balance
    mosaic = raw[:, :, 1].copy()
    mosaic[0::2, 0::2] = raw[0::2, 0::2, 0]
    mosaic[1::2, 1::2] = raw[1::2, 1::2, 2]
    spread = np.sqrt(0.01 * gain * mosaic + (0.02 * gain) ** 2).astype(np.float32)
    mosaic = mosaic + spread * rng.standard_normal(mosaic.shape, dtype=np.float32)
    levels = np.round(np.clip(mosaic + 64 / 1023, 0.0, 1.0) * 1023.0).astype(np.uint16)
    rgb = cv2.cvtColor(levels, cv2.COLOR_BayerRGGB2RGB).astype(np.float32) / np.float32(1023.0) - 64 / 1023
    result: FloatImage = (np.clip(rgb * balance, 0.0, 1.0) ** np.float32(1 / 2.2)).astype(np.float32)
    return result


def low_light(
    image: FloatImage, stops: float, rng: np.random.Generator, *, well: float, read: float
) -> FloatImage:
    """Taken `stops` under, kept in 8 bits, and made as bright as it should have been.

    In linear light (power 2.2) the exposure is divided by 2^`stops`; a white pixel of the full exposure would
    hold `well` electrons, whose number is Poisson's, and `read` electrons of Gaussian noise come with reading
    them (Foi et al. 2008). The file keeps 8 bits of the dark, sRGB-encoded picture: the steps between its
    levels are what brightening shows. Returns an 8-bit picture again.
    """
    linear = np.clip(image, 0.0, 1.0) ** np.float32(2.2)
    electrons = rng.poisson(linear * (well / 2.0**stops)).astype(np.float32)
    electrons += np.float32(read) * rng.standard_normal(image.shape, dtype=np.float32)
    dark = quantise(np.clip(electrons / np.float32(well), 0.0, 1.0) ** np.float32(1 / 2.2))
    return quantise(dark * np.float32(2.0 ** (stops / 2.2)))


def jpeg_loss_like(clean: FloatImage, coded: FloatImage) -> float:
    """The `jpeg_loss` of the JPEG that is as far from `clean` as `coded` is, 5 to 98.

    Distance is the mean square in luma (BT.601). It gives other codecs a strength on the one scale that the
    estimate head knows.
    """
    one, other = (
        cv2.cvtColor(np.rint(np.clip(x, 0, 1) * 255).astype(np.uint8), cv2.COLOR_RGB2GRAY)
        for x in (clean, coded)
    )
    wanted = _mean_square(one, other)
    low, high = 2, 95
    while low < high:
        quality = (low + high) // 2
        _, data = cv2.imencode(".jpg", one, [cv2.IMWRITE_JPEG_QUALITY, quality])
        decoded = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
        assert decoded is not None  # noqa: S101 -- it was encoded one line above
        low, high = (quality + 1, high) if _mean_square(one, decoded) > wanted else (low, quality)
    return float(100 - low)


def _mean_square(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(cv2.norm(one, other, cv2.NORM_L2SQR)) / one.size


class _OneChannel:
    """A generator whose noise is the same in all channels of a picture, as in a file that has one."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rng, name)

    def standard_normal(self, size: tuple[int, ...], dtype: Any = np.float64) -> FloatImage:
        drawn = self._rng.standard_normal(size[:2], dtype=dtype)
        return drawn if len(size) == 2 else np.broadcast_to(drawn[:, :, None], size)

    def poisson(self, mean: FloatImage) -> FloatImage:
        return np.broadcast_to(self._rng.poisson(mean[:, :, :1]), mean.shape)


def one_channel(rng: np.random.Generator) -> np.random.Generator:
    """What draws from `rng` noise that is the same in all channels of a picture."""
    return cast("np.random.Generator", _OneChannel(rng))
