"""Which JPEG compression a picture shows: the grid of its blocks and the steps of its luma, from the pixels.

JPEG (ITU-T T.81) writes each DCT coefficient of a block of 8x8 samples as a whole number of steps. As long as
the decoded picture was not changed since, its own coefficients lie near whole numbers of steps: whatever the
file's format is now, and wherever it was cropped. Rounded and converted between colours they lie beside them
by a third of a level or so. What is looked for are the steps of libjpeg's quality scale (the tables of T.81,
annex K) and, where one of these nearly fits, such as are a little longer or shorter in single frequencies, as
other encoders scale the same tables. Of a picture compressed with tables of another kind none are found.

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
_ROUNDED = 4 * UNIT
"""No zero is rounded to more: all samples of a block by half a level, to one side."""
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
"""How far from whole steps they may lie in the mean, in thousandths of what they would without steps,"""
_FARTHEST_LEVELS = 5 * UNIT // 2
"""and in levels: the steps of another encoder, rounded otherwise, are that near."""
_FITTING = 3 * UNIT // 5
"""As `_FARTHEST_LEVELS`, where a step is taken for the one of the table,"""
_FITTING_ELSE = UNIT
"""and where it is for one that is not far from it."""
_OTHERWISE = 8
"""By up to this part of a step, or by one level, those of single frequencies may differ,"""
_MOST_OTHERWISE = 4
"""but not by more levels than this."""


@dataclass(frozen=True)
class CompressionGrid:
    """`top`, `left`: rows above and columns left of the first whole block, 0 to 7. `quality`: that of libjpeg
    whose steps are nearest, 1 to 95. `steps`: of luma in 8-bit levels, 64 of them, row by row, rows vertical
    frequencies; 0 where the picture does not tell."""

    top: int
    left: int
    quality: int
    steps: tuple[int, ...]

    def table(self) -> Integers:
        """`steps` as (8, 8)."""
        return np.array(self.steps, np.int64).reshape(BLOCK, BLOCK)


def steps_of(quality: int) -> Integers:
    """The steps of luma in 8-bit levels, (8, 8), at a quality from 1 to 100, as libjpeg scales them."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((QUANTISATION * scale + 50) // 100, 1, 255)


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


def _quality_of(coefficients: Integers) -> tuple[int, tuple[int, ...]] | None:
    """The quality near whole numbers of whose steps these lie, and the very steps; None if there is none."""
    values = np.abs(coefficients.reshape(-1, BLOCK * BLOCK))
    places, frequencies = np.nonzero(values > _ACTIVE)
    count = min(_MOST_VALUES, places.size)
    chosen = np.arange(count) * places.size // max(1, count)
    active, frequencies = values[places[chosen], frequencies[chosen]], frequencies[chosen]
    found, least = None, _FARTHEST + 1
    # A picture that was turned since has rows and columns of its steps in each other's place.
    for quality, turned in itertools.product(range(1, _BEST + 1), (False, True)):
        table = steps_of(quality).T.reshape(-1) if turned else steps_of(quality).reshape(-1)
        step = table[frequencies] * UNIT
        number = (active + step // 2) // step
        counted = number > 0
        total = int(counted.sum())
        between = int((~counted & (4 * active > step)).sum())
        if total < _LEAST_VALUES or between * _BETWEEN > total or _may_be_longer(number, step, frequencies):
            continue
        step, beside = step[counted], np.abs(active - number * step)[counted]
        away = int((4000 * beside // step).sum()) // total
        if away < least and int(beside.sum()) <= _FARTHEST_LEVELS * total:
            found, least = (quality, table), away
    if found is None:
        return None
    steps = _refined(found[1], active, frequencies)
    known = np.bincount(frequencies, minlength=BLOCK * BLOCK) >= _KNOWN
    told = known & (np.array(steps) > 0)
    return (found[0], steps) if 2 * int(told.sum()) >= int(known.sum()) else None


def _refined(table: Integers, active: Integers, frequencies: Integers) -> tuple[int, ...]:
    """The steps near those of `table`, of which each frequency's coefficients are whole numbers; 0 where they
    are of none. Where few are not zero, or they fit, the table is believed."""
    steps = []
    for place, step in enumerate(table):
        values = active[frequencies == place]
        believed = values.size < _KNOWN or _distance(int(step), values)[0] <= _FITTING
        steps.append(int(step) if believed else _nearest(int(step), values, mean=place == 0))
    return tuple(steps)


def _nearest(step: int, values: Integers, *, mean: bool) -> int:
    """The step that fits best, of those not far from one in the table; `mean`: of frequency 0."""
    reach = min(max(1, step // _OTHERWISE), _MOST_OTHERWISE)
    found, least = 0, _FARTHEST + 1
    for other in sorted(range(max(2, step - reach), step + reach + 1), key=lambda one: abs(one - step)):
        beside, away, number = _distance(other, values)
        single, few, known = (int(((number > 0) & (number <= most)).sum()) for most in (1, _FEW, 1 << 20))
        missing = known < _KNOWN or (few >= _KNOWN and _OF_FEW * single < few) or _OF_ALL * single < known
        if away < least and beside <= _FITTING_ELSE and (mean or not missing):
            found, least = other, away
    return found


def _distance(step: int, values: Integers) -> tuple[int, int, Integers]:
    """How far those that are not zero lie from whole steps in the mean, in `UNIT` and in thousandths of what
    they would without steps, and the nearest whole number of each. Very far, if too many lie where rounding
    does not bring a zero."""
    length = step * UNIT
    number = (values + length // 2) // length
    counted = number > 0
    beside = np.abs(values - number * length)[counted]
    total = int(counted.sum())
    if int((values[~counted] > _ROUNDED).sum()) * _BETWEEN > total:
        return length, 4000, number
    return int(beside.sum()) // max(1, total), int((4000 * beside // length).sum()) // max(1, total), number


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
