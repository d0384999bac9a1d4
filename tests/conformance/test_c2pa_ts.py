"""An implementation of C2PA that shares no code with ours reads and judges our results: @trustnxt/c2pa-ts.

It needs Node.js 20 or newer and the package, from

    npm install --ignore-scripts --prefix tests/conformance/c2pa_ts

or from a folder with `node_modules` that RESTORE_C2PA_TS names; otherwise these tests are skipped. The
package checks claim, signature, hashes and hard binding; who the signer is it does not ask.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the forger's bench lies in a folder that is no package

from attacks import bench

from restore_manifests import c2pa_claim
from restore_manifests.pixels import decode_png, encode_png
from restore_manifests.schema import body_bytes, parse_manifest
from restore_sdk.exports_sidecar import sidecar

HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("RESTORE_C2PA_TS") or HERE / "c2pa_ts")
PACKAGE = FOLDER / "node_modules" / "@trustnxt" / "c2pa-ts"
NODE = shutil.which("node")

pytestmark = [
    pytest.mark.skipif(NODE is None, reason="needs Node.js"),
    pytest.mark.skipif(
        not PACKAGE.is_dir(),
        reason="needs npm's @trustnxt/c2pa-ts; how to get it is said in this file",
    ),
]


def judged(*files: Path) -> list[dict[str, Any]]:
    """What c2pa-ts says of each file."""
    script = HERE / "c2pa_ts" / "validate.mjs"
    words = [str(NODE), str(script), str(PACKAGE.resolve()), *map(str, files)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> bench.Scene:
    with pytest.MonkeyPatch.context() as patch:
        base = tmp_path_factory.mktemp("c2pa-ts")
        return bench.make_scene(base, lambda home: patch.setenv("RESTORE_HOME", str(home)))


def test_our_result_is_valid_and_says_what_our_manifest_says(scene: bench.Scene) -> None:
    (found,) = judged(scene.bundle.result)
    assert (found["valid"], found["failures"]) == (True, [])
    assert {"claimSignature.validated", "assertion.dataHash.match"} <= set(found["passes"])
    body = parse_manifest(scene.bundle.manifest.read_bytes()).body
    assert found["record"].encode() == body_bytes(body)
    for path in (scene.bundle.edit, scene.bundle.confidence):
        assert hashlib.sha256(path.read_bytes()).hexdigest() in found["embedded"]


@pytest.mark.parametrize("algorithm", ["ES384", "PS256", "Ed25519"])
def test_every_kind_of_key(scene: bench.Scene, tmp_path: Path, algorithm: str) -> None:
    laboratory = bench.Laboratory.found(tmp_path / "home", origin="x.example", algorithm=algorithm)
    result = tmp_path / "result.png"
    result.write_bytes(laboratory.claim(scene.bundle))
    (found,) = judged(result)
    assert (found["valid"], found["failures"]) == (True, [])


def test_the_sidecar_is_the_same_store(scene: bench.Scene, tmp_path: Path) -> None:
    result = tmp_path / "result.png"
    result.write_bytes(scene.bundle.result.read_bytes())
    Path(f"{result}.c2pa").write_bytes(sidecar(result.read_bytes()))
    (found,) = judged(result)
    assert found["valid"]


def _pixel(scene: bench.Scene, data: bytes) -> bytes:
    pixels = decode_png(data).copy()
    pixels[0, 0, 0] ^= 1
    return bench.with_pixels(data, pixels)


def _recompressed(scene: bench.Scene, data: bytes) -> bytes:
    return bench.with_claim(encode_png(decode_png(data), level=9), bench.claim_of(data))


def _text_chunk(scene: bench.Scene, data: bytes) -> bytes:
    end = data.rindex(b"IEND") - 4
    return data[:end] + bench.chunk(b"tEXt", b"Comment\0added") + data[end:]


def _appended(scene: bench.Scene, data: bytes) -> bytes:
    return data + b"more"


def _transplanted(scene: bench.Scene, data: bytes) -> bytes:
    return bench.with_claim(bench.without_claim(data), bench.claim_of(scene.other.result.read_bytes()))


def _claim_changed(scene: bench.Scene, data: bytes) -> bytes:
    claim = bytearray(bench.claim_of(data))
    at = claim.index(b'"scale":1')  # in the record, inside the assertion
    claim[at + 8] = ord("2")
    return bench.with_claim(bench.without_claim(data), bytes(claim))


def _signature_changed(scene: bench.Scene, data: bytes) -> bytes:
    claim = bytearray(bench.claim_of(data))
    claim[claim.rindex(b"c2pa.signature") + 80] ^= 1
    return bench.with_claim(bench.without_claim(data), bytes(claim))


ALTERATIONS = [
    _pixel,
    _recompressed,
    _text_chunk,
    _appended,
    _transplanted,
    _claim_changed,
    _signature_changed,
    lambda scene, data: bench.without_claim(data),
]


@pytest.mark.parametrize("alter", ALTERATIONS, ids=lambda alter: alter.__name__.strip("_<>"))
def test_both_refuse_what_was_altered(
    scene: bench.Scene, tmp_path: Path, alter: Callable[[bench.Scene, bytes], bytes]
) -> None:
    data = scene.bundle.result.read_bytes()
    altered = alter(scene, data)
    assert altered != data
    (path := tmp_path / "altered.png").write_bytes(altered)
    (theirs,) = judged(path)
    ours = c2pa_claim.read(altered)
    assert not theirs["valid"], theirs
    assert ours.problem or ours.binding_problem or ours.failures, ours
