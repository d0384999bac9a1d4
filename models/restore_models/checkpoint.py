"""Training checkpoints: safetensors with everything a run needs to go on bit for bit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from restore_manifests.errors import ModelError
from restore_models.architecture import Architecture
from restore_models.network import RestorationNet
from restore_models.whole_file import write_whole

__all__ = [
    "Checkpoint",
    "load_checkpoint",
    "load_network",
    "mean_of",
    "save_average",
    "save_checkpoint",
]

_FORMAT = "restore.checkpoint/1"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`tensors` hold `weights.*`, `average.*` (the moving average, which is what is used) and, in a
    checkpoint that training can go on from, `first.*` and `second.*` (AdamW's moments)."""

    architecture: Architecture
    step: int
    tensors: dict[str, Tensor]
    notes: dict[str, Any]
    """JSON values: the configuration, the evaluation log, the training images."""

    def group(self, prefix: str) -> dict[str, Tensor]:
        """The tensors of one group by parameter name."""
        start = prefix + "."
        return {name.removeprefix(start): t for name, t in self.tensors.items() if name.startswith(start)}


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Written beside `path` and renamed into place: a crash leaves the old checkpoint or the new one.

    Raises:
        StorageError: if the folder cannot be written.
    """
    metadata = {
        "format": _FORMAT,
        "architecture": json.dumps(checkpoint.architecture.to_dict(), sort_keys=True),
        "step": str(checkpoint.step),
        "notes": json.dumps(checkpoint.notes, sort_keys=True),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    write_whole(path, save(tensors, metadata))


def save_average(path: Path, checkpoint: Checkpoint) -> None:
    """The averaged weights alone, in float16: what a later run can start from, an eighth of a checkpoint.

    Raises:
        StorageError: if the folder cannot be written.
    """
    tensors = {f"average.{name}": tensor.half() for name, tensor in checkpoint.group("average").items()}
    save_checkpoint(path, Checkpoint(checkpoint.architecture, checkpoint.step, tensors, checkpoint.notes))


def load_checkpoint(path: Path) -> Checkpoint:
    """The reverse of `save_checkpoint`.

    Raises:
        ModelError: if the file is missing, damaged, or not a checkpoint of restore.
    """
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise ModelError(
                    f"{path.name} is not a checkpoint of restore.", hint="Use one made by restore train."
                )
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 -- not a dict
        return Checkpoint(
            Architecture.from_dict(json.loads(metadata["architecture"])),
            int(metadata["step"]),
            tensors,
            json.loads(metadata["notes"]),
        )
    except (OSError, SafetensorError, KeyError, ValueError) as problem:
        raise ModelError(
            f"The checkpoint {path.name} is missing or damaged.",
            hint="Restore the file, or train again with restore train.",
        ) from problem


def mean_of(checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    """The first of them with the mean of all their averaged weights, and no others.

    Of runs that began alike the mean is often better than each (Wortsman et al., Model soups, ICML 2022).

    Raises:
        ModelError: if they are not of one architecture.
    """
    first = checkpoints[0]
    groups = [checkpoint.group("average") for checkpoint in checkpoints]
    if any(one.architecture != first.architecture for one in checkpoints) or any(
        group.keys() != groups[0].keys() for group in groups
    ):
        raise ModelError(
            "The weights to start from do not have one architecture.",
            hint="Name runs with the same preset after --start, or one only.",
        )
    mean = {
        f"average.{name}": torch.stack([group[name].float() for group in groups]).mean(dim=0)
        for name in groups[0]
    }
    return replace(first, tensors=mean)


def load_network(path: Path) -> RestorationNet:
    """The network of a checkpoint with its averaged weights, ready to evaluate."""
    checkpoint = load_checkpoint(path)
    network = RestorationNet(checkpoint.architecture)
    try:
        network.load_state_dict(checkpoint.group("average"))
    except RuntimeError as problem:
        raise ModelError(f"The checkpoint {path.name} does not fit its own architecture.") from problem
    return network.to(memory_format=torch.channels_last).eval()
