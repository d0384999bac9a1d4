"""Time of the exact program over float32 PyTorch of the same network, paired in one run.

    python benchmarks/bench_exact.py [--megapixels 0.4 1 12] [--pairs 5] [--json]

The peer is the network as it was trained, `torch.nn` modules in float32 and channels_last, on the same
tiles. Each pair runs both, in turn; the ratio is the median over the pairs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from restore_models.architecture import Architecture
from restore_models.network import RestorationNet
from restore_models.restorer import Integers, TorchRunner, restore_pixels
from restore_models.vectors import vector_image
from restore_models.zoo import open_model


class _FloatRunner:
    """The trained network's own modules behind the executor's protocol; its weights do not matter here."""

    def __init__(self, runner: TorchRunner) -> None:
        self.program = runner.program
        shape = Architecture.from_dict(dict(self.program.notes["architecture"]))
        self._network = RestorationNet(shape).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's overloads leave out channels_last

    @torch.no_grad()
    def integers(self, image: Integers) -> dict[str, Integers]:
        values = torch.from_numpy(image[None].astype(np.float32))
        outputs = self._network((values / 512.0).contiguous(memory_format=torch.channels_last))
        return {name: (t[0] * 512).round().numpy().astype(np.int32) for name, t in outputs.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[0.4, 1.0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    exact = TorchRunner(open_model(None, Path("none"))[1])
    peer = _FloatRunner(exact)
    rows = []
    for megapixels in given.megapixels:
        side = round((megapixels * 1e6 / 1.5) ** 0.5)
        image = vector_image(side, round(side * 1.5), 3, 8)
        for runner in (exact, peer):
            restore_pixels(runner, image[:256, :256])
        pairs = [(_seconds(exact, image), _seconds(peer, image)) for _ in range(given.pairs)]
        rows.append(_row(megapixels, pairs))
        if not given.json:
            print(
                "{megapixels} MP: exact {exact_s:.2f} s, float32 {float_s:.2f} s, ratio {ratio:.3f}".format(
                    **rows[-1]
                )
            )
    if given.json:
        print(json.dumps({"threads": torch.get_num_threads(), "rows": rows}))
    return 0


def _seconds(runner: Any, image: Any) -> float:
    started = time.perf_counter()
    restore_pixels(runner, image)
    return time.perf_counter() - started


def _row(megapixels: float, pairs: list[tuple[float, float]]) -> dict[str, float]:
    median: Callable[[Any], float] = statistics.median
    return {
        "megapixels": megapixels,
        "exact_s": median(a for a, _ in pairs),
        "float_s": median(b for _, b in pairs),
        "ratio": median(a / b for a, b in pairs),
    }


if __name__ == "__main__":
    sys.exit(main())
