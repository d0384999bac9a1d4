"""Which tiles of a noisy picture should say that it is soft, and from what blur on.

    python benchmarks/softness_limits.py --images DIR [--seed 0] [--rounds 1] [--most 150]

A part of each picture, drawn by chance, gets Gaussian noise of 3 to 50 levels, half of them after a blur of
0.5 to 3 pixels, as an 8-bit file holds it, and is restored by the model for noise alone and by the blind and
the quiet model in turn. The rule of `restore_models.routing` chooses between the two by the blur that the
quiet model sees in what the blind one has restored: in all tiles of the sample, or in those with the most
detail. Says for each number of tiles and each limit what the chosen way gains on average, in dB, and for the
shipped rule the same for sharp and for blurred pictures. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median_low
from typing import Any

import cv2
import numpy as np

from restore_models.cascade import Cascade
from restore_models.degradations import blur_kernel, gaussian_noise, quantise
from restore_models.evaluation_images import Image8, read_images
from restore_models.evaluation_protocol import as_float, levels_like, quality
from restore_models.restorer import Executor, TorchRunner, restore_pixels
from restore_models.routing import Choice, Rule, Seen, by_detail, restored_sample, seen_in, shipped_rule
from restore_models.zoo import NOISE_MODEL, open_model

TILES = (None, 1, 2, 3, 4, 5)
"""How many are asked; None: all."""
SOFT_AFTER = (200, 250, 300, 350, 400, 450, 500, 550, 600, 700)
PER_LEVEL = (0, 5, 10, 15, 20, 25, 30, 40)
_SIZE = (288, 416)
"""Height and width of the part, in pixels: about those of the pictures in CBSD68."""


@dataclass(frozen=True)
class Case:
    """One damaged picture."""

    blur: float
    """Standard deviation in pixels; 0: sharp."""
    seen: dict[int | None, Seen]
    """By the number of tiles that were asked."""
    alone: float
    """What the model for noise alone gains, in dB."""
    twice: float
    """What both others in turn gain."""

    def gain(self, rule: Rule) -> float:
        """What the way gains that a rule chooses between the two."""
        choice = rule.choose(self.seen[rule.soft_tiles])
        return self.twice if choice == Choice(rule.quiet, rule.noisy) else self.alone


def drawn_part(image: Image8, rng: np.random.Generator) -> Image8:
    """A part of a picture that is not larger than `_SIZE`."""
    height, width = (min(size, most) for size, most in zip(image.shape[:2], _SIZE, strict=True))
    top = int(rng.integers(0, image.shape[0] - height + 1))
    left = int(rng.integers(0, image.shape[1] - width + 1))
    return np.ascontiguousarray(image[top : top + height, left : left + width])


def damaged(clean: Image8, rng: np.random.Generator) -> tuple[Image8, float]:
    """A noisy form of a picture, and how much it was blurred before."""
    noise = float(np.exp(rng.uniform(np.log(3), np.log(50))))
    image, blur = as_float(clean), 0.0
    if rng.random() < 0.5:
        kind = ("gaussian", "gaussian", "defocus", "motion")[int(rng.integers(4))]
        blur = float(np.exp(rng.uniform(np.log(0.5), np.log(3))))
        kernel = blur_kernel(kind, blur, rng)
        image = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT).astype(np.float32)
    return levels_like(quantise(gaussian_noise(image, noise, rng)), clean), blur


def measure(clean: Image8, shown: Image8, blur: float, rule: Rule, runners: dict[str, Executor]) -> Case:
    """What is seen of a picture, and what both ways gain."""
    sample = restored_sample(runners[rule.noisy], shown)
    seen = seen_in(sample, shown)
    soft = [restore_pixels(runners[rule.quiet], tile.pixels) for tile in by_detail(sample)]
    blurs = [tile.estimates["blur_sigma"] for tile in soft]
    by_tiles = {tiles: replace(seen, blur_after=max(0, median_low(blurs[:tiles]))) for tiles in TILES}
    ways = (Cascade(runners[NOISE_MODEL]), Cascade(runners[rule.quiet], 1, runners[rule.noisy]))
    gains = []
    for way in ways:
        after, _, before, _ = quality(clean, way.restore(shown).pixels, shown)
        gains.append(after - before)
    return Case(blur, by_tiles, *gains)


def summary(cases: Sequence[Case], rule: Rule) -> dict[str, Any]:
    """Means over all pictures."""

    def mean(values: list[float]) -> float:
        return round(float(np.mean(values)), 3)

    def by_rule(these: Sequence[Case]) -> dict[str, Any]:
        if not these:
            return {"pictures": 0}
        return {
            "pictures": len(these),
            "rule": mean([case.gain(rule) for case in these]),
            "better of both each time": mean([max(case.alone, case.twice) for case in these]),
            "noise alone": mean([case.alone for case in these]),
            "blind then quiet": mean([case.twice for case in these]),
        }

    return {
        **by_rule(cases),
        "sharp": by_rule([case for case in cases if not case.blur]),
        "blurred": by_rule([case for case in cases if case.blur]),
        "tiles": {
            "all" if tiles is None else str(tiles): {
                f"{soft}, {level}": mean(
                    [
                        case.gain(replace(rule, soft_tiles=tiles, soft_after=soft, soft_per_level=level))
                        for case in cases
                    ]
                )
                for soft in SOFT_AFTER
                for level in PER_LEVEL
            }
            for tiles in TILES
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of clean photographs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=1, help="how often each photograph is drawn")
    parser.add_argument("--most", type=int, default=150, help="how many of them")
    given = parser.parse_args()
    pictures = [image for _, image in read_images(given.images) if image.ndim == 3]
    shipped = shipped_rule()
    assert isinstance(shipped, Rule)  # noqa: S101 -- one for pictures in their size
    rule = shipped.without_grey()
    runners: dict[str, Executor] = {
        name: TorchRunner(open_model(name, Path("none"))[1]) for name in (rule.noisy, rule.quiet, NOISE_MODEL)
    }
    cases = []
    for number in range(given.rounds):
        for index, image in enumerate(pictures[:: max(1, len(pictures) // given.most)][: given.most]):
            rng = np.random.default_rng([7, given.seed + number, index])
            clean = drawn_part(image, rng)
            cases.append(measure(clean, *damaged(clean, rng), rule, runners))
    print(json.dumps(summary(cases, rule), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
