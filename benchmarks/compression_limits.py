"""How near results should be brought to what the compression of their source says, and when not at all.

    python benchmarks/compression_limits.py --images DIR [--grey] [--model ID] [--most 24]

The middle of each picture (192 pixels, in colour or its luma) is compressed: once, by qualities from 10 to
95, or twice, or after noise or blur. It is restored by one model, and the result is brought to agree with the
compression that the source shows (`restore_models.compression_constraint`) by several limits. Says for each
kind of damage in how many pictures the compression was found, what the model gains on average, in dB, and
what the agreement adds to that, by the limits and by the share of coefficients outside up to which it is
made; and the worst that the shipped limits do to a picture. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from restore_models.compression_constraint import Limits, agreeing
from restore_models.compression_grid import find_grid
from restore_models.degradations import FloatImage, blur_kernel, gaussian_noise, jpeg, quantise
from restore_models.evaluation_images import Image8, luma8, read_images
from restore_models.evaluation_protocol import as_float, levels_like, quality
from restore_models.restorer import Executor, TorchRunner, is_grey, restore_pixels
from restore_models.zoo import GREY_MODEL, QUIET_MODEL, open_model

TRIED = (
    *(Limits(reach=reach) for reach in (16, 20, 24, 28, 32)),
    *(Limits(half=half) for half in (0, 6, 24)),
    *(Limits(least=least) for least in (2, 6, 16)),
)
"""But for `most_outside`, which `OUTSIDE` has."""
OUTSIDE = (20, 50, 80, 100, 150, 200, 1000)
"""Of the coefficients outside, in thousandths."""
_SIDE = 192

Damage = Callable[[FloatImage, np.random.Generator], FloatImage]


def _twice(first: int, second: int, shift: int = 0) -> Damage:
    """Compressed twice, on grids that are so many pixels apart each way."""

    def damaged(image: FloatImage, _rng: np.random.Generator) -> FloatImage:
        once = np.roll(jpeg(np.roll(image, (shift, shift), (0, 1)), first), (-shift, -shift), (0, 1))
        return jpeg(once, second)

    return damaged


def _noisy(sigma: float, quality: int) -> Damage:
    def damaged(image: FloatImage, rng: np.random.Generator) -> FloatImage:
        noisy = gaussian_noise(image, sigma, rng)
        if is_grey(image):
            noisy = np.repeat(noisy[:, :, :1], 3, axis=2)
        return jpeg(quantise(noisy), quality)

    return damaged


def _soft(sigma: float, quality: int) -> Damage:
    def damaged(image: FloatImage, rng: np.random.Generator) -> FloatImage:
        kernel = blur_kernel("gaussian", sigma, rng)
        return jpeg(cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT), quality)

    return damaged


KINDS: dict[str, Damage] = {
    **{f"quality {q}": lambda image, _rng, q=q: jpeg(image, q) for q in (10, 20, 30, 40, 60, 75, 85, 90, 95)},
    **{f"quality {one}, then {two}": _twice(one, two) for one, two in ((40, 80), (75, 90), (80, 60))},
    **{f"quality {one}, cropped, then {two}": _twice(one, two, 3) for one, two in ((40, 80), (80, 60))},
    **{f"noise of {s}, then quality {q}": _noisy(s, q) for s in (1, 2, 4, 8) for q in (40, 75, 90)},
    **{f"blur of {s}, then quality 80": _soft(s, 80) for s in (0.8, 1.5)},
}


@dataclass(frozen=True)
class Case:
    """One damaged picture whose compression was found."""

    gain: float
    """Of the model, in dB."""
    outside: int
    """Coefficients that are not zero and lie outside, in thousandths."""
    added: tuple[float, ...]
    """What the agreement adds, in dB, by `TRIED`."""


def measure(clean: Image8, shown: Image8, executor: Executor) -> Case | None:
    """What is gained on one picture; None if it shows no compression."""
    grid = find_grid(shown)
    if grid is None:
        return None
    restored = restore_pixels(executor, shown).pixels
    before, _, without, _ = quality(clean, restored, shown)
    made = [agreeing(shown, restored, grid, replace(limits, most_outside=1000)) for limits in TRIED]
    added = tuple(quality(clean, one.pixels, shown)[0] - before for one in made)
    return Case(before - without, made[0].outside, added)


def summary(cases: Sequence[Case], pictures: int) -> dict[str, Any]:
    """Means over the pictures of one kind of damage in which the compression was found."""
    if not cases:
        return {"pictures": pictures, "found": 0}

    def added(limits: Limits, most: int) -> list[float]:
        at = TRIED.index(limits)
        return [case.added[at] if case.outside <= most else 0.0 for case in cases]

    usual = Limits()
    shipped = added(usual, usual.most_outside)
    return {
        "pictures": pictures,
        "found": len(cases),
        "gain": round(float(np.mean([case.gain for case in cases])), 3),
        "outside": sorted(case.outside for case in cases)[len(cases) // 2],
        "agreeing": sum(case.outside <= usual.most_outside for case in cases),
        "added": round(float(np.mean(shipped)), 4),
        "worst": round(min(shipped), 3),
        "by limits": {
            f"{one.reach}/64, half {one.half}, least {one.least}, {most}": round(
                float(np.mean(added(one, most))), 4
            )
            for one in TRIED
            for most in OUTSIDE
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of clean photographs")
    parser.add_argument("--grey", action="store_true", help="take their luma")
    parser.add_argument("--model", help="id; else the one for pictures without noise, or for grey ones")
    parser.add_argument("--most", type=int, default=24, help="how many of them")
    given = parser.parse_args()
    pictures = [image for _, image in read_images(given.images)]
    pictures = [luma8(image) for image in pictures] if given.grey else [p for p in pictures if p.ndim == 3]
    pictures = pictures[:: max(1, len(pictures) // given.most)][: given.most]
    name = given.model or (GREY_MODEL if given.grey else QUIET_MODEL)
    executor = TorchRunner(open_model(name, Path("none"))[1])
    found = {}
    for kind, damage in KINDS.items():
        cases = []
        for index, image in enumerate(pictures):
            top, left = (max(0, (size - _SIDE) // 16 * 8) for size in image.shape[:2])
            clean = np.ascontiguousarray(image[top : top + _SIDE, left : left + _SIDE])
            damaged = damage(as_float(clean), np.random.default_rng([13, index]))
            cases.append(measure(clean, levels_like(damaged, clean), executor))
        found[kind] = summary([case for case in cases if case is not None], len(cases))
        print(kind, found[kind].get("added"), file=sys.stderr, flush=True)
    print(json.dumps({"model": name, "kinds": found}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
