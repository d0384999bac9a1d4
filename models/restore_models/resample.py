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
_BAND = 256
"""Rows taken at a time, so that the wide sums stay small."""


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

    The edge is repeated outward. The sums of both directions are kept whole and rounded once, half up.

    Raises:
        UsageError: if the factor is not 1, 2 or 4.
    """
    if factor not in FACTORS:
        raise UsageError(f"A scale of {factor} is not known.", hint="Use 1, 2 or 4.")
    if factor == 1:
        return pixels
    height, width = pixels.shape[:2]
    bits = 2 * (_UNITS[factor].bit_length() - 1)
    result = np.empty((height * factor, width * factor, *pixels.shape[2:]), pixels.dtype)
    for top in range(0, height, _BAND):
        rows = np.arange(top, min(top + _BAND, height))
        tall = _along(pixels, rows, 0, factor)
        wide = _along(tall, np.arange(width), 1, factor)
        band = (wide + (1 << (bits - 1))) >> bits
        result[top * factor : (int(rows[-1]) + 1) * factor] = np.clip(band, 0, np.iinfo(pixels.dtype).max)
    return result


def _along(values: NDArray[Any], places: NDArray[np.int64], axis: int, factor: int) -> NDArray[np.int64]:
    """Enlarges the given rows or columns; in 256ths or 2048ths."""
    shape = list(values.shape)
    shape[axis] = places.size * factor
    result = np.zeros(shape, np.int64)
    for phase, (first, taps) in enumerate(_weights(factor)):
        where: list[slice] = [slice(None)] * values.ndim
        where[axis] = slice(phase, None, factor)
        for index, tap in enumerate(taps):
            read = np.clip(places + first + index, 0, values.shape[axis] - 1)
            result[tuple(where)] += np.take(values, read, axis=axis).astype(np.int64) * tap
    return result
