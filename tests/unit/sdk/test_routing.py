"""Each image gets the model that its damage calls for; the record says why, and verify decides again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from restore_manifests.pixels import decode_png
from restore_manifests.schema import Body, parse_manifest
from restore_models import routing
from restore_models.program import load_program
from restore_models.restorer import TorchRunner, restore_pixels
from restore_sdk.evidence import open_evidence
from restore_sdk.recompute import recompute
from restore_sdk.restoration import Restoration

NOISY, QUIET, ENLARGES2 = "tiny-noisy", "tiny-quiet", "tiny-enlarge2"
ALONE, SMALL = "tiny-alone", "tiny-alone-small"
STRONG, SMALL_STRONG = "tiny-strong", "tiny-strong-small"
GREY, SMALL_GREY = "tiny-grey", "tiny-grey-small"
GREY_JPEG, SMALL_GREY_JPEG = "tiny-grey-jpeg", "tiny-grey-jpeg-small"


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
    since: tuple[str, ...] = ("compress", "below_program", "blur", "reduction", "soft_", "alone", "pixels")
    since += ("grey", "for_grey", "shown_")
    kept = {name: said for name, said in body.plan[0].parameters.items() if not name.startswith(since)}
    for limit, contradicted in ((5000, False), (2000, True)):
        route = body.plan[0].model_copy(update={"parameters": {**kept, "limit_thousandths": limit}})
        earlier = body.model_copy(update={"plan": [route, *body.plan[1:]]})
        found = recompute(earlier, evidence, done.result.read_bytes())
        assert any("its own rule" in problem for problem in found.contradicted) == contradicted


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


@pytest.mark.parametrize(("says_blurred", "twice"), [(0.774, False), (0.775, True), (2.0, True)])
def test_what_is_noisy_and_soft_is_restored_twice_in_one_size(
    run: Callable[..., Restoration], tmp_path: Path, says_blurred: float, twice: bool
) -> None:
    """From 400 thousandths on, and 15 more for each of the 25 levels of noise."""
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
        *(
            ("soft_tiles", none, "the rule by which its model was chosen is none")
            for none in (0, -1, 1.5, True)
        ),
    ):
        if says_blurred < 0.8 and name == "soft_per_level_thousandths" and value == 10**6:
            continue
        route = body.plan[0].model_copy(update={"parameters": {**body.plan[0].parameters, name: value}})
        found = recompute(body.model_copy(update={"plan": [route, *body.plan[1:]]}), evidence, result)
        assert any(problem in one for one in found.contradicted), (name, value, found)


@pytest.mark.parametrize(
    ("says", "pixels", "chosen"),
    [
        ((1.0, 0.0, 0.0), 70 * 90, SMALL),
        ((1.0, 0.0, 0.0), 70 * 90 - 1, ALONE),
        ((1.0, 0.159, 0.774), 10**6, SMALL),
        ((1.0, 0.16, 0.0), 10**6, NOISY),
        ((1.0, 0.0, 0.775), 10**6, QUIET),
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
    monkeypatch.setattr(routing, "STRONG_NOISE", 38_000)
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


@pytest.mark.parametrize(
    ("says_noise", "pixels", "chosen"),
    [(1.52, 10**6, SMALL_STRONG), (1.52, 1, STRONG), (1.5, 10**6, SMALL), (1.5, 1, ALONE)],
)
def test_strong_noise_has_a_model_of_its_own(
    run: Callable[..., Restoration],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    says_noise: float,
    pixels: int,
    chosen: str,
) -> None:
    """From a limit on, here 38 levels: what the weights say times 25."""
    monkeypatch.setattr(routing, "STRONG_NOISE", 38_000)
    monkeypatch.setattr(routing, "ALONE_COMPRESSION", 8000)
    monkeypatch.setattr(routing, "ALONE_PIXELS", pixels)
    done = run(says_noise)
    body, evidence, result = _body(done), open_evidence(tmp_path / "picture.png"), done.result.read_bytes()
    route = body.plan[0].parameters
    assert body.plan[-1].parameters["model"] == chosen
    assert (route["alone_strong"], route["alone_strong_small"]) == (STRONG, SMALL_STRONG)

    def contradicted(parameters: dict[str, Any]) -> tuple[str, ...]:
        changed = body.plan[0].model_copy(update={"parameters": parameters})
        forged = body.model_copy(update={"plan": [changed, *body.plan[1:]]})
        return recompute(forged, evidence, result).contradicted

    assert contradicted(route) == ()
    strong = chosen in (STRONG, SMALL_STRONG)
    for name, value, problem in (
        ("alone_strong_from_thousandths", 10**6 if strong else 0, "not the one that its own rule chooses"),
        ("alone_strong_from_thousandths", 1.5, "the rule by which its model was chosen is none"),
        ("alone_strong", None, "the rule by which its model was chosen is none"),
        ("alone_strong_small", 1, "the rule by which its model was chosen is none"),
    ):
        assert any(problem in one for one in contradicted({**route, name: value})), (name, value)
    earlier = {name: said for name, said in route.items() if not name.startswith("alone_strong")}
    assert len(earlier) == len(route) - 3
    assert bool(contradicted(earlier)) == strong, "a record from before it is judged without it"
    any_size = {name: said for name, said in route.items() if name != "alone_strong_small"}
    assert bool(contradicted(any_size)) == (chosen == SMALL_STRONG)


def test_a_record_from_before_noise_alone_counted_is_judged_without_it(
    run: Callable[..., Restoration], tmp_path: Path
) -> None:
    body = _body(run(1.0))
    evidence, result = open_evidence(tmp_path / "picture.png"), (tmp_path / "out" / "picture.restored.png")
    kept = {
        name: said
        for name, said in body.plan[0].parameters.items()
        if name not in ("pixels", "grey", "blur_thousandths", "reduction_thousandths")
        and not name.startswith(("alone", "for_grey", "shown_"))
    }
    assert len(kept) == len(body.plan[0].parameters) - 20
    route = body.plan[0].model_copy(update={"parameters": kept})
    found = recompute(
        body.model_copy(update={"plan": [route, *body.plan[1:]]}), evidence, result.read_bytes()
    )
    assert found.contradicted == ()


def test_a_record_from_before_softness_counted_is_judged_by_its_noise(
    run: Callable[..., Restoration], tmp_path: Path, install: Callable[..., None]
) -> None:
    done = run(1.0)
    body, evidence, result = _body(done), open_evidence(tmp_path / "picture.png"), done.result.read_bytes()
    since = ("below_program_sha256", "blur_after", "soft_after", "soft_per_level", "soft_tiles")
    kept = {name: said for name, said in body.plan[0].parameters.items() if not name.startswith(since)}
    assert len(kept) == len(body.plan[0].parameters) - len(since)
    install(QUIET, says_noise=0.0, says_blurred=2.0, seed=2)
    route = body.plan[0].model_copy(update={"parameters": kept})
    assert (
        recompute(body.model_copy(update={"plan": [route, *body.plan[1:]]}), evidence, result).contradicted
        == ()
    )


@pytest.mark.parametrize(("dropped", "asked"), [((), 2), (("soft_tiles",), None)])
def test_a_record_says_how_many_tiles_were_asked_or_all_were(
    run: Callable[..., Restoration],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dropped: tuple[str, ...],
    asked: int | None,
) -> None:
    seen: list[int | None] = []
    real = routing.blur_after_in
    monkeypatch.setattr(routing, "blur_after_in", lambda *given: (seen.append(given[2]), real(*given))[1])
    done = run(1.0, says_blurred=2.0)
    assert seen == [2]
    body, evidence, result = _body(done), open_evidence(tmp_path / "picture.png"), done.result.read_bytes()
    kept = {name: said for name, said in body.plan[0].parameters.items() if name not in dropped}
    route = body.plan[0].model_copy(update={"parameters": kept})
    found = recompute(body.model_copy(update={"plan": [route, *body.plan[1:]]}), evidence, result)
    assert (seen, found.contradicted) == ([2, asked], ())


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
