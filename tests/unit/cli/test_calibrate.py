"""`restore models calibrate`: one JSON document, a calibrated file, and refusals in a sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from restore_cli.__main__ import main
from restore_manifests.pixels import encode_png
from restore_models.architecture import PRESETS
from restore_models.calibration import NOTE, read_calibration
from restore_models.network import RestorationNet
from restore_models.program import load_program, save_program
from restore_models.quantise import quantise_network
from restore_models.routing import EnlargingRule, shipped_rule


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTORE_HOME", str(tmp_path / "home"))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(2):
        pixels = np.random.default_rng(index).integers(0, 256, (32, 32, 3)).astype(np.uint8)
        (folder / f"{index}.png").write_bytes(encode_png(pixels))
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    batch = torch.from_numpy(np.random.default_rng(4).uniform(-1, 1, (2, 3, 64, 64)).astype(np.float32))
    program = quantise_network(
        RestorationNet(PRESETS["tiny"], seed=4).eval(), [batch], {"licence": "CC0-1.0"}
    )
    path = tmp_path / "mine.safetensors"
    save_program(path, program)
    return path


def test_one_document_and_a_calibrated_file(
    model: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = load_program(model)
    assert main(["models", "calibrate", str(model), "--images", str(images), "--alpha", "0.2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {
        "model", "file", "file_sha256", "program_sha256", "alpha", "delta", "images", "classes", "after",
    }  # fmt: skip
    assert found["after"] == {}
    assert (found["alpha"], found["delta"], found["images"]) == (0.2, 0.05, 2)
    assert set(found["classes"][0]) == {
        "name", "images", "pictures", "scale_64ths", "risk", "risk_upper",
    }  # fmt: skip
    after = load_program(model)
    assert NOTE in after.notes
    assert NOTE not in before.notes
    assert before.program_sha256() == after.program_sha256() == found["program_sha256"]


def test_only_the_damage_that_the_weights_are_for(
    model: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = ["--kind", "gaussian", "--kind", "mixed"]
    assert main(["models", "calibrate", str(model), "--images", str(images), *kinds, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert sum(row["pictures"] for row in found["classes"]) == 2 * 2
    calibration = read_calibration(load_program(model))
    assert calibration is not None
    assert set(calibration.damage) == {"gaussian", "mixed"}


def test_people_get_a_table(model: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "calibrate", str(model), "--images", str(images)]) == 0
    out = capsys.readouterr().out
    assert "scale_64ths" in out
    assert "little damage" in out
    assert "has restored before" not in out


def test_for_enlarged_images_there_is_a_table_for_each_model_before(
    model: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = load_program(model)
    save_program(model, replace(program, notes={**program.notes, "scale": 2}))
    assert main(["models", "calibrate", str(model), "--images", str(images)]) == 0
    out = capsys.readouterr().out
    rule = shipped_rule(2)
    assert isinstance(rule, EnlargingRule)
    for name in rule.small.models():
        assert f"For what {name} has restored before:" in out
    assert out.count("scale_64ths") == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["blind-small-2"], "belongs to the package"),
        (["blind-small-2", "--out", "copy.bin"], "no name of a model file"),
        (["MODEL", "--out", "MODEL2"], "already exists"),
        (["MODEL", "--alpha", "0"], "is no share"),
        (["MODEL", "--delta", "nan"], "is no share"),
        (["MODEL", "--kind", "mixed", "--kind", "haze"], "on the kind 'haze'"),
        (["nothing-of-that-name"], "There is no model"),
    ],
)
def test_refusals_are_one_sentence(
    model: Path, images: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    other = model.with_name("other.safetensors")
    other.write_bytes(model.read_bytes())
    places = {"MODEL": str(model), "MODEL2": str(other)}
    before = model.read_bytes()
    code = main(["models", "calibrate", *(places.get(a, a) for a in arguments), "--images", str(images)])
    err = capsys.readouterr().err
    assert code in (2, 3)
    assert said in err
    assert "Traceback" not in err
    assert model.read_bytes() == before


def test_a_folder_without_images_is_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "calibrate", str(model), "--images", str(tmp_path / "none")]) == 2
    assert "no 8-bit image" in capsys.readouterr().err


def test_what_is_installed_says_its_calibration(
    model: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "import", str(model), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["calibration"] == "none"
    full = model.with_name("full.safetensors")
    arguments = ["--images", str(images), "--out", str(full), "--quiet"]
    assert main(["models", "calibrate", str(model), *arguments]) == 0
    assert main(["models", "import", str(full)]) == 0
    assert "alpha 0.1, delta 0.05, 2 images; scale: " in capsys.readouterr().out


def test_a_model_with_a_foreign_calibration_is_not_installed(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = load_program(model)
    foreign = {"format": "restore.calibration/1", "program_sha256": "0" * 64}
    save_program(model, replace(program, notes={**program.notes, NOTE: foreign}))
    assert main(["models", "import", str(model)]) in (2, 3)
    assert "calibration" in capsys.readouterr().err
    assert main(["models", "show", "mine"]) in (2, 3)
