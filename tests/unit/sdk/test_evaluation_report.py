"""The page of a measured suite: self-contained, escaped, and plain about whose figures stand where."""

from __future__ import annotations

import base64
import json
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import pytest

from restore_cli.__main__ import main
from restore_manifests.errors import UsageError
from restore_sdk.evaluation import evaluate
from restore_sdk.evaluation_plots import NO_PLOTS, draw_plots
from restore_sdk.evaluation_report import render_evaluation
from restore_sdk.published import published_for


def rows(suite: str, settings: list[str], images: int = 68, **figures: Any) -> list[dict[str, Any]]:
    return [
        {
            "dataset": "CBSD68",
            "setting": setting,
            "psnr": 33.5 - 3 * number,
            "ssim": 0.91,
            "psnr_input": 24.8 - 4 * number,
            "ssim_input": 0.57,
            **figures,
            "images": images,
        }
        for number, setting in enumerate(settings)
    ]


def document(suite: str, made: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "suite": suite,
        "model": "blind-small-1",
        "arithmetic": "exact",
        "gmacs": 14.62,
        "rows": made,
        "notes": [],
        "texts": [],
        "report": None,
        **more,
    }


SIGMAS = rows("gaussian", ["sigma 15", "sigma 25", "sigma 50"])
SUITES = {
    "gaussian": SIGMAS,
    "jpeg": rows("jpeg", ["quality 10", "quality 20", "quality 30", "quality 40"]),
    "sr": rows("sr", ["x2", "x4"]),
    "realistic": rows("realistic", ["sigma 15, 8-bit file", "blur 1.5 pixels, then sigma 5"]),
    "real": rows("real", ["pairs"]),
    "estimate": rows("estimate", ["noise_sigma, all", "noise_sigma, jpeg"], mae=1.5, bias=-0.5, inside=0.9),
    "calibration": rows("calibration", ["blur", "jpeg"], outside=0.08, outside_upper=0.2, width=9.0),
    "hallucination": rows("hallucination", ["undamaged"], changed=0.01, made_worse=0.0, unsupported=None),
}


ALONE = rows(
    "estimate",
    [
        *(f"noise_sigma, alone: {sigma}" for sigma in (5, 15)),
        *(f"jpeg_loss, alone: {word}quality {q}" for word in ("", "cropped, ") for q in (10, 90)),
    ],
    mae=1.5,
    bias=-0.5,
    inside=0.9,
)


def test_levels_of_damage_done_alone_have_a_plot_of_their_own() -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plots")
    kinds = draw_plots("estimate", SUITES["estimate"], [])
    both = draw_plots("estimate", [*SUITES["estimate"], *ALONE], [])
    assert kinds is not None and both is not None
    assert len(kinds) == 1 and len(both) == 2
    assert both[0].svg == kinds[0].svg  # the levels do not crowd the plot by kind
    assert "against the truth" in both[1].caption


@pytest.mark.parametrize("suite", SUITES)
def test_every_suite_has_a_page_that_stands_alone(suite: str) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plots")
    page = render_evaluation(document(suite, SUITES[suite]))
    assert "default-src 'none'" in page
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    pictures = [base64.b64decode(data) for data in re.findall(r"data:image/svg\+xml;base64,([^\"]+)", page)]
    assert pictures
    for picture in pictures:
        root = ET.fromstring(picture)  # noqa: S314 -- made a line above
        assert root.tag.endswith("svg")
        assert b"http://" not in re.sub(rb'xmlns(:\w+)?="[^"]*"|"http://[^"]*"', b"", picture)
    for row in SUITES[suite]:
        assert row["setting"] in page


def test_a_plot_is_the_same_for_the_same_figures() -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plots")
    peers = published_for("gaussian", "CBSD68", 68)
    assert draw_plots("gaussian", SIGMAS, peers) == draw_plots("gaussian", SIGMAS, peers)


def test_published_figures_are_marked() -> None:
    page = render_evaluation(document("gaussian", SIGMAS))
    assert "34.30" in page  # DRUNet, sigma 15
    assert page.count("published, not measured here") == 1 + len(published_for("gaussian", "CBSD68", 68))
    assert "this model, measured here" in page


@pytest.mark.parametrize(
    ("suite", "dataset", "images", "method", "psnr"),
    [
        ("gaussian", "Urban100", 100, "SCUNet", {"sigma 15": 35.18, "sigma 25": 33.03, "sigma 50": 30.14}),
        ("sr", "Set5", 5, "SwinIR-light", {"x2": 38.14, "x4": 32.44}),
        ("sr", "Urban100", 100, "HAT", {"x4": 27.97}),
        ("jpeg", "Classic5", 5, "DnCNN-3",
         {"quality 10": 29.40, "quality 20": 31.63, "quality 30": 32.91, "quality 40": 33.77}),
    ],
)  # fmt: skip
def test_published_figures_are_those_of_the_tables(
    suite: str, dataset: str, images: int, method: str, psnr: dict[str, float]
) -> None:
    assert {peer.method: peer.psnr for peer in published_for(suite, dataset, images)}[method] == psnr


def test_quality_is_set_against_cost() -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plots")
    peers = published_for("gaussian", "CBSD68", 68)
    captions = [plot.caption for plot in draw_plots("gaussian", SIGMAS, peers, 14.62) or []]
    assert any("against cost" in caption for caption in captions)
    assert len(draw_plots("gaussian", SIGMAS, peers, None) or []) == 1
    assert len(draw_plots("gaussian", SIGMAS, [], 14.62) or []) == 1
    assert "14.62 billion" in render_evaluation(document("gaussian", SIGMAS))


def test_other_pictures_stand_beside_nobody() -> None:
    assert published_for("gaussian", "CBSD68", 17) == []
    assert published_for("gaussian", "Urban100_odd", 10) == []
    assert published_for("realistic", "CBSD68", 68) == []
    made = rows("gaussian", ["sigma 15", "sigma 25", "sigma 50"], images=17)
    assert "published" not in render_evaluation(document("gaussian", made))


def test_names_and_texts_are_escaped() -> None:
    text = {"image": "<b>", "setting": "s", "truth": "<script>", "input": "", "output": "&"}
    page = render_evaluation(document("real", SUITES["real"], texts=[text], notes=["<i>"], model="<u>"))
    assert "<script>" not in page and "<b>" not in page and "<i>" not in page and "<u>" not in page
    assert "&lt;script&gt;" in page


def test_without_matplotlib_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert draw_plots("gaussian", SIGMAS, []) is None
    page = render_evaluation(document("gaussian", SIGMAS))
    assert NO_PLOTS in page.replace("&#39;", "'")
    assert "data:image" not in page


def test_report_is_written_and_never_over_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    assert cv2.imwrite(str(folder / "a_gt.png"), np.full((20, 20), 90, np.uint8))
    assert cv2.imwrite(str(folder / "a_noisy.png"), np.full((20, 20), 99, np.uint8))
    report = tmp_path / "real.html"
    words = ["evaluate", "real", "--images", str(folder), "--report", str(report)]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) >= {"suite", "model", "arithmetic", "rows", "notes", "texts", "report"}
    assert found["report"] == str(report)
    assert found["gmacs"] is None or 1 < found["gmacs"] < 100
    assert "pairs" in report.read_text(encoding="utf-8")
    before = report.read_bytes()
    assert main(words) == 2
    assert report.read_bytes() == before
    assert main([*words, "--force", "--quiet"]) == 0
    with pytest.raises(UsageError, match="no such folder"):
        evaluate("real", images=folder, report=tmp_path / "none" / "x.html")
