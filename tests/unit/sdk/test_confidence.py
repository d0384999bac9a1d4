"""What a record says of its confidence map, and that `verify` finds out where it is not so."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from restore_manifests.errors import ModelError, UndecidableError
from restore_manifests.keys import Identity, create_identity
from restore_manifests.pixels import encode_png
from restore_manifests.schema import Body, parse_manifest
from restore_models.architecture import PRESETS
from restore_models.calibration import NOTE, CalibratedClass, Calibration
from restore_models.network import RestorationNet
from restore_models.program import Program, load_program, save_program
from restore_models.quantise import quantise_network
from restore_sdk.confidence import CONFIDENCE_METHOD, NO_GUARANTEE
from restore_sdk.evidence import open_evidence
from restore_sdk.recompute import recompute
from restore_sdk.restoration import Restoration, restore

MODEL = "tiny"
NOISE = 0.5
"""What the network sees in everything, in units of the estimate head: 12.5 levels."""


@pytest.fixture(scope="module")
def program() -> Program:
    network = RestorationNet(PRESETS["tiny"], seed=4).eval()
    head = network.convs["estimate_head"]
    assert isinstance(head, torch.nn.Conv2d)
    assert head.bias is not None
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.tensor([NOISE, 0.0, 0.0, 0.0]))
    batch = torch.from_numpy(np.random.default_rng(4).uniform(-1, 1, (2, 3, 64, 64)).astype(np.float32))
    return quantise_network(network, [batch], {"licence": "Apache-2.0"})


def calibration(program: Program, **changes: Any) -> Calibration:
    values: dict[str, Any] = {
        "name": "noise",
        "at_least": {"noise_sigma": 120},
        "images": 148,
        "pictures": 300,
        "scale_64ths": 96,
        "risk": 0.04,
        "risk_upper": 0.099,
        "within": {"noise_sigma": (100, 2200)},
    }
    return Calibration(
        program_sha256=program.program_sha256(),
        alpha=0.1,
        delta=0.05,
        side=256,
        damage={"gaussian": {"noise_sigma": (0.5, 54.0)}},
        classes=(CalibratedClass(**{**values, **changes}),),
        images=(),
    )


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: Program) -> Callable[..., Restoration]:
    """Restores one picture with a tiny model, calibrated as asked for; None: not at all."""
    home = tmp_path / "home"
    monkeypatch.setenv("RESTORE_HOME", str(home))
    identity: Identity = create_identity(home, name="Laboratory", passphrase=None, unprotected=True)
    picture = tmp_path / "picture.png"
    picture.write_bytes(encode_png(np.random.default_rng(1).integers(0, 256, (40, 50, 3)).astype(np.uint8)))

    def restore_it(found: Calibration | None, **options: Any) -> Restoration:
        install(tmp_path, program, found)
        return restore(picture, out=tmp_path / "out", model=MODEL, identity=identity, force=True, **options)[
            0
        ]

    return restore_it


def install(folder: Path, program: Program, found: Calibration | None) -> None:
    notes = {**program.notes, **({NOTE: found.to_notes()} if found else {})}
    models = folder / "home" / "models"
    models.mkdir(parents=True, exist_ok=True)
    save_program(models / f"{MODEL}.safetensors", replace(program, notes=notes))


def body_of(done: Restoration) -> Body:
    return parse_manifest(done.manifest.read_bytes()).body


def again(done: Restoration, body: Body) -> Any:
    return recompute(body, open_evidence(done.result.parents[1] / "picture.png"), done.result.read_bytes())


def test_a_calibrated_model_states_its_guarantee_with_its_limits(
    run: Callable[..., Restoration], program: Program
) -> None:
    learned, body = body_of(run(None)), body_of(done := run(calibration(program)))
    confidence = body.maps.confidence
    assert confidence is not None
    assert "times 96/64, and half an 8-bit level on each side" in confidence.method
    for part in ("At most 10 %", "class noise, 148 images", "confidence 95 %", "not per pixel", "void under"):
        assert part in (confidence.guarantee or "")
    (finding,) = (finding for finding in body.findings if finding.checker == "calibration")
    assert finding.details == {
        "class": "noise",
        "alpha": 0.1,
        "delta": 0.05,
        "images": 148,
        "scale_64ths": 96,
        "guaranteed": True,
    }
    assert len(str(body.plan[-1].parameters["calibration_sha256"])) == 64
    assert body.models[0].program_sha256 == learned.models[0].program_sha256
    assert body.models[0].file_sha256 != learned.models[0].file_sha256
    assert learned.maps.confidence is not None
    assert confidence.pixels_sha256 != learned.maps.confidence.pixels_sha256
    assert body.result.pixels_sha256 == learned.result.pixels_sha256
    found = again(done, body)
    assert (found.reason, found.contradicted) == ("", ())
    assert found.confidence_sha256 == confidence.pixels_sha256


def test_without_a_calibration_there_is_no_guarantee(
    run: Callable[..., Restoration], program: Program
) -> None:
    for found, options in ((None, {}), (calibration(program), {"arithmetic": "float"})):
        body = body_of(run(found, **options))
        assert body.maps.confidence is not None
        assert (body.maps.confidence.guarantee, body.maps.confidence.method) == (
            NO_GUARANTEE,
            CONFIDENCE_METHOD,
        )
        assert "calibration_sha256" not in body.plan[-1].parameters
        assert not [finding for finding in body.findings if finding.checker == "calibration"]


def test_a_class_that_could_not_be_calibrated_says_so(
    run: Callable[..., Restoration], program: Program
) -> None:
    for changes in (
        {"scale_64ths": None, "risk": None, "risk_upper": None},
        {"at_least": {"blur_sigma": 900}},
    ):
        body = body_of(done := run(calibration(program, **changes)))
        assert body.maps.confidence is not None
        assert "could not be calibrated" in (body.maps.confidence.guarantee or "")
        assert body.maps.confidence.method == CONFIDENCE_METHOD
        assert not body.abstained
        assert again(done, body).contradicted == ()


def test_outside_the_calibrated_ranges_the_tool_abstains(
    run: Callable[..., Restoration], program: Program
) -> None:
    narrow = calibration(program, within={"noise_sigma": (100, 400)})
    body = body_of(done := run(narrow))
    assert body.abstained
    assert body.abstentions == [
        "its noise is above all that the intervals of its class (noise) were calibrated on"
    ]
    assert body.maps.confidence is not None
    assert (body.maps.confidence.guarantee or "").startswith("None: the picture is outside")
    assert again(done, body).contradicted == ()
    with pytest.raises(UndecidableError, match="outside the domain"):
        run(narrow, strict=True)


def test_impulses_that_no_calibrated_picture_had_make_the_tool_abstain(
    run: Callable[..., Restoration], program: Program
) -> None:
    """The picture is noise of all levels: some of its pixels stand alone."""
    counted = calibration(program).model_copy(update={"lone_pixels": 0})
    body = body_of(done := run(counted))
    (reason,) = body.abstentions
    assert re.fullmatch(r"\d+ of a million pixels stand alone, .* had more than 0", reason)
    assert body.maps.confidence is not None
    assert (body.maps.confidence.guarantee or "").startswith("None: the picture is outside")
    assert again(done, body).contradicted == ()
    silent = body.model_copy(update={"abstained": False, "abstentions": []})
    assert "whether and why the tool abstained is another" in again(done, silent).contradicted
    for allowed in (1_000_000, None):  # as many as there can be; and a calibration that did not count
        body = body_of(run(calibration(program).model_copy(update={"lone_pixels": allowed})))
        assert not body.abstained


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("maps", "confidence", "guarantee"), "At most 1 % of the samples lie outside."),
        (("maps", "confidence", "method"), CONFIDENCE_METHOD),
        (("findings", 0, "details", "scale_64ths"), 64),
        (("findings", 0, "details", "class"), "compression"),
        (("findings",), []),
    ],
)
def test_a_signed_guarantee_that_is_not_the_calibrations_is_found(
    run: Callable[..., Restoration], program: Program, place: tuple[Any, ...], value: Any
) -> None:
    done = run(calibration(program))
    document = body_of(done).model_dump(mode="json")
    target: Any = document
    for step in place[:-1]:
        target = target[step]
    assert target[place[-1]] != value
    target[place[-1]] = value
    said = again(done, Body.model_validate(document)).contradicted
    assert any("calibration" in one or "guarantees" in one for one in said)


def test_another_calibration_here_leaves_the_record_undecided(
    run: Callable[..., Restoration], program: Program, tmp_path: Path
) -> None:
    body = body_of(done := run(calibration(program)))
    for other in (calibration(program, scale_64ths=97), None):
        install(tmp_path, program, other)
        found = again(done, body)
        assert found.pixels_sha256 is None
        assert "has another calibration than the one recorded" in found.reason
    install(tmp_path, program, calibration(program))
    assert again(done, body).reason == ""


def test_a_record_made_before_the_model_was_calibrated_still_verifies(
    run: Callable[..., Restoration], program: Program, tmp_path: Path
) -> None:
    body = body_of(done := run(None))
    install(tmp_path, program, calibration(program))
    found = again(done, body)
    assert (found.reason, found.contradicted) == ("", ())
    assert body.maps.confidence is not None
    assert found.confidence_sha256 == body.maps.confidence.pixels_sha256


def test_a_foreign_calibration_is_one_sentence(run: Callable[..., Restoration], program: Program) -> None:
    foreign = calibration(program).model_copy(update={"program_sha256": "0" * 64})
    with pytest.raises(ModelError, match="another program"):
        run(foreign)


def test_calibrating_a_file_in_place_or_elsewhere(
    tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    from restore_models.calibration import read_calibration  # noqa: PLC0415
    from restore_sdk.model_calibration import calibrate_model  # noqa: PLC0415

    monkeypatch.setenv("RESTORE_HOME", str(tmp_path / "home"))
    images = tmp_path / "images"
    images.mkdir()
    for index in range(2):
        pixels = np.random.default_rng(index).integers(0, 256, (32, 32, 3)).astype(np.uint8)
        (images / f"{index}.png").write_bytes(encode_png(pixels))
    model, copy = tmp_path / "mine.safetensors", tmp_path / "copy.safetensors"
    save_program(model, program)
    before = model.read_bytes()
    found = calibrate_model(model, images=images, out=copy)
    assert model.read_bytes() == before
    assert (found["file"], found["images"], found["alpha"]) == (str(copy), 2, 0.1)
    assert all(one["scale_64ths"] is None for one in found["classes"])  # two images say nothing
    written = load_program(copy)
    assert (found["file_sha256"], found["program_sha256"]) == (written.file_sha256, program.program_sha256())
    assert read_calibration(written) is not None
    calibrate_model(model, images=images)
    assert load_program(model).notes == written.notes
    assert load_program(model).program_sha256() == written.program_sha256()
