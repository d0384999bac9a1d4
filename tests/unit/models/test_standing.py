"""Known answers before the first exact run: a lying executor is refused, a pass is remembered, no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from restore_manifests.errors import ModelError, UsageError
from restore_models import standing as module
from restore_models.program import Program
from restore_models.restorer import Integers, TorchRunner
from restore_models.standing import Standing, make_executor, standing
from restore_models.vectors import make_vectors


class Counting:
    """A true executor, or one that is off by one in one place, which counts how often it is asked."""

    def __init__(self, program: Program, error: int = 0) -> None:
        self.program = program
        self.error = error
        self.asked = 0
        self._runner = TorchRunner(program)

    def integers(self, image: Integers) -> dict[str, Integers]:
        self.asked += 1
        outputs = self._runner.integers(image)
        outputs["residual"][1, 0, 0] += 64 * self.error
        return outputs


@pytest.fixture(scope="session")
def vectors(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("answers") / "tiny.vectors.json"
    make_vectors(program, path)
    return path


def test_a_true_executor_passes_once(program: Program, vectors: Path, tmp_path: Path) -> None:
    executor = Counting(program)
    cache = tmp_path / "new" / "cache"
    assert standing("torch", "cpu", program, vectors, cache, executor=executor) == Standing(True, [])
    asked = executor.asked
    assert asked >= 4
    assert standing("torch", "cpu", program, vectors, cache, executor=executor).ok
    assert executor.asked == asked
    assert len(list(cache.iterdir())) == 1


def test_a_lying_executor_is_refused_every_time(program: Program, vectors: Path, tmp_path: Path) -> None:
    executor = Counting(program, error=1)
    for _ in range(2):
        found = standing("torch", "cpu", program, vectors, tmp_path, executor=executor)
        assert not found.ok
        assert "64x64x3x8" in found.failed
    assert executor.asked >= 8
    assert not list(tmp_path.glob("standing-*"))
    assert standing("torch", "cpu", program, vectors, tmp_path).ok


@pytest.mark.parametrize("change", ["version", "setting", "capability", "environment", "program", "executor"])
def test_other_circumstances_are_tried_again(
    change: str, program: Program, vectors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert standing("torch", "cpu", program, vectors, tmp_path, executor=Counting(program)).ok
    executor, name, wanted, answers = Counting(program), "torch", program, vectors
    match change:
        case "version":
            monkeypatch.setattr(torch, "__version__", "9.9.9")
        case "setting":
            monkeypatch.setattr(torch.backends.mkldnn, "enabled", False, raising=False)
        case "capability":
            monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "OTHER")
        case "environment":
            monkeypatch.setenv("ONEDNN_DEFAULT_FPMATH_MODE", "BF16")
        case "executor":
            name = "reference"
        case "program":
            answers = tmp_path / "again.json"
            answers.write_text(vectors.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert standing(name, "cpu", wanted, answers, tmp_path, executor=executor).ok
    assert executor.asked >= 4


@pytest.mark.parametrize("damage", ["", "{}", '{"format": "restore.standing/1"}', "\x00\xff"])
def test_a_damaged_cache_is_ignored_and_mended(
    damage: str, program: Program, vectors: Path, tmp_path: Path
) -> None:
    executor = Counting(program)
    standing("torch", "cpu", program, vectors, tmp_path, executor=executor)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage.encode("latin-1"))
    asked = executor.asked
    assert standing("torch", "cpu", program, vectors, tmp_path, executor=executor).ok
    assert executor.asked > asked
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


def test_a_cache_that_cannot_be_written_does_no_harm(program: Program, vectors: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder", encoding="utf-8")
    assert standing("torch", "cpu", program, vectors, blocked, executor=Counting(program)).ok


def test_answers_of_another_program_are_refused(program: Program, vectors: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text(
        vectors.read_text(encoding="utf-8").replace(program.program_sha256(), "0" * 64), encoding="utf-8"
    )
    with pytest.raises(ModelError, match="another program"):
        standing("torch", "cpu", program, wrong, tmp_path)


def test_executors_by_name(
    program: Program, vectors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[Any, ...]] = []

    def recorded(*arguments: Any) -> Any:
        made.append(arguments)
        return make_executor(*arguments)

    monkeypatch.setattr(module, "make_executor", recorded)
    for name in ("torch", "onnx", "reference"):
        assert standing(name, "cpu", program, vectors, tmp_path).ok
        assert standing(name, "cpu", program, vectors, tmp_path).ok
    assert [name for name, *_ in made] == ["torch", "onnx", "reference"]
    for name, device in (("onnx", "cuda"), ("other", "cpu")):
        with pytest.raises(UsageError, match="There is no executor"):
            make_executor(name, device, program)
