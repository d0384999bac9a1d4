"""Bicubic enlargement in integers, the same on every machine."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore_manifests.errors import UsageError

__all__ = ["FACTORS", "enlarge"]

FACTORS = (1, 2, 4)

# Keys 1981 with a = -0.75, the kernel of OpenCV's INTER_CUBIC, at the phases of a whole factor. The
# weights are exact in these units: for factor 2 in 256ths, for factor 4 in 2048ths.
_UNITS = {2: 256, 4: 2048}


def _near(t: float) -> float:
    return 1.25 * t**3 - 2.25 * t**2 + 1


def _far(t: float) -> float:
    return -0.75 * t**3 + 3.75 * t**2 - 6 * t + 3


def _weights(factor: int) -> list[tuple[int, list[int]]]:
    """For each phase: offset of the first of four taps, and the taps."""
    rows = []
    for phase in range(factor):
        # Position of the new sample's centre between old centres, in units of 1 / (2 factor).
        twice = 2 * phase + 1 - factor
        first = twice // (2 * factor)
        t = (twice - first * 2 * factor) / (2 * factor)
        taps = [_far(1 + t), _near(t), _near(1 - t), _far(2 - t)]
        rows.append((first - 1, [round(tap * _UNITS[factor]) for tap in taps]))
    return rows


def enlarge(pixels: NDArray[Any], factor: int) -> NDArray[Any]:
    """`pixels` (height, width[, channels]) uint8 or uint16, enlarged `factor` times: same type, clamped.

    The edge is repeated outward. Rows first, then columns, each rounded half up.

    Raises:
        UsageError: if the factor is not 1, 2 or 4.
    """
    if factor not in FACTORS:
        raise UsageError(f"A scale of {factor} is not known.", hint="Use 1, 2 or 4.")
    if factor == 1:
        return pixels
    top = int(np.iinfo(pixels.dtype).max)
    half, bits = _UNITS[factor] // 2, _UNITS[factor].bit_length() - 1
    for axis in (0, 1):
        count = pixels.shape[axis]
        shape = list(pixels.shape)
        shape[axis] = count * factor
        result = np.empty(shape, pixels.dtype)
        for phase, (first, taps) in enumerate(_weights(factor)):
            total = np.full(pixels.shape, half, np.int32)
            for index, tap in enumerate(taps):
                places = np.clip(np.arange(count) + first + index, 0, count - 1)
                total += np.take(pixels, places, axis=axis).astype(np.int32) * np.int32(tap)
            where = [slice(None)] * pixels.ndim
            where[axis] = slice(phase, None, factor)
            result[tuple(where)] = np.clip(total >> bits, 0, top)
        pixels = result
    return pixels
