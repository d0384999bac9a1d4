"""CPU seconds per megapixel of the exact executor beside published networks, paired in one run.

    python benchmarks/bench_peers.py [--side 512] [--pairs 3] [--threads 1 2] [--peers SCUNet NAFNet] [--json]

Peers are built by spandrel (extra `spandrel`) in the shapes of their papers' denoisers, with random weights:
time does not depend on them. Restormer comes from the package spandrel_extra_arches, whose parts have
licences of their own; it is left out where that is not installed, and `restore` never needs it.

They run in float32 and channels_last, eager, whole image; ours runs as `restore` runs it, tiles, integers and
all. Each pair times ours and a peer in turn, with the threads given; the ratio is the median over the pairs.
Where other work takes the processor only the seconds of the processor mean something. The exit code is 1 if
ours is not `--bar` times as fast as SCUNet by the clock.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from restore_models.restorer import TorchRunner, restore_pixels
from restore_models.vectors import vector_image
from restore_models.zoo import open_model


def _peers() -> dict[str, Callable[[], nn.Module]]:
    """Networks by name, colour in and colour out."""
    from spandrel.architectures.DnCNN.__arch.network_dncnn import DnCNN  # noqa: PLC0415 -- an extra
    from spandrel.architectures.NAFNet.__arch.NAFNet_arch import NAFNet  # noqa: PLC0415
    from spandrel.architectures.SCUNet.__arch.SCUNet import SCUNet  # noqa: PLC0415

    peers: dict[str, Callable[[], nn.Module]] = {
        # Zhang et al. 2017, CDnCNN-B: 20 layers of 64
        "DnCNN": lambda: DnCNN(in_nc=3, out_nc=3, nc=64, nb=20, act_mode="R"),
        # Chen et al. 2022: width 32, SIDD
        "NAFNet": lambda: NAFNet(
            img_channel=3, width=32, middle_blk_num=12, enc_blk_nums=[2, 2, 4, 8], dec_blk_nums=[2, 2, 2, 2]
        ),
        # Zhang et al. 2023
        "SCUNet": lambda: SCUNet(in_nc=3, config=[4, 4, 4, 4, 4, 4, 4], dim=64),
    }
    if importlib.util.find_spec("spandrel_extra_arches") is not None:
        from spandrel_extra_arches.architectures.Restormer.__arch.restormer_arch import (  # noqa: PLC0415
            Restormer,
        )

        # Zamir et al. 2022, Gaussian denoising
        peers["Restormer"] = lambda: Restormer(LayerNorm_type="BiasFree")
    return peers


def _seconds(run: Callable[[], object]) -> tuple[float, float]:
    """By the clock, and of the processor."""
    started, used = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - started, time.process_time() - used


def measure(names: list[str], side: int, pairs: int, threads: int) -> Iterator[dict[str, Any]]:
    """A row for each peer: median seconds per megapixel of both, and the median ratios."""
    torch.set_num_threads(threads)
    exact = TorchRunner(open_model(None, Path("none"))[1])
    image = vector_image(side, side, 3, 8)
    values = torch.from_numpy(image[None].astype("float32") / 255).permute(0, 3, 1, 2)
    values = values.contiguous(memory_format=torch.channels_last)
    megapixels = side * side / 1e6
    builders = _peers()
    for name in names:
        if name not in builders:
            print(
                f"bench_peers: {name} is left out: spandrel_extra_arches is not installed.", file=sys.stderr
            )
            continue
        network: Any = builders[name]().eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's overloads leave out channels_last

        @torch.no_grad()
        def peer(network: Any = network) -> Tensor:
            result: Tensor = network(values)
            return result

        def ours() -> object:
            return restore_pixels(exact, image)

        ours()
        peer()
        timed = [(_seconds(ours), _seconds(peer)) for _ in range(pairs)]

        def middle(values: Iterable[float]) -> float:
            return round(statistics.median(values), 2)

        yield {
            "peer": name,
            "threads": threads,
            "side": side,
            "pairs": pairs,
            "ours_s_per_megapixel": middle(a[0] / megapixels for a, _ in timed),
            "peer_s_per_megapixel": middle(b[0] / megapixels for _, b in timed),
            "ratio": middle(b[0] / a[0] for a, b in timed),
            "ours_cpu_s_per_megapixel": middle(a[1] / megapixels for a, _ in timed),
            "peer_cpu_s_per_megapixel": middle(b[1] / megapixels for _, b in timed),
            "cpu_ratio": middle(b[1] / a[1] for a, b in timed),
            "weights": sum(p.numel() for p in network.parameters()),
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    names = ["DnCNN", "NAFNet", "SCUNet", "Restormer"]
    parser.add_argument("--side", type=int, default=512, help="of a square image in pixels")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--peers", nargs="+", choices=names, default=names)
    parser.add_argument("--bar", type=float, default=5.0, help="times as fast as SCUNet that ours must be")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = []
    try:
        for threads in given.threads:
            for row in measure(given.peers, given.side, given.pairs, threads):
                rows.append(row)
                if not given.json:
                    print(
                        "{threads} threads, {side} x {side}: ours {ours_s_per_megapixel} s/MP, {peer} "
                        "{peer_s_per_megapixel} s/MP, ratio {ratio}; of the processor "
                        "{ours_cpu_s_per_megapixel} and {peer_cpu_s_per_megapixel}, ratio {cpu_ratio}".format(
                            **row
                        ),
                        flush=True,
                    )
    except ImportError as problem:
        print(f"bench_peers: {problem}. Install the extra spandrel.", file=sys.stderr)
        return 3
    met = all(row["ratio"] >= given.bar for row in rows if row["peer"] == "SCUNet")
    if given.json:
        print(json.dumps({"rows": rows, "bar": given.bar, "met": met}))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
