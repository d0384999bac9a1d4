"""Each kind of tampering with a real bundle is caught by the check it belongs to, with exit code 1."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from restore_cli.__main__ import main
from restore_manifests.keys import create_identity
from restore_manifests.pixels import decode_png, encode_png, png_chunks
from restore_manifests.schema import parse_manifest
from restore_manifests.signing import sign_manifest
from restore_models import zoo
from restore_models.program import Program, load_program, save_program

if TYPE_CHECKING:
    from conftest import Bundle
else:
    Bundle = Any


def _verify(bundle: Bundle, *more: str, trusted: bool = True) -> tuple[int, dict[str, str]]:
    """Exit code, and the verdict of each check."""
    trust = ["--trust", str(bundle.root)] if trusted else []
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = main(["verify", str(bundle.result), str(bundle.manifest), "--json", *trust, *more])
    return code, {check["id"]: check["verdict"] for check in json.loads(said.getvalue())["checks"]}


def _change_pixel(png: Path) -> None:
    """One sample changed by one level, everything else of the file kept."""
    data = png.read_bytes()
    pixels = decode_png(data).copy()
    pixels.reshape(-1)[pixels.size // 2] ^= 1
    parts, written = [data[:8]], False
    for at, kind, body in png_chunks(data):
        if kind != b"IDAT":
            parts.append(data[at : at + len(body) + 12])
        elif not written:
            written = True
            whole = encode_png(pixels)
            parts += [whole[a : a + len(b) + 12] for a, k, b in png_chunks(whole) if k == b"IDAT"]
    png.write_bytes(b"".join(parts))


def _change_field(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_untouched_bundle_passes(bundle: Bundle) -> None:
    code, checks = _verify(bundle)
    assert code == 0, checks
    assert set(checks.values()) == {"pass"}
    assert {"recompute.pixels", "maps.edit", "maps.confidence", "model.weights", "log.inclusion"} <= set(
        checks
    )


def test_one_pixel(bundle: Bundle) -> None:
    _change_pixel(bundle.result)
    code, checks = _verify(bundle)
    assert code == 1
    assert checks["result.pixels"] == checks["result.file"] == checks["c2pa.binding"] == "fail"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("created", lambda d: d["body"].__setitem__("created", "2020-01-01T00:00:00Z")),
        ("prompt", lambda d: d["body"]["request"].__setitem__("prompt", "show a seven")),
        ("abstained", lambda d: d["body"].__setitem__("abstained", True)),
        ("statistics", lambda d: d["body"]["maps"]["edit"]["statistics"].__setitem__("mean", 0.0)),
    ],
)
def test_one_manifest_field(bundle: Bundle, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    _change_field(bundle.manifest, change)
    code, checks = _verify(bundle)
    assert code == 1, name
    assert checks["signature"] == checks["c2pa.agrees"] == "fail"


@pytest.mark.parametrize("kind", ["edit", "confidence"])
def test_one_map_byte(bundle: Bundle, kind: str) -> None:
    _change_pixel(bundle.folder / f"plate.{kind}.png")
    code, checks = _verify(bundle)
    assert code == 1
    assert checks[f"maps.{kind}"] == "fail"
    assert checks["recompute.pixels"] == "pass"


def test_c2pa_box(bundle: Bundle) -> None:
    data = bytearray(bundle.result.read_bytes())
    at, _, body = next(chunk for chunk in png_chunks(bytes(data)) if chunk[1] == b"caBX")
    data[at + 8 + len(body) // 2] ^= 1
    bundle.result.write_bytes(bytes(data))
    code, checks = _verify(bundle)
    assert code == 1
    assert checks["c2pa.binding"] == "fail"


def test_c2pa_box_taken_out(bundle: Bundle) -> None:
    bundle.result.write_bytes(encode_png(decode_png(bundle.result.read_bytes())))
    code, checks = _verify(bundle)
    assert code == 1
    assert checks["c2pa.binding"] == checks["result.file"] == "fail"
    assert checks["result.pixels"] == "pass"


def test_log_proof(bundle: Bundle) -> None:
    def change(document: dict[str, Any]) -> None:
        anchor = document["anchors"][0]
        anchor["proof"] = anchor["proof"].replace("index 0", "index 1", 1)

    _change_field(bundle.manifest, change)
    code, checks = _verify(bundle)
    assert code == 1
    assert checks["log.inclusion"] == "fail"


def test_log_checkpoint(bundle: Bundle) -> None:
    def change(document: dict[str, Any]) -> None:
        anchor = document["anchors"][0]
        head, _, tail = anchor["proof"].rpartition("\u2014")
        anchor["proof"] = head + "\u2014" + tail[:-6] + ("A" if tail[-6] != "A" else "B") + tail[-5:]

    _change_field(bundle.manifest, change)
    code, checks = _verify(bundle)
    assert code == 1
    assert checks["log.checkpoint"] == "fail"


def test_signed_by_another_key(bundle: Bundle, tmp_path: Path) -> None:
    """A whole new signature by a stranger of the same name: intact, but not the laboratory's."""
    stranger = create_identity(tmp_path / "s", name="Test Laboratory", passphrase=None, unprotected=True)
    manifest = parse_manifest(bundle.manifest.read_bytes())
    forged = sign_manifest(manifest.body, bundle.result.read_bytes(), stranger, anchors=manifest.anchors)
    bundle.manifest.write_text(forged.model_dump_json(by_alias=True))
    code, checks = _verify(bundle)
    assert code == 1
    assert checks["signature"] == "pass"
    assert checks["signer.trust"] == "fail"


def test_source(bundle: Bundle) -> None:
    _change_pixel(bundle.source)
    code, checks = _verify(bundle)
    assert code == 1
    assert checks["source.file"] == checks["source.pixels"] == "fail"


def test_source_missing_is_unable(bundle: Bundle) -> None:
    bundle.source.unlink()
    code, checks = _verify(bundle)
    assert code == 3
    assert checks["source.file"] == checks["recompute.pixels"] == "unable"


def test_no_root_is_unable(bundle: Bundle) -> None:
    code, checks = _verify(bundle, trusted=False)
    assert code == 3
    assert checks.pop("signer.trust") == "unable"
    assert set(checks.values()) == {"pass"}


@pytest.mark.parametrize("what", ["weight", "table", "instruction"])
def test_weights(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """One flipped bit in the installed weights, the exponential table, or the program."""
    shipped = tmp_path / "weights"
    shutil.copytree(zoo.find_model(None, tmp_path).path.parent, shipped)
    path = shipped / f"{zoo.DEFAULT_MODEL}.safetensors"
    save_program(path, _changed(load_program(path), what))
    monkeypatch.setattr(zoo, "_SHIPPED", shipped)
    code, checks = _verify(bundle)
    assert code == 1
    assert checks["model.weights"] == "fail"
    assert checks["recompute.pixels"] != "pass"
    code, checks = _verify(bundle, "--no-recompute")
    assert code == 1
    assert checks["model.weights"] == "fail"


def _changed(program: Program, what: str) -> Program:
    if what == "instruction":
        steps = list(program.instructions)
        steps[1] = dataclasses.replace(steps[1], high=steps[1].high ^ 1)
        return dataclasses.replace(program, instructions=tuple(steps))
    name = "stem.weight" if what == "weight" else "exp"
    tensor = program.tensors[name].copy()
    place = tuple(np.argwhere(np.abs(tensor) > 2)[-1])
    tensor[place] ^= 1
    return dataclasses.replace(program, tensors={**program.tensors, name: tensor})
