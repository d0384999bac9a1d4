"""Where networks run: named by the environment, refused in one sentence, never called exact untried."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from restore_manifests.errors import ModelError, UsageError
from restore_models.program import load_program
from restore_models.zoo import ModelFile, find_model
from restore_sdk import executors
from restore_sdk.devices import device_in_use
from restore_sdk.executors import make_executor
from restore_sdk.selftest import selftest


@pytest.mark.parametrize("value", [None, "", " cpu ", "cpu"])
def test_the_processor_unless_told_otherwise(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESTORE_DEVICE", raising=False)
    if value is not None:
        monkeypatch.setenv("RESTORE_DEVICE", value)
    assert device_in_use() == "cpu"


@pytest.mark.parametrize("value", ["gpu", "cuda:", "cuda:x", "CUDA", "cuda:1;", "mps", "cuda:9999"])
def test_other_names_are_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTORE_DEVICE", value)
    with pytest.raises(UsageError, match="no device that restore runs on"):
        device_in_use()


@pytest.mark.parametrize(
    ("value", "count", "there"), [("cuda", 1, True), ("cuda:1", 2, True), ("cuda:1", 1, False)]
)
def test_cuda_devices_are_counted(
    value: str, count: int, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORE_DEVICE", value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    if there:
        assert device_in_use() == value
    else:
        with pytest.raises(UsageError, match="finds 1 CUDA devices"):
            device_in_use()


def test_a_device_that_is_not_there_ends_the_self_test(monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    monkeypatch.setenv("RESTORE_DEVICE", "cuda")
    with pytest.raises(UsageError, match="finds 0 CUDA devices here"):
        selftest()


def test_nothing_is_exact_on_another_device_without_known_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = find_model(None, tmp_path)
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(shipped.path.read_bytes())
    monkeypatch.setattr(executors, "device_in_use", lambda: "meta")
    with pytest.raises(ModelError, match="without known answers"):
        make_executor(ModelFile("alone", alone, False), load_program(alone), exact=True)
