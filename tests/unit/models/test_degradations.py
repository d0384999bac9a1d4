"""Degradations, patches and enlargement: seeded, in range, and what they say they are."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_manifests.errors import UsageError
from restore_models import degradation_kinds, degradations_video
from restore_models.data import Batch, PatchSource, render_page
from restore_models.degradation_kinds import check_available, degrade
from restore_models.degradations import (
    blur_kernel,
    camera,
    downscale,
    gaussian_noise,
    jpeg,
    jpeg_loss_like,
    low_light,
    quantise,
    reduce_bicubic,
)
from restore_models.degradations_video import CODECS, codec_coded, has_codecs, hybrid_coded
from restore_models.resample import enlarge
from restore_models.training_config import TrainingConfig

SHARES = dict.fromkeys(
    ["gaussian", "jpeg", "blur", "reduced", "mixed", "none", "double_jpeg", "low_light", "reduced_mixed"], 1.0
) | {"video": 1.0}
FORMER = {
    "gaussian": 0.3042,
    "light_gaussian": 0.2912,
    "jpeg": 0.2673,
    "blur": 0.272,
    "reduced": 0.2771,
    "mixed": 0.27,
    "none": 0.2731,
}
"""Spread of a part of the damaged picture at seed 12, by kinds that weights were trained with."""
needs_codecs = pytest.mark.skipif(not has_codecs(), reason="needs the extra video (PyAV)")


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
    if kind in ("double_jpeg", "video"):
        assert 2 <= said.jpeg_loss <= 98
    if kind == "low_light":
        assert said.noise_sigma > 0


@pytest.mark.parametrize("kind", FORMER)
def test_new_kinds_left_the_patches_of_the_old_ones_alone(kind: str) -> None:
    worse, _ = degrade(_picture(), np.random.default_rng(12), {kind: 1.0})
    assert float(worse[20:40, 20:40].std()) == pytest.approx(FORMER[kind], abs=2e-4)


def test_every_kind_can_be_configured() -> None:
    kinds = degradation_kinds._KINDS
    assert TrainingConfig(degradations=dict.fromkeys(kinds, 1.0)).shares() == dict.fromkeys(kinds, 1.0)


@pytest.mark.parametrize(
    "kind", ["double_jpeg", "low_light", "reduced_mixed", "video", "soft", "enlarged2", "worn_enlarged4"]
)
def test_damage_lies_where_the_picture_is(kind: str) -> None:
    """No shift: the damaged picture fits the clean one best where it lies."""
    image = np.dstack(
        [cv2.GaussianBlur(np.random.default_rng(0).random((96, 96), np.float32), (0, 0), 2)] * 3
    )
    image = cv2.normalize(image, None, 0, 1, cv2.NORM_MINMAX)
    for seed in range(12):
        worse, _ = degrade(image, np.random.default_rng(seed), {kind: 1.0})
        inner = worse[24:-24, 24:-24]
        errors = {
            (dy, dx): float(np.square(inner - np.roll(image, (dy, dx), (0, 1))[24:-24, 24:-24]).mean())
            for dy in range(-3, 4)
            for dx in range(-3, 4)
        }
        assert min(errors, key=lambda place: errors[place]) == (0, 0)


def test_low_light_is_dark_noise_of_the_size_that_the_model_says() -> None:
    image = np.full((256, 256, 3), 0.5, np.float32)
    worse = low_light(image, 3.0, np.random.default_rng(0), well=8000.0, read=4.0)
    linear = 0.5**2.2
    variance = (linear * 8000 / 8 + 16) / 8000**2  # of the dark exposure, of a white of one
    expected = np.sqrt(variance) * 8 * 0.5 / (2.2 * linear)  # brought back, through the curve
    assert float(worse.std()) == pytest.approx(expected, rel=0.1)
    assert float(worse.mean()) == pytest.approx(0.5, abs=0.01)
    levels = np.unique(np.rint(image * 0 + worse[:, :, 0:1] * 255))
    assert len(levels) < 40  # eight bits of the dark: brightening leaves gaps


def test_low_light_hurts_more_the_darker_it_is() -> None:
    image = _picture()
    errors = [
        float(np.abs(low_light(image, stops, np.random.default_rng(1), well=5000, read=3) - image).mean())
        for stops in (2.0, 3.5, 5.0)
    ]
    assert errors[0] < errors[1] < errors[2]


@pytest.mark.parametrize("quality", [12, 45, 90])
def test_jpeg_loss_of_a_jpeg_is_its_own(quality: int) -> None:
    grey = np.repeat(_picture()[:, :, :1] ** 2, 3, axis=2)
    noisy = quantise(gaussian_noise(grey, 4.0, np.random.default_rng(0)))
    found = jpeg_loss_like(noisy, jpeg(noisy, quality, subsample=False))
    assert found == pytest.approx(100 - quality, abs=3)


@pytest.mark.parametrize("transform", [4, 8])
@pytest.mark.parametrize("frames", [1, 4])
def test_coarser_video_is_farther_and_finest_is_near(transform: int, frames: int) -> None:
    image = quantise(_picture(70, 90))
    errors = []
    for step in (0.5, 8.0, 64.0):
        rng = np.random.default_rng(3)
        coded = hybrid_coded(image, step, rng, frames=frames, transform=transform)
        errors.append(float(np.square(coded - image).mean()))
    assert errors[0] < errors[1] < errors[2]
    assert np.sqrt(errors[0]) * 255 < 4  # what colour at half the resolution takes


def test_later_frames_carry_what_earlier_ones_left() -> None:
    """A step too coarse for the change between frames: the frame shows the one before it."""
    image = quantise(_picture())
    one, three = (
        hybrid_coded(image, 48.0, np.random.default_rng(3), frames=frames, transform=8) for frames in (1, 3)
    )
    assert (one != three).any()


@needs_codecs
@pytest.mark.parametrize("codec", CODECS)
def test_real_codecs_are_seeded_and_ordered(codec: str) -> None:
    image = quantise(_picture(70, 90))
    _, finest, coarsest = CODECS[codec]
    fine, coarse, again = (
        codec_coded(image, codec, quantiser, np.random.default_rng(5))
        for quantiser in (finest, coarsest, coarsest)
    )
    assert fine.shape == image.shape
    assert fine.dtype == np.float32
    assert (coarse == again).all()
    assert np.square(fine - image).mean() < np.square(coarse - image).mean()


@needs_codecs
def test_codec_damage_says_how_strong_it_is() -> None:
    image = quantise(gaussian_noise(_picture(), 6.0, np.random.default_rng(0)))
    worse, said = degrade(image, np.random.default_rng(2), {"video_codec": 1.0})
    assert (quantise(worse) == worse).all()
    assert 2 <= said.jpeg_loss <= 98


def test_codecs_that_are_not_installed_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(degradations_video.importlib.util, "find_spec", lambda name: None)
    check_available(SHARES)
    with pytest.raises(UsageError, match="PyAV"):
        check_available({"video_codec": 0.1})
    with pytest.raises(UsageError, match="PyAV"):
        PatchSource([], seed=1, shares={"video_codec": 1.0}, page_share=0, grey_share=0)


def test_same_step_gives_the_same_batch() -> None:
    photographs = [render_page(np.random.default_rng(i), 200) for i in range(2)]
    sources = [
        PatchSource(photographs, seed=3, shares=SHARES, page_share=0.3, grey_share=0.5) for _ in range(2)
    ]
    one, other = (source.batch(17, 4, 64) for source in sources)
    assert (one.degraded == other.degraded).all()
    assert (one.clean == other.clean).all()
    assert (sources[0].batch(18, 4, 64).clean != one.clean).any()


def _block_edges(patch: np.ndarray) -> tuple[int, int]:
    """After which of eight rows and columns neighbours differ most."""
    luma = patch.mean(axis=0)
    steps = [np.abs(np.diff(luma, axis=axis)).mean(axis=1 - axis) for axis in (0, 1)]
    down, right = (int(np.argmax([line[phase::8].mean() for phase in range(8)])) for line in steps)
    return down, right


def test_cropped_patches_begin_beside_the_grid_of_blocks() -> None:
    rng = np.random.default_rng(4)
    noise = [cv2.GaussianBlur(rng.normal(0, 60, (300, 300, 3)), (0, 0), 2.5) for _ in range(3)]
    photographs = [np.clip(128 + 6 * one, 0, 255).astype(np.uint8) for one in noise]

    def batch(kind: str, share: float) -> Batch:
        source = PatchSource(
            photographs, seed=3, shares={kind: 1.0}, page_share=0, grey_share=0, cropped_share=share
        )
        return source.batch(5, 12, 96)

    assert {_block_edges(patch) for patch in batch("strong_jpeg", 0.0).degraded} == {(7, 7)}
    cropped = [_block_edges(patch) for patch in batch("strong_jpeg", 1.0).degraded]
    assert cropped.count((7, 7)) <= 1
    assert len(set(cropped)) > 6
    alike = batch("none", 1.0)
    assert (alike.degraded == quantise(alike.clean)).all()  # clean and degraded are cut alike


def test_shrunk_patches_are_places_of_the_photographs_made_small_by_different_factors() -> None:
    """Stripes of 24 pixels stay 24 wide in patches that are not shrunk; shrunk, they are 8 to 24 wide."""
    stripes = np.tile(np.repeat(np.array([40, 200], np.uint8), 24), 16)
    photographs = [np.repeat(np.tile(stripes, (600, 1))[:, :, None], 3, axis=2)]

    def widths(share: float) -> list[float]:
        source = PatchSource(
            photographs, seed=3, shares={"none": 1.0}, page_share=0, grey_share=0, shrunk_share=share
        )
        edges = [
            np.abs(np.diff(patch[0], axis=axis)) for patch in source.batch(5, 12, 96).clean for axis in (0, 1)
        ]
        return [96 * 96 * (160 / 255) / float(one.sum()) for one in edges if one.any()]

    assert all(19 <= width <= 32 for width in widths(0.0))  # three to five edges in 96 pixels
    shrunk = widths(1.0)
    assert min(shrunk) < 11
    assert max(shrunk) > 16
    assert all(7 <= width <= 32 for width in shrunk)
    assert 0 < sum(width < 19 for width in widths(0.5)) < 12


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


def test_what_is_compressed_twice_lies_where_it_lay() -> None:
    """Of all shifts by up to seven pixels none brings it nearer to the clean picture than none at all."""
    rng = np.random.default_rng(3)
    coarse = rng.uniform(0.2, 0.8, (24, 24, 3)).astype(np.float32)
    image = np.repeat(np.repeat(coarse, 4, axis=0), 4, axis=1)
    for seed in range(40):
        worse, _ = degrade(image, np.random.default_rng(seed), {"jpeg": 1.0})
        inner = (slice(16, -16), slice(16, -16))
        errors = {
            shift: float(np.mean((np.roll(worse, (-shift, -shift), (0, 1)) - image)[inner] ** 2))
            for shift in range(-7, 8)
        }
        assert min(errors, key=errors.__getitem__) == 0, (seed, errors)


def test_most_of_what_is_grey_is_damaged_in_grey() -> None:
    photographs = [(_picture(160, 160) * 255).astype(np.uint8)]
    source = PatchSource(photographs, seed=3, shares={"gaussian": 1.0}, page_share=0, grey_share=0.5)
    batch = source.batch(0, 64, 32)
    grey = [bool((patch == patch[:1]).all()) for patch in batch.clean]
    alike = [bool((patch == patch[:1]).all()) for patch in batch.degraded]
    assert 16 < sum(grey) < 48
    assert 0.5 * sum(grey) < sum(alike) < sum(grey)
    assert all(one for one, same in zip(grey, alike, strict=True) if same)
    noise = (batch.degraded - batch.clean)[alike].std(axis=(1, 2, 3)) * 255
    said = batch.estimates[alike, 0] * 25
    assert np.allclose(noise, said, rtol=0.1, atol=0.5)


@pytest.mark.parametrize("kind", sorted(SHARES))
def test_a_grey_picture_stays_grey_in_grey(kind: str) -> None:
    image = np.repeat(_picture()[:, :, :1], 3, axis=2)
    rng, other = (np.random.default_rng(5) for _ in range(2))
    worse, applied = degrade(image, rng, {kind: 1.0}, grey=True)
    assert (worse == worse[:, :, :1]).all()
    assert worse.shape == image.shape
    again, same = degrade(image, other, {kind: 1.0}, grey=True)
    assert np.array_equal(worse, again)
    assert applied == same


@pytest.mark.parametrize(
    ("kind", "rel"), [("gaussian", 0.03), ("light_gaussian", 0.03), ("faint_gaussian", 0.03)]
)
def test_grey_noise_is_as_strong_as_it_says(kind: str, rel: float) -> None:
    image = np.full((256, 256, 3), 0.5, np.float32)
    for seed in range(4):
        worse, applied = degrade(image, np.random.default_rng(seed), {kind: 1.0}, grey=True)
        assert float((worse - image).std()) * 255 == pytest.approx(applied.noise_sigma, rel=0.03, abs=0.2)


@pytest.mark.parametrize(
    ("kind", "low", "high", "as_files"),
    [
        ("gaussian", (0, 4), (51, 55), (5, 25)),
        ("light_gaussian", (5, 8), (27, 30), (0, 0)),
        ("faint_gaussian", (0.5, 1), (5.5, 6), (0, 0)),
        ("strong_gaussian", (32, 36), (64, 68), (5, 25)),
        ("strong_clipped_gaussian", (36, 40), (68, 72), (20, 40)),
        ("light_clipped_gaussian", (0.5, 4), (36, 40), (20, 40)),
    ],
)
def test_noise_of_its_strengths_a_share_of_it_as_a_file_holds_it(
    kind: str, low: tuple[float, float], high: tuple[float, float], as_files: tuple[int, int]
) -> None:
    image = np.full((96, 96, 3), 0.5, np.float32)
    sigmas, rounded = [], []
    for seed in range(60):
        worse, applied = degrade(image, np.random.default_rng(seed), {kind: 1.0})
        sigmas.append(applied.noise_sigma)
        rounded.append(bool(np.allclose(worse * 255, np.rint(worse * 255), atol=1e-3)))
        assert not rounded[-1] or (worse.min() >= 0 and worse.max() <= 1)
        # with what is cut off, or rounded where there is hardly any
        assert float((worse - image).std()) * 255 == pytest.approx(applied.noise_sigma, rel=0.12, abs=0.1)
    assert low[0] <= min(sigmas) < low[1]
    assert high[0] < max(sigmas) <= high[1]
    assert as_files[0] <= sum(rounded) <= as_files[1]


def test_patches_for_a_grey_network_are_grey_and_damaged_in_grey() -> None:
    photographs = [(_picture(160, 160) * 255).astype(np.uint8)]
    shares = {"gaussian": 1.0, "mixed": 1.0, "jpeg": 1.0}
    source = PatchSource(photographs, seed=3, shares=shares, page_share=0.3, grey_share=0, grey=True)
    batch = source.batch(0, 24, 32)
    for patches in (batch.clean, batch.degraded):
        assert (patches == patches[:, :1]).all()
    assert (batch.clean != batch.degraded).any(axis=(1, 2, 3)).all()
