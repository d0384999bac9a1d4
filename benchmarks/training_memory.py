"""What a training configuration needs, counted without running it at full size.

    python benchmarks/training_memory.py models/training/examples/*.toml [--processes 1] [--json]

Counted on one and on two patches on this machine, in bfloat16 unless the configuration says otherwise: bytes
that the backward pass remembers (every tensor that autograd saves, once), from which follows what they are
for as many patches as a part of a batch has; plus weights, gradients, average and moments of the optimiser in
float32. With gradient checkpointing a block is added, which is computed again. Not counted, and on top: the
workspace of the convolutions and what an allocator leaves unused. Multiply-adds of a step are three times
those of a forward pass, four with gradient checkpointing (`restore_models.cost`).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from restore_manifests.errors import RestoreError
from restore_models.architecture import PRESETS
from restore_models.cost import multiply_adds
from restore_models.gradient_checkpointing import GradientCheckpointing
from restore_models.network import RestorationNet
from restore_models.training_config import TrainingConfig, load_config


class _Saved:
    """Bytes that autograd keeps, each stretch of memory once."""

    def __init__(self, network: RestorationNet) -> None:
        self.bytes = 0
        self._seen = {p.untyped_storage().data_ptr() for p in network.parameters()}
        self._kept: list[Tensor] = []  # so that no address is used twice

    def __call__(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self.bytes += storage.nbytes()
            self._kept.append(tensor)
        return tensor


def remembered_bytes(config: TrainingConfig, patches: float, *, bf16: bool) -> float:
    """Between the forward and the backward pass of so many patches."""
    one, two = (_remembered(config, count, bf16) for count in (1, 2))
    return one + (two - one) * (patches - 1)


def _remembered(config: TrainingConfig, patches: int, bf16: bool) -> int:
    network = RestorationNet(PRESETS[config.preset])
    side = -(-config.patch // network.graph.multiple) * network.graph.multiple
    image = torch.zeros(patches, 3, side, side).contiguous(memory_format=torch.channels_last)
    plain = _count(network, network, image, bf16)
    if not config.gradient_checkpointing:
        return plain
    # What enters the blocks, and one block made again, taken to be as large as their mean and half more.
    kept = _count(network, GradientCheckpointing(network), image, bf16)
    blocks = 2 * sum(PRESETS[config.preset].blocks) - PRESETS[config.preset].blocks[-1]
    return kept + 3 * plain // (2 * blocks)


def _count(network: RestorationNet, runs: torch.nn.Module, image: Tensor, bf16: bool) -> int:
    saved = _Saved(network)
    with (
        torch.autograd.graph.saved_tensors_hooks(saved, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=bf16),
    ):
        runs(image)
    return saved.bytes


def row(path: Path, processes: int) -> dict[str, Any]:
    """The figures of one configuration on so many processes."""
    config = load_config(path)
    network = RestorationNet(PRESETS[config.preset])
    weights = sum(p.numel() for p in network.parameters())
    moments = 1 if config.optimiser == "muon" else 2
    patches = config.batch / processes / config.accumulate
    side = -(-config.patch // network.graph.multiple) * network.graph.multiple
    passes = 4 if config.gradient_checkpointing else 3
    remembered = remembered_bytes(config, patches, bf16=config.bf16 is not False)
    return {
        "configuration": path.name,
        "processes": processes,
        "patches_at_once": patches,
        "gib": round((remembered + weights * 4 * (3 + moments)) / 2**30, 2),
        "tera_multiply_adds_a_step": round(
            passes * config.batch * multiply_adds(PRESETS[config.preset], side, side) / 1e12, 3
        ),
        "steps": config.steps,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("configurations", type=Path, nargs="+")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    try:
        rows = [row(path, given.processes) for path in given.configurations]
    except RestoreError as problem:
        print(f"training_memory: {problem}", file=sys.stderr)
        return problem.exit_code
    if given.json:
        print(json.dumps({"rows": rows}))
        return 0
    for one in rows:
        print(
            "{configuration:24} {gib:7.2f} GiB ({patches_at_once:g} patches at once), "
            "{tera_multiply_adds_a_step:8.3f} T multiply-adds a step".format(**one)
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
