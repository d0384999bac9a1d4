"""The ablation runner: one row a configuration, finished runs kept, wrong plans in one sentence."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from restore_manifests.errors import UsageError
from restore_models.architecture import PRESETS

TWO = """
[base]
preset = "tiny"
steps = 2
batch = 1
patch = 32
warmup = 1
bf16 = false
[[run]]
name = "Base line"
[[run]]
name = "ssim & window 4"
ssim_weight = 0.1
architecture = { window = 4, blocks = [1, 1] }
"""


@pytest.fixture(scope="module")
def ablation(load_benchmark: Callable[[str], ModuleType]) -> ModuleType:
    return load_benchmark("ablation")


def test_every_configuration_has_a_row(
    ablation: ModuleType, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    plan, out = tmp_path / "plan.toml", tmp_path / "out"
    plan.write_text(TWO, encoding="utf-8")
    presets = dict(PRESETS)
    words = ["ablation.py", str(plan), "--data", str(photographs), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", words)
    assert ablation.main() == 0
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("| Base line |") and "(+0.00)" in lines[2]
    assert lines[3].startswith("| ssim & window 4 |")
    assert (out / "table.md").read_text(encoding="utf-8") == shown
    row = json.loads((out / "ssim-window-4" / "row.json").read_text(encoding="utf-8"))
    assert row["settings"]["architecture"]["window"] == 4
    assert row["settings"]["config"]["ssim_weight"] == 0.1
    assert row["steps"] == 2
    assert presets == PRESETS
    monkeypatch.setattr(ablation, "train_restoration", None)  # not trained again
    assert ablation.main() == 0
    assert capsys.readouterr().out == shown
    plan.write_text(TWO.replace("ssim_weight = 0.1", "ssim_weight = 0.2"), encoding="utf-8")
    assert ablation.main() == 2
    assert "other settings" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["ablation.py", str(tmp_path / "none.toml"), *words[2:]])
    assert ablation.main() == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "run"),
        ("run = []", "at least one"),
        ("[[run]]\nloss = 'l1'", "name"),
        ("[[run]]\nname = 'a'\nloss = 'x'", "loss"),
        ("[[run]]\nname = 'a'\nsteps = ", "cannot be run"),
        ("[[run]]\nname = 'a'\npreset = 'huge'", "no preset"),
        ("[[run]]\nname = 'a'\narchitecture = { depth = 3 }", "depth"),
        ("[[run]]\nname = 'a'\narchitecture = { blocks = [1] }", "block counts"),
        ("[[run]]\nname = 'a b'\n[[run]]\nname = 'A-b'", "name of its own"),
        ("[other]\n[[run]]\nname = 'a'", "other"),
    ],
)
def test_wrong_plans_are_one_sentence(ablation: ModuleType, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ablation.read_plan(text)


def test_the_plan_in_the_script_is_one(ablation: ModuleType) -> None:
    runs = ablation.read_plan(ablation.PLAN)
    assert len(runs) == len({run.name for run in runs}) > 5
