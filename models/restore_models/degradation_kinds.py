"""What pictures of each kind suffer: strengths drawn from a generator, with a record of what was applied.

Images are those of `degradations`. A new kind leaves what the others draw alone, so that an older run can be
made again; none may move the picture, or it could not be compared with the clean one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from restore_models.degradations import (
    Applied,
    FloatImage,
    blur_kernel,
    camera,
    downscale,
    gaussian_noise,
    jpeg,
    jpeg_loss_like,
    low_light,
    one_channel,
    quantise,
    reduce_bicubic,
)
from restore_models.degradations_video import CODECS, codec_coded, hybrid_coded, require_codecs
from restore_models.resample import enlarge

__all__ = ["Degradation", "check_available", "degrade", "small_picture"]

Degradation = Callable[[FloatImage, np.random.Generator], tuple[FloatImage, Applied]]
"""Damages a picture, drawing the strength."""


def _rms(noisy: FloatImage, quiet: FloatImage) -> float:
    return float(np.sqrt(np.mean((noisy - quiet) ** 2)) * 255.0)


def _gaussian(low: float, high: float, as_files: float = 0.0) -> Degradation:
    """Noise of `low` to `high` levels, a share of it as in a file: rounded, cut off at black and white."""

    def degraded(image: FloatImage, rng: np.random.Generator) -> tuple[FloatImage, Applied]:
        sigma = rng.uniform(low, high)
        noisy = gaussian_noise(image, sigma, rng)
        kept = bool(as_files) and rng.random() < as_files
        return (quantise(noisy) if kept else noisy), Applied(noise_sigma=sigma)

    return degraded


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
    """As `_enlarged_by`, by either factor."""
    return _enlarged_by(2 if rng.random() < 0.6 else 4)(image, rng)


def _enlarged_by(factor: int) -> Degradation:
    """What `restore run --scale` gives the network: an 8-bit file, enlarged as it does."""

    def degraded(image: FloatImage, rng: np.random.Generator) -> tuple[FloatImage, Applied]:
        small, applied = small_picture(image, factor, rng)
        return _enlarged_again(small, factor, image), applied

    return degraded


def _worn_enlarged_by(factor: int) -> Degradation:
    """As `_enlarged_by`, of a small file that was soft, slightly noisy or compressed."""

    def degraded(image: FloatImage, rng: np.random.Generator) -> tuple[FloatImage, Applied]:
        small, applied = small_picture(image, factor, rng, worn=True)
        return _enlarged_again(small, factor, image), applied

    return degraded


def small_picture(
    image: FloatImage, factor: int, rng: np.random.Generator, *, worn: bool = False
) -> tuple[FloatImage, Applied]:
    """`image` reduced; `worn`: soft before that, slightly noisy or compressed after it."""
    applied = Applied(scale_log2=float(np.log2(factor)))
    if not worn:
        return reduce_bicubic(image, factor), applied
    if rng.random() < 0.4:
        sigma = rng.uniform(0.3, 0.6) * factor
        kernel = blur_kernel("gaussian", sigma, rng)
        image = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT)
        applied = replace(applied, blur_sigma=sigma)
    small = reduce_bicubic(image, factor)
    return _noise_then_jpeg(small, applied, rng, noisy=0.4, most=4.0, coded=0.6, coarsest=30)


def _enlarged_again(small: FloatImage, factor: int, like: FloatImage) -> FloatImage:
    """`small` kept in 8 bits and enlarged as `restore run --scale` does, to the size of `like`."""
    levels = np.round(np.clip(small, 0.0, 1.0) * 255.0).astype(np.uint8)
    large = enlarge(levels, factor).astype(np.float32) / np.float32(255.0)
    rest = [(0, side - made) for side, made in zip(like.shape, large.shape, strict=True)]
    return np.pad(large, rest, mode="edge")


def _noise_then_jpeg(
    image: FloatImage,
    applied: Applied,
    rng: np.random.Generator,
    *,
    noisy: float,
    most: float,
    coded: float,
    coarsest: int,
) -> tuple[FloatImage, Applied]:
    """Some pictures (share `noisy`) get noise of up to `most` levels, then some (`coded`) a JPEG quality from
    `coarsest` on."""
    if rng.random() < noisy:
        noise = rng.uniform(0.0, most)
        image, applied = gaussian_noise(image, noise, rng), replace(applied, noise_sigma=noise)
    if rng.random() < coded:
        quality = int(rng.integers(coarsest, 96))
        image, applied = jpeg(image, quality), replace(applied, jpeg_loss=100 - quality)
    return image, applied


def _blurred(image: FloatImage, rng: np.random.Generator) -> tuple[FloatImage, Applied]:
    kind = ("gaussian", "gaussian", "defocus", "motion")[int(rng.integers(4))]
    sigma = rng.uniform(0.5, 3.0)
    blurred = cv2.filter2D(image, -1, blur_kernel(kind, sigma, rng), borderType=cv2.BORDER_REFLECT)
    damage = _noise_then_jpeg(
        blurred, Applied(blur_sigma=sigma), rng, noisy=0.7, most=12.0, coded=0.3, coarsest=40
    )
    return quantise(damage[0]), damage[1]


def _soft(image: FloatImage, rng: np.random.Generator) -> tuple[FloatImage, Applied]:
    """Blurred and saved, without noise, as `_blurred` seldom is."""
    kind = ("gaussian", "gaussian", "gaussian", "defocus", "motion")[int(rng.integers(5))]
    sigma = rng.uniform(0.3, 3.0)
    blurred = cv2.filter2D(image, -1, blur_kernel(kind, sigma, rng), borderType=cv2.BORDER_REFLECT)
    if rng.random() < 0.3:
        quality = int(rng.integers(60, 96))
        return jpeg(blurred, quality), Applied(blur_sigma=sigma, jpeg_loss=100 - quality)
    return quantise(blurred), Applied(blur_sigma=sigma)


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
    small, applied = _noise_then_jpeg(small, applied, rng, noisy=0.6, most=12.0, coded=0.6, coarsest=40)
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
    "gaussian": _gaussian(0.0, 55.0, as_files=0.25),
    # Where most photographs are, and where a network trained evenly lags.
    "light_gaussian": _gaussian(5.0, 30.0),
    "light_clipped_gaussian": _gaussian(0.5, 40.0, as_files=0.5),
    # Beyond where `gaussian` ends, so that what these are for does not lie at an edge.
    "strong_gaussian": _gaussian(32.0, 68.0, as_files=0.25),
    "strong_clipped_gaussian": _gaussian(36.0, 72.0, as_files=0.5),
    # Seen in smooth places only.
    "faint_gaussian": _gaussian(0.5, 6.0),
    "jpeg": _only_jpeg,
    "strong_jpeg": _strong_jpeg,
    "enlarged": _enlarged,
    "enlarged2": _enlarged_by(2),
    "enlarged4": _enlarged_by(4),
    "worn_enlarged2": _worn_enlarged_by(2),
    "worn_enlarged4": _worn_enlarged_by(4),
    "blur": _blurred,
    "soft": _soft,
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
    image: FloatImage, rng: np.random.Generator, shares: dict[str, float], *, grey: bool = False
) -> tuple[FloatImage, Applied]:
    """One degradation; its kind, a key of `_KINDS`, is drawn by `shares`.

    `grey`: of a picture that is grey, as it happens to a file with one channel; the result is grey, too. What
    a camera does it does in colour, of which the green is kept.
    """
    names = sorted(shares)
    weights = np.array([shares[name] for name in names], dtype=np.float64)
    damage = _KINDS[names[int(rng.choice(len(names), p=weights / weights.sum()))]]
    if not grey:
        return damage(image, rng)
    worse, applied = damage(image, one_channel(rng))
    return np.repeat(worse[:, :, 1:2], 3, axis=2), applied
