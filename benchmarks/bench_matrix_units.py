"""What matrix units would bring the exact program: a layer in float32, in bfloat16 and in int8 limbs.

    python benchmarks/bench_matrix_units.py [--runs 15] [--json]

Activations have 12 bits, and such units take 8. So an activation is split in two limbs, x = 64 h + l, each is
convolved by itself, and the sums are added: exact, if the unit's own sums are. For each level of the shipped
network, on a tile of 512 x 512 pixels:

- `float32`: one convolution as the executor makes it now;
- `passes`: rounding and clamping its result, which every form needs;
- `split`: making the two limbs of one input;
- `bf16`: both limbs through float32 convolutions that may multiply in bfloat16 (pays with AMX);
- `int8`: both limbs through oneDNN's uint8 x int8 convolution (VNNI, AMX).

`ratio` is (split + pair + passes) / (float32 + passes): below 1 the units pay. `exact` compares with float32.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_LEVELS = ((64, 256), (128, 128), (192, 64))
"""Channels and side at 1/2, 1/4 and 1/8 of the resolution."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = [row for channels, side in _LEVELS for row in _level(channels, side, given.runs)]
    facts = {
        "capability": torch.backends.cpu.get_cpu_capability(),
        "vnni": torch.cpu._is_vnni_supported(),
        "amx": torch.cpu._is_amx_tile_supported(),
        "threads": torch.get_num_threads(),
    }
    if given.json:
        print(json.dumps({**facts, "rows": rows}))
        return 0
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    for row in rows:
        print("  ".join(f"{k} {v:.2f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))
    return 0


def _level(channels: int, side: int, runs: int) -> list[dict[str, Any]]:
    torch.manual_seed(1)
    weight = torch.randint(-30, 31, (channels, channels, 3, 3)).float()
    source = torch.randint(-2047, 2048, (1, channels, side, side)).float()
    weight, source = (t.contiguous(memory_format=torch.channels_last) for t in (weight, source))
    plain = functional.conv2d(source, weight, None, 1, 1)
    float32 = _milliseconds(lambda: functional.conv2d(source, weight, None, 1, 1), runs)
    passes = _milliseconds(lambda: plain.clone().floor_().clamp_(-2047, 2047), runs)
    passes -= _milliseconds(plain.clone, runs)
    rows = []
    for name, split, pair in (_bf16(weight), _int8(weight, side)):
        limbs = split(source)
        cost = {"split": _milliseconds(lambda s=split: s(source), runs)}
        cost["pair"] = _milliseconds(lambda p=pair, ls=limbs: p(*ls), runs)
        rows.append(
            {
                "channels": channels,
                "side": side,
                "unit": name,
                "float32_ms": float32,
                "passes_ms": passes,
                "split_ms": cost["split"],
                "pair_ms": cost["pair"],
                "ratio": (cost["split"] + cost["pair"] + passes) / (float32 + passes),
                "exact": bool((pair(*limbs) == plain).all()),
            }
        )
    return rows


Split = Callable[[Tensor], tuple[Tensor, Tensor]]
Pair = Callable[[Tensor, Tensor], Tensor]


def _bf16(weight: Tensor) -> tuple[str, Split, Pair]:
    def split(source: Tensor) -> tuple[Tensor, Tensor]:
        high = (source * 2.0**-6).floor_()
        return high, torch.add(source, high, alpha=-64)

    def pair(high: Tensor, low: Tensor) -> Tensor:
        settings: Any = torch.backends.mkldnn.conv
        before = settings.fp32_precision
        settings.fp32_precision = "bf16"
        try:
            total = functional.conv2d(low, weight, None, 1, 1)
            return total.add_(functional.conv2d(high, weight, None, 1, 1), alpha=64)
        finally:
            settings.fp32_precision = before

    return "bf16", split, pair


def _int8(weight: Tensor, side: int) -> tuple[str, Split, Pair]:
    operations: Any = torch.ops.onednn
    channels = weight.shape[0]
    ones, zeros = torch.ones(channels), torch.zeros(channels, dtype=torch.int32)
    shape = [1, channels, side, side]
    packed = [
        operations.qconv_prepack(weight.to(torch.int8), ones, 1.0, zero, [1, 1], [1, 1], [1, 1], 1, shape)
        for zero in (32, 0)
    ]

    def split(source: Tensor) -> tuple[Tensor, Tensor]:
        shifted = source + 2048
        high = (shifted * 2.0**-6).to(torch.uint8)
        return high, shifted.sub_(high, alpha=64).to(torch.uint8)

    def convolve(limb: Tensor, which: int) -> Tensor:
        zero = (32, 0)[which]
        result: Tensor = operations.qconv_pointwise(
            limb, 1.0, zero, packed[which], ones, zeros, None, [1, 1], [1, 1], [1, 1], 1,
            1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        return result

    def pair(high: Tensor, low: Tensor) -> Tensor:
        return convolve(low, 1).add_(convolve(high, 0), alpha=64)

    return "int8", split, pair


def _milliseconds(work: Callable[[], Any], runs: int) -> float:
    work()
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


if __name__ == "__main__":
    sys.exit(main())
