"""Edit map: the published test pairs, an independent implementation, statistics; and pictures for people."""

from __future__ import annotations

import time
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import deltaE_ciede2000, rgb2lab

from restore_manifests.errors import UsageError
from restore_sdk import maps
from restore_sdk.ciede2000 import delta_e_2000, lab
from restore_sdk.maps import colourise, contact_sheet, edit_map

VECTORS = Path(__file__).parents[2] / "vectors" / "ciede2000" / "sharma2005.csv"
RNG = np.random.default_rng(11)
BEFORE = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)
AFTER = np.clip(BEFORE + RNG.integers(-20, 21, BEFORE.shape), 0, 255).astype(np.uint8)


def test_published_pairs() -> None:
    table = np.loadtxt(VECTORS, delimiter=",")
    assert table.shape == (34, 7)
    first, second, published = table[:, :3].T, table[:, 3:6].T, table[:, 6]
    assert np.abs(delta_e_2000(first, second) - published).max() < 0.5e-4 + 1e-9
    assert np.abs(delta_e_2000(second, first) - published).max() < 0.5e-4 + 1e-9


def test_agrees_with_scikit_image() -> None:
    ours, theirs = (lab(BEFORE), lab(AFTER)), (rgb2lab(BEFORE), rgb2lab(AFTER))
    same_lab = deltaE_ciede2000(np.moveaxis(ours[0], 0, -1), np.moveaxis(ours[1], 0, -1))
    assert np.abs(delta_e_2000(*ours) - same_lab).max() < 1e-9
    # from the samples on, only the roundings of the sRGB matrix differ
    assert np.abs(delta_e_2000(*ours) - deltaE_ciede2000(*theirs)).max() < 0.02
    assert np.abs(np.moveaxis(ours[0], 0, -1) - theirs[0]).max() < 0.03


def test_map_is_tenths_rounded_and_clipped() -> None:
    levels, statistics = edit_map(BEFORE, AFTER)
    exact = delta_e_2000(lab(BEFORE), lab(AFTER))
    assert levels.dtype == np.uint8
    assert np.array_equal(levels, np.minimum(np.rint(exact * 10), 255))
    assert statistics["max"] == pytest.approx(exact.max(), abs=0.051)
    assert statistics["mean"] == pytest.approx(exact.mean(), abs=0.01)
    for percent in (95, 99):
        assert statistics[f"p{percent}"] == pytest.approx(np.percentile(exact, percent), abs=0.2)
    for name, limit in (("share_above_1", 1.05), ("share_above_2_3", 2.35), ("share_above_5", 5.05)):
        assert statistics[name] == pytest.approx((exact > limit).mean(), abs=1e-6)


def test_nothing_changed() -> None:
    levels, statistics = edit_map(BEFORE, BEFORE)
    assert not levels.any()
    assert set(statistics.values()) == {0}


def test_the_greatest_change() -> None:
    levels, statistics = edit_map(np.zeros((2, 3), np.uint8), np.full((2, 3), 255, np.uint8))
    assert (levels == 255).all()
    assert statistics["max"] == 100.0
    assert statistics["share_above_5"] == 1


def test_grey_is_the_same_as_equal_channels() -> None:
    before, after = BEFORE[..., 0], AFTER[..., 0]
    both = edit_map(np.dstack([before] * 3), np.dstack([after] * 3))
    alone = edit_map(before, after)
    mixed = edit_map(before, np.dstack([after] * 3))
    assert np.array_equal(both[0], alone[0])
    assert np.array_equal(mixed[0], alone[0])
    assert both[1] == alone[1]


def test_16_bit_is_the_same_scale() -> None:
    wide = edit_map(BEFORE.astype(np.uint16) * 257, AFTER.astype(np.uint16) * 257)
    mixed = edit_map(BEFORE, AFTER.astype(np.uint16) * 257)
    assert np.array_equal(wide[0], edit_map(BEFORE, AFTER)[0])
    assert np.array_equal(mixed[0], wide[0])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 400), st.integers(1, 60), st.integers(1, 5000))
def test_bands_do_not_show(height: int, width: int, band: int) -> None:
    generator = np.random.default_rng(height)
    before, after = generator.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    whole = edit_map(before, after)
    saved, maps._BAND = maps._BAND, band
    try:
        cut = edit_map(before, after)
    finally:
        maps._BAND = saved
    assert np.array_equal(whole[0], cut[0])
    assert whole[1] == cut[1]


def test_every_pair_of_greys_and_primaries_is_in_range() -> None:
    corners = np.stack(np.meshgrid([0, 1, 128, 254, 255], [0, 128, 255], [0, 128, 255]), -1).reshape(-1, 3)
    before, after = np.broadcast_arrays(corners[:, None], corners[None])
    exact = delta_e_2000(lab(before.astype(np.uint8)), lab(after.astype(np.uint8)))
    assert np.isfinite(exact).all()
    assert exact.max() < 120
    assert np.abs(exact - exact.T).max() < 1e-9


@pytest.mark.parametrize("shape", [(40, 49, 3), (0, 50, 3), (50, 40)])
def test_sizes_must_agree(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="pixel by pixel"):
        edit_map(BEFORE, np.zeros(shape, np.uint8))


def test_it_is_fast() -> None:
    before, after = RNG.integers(0, 256, (2, 1000, 1000, 3), dtype=np.uint8)
    began = time.process_time()
    edit_map(before, after)
    assert time.process_time() - began < 3  # about a quarter of a second a megapixel


def test_colours_are_viridis() -> None:
    true = mpl.colormaps["viridis"](np.arange(256))[:, :3] * 255
    assert np.abs(maps._palette() - true).max() < 4
    light = lab(maps._palette()[None])[0, 0]
    assert (np.diff(light) > -0.1).all()  # brighter is more, also in black and white
    assert light[-1] - light[0] > 70


def test_coloured_map_has_a_legend() -> None:
    levels = np.tile(np.arange(256, dtype=np.uint8), (100, 2))
    picture = np.asarray(colourise(levels))
    assert np.array_equal(picture[:100, :512], maps._palette()[levels])
    assert picture.shape[0] > 100
    assert (picture[112, 0] == maps._palette()[0]).all()
    assert (picture[112, -1] == maps._palette()[255]).all()
    other = np.asarray(colourise(levels, legend=("a", "b", "c")))
    assert not np.array_equal(other, picture)


def test_large_maps_shrink_and_small_ones_have_room_for_words() -> None:
    assert max(colourise(np.zeros((3000, 4000), np.uint8), longest=400).size) <= 446
    assert colourise(np.zeros((5, 5), np.uint8)).width > 100


def test_words_of_the_legend_stand_apart() -> None:
    legend = ("0", "90 % interval, 8-bit levels", "127.5 or more")
    words = np.asarray(colourise(np.zeros((5, 5), np.uint8), legend=legend).convert("L"))[-20:]
    inked = np.flatnonzero(words.min(axis=0) < 200)
    # Between words no letter is wider than a gap; between the title and either end there is a wide one.
    gaps = np.diff(inked)
    assert np.count_nonzero(gaps > 8) == 2


@pytest.mark.parametrize("confidence", [None, np.zeros((40, 50), np.uint8)])
def test_contact_sheet_of_unequal_sizes_and_depths(confidence: np.ndarray | None) -> None:  # type: ignore[type-arg]
    after = np.repeat(np.repeat(AFTER, 2, 0), 2, 1).astype(np.uint16) * 257
    sheet = contact_sheet(
        BEFORE[..., 0], after, np.zeros((80, 100), np.uint8), confidence, "A title", cell=60
    )
    assert sheet.mode == "RGB"
    bare = contact_sheet(BEFORE[..., 0], after, np.zeros((80, 100), np.uint8), confidence, cell=60)
    assert bare.height < sheet.height
    large = contact_sheet(
        np.zeros((4000, 3000, 3), np.uint8), after, np.zeros((80, 100), np.uint8), confidence
    )
    assert max(large.size) < 1500
