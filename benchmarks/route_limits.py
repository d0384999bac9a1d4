"""Where the limits of the route belong: what each way to restore gains, by damage and by what is seen.

    python benchmarks/route_limits.py --images DIR [--scale 1] [--most 8] [--grey] [--one-view]

The middle of each picture (clean, evenly chosen among those there are) is reduced where `--scale` enlarges,
gets Gaussian noise and JPEG compression as an 8-bit file holds them, or is blurred, or blurred and noisy, is
cut beside the grid of blocks, and is restored in every way that `restore_models.routing.shipped_rule`
chooses among: by the blind or the quiet model or by both in turn or by that for noise alone, or, enlarged,
by the model for the scale alone and after either of the two. Gains are in dB over what was shown, enlarged
bicubically where it is. With `--grey` all is done with the luma of the pictures, as it happens to files with
one channel, and the models for grey pictures are among the ways. With `--one-view` those that look at small
pictures in eight views, which takes eight times as long, are left out. Beside the shipped rule stand the
same with other limits, and the best way for every single picture, which no rule can beat. Prints one JSON
document.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from restore_models.cascade import Cascade
from restore_models.degradations import (
    FloatImage,
    blur_kernel,
    gaussian_noise,
    jpeg,
    quantise,
    reduce_bicubic,
)
from restore_models.evaluation_images import Image8, divisible, luma8, middle, read_images
from restore_models.evaluation_protocol import as_float, levels_like, quality
from restore_models.resample import FACTORS
from restore_models.restorer import TorchRunner, is_grey
from restore_models.routing import AnyRule, Choice, Rule, Seen, look, shipped_rule
from restore_models.zoo import open_model

NOISE = (0, 1, 2, 3, 5, 8, 12, 20)
QUALITY = (10, 40, 60, 80, 90, 95, None)
BLUR = (0.5, 0.8, 1.2, 2.0)
"""Sigma in pixels; without noise, and at the last two qualities."""
NOISY_BLUR = (2, 5, 12, 25, 50)
"""Noise of what is blurred as well."""
STRONG = (20_000, 25_000, 30_000, 35_000, 40_000, 46_000, 52_000)
"""Limits tried for strong noise, in thousandths of a level."""
LIMITS = (0, 500, 1000, 1500, 2000, 3000, 4000, 6000, 9000, 12_000, 20_000)
SOFT = (100, 250, 400, 600, 800, 1200, 10_000)
SOFT_AFTER = (350, 450, 500, 550, 600, 700, 900, 1200, 100_000)
PER_LEVEL = (0, 5, 10, 15, 20, 30)
_BESIDE = 3
"""Rows and columns that are cut off after compression."""

Ways = dict[Choice, Cascade]


@dataclass(frozen=True)
class Case:
    """One damaged picture: how, what was seen of it, and what each way gains, in dB."""

    noise: int
    quality: int | None
    blur: float
    seen: Seen
    gains: dict[Choice, float]


def rule_for(scale: int, *, grey: bool, one_view: bool = False) -> AnyRule:
    """The shipped rule without the models that are not for pictures of that kind."""
    rule = shipped_rule(scale)
    if not isinstance(rule, Rule):
        return rule
    if one_view:
        rule = replace(rule, alone_small=None, alone_strong_small=None)
        rule = replace(rule, for_grey_small=None, for_grey_compressed_small=None)
    if grey:
        return replace(rule, alone=None, alone_small=None, alone_strong=None, alone_strong_small=None)
    return rule.without_grey()


def ways(rule: AnyRule, scale: int, runners: dict[str, TorchRunner]) -> Ways:
    """All that a rule chooses among, of the models that there are."""
    if isinstance(rule, Rule):
        twice = Choice(rule.quiet, rule.noisy)
        both = (
            {} if rule.soft_after is None else {twice: Cascade(runners[rule.quiet], 1, runners[rule.noisy])}
        )
        return {**{Choice(name): Cascade(runner) for name, runner in runners.items()}, **both}
    last = runners[rule.enlarged]
    after = {Choice(rule.enlarged, name): Cascade(last, scale, runners[name]) for name in rule.small.models()}
    return {Choice(rule.enlarged): Cascade(last, scale), **after}


def damages() -> Iterator[tuple[int, int | None, float]]:
    """Noise, quality and blur."""
    yield from ((noise, coded, 0.0) for noise in NOISE for coded in QUALITY)
    yield from ((0, coded, blur) for blur in BLUR for coded in QUALITY[-2:])
    yield from ((noise, None, blur) for noise in NOISY_BLUR for blur in BLUR)
    yield from ((noise, None, 0.0) for noise in NOISY_BLUR[-2:])


def damaged(small: FloatImage, noise: int, coded: int | None, blur: float) -> FloatImage:
    """As an 8-bit file holds it, of a grey picture one with one channel."""
    rng = np.random.default_rng([1, noise])
    if blur:
        kernel = blur_kernel("gaussian", blur, rng)
        small = cv2.filter2D(small, -1, kernel, borderType=cv2.BORDER_REFLECT).astype(np.float32)
    noisy = quantise(gaussian_noise(small, noise, rng))
    if is_grey(small):
        noisy = np.repeat(noisy[:, :, :1], 3, axis=2)
    return noisy if coded is None else jpeg(noisy, coded)


def measure(
    clean: Image8, scale: int, rule: AnyRule, runners: dict[str, TorchRunner], all_ways: Ways
) -> Iterator[Case]:
    """All damage to one picture that can be divided by `scale`, (height, width[, 3])."""
    small = as_float(clean) if scale == 1 else quantise(reduce_bicubic(as_float(clean), scale))
    truth = clean[_BESIDE * scale :, _BESIDE * scale :]
    for noise, coded, blur in damages():
        if scale == 1 and not noise and not blur and coded is None:
            continue  # nothing is wrong, and PSNR has no end
        shown = np.ascontiguousarray(
            levels_like(damaged(small, noise, coded, blur), clean)[_BESIDE:, _BESIDE:]
        )
        gains = {}
        for way, cascade in all_ways.items():
            given = cascade.enlarged(shown)
            after, _, before, _ = quality(truth, cascade.restore(shown).pixels, given)
            gains[way] = after - before
        yield Case(noise, coded, blur, look(rule, runners, shown), gains)


def others(rule: AnyRule) -> dict[str, dict[str, AnyRule]]:
    """The rule with one of its limits moved, and both limits of what is clean."""
    if isinstance(rule, Rule):
        return {
            "by noise alone": {str(n): replace(rule, limit=n, compressed_limit=n) for n in LIMITS},
            "limit": {str(n): replace(rule, limit=n) for n in LIMITS},
            "compressed_limit": {str(n): replace(rule, compressed_limit=n) for n in LIMITS},
            "compressed_from": {str(n): replace(rule, compressed_from=n) for n in LIMITS},
            "alone_compression": {
                str(n): replace(rule, alone_compression=n) for n in (LIMITS if rule.alone is not None else ())
            },
            "alone_strong_from": {
                str(n): replace(rule, alone_strong_from=n)
                for n in (STRONG if rule.alone_strong is not None else ())
            },
            "for_grey_compressed_noise": {
                str(n): replace(rule, for_grey_compressed_noise=n)
                for n in (LIMITS if rule.for_grey_compressed is not None else ())
            },
            "for_grey_shown": {
                str(n): replace(rule, for_grey_shown=n)
                for n in (LIMITS if rule.for_grey_shown is not None else ())
            },
            "soft_after, soft_per_level": {
                f"{s}, {n}": replace(rule, soft_after=s, soft_per_level=n)
                for s in (SOFT_AFTER if rule.soft_after is not None else ())
                for n in PER_LEVEL
            },
        }
    small = others(rule.small)
    clean = {f"{n}, {c}": replace(rule, clean_noise=n, clean_compression=c) for n in LIMITS for c in LIMITS}
    moved = {
        f"small {name}": {n: replace(rule, small=one) for n, one in rules.items() if isinstance(one, Rule)}
        for name, rules in small.items()
    }
    soft = {f"{b}, {r}": replace(rule, clean_blur=b, clean_reduction=r) for b in SOFT for r in SOFT}
    return {"clean_noise, clean_compression": clean, "clean_blur, clean_reduction": soft, **moved}


def summary(cases: list[Case], rule: AnyRule) -> dict[str, Any]:
    """Means over all cases, and by damage."""

    def mean(these: list[Case], gain: Callable[[Case], float]) -> float:
        return round(float(np.mean([gain(case) for case in these])), 3)

    def by(one: AnyRule) -> Callable[[Case], float]:
        return lambda case: case.gains[one.choose(case.seen)]

    def alone(these: list[Case]) -> dict[str, float]:
        return {_named(way): mean(these, lambda case, way=way: case.gains[way]) for way in cases[0].gains}

    def row(noise: int, coded: int | None, blur: float, these: list[Case]) -> dict[str, Any]:
        return {
            "noise": noise,
            "quality": coded,
            "blur": blur,
            "noise_seen": float(np.median([case.seen.noise for case in these])) / 1000,
            "compression_seen": float(np.median([case.seen.compression for case in these])) / 1000,
            "blur_seen": float(np.median([case.seen.blur for case in these])) / 1000,
            "blur_seen_after": float(np.median([case.seen.blur_after for case in these])) / 1000,
            **alone(these),
            "rule": mean(these, by(rule)),
        }

    groups: dict[tuple[int, int | None, float], list[Case]] = {}
    for case in cases:
        groups.setdefault((case.noise, case.quality, case.blur), []).append(case)
    return {
        "cases": len(cases),
        "rule": mean(cases, by(rule)),
        "best each time": mean(cases, lambda case: max(case.gains.values())),
        "always": alone(cases),
        **{
            name: {n: mean(cases, by(one)) for n, one in rules.items()}
            for name, rules in others(rule).items()
        },
        "by damage": [row(*damage, these) for damage, these in groups.items()],
    }


def _named(way: Choice) -> str:
    return " then ".join(name for name in (way.small, way.model) if name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of clean photographs")
    parser.add_argument("--scale", type=int, choices=FACTORS, default=1)
    parser.add_argument("--most", type=int, default=8, help="how many of them")
    parser.add_argument("--grey", action="store_true", help="the luma of the photographs")
    parser.add_argument("--one-view", action="store_true", help="no models that look in eight views")
    parser.add_argument("--side", type=int, default=264, help="of the middle that is taken, in pixels")
    given = parser.parse_args()
    pictures = [image for _, image in read_images(given.images) if image.ndim == 3]
    pictures = [luma8(image) for image in pictures] if given.grey else pictures
    rule = rule_for(given.scale, grey=given.grey, one_view=given.one_view)
    runners = {name: TorchRunner(open_model(name, Path("none"))[1]) for name in rule.models()}
    all_ways = ways(rule, given.scale, runners)
    cases: list[Case] = []
    for clean in pictures[:: max(1, len(pictures) // given.most)][: given.most]:
        part = divisible(middle(clean, given.side), given.scale)
        cases += measure(part, given.scale, rule, runners, all_ways)
    print(json.dumps({"scale": given.scale, "grey": given.grey, **summary(cases, rule)}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
