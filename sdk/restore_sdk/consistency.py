"""Consistency check: the result, degraded again with the estimate, against the source.

A restoration that only took damage away leaves, once degraded again, nothing against the source but noise as
strong as the estimate says and what compression rounds off. More than that was added or lost. The check is
made on luma (BT.601, full range):

- a result that was enlarged is brought back to the source's size by averaging;
- it is blurred, or reduced and enlarged again, by none of the estimate, half of the blur, or all of it,
  whichever leaves least: a restoration that undid less than the estimate is no contradiction;
- of the residual's 8x8 DCT coefficients half a step of the JPEG quantisation table for the estimated quality
  is taken off (ITU-T T.81, K.1, scaled as libjpeg does): the source says no more about them;
- what remains is compared with the upper end of the noise estimate: as a whole, and in the mean of each 8x8
  block, where noise averages out and something painted in does not.

All of it is whole-number arithmetic, so the recorded figures are the same on every machine.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore_manifests.schema import Degradation, Finding

__all__ = ["Consistency", "measure_consistency"]

Integers = NDArray[np.int64]

_LEVEL = 257
"""Units of luma in one 8-bit level: sixteen bits, whatever the source has."""
_SLACK = 2_000
"""Thousandths of a level allowed beside the noise, for the texture that every restoration smooths."""
_BLOCKS_ALLOWED = 1_000
"""Millionths of the blocks that may be above their bound; none may be above twice the bound."""
_LEAST_BLUR = 0.5
"""Pixels; a narrower blur leaves an image as it is."""
_LEAST_REDUCTION = 1.5
_BAND = 256
"""Rows of the source worked on at a time, a multiple of 8: memory does not grow with the image."""


@dataclass(frozen=True)
class Consistency:
    """What the result leaves against the source.

    `figures`, in 8-bit levels of luma: `residual_rms` and its bound `residual_bound`; `block_worst`, the
    largest deviation of a block's mean (at most twice `block_bound`); `blocks_outside`, the share of blocks
    above `block_bound` (at most 0.001).
    """

    figures: dict[str, float]
    applied: str
    within: bool

    def finding(self) -> Finding:
        """The same in words, for the record."""
        said = self.figures
        stands = "is consistent" if self.within else "is not consistent"
        advice = "" if self.within else " Look where the edit map is strong: something was added or lost."
        message = (
            f"Degraded again ({self.applied}), the result {stands} with the source: it leaves "
            f"{said['residual_rms']:.3f} levels of luma (bound {said['residual_bound']:.3f}); of the 8 x 8 "
            f"blocks {100 * said['blocks_outside']:.4f} % differ in the mean by more than "
            f"{said['block_bound']:.3f} levels (bound {_BLOCKS_ALLOWED / 10_000:.1f} %), the worst by "
            f"{said['block_worst']:.3f} (bound {2 * said['block_bound']:.3f}).{advice}"
        )
        return Finding(
            checker="consistency",
            severity="info" if self.within else "warning",
            message=message,
            details={"applied": self.applied, "within": self.within},
        )


@dataclass
class _Sums:
    """What one way of degrading leaves, over the bands so far."""

    energy: int = 0
    blocks: int = 0
    outside: int = 0
    worst: int = 0

    def add(self, remainder: Integers, block_bound: int) -> None:
        self.energy += sum(int(block) for block in (remainder * remainder).sum(axis=(1, 2)))
        deviations = np.abs(remainder[:, 0, 0]) * 1000 // (8 * _LEVEL)
        self.blocks += deviations.size
        self.outside += int((deviations > block_bound).sum())
        self.worst = max(self.worst, int(deviations.max()))


def measure_consistency(
    source: NDArray[Any], result: NDArray[Any], degradation: Mapping[str, Degradation]
) -> Consistency | None:
    """The check of one restoration.

    Args:
        source: uint8 or uint16, (height, width) or (height, width, 3), as it went into the plan.
        result: the same type, a whole number of times larger.
        degradation: the recorded estimates, in the units of the manifest.

    Returns:
        None where nothing is estimated, so that there is nothing to degrade with.
    """
    if "noise_sigma" not in degradation:
        return None
    factor = result.shape[0] // source.shape[0]
    height, width = source.shape[:2]
    allowance = _allowance(degradation)
    sigma = round(degradation["noise_sigma"].high * 1000)
    bound, block_bound = sigma * 5 // 4 + _SLACK, sigma // 2 + _SLACK  # 4 sigma of a mean of 64
    margin = _margin(degradation)
    sums: dict[str, _Sums] = {}
    for top in range(0, height, _BAND):
        bottom = min(top + _BAND, height)
        first, last = max(0, top - margin), min(height, bottom + margin)
        truth = _luma(source[top:bottom])
        restored = _reduced(_luma(result[first * factor : last * factor]), factor)
        for applied, again in _degraded(restored, degradation):
            remainder = _remainder(again[top - first : bottom - first] - truth, allowance)
            sums.setdefault(applied, _Sums()).add(remainder, block_bound)
    applied, least = min(sums.items(), key=lambda item: item[1].energy)  # the first of equals
    rms = isqrt(least.energy * 1_000_000 // (height * width * _LEVEL**2))
    outside, worst = least.outside * 1_000_000 // least.blocks, least.worst
    figures = {
        "residual_rms": rms / 1000,
        "residual_bound": bound / 1000,
        "block_worst": worst / 1000,
        "block_bound": block_bound / 1000,
        "blocks_outside": outside / 1_000_000,
    }
    within = rms <= bound and outside <= _BLOCKS_ALLOWED and worst <= 2 * block_bound
    return Consistency(figures, applied, within)


def _margin(degradation: Mapping[str, Degradation]) -> int:
    """Rows beyond a band that degrading it looks at: a multiple of 8, which every reduction divides."""
    blur = degradation["blur_sigma"].value if "blur_sigma" in degradation else 0.0
    return max(16, -(-_reach(round(blur * 100)) // 8) * 8)


def _luma(samples: NDArray[Any]) -> Integers:
    whole = samples.astype(np.int64) * (_LEVEL if samples.dtype == np.uint8 else 1)
    if whole.ndim == 2:
        return whole
    luma: Integers = (299 * whole[:, :, 0] + 587 * whole[:, :, 1] + 114 * whole[:, :, 2] + 500) // 1000
    return luma


def _degraded(image: Integers, degradation: Mapping[str, Degradation]) -> Iterator[tuple[str, Integers]]:
    """What the estimate may have done to an image, with its name."""
    yield "as it is", image
    blur = degradation["blur_sigma"].value if "blur_sigma" in degradation else 0.0
    if blur >= _LEAST_BLUR:
        hundredths = round(blur * 100)
        for part in (hundredths // 2, hundredths):
            yield f"blurred by {part / 100:.2f} pixels", _blurred(image, part)
    reduction = degradation["downscale_factor"].value if "downscale_factor" in degradation else 1.0
    if reduction >= _LEAST_REDUCTION:
        factor = 2 if reduction < 3 else 4
        yield f"reduced {factor} times and enlarged", _reduced_and_enlarged(image, factor)


def _reduced(image: Integers, factor: int) -> Integers:
    """Means of `factor` x `factor` samples, rounded half up."""
    if factor == 1:
        return image
    height, width = (size // factor for size in image.shape)
    blocks = image[: height * factor, : width * factor].reshape(height, factor, width, factor)
    sums = blocks.sum(axis=(1, 3))
    means: Integers = (2 * sums + factor**2) // (2 * factor**2)
    return means


def _reduced_and_enlarged(image: Integers, factor: int) -> Integers:
    from restore_models.resample import enlarge  # noqa: PLC0415 -- the models room is loaded only for a run

    height, width = image.shape
    padded = np.pad(image, [(0, -height % factor), (0, -width % factor)], mode="edge")
    large = enlarge(_reduced(padded, factor).astype(np.uint16), factor)
    return large[:height, :width].astype(np.int64)


def _reach(hundredths: int) -> int:
    return 3 * hundredths // 100 + 1


@functools.lru_cache(maxsize=8)
def _kernel(hundredths: int) -> tuple[int, ...]:
    """65536 times a Gaussian of that many hundredths of a pixel at 0, 1, 2, ... pixels.

    Decimal's exponential is correctly rounded by its specification, unlike a processor's.
    """
    context = Context(prec=28)
    sigma = Decimal(hundredths) / 100
    reach = _reach(hundredths)
    weights = [context.exp(-(Decimal(x) ** 2) / (2 * sigma * sigma)) * 65536 for x in range(reach + 1)]
    return tuple(int(weight.to_integral_value(context=context)) for weight in weights)


def _blurred(image: Integers, hundredths: int) -> Integers:
    """A separable Gaussian blur, mirrored at the edges, rounded half up after each direction."""
    weights = _kernel(hundredths)
    total = 2 * sum(weights) - weights[0]
    reach = len(weights) - 1
    for axis in (0, 1):
        pads = [(0, 0), (0, 0)]
        pads[axis] = (reach, reach)
        padded = np.pad(image, pads, mode="symmetric")
        size = image.shape[axis]
        sums = np.zeros_like(image)
        for offset in range(-reach, reach + 1):
            part = np.take(padded, range(reach + offset, reach + offset + size), axis=axis)
            sums += weights[abs(offset)] * part
        image = (2 * sums + total) // (2 * total)
    return image


def _allowance(degradation: Mapping[str, Degradation]) -> Integers:
    """Half a quantisation step of each coefficient, in units of luma."""
    from restore_models.compression_grid import steps_of  # noqa: PLC0415 -- the models room is loaded only for a run

    quality = round(degradation["jpeg_quality"].value) if "jpeg_quality" in degradation else 100
    quality = min(100, max(1, quality))
    return steps_of(quality) * _LEVEL // 2


def _remainder(residual: Integers, allowance: Integers) -> Integers:
    """(blocks, 8, 8): DCT coefficients of a residual, brought towards zero by the allowance."""
    from restore_models.block_transform import DCT_13  # noqa: PLC0415 -- as above

    height, width = residual.shape
    padded = np.pad(residual, [(0, -height % 8), (0, -width % 8)])
    rows, columns = (size // 8 for size in padded.shape)
    blocks = padded.reshape(rows, 8, columns, 8).transpose(0, 2, 1, 3).reshape(-1, 8, 8)
    coefficients = (DCT_13 @ blocks @ DCT_13.T + (1 << 25)) >> 26
    kept: Integers = np.sign(coefficients) * np.maximum(np.abs(coefficients) - allowance, 0)
    return kept
