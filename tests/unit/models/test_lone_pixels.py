"""Pixels that stand alone: counted as defined, whatever the size, and many where impulses are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from restore_models.lone_pixels import lone_pixels


def _by_definition(grey: NDArray[np.int64]) -> int:
    height, width = grey.shape
    alone = 0
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            around = grey[y - 1 : y + 2, x - 1 : x + 2].ravel()
            others = sorted(int(v) for v in np.delete(around, 4))
            nearest = min(abs(v - int(around[4])) for v in others)
            alone += nearest > 24 and nearest > 2 * (others[6] - others[1])
    return 1_000_000 * alone // ((height - 2) * (width - 2))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    height=st.integers(3, 12),
    width=st.integers(3, 12),
    spread=st.integers(1, 255),
    colour=st.booleans(),
)
def test_counts_what_it_says(seed: int, height: int, width: int, spread: int, colour: bool) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, spread + 1, (height, width, 3) if colour else (height, width)).astype(np.uint8)
    pixels[rng.random((height, width)) < 0.1] = 255
    grey = pixels.astype(np.int64)
    assert lone_pixels(pixels) == _by_definition(grey.sum(axis=2) // 3 if colour else grey)
    assert lone_pixels(pixels.astype(np.uint16) << 8) == lone_pixels(pixels)


def test_strips_do_not_show() -> None:
    """A tall image, with impulses where one strip of rows ends and the next begins."""
    pixels = np.full((1100, 9), 90, np.uint8)
    rows = [1, 511, 513, 515, 1024, 1026, 1098]
    pixels[rows, 4] = 200
    assert lone_pixels(pixels) == 1_000_000 * len(rows) // (1098 * 7)


def test_impulses_are_many_and_gaussian_noise_is_not() -> None:
    rng = np.random.default_rng(5)
    y, x = np.mgrid[0:200, 0:200]
    clean = 120 + 60 * np.sin(x / 17.0) * np.cos(y / 23.0)
    drawn = rng.random(clean.shape)
    impulses = np.where(drawn < 0.01, 0, np.where(drawn > 0.99, 255, clean))
    noisy = np.clip(clean + rng.normal(0, 50, clean.shape), 0, 255)
    counts = [lone_pixels(np.rint(image).astype(np.uint8)) for image in (clean, noisy, impulses)]
    assert counts[0] == 0
    assert 10_000 < counts[2] < 21_000
    assert counts[1] < counts[2] / 2


@pytest.mark.parametrize("shape", [(1, 1), (2, 50, 3), (50, 2)])
def test_an_image_without_an_inside_has_none(shape: tuple[int, ...]) -> None:
    assert lone_pixels(np.zeros(shape, np.uint8)) == 0
