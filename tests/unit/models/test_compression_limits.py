"""The benchmark behind the limits of agreement with a compression."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from restore_manifests.pixels import encode_png
from restore_models.restorer import is_grey
from restore_sdk.models import list_models

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "compression_limits.py"


@pytest.fixture(scope="module")
def script(load_benchmark: Callable[[str], ModuleType]) -> ModuleType:
    return load_benchmark("compression_limits")


def test_only_what_is_within_a_limit_adds_anything(script: ModuleType) -> None:
    cases = [
        script.Case(1.0, 30, (0.4,) * len(script.TRIED)),
        script.Case(2.0, 170, (-0.8,) * len(script.TRIED)),
    ]
    found = script.summary(cases, 3)
    assert (found["pictures"], found["found"], found["gain"], found["agreeing"]) == (3, 2, 1.5, 1)
    assert (found["added"], found["worst"]) == (0.2, 0.0)
    by = found["by limits"]
    shipped = [by[f"24/64, half 12, least 8, {most}"] for most in (20, 50, 150, 200, 1000)]
    assert shipped == [0.0, 0.2, 0.2, -0.2, -0.2]
    assert script.summary([], 3) == {"pictures": 3, "found": 0}


def test_damage_is_of_the_kind_that_its_name_says(script: ModuleType) -> None:
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.uniform(0.1, 0.9, (96, 112, 1)), (0, 0), 1.0)[:, :, None]
    grey = np.repeat(image, 3, axis=2).astype(np.float32)
    done = {name: kind(grey, np.random.default_rng(1)) for name, kind in script.KINDS.items()}
    assert all(one.shape == grey.shape for one in done.values())
    assert is_grey(done["noise of 4, then quality 75"])
    far = {name: float(np.abs(one - grey).mean()) for name, one in done.items()}
    assert far["quality 95"] < far["quality 75"] < far["quality 10"]
    assert far["noise of 1, then quality 90"] < far["noise of 8, then quality 90"]
    assert far["quality 40"] < far["quality 40, cropped, then 80"] * 1.5
    assert not np.array_equal(done["quality 40, cropped, then 80"], done["quality 40, then 80"])


@pytest.mark.skipif(not any(model["shipped"] for model in list_models()), reason="no weights are shipped")
def test_it_restores_and_says_what_agreeing_adds(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    texture = np.random.default_rng(1).normal(0, 1, (96, 96, 3))
    pixels = np.clip(128 + 90 * cv2.GaussianBlur(texture, (0, 0), 1.2), 5, 250).astype(np.uint8)
    (images / "picture.png").write_bytes(encode_png(pixels))
    kinds = ("quality 40", "noise of 8, then quality 90")
    monkeypatch.setattr(script, "KINDS", {name: script.KINDS[name] for name in kinds})
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--images", str(images), "--grey"])
    assert script.main() == 0
    said = json.loads(capsys.readouterr().out)["kinds"]
    assert [said[name]["pictures"] for name in kinds] == [1, 1]
    assert said["quality 40"]["found"] == 1
