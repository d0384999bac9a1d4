"""Phase 0: the blind restoration network, trained from photographs and rendered pages."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore_manifests.errors import ModelError, StorageError, UsageError
from restore_models.architecture import PRESETS
from restore_models.checkpoint import Checkpoint, load_checkpoint, mean_of, save_average, save_checkpoint
from restore_models.data import as_grey, detail, held_out, load_photographs
from restore_models.degradation_kinds import degrade
from restore_models.degradations import downscale, gaussian_noise, jpeg, quantise
from restore_models.network import to_network_units
from restore_models.trainer import Cases, Trainer, has_fast_bf16, learning_rate
from restore_models.training_batches import Share, patch_source, upcoming
from restore_models.training_config import TrainingConfig
from restore_models.training_log import TrainingLog
from restore_models.training_processes import Processes

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


def _validation_cases(photographs: list[NDArray[np.uint8]], config: TrainingConfig) -> Cases:
    """The most detailed 256x256 crop of each of twelve held-out photographs, under the settings of a scale;
    grey where the network is for grey pictures.

    Where a photograph is smooth any network does well; what tells two apart is detail.
    """
    crops = []
    for image in (photographs * 12)[:12]:
        side = min(256, image.shape[0] // 64 * 64, image.shape[1] // 64 * 64)
        places = itertools.product(*(range(0, size - side + 1, side // 2) for size in image.shape[:2]))
        crop = max((image[y : y + side, x : x + side] for y, x in places), key=detail)
        crops.append(crop.astype(np.float32) / np.float32(255.0))
    seed, scale = config.seed, config.scale
    if config.grey:
        crops = [as_grey(crop) for crop in crops]
    cases: Cases = {}
    if scale != 1:
        for kind in (f"enlarged{scale}", f"worn_enlarged{scale}"):
            rng = np.random.default_rng([seed, 3, scale])
            cases[kind] = [(c, degrade(c, rng, {kind: 1.0})[0]) for c in crops]
        return cases
    for sigma in (15, 25, 50):
        rng = np.random.default_rng([seed, 3, sigma])
        noisy = [gaussian_noise(crop, sigma, rng) for crop in crops]
        noisy = [np.repeat(n[:, :, 1:2], 3, axis=2) for n in noisy] if config.grey else noisy
        cases[f"gaussian{sigma}"] = list(zip(crops, noisy, strict=True))
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
    start: Sequence[Path] = (),
    curves: Path | None = None,
    progress: Progress | None = None,
) -> TrainingResult:
    """Trains phase 0, leaving a resumable checkpoint, the averaged weights and a log in `out`.

    The files are `latest.safetensors`, `average.safetensors` and `log.jsonl`, and with `curves` event files
    for TensorBoard in that folder. With `start`, a new run begins from the averaged weights in these files,
    their mean if there are several, instead of random ones. With `resume`, it goes on from
    `out/latest.safetensors`: on one machine, thread count and number of processes the result is the same, bit
    for bit, as that of an unbroken run. In several processes (see `training_processes`) `out` is one folder
    for all, written by the first; the others' results have no `metrics`.

    Raises:
        UsageError: if the preset is unknown, there are no images, settings do not go together, something
            is not installed, or a run is in `out` and `resume` is off.
        ModelError: if the checkpoint is missing or damaged.
        StorageError: if `out` cannot be written.
    """
    latest, averaged = out / "latest.safetensors", out / "average.safetensors"
    processes = Processes()
    _check(config, processes)
    if latest.exists() and not resume:
        raise UsageError(
            f"{out} already holds a training run.", hint="Go on with --resume, or name another --out."
        )
    trainer = Trainer(config, PRESETS[config.preset], processes)
    if resume:
        _resume(trainer, latest)
    elif start:
        trainer.start(mean_of([load_checkpoint(path) for path in start]))
    photographs = load_photographs(data, validation=False)
    cases = _validation_cases(_validation_photographs(data, photographs), config)
    source = patch_source(config, photographs, config.seed)
    notes = {"training_images": _listing(data), "fonts": [font.to_note() for font in source.fonts]}
    if resume:
        _check_fonts(load_checkpoint(latest), notes["fonts"])
    calibration = _calibration_batches(data, photographs, config) if config.quantised else []
    size = -(-config.patch // trainer.network.graph.multiple) * trainer.network.graph.multiple
    share = Share(config.batch, size, processes.rank, processes.count)
    trainer.begin()
    log = _prepare_folder(out, trainer.step, curves) if processes.main else None
    metrics = _latest_metrics(trainer.log)
    for batch in upcoming(source, share, trainer.step, config.steps, workers=config.workers):
        trainer.calibrate(calibration)
        with _fastest_kernels():
            trainer.advance(batch)
        if log is None:
            continue
        step, done = trainer.step, trainer.step == config.steps
        if done or step % config.evaluate_every == 0:
            metrics = trainer.evaluate(cases)
            trainer.log.append({"step": step, **trainer.figures(), **metrics})
            log.curve(step, metrics)
        if done or step % 10 == 0:
            figures = {**trainer.figures(), **metrics}
            log.curve(step, {**trainer.figures(), "rate": learning_rate(config, step - 1)})
            if progress is not None:
                progress(step, config.steps, figures)
        if done or step % config.checkpoint_every == 0:
            # The checkpoint comes last: a run that is killed before it makes the rest again.
            log.checkpoint(step, {**trainer.figures(), **metrics})
            if done:
                save_average(averaged, trainer.checkpoint(notes))
            save_checkpoint(latest, trainer.checkpoint(notes))
    if log is not None:
        log.close()
        metrics = metrics or trainer.evaluate(cases)
    processes.close()
    return TrainingResult(latest, trainer.step, metrics if processes.main else {})


@contextmanager
def _fastest_kernels() -> Iterator[None]:
    """Lets a GPU try which convolutions are fastest: patches have one size. Only here: the setting is the
    process's, and exact runs that follow in it should find the usual one."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _check_fonts(checkpoint: Checkpoint, present: list[dict[str, str]]) -> None:
    """A resumed run goes on with the patches it had."""
    former: list[dict[str, str]] = checkpoint.notes.get("fonts", [])
    if former != present:
        names = ", ".join(font["name"] for font in former[:4]) + (", ..." if len(former) > 4 else "")
        raise UsageError(
            f"The run was begun with other fonts than are here: {names or 'none'}.",
            hint="Resume it where the same fonts are installed, or begin a new run.",
        )


def _resume(trainer: Trainer, latest: Path) -> None:
    checkpoint = load_checkpoint(latest)
    if checkpoint.architecture != trainer.network.shape:
        raise ModelError(
            f"The run in {latest.parent} has another architecture than preset {trainer.config.preset!r}.",
            hint="Resume it with the configuration it was started with.",
        )
    trainer.resume(checkpoint)


def _check(config: TrainingConfig, processes: Processes) -> None:
    """Refuses settings that name nothing or do not go together."""
    if config.preset not in PRESETS:
        raise UsageError(
            f"There is no preset {config.preset!r}.", hint=f"Use one of: {', '.join(sorted(PRESETS))}."
        )
    if config.scale != 1 and config.cropped_share:
        raise UsageError(
            "Pictures enlarged by the tool are not cropped afterwards.",
            hint=f"Set cropped_share = 0 beside scale = {config.scale}.",
        )
    if config.channels_reordered and config.views == 1:
        raise UsageError(
            "One view of a picture has its channels as they are.",
            hint="Set views = 8 beside channels_reordered.",
        )
    parts = config.accumulate * processes.count
    if config.batch % parts:
        raise UsageError(
            f"A batch of {config.batch} patches cannot be split evenly over {processes.count} processes, "
            f"{config.accumulate} parts each.",
            hint=f"Make batch a multiple of {parts}.",
        )
    if config.adversarial_weight and processes.count > 1:
        raise UsageError(
            "Training with an adversary runs in one process.",
            hint="Set adversarial_weight = 0, or start one.",
        )
    if config.quantised and (processes.count > 1 or config.gradient_checkpointing):
        raise UsageError(
            "Fine-tuning through the rounding runs in one process and without gradient checkpointing.",
            hint="It needs few steps: leave both out for it.",
        )


def _prepare_folder(out: Path, step: int, curves: Path | None) -> TrainingLog:
    """Makes `out`, without what a run that was killed left half-written in it."""
    for partial in out.glob(".*.partial"):
        partial.unlink(missing_ok=True)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise StorageError(
            f"{out} cannot be made: {problem.strerror}.", hint="Name a folder that you can write to."
        ) from problem
    return TrainingLog(out, step, curves)


def _latest_metrics(log: list[dict[str, float]]) -> dict[str, float]:
    """The PSNRs of the last evaluation before this start."""
    return {name: value for name, value in (log[-1] if log else {}).items() if name.startswith("psnr_")}


def _calibration_batches(
    data: Path, photographs: list[NDArray[np.uint8]], config: TrainingConfig
) -> list[Tensor]:
    """Degraded held-out patches, the same in every run of this configuration."""
    source = patch_source(config, _validation_photographs(data, photographs), config.seed + 1000)
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
