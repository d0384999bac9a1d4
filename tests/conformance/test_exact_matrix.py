"""The shipped model gives one digest for each image over a covering few settings; the full grid: make."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from restore_manifests.errors import ModelError
from restore_models import exact_matrix
from restore_models.exact_matrix import (
    CAPS,
    Run,
    Setting,
    differences,
    matrix_images,
    matrix_settings,
    run_matrix,
)
from restore_models.program import load_program, save_program

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "vectors" / "program" / "tiny.safetensors"


def test_reduced_matrix_gives_one_digest_for_each_image() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "exact_matrix.py", "--reduced", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    found = json.loads(done.stdout)
    assert found["different"] == {}
    assert len(found["images"]) >= 12
    assert len(set(found["images"].values())) == len(found["images"])
    ran = {run["setting"]["executor"] for run in found["runs"]}
    assert ran == {"torch", "onnx", "reference"}
    for name in found["images"]:
        executors = {run["setting"]["executor"] for run in found["runs"] if run["image"] == name}
        assert executors == ran, name


def test_one_parameter_more_gives_a_second_digest(tmp_path: Path) -> None:
    """The matrix sees what it is for: two programs that differ in one bias, each in a process of its own."""
    program = load_program(TINY)
    name = f"{next(s.name for s in program.instructions if s.inputs != ('image',))}.bias"
    bias = program.tensors[name].copy()
    bias[0] += 1 << int(program.tensors[name.replace(".bias", ".shift")][0])
    changed = tmp_path / "changed.safetensors"
    save_program(changed, dataclasses.replace(program, tensors={**program.tensors, name: bias}))
    setting = [Setting("torch", "lowest")]
    runs = [
        run for path in (TINY, changed) for found in run_matrix(path, setting, reduced=True) for run in found
    ]
    assert differences(runs)


def test_the_exit_code_says_whether_one_digest_differs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lie = {"at": -1}

    def runs(model: Path, settings: Sequence[Setting], **_: Any) -> Iterator[list[Run]]:
        for index, setting in enumerate(settings):
            digest = "b" * 64 if index == lie["at"] else "a" * 64
            yield [Run(setting, 0, 1, name, digest, 0.0, "X") for name in ("one", "two")]

    monkeypatch.setattr(exact_matrix, "run_matrix", runs)
    assert exact_matrix.main(["--model", str(TINY)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "30 runs, 2 images, 1 digest each"
    lie["at"] = 3
    assert exact_matrix.main(["--model", str(TINY)]) == 1
    out = capsys.readouterr().out
    assert "30 runs, 2 images, 2 of them with more than one digest" in out
    assert "a" * 16 + " " + "b" * 16 in out
    assert exact_matrix.main(["--model", str(TINY), "--json"]) == 1
    assert set(json.loads(capsys.readouterr().out)["different"]) == {"one", "two"}


def test_a_process_that_fails_is_not_a_pass(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"torch, lowest, 1 thread, oneDNN on did not run \(exit code 1\)"):
        list(run_matrix(tmp_path / "none.safetensors", [Setting("torch", "lowest")], reduced=True))


@pytest.mark.parametrize("reduced", [True, False])
def test_grid_covers_every_value(reduced: bool) -> None:
    settings = matrix_settings(64, reduced=reduced)
    torch_settings = [s for s in settings if s.executor == "torch"]
    assert {s.caps for s in torch_settings} == set(CAPS)
    assert {(s.threads, s.onednn) for s in torch_settings} == {(t, o) for t in (1, 2) for o in (True, False)}
    assert {b for s in torch_settings for b in s.batches} == {1, 4}
    assert {t for s in torch_settings for t in s.tiles} == {64 if reduced else 128, 256, 0}
    assert {s.executor for s in settings} == {"torch", "onnx", "reference"}
    if not reduced:
        assert len(torch_settings) == 3 * 2 * 2
        assert all(s.tiles == (128, 256, 0) and s.batches == (1, 4) for s in torch_settings)


@pytest.mark.parametrize("reduced", [True, False])
def test_images_are_varied_and_repeatable(reduced: bool) -> None:
    images = matrix_images(reduced=reduced)
    again = matrix_images(reduced=reduced)
    assert len(images) >= 12
    assert all(np.array_equal(images[name], again[name]) for name in images)
    shapes = {image.shape[:2] for image in images.values()}
    assert (1, 1) in shapes
    assert any(h % 2 and w % 2 for h, w in shapes)
    assert {image.ndim for image in images.values()} == {2, 3}
    assert {image.dtype.name for image in images.values()} == {"uint8", "uint16"}
    assert reduced or (4001, 37) in shapes
