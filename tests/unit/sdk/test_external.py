"""A model made by others, from the command line to a verdict: float, flagged, named by hash, never exact."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from restore_cli.__main__ import main
from restore_manifests.canonical import sha256_hex
from restore_manifests.errors import ManifestError, RestoreError, UndecidableError, UsageError
from restore_manifests.keys import Identity, create_identity
from restore_manifests.pixels import decode_png, encode_png
from restore_manifests.schema import Step, parse_manifest
from restore_sdk.evaluation import evaluate
from restore_sdk.external_step import EXTERNAL_DOUBT, recorded_external
from restore_sdk.plan import execute
from restore_sdk.restoration import restore
from restore_sdk.verification import verify


class Doubler:
    """In the place of what spandrel gives: a network that darkens, or enlarges twice."""

    def __init__(self, scale: int) -> None:
        self.architecture = SimpleNamespace(name="Doubler")
        self.purpose = "Restoration" if scale == 1 else "SR"
        self.scale = scale
        self.input_channels = self.output_channels = 3
        self.tiling = SimpleNamespace(name="DISCOURAGED")
        self.size_requirements = SimpleNamespace(multiple_of=1)
        self.model = torch.nn.Conv2d(1, 1, 1)
        self.offset = 0.0

    def eval(self) -> Doubler:
        return self

    def float(self) -> Doubler:
        return self

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        large = image.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)
        return large * 0.8 + self.offset


@pytest.fixture
def spandrel(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Doubler]:
    """Stands a network of a scale in spandrel's place."""

    def stand(scale: int) -> Doubler:
        network = Doubler(scale)
        module = SimpleNamespace(
            ModelLoader=lambda device: SimpleNamespace(load_from_state_dict=lambda state: network),
            ImageModelDescriptor=Doubler,
            canonicalize_state_dict=lambda state: state,
        )
        monkeypatch.setitem(sys.modules, "spandrel", module)
        return network

    return stand


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    stream = io.BytesIO()
    torch.save({"weight": torch.ones(1)}, stream)
    path = tmp_path / "theirs.pth"
    path.write_bytes(stream.getvalue())
    return path


@pytest.fixture
def identity(restore_home: Path) -> Identity:
    return create_identity(restore_home, name="Test", passphrase=None, unprotected=True)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "img.png"
    alpha = np.random.default_rng(0).integers(0, 256, (40, 56, 4), dtype=np.uint8)
    path.write_bytes(encode_png(alpha))
    return path


def checks(report: Any) -> dict[str, str]:
    return {check.id: check.verdict.value for check in report.checks}


@pytest.mark.parametrize("scale", [1, 2])
def test_run_and_verify(
    scale: int, spandrel: Callable[[int], Doubler], weights: Path, image: Path, identity: Identity,
    tmp_path: Path,
) -> None:  # fmt: skip
    network = spandrel(scale)
    (done,) = restore(image, model=weights, identity=identity)
    assert done.abstained
    assert done.confidence_map is None
    assert done.to_json()["confidence_map"] is None
    assert decode_png(done.result.read_bytes()).shape == (40 * scale, 56 * scale, 4)
    body = parse_manifest(done.manifest.read_bytes()).body
    (use,) = body.models
    assert (use.id, use.arithmetic, use.licence) == ("theirs", "tolerance", "not stated")
    assert (use.file_sha256, use.program_sha256) == (sha256_hex(weights.read_bytes()), None)
    assert body.request.arithmetic == "float"
    assert body.degradation == {}
    assert body.maps.confidence is None
    assert body.label.digital_source_type == "compositeWithTrainedAlgorithmicMedia"
    assert body.abstentions == [EXTERNAL_DOUBT]
    assert any("Doubler" in finding.message for finding in body.findings)
    (step,) = body.plan
    assert (step.operation, step.parameters["factor"], step.parameters["tile"]) == (
        "restore_external",
        scale,
        1024,
    )

    def verified() -> dict[str, str]:
        return checks(verify(done.result, done.manifest))

    before = verified()  # not imported: nothing can be recomputed, and nothing else suffers
    assert (before["model.weights"], before["recompute.pixels"]) == ("unable", "unable")
    assert main(["models", "import", str(weights), "--licence", "MIT", "--quiet"]) == 0
    assert set(verified().values()) <= {"pass", "unable"}
    assert (verified()["model.weights"], verified()["recompute.pixels"], verified()["maps.edit"]) == (
        ("pass",) * 3
    )
    report = tmp_path / "report.html"
    assert main(["report", str(done.manifest), "-o", str(report), "--no-recompute", "--quiet"]) == 3
    assert "made by others" in report.read_text(encoding="utf-8")
    assert main(["audit", str(tmp_path), "--jobs", "1", "--no-recompute", "--quiet"]) == 3
    network.offset = 2 / 255  # another machine's rounding
    assert verified()["recompute.pixels"] == "pass"
    network.offset = 6 / 255
    assert verified()["recompute.pixels"] == "unable"
    (restored,) = restore(image, model="theirs", identity=identity, out=tmp_path / "again")
    assert parse_manifest(restored.manifest.read_bytes()).body.models[0].licence == "MIT"


def test_strict_refuses_an_unknown_domain(
    spandrel: Callable[[int], Doubler], weights: Path, image: Path, identity: Identity, tmp_path: Path
) -> None:
    spandrel(1)
    with pytest.raises(UndecidableError, match="external"):
        restore(image, model=weights, identity=identity, strict=True)
    assert not list(tmp_path.glob("img.*.png"))


def test_scales_must_agree(
    spandrel: Callable[[int], Doubler], weights: Path, image: Path, identity: Identity, tmp_path: Path
) -> None:
    spandrel(2)
    with pytest.raises(UsageError, match="enlarges 2 times, not 4"):
        restore(image, model=weights, identity=identity, scale=4)
    spandrel(1)
    (done,) = restore(image, model=weights, identity=identity, scale=2, out=tmp_path / "out")
    assert decode_png(done.result.read_bytes()).shape[:2] == (80, 112)


def test_foreign_plans_are_refused(spandrel: Callable[[int], Doubler], weights: Path) -> None:
    from restore_models.external import load_external  # noqa: PLC0415

    spandrel(2)
    model = load_external(weights.read_bytes(), weights.name)
    pixels = np.zeros((40, 40, 3), np.uint8)
    good = {"model": "theirs", "factor": 2, "tile": 512, "overlap": 32}

    def plan(*operations: str, **changes: Any) -> list[Step]:
        return [
            Step(operation=o, parameters={"factor": 2} if o == "enlarge" else {**good, **changes})
            for o in operations
        ]

    assert execute(plan("restore_external"), pixels, None, lambda _: model).pixels.shape == (80, 80, 3)
    for wrong in (
        plan("restore_external", tile=1),
        plan("restore_external", tile="512"),
        plan("restore_external", overlap=400),
        plan("restore_external", factor=4),
        plan("enlarge", "restore_external"),
        plan("restore_external", "restore_external"),
        plan("restore_external", "enlarge"),
    ):
        with pytest.raises(ManifestError):
            execute(wrong, pixels, None, lambda _: model)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model.arithmetic": "exact"}, "calls an external model exact"),
        ({"step.arithmetic": "exact"}, "calls an external model exact"),
        ({"step.model": "../theirs"}, "not installed"),
        ({"step.file_sha256": "0" * 64}, "another file"),
    ],
)
def test_records_are_not_believed(
    spandrel: Callable[[int], Doubler], weights: Path, image: Path, identity: Identity,
    change: dict[str, str], said: str,
) -> None:  # fmt: skip
    spandrel(1)
    assert main(["models", "import", str(weights), "--quiet"]) == 0
    (done,) = restore(image, model="theirs", identity=identity)
    body = parse_manifest(done.manifest.read_bytes()).body
    (step,), (use,) = body.plan, body.models
    for place, value in change.items():
        where, _, name = place.partition(".")
        if where == "model":
            use = use.model_copy(update={name: value})
        else:
            step = step.model_copy(update={"parameters": {**step.parameters, name: value}})
    with pytest.raises(RestoreError, match=said):
        recorded_external(step, body.model_copy(update={"models": [use]}))


def test_models_are_listed_shown_and_measured(
    spandrel: Callable[[int], Doubler], weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spandrel(1)
    assert main(["models", "import", str(weights), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["id"], shown["architecture"], shown["arithmetic"]) == ("theirs", "Doubler", "float")
    assert main(["models", "list", "--json"]) == 0
    listed = {entry["id"]: entry["external"] for entry in json.loads(capsys.readouterr().out)}
    assert listed["theirs"] is True
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "1_gt.png").write_bytes(encode_png(np.full((20, 20, 3), 80, np.uint8)))
    (folder / "1_noisy.png").write_bytes(encode_png(np.full((20, 20, 3), 100, np.uint8)))
    found = evaluate("real", images=folder, model="theirs")
    assert found["arithmetic"] == "float"
    assert found["rows"][0]["psnr"] == 100.0
    with pytest.raises(UsageError, match="states no"):
        evaluate("estimate", images=folder, model="theirs")


def test_without_the_extra_run_says_so(
    weights: Path, image: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, "spandrel", None)
    assert main(["run", str(image), "--model", str(weights)]) == 3
    said = capsys.readouterr().err
    assert "extra spandrel" in said
    assert "Traceback" not in said
