"""A complete good record in memory: image, maps, claim, manifest, log proof, trust."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from restore_manifests import c2pa_claim
from restore_manifests.canonical import sha256_hex
from restore_manifests.keys import Identity, create_identity
from restore_manifests.log import TransparencyLog
from restore_manifests.pixels import encode_png, pixels_sha256
from restore_manifests.schema import Body, Ingredient, LogAnchor, Manifest, body_bytes, manifest_bytes
from restore_manifests.signing import sign_manifest
from restore_manifests.verifier import Recomputation, RecordInputs

WEIGHTS = sha256_hex(b"weights of the test network")
STATEMENT = "Enhanced by an algorithm; not for identification on its own."


@dataclass(frozen=True)
class Record:
    """What a run leaves behind, and what a verifier is given."""

    manifest: Manifest
    inputs: RecordInputs
    identity: Identity
    log_key: str
    result_pixels: np.ndarray

    def with_(self, **changes: Any) -> RecordInputs:
        return dataclasses.replace(self.inputs, **changes)

    def with_manifest(self, **changes: Any) -> RecordInputs:
        return self.with_(manifest_bytes=manifest_bytes(self.manifest.model_copy(update=changes)))


def describe_map(name: str, pixels: np.ndarray, data: bytes) -> dict[str, Any]:
    return {
        "name": name,
        "pixels_sha256": pixels_sha256(pixels),
        "file_sha256": sha256_hex(data),
        "method": "test map",
        "guarantee": None,
        "statistics": {"mean": 1.5},
    }


def make_body(
    *,
    source: bytes,
    source_pixels: np.ndarray,
    result: np.ndarray,
    maps: dict[str, Any],
    ingredients: list[Ingredient],
    created: datetime,
) -> Body:
    height, width, channels = result.shape
    document = {
        "id": "3f2b8c1e-5d4a-4b6c-8d7e-9f0a1b2c3d4e",
        "created": f"{created:%Y-%m-%dT%H:%M:%SZ}",
        "tool": {"name": "restore", "version": "0.1.0"},
        "source": {
            "name": "plate.png",
            "file_sha256": sha256_hex(source),
            "bytes": len(source),
            "format": "PNG",
            "pixels_sha256": pixels_sha256(source_pixels),
            "width": width,
            "height": height,
            "channels": channels,
            "bits": 8,
            "decoder": {"name": "pillow", "version": "12"},
            "orientation": 1,
            "icc_sha256": None,
            "metadata_kept": ["exif"],
            "metadata_lost": [],
        },
        "request": {
            "prompt": "remove the noise, keep the plate sharp",
            "mode": "auto",
            "scale": 1,
            "seed": 0,
            "guidance_scale": 1.0,
            "arithmetic": "exact",
            "strict": False,
        },
        "plan": [{"operation": "denoise", "parameters": {"tile": 256, "sigma": 12.5, "roi": [1, 2, 3]}}],
        "trace": [
            {
                "operation": "denoise",
                "input_sha256": pixels_sha256(source_pixels),
                "output_sha256": pixels_sha256(result),
            }
        ],
        "models": [
            {
                "id": "swin-unet-small",
                "file_sha256": WEIGHTS,
                "program_sha256": None,
                "licence": "Apache-2.0",
                "arithmetic": "exact",
            }
        ],
        "degradation": {"noise_sigma": {"value": 12.5, "low": 10.0, "high": 15.0, "unit": "8-bit levels"}},
        "abstained": False,
        "abstentions": [],
        "result": {
            "name": "plate.restored.png",
            "pixels_sha256": pixels_sha256(result),
            "width": width,
            "height": height,
            "channels": channels,
            "bits": 8,
            "consistency": {"residual": 0.75},
        },
        "maps": maps,
        "findings": [
            {"checker": "text", "severity": "info", "message": "nothing added", "details": {"n": 0}}
        ],
        "label": {"digital_source_type": "algorithmicallyEnhanced", "statement": STATEMENT},
        "ingredients": [item.model_dump() for item in ingredients],
    }
    return Body.model_validate(document)


def make_record(
    folder: Path,
    identity: Identity,
    *,
    size: tuple[int, int] = (24, 32),
    source: bytes | None = None,
    created: datetime | None = None,
    text: str | None = None,
    maps_inside: bool = True,
) -> Record:
    """`source` replaces the source file, `text` the record inside the claim; maps can be left out of it."""
    rng = np.random.default_rng(7)
    source_pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    result = source_pixels // 2 + 40
    source = source if source is not None else encode_png(source_pixels)
    edit, confidence = np.full(size, 9, np.uint8), rng.integers(0, 4, size, dtype=np.uint8)
    files = {"plate.edit.png": encode_png(edit), "plate.confidence.png": encode_png(confidence)}
    body = make_body(
        source=source,
        source_pixels=source_pixels,
        result=result,
        maps={
            "edit": describe_map("plate.edit.png", edit, files["plate.edit.png"]),
            "confidence": describe_map("plate.confidence.png", confidence, files["plate.confidence.png"]),
        },
        ingredients=c2pa_claim.source_ancestors(source, "image/png"),
        created=created or datetime.now(UTC),
    )
    finished = c2pa_claim.embed(
        encode_png(result),
        body=body,
        manifest_text=text if text is not None else body_bytes(body).decode(),
        source_bytes=source,
        source_mime="image/png",
        maps=files if maps_inside else {},
        identity=identity,
    )
    with TransparencyLog.open(folder / "log", origin="test.example/log") as log:
        log.append(b"an older entry")
        index = log.append(body_bytes(body))
        proof, size_then, key = log.inclusion_proof_text(index), log.size, log.vkey
    anchor = LogAnchor(
        type="tlog-proof",
        origin="test.example/log",
        index=index,
        tree_size=size_then,
        public_key=key,
        proof=proof,
    )
    manifest = sign_manifest(body, finished, identity, anchors=[anchor])
    inputs = RecordInputs(
        result_bytes=finished,
        manifest_bytes=manifest_bytes(manifest),
        now=datetime.now(UTC) + timedelta(seconds=1),
        source_bytes=source,
        source_pixels_sha256=pixels_sha256(source_pixels),
        source_decoder="pillow 12",
        edit_map_bytes=files["plate.edit.png"],
        confidence_map_bytes=files["plate.confidence.png"],
        weights={"swin-unet-small": WEIGHTS},
        recomputed=Recomputation(pixels_sha256(result), pixels_sha256(edit), pixels_sha256(confidence)),
        trust_roots_pem=identity.root_pem,
        log_public_key=key,
    )
    return Record(manifest, inputs, identity, key, result)


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    home = tmp_path_factory.mktemp("identity")
    return create_identity(home, name="Test Laboratory", passphrase=None, unprotected=True)


@pytest.fixture(scope="session")
def other_identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    home = tmp_path_factory.mktemp("other")
    return create_identity(home, name="Somebody Else", passphrase=None, unprotected=True)


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory, identity: Identity) -> Record:
    """A record that passes every check; shared and immutable."""
    return make_record(tmp_path_factory.mktemp("good"), identity)


@pytest.fixture
def build(tmp_path: Path, identity: Identity) -> Callable[..., Record]:
    """Make a record that differs from the good one, with `make_record`'s options."""

    def make(signer: Identity = identity, **options: Any) -> Record:
        return make_record(tmp_path, signer, **options)

    return make
