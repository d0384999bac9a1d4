"""The DCT of 8x8 blocks of luma in whole numbers, as JPEG compression has it (ITU-T T.81, A.3.3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BLOCK",
    "DCT",
    "DCT_13",
    "UNIT",
    "Integers",
    "from_coefficients",
    "luma_blocks",
    "to_coefficients",
]

Integers = NDArray[np.int64]

BLOCK = 8
"""Side of a block in pixels."""
UNIT = 64
"""Luma and coefficients are counted in 64ths of an 8-bit level."""

_BITS = 20
_C1, _C2, _C3, _C4, _C5, _C6, _C7 = 514214, 484379, 435930, 370728, 291279, 200636, 102284
DCT = np.array(
    [
        [_C4, _C4, _C4, _C4, _C4, _C4, _C4, _C4],
        [_C1, _C3, _C5, _C7, -_C7, -_C5, -_C3, -_C1],
        [_C2, _C6, -_C6, -_C2, -_C2, -_C6, _C6, _C2],
        [_C3, -_C7, -_C1, -_C5, _C5, _C1, _C7, -_C3],
        [_C4, -_C4, -_C4, _C4, _C4, -_C4, -_C4, _C4],
        [_C5, -_C1, _C7, _C3, -_C3, -_C7, _C1, -_C5],
        [_C6, -_C2, _C2, -_C6, -_C6, _C2, -_C2, _C6],
        [_C7, -_C5, _C3, -_C1, _C1, -_C3, _C5, -_C7],
    ],
    np.int64,
)
"""2^20 times the orthonormal DCT-II of length 8, rounded: c4 of the first row, then c1 to c7."""

DCT_13 = (DCT + 64) >> 7
"""The same 2^13 times, for samples of more bits."""


def luma_blocks(pixels: NDArray[Any]) -> Integers:
    """(rows, columns, 8, 8): the blocks of uint8 (height, width[, 3]), luma less 128 levels, in `UNIT`.

    Luma is that of JFIF (BT.601, full range), rounded half up. What is left of a block at the right and at
    the bottom is not looked at.
    """
    rows, columns = pixels.shape[0] // BLOCK, pixels.shape[1] // BLOCK
    whole = pixels[: rows * BLOCK, : columns * BLOCK].astype(np.int64)
    if whole.ndim == 3:
        luma = (19595 * whole[:, :, 0] + 38470 * whole[:, :, 1] + 7471 * whole[:, :, 2] + 512) >> 10
    else:
        luma = UNIT * whole
    return (luma - 128 * UNIT).reshape(rows, BLOCK, columns, BLOCK).transpose(0, 2, 1, 3)


def to_coefficients(blocks: Integers) -> Integers:
    """The DCT of (..., 8, 8), rows vertical frequencies, in the same unit, rounded half up."""
    result: Integers = (DCT @ blocks @ DCT.T + (1 << (2 * _BITS - 1))) >> (2 * _BITS)
    return result


def from_coefficients(coefficients: Integers) -> Integers:
    """The reverse of `to_coefficients`, in 8-bit levels, rounded half up."""
    bits = 2 * _BITS + UNIT.bit_length() - 1
    result: Integers = (DCT.T @ coefficients @ DCT + (1 << (bits - 1))) >> bits
    return result
