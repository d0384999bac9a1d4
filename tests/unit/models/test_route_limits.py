"""The benchmark behind the limits of the route: means of what each way gains, by any rule."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from restore_manifests.pixels import encode_png
from restore_models.routing import Choice, EnlargingRule, Rule, Seen
from restore_sdk.models import list_models

SMALL = Rule("noisy", "quiet", limit=1000, compressed_from=15_000, compressed_limit=9000)


@pytest.fixture(scope="module")
def script(load_benchmark: Callable[[str], ModuleType]) -> ModuleType:
    return load_benchmark("route_limits")


def test_a_rule_gains_what_the_ways_gain_that_it_chooses(script: ModuleType) -> None:
    alone, noisy, quiet = Choice("last"), Choice("last", "noisy"), Choice("last", "quiet")
    cases = [
        script.Case(0, None, 0.0, Seen(0, 0), {alone: 3.0, noisy: 1.0, quiet: 2.0}),
        script.Case(0, 40, 0.0, Seen(3000, 40_000), {alone: -1.0, noisy: 0.5, quiet: 1.5}),
        script.Case(8, None, 0.0, Seen(8000, 0), {alone: -2.0, noisy: 4.0, quiet: 0.0}),
        script.Case(0, None, 1.2, Seen(0, 0, blur=1100), {alone: 0.0, noisy: 0.2, quiet: 1.3}),
    ]
    rule = EnlargingRule(SMALL, "last", 2000, 4000, clean_blur=600, clean_reduction=250)
    found = script.summary(cases, rule)
    assert found["rule"] == found["best each time"] == round((3.0 + 1.5 + 4.0 + 1.3) / 4, 3)
    always = {"last": 0.0, "noisy then last": round(5.7 / 4, 3), "quiet then last": round(4.8 / 4, 3)}
    assert found["always"] == always
    clean = found["clean_noise, clean_compression"]
    assert clean["2000, 4000"] == found["rule"]
    assert clean["9000, 4000"] == round(
        (3.0 + 1.5 - 2.0 + 1.3) / 4, 3
    )  # noise of 8 levels is enlarged as it is
    assert clean["0, 0"] == round((2.0 + 1.5 + 4.0 + 1.3) / 4, 3)
    assert found["small compressed_limit"]["2000"] == round((3.0 + 0.5 + 4.0 + 1.3) / 4, 3)
    assert [(row["noise"], row["quality"], row["rule"]) for row in found["by damage"]] == [
        (0, None, 3.0),
        (0, 40, 1.5),
        (8, None, 4.0),
        (0, None, 1.3),
    ]
    assert found["clean_blur, clean_reduction"]["1200, 250"] == round((3.0 + 1.5 + 4.0 + 0.0) / 4, 3)


def test_limits_of_pictures_in_their_size(script: ModuleType) -> None:
    cases = [
        script.Case(2, None, 0.0, Seen(1500, 0), {Choice("noisy"): 1.0, Choice("quiet"): 0.0}),
        script.Case(0, 40, 0.0, Seen(3000, 40_000), {Choice("noisy"): 0.5, Choice("quiet"): 1.0}),
    ]
    found = script.summary(cases, SMALL)
    assert found["rule"] == 1.0
    assert found["limit"]["2000"] == 0.5
    assert found["by noise alone"]["2000"] == 0.25
    assert found["compressed_from"]["0"] == 0.5


def test_limits_of_strong_noise(script: ModuleType) -> None:
    plain = replace(SMALL, alone="alone", alone_compression=9000)
    rule = replace(plain, alone_strong="strong", alone_strong_from=38_000)
    case = script.Case(35, None, 0.0, Seen(36_000, 0), {Choice("alone"): 1.0, Choice("strong"): 1.5})
    twice = {Choice("quiet"): 0.0, Choice("noisy"): 0.0}
    case = replace(case, gains={**twice, **case.gains})
    found = script.summary([case], rule)
    assert found["rule"] == 1.0
    assert (found["alone_strong_from"]["35000"], found["alone_strong_from"]["40000"]) == (1.5, 1.0)
    assert script.summary([case], plain)["alone_strong_from"] == {}


def test_limits_of_compressed_grey_pictures(script: ModuleType) -> None:
    grey = replace(SMALL, for_grey="grey", for_grey_compressed="jpeg", for_grey_compressed_noise=2000)
    seen = Seen(3000, 40_000, grey=True)
    case = script.Case(3, 40, 0.0, seen, {Choice("grey"): 1.0, Choice("jpeg"): 0.5})
    found = script.summary([case], grey)
    assert found["rule"] == 1.0
    assert found["for_grey_compressed_noise"]["3000"] == 1.0
    assert found["for_grey_compressed_noise"]["4000"] == 0.5
    assert found["for_grey_shown"] == {}
    assert script.summary([case], replace(grey, for_grey_compressed=None))["for_grey_compressed_noise"] == {}
    shows = replace(case, seen=Seen(1000, 0, shown_compression=5000, grey=True))
    found = script.summary([shows], replace(grey, for_grey_shown=6000))
    assert (found["rule"], found["for_grey_shown"]["4000"]) == (1.0, 0.5)


@pytest.mark.skipif(not any(model["shipped"] for model in list_models()), reason="no weights are shipped")
@pytest.mark.parametrize(
    ("scale", "ways", "options"),
    [(1, 7, []), (1, 7, ["--grey"]), (1, 5, ["--grey", "--one-view"]), (4, 3, [])],
)
def test_it_restores_in_every_way(
    script: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    scale: int,
    ways: int,
    options: list[str],
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    pixels = np.random.default_rng(1).integers(90, 120, (50, 66, 3)).astype(np.uint8)
    (images / "picture.png").write_bytes(encode_png(pixels))
    monkeypatch.setattr(script, "NOISE", (0, 8))
    monkeypatch.setattr(script, "QUALITY", (40, None))
    monkeypatch.setattr(script, "BLUR", (1.0,))
    monkeypatch.setattr(script, "NOISY_BLUR", (6,))
    asked = ["x", "--images", str(images), "--scale", str(scale), "--side", "48", *options]
    monkeypatch.setattr(sys, "argv", asked)
    assert script.main() == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["always"]) == ways
    assert any("grey" in name for name in found["always"]) == bool(options)
    assert found["cases"] == (7 if scale == 1 else 8)  # undamaged in its size, nothing can be gained
    assert max(found["rule"], *found["always"].values()) <= found["best each time"]
