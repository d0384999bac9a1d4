"""Degradations, patches and enlargement: seeded, in range, and what they say they are."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_manifests.errors import UsageError
from restore_models.data import PatchSource, render_page
from restore_models.degradations import (
    blur_kernel,
    camera,
    degrade,
    downscale,
    gaussian_noise,
    jpeg,
    quantise,
    reduce_bicubic,
)
from restore_models.resample import enlarge

SHARES = {"gaussian": 1.0, "jpeg": 1.0, "blur": 1.0, "reduced": 1.0, "mixed": 1.0, "none": 1.0}


def _picture(height: int = 64, width: int = 64) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    channels = [np.sin(x / 7.0), np.cos(y / 5.0), np.sin((x + y) / 9.0)]
    return (np.dstack(channels) * 0.4 + 0.5).astype(np.float32)


def test_noise_has_the_sigma_it_names() -> None:
    image = np.full((256, 256, 3), 0.5, np.float32)
    noisy = gaussian_noise(image, 25.0, np.random.default_rng(0))
    assert float((noisy - image).std()) * 255 == pytest.approx(25.0, rel=0.01)


def test_jpeg_quality_orders_the_error() -> None:
    image = _picture()
    errors = [float(np.abs(jpeg(image, quality) - image).mean()) for quality in (10, 40, 90)]
    assert errors[0] > errors[1] > errors[2] > 0


@pytest.mark.parametrize("kind", ["gaussian", "defocus", "motion"])
def test_kernel_sums_to_one_and_spreads(kind: str) -> None:
    kernel = blur_kernel(kind, 2.0, np.random.default_rng(0))
    assert float(kernel.sum()) == pytest.approx(1.0, abs=1e-5)
    axis = np.arange(kernel.shape[0]) - kernel.shape[0] // 2
    variance = float((kernel * (axis[None, :] ** 2 + axis[:, None] ** 2)).sum())
    expected = {"gaussian": 8.0, "defocus": 8.0, "motion": 4.0}[kind]
    assert variance == pytest.approx(expected, rel=0.25)


def test_camera_without_noise_changes_little() -> None:
    image = _picture()
    assert float(np.abs(camera(image, 0.0, np.random.default_rng(0)) - image)[8:-8, 8:-8].mean()) < 0.02


def test_bicubic_reduction_keeps_constants_and_ramps() -> None:
    y, x = np.mgrid[:32, :48].astype(np.float32)
    ramp = np.dstack([x / 48, y / 32, np.full_like(x, 0.25)])
    small = reduce_bicubic(ramp, 2)
    assert small.shape == (16, 24, 3)
    assert np.allclose(small[4:-4, 4:-4, 0], ((x[::2, ::2] + 0.5) / 48)[4:-4, 4:-4], atol=1e-5)
    assert np.allclose(small[:, :, 2], 0.25, atol=1e-6)


@pytest.mark.parametrize("method", ["bicubic", "bilinear", "nearest", "area"])
def test_downscaling_keeps_the_size(method: str) -> None:
    image = _picture(64, 96)
    assert downscale(image, 4, method).shape == image.shape


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(sorted(SHARES)))
def test_degradation_is_seeded_and_says_what_it_did(seed: int, kind: str) -> None:
    image = _picture()
    one, said = degrade(image, np.random.default_rng(seed), {kind: 1.0})
    other, again = degrade(image, np.random.default_rng(seed), {kind: 1.0})
    assert (one == other).all()
    assert said == again
    assert one.dtype == np.float32
    assert one.shape == image.shape
    if kind != "gaussian":  # the published protocol does not clip it
        assert (quantise(one) == one).all()
    if kind == "jpeg":
        assert 4 < said.jpeg_loss <= 92
    if kind == "reduced":
        assert said.scale_log2 in (1.0, 2.0)


def test_same_step_gives_the_same_batch() -> None:
    photographs = [render_page(np.random.default_rng(i), 200) for i in range(2)]
    sources = [
        PatchSource(photographs, seed=3, shares=SHARES, page_share=0.3, grey_share=0.5) for _ in range(2)
    ]
    one, other = (source.batch(17, 4, 64) for source in sources)
    assert (one.degraded == other.degraded).all()
    assert (one.clean == other.clean).all()
    assert (sources[0].batch(18, 4, 64).clean != one.clean).any()


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    factor=st.sampled_from([2, 4]),
    deep=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_enlargement_is_opencvs_bicubic(height: int, width: int, factor: int, deep: bool, seed: int) -> None:
    kind = np.uint16 if deep else np.uint8
    image = np.random.default_rng(seed).integers(0, np.iinfo(kind).max, (height, width, 3), endpoint=True)
    image = image.astype(kind)
    found = enlarge(image, factor)
    assert found.dtype == kind
    size = (width * factor, height * factor)
    peer = cv2.resize(image.astype(np.float64), size, interpolation=cv2.INTER_CUBIC)
    peer = np.clip(np.rint(peer), 0, np.iinfo(kind).max).reshape(found.shape)
    assert np.abs(found.astype(np.float64) - peer).max() <= 1


def test_unknown_scale() -> None:
    with pytest.raises(UsageError, match="scale"):
        enlarge(np.zeros((4, 4), np.uint8), 3)
