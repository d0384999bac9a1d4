"""How soon the command line answers, over a bare start of Python, paired in one run.

    python benchmarks/bench_start.py [--megapixels 12] [--pairs 5]

Measured: `restore --help`, and `restore verify --no-recompute` on a photo-like picture.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from restore_manifests.keys import create_identity
from restore_manifests.pixels import encode_png
from restore_models.resample import enlarge
from restore_models.vectors import vector_image
from restore_sdk.restoration import restore


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--megapixels", type=float, default=12.0)
    parser.add_argument("--pairs", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["RESTORE_HOME"] = str(folder / "home")
        identity = create_identity(folder / "home", name="Benchmark", passphrase=None, unprotected=True)
        root = folder / "root.pem"
        root.write_text(identity.root_pem or "", encoding="utf-8")
        side = round((given.megapixels * 1e6 / 1.5) ** 0.5) // 4
        source = folder / "picture.png"
        source.write_bytes(encode_png(enlarge(vector_image(side, round(side * 1.5), 3, 8), 4)))
        done = restore(source, identity=identity)[0]
        verify = ["verify", str(done.result), str(done.manifest), "--trust", str(root), "--no-recompute"]
        for label, words in (("--help", ["--help"]), ("verify --no-recompute", verify)):
            command = [sys.executable, "-m", "restore_cli", *words]
            pairs = [
                (_seconds(command), _seconds([sys.executable, "-c", "pass"])) for _ in range(given.pairs)
            ]
            ours, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
            print(f"restore {label}: {ours:.2f} s, {ours / bare:.1f} times a bare start of Python")
    return 0


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)  # noqa: S603 -- our own command
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
