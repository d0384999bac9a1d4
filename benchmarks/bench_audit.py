"""The rate of an audit beside that of hashing and C2PA reading alone: same tree, as many processes.

    python benchmarks/bench_audit.py [--bundles 1000] [--pixels 6144] [--jobs 2] [--rounds 3] [--folder DISK]
                                     [--different 16] [--only one_process | without_decoding]

The tree holds bundles of different pictures, each signed, logged and written by the SDK; only the network is
left out, a median filter stands in its place. Ours is `restore audit --no-recompute` with trust root and log
key, `ours_decoding` the same with `--pixels`. The peer does, in as many processes, started in the same way,
what any audit has to do: c2pa-python reads and validates every result under the same trust root, and every
file of the bundle is read and hashed, in pieces where nobody needs it as a whole, which takes less time.
`peer_decoding` also decodes every picture (Pillow) and hashes its samples. Ours also checks record,
signatures, chain, log proof, orphans, duplicates and drift. Start of the processes is in all of them.

`--different` makes only so many bundles and repeats them, as hard links in further folders, until there are
`--bundles`: a thousand of 12 megapixels would take 53 GB. Nobody remembers what it has hashed, so the work is
that of a thousand; that the bytes come from memory and not from the disk favours neither.

`one_process` is without it: bundle by bundle in turns in this one process, processor time, where other work
on the machine hardly reaches. `--only one_process` does nothing else, `--only without_decoding` leaves out
this and the two ways that decode.

Prints one JSON document: bundles a second, theirs over ours (above 1 we are faster) as a median over the
rounds and for each of them, and how many processors were busy: processor time of all over the clock's.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from restore_manifests.log import TransparencyLog
from restore_manifests.report import Verdict
from restore_sdk.audit_bundle import Options, Task, examine
from restore_sdk.audit_tree import audit
from restore_sdk.bundle_names import MANIFEST_SUFFIX


def make_tree(folder: Path, bundles: int, pixels: int) -> tuple[Path, Path, str]:
    """The tree, the file with its root of trust, and its log's public key."""
    # imported here: the processes of both sides read this module, and are to load no more than they need
    import cv2  # noqa: PLC0415

    from restore_manifests.keys import create_identity  # noqa: PLC0415
    from restore_manifests.pixels import encode_png  # noqa: PLC0415
    from restore_manifests.schema import Request  # noqa: PLC0415
    from restore_models.vectors import vector_image  # noqa: PLC0415
    from restore_sdk.evidence import decode_evidence  # noqa: PLC0415
    from restore_sdk.model_in_use import open_in_use  # noqa: PLC0415
    from restore_sdk.output import write_bundle  # noqa: PLC0415
    from restore_sdk.plan import Executed  # noqa: PLC0415
    from restore_sdk.record import Job, make_record, sign_record  # noqa: PLC0415

    tree = folder / "tree"
    tree.mkdir()
    side = max(16, round((pixels / 1.5) ** 0.5))
    identity = create_identity(folder / "home", name="Benchmark", passphrase=None, unprotected=True)
    request = Request(
        prompt="", mode="auto", scale=1, seed=0, guidance_scale=1.0, arithmetic="exact", strict=False
    )
    model = open_in_use(None, exact=True)
    job = Job(model.settle(request), model, identity, tree, force=False)
    clean = vector_image(side, round(side * 1.5), 3, 8)
    for number in range(bundles):
        dice = np.random.default_rng(number)
        before = np.clip(clean + dice.normal(0, 8, clean.shape), 0, 255).astype(np.uint8)
        after = cv2.medianBlur(before, 3)
        confidence = np.asarray(cv2.blur(cv2.absdiff(after, before).max(axis=2), (9, 9)), np.uint8)
        data = encode_png(before)
        (tree / f"picture-{number:05d}.png").write_bytes(data)
        evidence = decode_evidence(data, f"picture-{number:05d}.png")
        executed = Executed(after, None, before, confidence, {}, [])
        body, files = make_record(job, evidence, executed, model.plan(request), {}, [])
        write_bundle(sign_record(job, evidence, body, files).files, tree)
    root = folder / "root.pem"
    root.write_text(identity.root_pem or "")
    with TransparencyLog.open(folder / "home" / "log") as log:
        return tree, root, log.vkey


def repeat(tree: Path, bundles: int) -> None:
    """Folders of hard links to the bundles of `tree`, until there are so many."""
    files = sorted(tree.iterdir())
    manifests = [path for path in files if path.name.endswith(MANIFEST_SUFFIX)]
    for number in range(1, -(-bundles // len(manifests))):
        folder = tree / f"again-{number:04d}"
        folder.mkdir()
        left = bundles - number * len(manifests)
        names = {path.name.removesuffix(MANIFEST_SUFFIX) for path in manifests[:left]}
        for path in files:
            if path.name.split(".")[0] in names:
                os.link(path, folder / path.name)


def read_alone(stem: Path, *, root_pem: str, decoding: bool) -> bool:
    """What the peer does with one bundle."""
    import c2pa  # noqa: PLC0415

    settings = {
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
        "trust": {"trust_anchors": root_pem, "trust_config": "1.3.6.1.5.5.7.3.4\n1.3.6.1.5.5.7.3.36"},
    }
    for suffix in (".png", ".restored.png", ".edit.png", ".confidence.png", ".manifest.json", ".tlog-proof"):
        path, claimed = stem.with_name(stem.name + suffix), suffix == ".restored.png"
        if not claimed and not (decoding and suffix.endswith(".png")):
            with path.open("rb", buffering=0) as file:
                hashlib.file_digest(file, "sha256").hexdigest()
            continue
        data = path.read_bytes()
        hashlib.sha256(data).hexdigest()
        if decoding:
            from PIL import Image  # noqa: PLC0415

            with Image.open(io.BytesIO(data)) as picture:
                hashlib.sha256(np.asarray(picture)).hexdigest()
        if claimed:
            with (
                c2pa.Context.from_dict(settings) as context,
                c2pa.Reader("image/png", io.BytesIO(data), context=context) as reader,
            ):
                trusted = json.loads(reader.json())["validation_state"] == "Trusted"
    return trusted


def audit_alone(tree: Path, root: Path, jobs: int, *, decoding: bool) -> None:
    ending = ".manifest.json"
    stems = [path.with_name(path.name.removesuffix(ending)) for path in sorted(tree.rglob(f"*{ending}"))]
    work = partial(read_alone, root_pem=root.read_text(), decoding=decoding)
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        if not all(pool.map(work, stems, chunksize=8)):
            raise SystemExit("The peer does not trust a result.")


def audit_ours(tree: Path, root: Path, log_key: str, jobs: int, *, decoding: bool) -> None:
    report = audit(tree, jobs=jobs, recompute=False, pixels=decoding, trust=root, log_key=log_key)
    if report.verdict is not Verdict.PASS:
        raise SystemExit(f"The tree of the benchmark does not verify: {report.summary}")


def processor_seconds() -> float:
    """Of this process and of all its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def one_process(tree: Path, root: Path, log_key: str, rounds: int) -> dict[str, Any]:
    """Median processor time of each way over at most 40 bundles, the first one unmeasured."""
    options = Options(root=tree, recompute=False, trust=root, log_key=log_key)
    decoding, root_pem = replace(options, pixels=True), root.read_text()

    def ours(manifest: Path, options: Options) -> None:
        item = examine(Task(manifest), options=options, digest="").item
        if item is None or item.verdict is not Verdict.PASS:
            raise SystemExit(f"A bundle of the benchmark does not verify: {item}")

    def peer(manifest: Path, *, decoding: bool) -> None:
        stem = manifest.with_name(manifest.name.removesuffix(MANIFEST_SUFFIX))
        read_alone(stem, root_pem=root_pem, decoding=decoding)

    ways: dict[str, Callable[[Path], None]] = {
        "ours": lambda manifest: ours(manifest, options),
        "ours_decoding": lambda manifest: ours(manifest, decoding),
        "peer": lambda manifest: peer(manifest, decoding=False),
        "peer_decoding": lambda manifest: peer(manifest, decoding=True),
    }
    manifests = sorted(tree.glob(f"*{MANIFEST_SUFFIX}"))[:40]
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for manifest in [manifests[0], *manifests * rounds]:
        for name, way in ways.items():
            busy = time.process_time()
            way(manifest)
            taken[name].append(time.process_time() - busy)
    medians = {name: statistics.median(times[1:]) for name, times in taken.items()}
    return {
        "processor_ms_per_bundle": {name: round(seconds * 1e3, 2) for name, seconds in medians.items()},
        "ours_over_peer": round(medians["ours"] / medians["peer"], 2),
        "ours_over_peer, both decoding": round(medians["ours_decoding"] / medians["peer_decoding"], 2),
    }


def measure(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    bundles, jobs, rounds = given.bundles, given.jobs, given.rounds
    different = min(bundles, given.different or bundles)
    os.environ["RESTORE_HOME"] = str(folder / "home")
    began = time.perf_counter()
    tree, root, key = make_tree(folder, different, given.pixels)
    made = time.perf_counter() - began
    described = {
        "bundles": bundles,
        "different": different,
        "pixels": given.pixels,
        "megabytes_of_different": round(sum(path.stat().st_size for path in tree.iterdir()) / 1e6, 1),
        "bundles_made_per_second": round(different / made, 1),
    }
    if given.only != "without_decoding":
        described["one_process"] = one_process(tree, root, key, rounds)
    if given.only == "one_process":
        return described
    repeat(tree, bundles)
    ways: dict[str, Callable[[], None]] = {
        "ours": lambda: audit_ours(tree, root, key, jobs, decoding=False),
        "ours_decoding": lambda: audit_ours(tree, root, key, jobs, decoding=True),
        "peer": lambda: audit_alone(tree, root, jobs, decoding=False),
        "peer_decoding": lambda: audit_alone(tree, root, jobs, decoding=True),
    }
    if given.only == "without_decoding":
        ways = {name: way for name, way in ways.items() if not name.endswith("decoding")}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(rounds):
        names = list(ways)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            clock, busy = time.perf_counter(), processor_seconds()
            ways[name]()
            taken[name].append((time.perf_counter() - clock, processor_seconds() - busy))
    result: dict[str, Any] = {**described, "jobs": jobs}
    for name, times in taken.items():
        clock = statistics.median(wall for wall, _ in times)
        result[name] = {
            "bundles_per_second": round(bundles / clock, 1),
            "processor_ms_per_bundle": round(statistics.median(busy for _, busy in times) / bundles * 1e3, 2),
            "processors_busy": round(statistics.median(busy / wall for wall, busy in times), 2),
        }
    for at, clock in enumerate(("rate", "processor_time")):
        result[f"over_ours, by {clock}"] = {
            name: round(
                statistics.median(
                    theirs[at] / ours[at] for ours, theirs in zip(taken["ours"], times, strict=True)
                ),
                3,
            )
            for name, times in taken.items()
            if name != "ours"
        }
    result["peer_over_ours, round by round"] = [
        round(theirs[0] / ours[0], 3) for ours, theirs in zip(taken["ours"], taken["peer"], strict=True)
    ]
    return result


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundles", type=int, default=1000)
    parser.add_argument("--pixels", type=int, default=6144, help="of each picture")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None, help="where to work (default: temporary folder)")
    parser.add_argument("--different", type=int, default=None, help="bundles that are made (default: all)")
    parser.add_argument("--only", choices=["one_process", "without_decoding"], default=None)
    given = parser.parse_args()
    name = tempfile.mkdtemp(dir=given.folder)
    try:
        found = measure(Path(name), given)
        print(json.dumps(found, indent=2))
    finally:
        shutil.rmtree(name, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
