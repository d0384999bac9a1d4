"""The sample by which a model is chosen, and the rule."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from restore_models import routing, zoo
from restore_models.architecture import ESTIMATES
from restore_models.calibration import read_calibration
from restore_models.program import Program, made_for_grey, made_for_scale
from restore_models.resample import FACTORS
from restore_models.restorer import TorchRunner
from restore_models.routing import (
    Choice,
    EnlargingRule,
    Rule,
    Seen,
    blur_after_in,
    look,
    restored_sample,
    routed_models,
    seen_in,
    shipped_rule,
)

RULE = Rule("noisy", "quiet", limit=2000, compressed_from=12_000, compressed_limit=9000)


@pytest.mark.parametrize(
    ("compression", "limit"), [(0, 2000), (11_999, 2000), (12_000, 9000), (95_000, 9000)]
)
def test_rule_takes_the_quiet_model_below_the_limit_only(compression: int, limit: int) -> None:
    chosen = [RULE.choose(Seen(noise, compression)) for noise in (0, limit - 1, limit, 90_000)]
    assert chosen == [Choice("quiet"), Choice("quiet"), Choice("noisy"), Choice("noisy")]


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Seen(1999, 0, blur_after=9000), Choice("quiet")),
        (Seen(2000, 0, blur_after=699), Choice("noisy")),
        (Seen(2000, 0, blur_after=700), Choice("quiet", "noisy")),
        (Seen(50_000, 0, blur_after=5499), Choice("noisy")),
        (Seen(50_099, 0, blur_after=5509), Choice("quiet", "noisy")),
        (Seen(8999, 12_000, blur_after=9000), Choice("quiet")),
    ],
)
def test_what_is_soft_after_the_noisy_model_the_quiet_one_restores_again(
    seen: Seen, expected: Choice
) -> None:
    rule = Rule("noisy", "quiet", 2000, 12_000, 9000, soft_after=500, soft_per_level=100)
    assert rule.choose(seen) == expected
    enlarging = EnlargingRule(rule, "enlarged", 500, 1000, 300, 200)
    first = enlarging.choose(seen).small
    assert first == (expected.small or expected.model)  # where it is enlarged, one model comes before


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Seen(2000, 4999, pixels=1000), "small"),
        (Seen(2000, 4999, pixels=1001), "alone"),
        (Seen(1999, 0, pixels=1000), "quiet"),
        (Seen(2000, 5000, pixels=1000), "noisy"),
    ],
)
def test_noise_alone_has_a_model_of_its_own(seen: Seen, expected: str) -> None:
    plain = Rule("noisy", "quiet", 2000, 12_000, 9000)
    any_size = replace(plain, alone="alone", alone_compression=5000)
    rule = replace(any_size, alone_small="small", alone_pixels=1000)
    assert rule.choose(seen) == Choice(expected)
    assert rule.choose(replace(seen, grey=True)) == Choice("quiet" if expected == "quiet" else "noisy")
    assert any_size.choose(seen) == Choice("alone" if expected == "small" else expected)
    assert plain.choose(seen) == Choice("quiet" if expected == "quiet" else "noisy")
    assert rule.models() == ("noisy", "quiet", "alone", "small")
    assert (any_size.models(), plain.models()) == (("noisy", "quiet", "alone"), ("noisy", "quiet"))
    soft = replace(rule, soft_after=500)
    assert soft.choose(replace(seen, blur_after=500)).small == (None if expected == "quiet" else "noisy")


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Seen(40_000, 4999, pixels=1000), "small strong"),
        (Seen(40_000, 4999, pixels=1001), "strong"),
        (Seen(39_999, 4999, pixels=1000), "small"),
        (Seen(39_999, 0, pixels=1001), "alone"),
        (Seen(40_000, 5000, pixels=1000), "noisy"),
    ],
)
def test_strong_noise_alone_has_a_model_of_its_own(seen: Seen, expected: str) -> None:
    former = Rule("noisy", "quiet", 2000, 12_000, 9000, alone="alone", alone_compression=5000)
    former = replace(former, alone_small="small", alone_pixels=1000)
    rule = replace(former, alone_strong="strong", alone_strong_small="small strong", alone_strong_from=40_000)
    assert rule.choose(seen) == Choice(expected)
    assert rule.choose(replace(seen, grey=True)) == Choice("noisy")
    assert former.choose(seen) == Choice(expected.replace("small strong", "small").replace("strong", "alone"))
    any_size = replace(rule, alone_strong_small=None)
    assert any_size.choose(seen) == Choice(expected.replace("small strong", "strong"))
    assert rule.models() == ("noisy", "quiet", "alone", "small", "strong", "small strong")


@pytest.mark.parametrize(
    "seen", [Seen(0, 0), Seen(2000, 0), Seen(2000, 5000), Seen(2000, 0, blur_after=9000)]
)
def test_grey_images_have_models_of_their_own(seen: Seen) -> None:
    former = Rule("noisy", "quiet", 2000, 12_000, 9000, soft_after=500, alone="alone", alone_compression=5000)
    any_size = replace(former, for_grey="grey")
    rule = replace(any_size, for_grey_small="small grey", for_grey_pixels=1000)
    grey = replace(seen, grey=True, pixels=1000)
    assert rule.choose(grey) == Choice("small grey")
    assert rule.choose(replace(grey, pixels=1001)) == any_size.choose(grey) == Choice("grey")
    assert rule.choose(seen) == former.choose(seen)
    assert rule.models() == ("noisy", "quiet", "alone", "grey", "small grey")
    assert any_size.models() == ("noisy", "quiet", "alone", "grey")
    assert [one.asks_blur_after(grey) for one in (rule, any_size)] == [False, False]
    assert former.asks_blur_after(grey) == rule.asks_blur_after(seen) == (seen.noise >= 2000)
    assert not replace(former, soft_after=None).asks_blur_after(grey)
    assert not rule.asks_blur(grey)


@pytest.mark.parametrize(
    ("seen", "asked", "chosen"),
    [
        (Seen(1999, 11_999, blur=600), True, "quiet"),
        (Seen(1999, 11_999, blur=599), True, "grey"),
        (Seen(2000, 0, blur=600), False, "grey"),
        (Seen(0, 12_000, blur=600), False, "grey"),
    ],
)
def test_grey_images_that_are_only_soft_go_to_the_quiet_model(seen: Seen, asked: bool, chosen: str) -> None:
    rule = Rule("noisy", "quiet", 2000, 12_000, 9000, for_grey="grey", for_grey_soft=600)
    grey = replace(seen, grey=True)
    assert (rule.asks_blur(grey), rule.asks_blur(seen)) == (asked, False)
    assert rule.choose(grey) == Choice(chosen)
    assert rule.softness == "quiet"
    small = replace(rule, for_grey_small="small", for_grey_pixels=10)
    assert small.choose(grey) == Choice("small" if chosen == "grey" else "quiet")
    assert replace(rule, for_grey_soft=None).choose(grey) == Choice("grey")
    assert replace(rule, for_grey_soft=None).softness is None


@pytest.mark.parametrize(
    ("seen", "compressed"),
    [
        (Seen(6999, 12_000), True),
        (Seen(7000, 12_000), False),
        (Seen(6999, 11_999), False),
        (Seen(0, 90_000, blur=9000), True),
    ],
)
def test_compressed_grey_images_have_models_of_their_own(seen: Seen, compressed: bool) -> None:
    former = Rule("noisy", "quiet", 2000, 12_000, 9000, for_grey="grey", for_grey_pixels=50)
    former = replace(former, for_grey_small="small grey")
    any_size = replace(former, for_grey_compressed="jpeg", for_grey_compressed_noise=7000)
    rule = replace(any_size, for_grey_compressed_small="small jpeg")
    small, large = (replace(seen, grey=True, pixels=pixels) for pixels in (50, 51))
    assert rule.choose(small) == (Choice("small jpeg") if compressed else former.choose(small))
    assert rule.choose(large) == (Choice("jpeg") if compressed else former.choose(large))
    assert any_size.choose(small) == (Choice("jpeg") if compressed else Choice("small grey"))
    assert rule.choose(seen) == former.choose(seen)
    assert replace(rule, for_grey=None).choose(small) == replace(former, for_grey=None).choose(small)
    assert rule.models() == ("noisy", "quiet", "grey", "small grey", "jpeg", "small jpeg")


@pytest.mark.parametrize(
    ("seen", "asked", "compressed"),
    [
        (Seen(0, 0, shown_compression=8000, grey=True), True, True),
        (Seen(6999, 11_999, shown_compression=8000, grey=True), True, True),
        (Seen(0, 0, shown_compression=7999, grey=True), True, False),
        (Seen(7000, 0, shown_compression=90_000, grey=True), False, False),
        (Seen(0, 12_000, grey=True), False, True),
        (Seen(0, 0, shown_compression=90_000), False, False),
        (Seen(0, 0, blur=600, shown_compression=8000, grey=True), True, False),  # that is for the quiet one
    ],
)
def test_compression_that_its_coefficients_show_counts(seen: Seen, asked: bool, compressed: bool) -> None:
    former = Rule("noisy", "quiet", 2000, 12_000, 9000, for_grey="grey", for_grey_soft=600)
    former = replace(former, for_grey_compressed="jpeg", for_grey_compressed_noise=7000)
    rule = replace(former, for_grey_shown=8000)
    assert rule.asks_compression(seen) is asked
    assert rule.choose(seen) == (Choice("jpeg") if compressed else former.choose(seen))
    assert not former.asks_compression(seen)
    without = replace(rule, for_grey_compressed=None)
    assert (without.asks_compression(seen), without.choose(seen)) == (
        False,
        replace(former, for_grey_compressed=None).choose(seen),
    )
    assert not rule.without_grey().asks_compression(seen)
    assert not EnlargingRule(rule, "enlarged", 0, 0, 0, 0).asks_compression(seen)


@pytest.mark.parametrize(
    ("seen", "small"),
    [
        *((Seen(0, 0), None), (Seen(499, 999, 299, 199), None)),
        *((Seen(500, 0), "quiet"), (Seen(2000, 0), "noisy"), (Seen(0, 1000), "quiet")),
        *((Seen(8999, 95_000), "quiet"), (Seen(9000, 95_000), "noisy")),
        *((Seen(0, 0, blur=300), "quiet"), (Seen(0, 0, reduction=200), "quiet")),
        (Seen(2000, 0, blur=9000, reduction=2000), "noisy"),  # of noise it says nothing
    ],
)
def test_only_what_is_clean_is_enlarged_as_it_is(seen: Seen, small: str | None) -> None:
    first = Rule("noisy", "quiet", limit=2000, compressed_from=12_000, compressed_limit=9000)
    rule = EnlargingRule(
        first, "enlarged", clean_noise=500, clean_compression=1000, clean_blur=300, clean_reduction=200
    )
    assert rule.choose(seen) == Choice("enlarged", small)
    assert (rule.router, rule.models()) == ("noisy", ("noisy", "quiet", "enlarged"))


def test_how_soft_an_image_is_is_asked_where_it_is_to_be_enlarged(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Rule("noisy", "quiet", limit=1, compressed_from=1, compressed_limit=1)
    asked: list[str] = []

    class Looks(TorchRunner):
        def __init__(self, name: str, **said: int) -> None:
            super().__init__(program)
            self.name, self.said = (
                name,
                {"noise_sigma": 7, "jpeg_loss": 3, "blur_sigma": -1, "scale_log2": 0, **said},
            )

    def restored(executor: Looks, _tile: np.ndarray) -> SimpleNamespace:
        asked.append(executor.name)
        return SimpleNamespace(estimates=executor.said, pixels=_tile)

    monkeypatch.setattr(routing, "restore_pixels", restored)
    seen = Seen(175, 150, pixels=400, grey=True)
    executors = {"noisy": Looks("noisy"), "quiet": Looks("quiet", blur_sigma=1200, scale_log2=-4)}
    pixels = np.zeros((20, 20, 3), np.uint8)
    assert look(first, executors, pixels) == seen
    assert asked == ["noisy"]
    assert look(EnlargingRule(first, "last", 1, 1, 1, 1), executors, pixels) == replace(seen, blur=1200)
    assert asked == ["noisy", "noisy", "quiet"]
    asked.clear()
    assert look(replace(first, soft_after=0), executors, pixels) == replace(seen, blur_after=1200)
    assert asked == ["noisy", "quiet"]
    asked.clear()
    soft_grey = replace(first, limit=200, for_grey="grey", for_grey_soft=1, compressed_from=200)
    assert look(soft_grey, executors, pixels) == replace(seen, blur=1200)
    assert asked == ["noisy", "quiet"]
    asked.clear()
    shown = replace(soft_grey, for_grey_soft=None, for_grey_compressed="jpeg", for_grey_compressed_noise=176)
    shown = replace(shown, for_grey_shown=1)
    monkeypatch.setattr(routing, "find_grid", lambda _pixels: SimpleNamespace(quality=83))
    assert look(shown, executors, pixels) == replace(seen, shown_compression=17_000)
    assert look(replace(shown, for_grey_compressed_noise=175), executors, pixels) == seen
    monkeypatch.setattr(routing, "find_grid", lambda _pixels: None)
    assert look(shown, executors, pixels) == seen
    asked.clear()
    quiet_enough = replace(first, soft_after=0, limit=200, compressed_limit=200)
    assert look(quiet_enough, executors, pixels) == seen
    assert asked == ["noisy"]


def test_the_shipped_models_are_for_what_the_rules_give_them(tmp_path: Path) -> None:
    assert set(zoo.ENLARGING_MODELS) == set(FACTORS) - {1}
    for scale in FACTORS:
        rule = shipped_rule(scale)
        assert set(rule.models()) <= set(routed_models())
        assert rule.router == zoo.DEFAULT_MODEL
        programs = {name: zoo.open_model(name, tmp_path)[1] for name in rule.models()}
        made_for = {name: made_for_scale(program) for name, program in programs.items()}
        grey = {name for name, program in programs.items() if made_for_grey(program)}
        for_grey = {zoo.GREY_MODEL, zoo.SMALL_GREY_MODEL, zoo.GREY_JPEG_MODEL, zoo.SMALL_GREY_JPEG_MODEL}
        assert grey == (for_grey - {None} if scale == 1 else set())
        last = rule.enlarged if isinstance(rule, EnlargingRule) else None
        assert isinstance(rule, EnlargingRule) == (scale > 1)
        assert made_for == {name: scale if name == last else None for name in rule.models()}


def test_every_model_for_enlarged_images_is_calibrated_for_what_the_route_gives_it(tmp_path: Path) -> None:
    for scale in zoo.ENLARGING_MODELS:
        rule = shipped_rule(scale)
        assert isinstance(rule, EnlargingRule)
        last = zoo.open_model(rule.enlarged, tmp_path)[1]
        for name in (None, *rule.small.models()):
            small = zoo.open_model(name, tmp_path)[1].program_sha256() if name else None
            assert read_calibration(last, small) is not None, (rule.enlarged, name)


def test_the_quiet_model_is_calibrated_for_what_the_route_gives_it(tmp_path: Path) -> None:
    rule = shipped_rule()
    assert isinstance(rule, Rule)
    quiet, noisy = (zoo.open_model(name, tmp_path)[1] for name in (rule.quiet, rule.noisy))
    for first in (None, noisy.program_sha256()):
        assert read_calibration(quiet, first) is not None


@pytest.mark.parametrize(
    ("levels", "strength", "name"),
    [
        (5, "NOISE", "noise"),
        (19, "NOISE", "noise"),
        (20, "STRONG_NOISE", "strong noise"),
        (60, "STRONG_NOISE", "strong noise"),
    ],
)
def test_noise_alone_goes_to_models_with_a_guarantee_for_it(
    levels: int, strength: str, name: str, tmp_path: Path
) -> None:
    """In colour and nothing else; in eight views where the picture is small."""
    for pixels, which in ((routing.ALONE_PIXELS + 1, strength), (routing.ALONE_PIXELS, f"SMALL_{strength}")):
        chosen = shipped_rule().choose(Seen(noise=levels * 1000, compression=0, pixels=pixels))
        assert chosen == Choice(getattr(zoo, f"{which}_MODEL"))
        calibration = read_calibration(zoo.open_model(chosen.model, tmp_path)[1])
        assert calibration is not None
        found = calibration.class_of({**dict.fromkeys(ESTIMATES, 0), "noise_sigma": levels * 40})
        assert found is not None
        assert (found.name, found.scale_64ths is not None) == (name, True)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 1), {(0, 0)}),
        ((128, 255), {(0, 63)}),
        ((300, 256), {(0, 0), (0, 128), (172, 0), (172, 128)}),
        ((1000, 4000, 3), {(y, x) for y in (0, 436, 872) for x in (0, 1936, 3872)}),
    ],
)
def test_tiles_lie_inside_and_are_spread_evenly(
    shape: tuple[int, ...], expected: set[tuple[int, int]]
) -> None:
    rows, columns = shape[:2]
    places = np.arange(rows * columns, dtype=np.int64).reshape(rows, columns)
    tiles = routing._tiles(places)
    assert {(int(tile[0, 0]) // columns, int(tile[0, 0]) % columns) for tile in tiles} == expected
    assert all(tile.shape == (min(rows, 128), min(columns, 128)) for tile in tiles)


def test_one_tile_of_another_kind_does_not_decide(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """The medians of what is said of the tiles, in thousandths of a level and of a point."""
    said = iter(zip([40, 7, 9000, 41, 42, 39, 38, 43, 6], [1, 2, 3, 4, 5, 6, 7, 8, -900], strict=True))
    monkeypatch.setattr(
        routing,
        "restore_pixels",
        lambda _executor, _tile: type(
            "R", (), {"estimates": dict(zip(("noise_sigma", "jpeg_loss"), next(said), strict=True))}
        ),
    )
    pixels = np.zeros((400, 300), np.uint8)
    sample = restored_sample(TorchRunner(program), np.zeros((400, 400), np.uint8))
    assert seen_in(sample, pixels) == Seen(40 * 25, 4 * 50, pixels=400 * 300, grey=True)


def test_the_tiles_with_the_most_detail_say_how_soft_an_image_is(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A smooth part of a sharp image looks like a blurred one: it is not asked where others are."""
    says = {(9, 0): 2000, (60_000, 0): 100, (0, 0): 3000, (60_000, 1): 101, (30_000, 0): 300}

    def restored(_executor: TorchRunner, tile: np.ndarray) -> SimpleNamespace:
        found = np.atleast_3d(tile)
        return SimpleNamespace(estimates={"blur_sigma": says[int(found[1, 2, 0]), int(found[0, 0, -1])]})

    monkeypatch.setattr(routing, "restore_pixels", restored)
    for channels in (3, 1):
        sample: list[Any] = []
        for strong, faint in says:
            tile = np.zeros((4, 5, channels), np.uint16)
            tile[1, 2], tile[0, 0, -1] = strong, faint  # of the two with the most, the fourth has more
            sample.append(SimpleNamespace(pixels=tile if channels == 3 else tile[:, :, 0]))
        found = {
            asked: blur_after_in(sample, TorchRunner(program), asked) for asked in (1, 2, 3, 4, 5, 9, None)
        }
        assert found == {1: 101, 2: 100, 3: 101, 4: 101, 5: 300, 9: 300, None: 300}


def test_sample_says_the_same_of_colour_and_depth_that_hold_the_same(program: Program) -> None:
    rng = np.random.default_rng(3)
    grey = rng.integers(0, 256, (150, 140)).astype(np.uint8)
    executor = TorchRunner(program)
    found = look(RULE, {"noisy": executor}, grey)
    coloured = np.repeat(grey[:, :, None], 3, axis=2)
    assert found == look(RULE, {"noisy": executor}, coloured)
    assert found == look(RULE, {"noisy": executor}, grey.astype(np.uint16) * 257)
    assert found.grey
    coloured[149, 139, 2] ^= 1
    assert not look(RULE, {"noisy": executor}, coloured).grey
    assert found.noise >= 0
    assert found.compression >= 0
