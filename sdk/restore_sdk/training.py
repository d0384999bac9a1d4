"""`train`: one training phase from the SDK, ending in a model that `restore` can use."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from restore_manifests.errors import UsageError
from restore_sdk.home import restore_home

__all__ = ["LICENCE", "is_first_process", "train"]

LICENCE = "Apache-2.0"
"""Of weights trained here; who trains on images of their own decides for themselves."""


def train(
    phase: int,
    *,
    config: Path | None = None,
    data: Path | None = None,
    out: Path | None = None,
    resume: bool = False,
    start: Path | Sequence[Path] = (),
    steps: int | None = None,
    quantised: bool = False,
    tensorboard: bool = False,
    progress: Callable[[int, int, dict[str, float]], None] | None = None,
) -> dict[str, Any]:
    """Trains one phase and exports the integer program when it is finished.

    In processes that torchrun started (extra `scale`) all train together and the first writes and exports.

    Args:
        phase: 0, the blind restoration network.
        config: TOML with the fields of `restore_models.training_config.TrainingConfig`; None: the defaults.
        data: folder of clean photographs.
        out: where the run is kept; None: RESTORE_HOME/training/phase-0.
        resume: go on from the checkpoint in `out`.
        start: averaged weights of an earlier run (its `average.safetensors`) to begin from; of several, their
            mean.
        steps: overrides the number of steps in the configuration.
        quantised: train through the rounding of the integer program, whatever the configuration says.
        tensorboard: write curves to `out`/tensorboard (extra `tensorboard`).
        progress: called with step, steps and the latest figures.

    Returns:
        `checkpoint` (resumable), `model` (the program), `steps` and `metrics` (the first process only).

    Raises:
        UsageError: for an unknown phase, a wrong configuration, or a folder without images.
        ModelError, StorageError: as their names say.
    """
    if phase != 0:
        raise UsageError(f"There is no training phase {phase}.", hint="Phase 0 is the restoration network.")
    if data is None:
        raise UsageError("Training needs images.", hint="Name a folder of clean photographs with --data.")
    from restore_models.export import export_program  # noqa: PLC0415 -- keeps torch out of light commands
    from restore_models.training import train_restoration  # noqa: PLC0415
    from restore_models.training_config import load_config  # noqa: PLC0415

    settings = load_config(config)
    given = {"steps": steps, "quantised": quantised or None}
    settings = settings.model_copy(update={name: v for name, v in given.items() if v is not None})
    folder = out if out is not None else restore_home() / "training" / "phase-0"
    result = train_restoration(
        settings,
        data=data,
        out=folder,
        resume=resume,
        start=[start] if isinstance(start, Path) else list(start),
        curves=folder / "tensorboard" if tensorboard else None,
        progress=progress,
    )
    model = folder / "model.safetensors"
    if is_first_process():
        # a finished run may be exported again with other views, by --resume: nothing is trained then
        export_program(result.checkpoint, model, data=data, licence=LICENCE, views=settings.views)
    return {
        "checkpoint": str(result.checkpoint),
        "model": str(model),
        "steps": result.steps,
        "metrics": result.metrics,
    }


def is_first_process() -> bool:
    """Whether this is the process that writes and speaks: the only one, or torchrun's number 0."""
    return os.environ.get("RANK", "0") == "0"
