"""Training images: photographs from a folder and pages rendered here, as seeded patches."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from restore_manifests.errors import UsageError
from restore_models.degradation_kinds import check_available, degrade
from restore_models.degradations import FloatImage, jpeg, quantise
from restore_models.fonts import Font, FontSource, find_fonts
from restore_models.rendered_text import TextKind, render_text
from restore_models.shared_pictures import SharedPictures

__all__ = [
    "Batch",
    "PageKind",
    "PatchSource",
    "as_film",
    "as_grey",
    "as_scanned",
    "detail",
    "held_out",
    "load_photographs",
    "other_tones",
    "render_page",
]

PageKind = Literal[TextKind, "letters"]
"""What is rendered: letters at random, or text as it stands on paper, plates and signs."""

_EXTENSIONS = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"}
_MARGIN = 16
"""Pixels round a patch that take part in its degradation and are then cut off: on the grids of compression,
whose blocks are 8 or, of chroma at half the resolution, 16 pixels wide."""
_GRID = 16
_SHRINK = 3.0
"""How many times a place in a photograph is shrunk at most."""


_GREY_FILES = 0.75
"""The share of grey patches whose damage is grey, too."""


@dataclass(frozen=True, slots=True)
class Batch:
    """`clean` and `degraded`: (batch, 3, size, size) float32 in [0, 1] nominally; `estimates`: (batch, 4)."""

    clean: NDArray[np.float32]
    degraded: NDArray[np.float32]
    estimates: NDArray[np.float32]

    def part(self, number: int, parts: int) -> Batch:
        """Each `parts`-th patch, from `number` on."""
        chosen = slice(number, None, parts)
        return Batch(self.clean[chosen], self.degraded[chosen], self.estimates[chosen])


def held_out(path: Path) -> bool:
    """Whether a photograph is kept from training, for validation and calibration: one in sixteen, by name."""
    return hashlib.sha256(path.name.encode()).digest()[0] < 16


def load_photographs(folder: Path, *, validation: bool) -> list[NDArray[np.uint8]]:
    """The photographs below `folder`, uint8 RGB: those held out, or all others.

    Raises:
        UsageError: if there is none.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _EXTENSIONS)
    images: list[NDArray[np.uint8]] = []
    for path in found:
        if held_out(path) != validation:
            continue
        decoded = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        if decoded is not None and min(decoded.shape[:2]) >= 64 + 2 * _MARGIN:
            images.append(np.ascontiguousarray(decoded[:, :, ::-1]).astype(np.uint8, copy=False))
    if not images:
        part = "held-out " if validation else ""
        raise UsageError(
            f"No {part}training image was found in {folder}.",
            hint="Name a folder of PNG, JPEG, TIFF or WebP images of at least 96x96 pixels with --data.",
        )
    return images


def render_page(rng: np.random.Generator, size: int = 384) -> NDArray[np.uint8]:
    """A rendered page, label or sign: random letters in random sizes on a light or dark ground, uint8 RGB."""
    ground = rng.integers(150, 256, 3) if rng.random() < 0.8 else rng.integers(0, 110, 3)
    ink = rng.integers(0, 90, 3) if ground.mean() > 128 else rng.integers(170, 256, 3)
    page = Image.new("RGB", (size, size), tuple(int(v) for v in ground))
    draw = ImageDraw.Draw(page)
    letters = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.,:;-()&/ "))
    y = 4
    while y < size:
        height = int(rng.choice([9, 10, 11, 12, 13, 14, 16, 20, 28, 44, 64]))
        text = "".join(rng.choice(letters, int(2.2 * size / height) + 2))
        font = ImageFont.load_default(size=height)
        draw.text((int(rng.integers(-8, 8)), y), text, font=font, fill=tuple(int(v) for v in ink))
        y += int(height * 1.35) + int(rng.integers(0, 5))
        if rng.random() < 0.12:
            draw.line([(0, y), (size, y)], fill=tuple(int(v) for v in ink), width=int(rng.integers(1, 4)))
            y += 6
    return np.asarray(page)


class PatchSource:
    """Patches by step number: the same seed and step give the same batch on every machine and run."""

    def __init__(
        self,
        photographs: list[NDArray[np.uint8]],
        *,
        seed: int,
        shares: dict[str, float],
        page_share: float,
        grey_share: float,
        detail_choices: int = 1,
        page_kinds: dict[PageKind, float] | None = None,
        fonts: FontSource = "built_in",
        cropped_share: float = 0.0,
        shrunk_share: float = 0.0,
        grey: bool = False,
        tone_share: float = 0.0,
        scan_share: float = 0.0,
        film_share: float = 0.0,
    ) -> None:
        check_available(shares)
        self._seed = seed
        self._shares = shares
        self._page_share = page_share
        self._grey = grey
        self._grey_share = 1.0 if grey else grey_share
        self._detail_choices = detail_choices
        self._cropped_share = cropped_share
        self._shrunk_share = shrunk_share
        self._tone_share = tone_share
        self._scan_share = scan_share
        self._film_share = film_share
        self._photographs: Sequence[NDArray[np.uint8]] = photographs
        areas = np.array([image.shape[0] * image.shape[1] for image in photographs], dtype=np.float64)
        # The square root: large photographs count more, but do not crowd out the small ones.
        self._weights = np.sqrt(areas) / np.sqrt(areas).sum()
        kinds = page_kinds or {"letters": 1.0}
        self.fonts: list[Font] = find_fonts(fonts) if page_share and set(kinds) != {"letters"} else []
        """What documents, receipts, plates and signs are set in; letters always in Pillow's own."""
        self._pages: Sequence[NDArray[np.uint8]] = (
            [self._page(kinds, number) for number in range(96)] if page_share else []
        )

    def shared(self) -> PatchSource:
        """The same patches, for processes of their own: its pictures in memory that they share."""
        other = copy.copy(self)
        other._photographs = SharedPictures(self._photographs)
        other._pages = SharedPictures(self._pages)
        return other

    def _page(self, kinds: dict[PageKind, float], number: int) -> NDArray[np.uint8]:
        names = sorted(kinds)
        weights = np.array([kinds[name] for name in names], dtype=np.float64)
        # Drawn apart from what is on it: letters are the same pages whatever else is rendered.
        chosen = np.random.default_rng([self._seed, 8, number]).choice(len(names), p=weights / weights.sum())
        rng = np.random.default_rng([self._seed, 7, number])
        kind = names[int(chosen)]
        return render_page(rng) if kind == "letters" else render_text(kind, rng, self.fonts)

    def batch(self, step: int, count: int, size: int) -> Batch:
        """The batch of one step: `count` patches of `size` pixels square."""
        return self.patches(step, range(count), size)

    def patches(self, step: int, numbers: range, size: int) -> Batch:
        """Those of one step's patches that have these `numbers`."""
        clean = np.empty((len(numbers), 3, size, size), np.float32)
        degraded = np.empty_like(clean)
        estimates = np.empty((len(numbers), 4), np.float32)
        for index, number in enumerate(numbers):
            rng = np.random.default_rng([self._seed, step, number])
            down, right = self._crop_after(step, number)
            look = np.random.default_rng([self._seed, step, number, 11])
            patch = self._patch(rng, look, size + 2 * _MARGIN + max(down, right))
            worse, applied = degrade(patch, rng, self._shares, grey=self._grey)
            worse = worse if self._grey else self._as_stored(patch, worse, step, number)
            top, left = _MARGIN + down, _MARGIN + right
            inner = (slice(top, top + size), slice(left, left + size))
            clean[index] = patch[inner].transpose(2, 0, 1)
            degraded[index] = worse[inner].transpose(2, 0, 1)
            estimates[index] = applied.targets()
        return Batch(clean, degraded, estimates)

    def _as_stored(self, patch: FloatImage, worse: FloatImage, step: int, number: int) -> FloatImage:
        """A damaged patch as a file holds it: what is grey mostly has one channel, and one noise in all three
        channels of the patch. Drawn apart from all else about it."""
        if (patch != patch[:, :, :1]).any():
            return worse
        if np.random.default_rng([self._seed, step, number, 10]).random() >= _GREY_FILES:
            return worse
        return np.repeat(worse[:, :, 1:2], 3, axis=2)

    def _crop_after(self, step: int, number: int) -> tuple[int, int]:
        """How far beside the grids of compression a patch begins; drawn apart from all else about it."""
        rng = np.random.default_rng([self._seed, step, number, 9])
        if rng.random() >= self._cropped_share:
            return 0, 0
        down, right = divmod(int(rng.integers(1, _GRID**2)), _GRID)
        return down, right

    def _patch(self, rng: np.random.Generator, look: np.random.Generator, side: int) -> FloatImage:
        if self._pages and rng.random() < self._page_share:
            patch = _crop(self._pages[int(rng.integers(len(self._pages)))], rng, side)
        else:
            patch = max((self._photograph_crop(rng, side) for _ in range(self._detail_choices)), key=detail)
        turn = int(rng.integers(8))
        patch = np.rot90(patch, turn % 4)
        if turn >= 4:
            patch = patch[:, ::-1]
        result = np.ascontiguousarray(patch).astype(np.float32) / np.float32(255.0)
        if look.random() < self._tone_share:
            result = other_tones(result, look)
        if look.random() < self._scan_share:
            result = as_scanned(result, look)
        elif look.random() < self._film_share:
            result = as_film(result, look)
        return as_grey(result) if rng.random() < self._grey_share else result

    def _photograph_crop(self, rng: np.random.Generator, side: int) -> NDArray[np.uint8]:
        image = self._photographs[int(rng.choice(len(self._photographs), p=self._weights))]
        if not self._shrunk_share or rng.random() >= self._shrunk_share:
            return _crop(image, rng, side)
        large = _crop(image, rng, int(side * rng.uniform(1, _SHRINK)))
        small = cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA)
        return small.astype(np.uint8, copy=False)


def other_tones(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """The same picture as if exposed, coloured and developed otherwise; (height, width, 3) RGB in [0, 1].

    Its channels in any order, more or less saturated, each through a curve of its own, and in a part of the
    range. Nothing becomes more than twice as steep, so that the steps of 8 bits stay small.
    """
    image = image[:, :, rng.permutation(3)]
    grey = image.mean(axis=2, keepdims=True)
    image = grey + np.float32(rng.uniform(0.3, 1.2)) * (image - grey)
    bend = (rng.uniform(-0.5, 0.5) + rng.uniform(-0.2, 0.2, 3)).astype(np.float32)
    image = np.clip(image, 0.0, 1.0)
    image = image + bend * image * (1.0 - image)
    low, high = np.float32(rng.uniform(0.0, 0.1)), np.float32(rng.uniform(0.75, 1.0))
    return np.ascontiguousarray(low + (high - low) * image, dtype=np.float32)


def as_scanned(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """The same picture as if scanned from film and kept as JPEG: a little soft, with grain.

    (height, width, 3) RGB in [0, 1]. Photographs that were made small are sharper and cleaner than most.
    """
    return jpeg(as_film(image, rng), int(rng.integers(75, 97)))


def as_film(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """As `as_scanned`, but not compressed: for networks that learn to undo compression."""
    soft = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.8))
    grain = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(0.0, 2.0) / 255.0)
    return quantise(soft + cv2.GaussianBlur(grain, (0, 0), 0.6))


def as_grey(image: FloatImage) -> FloatImage:
    """The luma of BT.601 in all three channels; (height, width, 3) RGB in [0, 1]."""
    grey = image @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.repeat(grey[:, :, None], 3, axis=2)


def detail(image: NDArray[np.uint8]) -> float:
    """How much is in a picture: mean absolute difference of neighbours in the green channel, in levels."""
    green = image[:, :, 1].astype(np.int16)
    return float(np.abs(np.diff(green, axis=0)).mean() + np.abs(np.diff(green, axis=1)).mean())


def _crop(image: NDArray[np.uint8], rng: np.random.Generator, side: int) -> NDArray[np.uint8]:
    """A square anywhere in the image, which is mirrored outward where it is too small."""
    height, width = image.shape[:2]
    if min(height, width) < side:
        image = np.pad(
            image, ((0, max(0, side - height)), (0, max(0, side - width)), (0, 0)), mode="symmetric"
        )
        height, width = image.shape[:2]
    y = int(rng.integers(height - side + 1))
    x = int(rng.integers(width - side + 1))
    return image[y : y + side, x : x + side]
