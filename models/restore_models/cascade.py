"""Two programs one after the other: a picture restored as it came, enlarged, and restored again.

Networks for enlarged pictures know clean ones: they sharpen noise and the remains of compression. What takes
those away works best before enlarging, where a pixel of the file is a pixel of the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from restore_models.program import Program
from restore_models.resample import enlarge
from restore_models.restorer import Executor, Integers, Restored, restore_pixels

__all__ = ["Cascade"]


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
            watch: is told the interval of the last program, see `restore_pixels`.
        """
        if self.small is None:
            return restore_pixels(self.executor, self.enlarged(pixels), watch=watch)
        first = restore_pixels(self.small, pixels)
        found = restore_pixels(self.executor, self.enlarged(first.pixels), watch=watch)
        return replace(found, estimates=first.estimates)
