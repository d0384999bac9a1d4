"""What our record costs beside c2pa-python alone, on the same picture, in turns in one process.

    python benchmarks/bench_sign.py [--megapixels 12] [--rounds 7] [--folder /path/on/the/disk/to/measure]
                                    [--only verifying]

Signing. Ours is what `restore run` does once pixels, maps and their PNG files are there: the hashes of pixels
and files, the record, the claim with the maps and the source in it, the log entry and its proof, both
signatures, and the bundle on the disk, synced. `ours_hashed` is the same without the hashes of pixels and map
files, which `restore run` makes while the PNG files are encoded: signing, embedding and storing alone.
`ours_unstored` stops at the signed result in memory, the log entry being on the disk: signing and embedding.

`bare` is c2pa-python signing the same PNG file into a new file, with a claim of one action and nothing else;
`alike` gives it the claim that ours has, in memory: the same assertions, the source as parent, the maps as
components. Neither of the two hashes pixels, writes maps, keeps a log or syncs. A file that was not synced
may be gone after a power cut, so `bare_synced` and `alike_synced` also put the one signed file on the disk,
as every program has to that says it is stored. `bare_unstored` is `bare` from memory to memory. All write
into folders without older files.

Verifying. Ours is `restore verify --no-recompute`, in process, with the trust root and the log's key given,
`ours_decoding` the same with `--pixels`.
`peer` is c2pa-python's Reader on the same result with the same trust, and SHA-256 over all files of the
bundle and the source, in pieces, which takes less time than reading each as a whole. `peer_decoding` also
decodes the four pictures (Pillow) and hashes their samples, which is the least that anybody has to do who
compares pixels and not only files.

Prints one JSON document; seconds are medians, ratios are medians of the ratios within one round. Processor
time stands beside the clock's, because other work on the machine does not reach it.
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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import c2pa
import cv2
import numpy as np
from PIL import Image

from restore_manifests import c2pa_claim
from restore_manifests.keys import Identity, create_identity
from restore_manifests.log import TransparencyLog
from restore_manifests.pixels import encode_png
from restore_manifests.report import Verdict
from restore_manifests.schema import Body, Request, body_bytes
from restore_models.vectors import vector_image
from restore_sdk.evidence import Evidence, decode_evidence
from restore_sdk.model_in_use import open_in_use
from restore_sdk.output import write_bundle
from restore_sdk.plan import Executed
from restore_sdk.record import Job, hashing, make_record, sign_record
from restore_sdk.verification import verify

CREATED = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCreation"


@dataclass(frozen=True)
class Scene:
    """One restoration up to the moment in which it is signed."""

    folder: Path
    job: Job
    evidence: Evidence
    executed: Executed
    body: Body
    files: dict[str, bytes]

    @property
    def identity(self) -> Identity:
        return self.job.identity

    @property
    def result(self) -> bytes:
        """The result as a PNG without its claim."""
        return self.files[self.body.result.name]

    @property
    def maps(self) -> dict[str, bytes]:
        return {name: data for name, data in self.files.items() if name != self.body.result.name}


def make_scene(folder: Path, megapixels: float) -> Scene:
    """A noisy picture, "restored" by a median filter, whose maps are about as large as real ones."""
    side = round((megapixels * 1e6 / 1.5) ** 0.5)
    dice = np.random.default_rng(0)
    clean = vector_image(side, round(side * 1.5), 3, 8)
    before = np.clip(clean + dice.normal(0, 8, clean.shape), 0, 255).astype(np.uint8)
    after = cv2.medianBlur(before, 3)
    doubt = cv2.blur(np.abs(after.astype(np.int16) - before).max(axis=2).astype(np.uint8), (9, 9))
    confidence = np.asarray(doubt, np.uint8)
    data = encode_png(before)
    (folder / "picture.png").write_bytes(data)
    identity = create_identity(folder / "home", name="Benchmark", passphrase=None, unprotected=True)
    request = Request(
        prompt="", mode="auto", scale=1, seed=0, guidance_scale=1.0, arithmetic="exact", strict=False
    )
    model = open_in_use(None, exact=True)
    job = Job(model.settle(request), model, identity, folder / "bundle", force=True)
    evidence = decode_evidence(data, "picture.png")
    executed = Executed(after, None, before, confidence, {}, [])
    body, files = make_record(job, evidence, executed, model.plan(request), {}, [])
    return Scene(folder, job, evidence, executed, body, files)


def hash_ours(scene: Scene) -> None:
    """`files` is what the encoder left; the body is complete, so its hashes are made again to be counted."""
    shown = scene.executed.confidence  # the edit map has the same shape
    assert shown is not None  # noqa: S101 -- make_scene made it
    with hashing(scene.executed.samples, dict.fromkeys(scene.maps, shown)) as hashes:
        for name, data in scene.maps.items():
            hashes.of_file(name, data)
    if hashes.result_pixels() != scene.body.result.pixels_sha256:
        raise SystemExit("The hashes of the benchmark are not those of its record.")


def sign_ours(scene: Scene, stages: dict[str, list[float]]) -> None:
    """From the hashes to the bundle on the disk."""
    began = time.perf_counter()
    signed = sign_record(scene.job, scene.evidence, scene.body, scene.files)
    finished = time.perf_counter()
    write_bundle(signed.files, scene.folder / "bundle", digests=signed.digests)
    written = time.perf_counter()
    stages.setdefault("record, claim, log, signatures", []).append(finished - began)
    stages.setdefault("bundle on the disk", []).append(written - finished)


def hash_and_sign(scene: Scene, stages: dict[str, list[float]]) -> None:
    """All of it, as if the hashes had not been made while the encoder worked."""
    began = time.perf_counter()
    hash_ours(scene)
    stages.setdefault("hashes", []).append(time.perf_counter() - began)
    sign_ours(scene, stages)


def embed_alone(scene: Scene, source: BinaryIO, target: BinaryIO) -> None:
    """c2pa-python by itself, with the settings that we use and next to nothing to say."""
    definition = {
        "claim_generator_info": [{"name": "benchmark", "version": "1"}],
        "format": "image/png",
        "assertions": [
            {
                "label": "c2pa.actions.v2",
                "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": CREATED}]},
            }
        ],
    }
    settings = {
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
        "builder": {"thumbnail": {"enabled": False}},
    }
    algorithm = c2pa.C2paSigningAlg[scene.identity.algorithm.upper()]
    with (
        c2pa.Context.from_dict(settings) as context,
        c2pa.Builder(json.dumps(definition), context=context) as builder,
        c2pa.Signer.from_callback(scene.identity.sign, algorithm, scene.identity.chain_pem, None) as signer,
    ):
        builder.sign(signer, "image/png", source, target)


def sign_alone(scene: Scene, *, synced: bool) -> None:
    """From file to file."""
    with (
        (scene.folder / "unsigned.png").open("rb") as source,
        (scene.folder / "alone.png").open("w+b") as target,
    ):
        embed_alone(scene, source, target)
        if synced:
            sync(target)


def sign_alike(scene: Scene, *, synced: bool) -> None:
    """c2pa-python with the claim that ours has, by way of the thin layer that we have over it."""
    signed = c2pa_claim.embed(
        scene.result,
        body=scene.body,
        manifest_text=body_bytes(scene.body).decode(),
        source_bytes=scene.evidence.data,
        source_mime=scene.evidence.mime,
        maps=scene.maps,
        identity=scene.identity,
    )
    if synced:
        with (scene.folder / "alone.png").open("wb") as target:
            target.write(signed)
            sync(target)


def sync(file: BinaryIO) -> None:
    """The file, and the folder in which it is new."""
    file.flush()
    os.fsync(file.fileno())
    if os.name != "nt":
        folder = os.open(Path(file.name).parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


def clear(scene: Scene) -> None:
    """Nobody's time goes into the removal of what was there before."""
    shutil.rmtree(scene.folder / "bundle", ignore_errors=True)
    (scene.folder / "alone.png").unlink(missing_ok=True)


def verify_ours(scene: Scene, root: Path, log_key: str, *, decoding: bool) -> None:
    report = verify(
        scene.folder / "bundle" / scene.body.result.name,
        scene.folder / "bundle" / "picture.manifest.json",
        source=scene.folder / "picture.png",
        trust=root,
        log_key=log_key,
        recompute=False,
        pixels=decoding,
    )
    if report.verdict is not Verdict.PASS:
        raise SystemExit(f"The bundle of the benchmark does not verify: {report}")


def verify_alone(scene: Scene, root: Path, *, decoding: bool) -> None:
    bundle = scene.folder / "bundle"
    files = [scene.folder / "picture.png", *sorted(bundle.iterdir())]
    settings = {
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
        "trust": {"trust_anchors": root.read_text(), "trust_config": "1.3.6.1.5.5.7.3.4\n1.3.6.1.5.5.7.3.36"},
    }
    with (
        c2pa.Context.from_dict(settings) as context,
        (bundle / scene.body.result.name).open("rb") as stream,
        c2pa.Reader("image/png", stream, context=context) as reader,
    ):
        if json.loads(reader.json())["validation_state"] != "Trusted":
            raise SystemExit("The peer does not trust the result.")
    for path in files:
        if not (decoding and path.suffix == ".png"):
            with path.open("rb", buffering=0) as file:
                hashlib.file_digest(file, "sha256").hexdigest()
            continue
        data = path.read_bytes()
        hashlib.sha256(data).hexdigest()
        with Image.open(io.BytesIO(data)) as picture:
            hashlib.sha256(np.asarray(picture)).hexdigest()


Times = dict[str, list[tuple[float, float]]]
"""Of each way, round by round: seconds by the clock, and of the processor."""


def seconds(work: Callable[[], Any]) -> tuple[float, float]:
    began, busy = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - busy


def in_turns(
    ways: dict[str, Callable[[], Any]], rounds: int, before: Callable[[], Any] = lambda: None
) -> Times:
    """Each way once a round, the first round unmeasured, and the order turned round by round."""
    taken: Times = {name: [] for name in ways}
    for number in range(rounds + 1):
        names = list(ways)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            before()
            took = seconds(ways[name])
            if number:
                taken[name].append(took)
    return taken


def summary(taken: Times) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for at, clock in enumerate(("seconds", "processor_seconds")):
        found[clock] = {name: round(statistics.median(b[at] for b in t), 4) for name, t in taken.items()}
        for own in (name for name in taken if name.startswith("ours")):
            found[f"{own}_over, {clock}"] = {
                name: round(
                    statistics.median(a[at] / b[at] for a, b in zip(taken[own], times, strict=True)), 2
                )
                for name, times in taken.items()
                if not name.startswith("ours")
            }
    return found


def measure(folder: Path, megapixels: float, rounds: int, *, signing_too: bool) -> dict[str, Any]:
    os.environ["RESTORE_HOME"] = str(folder / "home")
    scene = make_scene(folder, megapixels)
    (folder / "unsigned.png").write_bytes(scene.result)
    root = folder / "root.pem"
    root.write_text(scene.identity.root_pem or "")
    stages: dict[str, list[float]] = {}
    signing: dict[str, Any] = {}
    if signing_too:
        taken = in_turns(
            {
                "ours": lambda: hash_and_sign(scene, stages),
                "ours_hashed": lambda: sign_ours(scene, {}),
                "ours_unstored": lambda: sign_record(scene.job, scene.evidence, scene.body, scene.files),
                "bare_unstored": lambda: embed_alone(scene, io.BytesIO(scene.result), io.BytesIO()),
                "bare": lambda: sign_alone(scene, synced=False),
                "bare_synced": lambda: sign_alone(scene, synced=True),
                "alike": lambda: sign_alike(scene, synced=False),
                "alike_synced": lambda: sign_alike(scene, synced=True),
            },
            rounds,
            partial(clear, scene),
        )
        medians = {name: round(statistics.median(times[1:]), 4) for name, times in stages.items()}
        signing = {"signing": {**summary(taken), "stages": medians}}
    clear(scene)
    sign_ours(scene, {})
    with TransparencyLog.open(folder / "home" / "log") as log:
        key = log.vkey
    verifying = in_turns(
        {
            "ours": lambda: verify_ours(scene, root, key, decoding=False),
            "ours_decoding": lambda: verify_ours(scene, root, key, decoding=True),
            "peer": lambda: verify_alone(scene, root, decoding=False),
            "peer_decoding": lambda: verify_alone(scene, root, decoding=True),
        },
        rounds,
    )
    sizes = {path.name: path.stat().st_size for path in sorted((folder / "bundle").iterdir())}
    return {
        "megapixels": megapixels,
        "rounds": rounds,
        "bytes": {"picture.png": len(scene.evidence.data), "unsigned": len(scene.result), **sizes},
        **signing,
        "verifying": summary(verifying),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megapixels", type=float, default=12.0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, default=None, help="where to work (default: temporary folder)")
    parser.add_argument("--only", choices=["verifying"], default=None)
    given = parser.parse_args()
    name = tempfile.mkdtemp(dir=given.folder)
    try:
        found = measure(Path(name), given.megapixels, given.rounds, signing_too=given.only is None)
        print(json.dumps(found, indent=2))
    finally:
        shutil.rmtree(name, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
