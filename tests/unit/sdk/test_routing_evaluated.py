"""Evaluations and the self-test take the models that `run` would take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from restore_manifests.errors import ModelError
from restore_models.program import load_program
from restore_models.vectors import make_vectors
from restore_sdk.evaluation import evaluate
from restore_sdk.restoration import Restoration
from restore_sdk.selftest import selftest

NOISY, QUIET, ENLARGES2 = "tiny-noisy", "tiny-quiet", "tiny-enlarge2"
ALONE, SMALL = "tiny-alone", "tiny-alone-small"
GREY, SMALL_GREY = "tiny-grey", "tiny-grey-small"
GREY_JPEG, SMALL_GREY_JPEG = "tiny-grey-jpeg", "tiny-grey-jpeg-small"
STRONG = ("tiny-strong", "tiny-strong-small")
ALL = (NOISY, QUIET, ALONE, SMALL, *STRONG, GREY, SMALL_GREY, GREY_JPEG, SMALL_GREY_JPEG, ENLARGES2)


@pytest.mark.parametrize("suite", ["gaussian", "jpeg", "estimate"])
@pytest.mark.parametrize(("says_noise", "chosen"), [(0.0, QUIET), (1.0, NOISY)])
def test_an_evaluation_measures_what_run_does(
    run: Callable[..., Restoration],
    tmp_path: Path,
    suite: str,
    says_noise: float,
    chosen: str,
    spoil: Callable[[str, float], None],
) -> None:
    """The rows are those of the model that is chosen, not of the other; a note says how often it was."""
    run(says_noise)
    for name, strength in ((NOISY, 0.2), (QUIET, 0.4), (ENLARGES2, 0.3)):
        spoil(name, strength)
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
    run: Callable[..., Restoration], tmp_path: Path, spoil: Callable[[str, float], None]
) -> None:
    run(0.0)
    for name, strength in ((NOISY, 0.2), (QUIET, 0.4), (ENLARGES2, 0.3)):
        spoil(name, strength)
    images = tmp_path / "clean"
    images.mkdir()
    (images / "picture.png").write_bytes((tmp_path / "picture.png").read_bytes())
    found = evaluate("sr", images=images)
    twice = evaluate("sr", images=images, model=ENLARGES2)["rows"]
    four_times = [row for row in evaluate("sr", images=images, model=QUIET)["rows"] if row["setting"] == "x4"]
    assert found["rows"] == [*twice, *four_times]
    assert f"{ENLARGES2} restored 1, {QUIET} restored 1" in found["notes"][0]
    run(1.0)
    spoil(NOISY, 0.2)
    noisy = evaluate("sr", images=images)
    assert noisy["rows"][0]["psnr"] != twice[0]["psnr"]
    assert f"{NOISY} then {ENLARGES2} restored 1" in noisy["notes"][0]


def test_the_self_test_tries_every_model_that_run_chooses_among(
    run: Callable[..., Restoration], tmp_path: Path
) -> None:
    run(0.0)
    folder = tmp_path / "home" / "models"
    for name in ALL:
        make_vectors(load_program(folder / f"{name}.safetensors"), folder / f"{name}.vectors.json")
    found = selftest()
    assert found["model"] == ", ".join(ALL)
    assert found["verdict"] == "pass"
    assert {row["name"].partition(":")[0] for row in found["vectors"]} == set(ALL)
    (folder / f"{QUIET}.vectors.json").write_text(
        (folder / f"{NOISY}.vectors.json").read_text(encoding="utf-8"), encoding="utf-8"
    )
    with pytest.raises(ModelError):
        selftest()
    assert selftest(model=NOISY)["verdict"] == "pass"
