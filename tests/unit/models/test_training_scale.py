"""Training in parts, with less memory, in several processes: the same run; and what does not go together."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from restore_manifests.errors import UsageError
from restore_models import training
from restore_models.architecture import PRESETS
from restore_models.checkpoint import load_checkpoint
from restore_models.data import PatchSource, load_photographs
from restore_models.gradient_checkpointing import GradientCheckpointing
from restore_models.network import RestorationNet
from restore_models.shared_pictures import SharedPictures
from restore_models.training import train_restoration
from restore_models.training_batches import Share, upcoming
from restore_models.training_config import TrainingConfig
from restore_models.training_log import TrainingLog

CONFIG = TrainingConfig(
    preset="tiny",
    steps=2,
    batch=4,
    patch=32,
    warmup=1,
    optimiser="adamw",
    learning_rate=1.5e-3,
    clip=1.0,
    evaluate_every=100,
    page_share=0.0,
    bf16=False,
)
# The first steps of AdamW are of the size of the rate whatever the gradient: far below it, a difference
# between two runs is rounding.
_ROUNDING = CONFIG.learning_rate * 0.02
needs_accelerate = pytest.mark.skipif(
    importlib.util.find_spec("accelerate") is None, reason="needs the extra scale (accelerate)"
)
needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="needs the extra tensorboard"
)
Run = Callable[..., dict[str, Tensor]]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for index in range(6):
        smooth = cv2.GaussianBlur(rng.integers(0, 256, (100, 104, 3)).astype(np.uint8), (0, 0), 3)
        cv2.imwrite(str(folder / f"picture{index}.png"), cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX))
    return folder


@pytest.fixture(scope="module")
def weights(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Weights of a run with some settings changed."""

    def run(**changes: object) -> dict[str, Tensor]:
        config = CONFIG.model_copy(update=changes)
        out = tmp_path_factory.mktemp("run")
        done = train_restoration(config, data=photographs, out=out, resume=False)
        return load_checkpoint(done.checkpoint).group("weights")

    return run


@pytest.fixture(scope="module")
def plain(weights: Run) -> dict[str, Tensor]:
    return weights()


def _apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return float(np.mean([float((one[name] - other[name]).abs().mean()) for name in one]))


def test_parts_of_a_batch_add_up_to_it(weights: Run, plain: dict[str, Tensor]) -> None:
    assert _apart(plain, weights(accumulate=4)) < _ROUNDING
    assert _apart(plain, weights(batch=2)) > 5 * _ROUNDING  # the measure sees another batch


def test_what_is_computed_again_is_the_same(weights: Run, plain: dict[str, Tensor]) -> None:
    assert _apart(plain, weights(gradient_checkpointing=True)) < _ROUNDING


@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_checkpointed_network_remembers_less_and_gives_the_same(preset: str) -> None:
    network = RestorationNet(PRESETS[preset], seed=1)
    side = network.graph.multiple
    image = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 3, side, side), dtype=np.float32))
    remembered, gradients = [], []
    for runs in (network, GradientCheckpointing(network)):
        sizes: list[int] = []

        def keep(tensor: Tensor, sizes: list[int] = sizes) -> Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            outputs = runs(image)
        network.zero_grad()
        sum(output.square().mean() for output in outputs.values()).backward()
        gradients.append({name: p.grad for name, p in network.named_parameters()})
        remembered.append(sum(sizes))
    # hooks inside the blocks are checkpoint's own: only what enters them reaches ours
    assert remembered[1] < 0.5 * remembered[0]
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], rtol=1e-4, atol=1e-7), name


def test_processes_make_the_patches_that_threads_make(photographs: Path) -> None:
    source = PatchSource(
        load_photographs(photographs, validation=False),
        seed=5,
        shares={"gaussian": 1.0, "jpeg": 1.0},
        page_share=0.5,
        grey_share=0.1,
    )
    share = Share(batch=4, size=32, rank=1, count=2)
    one, other = (list(upcoming(source, share, 3, 8, workers=workers)) for workers in (0, 1))
    assert len(one) == len(other) == 5
    for step, (here, there) in enumerate(zip(one, other, strict=True), 3):
        whole = source.batch(step, 4, 32)
        assert (here.degraded == there.degraded).all()
        assert (here.degraded == whole.degraded[1::2]).all()
        assert (here.clean == whole.clean[1::2]).all()


def test_pictures_in_shared_memory_are_a_list_of_them() -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((4, 7), (9, 2), (1, 1))]
    shared = SharedPictures(pictures)
    assert len(shared) == 3
    for one, other in zip(pictures, shared, strict=True):
        assert (one == other).all()
    assert (shared[-1] == pictures[-1]).all()
    assert [picture.shape for picture in shared[1:]] == [(9, 2, 3), (1, 1, 3)]
    with pytest.raises(IndexError):
        shared[3]


@needs_accelerate
@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_two_processes_train_as_one(
    photographs: Path, tmp_path: Path, weights: Run, plain: dict[str, Tensor], optimiser: str
) -> None:
    """Two processes on gloo, started by torchrun: the same batch, half of it each."""
    script = tmp_path / "run.py"
    script.write_text(
        "import hashlib, json, sys\n"
        "from pathlib import Path\n"
        "from restore_models import training\n"
        "from restore_models.training_config import TrainingConfig\n"
        "config, data, out = TrainingConfig.model_validate_json(sys.argv[1]), *map(Path, sys.argv[2:4])\n"
        "begin = training.Trainer.begin\n"
        "def keep(trainer):\n"
        "    globals()['trainer'] = trainer\n"
        "    begin(trainer)\n"
        "training.Trainer.begin = keep\n"
        "done = training.train_restoration(config, data=data, out=out, resume=False)\n"
        "held = b''.join(p.detach().numpy().tobytes() for p in trainer.parameters.values())\n"
        "said = {'digest': hashlib.sha256(held).hexdigest(), 'metrics': done.metrics,\n"
        "        'loss': trainer.figures()['loss']}\n"
        "(out / f'rank{trainer.processes.rank}.json').write_text(json.dumps(said))\n",
        encoding="utf-8",
    )
    out = tmp_path / "out"
    config = CONFIG.model_copy(update={"accumulate": 2, "optimiser": optimiser})
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(script), config.model_dump_json(), str(photographs), str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (json.loads((out / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert first["digest"] == second["digest"]
    assert first["loss"] == second["loss"]
    assert first["metrics"]
    assert not second["metrics"]
    together = load_checkpoint(out / "latest.safetensors").group("weights")
    if optimiser == "muon":  # makes full steps of the least rounding: what counts is that kernels are stepped
        alone = weights(optimiser="muon")
        begun = RestorationNet(PRESETS["tiny"], seed=CONFIG.seed).state_dict()
        for name, kernel in together.items():
            moved, moved_alone = kernel - begun[name], alone[name] - begun[name]
            assert float((moved - moved_alone).norm()) < 0.3 * float(moved_alone.norm()), name
    else:
        assert _apart(plain, together) < _ROUNDING
    assert len((out / "log.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch": 3, "accumulate": 2}, "cannot be split"),
        ({"quantised": True, "gradient_checkpointing": True}, "one process"),
    ],
)
def test_settings_that_do_not_go_together(
    photographs: Path, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        train_restoration(
            CONFIG.model_copy(update=changes), data=photographs, out=tmp_path / "run", resume=False
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("size", "said"), [("2", "accelerate"), ("two", "WORLD_SIZE")])
def test_several_processes_without_what_they_need(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str, said: str
) -> None:
    monkeypatch.setenv("WORLD_SIZE", size)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=said):
        train_restoration(CONFIG, data=photographs, out=tmp_path / "run", resume=False)


def test_curves_without_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="TensorBoard"):
        TrainingLog(tmp_path, 0, tmp_path / "curves")


@needs_tensorboard
def test_curves_hold_what_the_log_says(photographs: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import (  # noqa: PLC0415 -- an extra
        EventAccumulator,
    )

    out = tmp_path / "run"
    train_restoration(CONFIG, data=photographs, out=out, resume=False, curves=out / "tensorboard")
    events = EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    (line,) = [json.loads(text) for text in (out / "log.jsonl").read_text().splitlines()]
    assert {"loss", "rate", "psnr/gaussian25", "loss/interval"} <= set(events.Tags()["scalars"])
    for tag, name in (("loss", "loss"), ("psnr/gaussian25", "psnr_gaussian25")):
        (point,) = events.Scalars(tag)
        assert point.step == CONFIG.steps
        assert point.value == pytest.approx(line[name], rel=1e-6)


def test_resumed_log_has_each_step_once(tmp_path: Path) -> None:
    """A run that was killed after a line of the log and before its checkpoint makes that line again."""
    log = TrainingLog(tmp_path, 0, None)
    for step in (10, 20, 30):
        log.checkpoint(step, {"loss": 1.0 / step})
    with (tmp_path / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 40, "sec')  # cut off
    TrainingLog(tmp_path, 20, None).checkpoint(30, {"loss": 0.5})
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 30]
    assert lines[-1]["loss"] == 0.5


def test_run_killed_before_its_last_checkpoint_writes_everything_again(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    config = CONFIG.model_copy(update={"steps": 2, "checkpoint_every": 1})
    save = training.save_average

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "save_average", stop)
        train_restoration(config, data=photographs, out=out, resume=False)
    (out / ".latest.safetensors.0a1b2c3d.partial").write_bytes(b"half")
    train_restoration(config, data=photographs, out=out, resume=True)
    assert training.save_average is save
    assert sorted(path.name for path in out.iterdir()) == [
        "average.safetensors", "latest.safetensors", "log.jsonl"
    ]  # fmt: skip
