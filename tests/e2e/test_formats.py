"""Every format and depth that counts as evidence is restored, signed and recomputed."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from restore_manifests.keys import Identity, create_identity
from restore_manifests.schema import parse_manifest
from restore_models.vectors import vector_image
from restore_sdk.evidence import open_evidence
from restore_sdk.restoration import restore
from restore_sdk.verification import verify

RGB = vector_image(30, 41, 3, 8)
ALPHA = vector_image(30, 41, 1, 8)


def _pillow(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _tiff16() -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, vector_image(30, 41, 1, 16), photometric="minisblack")
    return stream.getvalue()


def _png16() -> bytes:
    rgba = np.dstack([vector_image(30, 41, 3, 16), vector_image(30, 41, 1, 16)])
    return bytes(cv2.imencode(".png", rgba[:, :, [2, 1, 0, 3]])[1])


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return _pillow(Image.fromarray(RGB), "JPEG", quality=90, exif=exif)


FILES = {
    "grey.png": _pillow(Image.fromarray(ALPHA), "PNG"),
    "grey-alpha.png": _pillow(Image.merge("LA", [Image.fromarray(ALPHA)] * 2), "PNG"),
    "rgba.webp": _pillow(Image.fromarray(np.dstack([RGB, ALPHA])), "WEBP", lossless=True),
    "palette.png": _pillow(Image.fromarray(RGB).quantize(16), "PNG"),
    "bilevel.tif": _pillow(Image.fromarray(ALPHA > 128), "TIFF"),
    "deep.tif": _tiff16(),
    "deep.png": _png16(),
    "colour.bmp": _pillow(Image.fromarray(RGB), "BMP"),
    "cmyk.jpg": _pillow(Image.fromarray(RGB).convert("CMYK"), "JPEG"),
    "turned.jpg": _turned(),
}


@pytest.fixture
def identity(restore_home: Path) -> Identity:
    return create_identity(restore_home, name="Test Laboratory", passphrase=None, unprotected=True)


@pytest.mark.parametrize("name", sorted(FILES))
def test_format(name: str, tmp_path: Path, identity: Identity) -> None:
    source = tmp_path / name
    source.write_bytes(FILES[name])
    done = restore(source, identity=identity)[0]
    assert source.read_bytes() == FILES[name]
    root = tmp_path / "root.pem"
    root.write_text(identity.root_pem or "")
    report = verify(done.result, done.manifest, trust=root)
    assert report.verdict == "pass", report.to_json()
    before, after = open_evidence(source), open_evidence(done.result)
    assert after.pixels.shape == before.pixels.shape
    assert after.bits == before.bits
    assert (after.alpha is None) == (before.alpha is None)
    if before.alpha is not None:
        assert (after.alpha == before.alpha).all()
    assert after.orientation == 1
    body = parse_manifest(done.manifest.read_bytes()).body
    assert body.result.bits == before.bits
    if name == "turned.jpg":
        assert body.source.orientation == 6
        assert (body.source.width, body.source.height) == (30, 41)


@pytest.mark.parametrize("scale", [2, 4])
def test_scale(scale: int, tmp_path: Path, identity: Identity) -> None:
    source = tmp_path / "rgba.webp"
    source.write_bytes(FILES["rgba.webp"])
    done = restore(source, scale=scale, identity=identity)[0]
    root = tmp_path / "root.pem"
    root.write_text(identity.root_pem or "")
    assert verify(done.result, done.manifest, trust=root).verdict == "pass"
    assert open_evidence(done.result).pixels.shape == (30 * scale, 41 * scale, 3)


def test_preview_is_labelled_and_verified_within_its_tolerance(tmp_path: Path, identity: Identity) -> None:
    source = tmp_path / "colour.bmp"
    source.write_bytes(FILES["colour.bmp"])
    done = restore(source, arithmetic="float", identity=identity)[0]
    root = tmp_path / "root.pem"
    root.write_text(identity.root_pem or "")
    assert verify(done.result, done.manifest, trust=root).verdict == "pass"
    body = parse_manifest(done.manifest.read_bytes()).body
    assert body.models[0].arithmetic == "tolerance"
    assert any(finding.checker == "arithmetic" for finding in body.findings)
