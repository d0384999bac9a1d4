"""Phase 0: the blind restoration network, trained from photographs and rendered pages."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from restore_manifests.errors import ModelError, UsageError
from restore_models.architecture import PRESETS, Architecture
from restore_models.checkpoint import Checkpoint, load_checkpoint, save_average, save_checkpoint
from restore_models.data import Batch, PatchSource, detail, held_out, load_photographs
from restore_models.degradations import downscale, gaussian_noise, jpeg, quantise
from restore_models.losses import detail_loss, fidelity_loss, pinball_loss
from restore_models.network import RestorationNet, from_network_units, to_network_units
from restore_models.optimiser import ParameterOptimiser
from restore_models.quantised_network import QuantisedNetwork
from restore_models.training_config import TrainingConfig

__all__ = ["TrainingResult", "has_fast_bf16", "learning_rate", "train_restoration"]

_CALIBRATION_BATCHES = 4

Progress = Callable[[int, int, dict[str, float]], None]
"""Called with the step, the number of steps, and the latest figures."""


@dataclass(frozen=True, slots=True)
class TrainingResult:
    checkpoint: Path
    steps: int
    metrics: dict[str, float]
    """Mean PSNR in dB on held-out crops by setting, and the smoothed training loss."""


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


class _Trainer:
    def __init__(self, config: TrainingConfig, architecture: Architecture, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.network = RestorationNet(architecture, seed=config.seed)
        self.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's overloads leave out channels_last
        self.parameters = dict(self.network.named_parameters())
        self.average = {name: p.detach().clone() for name, p in self.parameters.items()}
        self.optimiser = ParameterOptimiser(
            config.optimiser, self.parameters, betas=config.betas, weight_decay=config.weight_decay
        )
        self.step = 0
        self.log: list[dict[str, float]] = []
        self.bf16 = has_fast_bf16() if config.bf16 is None else config.bf16
        self.quantised = QuantisedNetwork(self.network) if config.quantised else None
        if self.quantised is not None:
            self.bf16 = False  # whose 8 bits would drown the rounding that is to be learned

    def calibrate(self, batches: list[Tensor]) -> None:
        """Where the rounding is trained through and it is time: at the first step, and at every checkpoint.

        A resumed run begins at a checkpoint, so it calibrates at the same steps.
        """
        if self.quantised is not None and (
            not self.quantised.calibrated or self.step % self.config.checkpoint_every == 0
        ):
            self.quantised.calibrate(batches)

    def advance(self, batch: Batch) -> Tensor:
        """One optimiser step; returns the losses (fidelity, interval, estimate) without waiting for them."""
        clean = self._tensor(to_network_units(torch.from_numpy(batch.clean)))
        degraded = self._tensor(to_network_units(torch.from_numpy(batch.degraded)))
        targets = torch.from_numpy(batch.estimates).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            outputs = self.network(degraded) if self.quantised is None else self.quantised(degraded)
        point = degraded + outputs["residual"].float()
        fidelity = fidelity_loss(self.config.loss, point - clean, balance=self.config.balance)
        interval = pinball_loss(outputs["interval"].float(), point, clean)
        said = outputs["estimate"].float().mean(dim=(2, 3))
        estimate = functional.smooth_l1_loss(said, targets, beta=0.1)
        loss = fidelity + self.config.interval_weight * interval + self.config.estimate_weight * estimate
        loss = loss + detail_loss(
            point, clean, ssim=self.config.ssim_weight, frequency=self.config.frequency_weight
        )
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.config.clip)
        if bool(torch.isfinite(norm)):
            self.optimiser.step(learning_rate(self.config, self.step))
        self.step += 1
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(
            list(self.average.values()), [p.detach() for p in self.parameters.values()], 1 - decay
        )
        return torch.stack([fidelity.detach(), interval.detach(), estimate.detach()])

    def _tensor(self, values: Tensor) -> Tensor:
        return values.to(self.device, memory_format=torch.channels_last)

    @torch.no_grad()
    def evaluate(
        self, cases: dict[str, list[tuple[NDArray[np.float32], NDArray[np.float32]]]]
    ) -> dict[str, float]:
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
        tensors = {f"weights.{name}": p.detach() for name, p in self.parameters.items()}
        tensors |= {f"average.{name}": p for name, p in self.average.items()}
        tensors |= self.optimiser.state()
        notes = {**notes, "log": self.log, "config": self.config.model_dump(mode="json")}
        return Checkpoint(self.network.shape, self.step, tensors, notes)

    @torch.no_grad()
    def start(self, checkpoint: Checkpoint) -> None:
        """Begins a new run from the averaged weights of an earlier one."""
        average = {name: tensor.float() for name, tensor in checkpoint.group("average").items()}
        if checkpoint.architecture != self.network.shape or average.keys() != self.parameters.keys():
            raise ModelError(
                "The weights to start from belong to another architecture.",
                hint="Use the preset that they were trained with.",
            )
        self._load({name: tensor.to(self.device) for name, tensor in average.items()})
        for name, parameter in self.parameters.items():
            self.average[name].copy_(parameter)

    @torch.no_grad()
    def resume(self, checkpoint: Checkpoint) -> None:
        """Goes on where `checkpoint` stopped, its random numbers included (they follow from the step)."""
        self._load({name: t.to(self.device) for name, t in checkpoint.group("weights").items()})
        for name, tensor in checkpoint.group("average").items():
            self.average[name].copy_(tensor)
        self.optimiser.load_state(checkpoint.step, checkpoint.group("first"), checkpoint.group("second"))
        self.step = checkpoint.step
        self.log = list(checkpoint.notes.get("log", []))


def _validation_cases(
    photographs: list[NDArray[np.uint8]], seed: int
) -> dict[str, list[tuple[NDArray[np.float32], NDArray[np.float32]]]]:
    """The most detailed 256x256 crop of each of twelve held-out photographs, under six settings.

    Where a photograph is smooth any network does well; what tells two apart is detail.
    """
    crops = []
    for image in (photographs * 12)[:12]:
        side = min(256, image.shape[0] // 64 * 64, image.shape[1] // 64 * 64)
        places = itertools.product(*(range(0, size - side + 1, side // 2) for size in image.shape[:2]))
        crop = max((image[y : y + side, x : x + side] for y, x in places), key=detail)
        crops.append(crop.astype(np.float32) / np.float32(255.0))
    cases: dict[str, list[tuple[NDArray[np.float32], NDArray[np.float32]]]] = {}
    for sigma in (15, 25, 50):
        rng = np.random.default_rng([seed, 3, sigma])
        cases[f"gaussian{sigma}"] = [(c, gaussian_noise(c, sigma, rng)) for c in crops]
    for quality in (10, 40):
        cases[f"jpeg{quality}"] = [(c, jpeg(c, quality)) for c in crops]
    cases["bicubic2"] = [(c, quantise(downscale(c, 2, "bicubic"))) for c in crops]
    return cases


def train_restoration(
    config: TrainingConfig,
    *,
    data: Path,
    out: Path,
    resume: bool,
    start: Path | None = None,
    progress: Progress | None = None,
) -> TrainingResult:
    """Trains phase 0, leaving a resumable checkpoint, the averaged weights and a log in `out`.

    The files are `latest.safetensors`, `average.safetensors` and `log.jsonl`. With `start`, a new run begins
    from the averaged weights in that file instead of random ones. With `resume`, it goes on from
    `out/latest.safetensors`: on one machine and thread count the result is the same, bit for bit, as that of
    an unbroken run.

    Raises:
        UsageError: if the preset is unknown, there are no images, or a run is in `out` and `resume` is off.
        ModelError: if the checkpoint is missing or damaged.
        StorageError: if `out` cannot be written.
    """
    if config.preset not in PRESETS:
        raise UsageError(
            f"There is no preset {config.preset!r}.", hint=f"Use one of: {', '.join(sorted(PRESETS))}."
        )
    latest = out / "latest.safetensors"
    if latest.exists() and not resume:
        raise UsageError(
            f"{out} already holds a training run.", hint="Go on with --resume, or name another --out."
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trainer = _Trainer(config, PRESETS[config.preset], device)
    if start is not None and not resume:
        trainer.start(load_checkpoint(start))
    if resume:
        checkpoint = load_checkpoint(latest)
        if checkpoint.architecture != trainer.network.shape:
            raise ModelError(
                f"The run in {out} has another architecture than preset {config.preset!r}.",
                hint="Resume it with the configuration it was started with.",
            )
        trainer.resume(checkpoint)
    photographs = load_photographs(data, validation=False)
    cases = _validation_cases(_validation_photographs(data, photographs), config.seed)
    notes = {"training_images": _listing(data)}
    source = PatchSource(
        photographs,
        seed=config.seed,
        shares=config.shares(),
        page_share=config.page_share,
        grey_share=config.grey_share,
        detail_choices=config.detail_choices,
    )
    calibration = _calibration_batches(data, photographs, config) if config.quantised else []
    size = -(-config.patch // trainer.network.graph.multiple) * trainer.network.graph.multiple
    smoothed: Tensor | None = None
    metrics: dict[str, float] = {}
    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        ahead = [
            pool.submit(source.batch, step, config.batch, size)
            for step in range(trainer.step, min(trainer.step + 3, config.steps))
        ]
        while trainer.step < config.steps:
            trainer.calibrate(calibration)
            batch = ahead.pop(0).result()
            upcoming = trainer.step + 3
            if upcoming < config.steps:
                ahead.append(pool.submit(source.batch, upcoming, config.batch, size))
            losses = trainer.advance(batch)
            smoothed = losses if smoothed is None else smoothed.lerp(losses, 0.02)
            done = trainer.step == config.steps
            if done or trainer.step % config.evaluate_every == 0:
                metrics = trainer.evaluate(cases)
                trainer.log.append({"step": trainer.step, **_named(smoothed), **metrics})
            if progress is not None and (done or trainer.step % 10 == 0):
                progress(trainer.step, config.steps, {**_named(smoothed), **metrics})
            if done or trainer.step % config.checkpoint_every == 0:
                save_checkpoint(latest, trainer.checkpoint(notes))
                if done:
                    save_average(out / "average.safetensors", trainer.checkpoint(notes))
                _append_log(out, trainer.step, time.monotonic() - started, {**_named(smoothed), **metrics})
    if not metrics:
        metrics = trainer.evaluate(cases)
    return TrainingResult(latest, trainer.step, metrics)


def _calibration_batches(
    data: Path, photographs: list[NDArray[np.uint8]], config: TrainingConfig
) -> list[Tensor]:
    """Degraded held-out patches, the same in every run of this configuration."""
    source = PatchSource(
        _validation_photographs(data, photographs),
        seed=config.seed + 1000,
        shares=config.shares(),
        page_share=config.page_share,
        grey_share=config.grey_share,
        detail_choices=config.detail_choices,
    )
    return [
        to_network_units(torch.from_numpy(source.batch(step, config.batch, config.patch).degraded))
        for step in range(_CALIBRATION_BATCHES)
    ]


def _validation_photographs(data: Path, training: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Those held out; a folder too small to hold any out is watched on its own images."""
    try:
        return load_photographs(data, validation=True)
    except UsageError:
        return training


def _named(losses: Tensor) -> dict[str, float]:
    fidelity, interval, estimate = (round(float(value), 6) for value in losses)
    return {"loss": fidelity, "loss_interval": interval, "loss_estimate": estimate}


def _listing(folder: Path) -> list[dict[str, str]]:
    """Name, SHA-256 and use of every file below `folder`, for the model card."""
    rows = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            rows.append(
                {"name": path.name, "sha256": digest, "use": "validation" if held_out(path) else "training"}
            )
    return rows


def _append_log(out: Path, step: int, seconds: float, figures: dict[str, float]) -> None:
    line = json.dumps({"step": step, "seconds": round(seconds, 1), **figures})
    with (out / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(line + "\n")
