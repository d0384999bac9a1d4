"""Results of a model trained to look right carry the label of generated content, and are abstained from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from restore_manifests.errors import UndecidableError
from restore_manifests.keys import create_identity
from restore_manifests.pixels import encode_png
from restore_manifests.schema import parse_manifest
from restore_models.architecture import PRESETS
from restore_models.network import RestorationNet
from restore_models.program import save_program
from restore_models.quantise import quantise_network
from restore_sdk.evidence import open_evidence
from restore_sdk.recompute import recompute
from restore_sdk.restoration import restore


@pytest.mark.parametrize(
    ("settings", "source_type"),
    [
        ({"adversarial_weight": 0.005}, "compositeWithTrainedAlgorithmicMedia"),
        ({"lpips_weight": 0.1}, "compositeWithTrainedAlgorithmicMedia"),
        ({"adversarial_weight": 0.0, "lpips_weight": 0.0}, "algorithmicallyEnhanced"),
    ],
)
def test_label_follows_the_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], source_type: str
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("RESTORE_HOME", str(home))
    identity = create_identity(home, name="Laboratory", passphrase=None, unprotected=True)
    batch = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (2, 3, 64, 64)).astype(np.float32))
    notes = {"licence": "Apache-2.0", "training_config": settings}
    weights = home / "models" / "mine.safetensors"
    weights.parent.mkdir(parents=True)
    save_program(weights, quantise_network(RestorationNet(PRESETS["tiny"]).eval(), [batch], notes))
    picture = tmp_path / "picture.png"
    picture.write_bytes(encode_png(np.random.default_rng(1).integers(0, 256, (64, 64, 3)).astype(np.uint8)))
    done = restore(picture, out=tmp_path / "out", identity=identity, model="mine")[0]
    body = parse_manifest(done.manifest.read_bytes()).body
    assert body.label.digital_source_type == source_type
    invents = source_type != "algorithmicallyEnhanced"
    assert ("may have added what was not there" in body.label.statement) is invents
    assert any("rewards looking right" in reason for reason in body.abstentions) is invents
    if invents:
        with pytest.raises(UndecidableError, match="rewards looking right"):
            restore(picture, out=tmp_path / "strict", identity=identity, model="mine", strict=True)
    source = open_evidence(picture)
    found = recompute(body, source, done.result.read_bytes())
    assert (found.reason, found.contradicted) == ("", ())
    other = "algorithmicallyEnhanced" if invents else "compositeWithTrainedAlgorithmicMedia"
    forged = body.model_copy(update={"label": body.label.model_copy(update={"digital_source_type": other})})
    assert "its label is another" in recompute(forged, source, done.result.read_bytes()).contradicted
