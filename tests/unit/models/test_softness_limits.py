"""The benchmark behind the limits of softness: what the chosen of two ways gains, by any limit."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from restore_manifests.pixels import encode_png
from restore_models.routing import Rule, Seen
from restore_sdk.models import list_models

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "softness_limits.py"


@pytest.fixture(scope="module")
def script(load_benchmark: Callable[[str], ModuleType]) -> ModuleType:
    return load_benchmark("softness_limits")


def test_every_limit_chooses_by_the_tiles_that_it_asks(script: ModuleType) -> None:
    rule = Rule("noisy", "quiet", 1000, 15_000, 9000, soft_after=400, soft_per_level=10, soft_tiles=1)

    def seen(*blurs: int) -> dict[int | None, Seen]:
        return {n: Seen(10_000, 0, blur_after=blur) for n, blur in zip(script.TILES, blurs, strict=True)}

    cases = [
        script.Case(0.0, seen(600, 100, 300, 300, 300, 300), alone=5.0, twice=2.0),
        script.Case(1.5, seen(900, 700, 800, 800, 800, 800), alone=1.0, twice=3.0),
    ]
    found = script.summary(cases, rule)
    assert found["rule"] == found["better of both each time"] == 4.0
    assert (found["noise alone"], found["blind then quiet"]) == (3.0, 2.5)
    assert (found["sharp"]["rule"], found["blurred"]["rule"], found["pictures"]) == (5.0, 3.0, 2)
    assert found["tiles"]["all"]["400, 10"] == 2.5  # both are taken for soft
    assert found["tiles"]["1"]["400, 10"] == 4.0
    assert found["tiles"]["3"]["250, 0"] == 2.5
    assert found["tiles"]["1"]["700, 40"] == 3.0


def test_damage_is_drawn_anew_for_each_picture(script: ModuleType) -> None:
    image = np.random.default_rng(1).integers(0, 256, (300, 500, 3)).astype(np.uint8)
    parts = [script.drawn_part(image, np.random.default_rng(seed)) for seed in range(8)]
    assert {part.shape for part in parts} == {(288, 416, 3)}
    drawn = [script.damaged(part, np.random.default_rng([7, seed])) for seed, part in enumerate(parts)]
    assert {shown.shape for shown, _ in drawn} == {(288, 416, 3)}
    assert 0 < sum(blur > 0 for _, blur in drawn) < 8


@pytest.mark.skipif(not any(model["shipped"] for model in list_models()), reason="no weights are shipped")
def test_it_restores_both_ways(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    pixels = np.random.default_rng(1).integers(90, 120, (40, 50, 3)).astype(np.uint8)
    (images / "picture.png").write_bytes(encode_png(pixels))
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--images", str(images), "--rounds", "2"])
    assert script.main() == 0
    said = json.loads(capsys.readouterr().out)
    assert said["pictures"] == said["sharp"]["pictures"] + said["blurred"]["pictures"] == 2
    assert said["noise alone"] <= said["better of both each time"]
    assert len(said["tiles"]["3"]) == len(script.SOFT_AFTER) * len(script.PER_LEVEL)
