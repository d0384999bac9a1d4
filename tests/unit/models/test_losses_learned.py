"""Losses that are networks: what they reward, what they need, and that a resumed run is the unbroken one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from restore_manifests.errors import UsageError
from restore_models import training
from restore_models.checkpoint import Checkpoint, load_checkpoint
from restore_models.losses_learned import Adversary, PerceptualLoss, invents
from restore_models.training import train_restoration
from restore_models.training_config import TrainingConfig

CONFIG = TrainingConfig(
    preset="tiny",
    steps=4,
    batch=2,
    patch=64,
    warmup=1,
    checkpoint_every=2,
    evaluate_every=100,
    page_share=0,
    bf16=False,
    adversarial_weight=0.05,
)


def _pictures(seed: int, count: int = 4) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(-0.9, 0.9, (count, 3, 8, 8)).astype(np.float32))
    return torch.nn.functional.interpolate(coarse, size=(64, 64), mode="bicubic").clamp(-1, 1)


def test_adversary_learns_to_tell_and_then_asks_for_more() -> None:
    adversary = Adversary(1, torch.device("cpu"))
    clean = _pictures(1)
    noise = torch.from_numpy(np.random.default_rng(2).normal(0, 0.3, clean.shape).astype(np.float32))
    degraded = clean + noise
    first = [float(adversary.learn(degraded, clean, degraded, 2e-3)) for _ in range(60)]
    assert np.mean(first[-5:]) < 0.5 * np.mean(first[:5])
    # Once it can tell, a noisy result costs more than the photograph, and the gradient leads away from noise.
    point = degraded.clone().requires_grad_()
    loss = adversary.loss(point, degraded)
    with torch.no_grad():
        assert float(loss.detach()) > 2 * float(adversary.loss(clean, degraded))
    loss.backward()
    assert point.grad is not None
    with torch.no_grad():
        stepped = point - 0.05 * point.grad / point.grad.abs().max()
        assert float(adversary.loss(stepped, degraded)) < float(loss.detach())


def test_run_with_an_adversary_resumes_to_the_same_bits(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train_restoration(CONFIG, data=photographs, out=whole, resume=False)
    save = training.save_checkpoint

    def save_then_stop(path: Path, checkpoint: Checkpoint) -> None:
        save(path, checkpoint)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "save_checkpoint", save_then_stop)
        with pytest.raises(KeyboardInterrupt):
            train_restoration(CONFIG, data=photographs, out=broken, resume=False)
    train_restoration(CONFIG, data=photographs, out=broken, resume=True)
    one, other = (load_checkpoint(folder / "latest.safetensors") for folder in (whole, broken))
    assert {"adversary", "adversary_first", "adversary_second"} <= {n.split(".")[0] for n in one.tensors}
    assert one.tensors.keys() == other.tensors.keys()
    for name, tensor in one.tensors.items():
        assert torch.equal(tensor, other.tensors[name]), name


def test_adversary_changes_what_is_learned(photographs: Path, tmp_path: Path) -> None:
    plain = CONFIG.model_copy(update={"adversarial_weight": 0.0})
    results = []
    for number, config in enumerate((CONFIG, plain)):
        train_restoration(config, data=photographs, out=tmp_path / str(number), resume=False)
        results.append(load_checkpoint(tmp_path / str(number) / "latest.safetensors").group("weights"))
    assert any(not torch.equal(values, results[1][name]) for name, values in results[0].items())


@pytest.mark.parametrize(
    ("settings", "said"),
    [({}, False), ({"lpips_weight": 0.1}, True), ({"adversarial_weight": 0.01}, True)],
)
def test_what_rewards_looking_right_is_said(settings: dict[str, Any], said: bool) -> None:
    config = TrainingConfig(**settings)
    assert invents(config) is said
    assert invents(config.model_dump(mode="json")) is said
    assert invents({}) is False  # weights from before there were such losses


def test_lpips_without_its_backbone_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torchmetrics", reason="LPIPS needs the extra perceptual")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UsageError, match="weights of AlexNet, which are not in"):
        PerceptualLoss(torch.device("cpu"))
    checkpoints = tmp_path / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "alexnet-owt-7be5be79.pth").write_bytes(b"no weights")
    with pytest.raises(UsageError, match="does not hold the weights"):
        PerceptualLoss(torch.device("cpu"))


def test_lpips_needs_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restore_models.losses_learned.importlib.util.find_spec", lambda _name: None)
    with pytest.raises(UsageError, match="torchmetrics"):
        PerceptualLoss(torch.device("cpu"))


def test_lpips_with_weights_in_its_format(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AlexNet with random weights, which already tell pictures apart (Zhang et al. 2018, section 4)."""
    pytest.importorskip("torchmetrics", reason="LPIPS needs the extra perceptual")
    torchvision = pytest.importorskip("torchvision", reason="LPIPS needs the extra perceptual")
    checkpoints = tmp_path / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(torchvision.models.alexnet().state_dict(), checkpoints / "alexnet-owt-7be5be79.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    loss = PerceptualLoss(torch.device("cpu"))
    truth = _pictures(3)
    near, far = truth + 0.02, _pictures(4)
    assert float(loss(truth, truth)) == 0
    assert 0 < float(loss(near, truth)) < float(loss(far, truth))
    point = near.clone().requires_grad_()
    loss(point, truth).backward()
    assert point.grad is not None
    assert float(point.grad.abs().max()) > 0
    config = CONFIG.model_copy(update={"adversarial_weight": 0.0, "lpips_weight": 0.1, "steps": 1})
    assert train_restoration(config, data=photographs, out=tmp_path / "out", resume=False).steps == 1
