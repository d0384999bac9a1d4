"""Whole bundles on disk, made without a network: what the SDK's and the command line's tests look at."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from restore_manifests import c2pa_claim
from restore_manifests.canonical import sha256_hex
from restore_manifests.keys import Identity, create_identity
from restore_manifests.log import TransparencyLog
from restore_manifests.pixels import encode_png, pixels_sha256
from restore_manifests.schema import Body, LogAnchor, body_bytes, manifest_bytes
from restore_manifests.signing import sign_manifest

MODEL = "test-net"
WEIGHTS = b"weights of a network that only these tests know"


@dataclass(frozen=True)
class Bundle:
    """Where the files of one bundle are."""

    source: Path
    result: Path
    manifest: Path
    edit: Path
    confidence: Path
    proof: Path
    root: Path
    log_key: str


@pytest.fixture(scope="session")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    home = tmp_path_factory.mktemp("signer")
    return create_identity(home, name="Test Laboratory", passphrase=None, unprotected=True)


@pytest.fixture
def make_bundle(signer: Identity, tmp_path: Path) -> Callable[..., Bundle]:
    """Write a good bundle into a folder; `changes` go into the record before it is signed.

    The weights that it names are installed in RESTORE_HOME, so that everything but `recompute.pixels`
    can pass.
    """
    home = Path(os.environ["RESTORE_HOME"])
    (home / "models").mkdir(parents=True, exist_ok=True)
    (home / "models" / f"{MODEL}.safetensors").write_bytes(WEIGHTS)
    root = tmp_path / "root.pem"
    root.write_text(signer.root_pem or "", encoding="ascii")

    def make(
        folder: Path,
        stem: str = "plate",
        *,
        seed: int = 7,
        size: tuple[int, int] = (24, 32),
        source_name: str | None = None,
        changes: Callable[[dict[str, Any]], None] | None = None,
    ) -> Bundle:
        from restore_sdk.evidence import decode_evidence  # noqa: PLC0415

        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(seed)
        before = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        after = before // 2 + 40
        edit, confidence = np.full(size, 9, np.uint8), rng.integers(0, 4, size, dtype=np.uint8)
        files = {f"{stem}.edit.png": encode_png(edit), f"{stem}.confidence.png": encode_png(confidence)}
        name = source_name or f"{stem}.png"
        evidence = decode_evidence(encode_png(before), name)
        document = _document(evidence, stem, after, files, {"edit": edit, "confidence": confidence})
        if changes:
            changes(document)
        body = Body.model_validate(document)
        text = body_bytes(body)
        result = c2pa_claim.embed(
            encode_png(after),
            body=body,
            manifest_text=text.decode(),
            source_bytes=evidence.data,
            source_mime="image/png",
            maps={
                body.maps.edit.name: files[f"{stem}.edit.png"],
                body.maps.confidence.name: files[f"{stem}.confidence.png"],
            }
            if body.maps.edit and body.maps.confidence
            else {},
            identity=signer,
        )
        with TransparencyLog.open(home / "log", origin="test.example/log") as log:
            index = log.append(text)
            proof, tree_size, key = log.inclusion_proof_text(index), log.size, log.vkey
        anchor = LogAnchor(
            type="tlog-proof",
            origin="test.example/log",
            index=index,
            tree_size=tree_size,
            public_key=key,
            proof=proof,
        )
        paths = {kind: folder / f"{stem}.{kind}" for kind in ("restored.png", "manifest.json", "tlog-proof")}
        paths["restored.png"].write_bytes(result)
        paths["manifest.json"].write_bytes(
            manifest_bytes(sign_manifest(body, result, signer, anchors=[anchor]))
        )
        paths["tlog-proof"].write_text(proof, encoding="utf-8", newline="\n")
        for file, data in files.items():
            (folder / file).write_bytes(data)
        source = folder / f"{stem}.png"
        source.write_bytes(evidence.data)
        return Bundle(
            source=source,
            result=paths["restored.png"],
            manifest=paths["manifest.json"],
            edit=folder / f"{stem}.edit.png",
            confidence=folder / f"{stem}.confidence.png",
            proof=paths["tlog-proof"],
            root=root,
            log_key=key,
        )

    return make


def _document(
    evidence: Any, stem: str, after: Any, files: dict[str, bytes], maps: dict[str, Any]
) -> dict[str, Any]:
    height, width, channels = after.shape
    shape = {"width": width, "height": height, "channels": channels, "bits": 8}
    return {
        "id": str(uuid.uuid4()),
        "created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "tool": {"name": "restore", "version": "0.1.0"},
        "source": {
            "name": evidence.name,
            "file_sha256": evidence.file_sha256,
            "bytes": len(evidence.data),
            "format": evidence.format.value,
            "pixels_sha256": evidence.pixels_sha256,
            "decoder": {"name": evidence.decoder.name, "version": evidence.decoder.version},
            "orientation": 1,
            "icc_sha256": None,
            "metadata_kept": [],
            "metadata_lost": [],
            **shape,
        },
        "request": {
            "prompt": "",
            "mode": "auto",
            "scale": 1,
            "seed": 0,
            "guidance_scale": 1.0,
            "arithmetic": "exact",
            "strict": False,
        },
        "plan": [{"operation": "restore", "parameters": {"model": MODEL}}],
        "trace": [],
        "models": [
            {
                "id": MODEL,
                "file_sha256": sha256_hex(WEIGHTS),
                "program_sha256": None,
                "licence": "Apache-2.0",
                "arithmetic": "exact",
            }
        ],
        "degradation": {"noise_sigma": {"value": 12.5, "low": 10.0, "high": 15.0, "unit": "8-bit levels"}},
        "abstained": False,
        "abstentions": [],
        "result": {
            "name": f"{stem}.restored.png",
            "pixels_sha256": pixels_sha256(after),
            "consistency": None,
            **shape,
        },
        "maps": {
            kind: {
                "name": f"{stem}.{kind}.png",
                "pixels_sha256": pixels_sha256(pixels),
                "file_sha256": sha256_hex(files[f"{stem}.{kind}.png"]),
                "method": "test map",
                "guarantee": None,
                "statistics": {"mean": 1.5},
            }
            for kind, pixels in maps.items()
        },
        "findings": [],
        "label": {
            "digital_source_type": "algorithmicallyEnhanced",
            "statement": "Enhanced; not for identification.",
        },
        "ingredients": [],
    }
