"""One model after another, in one size or enlarging between: the record, and verify."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from restore_manifests.errors import UsageError
from restore_manifests.pixels import decode_png, encode_png
from restore_manifests.schema import Body, Step, TraceStep, parse_manifest
from restore_models.calibration_images import KINDS, SMALL_KINDS
from restore_models.program import Program, load_program, save_program
from restore_models.resample import enlarge
from restore_models.restorer import TorchRunner, interval_unit, restore_pixels
from restore_sdk import recompute as recomputing
from restore_sdk.confidence import calibration_sha256
from restore_sdk.evidence import open_evidence
from restore_sdk.maps import edit_map
from restore_sdk.model_calibration import calibrate_model
from restore_sdk.models import show_model
from restore_sdk.recompute import recompute
from restore_sdk.restoration import Restoration

NOISY, QUIET, ENLARGES2 = "tiny-noisy", "tiny-quiet", "tiny-enlarge2"
ALONE, SMALL = "tiny-alone", "tiny-alone-small"


def _body(done: Restoration) -> Body:
    return parse_manifest(done.manifest.read_bytes()).body


@pytest.mark.parametrize(
    ("says", "small"),
    [
        *(((0.0, 0.0), None), ((1.0, 0.0), NOISY), ((0.0, 0.5), QUIET), ((0.16, 0.5), QUIET)),
        *(((1.0, 0.5), NOISY), ((0.0, 0.0, 1.0), QUIET), ((1.0, 0.0, 1.0), NOISY)),
    ],
)
def test_what_is_not_clean_is_restored_before_it_is_enlarged(
    run: Callable[..., Restoration],
    tmp_path: Path,
    says: tuple[float, ...],
    small: str | None,
    again: Callable[..., Restoration],
) -> None:
    """`says`: noise and compression as the one model sees them, and blur as the other does."""
    done = run(*says, scale=2)
    body = _body(done)
    first = ["restore_small"] if small else []
    assert [step.operation for step in body.plan] == ["route", *first, "enlarge", "restore"]
    steps = {step.operation: step.parameters for step in body.plan}
    assert steps["restore"]["model"] == steps["route"]["enlarged"] == ENLARGES2
    assert [model.id for model in body.models] == list(
        dict.fromkeys([ENLARGES2, small or NOISY, NOISY, QUIET])
    )
    assert steps["route"]["blur_thousandths"] == 1000 * (says[2] if len(says) > 2 else 0)
    assert (
        recompute(body, open_evidence(tmp_path / "picture.png"), done.result.read_bytes()).contradicted == ()
    )
    seen_by = {None: 0.0, NOISY: says[0], QUIET: 0.0}[small]  # of the first that restores
    assert body.degradation["noise_sigma"].value == pytest.approx(25 * seen_by)
    if small:
        assert steps["restore_small"]["model"] == small
        in_size = again(model=small)
        assert body.trace[1].output_sha256 == in_size.pixels_sha256


def test_intervals_after_another_model_have_a_calibration_of_their_own(
    run: Callable[..., Restoration],
    tmp_path: Path,
    again: Callable[..., Restoration],
    install: Callable[..., None],
) -> None:
    """One that goes by what the first model said; it is made with the other, recorded, and held to."""
    run(0.0)
    images = tmp_path / "images"
    images.mkdir()
    for index in range(2):
        pixels = np.random.default_rng(index).integers(0, 256, (32, 32, 3)).astype(np.uint8)
        (images / f"{index}.png").write_bytes(encode_png(pixels))
    models = tmp_path / "home" / "models"
    said = calibrate_model(ENLARGES2, images=images)["after"]
    assert {name: sum(one["pictures"] for one in classes) for name, classes in said.items()} == {
        NOISY: 0,
        QUIET: 0,
    }
    install(NOISY, says_noise=1.0, says_compressed=0.0, seed=1)
    said = calibrate_model(ENLARGES2, images=images)["after"]
    counts = {name: {one["name"]: one["pictures"] for one in classes} for name, classes in said.items()}
    assert counts[NOISY]["strong noise"] == 2 * len(SMALL_KINDS)
    assert sum(counts[QUIET].values()) == 0
    assert show_model(ENLARGES2)["calibration_after"].keys() == {
        load_program(models / f"{name}.safetensors").program_sha256() for name in (NOISY, QUIET)
    }
    done = again(scale=2)
    body, evidence, result = _body(done), open_evidence(tmp_path / "picture.png"), done.result.read_bytes()
    last = load_program(models / f"{ENLARGES2}.safetensors")
    first = load_program(models / f"{NOISY}.safetensors")
    assert body.plan[-1].parameters["calibration_sha256"] == calibration_sha256(last, first)
    assert calibration_sha256(last, first) != calibration_sha256(last)
    (finding,) = (finding for finding in body.findings if finding.checker == "calibration")
    assert (finding.details["class"], finding.details["images"]) == ("strong noise", 2)
    assert recompute(body, evidence, result).contradicted == ()
    assert body.maps.confidence is not None
    assert "the sum of both" in body.maps.confidence.method
    restored = body.plan[-1].model_copy(
        update={"parameters": {**body.plan[-1].parameters, "calibration_sha256": calibration_sha256(last)}}
    )
    forged = body.model_copy(update={"plan": [*body.plan[:-1], restored]})
    found = recompute(forged, evidence, result)
    assert found.pixels_sha256 is None
    assert "another calibration" in (found.reason or "")


def test_the_confidence_map_is_of_both_intervals(run: Callable[..., Restoration], tmp_path: Path) -> None:
    """What the first program is unsure of, the second takes for granted: both widths count."""
    done = run(1.0, scale=2)
    models = tmp_path / "home" / "models"
    first, last = (TorchRunner(load_program(models / f"{name}.safetensors")) for name in (NOISY, ENLARGES2))
    source, width = decode_png((tmp_path / "picture.png").read_bytes()), np.zeros((140, 180))
    kept: dict[str, np.ndarray] = {"first": np.zeros((70, 90)), "last": width}

    def keeper(name: str, program: Program) -> Callable[[slice, slice, np.ndarray], None]:
        def keep(rows: slice, columns: slice, interval: np.ndarray) -> None:
            kept[name][rows, columns] = interval.sum(axis=0) / 3 / interval_unit(program)

        return keep

    small = restore_pixels(first, source, watch=keeper("first", first.program)).pixels
    restore_pixels(last, enlarge(small, 2), watch=keeper("last", last.program))
    both = kept["last"] + kept["first"].repeat(2, axis=0).repeat(2, axis=1)
    assert done.confidence_map is not None
    drawn = decode_png(done.confidence_map.read_bytes()).astype(float)
    assert kept["first"].max() > 0
    # half levels, rounded to whole ones; each value of the first rounded up to the unit of the last
    assert np.abs(drawn - np.minimum(2 * both, 255)).max() <= 0.5 + 4 / interval_unit(last.program)


def test_the_edit_map_compares_with_the_source_enlarged(
    run: Callable[..., Restoration],
    tmp_path: Path,
    again: Callable[..., Restoration],
    spoil: Callable[[str, float], None],
) -> None:
    """Not with what was restored before it was enlarged: that would hide half of the change."""
    run(1.0, scale=2)
    spoil(NOISY, 0.4)
    done = again(scale=2)
    source, result = decode_png((tmp_path / "picture.png").read_bytes()), decode_png(done.result.read_bytes())
    expected, _ = edit_map(enlarge(source, 2), result)
    assert np.array_equal(decode_png(done.edit_map.read_bytes()), expected)


def test_a_model_for_enlarged_images_is_not_given_others(run: Callable[..., Restoration]) -> None:
    assert _body(run(1.0, scale=2, model=ENLARGES2)).models[0].id == ENLARGES2
    for scale in (1, 4):
        with pytest.raises(UsageError, match="enlarged 2 times"):
            run(1.0, scale=scale, model=ENLARGES2)


def test_verify_decides_again_what_is_clean(run: Callable[..., Restoration], tmp_path: Path) -> None:
    evidence = open_evidence(tmp_path / "picture.png")
    for says in (0.0, 0.02):  # nothing, and half a level of noise with one point of compression
        done = run(says, says, scale=2)
        body, result = _body(done), done.result.read_bytes()
        assert "restore_small" not in [step.operation for step in body.plan]
        assert recompute(body, evidence, result).contradicted == ()
        for name, value, expected in (
            ("clean_noise_thousandths", 0, "not the one that its own rule chooses"),
            ("clean_compression_thousandths", 0, "not the one that its own rule chooses"),
            ("clean_noise_thousandths", None, "the rule by which its model was chosen is none"),
            ("clean_compression_thousandths", 1.5, "the rule by which its model was chosen is none"),
            ("clean_blur_thousandths", 0, "not the one that its own rule chooses"),
            ("clean_reduction_thousandths", 0, "not the one that its own rule chooses"),
            ("clean_reduction_thousandths", "none", "the rule by which its model was chosen is none"),
            ("blur_thousandths", 1, "the softness by which its models were chosen is another"),
            ("reduction_thousandths", None, "the softness by which its models were chosen is another"),
            ("enlarged", QUIET, "not the one that its own rule chooses"),
        ):
            route = body.plan[0].model_copy(update={"parameters": {**body.plan[0].parameters, name: value}})
            forged = body.model_copy(update={"plan": [route, *body.plan[1:]]})
            found = recompute(forged, evidence, result)
            assert any(expected in problem for problem in found.contradicted), (name, found)
        for program in ("0" * 64, None):
            parameters = {**body.plan[0].parameters, "below_program_sha256": program}
            route = body.plan[0].model_copy(update={"parameters": parameters})
            found = recompute(body.model_copy(update={"plan": [route, *body.plan[1:]]}), evidence, result)
            assert found.pixels_sha256 is None
            assert "another program" in (found.reason or "")


def test_the_record_says_in_how_many_views(
    run: Callable[..., Restoration], tmp_path: Path, again: Callable[..., Restoration]
) -> None:
    once = run(0.0, scale=2)
    assert "views" not in _body(once).plan[-1].parameters
    single = decode_png(once.result.read_bytes())
    file = tmp_path / "home" / "models" / f"{ENLARGES2}.safetensors"
    save_program(file, replace(load_program(file), views=8))
    done = again(scale=2)
    body, result, evidence = _body(done), done.result.read_bytes(), open_evidence(tmp_path / "picture.png")
    assert body.plan[-1].parameters["views"] == 8
    assert not np.array_equal(decode_png(result), single)
    assert recompute(body, evidence, result).pixels_sha256 == body.result.pixels_sha256
    for said in (1, None):
        last = body.plan[-1].model_copy(update={"parameters": {**body.plan[-1].parameters, "views": said}})
        found = recompute(body.model_copy(update={"plan": [*body.plan[:-1], last]}), evidence, result)
        assert found.pixels_sha256 is None
        assert f"says {said!r} views, but its program looks in 8" in (found.reason or "")


def test_plan_that_chooses_late_is_not_followed(run: Callable[..., Restoration], tmp_path: Path) -> None:
    done = run(1.0, scale=2)
    body = _body(done)
    route, small, enlarged, restored = range(4)
    for order, expected in (
        ((small, route, enlarged, restored), "chooses a model late"),
        ((route, enlarged, small, restored), "restores the small picture late"),
        ((route, small, restored, enlarged), "restores twice in one size"),
        ((route, small, restored), "restores twice in one size"),
        ((route, small, enlarged), "restores nothing"),
    ):
        plan: list[Step] = [body.plan[index] for index in order]
        trace: list[TraceStep] = [body.trace[index] for index in order]
        late = body.model_copy(update={"plan": plan, "trace": trace})
        found = recomputing.recompute(late, open_evidence(tmp_path / "picture.png"), done.result.read_bytes())
        assert found.pixels_sha256 is None
        assert expected in (found.reason or "")


def test_the_quiet_model_has_a_calibration_for_what_the_noisy_one_has_restored(
    run: Callable[..., Restoration], tmp_path: Path, again: Callable[..., Restoration]
) -> None:
    run(1.0, says_blurred=2.0)
    images = tmp_path / "images"
    images.mkdir()
    for index in range(2):
        pixels = np.random.default_rng(index).integers(0, 256, (32, 32, 3)).astype(np.uint8)
        (images / f"{index}.png").write_bytes(encode_png(pixels))
    said = calibrate_model(QUIET, images=images)["after"]
    assert {name: {one["name"]: one["pictures"] for one in classes} for name, classes in said.items()} == {
        NOISY: {
            **dict.fromkeys(("reduction", "mixed", "strong noise", "compression", "noise"), 0),
            "blur": 2 * len(KINDS),
        }
    }
    assert calibrate_model(NOISY, images=images)["after"] == {}
    done = again()
    body = _body(done)
    last, first = (
        load_program(tmp_path / "home" / "models" / f"{name}.safetensors") for name in (QUIET, NOISY)
    )
    assert body.plan[-1].parameters["calibration_sha256"] == calibration_sha256(last, first)
    (finding,) = (finding for finding in body.findings if finding.checker == "calibration")
    assert (finding.details["class"], finding.details["images"]) == ("blur", 2)
    assert (
        recompute(body, open_evidence(tmp_path / "picture.png"), done.result.read_bytes()).contradicted == ()
    )
