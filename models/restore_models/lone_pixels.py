"""How many pixels stand alone: the mark of impulse noise, which no calibrated kind of damage has."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["lone_pixels"]

_STEP = 24
"""Least difference from every neighbour, in 8-bit levels."""
_STRIP = 512
"""Rows looked at at a time."""
_AROUND = [(dy, dx) for dy in (0, 1, 2) for dx in (0, 1, 2) if (dy, dx) != (1, 1)]


def lone_pixels(pixels: NDArray[Any]) -> int:
    """Pixels in a million that differ from all eight neighbours by more than 24 levels, and by more than
    twice what the neighbours differ among themselves.

    Of a colour image the mean of the channels counts, rounded down; of 16 bits the upper eight. What the
    neighbours differ among themselves is the span from their second least to their second greatest, so that
    one more impulse among them changes nothing. The rim, which has fewer neighbours, is left out.

    Args:
        pixels: uint8 or uint16, (height, width[, 3]), sRGB-encoded.

    Returns:
        A whole number, computed in whole numbers; 0 for an image without an inside.
    """
    height, width = pixels.shape[:2]
    if min(height, width) < 3:
        return 0
    alone: int = 0
    for top in range(0, height - 2, _STRIP):
        rows = pixels[top : min(top + _STRIP, height - 2) + 2]
        alone += _alone(_grey8(rows))
    return int(1_000_000 * alone // ((height - 2) * (width - 2)))


def _grey8(pixels: NDArray[Any]) -> NDArray[np.int16]:
    levels = pixels >> 8 if pixels.dtype == np.uint16 else pixels
    grey = levels if levels.ndim == 2 else levels.sum(axis=2, dtype=np.int32) // 3
    return grey.astype(np.int16)


def _alone(grey: NDArray[np.int16]) -> int:
    """How many of the inner pixels of some rows stand alone."""
    height, width = grey.shape
    centre = grey[1:-1, 1:-1]
    around = [grey[dy : dy + height - 2, dx : dx + width - 2] for dy, dx in _AROUND]
    nearest = np.full_like(centre, 255)
    for neighbour in around:
        np.minimum(nearest, np.abs(neighbour - centre), out=nearest)
    far = nearest > _STEP
    # Few are left: only their neighbours are put in order.
    ordered = np.sort(np.stack([neighbour[far] for neighbour in around]), axis=0)
    return int(np.count_nonzero(nearest[far] > 2 * (ordered[6] - ordered[1])))
