"""Two programs one after the other: a picture restored as it came, enlarged or not, and restored again.

Networks for enlarged pictures know clean ones: they sharpen noise and the remains of compression. What takes
those away works best before enlarging, where a pixel of the file is a pixel of the picture. And what is soft
and noisy is sharpened best by a network that knows no noise, once another has taken that away. The second
knows nothing of the errors of the first, so that its interval is widened by that of the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore_models.program import Program, made_for_scale
from restore_models.resample import enlarge
from restore_models.restorer import Executor, Integers, Restored, interval_unit, restore_pixels

__all__ = ["Cascade", "EarlierInterval", "estimate_errors", "estimates_of_both"]

_MOST = 1 << 24
"""What a value of an interval is cut at, see `restore_pixels`."""


_SEEN_BY_SECOND = ("blur_sigma", "scale_log2")
"""Of the estimates, those that are the second program's where nothing is enlarged."""


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


def estimates_of_both(first: Mapping[str, int], second: Mapping[str, int], scale: int) -> dict[str, int]:
    """What is said of a picture that two programs restored, by what each of them said, see `Restored`.

    The first has seen it as it came. In one size the second, which sees it without its noise, knows better
    how soft it was; what was enlarged is soft from that.
    """
    return {**first, **({name: second[name] for name in _SEEN_BY_SECOND} if scale == 1 else {})}


def estimate_errors(programs: Sequence[Program]) -> dict[str, Any]:
    """How far off the estimates of a picture are: `estimate_error` in the notes of the one or two programs
    that restored it, in their order; each is of the program whose estimate it is, see `estimates_of_both`."""
    first, last = (program.notes.get("estimate_error", {}) for program in (programs[0], programs[-1]))
    if made_for_scale(programs[-1]) is not None:
        return dict(first)
    return {**first, **{name: last[name] for name in _SEEN_BY_SECOND if name in last}}


@dataclass(frozen=True)
class Cascade:
    """What restores one picture: `executor` in its final size, `scale` times the size that it came in, and
    before that `small`, if there is one, in that size. With the scale 1 and no `small`, one program alone."""

    executor: Executor
    scale: int = 1
    small: Executor | None = None

    def programs(self) -> list[Program]:
        """The one or two, in their order."""
        return [one.program for one in (self.small, self.executor) if one is not None]

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
        """The result, whose `estimates` are those `estimates_of_both`.

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
        return replace(found, estimates=estimates_of_both(first.estimates, found.estimates, self.scale))
