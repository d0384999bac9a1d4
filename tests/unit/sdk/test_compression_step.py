"""The step that brings a result to agree with the compression of its source: planned, recorded, verified."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from restore_manifests.errors import ManifestError
from restore_manifests.pixels import decode_png, encode_png, pixels_sha256
from restore_manifests.schema import Body, Step, parse_manifest
from restore_models.compression_constraint import Limits, agreeing
from restore_models.compression_grid import CompressionGrid, steps_of
from restore_sdk.compression_step import AGREE, CHECKER, agree
from restore_sdk.evaluation import evaluate
from restore_sdk.evidence import open_evidence
from restore_sdk.recompute import recompute
from restore_sdk.restoration import Restoration

NOISY, QUIET = "tiny-noisy", "tiny-quiet"


def _compressed(height: int = 168, width: int = 190, quality: int = 60) -> np.ndarray:
    rng = np.random.default_rng(5)
    layers = [gaussian_filter(rng.normal(0, s, (height, width, 3)), (s, s, 0)) for s in (1, 3, 9)]
    colours = np.clip(128 + 60 * sum(layers), 25, 230).astype(np.uint8)
    data = io.BytesIO()
    Image.fromarray(colours).save(data, "JPEG", quality=quality)
    return np.asarray(Image.open(data))


def _body(done: Restoration) -> Body:
    return parse_manifest(done.manifest.read_bytes()).body


def _finding(body: Body) -> Any:
    (finding,) = [one for one in body.findings if one.checker == CHECKER]
    return finding


@pytest.fixture
def compressed(run: Callable[..., Restoration], again: Callable[..., Restoration], tmp_path: Path) -> Any:
    """Restores a compressed picture, cropped, by the model for pictures without noise."""
    run(0.0)
    (tmp_path / "picture.png").write_bytes(encode_png(_compressed()[3:, 2:]))
    return again


def test_a_compressed_picture_is_brought_to_agree(
    compressed: Callable[..., Restoration], tmp_path: Path, spoil: Callable[[str, float], None]
) -> None:
    spoil(QUIET, 0.006)  # levels enough to leave an interval here and there
    done = compressed()
    body = _body(done)
    assert [step.operation for step in body.plan] == ["route", "restore", AGREE]
    grid = {"quality": 60, "top": 5, "left": 6, "steps": steps_of(60).reshape(-1).tolist()}
    limits = {"reach_64ths": 24, "most_outside_thousandths": 100, "half_way_step": 12, "least_drawn_step": 8}
    assert body.plan[-1].parameters == {**grid, **limits}
    assert [step.operation for step in body.trace] == ["route", "restore", AGREE]
    assert body.trace[2].input_sha256 != body.trace[2].output_sha256 == body.result.pixels_sha256
    source = open_evidence(tmp_path / "picture.png")
    assert recompute(body, source, done.result.read_bytes()).contradicted == ()
    assert recompute(body, source, done.result.read_bytes()).pixels_sha256 == body.result.pixels_sha256
    finding = _finding(body)
    assert finding.severity == "info"
    assert finding.details["applied"] is True
    assert "JPEG of quality 60" in finding.message
    assert "all were brought to within 24/64 of a step of what the source says, and large" in finding.message
    # The maps: changes against the source, the interval that the network stated.
    assert body.maps.confidence is not None
    assert body.maps.confidence.method.endswith("to agree with the compression of its source afterwards.")
    restored = decode_png(done.result.read_bytes())
    again = agreeing(source.pixels, restored, CompressionGrid(5, 6, 60, tuple(grid["steps"])), Limits(half=0))
    assert np.array_equal(again.pixels, restored)


def test_what_is_of_another_mind_is_left_and_the_record_says_why(
    compressed: Callable[..., Restoration], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def far_away(source: np.ndarray, result: np.ndarray, grid: CompressionGrid, limits: Limits) -> Any:
        return agreeing(source, np.roll(result, 4, 1), grid, limits)

    monkeypatch.setattr("restore_models.compression_constraint.agreeing", far_away)
    body = _body(compressed())
    assert body.plan[-1].operation == AGREE
    finding = _finding(body)
    assert finding.details["applied"] is False
    assert finding.details["outside_thousandths"] > Limits().most_outside
    assert "more than 10.0 %: it was noisy or soft before it was compressed" in finding.message


@pytest.mark.parametrize("arithmetic", ["exact", "float"])
@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("clean", [True, False])
def test_only_an_exact_result_in_the_size_of_a_compressed_source_is(
    compressed: Callable[..., Restoration], tmp_path: Path, arithmetic: str, scale: int, clean: bool
) -> None:
    if clean:
        pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3)).astype(np.uint8)
        (tmp_path / "picture.png").write_bytes(encode_png(pixels))
    body = _body(compressed(arithmetic=arithmetic, scale=scale))
    wanted = arithmetic == "exact" and scale == 1 and not clean
    assert (body.plan[-1].operation == AGREE) is wanted
    assert ([one for one in body.findings if one.checker == CHECKER] != []) is wanted


def test_a_named_model_is_followed_by_it_as_well(compressed: Callable[..., Restoration]) -> None:
    assert [step.operation for step in _body(compressed(model=QUIET)).plan] == ["restore", AGREE]


def test_two_models_one_after_the_other_are_not(
    run: Callable[..., Restoration], again: Callable[..., Restoration], tmp_path: Path
) -> None:
    """What was noisy is not in the intervals."""
    run(1.0, 0.0, 0.9)
    (tmp_path / "picture.png").write_bytes(encode_png(_compressed()))
    assert [step.operation for step in _body(again()).plan] == ["route", "restore_small", "restore"]


def test_verify_finds_another_compression_and_other_words(
    compressed: Callable[..., Restoration], tmp_path: Path
) -> None:
    done = compressed()
    body, source = _body(done), open_evidence(tmp_path / "picture.png")

    def contradicted(**changes: Any) -> str:
        changed = body.model_copy(update=changes)
        return " ".join(recompute(changed, source, done.result.read_bytes()).contradicted)

    def step(**parameters: Any) -> list[Step]:
        last = body.plan[-1]
        return [*body.plan[:-1], last.model_copy(update={"parameters": {**last.parameters, **parameters}})]

    assert contradicted() == ""
    others = [one for one in body.findings if one.checker != CHECKER]
    said = _finding(body).model_copy(update={"message": "All is well."})
    for findings in (others, [*others, said]):
        assert "what it says of the compression of its source is another" in contradicted(findings=findings)
    for parameters in ({"quality": 50}, {"top": 0}, {"left": 0}, {"steps": [7] * 64}):
        assert "the compression that it sees in its source is another" in contradicted(
            plan=step(**parameters)
        )
    for limits in ({"reach_64ths": 0}, {"half_way_step": 255}, {"least_drawn_step": 255}):
        assert "trace" in contradicted(plan=step(**limits))


@pytest.mark.parametrize(
    "wrong",
    [
        *({"quality": value} for value in (0, 96, -1, 60.0, "60", True, None)),
        *({"top": 8}, {"left": -1}, {"reach_64ths": 33}, {"most_outside_thousandths": 1001}),
        *({"half_way_step": 256}, {"half_way_step": -1}, {"least_drawn_step": 12.0}),
        *({"steps": [5] * 63}, {"steps": [5] * 65}, {"steps": 5}, {"steps": None}, {"steps": []}),
        *({"steps": [5] * 63 + [wrong]} for wrong in (256, -1, 5.0, "5", True, None)),
        *({"more": 1}, {"more": "x"}),
    ],
)
def test_parameters_that_it_cannot_have_are_refused(wrong: dict[str, Any]) -> None:
    good = {"quality": 60, "top": 5, "left": 6, "steps": [5] * 64}
    parameters: dict[str, Any] = {**good, "reach_64ths": 24, "most_outside_thousandths": 100}
    pixels = _compressed()
    assert agree(Step(operation=AGREE, parameters=parameters), pixels, pixels).applied  # as 0.13 has it
    parameters |= {"half_way_step": 12, "least_drawn_step": 8}
    assert agree(Step(operation=AGREE, parameters=parameters), pixels, pixels).applied
    with pytest.raises(ManifestError, match="parameters that it cannot have"):
        agree(Step(operation=AGREE, parameters={**parameters, **wrong}), pixels, pixels)
    for name in parameters:
        fewer = {key: value for key, value in parameters.items() if key != name}
        with pytest.raises(ManifestError, match="parameters that it cannot have"):
            agree(Step(operation=AGREE, parameters=fewer), pixels, pixels)
    with pytest.raises(ManifestError, match="more bits"):
        agree(Step(operation=AGREE, parameters=parameters), pixels.astype(np.uint16), pixels)


def test_a_plan_with_it_where_restore_never_plans_it_is_refused(
    compressed: Callable[..., Restoration], tmp_path: Path
) -> None:
    done = compressed()
    body, source = _body(done), open_evidence(tmp_path / "picture.png")
    route, restored, last = body.plan
    enlarge = Step(operation="enlarge", parameters={"factor": 2, "kernel": "bicubic, a = -0.75"})
    for plan in ([route, last, restored], [last], [route, enlarge, restored, last]):
        found = recompute(body.model_copy(update={"plan": plan}), source, done.result.read_bytes())
        assert "never plans" in str(found.reason)


def test_evaluate_measures_what_run_does(
    compressed: Callable[..., Restoration], tmp_path: Path, spoil: Callable[[str, float], None]
) -> None:
    spoil(QUIET, 0.006)
    clean, images = _compressed(160, 184, 95), tmp_path / "clean"
    images.mkdir()
    (images / "one.png").write_bytes(encode_png(clean))
    for model in (None, QUIET):
        row = next(
            one for one in evaluate("jpeg", images=images, model=model)["rows"] if "40" in one["setting"]
        )
        data = io.BytesIO()
        Image.fromarray(clean).save(data, "JPEG", quality=40)
        (tmp_path / "picture.png").write_bytes(encode_png(np.asarray(Image.open(data))))
        done = compressed(model=model)
        assert _body(done).plan[-1].operation == AGREE
        error = np.mean((decode_png(done.result.read_bytes()).astype(float) - clean) ** 2)
        assert row["psnr"] == pytest.approx(10 * np.log10(255**2 / error), abs=0.02)  # another encoder
        assert pixels_sha256(decode_png(done.result.read_bytes())) == done.pixels_sha256


@pytest.mark.parametrize(("model", "room"), [(None, "evaluation_routed"), (QUIET, "evaluation_protocol")])
def test_evaluate_takes_the_step(
    compressed: Callable[..., Restoration],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: str | None,
    room: str,
) -> None:
    images = tmp_path / "clean"
    images.mkdir()
    (images / "one.png").write_bytes(encode_png(_compressed(48, 64, 95)))

    def black(_source: np.ndarray, result: np.ndarray) -> np.ndarray:
        return np.zeros_like(result)

    before = [row["psnr"] for row in evaluate("jpeg", images=images, model=model)["rows"]]
    monkeypatch.setattr(f"restore_models.{room}.in_agreement", black)
    after = [row["psnr"] for row in evaluate("jpeg", images=images, model=model)["rows"]]
    assert max(after) < 15 < min(before)
