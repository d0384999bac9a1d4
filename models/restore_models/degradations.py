"""What happens to pictures: seeded degradations with a record of what was applied.

All functions take and return float32 images of shape (height, width, 3), RGB, sRGB-encoded, nominally in
[0, 1], and draw only from the generator they are given, so that a seed says everything. Gaussian noise
under the published protocol is neither clipped nor quantised; what comes from a file always is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restore_models.degradations_video import CODECS, codec_coded, hybrid_coded, require_codecs
from restore_models.resample import enlarge

__all__ = [
    "Applied",
    "FloatImage",
    "blur_kernel",
    "camera",
    "check_available",
    "degrade",
    "downscale",
    "gaussian_noise",
    "jpeg",
    "jpeg_loss_like",
    "low_light",
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


Degradation = Callable[[FloatImage, np.random.Generator], tuple[FloatImage, Applied]]
"""Damages a picture, drawing the strength."""


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


def _rms(noisy: FloatImage, quiet: FloatImage) -> float:
    return float(np.sqrt(np.mean((noisy - quiet) ** 2)) * 255.0)


def _only_gaussian(image: FloatImage, rng: np.random.Generator) -> tuple[FloatImage, Applied]:
    sigma = rng.uniform(0.0, 55.0)
    noisy = gaussian_noise(image, sigma, rng)
    return (quantise(noisy) if rng.random() < 0.25 else noisy), Applied(noise_sigma=sigma)


def _light_gaussian(image: FloatImage, rng: np.random.Generator) -> tuple[FloatImage, Applied]:
    """Where most photographs are, and where a network trained evenly lags."""
    sigma = rng.uniform(5.0, 30.0)
    return gaussian_noise(image, sigma, rng), Applied(noise_sigma=sigma)


def _only_jpeg(image: FloatImage, rng: np.random.Generator) -> tuple[FloatImage, Applied]:
    quality = int(rng.integers(8, 96))
    if rng.random() < 0.2:
        # Twice, on two grids of blocks. The small weights saw it without the roll back.
        first, (down, right) = int(rng.integers(40, 96)), (int(step) for step in rng.integers(0, 8, 2))
        image = np.roll(jpeg(image, first), (down, right), (0, 1))
        back = np.roll(jpeg(image, quality), (-down, -right), (0, 1))
        return back, Applied(jpeg_loss=100 - quality)
    return jpeg(image, quality, subsample=rng.random() < 0.5), Applied(jpeg_loss=100 - quality)


def _strong_jpeg(image: FloatImage, rng: np.random.Generator) -> tuple[FloatImage, Applied]:
    """Where compression shows: the qualities 5 to 50, evenly in their logarithm."""
    quality = round(float(np.exp(rng.uniform(np.log(5.0), np.log(50.0)))))
    return jpeg(image, quality, subsample=rng.random() < 0.5), Applied(jpeg_loss=100 - quality)


def _enlarged(image: FloatImage, rng: np.random.Generator) -> tuple[FloatImage, Applied]:
    """What `restore run --scale` gives the network: an 8-bit file, enlarged as it does."""
    factor = 2 if rng.random() < 0.6 else 4
    return _enlarged_again(reduce_bicubic(image, factor), factor, image), Applied(
        scale_log2=float(np.log2(factor))
    )


def _enlarged_by(factor: int) -> Degradation:
    """As `_enlarged`, always by `factor`."""

    def degraded(image: FloatImage, _rng: np.random.Generator) -> tuple[FloatImage, Applied]:
        small = reduce_bicubic(image, factor)
        return _enlarged_again(small, factor, image), Applied(scale_log2=float(np.log2(factor)))

    return degraded


def _worn_enlarged_by(factor: int) -> Degradation:
    """As `_enlarged_by`, of a small file that was soft, slightly noisy or compressed."""

    def degraded(image: FloatImage, rng: np.random.Generator) -> tuple[FloatImage, Applied]:
        applied = Applied(scale_log2=float(np.log2(factor)))
        if rng.random() < 0.4:
            sigma = rng.uniform(0.3, 0.6) * factor
            kernel = blur_kernel("gaussian", sigma, rng)
            image = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT)
            applied = replace(applied, blur_sigma=sigma)
        small = reduce_bicubic(image, factor)
        if rng.random() < 0.4:
            noise = rng.uniform(0.0, 4.0)
            small, applied = gaussian_noise(small, noise, rng), replace(applied, noise_sigma=noise)
        if rng.random() < 0.6:
            quality = int(rng.integers(30, 96))
            small, applied = jpeg(small, quality), replace(applied, jpeg_loss=100 - quality)
        return _enlarged_again(small, factor, image), applied

    return degraded


def _enlarged_again(small: FloatImage, factor: int, like: FloatImage) -> FloatImage:
    """`small` kept in 8 bits and enlarged as `restore run --scale` does, to the size of `like`."""
    levels = np.round(np.clip(small, 0.0, 1.0) * 255.0).astype(np.uint8)
    large = enlarge(levels, factor).astype(np.float32) / np.float32(255.0)
    rest = [(0, side - made) for side, made in zip(like.shape, large.shape, strict=True)]
    return np.pad(large, rest, mode="edge")


def _blurred(image: FloatImage, rng: np.random.Generator) -> tuple[FloatImage, Applied]:
    kind = ("gaussian", "gaussian", "defocus", "motion")[int(rng.integers(4))]
    sigma = rng.uniform(0.5, 3.0)
    blurred = cv2.filter2D(image, -1, blur_kernel(kind, sigma, rng), borderType=cv2.BORDER_REFLECT)
    applied = Applied(blur_sigma=sigma)
    if rng.random() < 0.7:
        noise = rng.uniform(0.0, 12.0)
        blurred, applied = gaussian_noise(blurred, noise, rng), replace(applied, noise_sigma=noise)
    if rng.random() < 0.3:
        quality = int(rng.integers(40, 96))
        blurred, applied = jpeg(blurred, quality), replace(applied, jpeg_loss=100 - quality)
    return quantise(blurred), applied


def _reduced(image: FloatImage, rng: np.random.Generator) -> tuple[FloatImage, Applied]:
    factor = 2 if rng.random() < 0.5 else 4
    method = ("bicubic", "bicubic", "area", "bilinear", "nearest")[int(rng.integers(5))]
    applied = Applied(scale_log2=float(np.log2(factor)))
    small = downscale(image, factor, method)
    if rng.random() < 0.3:
        noise = rng.uniform(0.0, 15.0)
        small, applied = gaussian_noise(small, noise, rng), replace(applied, noise_sigma=noise)
    return quantise(small), applied


def _mixed(image: FloatImage, rng: np.random.Generator) -> tuple[FloatImage, Applied]:
    """What a real file has been through: sensor or Poisson noise, then JPEG."""
    if rng.random() < 0.4:
        gain = rng.uniform(0.0, 1.5)
        noisy = camera(image, gain, rng)
    else:
        photons = np.exp(rng.uniform(np.log(20.0), np.log(2000.0)))
        noisy = (rng.poisson(np.clip(image, 0, 1) * photons) / photons).astype(np.float32)
        noisy = gaussian_noise(noisy, rng.uniform(0.0, 10.0), rng)
    sigma = min(_rms(noisy, image), 80.0)
    if rng.random() < 0.7:
        quality = int(rng.integers(25, 96))
        return jpeg(noisy, quality), Applied(noise_sigma=sigma, jpeg_loss=100 - quality)
    return quantise(noisy), Applied(noise_sigma=sigma)


def _double_jpeg(image: FloatImage, rng: np.random.Generator) -> tuple[FloatImage, Applied]:
    """Saved twice: on one grid of blocks, or, after a crop, on two."""
    first, second = (int(quality) for quality in rng.integers(30, 96, 2))
    shift = (0, 0)
    if rng.random() < 0.5:
        dy, dx = divmod(int(rng.integers(1, 64)), 8)
        shift = (dy, dx)
    once = jpeg(np.roll(image, shift, (0, 1)), first, subsample=rng.random() < 0.5)
    once = np.roll(once, (-shift[0], -shift[1]), (0, 1))
    twice = jpeg(once, second, subsample=rng.random() < 0.5)
    return twice, Applied(jpeg_loss=100 - min(first, second))


def _low_light(image: FloatImage, rng: np.random.Generator) -> tuple[FloatImage, Applied]:
    well = np.exp(rng.uniform(np.log(2_000.0), np.log(30_000.0)))
    dark = low_light(image, rng.uniform(2.0, 5.0), rng, well=well, read=rng.uniform(1.0, 6.0))
    applied = Applied(noise_sigma=min(_rms(dark, image), 80.0))
    if rng.random() < 0.4:
        quality = int(rng.integers(50, 96))
        return jpeg(dark, quality), replace(applied, jpeg_loss=100 - quality)
    return dark, applied


def _reduced_mixed(image: FloatImage, rng: np.random.Generator) -> tuple[FloatImage, Applied]:
    """A small picture made large: soft, reduced by any factor in any way, noisy, saved, enlarged again."""
    height, width = image.shape[:2]
    sigma = rng.uniform(0.3, 1.2)
    factor = float(np.exp(rng.uniform(np.log(1.25), np.log(4.0))))
    methods = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)
    method = methods[int(rng.integers(len(methods)))]
    soft = cv2.filter2D(image, -1, blur_kernel("gaussian", sigma, rng), borderType=cv2.BORDER_REFLECT)
    size = (max(8, round(width / factor)), max(8, round(height / factor)))
    small = cv2.resize(soft, size, interpolation=method).astype(np.float32)
    applied = Applied(blur_sigma=sigma, scale_log2=float(np.log2(factor)))
    if rng.random() < 0.6:
        noise = rng.uniform(0.0, 12.0)
        small, applied = gaussian_noise(small, noise, rng), replace(applied, noise_sigma=noise)
    if rng.random() < 0.6:
        quality = int(rng.integers(40, 96))
        small, applied = jpeg(small, quality), replace(applied, jpeg_loss=100 - quality)
    back = methods[int(rng.integers(1, len(methods)))]
    return quantise(cv2.resize(small, (width, height), interpolation=back).astype(np.float32)), applied


def _video(image: FloatImage, rng: np.random.Generator) -> tuple[FloatImage, Applied]:
    noisy, noise = _before_coding(image, rng)
    step = float(np.exp(rng.uniform(np.log(6.0), np.log(72.0))))
    frames, transform = int(rng.integers(1, 5)), 8 if rng.random() < 0.7 else 4
    coded = hybrid_coded(noisy, step, rng, frames=frames, transform=transform)
    return coded, Applied(noise_sigma=noise, jpeg_loss=jpeg_loss_like(noisy, coded))


def _video_codec(image: FloatImage, rng: np.random.Generator) -> tuple[FloatImage, Applied]:
    noisy, noise = _before_coding(image, rng)
    codec = ("h264", "h264", "mpeg4", "mpeg2")[int(rng.integers(4))]
    _, finest, coarsest = CODECS[codec]
    quantiser, frames = int(rng.integers(finest, coarsest + 1)), int(rng.integers(1, 5))
    coded = codec_coded(noisy, codec, quantiser, rng, frames=frames)
    return coded, Applied(noise_sigma=noise, jpeg_loss=jpeg_loss_like(noisy, coded))


def _before_coding(image: FloatImage, rng: np.random.Generator) -> tuple[FloatImage, float]:
    """The noise of a small camera, in every second patch."""
    noise = float(rng.uniform(0.0, 8.0)) if rng.random() < 0.5 else 0.0
    return (gaussian_noise(image, noise, rng) if noise else image), noise


def _untouched(image: FloatImage, _rng: np.random.Generator) -> tuple[FloatImage, Applied]:
    return quantise(image), Applied()


_KINDS: dict[str, Degradation] = {
    "gaussian": _only_gaussian,
    "light_gaussian": _light_gaussian,
    "jpeg": _only_jpeg,
    "strong_jpeg": _strong_jpeg,
    "enlarged": _enlarged,
    "enlarged2": _enlarged_by(2),
    "enlarged4": _enlarged_by(4),
    "worn_enlarged2": _worn_enlarged_by(2),
    "worn_enlarged4": _worn_enlarged_by(4),
    "blur": _blurred,
    "reduced": _reduced,
    "mixed": _mixed,
    "double_jpeg": _double_jpeg,
    "low_light": _low_light,
    "reduced_mixed": _reduced_mixed,
    "video": _video,
    "video_codec": _video_codec,
    "none": _untouched,
}


def check_available(shares: dict[str, float]) -> None:
    """Raises UsageError if a kind with a share needs what is not installed."""
    if shares.get("video_codec"):
        require_codecs()


def degrade(
    image: FloatImage, rng: np.random.Generator, shares: dict[str, float]
) -> tuple[FloatImage, Applied]:
    """One degradation; its kind, a key of `_KINDS`, is drawn by `shares`."""
    names = sorted(shares)
    weights = np.array([shares[name] for name in names], dtype=np.float64)
    return _KINDS[names[int(rng.choice(len(names), p=weights / weights.sum()))]](image, rng)
