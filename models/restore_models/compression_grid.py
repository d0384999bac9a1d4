"""Which JPEG compression a picture shows: the grid of its blocks and the steps of its luma, from the pixels.

JPEG (ITU-T T.81) writes each DCT coefficient of a block of 8x8 samples as a whole number of steps. As long as
the decoded picture was not changed since, its own coefficients lie near whole numbers of steps: whatever the
file's format is now, and wherever it was cropped. Rounded and converted between colours they lie beside them
by a third of a level or so. Steps are those of the quality scale of libjpeg (the tables of T.81, annex K); a
picture compressed with other tables shows none of them, and none is found.

Everything is computed in whole numbers: the same on every machine.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore_models.block_transform import BLOCK, UNIT, Integers, luma_blocks, to_coefficients

__all__ = ["QUANTISATION", "CompressionGrid", "find_grid", "steps_of", "telling_blocks"]

QUANTISATION = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.int64,
)
"""Steps of luma at quality 50, rows vertical frequencies: T.81, table K.1."""

_BEST = 95
"""The best quality that is looked for: of a better one steps are hardly longer than what rounding hides."""
_MOST_BLOCKS = 4096
"""Blocks looked at, spread evenly: more say nothing new."""
_FEW_BLOCKS = 256
"""As `_MOST_BLOCKS`, for each corner that a grid can have."""
_ZERO = 3 * UNIT // 4
"""A coefficient up to this may be a zero that was rounded."""
_ACTIVE = 6 * UNIT // 5
"""Above this it hardly is."""
_MOST_VALUES = 32_768
_LEAST_VALUES = 200
"""Coefficients that are not zero, from which on a picture tells its steps."""
_BETWEEN = 10
"""For so many coefficients of a step and more, at most one may lie between zero and that."""
_KNOWN = 24
"""Of so many coefficients of a frequency and more, which are not zero, some are of a single step,"""
_FEW, _OF_FEW = 4, 7
"""of up to four steps one in seven at least"""
_OF_ALL = 60
"""and of all one in sixty."""
_FARTHEST = 600
"""How far from whole steps they may lie in the mean, in thousandths of what they would without steps."""


@dataclass(frozen=True)
class CompressionGrid:
    """`top`, `left`: rows above and columns left of the first whole block, 0 to 7. `quality`: 1 to 95.
    `turned`: the picture was turned by a right angle since, so that rows and columns of the steps change
    places."""

    top: int
    left: int
    quality: int
    turned: bool = False

    def steps(self) -> Integers:
        """Of luma, in 8-bit levels, (8, 8), rows vertical frequencies."""
        return _steps(self.quality, turned=self.turned)


def steps_of(quality: int) -> Integers:
    """The steps of luma in 8-bit levels, (8, 8), at a quality from 1 to 100, as libjpeg scales them."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((QUANTISATION * scale + 50) // 100, 1, 255)


def _steps(quality: int, *, turned: bool) -> Integers:
    steps = steps_of(quality)
    return steps.T if turned else steps


def telling_blocks(pixels: NDArray[Any]) -> NDArray[np.bool_]:
    """(rows, columns): the whole blocks of uint8 (height, width[, 3]) no sample of which is black or white.
    There decoding may have cut something off, so that the coefficients of the block are not told any more."""
    rows, columns = pixels.shape[0] // BLOCK, pixels.shape[1] // BLOCK
    whole = pixels[: rows * BLOCK, : columns * BLOCK]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    parts = whole.reshape(rows, BLOCK, columns, BLOCK * channels)
    result: NDArray[np.bool_] = np.logical_and.reduce(np.logical_and(parts > 0, parts < 255), axis=(1, 3))
    return result


def find_grid(pixels: NDArray[Any]) -> CompressionGrid | None:
    """The grid and the quality of the last compression of a picture; None where it shows none.

    Of two compressions on one grid it may be the first that is found, if that was the stronger one.

    Args:
        pixels: as a file holds them, (height, width[, 3]); where they are not uint8 none is found.
    """
    if pixels.dtype != np.uint8:
        return None
    for top, left in dict.fromkeys(((0, 0), _likely_corner(pixels))):
        found = _quality_of(_sampled(pixels, top, left, _MOST_BLOCKS))
        if found is not None:
            return CompressionGrid(top, left, *found)
    return None


def _likely_corner(pixels: NDArray[Any]) -> tuple[int, int]:
    """The corner from which on most coefficients are zero."""
    corners = [(top, left) for top in range(BLOCK) for left in range(BLOCK)]
    zeros = [int((np.abs(_sampled(pixels, *corner, _FEW_BLOCKS)) <= _ZERO).sum()) for corner in corners]
    return corners[int(np.argmax(zeros))]


def _sampled(pixels: NDArray[Any], top: int, left: int, most: int) -> Integers:
    """Coefficients (blocks, 8, 8) of up to `most` blocks, spread over the picture, those cut off left out."""
    rows, columns = (
        max(0, (size - at) // BLOCK) for size, at in zip(pixels.shape, (top, left), strict=False)
    )
    count = min(most, rows * columns)
    chosen = np.arange(count) * (rows * columns) // max(1, count)
    y, x = top + BLOCK * (chosen // max(1, columns)), left + BLOCK * (chosen % max(1, columns))
    within = np.arange(BLOCK)
    blocks = pixels[(y[:, None] + within)[:, :, None], (x[:, None] + within)[:, None, :]]
    one_above_another = blocks.reshape(count * BLOCK, BLOCK, *pixels.shape[2:])
    return to_coefficients(luma_blocks(one_above_another)[telling_blocks(one_above_another)])


def _quality_of(coefficients: Integers) -> tuple[int, bool] | None:
    """The quality near whole numbers of whose steps these lie, and whether the picture was turned since; None
    if there is none."""
    values = np.abs(coefficients.reshape(-1, BLOCK * BLOCK))
    places, frequencies = np.nonzero(values > _ACTIVE)
    count = min(_MOST_VALUES, places.size)
    chosen = np.arange(count) * places.size // max(1, count)
    active, frequencies = values[places[chosen], frequencies[chosen]], frequencies[chosen]
    found, least = None, _FARTHEST + 1
    for quality, turned in itertools.product(range(1, _BEST + 1), (False, True)):
        step = _steps(quality, turned=turned).reshape(-1)[frequencies] * UNIT
        number = (active + step // 2) // step
        counted = number > 0
        total = int(counted.sum())
        between = int((~counted & (4 * active > step)).sum())
        if total < _LEAST_VALUES or between * _BETWEEN > total or _may_be_longer(number, step, frequencies):
            continue
        step, beside = step[counted], np.abs(active - number * step)[counted]
        away = int((4000 * beside // step).sum()) // total
        if away < least:
            found, least = (quality, turned), away
    return found


def _may_be_longer(number: Integers, step: Integers, frequencies: Integers) -> bool:
    """Whether the true steps may be multiples of these: in too many frequencies single ones are missing, of
    which natural pictures have most. In the mean of a block, frequency 0, they need not."""
    told = (number > 0) & (step > UNIT)
    single, few, all_of_them = (
        np.bincount(frequencies[told & (number <= most)], minlength=BLOCK * BLOCK)[1:]
        for most in (1, _FEW, number.max(initial=1))
    )
    among_few = (few >= _KNOWN) & (_OF_FEW * single < few)
    among_all = (all_of_them >= _KNOWN) & (_OF_ALL * single < all_of_them)
    missing, known = among_few | among_all, all_of_them >= _KNOWN
    return 10 * int(missing.sum()) > int(known.sum())
