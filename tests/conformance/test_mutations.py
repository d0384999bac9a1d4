"""Sign, mutate, verify: no random change of manifest, result, maps or proof passes with another meaning.

RESTORE_MUTATIONS says how many (default 300), RESTORE_MUTATION_SEED which.
"""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the forger's bench lies in a folder that is no package

from attacks import bench

from restore_manifests.canonical import canonical_bytes
from restore_manifests.log_proof import verify_inclusion
from restore_manifests.pixels import png_chunks
from restore_manifests.schema import LogAnchor, body_bytes, files_bytes, parse_manifest
from restore_manifests.verifier import RecordInputs, Verdict, verify_record
from restore_sdk.evidence import decode_evidence
from restore_sdk.models import weights_sha256

COUNT = int(os.environ.get("RESTORE_MUTATIONS", "300"))
SEED = int(os.environ.get("RESTORE_MUTATION_SEED", "20261123"))
LOOKALIKES = str.maketrans("aceopxABEKMHOPCTX", "асеорхАВЕКМНОРСТХ")  # noqa: RUF001 -- Latin to Cyrillic
NUMBERS = (0, 1, -1, 2**31, 2**53 - 1, 2**53, 10**40, 0.5, -0.0, 1e-300, 1e400, float("nan"), True)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[RecordInputs, RecordInputs]:
    """The record under test and one more of the same laboratory, in memory."""
    with pytest.MonkeyPatch.context() as patch:
        base = tmp_path_factory.mktemp("mutations")
        scene = bench.make_scene(base, lambda home: patch.setenv("RESTORE_HOME", str(home)))
        return _inputs(scene, scene.bundle), _inputs(scene, scene.other)


def _inputs(scene: bench.Scene, bundle: bench.Bundle) -> RecordInputs:
    source = decode_evidence(bundle.source.read_bytes(), bundle.source.name)
    body = parse_manifest(bundle.manifest.read_bytes()).body
    return RecordInputs(
        result_bytes=bundle.result.read_bytes(),
        manifest_bytes=bundle.manifest.read_bytes(),
        now=datetime.now(UTC) + timedelta(seconds=1),
        source_bytes=source.data,
        source_pixels_sha256=source.pixels_sha256,
        source_decoder=f"{source.decoder.name} {source.decoder.version}",
        edit_map_bytes=bundle.edit.read_bytes(),
        confidence_map_bytes=bundle.confidence.read_bytes(),
        weights={model.id: weights_sha256(model.id) for model in body.models},
        trust_roots_pem=scene.lab.identity.root_pem,
        log_public_key=scene.lab.log_key,
    )


def meaning(inputs: RecordInputs) -> tuple[Any, ...]:
    """What a verified bundle says.

    Not in it: the spelling of the manifest, the bytes of a signature, and what of a log proof nobody signed.
    """
    manifest = parse_manifest(inputs.manifest_bytes)
    anchors = [anchor for anchor in manifest.anchors if isinstance(anchor, LogAnchor)]
    places = [verify_inclusion(a.proof, body_bytes(manifest.body), a.public_key) for a in anchors]
    return (
        body_bytes(manifest.body),
        files_bytes(manifest.files),
        inputs.result_bytes,
        inputs.edit_map_bytes,
        inputs.confidence_map_bytes,
        [signature.certificates[0] for signature in manifest.signatures],
        {
            (a.origin, a.index, a.tree_size, a.public_key) for a in anchors
        },  # the same proof twice says no more
        set(places),
    )


def mutate_bytes(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """One to three changes of the kinds that fuzzers make."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(changed) + 1)
        size = rng.choice((1, 1, 2, 4, 16, 200))
        match rng.randrange(8):
            case 0 | 1 if changed:
                changed[min(at, len(changed) - 1)] ^= 1 << rng.randrange(8)
            case 2:
                changed[at : at + size] = rng.randbytes(size)
            case 3:
                changed[at:at] = rng.randbytes(size)
            case 4:
                del changed[at : at + size]
            case 5:
                changed[at:at] = changed[at : at + size]
            case 6:
                start = rng.randrange(len(other))
                changed[at : at + size] = other[start : start + size]
            case _:
                del changed[at:]
    return bytes(changed)


def mutate_chunks(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A PNG with chunks changed, check sums mended, so that the change gets past the first check."""
    chunks = [(kind, bytes(body)) for _, kind, body in png_chunks(data)]
    at = rng.randrange(len(chunks))
    kind, body = chunks[at]
    theirs = [(kind, bytes(body)) for _, kind, body in png_chunks(other)]
    match rng.randrange(5):
        case 0 | 1:
            chunks[at] = (kind, mutate_bytes(body, other, rng))
        case 2:
            del chunks[at]
        case 3:
            chunks.insert(rng.randrange(len(chunks) + 1), rng.choice([*chunks, *theirs]))
        case _:
            chunks[at] = rng.choice(theirs)
    return data[:8] + b"".join(bench.chunk(kind, body) for kind, body in chunks)


def mutate_json(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A manifest with one member replaced, removed, added, exchanged or taken from another record."""
    document, theirs = json.loads(data), json.loads(other)
    places = list(_places(document))
    parent, key = rng.choice(places)
    match rng.randrange(9):
        case 0:
            del parent[key]
        case 1:
            second, its = rng.choice(places)
            parent[key], second[its] = copy.deepcopy(second[its]), copy.deepcopy(parent[key])
        case 2:
            place, its = rng.choice(list(_places(theirs)))
            parent[key] = copy.deepcopy(place[its])
        case 3 if isinstance(parent, dict):
            parent[str(key).translate(LOOKALIKES) + rng.choice(("", "_", " "))] = parent.pop(key)
        case 4 if isinstance(parent, list):
            parent.insert(key, copy.deepcopy(rng.choice(parent)))
        case 5:
            same = _same_place(document, theirs, parent, key)
            parent[key] = copy.deepcopy(same)
        case _:
            parent[key] = _other_value(parent[key], rng)
    return json.dumps(document).encode("utf-8", "surrogatepass")


def mutate_proof(data: bytes, other: bytes, rng: random.Random) -> bytes:
    document, theirs = json.loads(data), json.loads(other)
    anchor, second = document["anchors"][0], theirs["anchors"][0]
    lines, their_lines = anchor["proof"].split("\n"), second["proof"].split("\n")
    at = rng.randrange(len(lines))
    match rng.randrange(5):
        case 0:
            text = mutate_bytes(anchor["proof"].encode(), second["proof"].encode(), rng)
            lines = text.decode("utf-8", "replace").split("\n")
        case 1:
            lines[at] = rng.choice(their_lines)
        case 2:
            lines.insert(
                at, rng.choice([*lines, *their_lines, f"extra {base64.b64encode(rng.randbytes(9)).decode()}"])
            )
        case 3:
            del lines[at]
        case _:
            lines[at] = mutate_bytes(lines[at].encode() or b"x", b"0123456789", rng).decode(
                "utf-8", "replace"
            )
    anchor["proof"] = "\n".join(lines)
    return json.dumps(document).encode()


def _places(value: Any) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key
        yield from _places(item)


def _same_place(document: Any, theirs: Any, parent: Any, key: Any) -> Any:
    """The member of the other record that stands where ours does; ours if there is none."""
    for (place, name), (other, its) in zip(_places(document), _places(theirs), strict=False):
        if place is parent and name == key:
            return other[its]
    return parent[key]


def _other_value(value: Any, rng: random.Random) -> Any:
    match value:
        case bool():
            return rng.choice((not value, int(value), None, "true"))
        case int() | float():
            return rng.choice((value + 1, -value, value * 2, str(value), None, *NUMBERS))
        case str():
            at = rng.randrange(len(value) + 1)
            letter = chr(rng.choice((rng.randrange(32, 127), 0, 0x202E, 0x430, 0xD800, 0x1F600)))
            texts = (value[:at] + letter + value[at + 1 :], value[:at], value.translate(LOOKALIKES))
            return rng.choice((*texts, value.upper(), value + " ", "../" + value, "", None, [value]))
        case list():
            return rng.choice(([], value * 2, value[::-1], None, {}))
        case dict():
            return rng.choice(({}, {**value, "x": 1}, [value], None))
        case _:
            return rng.choice(("", 0, False, "0" * 64, "2026"))


Mutate = Callable[[bytes, bytes, random.Random], bytes]
KINDS: dict[str, tuple[str, Mutate]] = {
    "manifest bytes": ("manifest_bytes", mutate_bytes),
    "manifest members": ("manifest_bytes", mutate_json),
    "manifest members again": ("manifest_bytes", mutate_json),
    "log proof": ("manifest_bytes", mutate_proof),
    "result bytes": ("result_bytes", mutate_bytes),
    "result chunks": ("result_bytes", mutate_chunks),
    "edit map": ("edit_map_bytes", mutate_chunks),
    "confidence map": ("confidence_map_bytes", mutate_bytes),
}


def test_no_mutation_passes_with_another_meaning(pair: tuple[RecordInputs, RecordInputs]) -> None:
    good, other = pair
    assert verify_record(good).verdict is Verdict.PASS
    truth, rng = meaning(good), random.Random(SEED)  # noqa: S311 -- repeatable, nothing is secret
    found: Counter[str] = Counter()
    for number in range(COUNT):
        name = rng.choice(list(KINDS))
        field, mutate = KINDS[name]
        before = getattr(good, field)
        after = mutate(before, getattr(other, field), rng)
        forged = dataclasses.replace(good, **{field: after})
        report = verify_record(forged)
        by_bytes = verify_record(dataclasses.replace(forged, pixels=False))  # signed bytes are not decoded
        for one in (report, by_bytes):
            assert not [check for check in one.checks if check.code == "check-broke"], (number, name, one)
        assert by_bytes.verdict is report.verdict, (number, name, report, by_bytes)
        if report.verdict is Verdict.PASS:
            assert meaning(forged) == truth, (number, name, report)
            found["same meaning"] += 1
        else:
            found[report.verdict.value] += 1
    print(f"{COUNT} mutations, seed {SEED}: {dict(found)}")
    assert found["fail"] > COUNT * 0.8
    assert canonical_bytes(json.loads(good.manifest_bytes))  # the good one was not touched on the way
