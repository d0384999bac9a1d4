"""One training step, and the state that steps change: parameters, their average, the optimiser."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from restore_manifests.errors import ModelError
from restore_models.architecture import Architecture
from restore_models.checkpoint import Checkpoint
from restore_models.data import Batch
from restore_models.degradations import quantise
from restore_models.gradient_checkpointing import GradientCheckpointing
from restore_models.growth import can_grow, grown
from restore_models.losses import detail_loss, fidelity_loss, pinball_loss
from restore_models.losses_learned import Adversary, PerceptualLoss
from restore_models.network import (
    RestorationNet,
    from_network_units,
    to_network_units,
)
from restore_models.optimiser import ParameterOptimiser
from restore_models.quantised_network import QuantisedNetwork
from restore_models.training_config import TrainingConfig
from restore_models.training_processes import Processes

__all__ = ["Cases", "Trainer", "has_fast_bf16", "learning_rate"]

Cases = dict[str, list[tuple[NDArray[np.float32], NDArray[np.float32]]]]
"""By setting: pairs of a clean and a degraded image, float32 (height, width, 3) in [0, 1] nominally."""


_STEPS_TO_KNOW = 50
"""Steps after which the usual length of the gradient is known well enough to call another one an outlier."""

_DIVERGED = 30.0
"""How many times as long as they once were gradients usually get, when a run learns nothing more. In eleven
runs that went well the most was seven times, by their logs; one that did not passed thirty between steps 400
and 600, and came to 10^13."""


def learning_rate(config: TrainingConfig, step: int) -> float:
    """The rate of one step: linear warm-up, then the schedule down to zero at `config.steps`."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    start = config.warmup
    if config.schedule == "constant_then_cosine":
        start = max(start, int(config.steps * (1 - config.decay_share)))
    if step < start:
        return config.learning_rate
    done = min(1.0, (step - start) / max(1, config.steps - start))
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def has_fast_bf16() -> bool:
    """Whether bfloat16 products are worth it here: a GPU, or a processor with such instructions."""
    if torch.cuda.is_available():
        return True
    return bool(
        torch.backends.cpu.get_cpu_capability() == "AVX512" and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


class Trainer:
    """A network in training; one in each process of the run, all of the same state after every step."""

    def __init__(self, config: TrainingConfig, architecture: Architecture, processes: Processes) -> None:
        self.config = config
        self.processes = processes
        self.device = processes.device
        self.network = RestorationNet(architecture, seed=config.seed, residual_scale=config.residual_scale)
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's overloads leave out channels_last
        self.parameters = dict(self.network.named_parameters())
        self.average = {name: p.detach().clone() for name, p in self.parameters.items()}
        self.optimiser = ParameterOptimiser(
            config.optimiser, self.parameters, betas=config.betas, weight_decay=config.weight_decay
        )
        self.step = 0
        self.log: list[dict[str, float]] = []
        self.smoothed: Tensor | None = None
        """Fidelity, interval and estimate loss, averaged over the last fifty steps or so."""
        self.usual_norm = 0.0
        """Length of the gradient before clipping, averaged over the last fifty steps or so."""
        self.least_norm = 0.0
        """The least that `usual_norm` has been since it is known; 0: it is not."""
        self.bf16 = has_fast_bf16() if config.bf16 is None else config.bf16
        self.quantised = QuantisedNetwork(self.network) if config.quantised else None
        if self.quantised is not None:
            self.bf16 = False  # whose 8 bits would drown the rounding that is to be learned
        self.perceptual = PerceptualLoss(self.device) if config.lpips_weight else None
        self.adversary = Adversary(config.seed, self.device) if config.adversarial_weight else None
        self._in_training: nn.Module = (
            GradientCheckpointing(self.network) if config.gradient_checkpointing else self.network
        )

    def begin(self) -> None:
        """Brings the processes together, after `start` or `resume`."""
        self._in_training = self.processes.together(self._in_training)

    def calibrate(self, batches: list[Tensor]) -> None:
        """Where the rounding is trained through and it is time: at the first step, and at every checkpoint.

        A resumed run begins at a checkpoint, so it calibrates at the same steps.
        """
        if self.quantised is not None and (
            not self.quantised.calibrated or self.step % self.config.checkpoint_every == 0
        ):
            self.quantised.calibrate(batches)

    def advance(self, batch: Batch) -> None:
        """One optimiser step on this process's share of a batch, `config.accumulate` parts of it in turn.

        Raises:
            ModelError: if the training has diverged.
        """
        self.optimiser.zero_grad()
        parts = self.config.accumulate
        losses: Tensor | None = None
        for part in range(parts):
            with self.processes.gathering(self._in_training, last=part == parts - 1):
                found = self._backward(batch.part(part, parts), parts)
            losses = found if losses is None else losses + found
        assert losses is not None  # noqa: S101 -- there is at least one part
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.config.clip))
        if self._is_usual(norm):
            self.optimiser.step(learning_rate(self.config, self.step))
        self.step += 1
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(
            list(self.average.values()), [p.detach() for p in self.parameters.values()], 1 - decay
        )
        self._check_convergence()
        losses = self.processes.mean(losses / parts)
        self.smoothed = losses if self.smoothed is None else self.smoothed.lerp(losses, 0.02)

    def _is_usual(self, norm: float) -> bool:
        """Whether a step may be taken along a gradient of this length; remembers the length."""
        if not math.isfinite(norm):
            self.usual_norm *= 1.06  # as much as by an outlier: where it goes on, the run has diverged
            return False
        limit = self.config.outlier * self.usual_norm
        known = self.step >= _STEPS_TO_KNOW and limit > 0
        # What is beyond the limit counts as at the limit: where gradients really grow, steps are taken again.
        counted = min(norm, limit) if known else norm
        # A checkpoint from before it was kept says 0: then this gradient is all that is known.
        share = max(0.02, 1 / (1 + self.step)) if self.usual_norm else 1.0
        self.usual_norm += share * (counted - self.usual_norm)
        return not known or norm <= limit

    def _check_convergence(self) -> None:
        """Stops a run that has diverged: further steps only cost time."""
        if self.step < _STEPS_TO_KNOW or not self.usual_norm:
            return
        self.least_norm = min(self.least_norm or self.usual_norm, self.usual_norm)
        if self.usual_norm > _DIVERGED * self.least_norm:
            raise ModelError(
                f"The training has diverged at step {self.step}: gradients are "
                f"{self.usual_norm / self.least_norm:.0f} times as long as they were.",
                hint=f"Begin again with a learning_rate below {self.config.learning_rate:g}, "
                "from the weights that this run began with.",
            )

    def _backward(self, batch: Batch, parts: int) -> Tensor:
        """Adds the gradients of one of `parts` parts; its losses (fidelity, interval, estimate), not waited
        for."""
        clean = to_network_units(self._tensor(torch.from_numpy(batch.clean)))
        degraded = to_network_units(self._tensor(torch.from_numpy(batch.degraded)))
        targets = torch.from_numpy(batch.estimates).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            outputs = self._in_training(degraded) if self.quantised is None else self.quantised(degraded)
        point = degraded + outputs["residual"].float()
        fidelity = fidelity_loss(self.config.loss, point - clean, balance=self.config.balance)
        interval = pinball_loss(outputs["interval"].float(), point, clean)
        said = outputs["estimate"].float().mean(dim=(2, 3))
        estimate = functional.smooth_l1_loss(said, targets, beta=0.1)
        loss = fidelity + self.config.interval_weight * interval + self.config.estimate_weight * estimate
        loss = loss + detail_loss(
            point, clean, ssim=self.config.ssim_weight, frequency=self.config.frequency_weight
        )
        loss = loss + self._learned_loss(point, clean, degraded)
        (loss / parts).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        if self.adversary is not None:
            self.adversary.learn(point, clean, degraded, learning_rate(self.config, self.step))
        return torch.stack([fidelity.detach(), interval.detach(), estimate.detach()])

    def _learned_loss(self, point: Tensor, clean: Tensor, degraded: Tensor) -> Tensor | float:
        """The terms that are networks themselves."""
        loss: Tensor | float = 0.0
        if self.perceptual is not None:
            loss = loss + self.config.lpips_weight * self.perceptual(point, clean)
        if self.adversary is not None:
            loss = loss + self.config.adversarial_weight * self.adversary.loss(point, degraded)
        return loss

    def figures(self) -> dict[str, float]:
        """The smoothed losses by name."""
        if self.smoothed is None:
            return {}
        fidelity, interval, estimate = (round(float(value), 6) for value in self.smoothed)
        return {
            "loss": fidelity,
            "loss_interval": interval,
            "loss_estimate": estimate,
            "gradient": round(self.usual_norm, 4),
        }

    def _tensor(self, values: Tensor) -> Tensor:
        return values.to(self.device, memory_format=torch.channels_last)

    @torch.no_grad()
    def evaluate(self, cases: Cases) -> dict[str, float]:
        """Mean PSNR in dB of the averaged weights, by setting."""
        kept = {name: p.detach().clone() for name, p in self.parameters.items()}
        self._load(self.average)
        figures: dict[str, float] = {}
        for setting, pairs in cases.items():
            values = []
            for clean, degraded in pairs:
                image = self._tensor(torch.from_numpy(degraded.transpose(2, 0, 1)[None]))
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                    residual = self.network(to_network_units(image))["residual"].float()
                restored = (
                    from_network_units(to_network_units(image) + residual)[0].cpu().numpy().transpose(1, 2, 0)
                )
                error = np.mean((quantise(restored) - clean) ** 2, dtype=np.float64)
                values.append(-10 * math.log10(max(float(error), 1e-10)))
            figures[f"psnr_{setting}"] = round(float(np.mean(values)), 3)
        self._load(kept)
        return figures

    @torch.no_grad()
    def _load(self, values: dict[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(values[name])

    def checkpoint(self, notes: dict[str, Any]) -> Checkpoint:
        """Everything that `resume` needs, with `notes` beside it."""
        tensors = {f"weights.{name}": p.detach() for name, p in self.parameters.items()}
        tensors |= {f"average.{name}": p for name, p in self.average.items()}
        tensors |= self.optimiser.state()
        if self.adversary is not None:
            tensors |= self.adversary.state()
        smoothed = [] if self.smoothed is None else [float(value) for value in self.smoothed]
        notes = {
            **notes,
            "log": self.log,
            "smoothed_losses": smoothed,
            "usual_norm": self.usual_norm,
            "least_norm": self.least_norm,
            "config": self.config.model_dump(mode="json"),
        }
        return Checkpoint(self.network.shape, self.step, tensors, notes)

    @torch.no_grad()
    def start(self, checkpoint: Checkpoint) -> None:
        """Begins a new run from the averaged weights of an earlier one.

        Of a network that differs in `fold`, as those for two scales do, its first and last convolutions are
        left as they are: they do not fit. One with more blocks or channels begins as the same function: see
        `growth`.
        """
        average = {name: tensor.float() for name, tensor in checkpoint.group("average").items()}
        former, shape = checkpoint.architecture, self.network.shape
        complete = average.keys() == dict(RestorationNet(former).named_parameters()).keys()
        if not complete or not can_grow(former, shape):
            raise ModelError(
                "The weights to start from belong to another architecture.",
                hint="Use the preset that they were trained with, or one with as much or more of everything.",
            )
        self._load(
            grown(average, former, {name: p.detach().cpu() for name, p in self.parameters.items()}, shape)
        )
        for name, parameter in self.parameters.items():
            self.average[name].copy_(parameter)

    @torch.no_grad()
    def resume(self, checkpoint: Checkpoint) -> None:
        """Goes on where `checkpoint` stopped, its random numbers included (they follow from the step)."""
        self._load({name: t.to(self.device) for name, t in checkpoint.group("weights").items()})
        for name, tensor in checkpoint.group("average").items():
            self.average[name].copy_(tensor)
        self.optimiser.load_state(checkpoint.step, checkpoint.group("first"), checkpoint.group("second"))
        if self.adversary is not None:
            groups = (checkpoint.group(name) for name in ("adversary", "adversary_first", "adversary_second"))
            self.adversary.load_state(checkpoint.step, *groups)
        self.step = checkpoint.step
        self.log = list(checkpoint.notes.get("log", []))
        self.usual_norm = float(checkpoint.notes.get("usual_norm", 0.0))
        self.least_norm = float(checkpoint.notes.get("least_norm", 0.0))
        if smoothed := checkpoint.notes.get("smoothed_losses"):
            self.smoothed = torch.tensor(smoothed, dtype=torch.float32, device=self.device)
