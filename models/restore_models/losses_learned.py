"""Losses that are networks themselves: LPIPS, and an adversary that learns to tell results from photographs.

Both reward looking right, not being right: a network trained with them may invent detail. They are off by
default, and results of a program that was trained with one carry the label of generated content.
"""

from __future__ import annotations

import importlib.util
import itertools
import pickle
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from restore_manifests.errors import UsageError

__all__ = ["Adversary", "PerceptualLoss", "invents"]

_BACKBONE = "alexnet-owt-7be5be79.pth"
"""AlexNet trained on ImageNet, under the name that torchvision gives the file."""


class _Settings(Protocol):
    @property
    def lpips_weight(self) -> float: ...
    @property
    def adversarial_weight(self) -> float: ...


def invents(config: _Settings | dict[str, Any]) -> bool:
    """Whether a training configuration rewards looking right: an object, or the JSON of a program's notes."""
    if not isinstance(config, dict):
        return config.lpips_weight > 0 or config.adversarial_weight > 0
    return any(config.get(name, 0) != 0 for name in ("lpips_weight", "adversarial_weight"))


class PerceptualLoss:
    """LPIPS with AlexNet (Zhang et al. 2018), by torchmetrics; no gradient reaches its own weights.

    The backbone is not fetched: it is read from where torchvision keeps it,
    `$TORCH_HOME/hub/checkpoints/alexnet-owt-7be5be79.pth`.

    Raises:
        UsageError: if the extra `perceptual` or the backbone is missing, or the file is not AlexNet's.
    """

    def __init__(self, device: torch.device) -> None:
        if any(importlib.util.find_spec(name) is None for name in ("torchmetrics", "torchvision")):
            raise UsageError(
                "LPIPS needs torchmetrics and torchvision, which are not installed.",
                hint="Install the extra with pip install 'forensic-restore[perceptual]'.",
            )
        backbone = Path(torch.hub.get_dir()) / "checkpoints" / _BACKBONE
        if not backbone.is_file():
            raise UsageError(
                f"LPIPS needs the weights of AlexNet, which are not in {backbone}.",
                hint="Put torchvision's file there, or set lpips_weight = 0.",
            )
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity  # noqa: PLC0415 -- an extra

        try:
            # torchvision would run what a forged pickle says: this load takes tensors only, and comes first.
            torch.load(backbone, map_location="cpu", weights_only=True)
            metric = LearnedPerceptualImagePatchSimilarity(net_type="alex")
        except (RuntimeError, OSError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as problem:
            raise UsageError(
                f"{backbone} does not hold the weights of AlexNet.", hint="Put torchvision's file there."
            ) from problem
        self._net = metric.net.to(device)

    def __call__(self, point: Tensor, truth: Tensor) -> Tensor:
        """Mean distance of two batches (batch, 3, h, w) in network units, sides at least 64."""
        # Network units run from -0.996 to 0.996: LPIPS wants -1 to 1.
        distances: Tensor = self._net(point.clamp(-1, 1), truth.clamp(-1, 1))
        return distances.mean()


class Adversary:
    """Tells photographs from results, each seen beside the damaged picture that the result was made of.

    A network of four convolutions that judges overlapping places of 46 pixels (Isola et al. 2017,
    "PatchGAN"), trained by least squares (Mao et al. 2017) with AdamW at the restoration's rate. It is thrown
    away after training; its state is kept in checkpoints so that a resumed run is the unbroken one.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        rng = np.random.default_rng([seed, 12])
        widths = (6, 32, 64, 128, 1)
        layers = [
            nn.Conv2d(source, width, 4, 2 if index < 3 else 1, 1)
            for index, (source, width) in enumerate(itertools.pairwise(widths))
        ]
        for layer in layers:
            # torch's own generators differ between instruction sets; NumPy's do not.
            drawn = rng.standard_normal(tuple(layer.weight.shape), dtype=np.float32)
            layer.weight.data = torch.from_numpy(drawn * np.float32((layer.in_channels * 16 / 2) ** -0.5))
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # there is one
        self._layers = nn.ModuleList(layers).to(device)
        self._parameters = dict(self._layers.named_parameters())
        self._optimiser = torch.optim.AdamW(self._parameters.values(), lr=1.0, betas=(0.5, 0.99))

    def loss(self, point: Tensor, degraded: Tensor) -> Tensor:
        """How far results are from being taken for photographs; its gradient is the restoration's."""
        return (self._judge(point, degraded) - 1).square().mean()

    def learn(self, point: Tensor, clean: Tensor, degraded: Tensor, rate: float) -> Tensor:
        """One step on a batch of results and the photographs they should have been; its own loss."""
        self._optimiser.zero_grad()
        real, made = self._judge(clean, degraded), self._judge(point.detach(), degraded)
        loss = 0.5 * ((real - 1).square().mean() + made.square().mean())
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.step()
        return loss.detach()

    def _judge(self, image: Tensor, degraded: Tensor) -> Tensor:
        values = torch.cat([image, degraded], dim=1)
        for number, layer in enumerate(self._layers):
            values = layer(values)
            if number < len(self._layers) - 1:
                values = functional.leaky_relu(values, 0.2)
        return values

    def state(self) -> dict[str, Tensor]:
        """Weights and moments by name, for a checkpoint."""
        tensors = {f"adversary.{name}": p.detach() for name, p in self._parameters.items()}
        for name, parameter in self._parameters.items():
            if state := self._optimiser.state.get(parameter):
                tensors[f"adversary_first.{name}"] = state["exp_avg"]
                tensors[f"adversary_second.{name}"] = state["exp_avg_sq"]
        return tensors

    @torch.no_grad()
    def load_state(
        self, step: int, weights: dict[str, Tensor], first: dict[str, Tensor], second: dict[str, Tensor]
    ) -> None:
        """The reverse of `state`; a run that had no adversary so far gets a fresh one."""
        for name, parameter in self._parameters.items():
            if name in weights:
                parameter.copy_(weights[name])
            if name in first and name in second:
                self._optimiser.state[parameter] = {
                    "step": torch.tensor(float(step)),
                    "exp_avg": first[name].to(parameter.device).clone(),
                    "exp_avg_sq": second[name].to(parameter.device).clone(),
                }
