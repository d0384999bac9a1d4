"""Each image gets the model that its damage calls for; the record says why, and verify decides again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from restore_manifests.errors import ModelError, UsageError
from restore_manifests.keys import Identity, create_identity, load_identity
from restore_manifests.pixels import decode_png, encode_png
from restore_manifests.schema import Body, Step, TraceStep, parse_manifest
from restore_models import routing, zoo
from restore_models.architecture import PRESETS
from restore_models.calibration_images import KINDS, SMALL_KINDS
from restore_models.network import RestorationNet
from restore_models.program import Program, load_program, save_program
from restore_models.quantise import quantise_network
from restore_models.resample import enlarge
from restore_models.restorer import TorchRunner, interval_unit, restore_pixels
from restore_models.vectors import make_vectors
from restore_sdk import recompute as recomputing
from restore_sdk.confidence import calibration_sha256
from restore_sdk.evaluation import evaluate
from restore_sdk.evidence import open_evidence
from restore_sdk.maps import edit_map
from restore_sdk.model_calibration import calibrate_model
from restore_sdk.models import show_model
from restore_sdk.recompute import recompute
from restore_sdk.restoration import Restoration, restore
from restore_sdk.selftest import selftest

NOISY, QUIET, ENLARGES2 = "tiny-noisy", "tiny-quiet", "tiny-enlarge2"
ALONE, SMALL = "tiny-alone", "tiny-alone-small"


def _install(
    folder: Path,
    name: str,
    *,
    says_noise: float,
    seed: int,
    says_compressed: float = 0.0,
    says_blurred: float = 0.0,
    views: int = 1,
    **notes: Any,
) -> None:
    """A tiny program that sees the same in everything."""
    network = RestorationNet(PRESETS["tiny"], seed=seed).eval()
    head = network.convs["estimate_head"]
    assert isinstance(head, torch.nn.Conv2d)
    assert head.bias is not None
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.tensor([says_noise, says_blurred, says_compressed, 0.0]))
    batch = torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (2, 3, 64, 64)).astype(np.float32))
    folder.mkdir(parents=True, exist_ok=True)
    notes = {"licence": "Apache-2.0", **notes}
    program = replace(quantise_network(network, [batch], notes), views=views)
    save_program(folder / f"{name}.safetensors", program)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Restoration]:
    """Restores one picture with tiny models installed as the shipped ones, without those for noise alone."""
    home = tmp_path / "home"
    monkeypatch.setenv("RESTORE_HOME", str(home))
    monkeypatch.setattr(zoo, "DEFAULT_MODEL", NOISY)
    monkeypatch.setattr(zoo, "QUIET_MODEL", QUIET)
    monkeypatch.setattr(zoo, "NOISE_MODEL", ALONE)
    monkeypatch.setattr(zoo, "SMALL_NOISE_MODEL", SMALL)
    monkeypatch.setattr(routing, "ALONE_COMPRESSION", 0)
    monkeypatch.setattr(zoo, "ENLARGING_MODELS", {2: ENLARGES2})
    identity: Identity = create_identity(home, name="Laboratory", passphrase=None, unprotected=True)
    picture = tmp_path / "picture.png"
    picture.write_bytes(encode_png(np.random.default_rng(1).integers(0, 256, (70, 90, 3)).astype(np.uint8)))

    def restore_it(
        says_noise: float, says_compressed: float = 0.0, says_blurred: float = 0.0, **options: Any
    ) -> Restoration:
        _install(home / "models", NOISY, says_noise=says_noise, says_compressed=says_compressed, seed=1)
        _install(home / "models", QUIET, says_noise=0.0, says_blurred=says_blurred, seed=2)
        _install(home / "models", ENLARGES2, says_noise=0.0, seed=3, scale=2)
        _install(home / "models", ALONE, says_noise=says_noise, seed=4)
        _install(home / "models", SMALL, says_noise=says_noise, seed=4, views=8)
        return restore(picture, out=tmp_path / "out", identity=identity, force=True, **options)[0]

    return restore_it


def _with_what_is_installed(folder: Path, **options: Any) -> Restoration:
    """The picture of `run` restored once more."""
    identity = load_identity(folder / "home", None)
    return restore(folder / "picture.png", out=folder / "out", force=True, identity=identity, **options)[0]


def _body(done: Restoration) -> Body:
    return parse_manifest(done.manifest.read_bytes()).body


@pytest.mark.parametrize(
    ("scale", "says_noise", "chosen"),
    [(1, 0.0, QUIET), (4, 0.0, QUIET), (1, 1.0, NOISY), (4, 1.0, NOISY), (1, 0.16, NOISY)],
)
def test_noise_decides_and_the_record_says_so(
    run: Callable[..., Restoration], scale: int, says_noise: float, chosen: str
) -> None:
    body = _body(run(says_noise, scale=scale))
    operations = [step.operation for step in body.plan]
    assert operations == ["route", *(["enlarge"] if scale > 1 else []), "restore"]
    route, restored = body.plan[0].parameters, body.plan[-1].parameters
    assert restored["model"] == chosen
    assert (route["model"], route["below"], route["otherwise"]) == (NOISY, QUIET, NOISY)
    assert route["noise_thousandths"] == says_noise * 25_000
    assert body.models[0].id == chosen
    # in one size the quiet model says how soft the other's result is
    assert {model.id for model in body.models} == {NOISY, *([QUIET] if chosen == QUIET or scale == 1 else [])}
    assert body.trace[0].input_sha256 == body.trace[0].output_sha256 == body.source.pixels_sha256


@pytest.mark.parametrize(
    ("says", "small"),
    [
        *(((0.0, 0.0), None), ((1.0, 0.0), NOISY), ((0.0, 0.5), QUIET), ((0.16, 0.5), QUIET)),
        *(((1.0, 0.5), NOISY), ((0.0, 0.0, 1.0), QUIET), ((1.0, 0.0, 1.0), NOISY)),
    ],
)
def test_what_is_not_clean_is_restored_before_it_is_enlarged(
    run: Callable[..., Restoration], tmp_path: Path, says: tuple[float, ...], small: str | None
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
        in_size = _with_what_is_installed(tmp_path, model=small)
        assert body.trace[1].output_sha256 == in_size.pixels_sha256


def test_intervals_after_another_model_have_a_calibration_of_their_own(
    run: Callable[..., Restoration], tmp_path: Path
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
    _install(models, NOISY, says_noise=1.0, says_compressed=0.0, seed=1)
    said = calibrate_model(ENLARGES2, images=images)["after"]
    counts = {name: {one["name"]: one["pictures"] for one in classes} for name, classes in said.items()}
    assert counts[NOISY]["strong noise"] == 2 * len(SMALL_KINDS)
    assert sum(counts[QUIET].values()) == 0
    assert show_model(ENLARGES2)["calibration_after"].keys() == {
        load_program(models / f"{name}.safetensors").program_sha256() for name in (NOISY, QUIET)
    }
    done = _with_what_is_installed(tmp_path, scale=2)
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
    run: Callable[..., Restoration], tmp_path: Path
) -> None:
    """Not with what was restored before it was enlarged: that would hide half of the change."""
    run(1.0, scale=2)
    _spoil(tmp_path / "home" / "models" / f"{NOISY}.safetensors", 0.4)
    done = _with_what_is_installed(tmp_path, scale=2)
    source, result = decode_png((tmp_path / "picture.png").read_bytes()), decode_png(done.result.read_bytes())
    expected, _ = edit_map(enlarge(source, 2), result)
    assert np.array_equal(decode_png(done.edit_map.read_bytes()), expected)


@pytest.mark.parametrize(
    ("says_compressed", "says_noise", "chosen"),
    [(0.2, 0.16, NOISY), (0.5, 0.16, QUIET), (0.5, 1.0, NOISY)],  # 10 and 25 points; 4 and 25 levels
)
def test_what_looks_like_noise_in_a_compressed_picture_is_taken_for_its_remains(
    run: Callable[..., Restoration], says_compressed: float, says_noise: float, chosen: str
) -> None:
    body = _body(run(says_noise, says_compressed))
    assert body.plan[0].parameters["compression_thousandths"] == says_compressed * 50_000
    assert body.plan[-1].parameters["model"] == chosen


def test_a_record_from_before_compression_counted_is_judged_by_its_noise(
    run: Callable[..., Restoration], tmp_path: Path
) -> None:
    done = run(0.16, 0.5)
    body, evidence = _body(done), open_evidence(tmp_path / "picture.png")
    assert recompute(body, evidence, done.result.read_bytes()).contradicted == ()
    kept = {name: said for name, said in body.plan[0].parameters.items() if not name.startswith("compress")}
    for limit, contradicted in ((5000, False), (2000, True)):
        route = body.plan[0].model_copy(update={"parameters": {**kept, "limit_thousandths": limit}})
        earlier = body.model_copy(update={"plan": [route, *body.plan[1:]]})
        found = recompute(earlier, evidence, done.result.read_bytes())
        assert any("its own rule" in problem for problem in found.contradicted) == contradicted


def test_a_model_for_enlarged_images_is_not_given_others(run: Callable[..., Restoration]) -> None:
    assert _body(run(1.0, scale=2, model=ENLARGES2)).models[0].id == ENLARGES2
    for scale in (1, 4):
        with pytest.raises(UsageError, match="enlarged 2 times"):
            run(1.0, scale=scale, model=ENLARGES2)


def test_blind_mode_and_a_named_model_are_not_routed(run: Callable[..., Restoration]) -> None:
    for options, model in (({"mode": "blind"}, NOISY), ({"model": QUIET}, QUIET), ({"model": NOISY}, NOISY)):
        body = _body(run(1.0, **options))
        assert [step.operation for step in body.plan] == ["restore"]
        assert [use.id for use in body.models] == [model]


@pytest.mark.parametrize(("says_noise", "says_compressed"), [(0.0, 0.0), (0.16, 0.5), (1.0, 0.0)])
def test_verify_decides_again(
    run: Callable[..., Restoration], says_noise: float, says_compressed: float, tmp_path: Path
) -> None:
    done = run(says_noise, says_compressed)
    limit = "compressed_limit_thousandths" if says_compressed else "limit_thousandths"
    body, evidence = _body(done), open_evidence(tmp_path / "picture.png")
    assert recompute(body, evidence, done.result.read_bytes()).contradicted == ()

    def changed(**parameters: Any) -> Body:
        route = body.plan[0].model_copy(update={"parameters": {**body.plan[0].parameters, **parameters}})
        return body.model_copy(update={"plan": [route, *body.plan[1:]]})

    for forged, expected in (
        (changed(noise_thousandths=says_noise * 25_000 + 1), "the noise by which its model was chosen"),
        (changed(compression_thousandths=says_compressed * 50_000 + 1), "the compression by which its model"),
        (changed(**{limit: 0 if says_noise < 1 else 10**6}), "not the one that its own rule chooses"),
        (changed(limit_thousandths="many"), "the rule by which its model was chosen is none"),
        (changed(compressed_from_thousandths=None), "the rule by which its model was chosen is none"),
        (changed(compressed_limit_thousandths=1.5), "the rule by which its model was chosen is none"),
        (changed(below=NOISY, otherwise=QUIET), "not the one that its own rule chooses"),
    ):
        found = recompute(forged, evidence, done.result.read_bytes())
        if (
            says_noise == 1 and forged.plan[0].parameters["below"] == NOISY
        ):  # which it would ask how soft it is
            assert "another program" in (found.reason or "")
            continue
        assert any(expected in problem for problem in found.contradicted), (expected, found)


@pytest.mark.parametrize(("says_blurred", "twice"), [(0.924, False), (0.925, True), (2.0, True)])
def test_what_is_noisy_and_soft_is_restored_twice_in_one_size(
    run: Callable[..., Restoration], tmp_path: Path, says_blurred: float, twice: bool
) -> None:
    """From 550 thousandths on, and 15 more for each of the 25 levels of noise."""
    done = run(1.0, says_blurred=says_blurred)
    body, evidence, result = _body(done), open_evidence(tmp_path / "picture.png"), done.result.read_bytes()
    restoring = [(step.operation, step.parameters["model"]) for step in body.plan[1:]]
    assert restoring == ([("restore_small", NOISY), ("restore", QUIET)] if twice else [("restore", NOISY)])
    assert body.plan[0].parameters["blur_after_thousandths"] == says_blurred * 1000
    found = recompute(body, evidence, result)
    assert (found.pixels_sha256, found.contradicted) == (body.result.pixels_sha256, ())
    assert body.degradation["noise_sigma"].value == 25
    assert body.degradation["blur_sigma"].value == (round(says_blurred, 2) if twice else 0)
    first, last = (
        TorchRunner(load_program(tmp_path / "home" / "models" / f"{name}.safetensors"))
        for name in (NOISY, QUIET)
    )
    expected = restore_pixels(first, evidence.pixels).pixels
    assert np.array_equal(decode_png(result), restore_pixels(last, expected).pixels if twice else expected)
    assert body.maps.confidence is not None
    assert ("the interval is the sum of both." in body.maps.confidence.method) == twice
    for name, value, problem in (
        ("blur_after_thousandths", says_blurred * 1000 + 1, "the softness by which its models were chosen"),
        ("soft_after_thousandths", 10**6 if twice else 0, "not the one that its own rule chooses"),
        ("soft_per_level_thousandths", 10**6 if twice else 0, "not the one that its own rule chooses"),
        ("soft_after_thousandths", None, "the rule by which its model was chosen is none"),
        ("soft_per_level_thousandths", 1.5, "the rule by which its model was chosen is none"),
    ):
        if says_blurred < 0.95 and name == "soft_per_level_thousandths" and value == 10**6:
            continue
        route = body.plan[0].model_copy(update={"parameters": {**body.plan[0].parameters, name: value}})
        found = recompute(body.model_copy(update={"plan": [route, *body.plan[1:]]}), evidence, result)
        assert any(problem in one for one in found.contradicted), (name, value, found)


@pytest.mark.parametrize(
    ("says", "pixels", "chosen"),
    [
        ((1.0, 0.0, 0.0), 70 * 90, SMALL),
        ((1.0, 0.0, 0.0), 70 * 90 - 1, ALONE),
        ((1.0, 0.159, 0.924), 10**6, SMALL),
        ((1.0, 0.16, 0.0), 10**6, NOISY),
        ((1.0, 0.0, 0.925), 10**6, QUIET),
        ((0.0, 0.0, 0.0), 10**6, QUIET),
    ],
)
def test_noise_alone_has_a_model_of_its_own(
    run: Callable[..., Restoration],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    says: tuple[float, ...],
    pixels: int,
    chosen: str,
) -> None:
    """`pixels`: how many are few. Compression counts from 8 points on."""
    monkeypatch.setattr(routing, "ALONE_COMPRESSION", 8000)
    monkeypatch.setattr(routing, "ALONE_PIXELS", pixels)
    done = run(*says)
    body, evidence, result = _body(done), open_evidence(tmp_path / "picture.png"), done.result.read_bytes()
    assert body.plan[-1].parameters["model"] == body.models[0].id == chosen
    assert body.plan[-1].parameters.get("views", 1) == (8 if chosen == SMALL else 1)
    route = body.plan[0].parameters
    assert (route["pixels"], route["alone_pixels"], route["grey"]) == (70 * 90, pixels, False)
    assert (route["alone"], route["alone_small"]) == (ALONE, SMALL)
    assert recompute(body, evidence, result).contradicted == ()
    other = "its model is not the one that its own rule chooses"
    forgeries: list[tuple[str, Any, str]] = [
        ("pixels", 70 * 90 + 1, "the size by which its model was chosen is another"),
        ("grey", True, "not as grey or coloured as where its model was chosen"),
        ("grey", 0, "not as grey or coloured as where its model was chosen"),
        ("alone_compression_thousandths", None, "the rule by which its model was chosen is none"),
        ("alone_pixels", 1e6, "the rule by which its model was chosen is none"),
    ]
    if chosen in (ALONE, SMALL):
        forgeries += [
            ("alone_pixels", 1 if chosen == SMALL else 10**6, other),
            ("alone_compression_thousandths", 0, other),
            ("alone_small" if chosen == SMALL else "alone", "another", other),
        ]
    for name, value, problem in forgeries:
        changed = body.plan[0].model_copy(update={"parameters": {**route, name: value}})
        found = recompute(body.model_copy(update={"plan": [changed, *body.plan[1:]]}), evidence, result)
        assert any(problem in one for one in found.contradicted), (name, value, found)


def test_a_record_from_before_noise_alone_counted_is_judged_without_it(
    run: Callable[..., Restoration], tmp_path: Path
) -> None:
    body = _body(run(1.0))
    evidence, result = open_evidence(tmp_path / "picture.png"), (tmp_path / "out" / "picture.restored.png")
    kept = {
        name: said
        for name, said in body.plan[0].parameters.items()
        if name not in ("pixels", "grey") and not name.startswith("alone")
    }
    assert len(kept) == len(body.plan[0].parameters) - 6
    route = body.plan[0].model_copy(update={"parameters": kept})
    found = recompute(
        body.model_copy(update={"plan": [route, *body.plan[1:]]}), evidence, result.read_bytes()
    )
    assert found.contradicted == ()


def test_a_record_from_before_softness_counted_is_judged_by_its_noise(
    run: Callable[..., Restoration], tmp_path: Path
) -> None:
    done = run(1.0)
    body, evidence, result = _body(done), open_evidence(tmp_path / "picture.png"), done.result.read_bytes()
    since = ("below_program_sha256", "blur_after", "soft_after", "soft_per_level")
    kept = {name: said for name, said in body.plan[0].parameters.items() if not name.startswith(since)}
    assert len(kept) == len(body.plan[0].parameters) - len(since)
    _install(tmp_path / "home" / "models", QUIET, says_noise=0.0, says_blurred=2.0, seed=2)
    route = body.plan[0].model_copy(update={"parameters": kept})
    assert (
        recompute(body.model_copy(update={"plan": [route, *body.plan[1:]]}), evidence, result).contradicted
        == ()
    )


def test_a_plan_restores_twice_in_one_size_only_by_a_rule_that_may_say_so(
    run: Callable[..., Restoration], tmp_path: Path
) -> None:
    done = run(1.0, says_blurred=2.0)
    body = _body(done)
    route = body.plan[0].model_copy(
        update={"parameters": {k: v for k, v in body.plan[0].parameters.items() if not k.startswith("soft_")}}
    )
    for plan, trace in (
        ([route, *body.plan[1:]], body.trace),
        (body.plan[1:], body.trace[1:]),
    ):
        forged = body.model_copy(update={"plan": plan, "trace": trace})
        found = recompute(forged, open_evidence(tmp_path / "picture.png"), done.result.read_bytes())
        assert found.pixels_sha256 is None
        assert "restores twice in one size" in (found.reason or "")


def test_the_quiet_model_has_a_calibration_for_what_the_noisy_one_has_restored(
    run: Callable[..., Restoration], tmp_path: Path
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
    done = _with_what_is_installed(tmp_path)
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


def test_the_record_says_in_how_many_views(run: Callable[..., Restoration], tmp_path: Path) -> None:
    once = run(0.0, scale=2)
    assert "views" not in _body(once).plan[-1].parameters
    single = decode_png(once.result.read_bytes())
    file = tmp_path / "home" / "models" / f"{ENLARGES2}.safetensors"
    save_program(file, replace(load_program(file), views=8))
    done = _with_what_is_installed(tmp_path, scale=2)
    body, result, evidence = _body(done), done.result.read_bytes(), open_evidence(tmp_path / "picture.png")
    assert body.plan[-1].parameters["views"] == 8
    assert not np.array_equal(decode_png(result), single)
    assert recompute(body, evidence, result).pixels_sha256 == body.result.pixels_sha256
    for said in (1, None):
        last = body.plan[-1].model_copy(update={"parameters": {**body.plan[-1].parameters, "views": said}})
        found = recompute(body.model_copy(update={"plan": [*body.plan[:-1], last]}), evidence, result)
        assert found.pixels_sha256 is None
        assert f"says {said!r} views, but its program looks in 8" in (found.reason or "")


@pytest.mark.parametrize("suite", ["gaussian", "jpeg", "estimate"])
@pytest.mark.parametrize(("says_noise", "chosen"), [(0.0, QUIET), (1.0, NOISY)])
def test_an_evaluation_measures_what_run_does(
    run: Callable[..., Restoration], tmp_path: Path, suite: str, says_noise: float, chosen: str
) -> None:
    """The rows are those of the model that is chosen, not of the other; a note says how often it was."""
    run(says_noise)
    for name, strength in ((NOISY, 0.2), (QUIET, 0.4), (ENLARGES2, 0.3)):
        _spoil(tmp_path / "home" / "models" / f"{name}.safetensors", strength)
    images = tmp_path / "clean"
    images.mkdir()
    (images / "picture.png").write_bytes((tmp_path / "picture.png").read_bytes())
    routed = evaluate(suite, images=images)
    alone = {name: evaluate(suite, images=images, model=name)["rows"] for name in (NOISY, QUIET)}
    assert alone[NOISY] != alone[QUIET]
    assert routed["rows"] == alone[chosen]
    # estimate: by each of six kinds, and alone at five levels of noise, six of blur, six of JPEG and cropped
    count = 6 + 5 + 6 + 2 * 6 if suite == "estimate" else len(routed["rows"])
    assert routed["notes"] == [
        f"Each picture by the model that its damage called for: {chosen} restored {count}."
    ]


def test_an_evaluation_enlarges_by_the_model_for_the_scale(
    run: Callable[..., Restoration], tmp_path: Path
) -> None:
    run(0.0)
    for name, strength in ((NOISY, 0.2), (QUIET, 0.4), (ENLARGES2, 0.3)):
        _spoil(tmp_path / "home" / "models" / f"{name}.safetensors", strength)
    images = tmp_path / "clean"
    images.mkdir()
    (images / "picture.png").write_bytes((tmp_path / "picture.png").read_bytes())
    found = evaluate("sr", images=images)
    twice = evaluate("sr", images=images, model=ENLARGES2)["rows"]
    four_times = [row for row in evaluate("sr", images=images, model=QUIET)["rows"] if row["setting"] == "x4"]
    assert found["rows"] == [*twice, *four_times]
    assert f"{ENLARGES2} restored 1, {QUIET} restored 1" in found["notes"][0]
    run(1.0)
    _spoil(tmp_path / "home" / "models" / f"{NOISY}.safetensors", 0.2)
    noisy = evaluate("sr", images=images)
    assert noisy["rows"][0]["psnr"] != twice[0]["psnr"]
    assert f"{NOISY} then {ENLARGES2} restored 1" in noisy["notes"][0]


def _spoil(path: Path, strength: float) -> None:
    """Gives the residual of a program a constant, so that two of them can be told apart."""
    program = load_program(path)
    last = next(step for step in program.instructions if step.name == "residual.head")
    bias = program.tensors["residual.head.bias"]
    shift = program.tensors["residual.head.shift"].astype(np.int32)
    bias += (np.int32(strength * 2**last.exponent) << shift).astype(bias.dtype)
    save_program(path, program)


def test_the_self_test_tries_every_model_that_run_chooses_among(
    run: Callable[..., Restoration], tmp_path: Path
) -> None:
    run(0.0)
    folder = tmp_path / "home" / "models"
    for name in (NOISY, QUIET, ALONE, SMALL, ENLARGES2):
        make_vectors(load_program(folder / f"{name}.safetensors"), folder / f"{name}.vectors.json")
    found = selftest()
    assert found["model"] == ", ".join((NOISY, QUIET, ALONE, SMALL, ENLARGES2))
    assert found["verdict"] == "pass"
    assert {row["name"].partition(":")[0] for row in found["vectors"]} == {
        NOISY,
        QUIET,
        ALONE,
        SMALL,
        ENLARGES2,
    }
    (folder / f"{QUIET}.vectors.json").write_text(
        (folder / f"{NOISY}.vectors.json").read_text(encoding="utf-8"), encoding="utf-8"
    )
    with pytest.raises(ModelError):
        selftest()
    assert selftest(model=NOISY)["verdict"] == "pass"
