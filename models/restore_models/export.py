"""From a training checkpoint to the integer program that ships: calibration on held-out images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from restore_models.architecture import ESTIMATES
from restore_models.checkpoint import load_checkpoint, load_network
from restore_models.data import PatchSource, load_photographs
from restore_models.network import to_network_units
from restore_models.program import VIEWS, Program, save_program
from restore_models.quantise import quantise_network
from restore_models.torch_executor import TorchExecutor
from restore_models.training_batches import patch_source
from restore_models.training_config import TrainingConfig
from restore_models.vectors import make_vectors
from restore_models.views import CHANNEL_ORDERS

__all__ = ["export_program"]

_PATCH = 128
_CALIBRATION_BATCHES = 12
_ESTIMATE_BATCHES = 24
_BATCH = 8


def export_program(
    checkpoint: Path, target: Path, *, data: Path, licence: str, views: int | None = None
) -> Program:
    """Writes the program of a checkpoint's averaged weights to `target`, its known answers beside it.

    Args:
        checkpoint: made by `training.train_restoration`.
        data: the folder it was trained on; only its held-out images are used.
        licence: of the weights, an SPDX expression.
        views: in how many the program looks at an image, 1 or 8; None: as the checkpoint's settings say.

    Raises:
        ModelError: if the checkpoint is damaged or does not go into an exact program.
        UsageError: if `data` holds no held-out image.
        StorageError: if `target` cannot be written.
    """
    state = load_checkpoint(checkpoint)
    network = load_network(checkpoint)
    config = TrainingConfig.model_validate(state.notes["config"])
    config = config if views is None else config.model_copy(update={"views": views})
    source = patch_source(config, load_photographs(data, validation=True), config.seed + 1000)
    batches = [
        to_network_units(torch.from_numpy(source.batch(step, _BATCH, _PATCH).degraded))
        for step in range(_CALIBRATION_BATCHES)
    ]
    images = state.notes.get("training_images", [])
    notes: dict[str, Any] = {
        "licence": licence,
        "architecture": state.architecture.to_dict(),
        "training_steps": state.step,
        "training_images": images,
        "training_config": config.model_dump(mode="json"),
    }
    if config.scale != 1:
        notes["scale"] = config.scale
    if config.grey:
        notes["grey"] = True
    program = quantise_network(network, batches, notes, compensate=not config.quantised)
    orders = CHANNEL_ORDERS if config.channels_reordered and config.views == VIEWS else ()
    program = replace(program, views=config.views, channel_orders=orders)
    program.notes["estimate_error"] = _estimate_errors(program, source)
    save_program(target, program)
    make_vectors(program, target.with_suffix(".vectors.json"))
    return program


def _estimate_errors(program: Program, source: PatchSource) -> dict[str, list[int]]:
    """5 % and 95 % quantiles of truth minus estimate, in thousandths, over held-out patches."""
    executor = TorchExecutor(program)
    exponent = program.instruction_exponent(program.outputs["estimate"])
    errors = []
    for step in range(_CALIBRATION_BATCHES, _CALIBRATION_BATCHES + _ESTIMATE_BATCHES):
        batch = source.batch(step, _BATCH, _PATCH)
        said = executor.run(torch.from_numpy(np.rint(batch.degraded * 1020) - 510))["estimate"]  # in one view
        errors.append(batch.estimates - said.mean(dim=(2, 3)).numpy() / 2**exponent)
    ends = np.quantile(np.concatenate(errors), [0.05, 0.95], axis=0) * 1000
    return {name: [int(low), int(high)] for name, low, high in zip(ESTIMATES, *np.rint(ends), strict=True)}
