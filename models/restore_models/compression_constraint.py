"""A restored picture brought to agree with the compression that its source shows.

A compressed picture says of each coefficient which step it was rounded to: before that it lay within half a
step. Networks leave these intervals here and there, and where they do they err. Here each coefficient of the
result's luma is brought back to within a reach of what the source says (projection onto a narrow quantisation
constraint set: Park and Kim, IEEE Transactions on Image Processing 8, 1999), and nothing else is changed.
Large coefficients lie anywhere in their intervals with nearly the same chance, and networks err by some
levels wherever they lie: the shorter the step, the more the middle of the interval knows. So large ones, and
those that a network makes larger than the source says, are drawn towards it first.
What was noisy before it was compressed, or compressed twice, is another matter: its restoration has to leave
the intervals. It leaves more of them, so that it is told by that, and left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore_models.block_transform import (
    BLOCK,
    UNIT,
    Integers,
    from_coefficients,
    luma_blocks,
    to_coefficients,
)
from restore_models.compression_grid import CompressionGrid, find_grid, telling_blocks

__all__ = ["Agreement", "Limits", "agreeing", "in_agreement"]


@dataclass(frozen=True)
class Limits:
    """How near, and when not at all. The benchmark compression_limits tries others."""

    reach: int = 24
    """How far from what the source says a coefficient may lie, in 64ths of a step, 0 to 32; 32 would be all
    that the compression proves."""
    most_outside: int = 100
    """How many, in thousandths, of the coefficients that the source says are not zero may lie outside of what
    the compression proves; with more the picture is taken for noisy before it was compressed, or compressed
    twice."""
    half: int = 12
    """Levels: where a step is as long, large coefficients are drawn half the way to what the source says; a
    third of the way where it is twice as long. 0: none is."""
    least: int = 8
    """Levels: they are drawn where the step is at least as long. Shorter ones are those of fine compression,
    in which the noise from before it is seen, and must not come back."""


_LEAST_STEP = 2
"""Levels; of a shorter step rounding leaves nothing."""
_ROUNDING = UNIT // 2
"""Half a level that a coefficient may lie farther out before it counts as outside: pixels are rounded."""
_BAND = 64
"""Rows of blocks worked on at a time: memory does not grow with the picture."""


@dataclass(frozen=True)
class Agreement:
    """`pixels`: the result, in agreement if `applied`, else as it was. `outside`: how many, in thousandths,
    of the coefficients that are not zero lay outside before; of none, none."""

    pixels: NDArray[Any]
    outside: int
    applied: bool


def agreeing(
    source: NDArray[Any],
    result: NDArray[Any],
    grid: CompressionGrid,
    limits: Limits | None = None,
) -> Agreement:
    """A result in agreement with the compression of its source.

    Args:
        source: uint8, (height, width[, 3]), sRGB-encoded.
        result: the same shape and type.
        grid: of the source: see `compression_grid.find_grid`.
        limits: the usual ones, if None.
    """
    limits = limits or Limits()
    told = outside = 0
    pixels = result.copy()
    for band in _bands(source, grid):
        said = _Said(source[band], grid.table())
        away = to_coefficients(luma_blocks(result[band])) - said.values
        told += int(said.not_zero.sum())
        outside += int((said.not_zero & (np.abs(away) > said.steps // 2 + _ROUNDING)).sum())
        most = limits.reach * said.steps // 64
        nearer = np.clip(said.drawn(away, limits), -most, most)
        change = from_coefficients(np.where(said.tells, nearer - away, 0))
        _add(pixels[band], change)
    share = 1000 * outside // told if told else 0
    applied = share <= limits.most_outside
    return Agreement(pixels if applied else result, share, applied)


def in_agreement(source: NDArray[Any], result: NDArray[Any]) -> NDArray[Any]:
    """What `restore run` makes of a result of the same shape as its source: in agreement with the
    compression that the source shows, if it shows one."""
    grid = find_grid(source)
    return result if grid is None else agreeing(source, result, grid).pixels


class _Said:
    """What some rows of a source say of their coefficients."""

    def __init__(self, source: NDArray[Any], steps: Integers) -> None:
        self.steps: Integers = np.maximum(steps, 1) * UNIT
        decoded = to_coefficients(luma_blocks(source))
        self.values: Integers = (decoded + self.steps // 2) // self.steps * self.steps
        """Whole numbers of steps, in `UNIT`, (rows, columns, 8, 8)."""
        self.tells = telling_blocks(source)[:, :, None, None] & (self.steps >= _LEAST_STEP * UNIT)
        """Of which coefficients anything is said."""
        self.not_zero = self.tells & (self.values != 0)

    def drawn(self, away: Integers, limits: Limits) -> Integers:
        """How far away coefficients are that lay so far from what is said, after large ones and those that
        are larger than it are drawn towards it."""
        large = (np.abs(self.values) > self.steps) | (away * self.values > 0)
        nearer = away * self.steps // (self.steps + limits.half * UNIT)
        return np.where(self.not_zero & large & (self.steps >= limits.least * UNIT), nearer, away)


def _bands(source: NDArray[Any], grid: CompressionGrid) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of whole blocks, some rows of blocks at a time."""
    height, width = (
        (size - at) // BLOCK for size, at in zip(source.shape, (grid.top, grid.left), strict=False)
    )
    for first in range(0, height, _BAND):
        last = min(first + _BAND, height)
        yield (
            slice(grid.top + first * BLOCK, grid.top + last * BLOCK),
            slice(grid.left, grid.left + width * BLOCK),
        )


def _add(pixels: NDArray[Any], change: Integers) -> None:
    """Adds to every channel of `pixels` in place; `change` in levels, (rows, columns, 8, 8)."""
    rows, columns = change.shape[:2]
    levels = change.transpose(0, 2, 1, 3).reshape(rows * BLOCK, columns * BLOCK)
    levels = levels if pixels.ndim == 2 else levels[:, :, None]
    pixels[...] = np.clip(pixels.astype(np.int64) + levels, 0, 255)
