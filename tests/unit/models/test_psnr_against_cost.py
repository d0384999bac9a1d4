"""PSNR against cost: only like beside like, published points told apart, wrong input in one sentence."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from restore_sdk.models import list_models

pytestmark = pytest.mark.skipif(
    not any(model["shipped"] for model in list_models()), reason="no weights are shipped"
)


@pytest.fixture(scope="module")
def script(load_benchmark: Callable[[str], ModuleType]) -> ModuleType:
    return load_benchmark("psnr_against_cost")


def _result(path: Path, dataset: str, images: int) -> Path:
    rows = [
        {"dataset": dataset, "setting": f"sigma {sigma}", "psnr": psnr, "ssim": 0.9, "images": images}
        for sigma, psnr in ((15, 33.5), (25, 31.25))
    ]
    path.write_text(json.dumps({"suite": "gaussian", "rows": rows}), encoding="utf-8")
    return path


def test_ours_stands_beside_what_was_published_on_the_same_set(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    whole, part = _result(tmp_path / "a.json", "CBSD68", 68), _result(tmp_path / "b.json", "Kodak24", 6)
    plot = tmp_path / "plot.svg"
    monkeypatch.setattr(sys, "argv", ["x", str(whole), str(part), "-o", str(plot), "--json"])
    assert script.main() == 0
    points = json.loads(capsys.readouterr().out)["points"]
    assert {point["dataset"] for point in points} == {"CBSD68"}  # six of Kodak24 are another set
    (ours,) = [point for point in points if not point["published"]]
    assert ours["psnr"] == 31.25
    assert ours["method"] in {model["id"] for model in list_models()}
    assert 1 < ours["gmacs"] < 100
    assert {
        "method": "SCUNet",
        "psnr": 31.79,
        "gmacs": 78.7,
        "published": True,
        "dataset": "CBSD68",
    } in points
    assert plot.read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize(
    ("text", "said"),
    [("{}", "no result"), ("not json", "no result"), (None, "no result"), ("few", "others published")],
)
def test_what_cannot_be_drawn_is_one_sentence(
    script: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str | None,
    said: str,
) -> None:
    path = tmp_path / "result.json"
    if text == "few":
        _result(path, "CBSD68", 5)
    elif text is not None:
        path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["x", str(path)])
    assert script.main() == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert "Traceback" not in shown.err
