"""Where the time of a whole `restore run` goes, and the most memory it takes.

    python benchmarks/bench_run.py [--megapixels 12] [--json]

Stages are those that `restore` reports as progress. The peer of the whole is the network alone: what is
over it is the price of reading, maps, PNG, hashes, signature and log.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from restore_manifests.keys import create_identity
from restore_manifests.pixels import encode_png
from restore_models.vectors import vector_image
from restore_sdk.restoration import restore


class _Stages:
    """Seconds by stage: the time from one report to the next goes to the stage that the first one names."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stage, self._since = "", 0.0

    def __call__(self, what: str, share: float) -> None:
        now = time.perf_counter()
        if self._stage:
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = what.split(maxsplit=1)[0] if share < 1 else "", now


def _make_picture(path: Path, height: int) -> None:
    path.write_bytes(encode_png(vector_image(height, round(height * 1.5), 3, 8)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--megapixels", type=float, default=12.0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    side = round((given.megapixels * 1e6 / 1.5) ** 0.5)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["RESTORE_HOME"] = str(folder / "home")
        source = folder / "picture.png"
        # In a process of its own: making the picture takes more memory than restoring it.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
            other.submit(_make_picture, source, side).result()
        identity = create_identity(folder / "home", name="Benchmark", passphrase=None, unprotected=True)
        stages = _Stages()
        started = time.perf_counter()
        restore(source, identity=identity, progress=stages)
        whole = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    network = stages.seconds.get("restoring", 0.0)
    document = {
        "megapixels": given.megapixels,
        "seconds": round(whole, 2),
        "stages": {stage: round(seconds, 2) for stage, seconds in stages.seconds.items()},
        "network_share": round(network / whole, 3),
        "peak_gib": round(peak, 2),
    }
    if given.json:
        print(json.dumps(document))
    else:
        for stage, seconds in stages.seconds.items():
            print(f"{stage:10} {seconds:7.2f} s  {seconds / whole:6.1%}")
        print(f"{'whole':10} {whole:7.2f} s, peak memory {peak:.2f} GiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
