"""Patches of photographs in other tones, and as if scanned: which, how far, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_models.data import Batch, PatchSource, as_film, as_scanned, other_tones
from restore_models.degradations import FloatImage, jpeg


def _batch(
    tone_share: float = 0.0, scan_share: float = 0.0, grey_share: float = 0.0, film_share: float = 0.0
) -> Batch:
    photographs = [np.random.default_rng(9).integers(0, 256, (200, 240, 3)).astype(np.uint8)]
    source = PatchSource(
        photographs,
        seed=3,
        shares={"none": 1.0},
        page_share=0,
        grey_share=grey_share,
        cropped_share=0.5,
        tone_share=tone_share,
        scan_share=scan_share,
        film_share=film_share,
    )
    return source.batch(5, 24, 64)


@pytest.mark.parametrize("name", ["tone_share", "scan_share", "film_share"])
def test_a_share_of_the_patches_looks_otherwise_and_the_rest_as_without(name: str) -> None:
    plain, some, all_of_them = _batch(), _batch(**{name: 0.5}), _batch(**{name: 1.0})
    alike = [bool((one == other).all()) for one, other in zip(plain.clean, some.clean, strict=True)]
    assert 4 < sum(alike) < 20
    assert not (plain.clean == all_of_them.clean).reshape(24, -1).all(axis=1).any()


def test_a_grey_patch_stays_grey() -> None:
    clean = _batch(1.0, 1.0, grey_share=1.0).clean
    assert (clean == clean[:, :1]).all()


@given(seed=st.integers(0, 10_000))
def test_other_tones_keep_to_the_range_and_to_what_they_say(seed: int) -> None:
    """Light stays lighter than dark, and no step more than doubles."""
    ramp = np.repeat(np.linspace(0, 1, 256, dtype=np.float32)[None, :, None], 3, axis=2)
    toned = other_tones(ramp, np.random.default_rng(seed))
    assert toned.shape == ramp.shape
    assert toned.dtype == np.float32
    assert toned.min() >= 0
    assert toned.max() <= 1
    steps = np.diff(toned, axis=1) * 255
    assert steps.min() > 0
    assert steps.max() < 2
    red = np.zeros((1, 2, 3), np.float32)
    red[:, 1, 0] = 1 / 255
    changed = np.abs(np.diff(other_tones(red, np.random.default_rng(seed)), axis=1)) * 255
    assert changed.max() < 2


def test_channels_come_in_every_order() -> None:
    image = np.zeros((1, 1, 3), np.float32) + np.array([0.1, 0.5, 0.9], np.float32)
    orders = {tuple(np.argsort(other_tones(image, np.random.default_rng(n))[0, 0])) for n in range(200)}
    assert len(orders) == 6


@pytest.mark.parametrize("kept", [as_scanned, as_film])
def test_a_scan_is_softer_than_the_picture_and_near_it(
    kept: Callable[[FloatImage, np.random.Generator], FloatImage],
) -> None:
    stripes = np.tile(np.repeat(np.float32([[0.2, 0.7]]), 4, axis=1), (64, 8))
    picture = np.ascontiguousarray(np.repeat(stripes[:, :, None], 3, axis=2))
    scans = [kept(picture, np.random.default_rng(number)) for number in range(8)]
    for scan in scans:
        assert scan.shape == picture.shape
        assert scan.dtype == np.float32
        assert 0 <= scan.min() < scan.max() <= 1
        assert 0.002 < float(np.abs(scan - picture).mean()) < 0.12
        # as a file of 8 bits holds it, because that is what it comes from
        assert np.allclose(scan * 255, np.rint(scan * 255), atol=1e-3)
        edges = cv2.Laplacian(scan.mean(axis=2), cv2.CV_32F)
        assert np.abs(edges).max() < np.abs(cv2.Laplacian(picture.mean(axis=2), cv2.CV_32F)).max()
    assert len({scan.tobytes() for scan in scans}) == 8


def test_film_is_what_a_scan_was_before_it_was_compressed() -> None:
    picture = np.random.default_rng(4).random((64, 64, 3), dtype=np.float32)
    film, scan = (kept(picture, np.random.default_rng(7)) for kept in (as_film, as_scanned))
    assert any((jpeg(film, quality) == scan).all() for quality in range(75, 97))
