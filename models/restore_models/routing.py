"""Which of the shipped models restores an image: a rule on what the blind one sees in a sample of it.

One network for every kind of damage learns each less well than a network for that kind. So there is a second
one for images without noise (compressed, reduced, soft), others for noise and nothing else and for
grey images, which look at small images in eight views, and where an image is to be enlarged, one for
that scale. Those for enlarged images know clean and sharp ones: what is noisy, compressed or soft is restored
in its own size first, by one of the first two. The blind network's own estimates, in the image as it came,
decide: of the noise, and of the compression, because compressed texture looks like noise. Slight compression
of grey images it seldom sees; their coefficients tell it. What is soft, or was made small and large again,
the network for images without noise sees better; it is asked where an image is to be enlarged, or is grey and
has nothing else, and otherwise of what the blind one has restored: what is soft then, it restores once more.
The estimates are made of whole numbers by exact programs: the decision is the same on every machine, is
recorded, and is made again by `verify`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import median_low
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore_models import zoo
from restore_models.compression_grid import find_grid
from restore_models.resample import FACTORS
from restore_models.restorer import Executor, Restored, is_grey, restore_pixels
from restore_models.routing_rules import AnyRule, Choice, EnlargingRule, Rule, Seen

__all__ = [
    "ALONE_COMPRESSION",
    "ALONE_PIXELS",
    "CLEAN_BLUR",
    "CLEAN_COMPRESSION",
    "CLEAN_NOISE",
    "CLEAN_REDUCTION",
    "COMPRESSED_FROM",
    "COMPRESSED_LIMIT",
    "GREY_COMPRESSED_NOISE",
    "GREY_SHOWN",
    "GREY_SOFT",
    "NOISE_LIMIT",
    "SOFT_AFTER",
    "SOFT_PER_LEVEL",
    "SOFT_TILES",
    "STRONG_NOISE",
    "AnyRule",
    "Choice",
    "EnlargingRule",
    "Rule",
    "Seen",
    "blur_after_in",
    "by_detail",
    "look",
    "restored_sample",
    "routed_models",
    "seen_in",
    "shipped_rule",
    "shown_compression",
    "softness_in_sample",
]

NOISE_LIMIT = 1000
"""Noise (standard deviation in thousandths of an 8-bit level) from which on the blind model restores; what
has 2 levels in truth is mostly seen as more than 1."""

COMPRESSED_FROM = 15_000
"""Loss of JPEG quality, in thousandths of a point, from which on an image counts as compressed."""

COMPRESSED_LIMIT = 9000
"""`NOISE_LIMIT` for compressed images, whose remains of texture are seen as noise."""

SOFT_AFTER = 400
"""Blur, in thousandths of a pixel, from which on the model without noise restores again what the blind one
has restored: as it sees it in that."""

SOFT_PER_LEVEL = 15
"""By how much `SOFT_AFTER` is higher for each 8-bit level of noise: what was noisier is smoother after."""

SOFT_TILES: int | None = 2
"""How many tiles of the sample say how soft it is, those with the most detail; None: all (decision 23)."""

ALONE_COMPRESSION = 1000
"""Loss of JPEG quality, in thousandths of a point, from which on noise is not alone: see `Rule.alone`."""

ALONE_PIXELS = 500_000
"""How many pixels an image has at most that is restored in eight views: a frame of standard video, and parts
of larger pictures. More would take too long."""

STRONG_NOISE = 20_000
"""Noise, in thousandths of a level, from which on it has a network of its own (decisions 29 to 31)."""

GREY_SOFT = 600
"""Blur, in thousandths of a pixel, from which on the model without noise restores a grey image that has
neither noise nor compression: that for grey images learned little of blur."""

GREY_COMPRESSED_NOISE = 4000
"""Noise, in thousandths of a level, below which the model for compressed grey images restores one that has
lost at least `COMPRESSED_FROM`: the blind one sees less than there is in grey, and some in texture."""

GREY_SHOWN = 8000
"""Loss of JPEG quality, in thousandths of a point, from which on a grey image counts as compressed if its
coefficients show it: the blind one seldom sees in grey what was compressed by 80 and better. With 5 and less
faint noise that was compressed finely would go to the wrong model (decision 27)."""

CLEAN_NOISE = 2000
"""With less noise than this, and less compression than `CLEAN_COMPRESSION`, an image is enlarged as it is."""

CLEAN_COMPRESSION = 8000
"""As `COMPRESSED_FROM`: see `CLEAN_NOISE`."""

CLEAN_BLUR = 600
"""And with less blur than this, in thousandths of a pixel."""

CLEAN_REDUCTION = 250
"""And less reduction than this, in thousandths of a halving."""

_SIDE = 128
"""Side of a tile of the sample in pixels."""
_ACROSS = 3
"""Tiles along a side of a large image."""
_LEVELS = 25
"""One unit of the estimate head's noise, in 8-bit levels: `degradations.Applied.targets`."""
_POINTS = 50
"""One unit of the estimate head's compression, in points of JPEG quality: as above."""


def shipped_rule(scale: int = 1) -> AnyRule:
    """The rule by which `restore run` chooses, no model being named, for images to be enlarged `scale` times.

    Where there is no model for a scale, enlarged images are restored as others are.
    """
    rule = Rule(zoo.DEFAULT_MODEL, zoo.QUIET_MODEL, NOISE_LIMIT, COMPRESSED_FROM, COMPRESSED_LIMIT)
    if scale == 1:
        return replace(
            rule,
            soft_after=SOFT_AFTER,
            soft_per_level=SOFT_PER_LEVEL,
            soft_tiles=SOFT_TILES,
            alone=zoo.NOISE_MODEL,
            alone_compression=ALONE_COMPRESSION,
            alone_small=zoo.SMALL_NOISE_MODEL,
            alone_pixels=ALONE_PIXELS,
            alone_strong=zoo.STRONG_NOISE_MODEL,
            alone_strong_small=zoo.SMALL_STRONG_NOISE_MODEL,
            alone_strong_from=STRONG_NOISE,
            for_grey=zoo.GREY_MODEL,
            for_grey_small=zoo.SMALL_GREY_MODEL,
            for_grey_pixels=ALONE_PIXELS,
            for_grey_soft=GREY_SOFT,
            for_grey_compressed=zoo.GREY_JPEG_MODEL,
            for_grey_compressed_small=zoo.SMALL_GREY_JPEG_MODEL,
            for_grey_compressed_noise=GREY_COMPRESSED_NOISE,
            for_grey_shown=GREY_SHOWN,
        )
    if scale not in zoo.ENLARGING_MODELS:
        return rule
    limits = (CLEAN_NOISE, CLEAN_COMPRESSION, CLEAN_BLUR, CLEAN_REDUCTION)
    return EnlargingRule(rule, zoo.ENLARGING_MODELS[scale], *limits)


def routed_models() -> list[str]:
    """The ids of all models that `restore run` chooses among."""
    return list(dict.fromkeys(name for scale in FACTORS for name in shipped_rule(scale).models()))


def look(rule: AnyRule, executors: Mapping[str, Executor], pixels: NDArray[Any]) -> Seen:
    """All that a rule asks for of an image, uint8 or uint16, (height, width[, 3]), sRGB-encoded.

    Args:
        rule: what is to be decided.
        executors: of the models that look, by id.
        pixels: the image as it came.
    """
    sample = restored_sample(executors[rule.router], pixels)
    seen = seen_in(sample, pixels)
    if rule.asks_compression(seen):
        seen = replace(seen, shown_compression=shown_compression(pixels))
    if rule.softness is not None and rule.asks_blur(seen):
        blur, reduction = softness_in_sample(executors[rule.softness], pixels)
        return replace(seen, blur=blur, reduction=reduction)
    if isinstance(rule, Rule) and rule.softness is not None and rule.asks_blur_after(seen):
        blur = blur_after_in(sample, executors[rule.softness], rule.soft_tiles)
        return replace(seen, blur_after=blur)
    return seen


def restored_sample(executor: Executor, pixels: NDArray[Any]) -> list[Restored]:
    """Up to nine tiles, spread evenly, each restored as an image of its own.

    Args:
        executor: what runs the program.
        pixels: uint8 or uint16, (height, width[, 3]), sRGB-encoded.
    """
    return [restore_pixels(executor, tile) for tile in _tiles(pixels)]


def seen_in(sample: list[Restored], pixels: NDArray[Any]) -> Seen:
    """Median noise and compression, as the program that restored the sample of `pixels` says, size and grey.

    The median, so that a tile of fine texture or of black does not decide for the others.
    """
    noise, compression = _medians(sample, "noise_sigma", "jpeg_loss")
    grey = is_grey(pixels)
    size = pixels.shape[0] * pixels.shape[1]
    return Seen(noise * _LEVELS, compression * _POINTS, pixels=size, grey=grey)


def shown_compression(pixels: NDArray[Any]) -> int:
    """`Seen.shown_compression` of an image; 0 where none is found, see `compression_grid.find_grid`."""
    grid = find_grid(pixels)
    return 0 if grid is None else 1000 * (100 - grid.quality)


def softness_in_sample(executor: Executor, pixels: NDArray[Any]) -> tuple[int, int]:
    """Median blur and reduction, as in `Seen`, over the same tiles by a program whose head says both."""
    blur, reduction = _medians(restored_sample(executor, pixels), "blur_sigma", "scale_log2")
    return blur, reduction


def blur_after_in(sample: list[Restored], quiet: Executor, tiles: int | None = None) -> int:
    """Median blur of a restored sample, as `quiet` sees it: `Seen.blur_after`. Of `tiles` only, those with
    the most detail; None: of all."""
    asked = by_detail(sample)[:tiles]
    return _medians([restore_pixels(quiet, tile.pixels) for tile in asked], "blur_sigma")[0]


def by_detail(sample: list[Restored]) -> list[Restored]:
    """A sample in another order: the tiles with the most detail first, of equal ones the first."""
    return sorted(sample, key=lambda tile: -_detail(tile.pixels))


def _detail(pixels: NDArray[Any]) -> int:
    """Sum of the squared differences between neighbours, the channels of a pixel added up."""
    levels = pixels.astype(np.int64).reshape(*pixels.shape[:2], -1).sum(axis=2)
    return sum(int(np.square(np.diff(levels, axis=axis)).sum()) for axis in (0, 1))


def _medians(sample: list[Restored], *names: str) -> list[int]:
    """Of an even number of tiles the lower of the two values in the middle: one that was said."""
    return [max(0, median_low([tile.estimates[name] for tile in sample])) for name in names]


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
