"""Panels to judge by eye: the enlarged square lies where most changed, and bad input is one sentence."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture(scope="module")
def script(load_benchmark: Callable[[str], ModuleType]) -> ModuleType:
    return load_benchmark("panels")


@pytest.mark.parametrize("place", [(0, 0), (37, 61), (80, 100)])
def test_the_square_lies_where_most_changed(script: ModuleType, place: tuple[int, int]) -> None:
    edit = np.ones((100, 120), np.uint8)
    edit[place[0] : place[0] + 20, place[1] : place[1] + 20] = 200
    assert script.strongest_square(edit, 20) == place


def test_a_square_larger_than_the_picture_is_all_of_it(script: ModuleType) -> None:
    assert script.strongest_square(np.ones((10, 30), np.uint8), 60) == (0, 0)
    assert script.square_at((10, 30), (5, 5), 60) == (0, 0)


def test_a_named_place_stays_inside(script: ModuleType) -> None:
    assert script.square_at((100, 120), (60, 50), 20) == (40, 50)
    assert script.square_at((100, 120), (119, 99), 20) == (80, 100)
    assert script.square_at((100, 120), (0, 0), 20) == (0, 0)


@pytest.mark.parametrize("height", [40, 300])
def test_a_panel_shows_the_square_before_and_after(script: ModuleType, height: int) -> None:
    before = np.full((height, 60, 3), (200, 10, 10), np.uint8)
    after = np.full((height, 60, 3), (10, 10, 200), np.uint8)
    edit, confidence = np.zeros((2, height, 60), np.uint8)
    shown = np.asarray(script.panel(before, after, edit, confidence, "t", side=30))
    below = shown[-40]  # a row of the squares
    assert (below == (200, 10, 10)).all(axis=1).sum() >= 60  # at least twice as large
    assert (below == (10, 10, 200)).all(axis=1).sum() >= 60


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["a/x.png", "b/x.png"], "Several pictures are called x"),
        (["a/x.png", "--at", "here"], "is no place"),
        (["a/x.png", "--side", "0"], "shows nothing"),
    ],
)
def test_wrong_use_is_one_sentence(
    script: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.setattr(sys, "argv", ["panels", *arguments, "-o", str(tmp_path)])
    assert script.main() == 2
    assert says in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
