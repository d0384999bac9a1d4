"""The trained network in float32, before it becomes integers, on a suite of `restore evaluate`.

    python benchmarks/trained_network.py CHECKPOINT --model FILE --images DIR [--suite gaussian]

CHECKPOINT is `latest.safetensors` or `average.safetensors` of a run, FILE the model made from it. What
is printed is the JSON document of `restore evaluate`; beside that of the exact program it says what becoming
integers costs. (`restore evaluate --arithmetic float` is something else: the integer weights without the
rounding between steps.)
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

from restore_models.checkpoint import load_checkpoint
from restore_models.evaluation import evaluate_suite
from restore_models.network import RestorationNet
from restore_models.program import Program, load_program
from restore_models.restorer import Integers


class TrainedNetwork:
    """The trained network behind the executor's protocol, its outputs in the program's exponents."""

    def __init__(self, checkpoint: Path, program: Program) -> None:
        self.program = program
        state = load_checkpoint(checkpoint)
        self._network = RestorationNet(state.architecture).eval()
        self._network.load_state_dict({name: t.float() for name, t in state.group("average").items()})
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's overloads leave out channels_last

    @torch.no_grad()
    def integers(self, image: Integers) -> dict[str, Integers]:
        values = torch.from_numpy(image[None].astype(np.float32) / 2.0**self.program.input_exponent)
        outputs = self._network(values.contiguous(memory_format=torch.channels_last))
        scales = {
            name: 2.0 ** self.program.instruction_exponent(tensor)
            for name, tensor in self.program.outputs.items()
        }
        return {name: (t[0] * scales[name]).round().numpy().astype(np.int32) for name, t in outputs.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--suite", default="gaussian")
    given = parser.parse_args()
    network = TrainedNetwork(given.checkpoint, load_program(given.model))
    found = evaluate_suite(given.suite, given.images, network)
    rows = [row.to_json() for row in found.rows]
    print(
        json.dumps(
            {"suite": given.suite, "model": given.checkpoint.stem, "arithmetic": "trained", "rows": rows}
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
