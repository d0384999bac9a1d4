"""Consistency check: what was taken away passes, what was painted in does not, and the figures are whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter

from restore_manifests.keys import create_identity
from restore_manifests.schema import Degradation, parse_manifest
from restore_sdk import consistency
from restore_sdk.consistency import measure_consistency
from restore_sdk.evidence import open_evidence
from restore_sdk.recompute import recompute
from restore_sdk.restoration import restore
from restore_sdk.sample import sample_picture


def estimate(
    noise: float = 0.0, blur: float = 0.0, quality: float = 100.0, reduction: float = 1.0
) -> dict[str, Degradation]:
    def one(value: float, above: float = 0.0) -> Degradation:
        return Degradation(value=value, low=value, high=value + above, unit="")

    return {
        "noise_sigma": one(noise, 1.0),
        "blur_sigma": one(blur),
        "jpeg_quality": one(quality),
        "downscale_factor": one(reduction),
    }


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    picture, _, _ = sample_picture("plate", 0)
    return np.ascontiguousarray(picture[:160, :200])


def noisy(clean: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, sigma, clean.shape)
    return np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)


def compressed(clean: np.ndarray, quality: int) -> np.ndarray:
    _, data = cv2.imencode(".jpg", clean, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(data, cv2.IMREAD_UNCHANGED)


def blurred(clean: np.ndarray, sigma: float) -> np.ndarray:
    return np.rint(gaussian_filter(clean.astype(float), (sigma, sigma, 0))).astype(np.uint8)


DAMAGES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], dict[str, Degradation]]] = {
    "none": (lambda x: x, estimate()),
    "noise": (lambda x: noisy(x, 20), estimate(noise=20)),
    "jpeg": (lambda x: compressed(x, 30), estimate(quality=30)),
    "blur": (lambda x: blurred(x, 2.0), estimate(blur=2.0)),
    "blur and noise": (lambda x: noisy(blurred(x, 1.5), 6), estimate(noise=6, blur=1.5)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_truth_is_consistent_and_a_patch_is_not(clean: np.ndarray, damage: str) -> None:
    make, said = DAMAGES[damage]
    source = make(clean)
    good = measure_consistency(source, clean, said)
    assert good is not None
    assert good.within, good.figures
    assert good.finding().severity == "info"
    painted = clean.copy()
    painted[64:96, 80:120] = 255 - painted[64:96, 80:120]
    bad = measure_consistency(source, painted, said)
    assert bad is not None
    assert not bad.within, bad.figures
    assert bad.figures["block_worst"] > 2 * bad.figures["block_bound"]
    assert bad.finding().severity == "warning"
    assert "is not consistent" in bad.finding().message


def test_a_result_that_undid_less_is_no_contradiction(clean: np.ndarray) -> None:
    source = blurred(clean, 2.0)
    found = measure_consistency(source, source, estimate(blur=2.0))
    assert found is not None
    assert (found.within, found.applied, found.figures["residual_rms"]) == (True, "as it is", 0.0)
    whole = measure_consistency(source, clean, estimate(blur=2.0))
    assert whole is not None
    assert whole.applied == "blurred by 2.00 pixels"


def test_without_the_damage_a_sharper_result_is_an_addition(clean: np.ndarray) -> None:
    found = measure_consistency(blurred(clean, 2.5), clean, estimate())
    assert found is not None
    assert not found.within


@pytest.mark.parametrize("factor", [2, 4])
def test_enlarged_results_come_back_to_the_size_of_the_source(clean: np.ndarray, factor: int) -> None:
    small = cv2.resize(clean, (200 // factor, 160 // factor), interpolation=cv2.INTER_AREA)
    found = measure_consistency(small, clean, estimate())
    assert found is not None
    assert found.within
    assert found.figures["residual_rms"] < 0.5
    large = cv2.resize(small, (200, 160), interpolation=cv2.INTER_CUBIC)
    reduced = measure_consistency(large, clean, estimate(reduction=float(factor)))
    assert reduced is not None
    assert reduced.applied == f"reduced {factor} times and enlarged"
    assert reduced.within


def test_sixteen_bits_and_grey_say_the_same(clean: np.ndarray) -> None:
    grey = np.ascontiguousarray(clean[:, :, 1])
    source, said = noisy(grey, 10), estimate(noise=10)
    one = measure_consistency(source, grey, said)
    deep = measure_consistency(source.astype(np.uint16) * 257, grey.astype(np.uint16) * 257, said)
    assert one == deep
    assert one is not None
    assert one.figures["residual_rms"] == pytest.approx(10, abs=1.0)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (8, 8), (17, 23)])
def test_any_size_can_be_checked(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    found = measure_consistency(image, image, estimate(blur=3.0, reduction=4.0, quality=5))
    assert found is not None
    assert found.figures["residual_rms"] == 0.0


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("said", [estimate(blur=6.0), estimate(reduction=4.0, quality=20), estimate(noise=9)])
def test_bands_do_not_show(
    clean: np.ndarray, monkeypatch: pytest.MonkeyPatch, said: dict[str, Degradation], factor: int
) -> None:
    source = noisy(clean, 9)[:157]
    result = np.repeat(np.repeat(source, factor, 0), factor, 1)
    result[40:60, 70:90] += 30
    found = []
    for band in (8, 24, 4096):
        monkeypatch.setattr(consistency, "_BAND", band)
        found.append(measure_consistency(source, result, said))
    assert found[0] == found[1] == found[2]
    assert found[0] is not None
    assert not found[0].within


def test_nothing_is_said_without_an_estimate(clean: np.ndarray) -> None:
    assert measure_consistency(clean, clean, {}) is None


def test_integers_agree_with_libraries() -> None:
    rng = np.random.default_rng(1)
    residual = rng.integers(-65535, 65536, (16, 24))
    found = consistency._remainder(residual, np.zeros((8, 8), np.int64)).reshape(2, 3, 8, 8)
    blocks = residual.reshape(2, 8, 3, 8).transpose(0, 2, 1, 3)
    expected = dctn(blocks.astype(float), axes=(2, 3), norm="ortho")
    assert np.abs(found - expected).max() < 80  # of 65535: the table has 13 bits
    image = rng.integers(0, 65536, (40, 50))
    blurred = consistency._blurred(image, 150)
    assert np.abs(blurred - gaussian_filter(image.astype(float), 1.5, truncate=3.4)).max() < 80
    # T.81, K.1, at quality 50 as it stands, at 100 all ones
    at_50 = consistency._allowance(estimate(quality=50))
    assert at_50[0, 0] == 16 * 257 // 2
    assert (consistency._allowance(estimate(quality=100)) == 257 // 2).all()


def test_every_machine_must_find_these_figures() -> None:
    """Whole numbers only: a golden that no processor, library or thread count may change."""
    y, x = np.mgrid[:50, :70]
    result = np.dstack([(x * y) % 256, (7 * x + 3 * y) % 256, (x ^ y) % 256]).astype(np.uint8)
    shifts = [np.roll(result, (i, j), (0, 1)).astype(int) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    source = (sum(shifts) // 9).astype(np.uint8)
    found = measure_consistency(source, result, estimate(noise=12.34, blur=1.27, quality=61, reduction=2.4))
    assert found is not None
    assert (found.applied, found.figures) == GOLDEN


GOLDEN: tuple[str, dict[str, float]] = (
    "blurred by 0.63 pixels",
    {
        "residual_rms": 6.349,
        "residual_bound": 18.675,
        "block_worst": 11.451,
        "block_bound": 8.67,
        "blocks_outside": 0.015873,
    },
)


@pytest.fixture
def bundle(tmp_path: Path, restore_home: Path) -> Any:
    identity = create_identity(restore_home, name="Test", passphrase=None, unprotected=True)
    image = tmp_path / "plate.png"
    picture, _, _ = sample_picture("plate", 1)
    assert cv2.imwrite(str(image), noisy(picture[:64, :96], 12))
    (done,) = restore(image, identity=identity)
    return image, done


def test_the_record_states_it_and_verify_makes_it_again(bundle: Any) -> None:
    image, done = bundle
    body = parse_manifest(done.manifest.read_bytes()).body
    assert body.result.consistency is not None
    (finding,) = [one for one in body.findings if one.checker == "consistency"]
    assert finding.details["within"] is True
    evidence, result = open_evidence(image), done.result.read_bytes()
    assert recompute(body, evidence, result).contradicted == ()

    def contradicted(**changes: Any) -> str:
        return " ".join(recompute(body.model_copy(update=changes), evidence, result).contradicted)

    better = {**body.result.consistency, "residual_rms": 0.0}
    result_with = body.result.model_copy
    assert "consistency" in contradicted(result=result_with(update={"consistency": better}))
    assert "consistency" in contradicted(findings=[])
    milder = finding.model_copy(update={"message": "All is well."})
    assert "consistency" in contradicted(findings=[milder])
    # a record from before the check existed
    others = [one for one in body.findings if one.checker != "consistency"]
    assert contradicted(result=result_with(update={"consistency": None}), findings=others) == ""


def test_a_preview_does_not_state_it(tmp_path: Path, restore_home: Path) -> None:
    identity = create_identity(restore_home, name="Test", passphrase=None, unprotected=True)
    image = tmp_path / "plate.png"
    picture, _, _ = sample_picture("plate", 1)
    assert cv2.imwrite(str(image), noisy(picture[:64, :96], 12))
    (done,) = restore(image, identity=identity, arithmetic="float")
    assert parse_manifest(done.manifest.read_bytes()).body.result.consistency is None
    assert "consistency" not in {finding["checker"] for finding in done.findings}
