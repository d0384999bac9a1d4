"""`train --phase 0` killed at random moments and resumed: what a run that was never broken leaves.

RESTORE_KILLS says how often; the suite's own number is small.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

_STEPS = 80
_CONFIG = f"""
preset = "tiny"
steps = {_STEPS}
batch = 2
patch = 32
warmup = 4
learning_rate = 3e-3
checkpoint_every = 5
evaluate_every = 40
bf16 = false
page_share = 0.0
[degradations]
gaussian = 1.0
"""


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(40):  # some of which are held out, by their names
        smooth = cv2.GaussianBlur(rng.integers(0, 256, (96, 96, 3)).astype(np.uint8), (0, 0), 4)
        cv2.imwrite(str(folder / f"picture{index}.png"), cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX))
    return folder


def test_killed_training_ends_in_the_same_weights(photographs: Path, tmp_path: Path) -> None:
    kills = int(os.environ.get("RESTORE_KILLS", "3"))
    rng = random.Random(int(os.environ.get("RESTORE_SEED", "11")))  # noqa: S311 -- moments, not secrets
    config = tmp_path / "config.toml"
    config.write_text(_CONFIG, encoding="utf-8")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    child = _train(config, photographs, whole)
    _, said = child.communicate()
    assert child.returncode == 0, said
    reached = []
    for _ in range(kills):
        child = _train(config, photographs, broken)
        assert child.stderr is not None
        for _ in range(rng.randint(1, max(1, 5 // kills))):  # each line tells of ten steps
            child.stderr.readline()
        time.sleep(rng.uniform(0.0, 0.15))
        child.kill()
        child.communicate()
        assert not (broken / "model.safetensors").exists()  # it was in the middle
        reached.append(_lines(broken)[-1]["step"] if (broken / "log.jsonl").exists() else 0)
    assert 0 < reached[-1] < _STEPS
    last = _train(config, photographs, broken)
    _, said = last.communicate()
    assert last.returncode == 0, said
    for name in ("latest.safetensors", "average.safetensors", "model.safetensors"):
        assert _parts(whole / name) == _parts(broken / name), name
    assert _parts(whole / "latest.safetensors")[1] != _parts(whole / "model.safetensors")[1]
    assert sorted(path.name for path in whole.iterdir()) == sorted(path.name for path in broken.iterdir())
    one, other = (
        [{k: v for k, v in line.items() if k != "seconds"} for line in _lines(run)] for run in (whole, broken)
    )
    assert one == other
    assert [line["step"] for line in one] == list(range(5, _STEPS + 1, 5))
    losses = [line["loss"] for line in one]
    assert losses[-1] < 0.9 * losses[0]


def _train(config: Path, data: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "restore_cli", "train", "--phase", "0", "--config", str(config)]
    command += ["--data", str(data), "--out", str(out), "--verbose"]
    command += ["--resume"] if (out / "latest.safetensors").exists() else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    )


def _parts(path: Path) -> tuple[dict[str, Any], bytes]:
    """Header and tensors of a safetensors file: its writer orders the metadata anew in every process."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def _lines(out: Path) -> list[dict[str, Any]]:
    """Whole lines of the log."""
    text = (out / "log.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
