"""Two programs one after the other: a picture restored as it came, enlarged, and restored again.

Networks for enlarged pictures know clean ones: they sharpen noise and the remains of compression. What takes
those away works best before enlarging, where a pixel of the file is a pixel of the picture. The second knows
nothing of the errors of the first, so that its interval is widened by that of the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore_models.program import Program
from restore_models.resample import enlarge
from restore_models.restorer import Executor, Integers, Restored, interval_unit, restore_pixels

__all__ = ["Cascade", "EarlierInterval"]

_MOST = 1 << 24
"""What a value of an interval is cut at, see `restore_pixels`."""


class EarlierInterval:
    """The interval that a program states for a small picture, to widen that of the enlarged one by."""

    def __init__(self, program: Program, height: int, width: int) -> None:
        """Of `program`, for a picture of that size before it is enlarged."""
        self._unit = interval_unit(program)
        self._values = np.zeros((6, height, width), np.int32)

    def keep(self, rows: slice, columns: slice, interval: Integers) -> None:
        """What `restore_pixels` wants as `watch`, for the small picture."""
        self._values[:, rows, columns] = interval

    def enlarged(self, program: Program, scale: int) -> Callable[[slice, slice], Integers]:
        """What `restore_pixels` wants as `added`, for the picture that `program` restores, `scale` times as
        large: each value in every pixel that was made of one, rounded up to that program's unit."""
        unit = interval_unit(program)

        def added(rows: slice, columns: slice) -> Integers:
            y, x = (np.arange(part.start, part.stop) // scale for part in (rows, columns))
            values = self._values[:, y[:, None], x[None, :]].astype(np.int64)
            return np.minimum(-(-values * unit // self._unit), _MOST).astype(np.int32)

        return added


@dataclass(frozen=True)
class Cascade:
    """What restores one picture: `executor` in its final size, `scale` times the size that it came in, and
    before that `small`, if there is one, in that size. With the scale 1 and no `small`, one program alone."""

    executor: Executor
    scale: int = 1
    small: Executor | None = None

    @property
    def program(self) -> Program:
        """The program that makes the result."""
        return self.executor.program

    def enlarged(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """`pixels` in the size of the result."""
        return pixels if self.scale == 1 else enlarge(pixels, self.scale)

    def restore(
        self, pixels: NDArray[Any], watch: Callable[[slice, slice, Integers], None] | None = None
    ) -> Restored:
        """The result, whose `estimates` are those of the first program: it has seen the picture as it came.

        Args:
            pixels: uint8 or uint16, (height, width[, 3]), sRGB-encoded.
            watch: is told the interval, of both programs together, see `restore_pixels`.
        """
        if self.small is None:
            return restore_pixels(self.executor, self.enlarged(pixels), watch=watch)
        earlier = EarlierInterval(self.small.program, *pixels.shape[:2])
        first = restore_pixels(self.small, pixels, watch=earlier.keep)
        found = restore_pixels(
            self.executor,
            self.enlarged(first.pixels),
            added=earlier.enlarged(self.program, self.scale),
            watch=watch,
        )
        return replace(found, estimates=first.estimates)
