"""Which of the shipped models restores an image: a rule on what the blind one sees in a sample of it.

One network for every kind of damage learns each less well than a network for that kind. So there is a second
one for images without noise (compressed, reduced, soft), or, where they are to be enlarged, one for that
scale, and the blind network's own estimate of the noise, in the image as it came, decides. The estimate is
made of whole numbers by an exact program: the decision is the same on every machine, is recorded, and is made
again by `verify`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore_models import zoo
from restore_models.restorer import Executor, restore_pixels

__all__ = ["ENLARGED_NOISE_LIMIT", "NOISE_LIMIT", "Rule", "noise_in_sample", "routed_models", "shipped_rule"]

NOISE_LIMIT = 2000
"""Noise (standard deviation in thousandths of an 8-bit level) from which on the blind model restores."""

ENLARGED_NOISE_LIMIT = 6000
"""The same where the image is to be enlarged. Small pictures look noisier than they are; and with up to 5
levels the networks for it were nearer to the truth than the blind one (Set5 and six pictures of Set14)."""

_SIDE = 128
"""Side of a tile of the sample in pixels."""
_ACROSS = 3
"""Tiles along a side of a large image."""
_LEVELS = 25
"""One unit of the estimate head's noise, in 8-bit levels: `degradations.Applied.targets`."""


@dataclass(frozen=True)
class Rule:
    """`quiet` restores an image with less noise than `limit`, `noisy` every other; ids of models."""

    noisy: str
    quiet: str
    limit: int = NOISE_LIMIT

    def choose(self, noise: int) -> str:
        """The model for an image with this much noise, in thousandths of a level."""
        return self.quiet if noise < self.limit else self.noisy


def shipped_rule(scale: int = 1) -> Rule:
    """The rule by which `restore run` chooses, no model being named, for images enlarged `scale` times."""
    if scale in zoo.ENLARGING_MODELS:
        return Rule(zoo.DEFAULT_MODEL, zoo.ENLARGING_MODELS[scale], ENLARGED_NOISE_LIMIT)
    return Rule(zoo.DEFAULT_MODEL, zoo.QUIET_MODEL)


def routed_models() -> list[str]:
    """The ids of all models that `restore run` chooses among."""
    return [zoo.DEFAULT_MODEL, zoo.QUIET_MODEL, *zoo.ENLARGING_MODELS.values()]


def noise_in_sample(executor: Executor, pixels: NDArray[Any]) -> int:
    """Median noise over up to nine tiles, spread evenly: its standard deviation in thousandths of a level.

    The median, so that a tile of fine texture or of black does not decide for the others.

    Args:
        executor: of a program whose estimate head says `noise_sigma`.
        pixels: uint8 or uint16, (height, width[, 3]), sRGB-encoded.
    """
    ordered = sorted(restore_pixels(executor, tile).estimates["noise_sigma"] for tile in _tiles(pixels))
    middle = len(ordered) // 2
    # Of an even number the lower of the two in the middle; each is a whole number of thousandths of a unit.
    return max(0, ordered[middle if len(ordered) % 2 else middle - 1]) * _LEVELS


def _tiles(pixels: NDArray[Any]) -> list[NDArray[Any]]:
    """Views of `pixels`: the whole of a small image, else tiles spread over it."""
    starts = [_starts(size) for size in pixels.shape[:2]]
    return [pixels[y : y + _SIDE, x : x + _SIDE] for y in starts[0] for x in starts[1]]


def _starts(size: int) -> list[int]:
    """Where tiles begin along one side."""
    count = min(_ACROSS, max(1, size // _SIDE))
    if count == 1:
        return [max(0, (size - _SIDE) // 2)]
    return [int(start) for start in (size - _SIDE) * np.arange(count) // (count - 1)]
