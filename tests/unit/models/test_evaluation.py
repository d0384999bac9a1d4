"""Evaluation suites: protocols, pairs, and figures about what the model says and adds."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.stats import beta

from restore_manifests.errors import UsageError
from restore_models import evaluation_text
from restore_models.architecture import ESTIMATES
from restore_models.calibration import risk_upper_bound
from restore_models.degradations import blur_kernel, camera, gaussian_noise, jpeg, low_light, one_channel
from restore_models.evaluation import SUITES, evaluate_suite
from restore_models.evaluation_images import luma8, read_images, read_items, read_pairs
from restore_models.evaluation_protocol import as_float, levels_like
from restore_models.evaluation_statements import kinds
from restore_models.evaluation_text import Line, asserted_words, words
from restore_models.program import Program
from restore_models.resample import enlarge
from restore_models.restorer import TorchRunner


def picture(height: int = 48, width: int = 64) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    channels = [np.sin(x / 7.0), np.cos(y / 5.0), np.sin((x + y) / 9.0)]
    return ((np.dstack(channels) * 0.4 + 0.5) * 255).astype(np.uint8)


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


class Perfect:
    """Gives back the truth, whatever comes in."""

    scale = 1

    def __init__(self, truth: np.ndarray) -> None:
        self.truth = truth[:, :, ::-1]

    def restore(self, pixels: np.ndarray) -> np.ndarray:
        return self.truth

    def restore_unclipped(self, image: np.ndarray) -> np.ndarray:
        return self.truth.astype(np.float64)

    def enlarge(self, small: np.ndarray, factor: int) -> np.ndarray:
        return self.truth


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One picture in colour and one in grey."""
    write(tmp_path / "set" / "a.png", picture())
    write(tmp_path / "set" / "b.png", picture()[:, :, 0])
    return tmp_path / "set"


@pytest.mark.parametrize("suite", [suite for suite in SUITES if suite != "real"])
def test_suites_measure_input_and_result(
    suite: str, program: Program, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation_text, "find_reader", lambda: None)
    shares: list[float] = []
    rows = evaluate_suite(suite, folder, TorchRunner(program), shares.append).rows
    assert rows
    assert shares == sorted(shares)
    assert shares[-1] == 1
    for row in rows:
        assert 0 < row.images <= (2 * len(kinds()) if suite == "estimate" else 2)
        assert 0 < row.psnr <= 100 and 0 < row.psnr_input <= 100 and -1 <= row.ssim <= 1
        document = row.to_json()
        assert list(document)[:4] == ["dataset", "setting", "psnr", "ssim"]
        assert list(document)[-1] == "images"
        assert document["dataset"] == "set"
    if suite == "gaussian":
        # sigma 15 of 255 is 24.61 dB before clipping; the input figure is of the clipped picture
        assert rows[0].psnr_input == pytest.approx(24.7, abs=0.5)


def test_a_program_for_grey_pictures_is_measured_on_the_luma(program: Program, tmp_path: Path) -> None:
    write(tmp_path / "set" / "a.png", picture())
    (_, coloured), *_ = read_images(tmp_path / "set")
    write(tmp_path / "luma" / "a.png", luma8(coloured))
    runner = TorchRunner(replace(program, notes={**program.notes, "grey": True}))
    found, expected = (evaluate_suite("gaussian", tmp_path / name, runner) for name in ("set", "luma"))
    assert [row.psnr for row in found.rows] == [row.psnr for row in expected.rows]
    assert found.notes == ["Of colour pictures the luma is measured: the model is for grey ones."]
    assert evaluate_suite("gaussian", tmp_path / "set", TorchRunner(program)).notes == []


def test_noise_in_a_grey_file_is_drawn_once_before_it_is_compressed(tmp_path: Path) -> None:
    """Not in colour, of which one channel is kept: compression would have smoothed it."""
    grey = cv2.cvtColor(picture(), cv2.COLOR_RGB2GRAY)
    write(tmp_path / "set" / "a.png", grey)
    given: list[np.ndarray] = []

    class Watches(Perfect):
        def restore(self, pixels: np.ndarray) -> np.ndarray:
            given.append(pixels)
            return grey

    evaluate_suite("realistic", tmp_path / "set", Watches(picture()))
    rgb = as_float(grey)
    noisy = gaussian_noise(rgb, 15, one_channel(np.random.default_rng(0)))
    expected = levels_like(jpeg(noisy, 60), grey)
    assert any(np.array_equal(shown, expected) for shown in given)
    in_colour = levels_like(jpeg(gaussian_noise(rgb, 15, np.random.default_rng(0)), 60), grey)
    assert not np.array_equal(expected, in_colour)
    green = camera(rgb, 1.0, one_channel(np.random.default_rng(0)))[:, :, [1, 1, 1]]
    assert any(np.array_equal(shown, levels_like(jpeg(green, 80), grey)) for shown in given)


def test_mixed_damage_is_what_its_setting_says(tmp_path: Path) -> None:
    write(tmp_path / "set" / "a.png", picture())
    perfect = Perfect(picture())
    found = {row.setting: row for row in evaluate_suite("realistic", tmp_path / "set", perfect).rows}
    assert len(found) == 8
    clean = perfect.truth
    rgb = as_float(clean)
    rng = np.random.default_rng(0)
    soft = cv2.filter2D(rgb, -1, blur_kernel("gaussian", 1.0, rng), borderType=cv2.BORDER_REFLECT)
    dark = low_light(rgb, 3.0, np.random.default_rng(0), well=8000.0, read=3.0)
    for setting, worse in (
        ("blur 1 pixel, sigma 10, then JPEG quality 75", jpeg(gaussian_noise(soft, 10, rng), 75)),
        (
            "camera at gain 1, then JPEG quality 80",
            jpeg(camera(rgb, 1.0, np.random.default_rng(0)), 80),
        ),
        ("3 stops dark, then JPEG quality 80", jpeg(dark, 80)),
    ):
        error = np.mean((levels_like(worse, clean).astype(float) - clean) ** 2)
        assert found[setting].psnr_input == pytest.approx(10 * np.log10(255**2 / error), abs=1e-3)


def test_unknown_suite_and_empty_folder(program: Program, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no suite"):
        evaluate_suite("none", tmp_path, TorchRunner(program))
    with pytest.raises(UsageError, match="no 8-bit image"):
        evaluate_suite("jpeg", tmp_path, TorchRunner(program))
    with pytest.raises(UsageError, match="no pair"):
        evaluate_suite("real", tmp_path / "nowhere", TorchRunner(program))


def test_files_that_are_no_pictures_are_passed_over(folder: Path) -> None:
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("no picture")
    (folder / "folder.png").mkdir()
    write(folder / "deep.png", picture().astype(np.uint16) * 257)
    assert [item.name for item in read_items(folder)] == ["a.png", "b.png"]


# ---- pairs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("references", "degraded"),
    [
        (["Nam_patch_GT/01_gt.png", "Nam_patch_GT/03_gt.png"], ["Nam/01_noise.png", "Nam/03_noise.png"]),
        (["d800_iso1600_1_mean.png"], ["d800_iso1600_1_real.png"]),
        (["0001_GT_SRGB_010.png"], ["0001_NOISY_SRGB_010.png"]),
        (["GT/1.png", "GT/2.png"], ["other/1.png", "other/2.png"]),
        (["Batch_001/IMG_9Reference.png", "Batch_002/IMG_9Reference.png"],
         ["Batch_001/IMG_9Noisy.png", "Batch_002/IMG_9Noisy.png"]),
        (["gt.png"], ["a/noisy.png", "b/noisy.png"]),
    ],
)  # fmt: skip
def test_pairs_are_found_by_their_names(tmp_path: Path, references: list[str], degraded: list[str]) -> None:
    for number, name in enumerate(references):
        write(tmp_path / name, np.full((20, 20, 3), 100 * number, np.uint8))
    for number, name in enumerate(degraded):
        write(tmp_path / name, np.full((20, 20, 3), 100 * number + 1, np.uint8))
    pairs = read_pairs(tmp_path)
    assert [pair.name for pair in pairs] == degraded
    for number, pair in enumerate(pairs):
        assert pair.degraded is not None
        assert int(pair.degraded.flat[0]) == 100 * number + 1
        assert int(pair.clean.flat[0]) == 100 * (number if len(references) > 1 else 0)


def test_pairs_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "1_gt.png", picture())
    with pytest.raises(UsageError, match="no pair"):
        read_pairs(tmp_path)
    write(tmp_path / "1_noisy.png", picture(40, 40))
    with pytest.raises(UsageError, match="another size"):
        read_pairs(tmp_path)
    write(tmp_path / "1_noisy.png", picture())
    write(tmp_path / "2_noisy.png", picture())
    with pytest.raises(UsageError, match=r"2_noisy.png .* has no reference"):
        read_pairs(tmp_path)


def test_real_compares_with_the_reference(tmp_path: Path) -> None:
    truth = picture()
    write(tmp_path / "1_gt.png", truth)
    write(tmp_path / "1_noisy.png", np.clip(truth.astype(int) + 5, 0, 255).astype(np.uint8))
    (row,) = evaluate_suite("real", tmp_path, Perfect(truth)).rows
    assert (row.setting, row.images, row.psnr) == ("pairs", 1, 100.0)
    assert row.psnr_input == pytest.approx(20 * math.log10(255 / 5), abs=0.01)


def test_the_layout_of_the_measuring_data(shared_data: Path) -> None:
    pairs = read_pairs(shared_data / "test" / "Nam_patches")
    assert len(pairs) > 10
    assert all(pair.degraded is not None and pair.degraded.shape == pair.clean.shape for pair in pairs)


# ---- what the model says ---------------------------------------------------------------------------------


def _constant(program: Program, monkeypatch: pytest.MonkeyPatch, outputs: dict[str, Any]) -> TorchRunner:
    """A runner whose outputs are constants, in 8-bit levels (the estimate in thousandths)."""
    runner = TorchRunner(program)

    def integers(image: np.ndarray) -> dict[str, np.ndarray]:
        height, width = image.shape[1:]
        found = {}
        for name, channels in (("residual", 3), ("interval", 6), ("estimate", 4)):
            unit = 2.0 ** program.instruction_exponent(program.outputs[name])
            unit *= 1 / 1000 if name == "estimate" else 4 / 512
            values = np.broadcast_to(np.asarray(outputs.get(name, 0.0)), channels) * unit
            cell = 8 if name == "estimate" else 1
            shape = (channels, -(-height // cell), -(-width // cell))
            found[name] = np.broadcast_to(np.rint(values)[:, None, None], shape).astype(np.int32)
        return found

    monkeypatch.setattr(runner, "integers", integers)
    return runner


def test_estimates_are_compared_with_what_was_done(
    program: Program, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = _constant(program, monkeypatch, {"estimate": [400.0, 0.0, 0.0, 0.0]})
    monkeypatch.setitem(program.notes, "estimate_error", {name: [-100, 10_000] for name in ESTIMATES})
    rows = {row.setting: row for row in evaluate_suite("estimate", folder, runner).rows}
    settings = list(rows)
    assert settings[0].endswith(", all")
    assert [s.partition(", ")[0] for s in settings] == sorted(
        (s.partition(", ")[0] for s in settings), key=ESTIMATES.index
    )
    assert {f"{name}, all" for name in ESTIMATES} <= set(rows)
    assert rows["noise_sigma, all"].images == 2 * len(kinds())
    # the reduced pictures were halved once or twice, and nothing was said of it
    halvings = rows["scale_log2, reduced"].figures
    assert halvings["mae"] in (1.0, 1.5, 2.0)
    assert halvings["bias"] == -halvings["mae"]
    assert halvings["inside"] == 1.0
    assert rows["noise_sigma, all"].figures["mae"] > 0
    # of noise it says 0.4 x 25 levels whatever the truth, of compression nothing
    said = [rows[f"noise_sigma, alone: {sigma}"].figures for sigma in (5, 15, 25, 35, 50)]
    assert [one["bias"] for one in said] == [5, -5, -15, -25, -40]
    assert rows["noise_sigma, alone"].figures["mae"] == 18
    assert rows["noise_sigma, alone"].images == 2 * len(said)
    assert rows["jpeg_loss, alone: cropped, quality 10"].figures["bias"] == -90
    assert rows["jpeg_loss, alone and cropped"].figures["mae"] == pytest.approx(55)
    assert evaluate_suite("estimate", folder, runner).rows == list(rows.values())


@pytest.mark.parametrize(("half_width", "outside"), [(300.0, 0.0), (0.0, 1.0)])
def test_calibration_counts_what_lies_outside(
    program: Program, folder: Path, monkeypatch: pytest.MonkeyPatch, half_width: float, outside: float
) -> None:
    runner = _constant(program, monkeypatch, {"interval": half_width})
    found = evaluate_suite("calibration", folder, runner)
    rows = {row.setting: row.figures for row in found.rows}
    assert sorted(rows) == kinds()
    assert "Neither holds for a single pixel" in found.notes[0]
    assert rows["gaussian"]["outside"] == pytest.approx(outside, abs=0.1)
    assert rows["gaussian"]["outside"] <= rows["gaussian"]["outside_upper"] <= 1
    assert rows["gaussian"]["width"] == pytest.approx(2 * half_width, abs=0.1)
    total = rows["jpeg"]["below"] + rows["jpeg"]["above"]
    assert total == pytest.approx(rows["jpeg"]["outside"], abs=2e-4)


def test_the_risk_bound_is_the_published_one() -> None:
    # Angelopoulos et al.: at alpha 0.10 and delta 0.05 these empirical risks are just allowed
    for images, risk in ((100, 0.036), (500, 0.070), (1000, 0.080)):
        assert risk_upper_bound(risk, images) == pytest.approx(0.10, abs=0.004)
    assert risk_upper_bound(0.0, 1) > 0.9
    assert risk_upper_bound(1.0, 5) == 1.0
    # never below Clopper-Pearson, which is exact for losses of 0 and 1
    assert risk_upper_bound(0.1, 200) > float(beta.ppf(0.95, 21, 180))


def test_a_subject_that_says_nothing_is_refused(folder: Path) -> None:
    for suite in ("estimate", "calibration"):
        with pytest.raises(UsageError, match="states no"):
            evaluate_suite(suite, folder, Perfect(picture()))
    large = Perfect(picture())
    large.scale = 4
    with pytest.raises(UsageError, match="enlarges 4 times"):
        evaluate_suite("jpeg", folder, large)
    large.scale = 3
    with pytest.raises(UsageError, match="enlarges 3 times"):
        evaluate_suite("sr", folder, large)


def test_a_program_for_enlarged_pictures_is_measured_on_those_alone(program: Program, folder: Path) -> None:
    for_four = TorchRunner(replace(program, notes={**program.notes, "scale": 4}))
    assert [row.setting for row in evaluate_suite("sr", folder, for_four).rows] == ["x4"]
    of_any = evaluate_suite("sr", folder, TorchRunner(program)).rows
    assert [row.setting for row in of_any] == ["x2", "x4"]
    with pytest.raises(UsageError, match="enlarges 4 times"):
        evaluate_suite("gaussian", folder, for_four)
    assert evaluate_suite("calibration", folder, for_four).rows


# ---- what the model adds ---------------------------------------------------------------------------------


class _Reader:
    """Reads PLATE where it is dark in the mean, and one word more where it is brighter."""

    def read(self, pixels: np.ndarray) -> list[Line]:
        lines = [Line("PLATE 12", 0.95), Line("unsure", 0.2)]
        return lines if pixels.mean() < 100 else [*lines, Line("Invented", 0.9)]


class _Brightens:
    scale = 1

    def restore(self, pixels: np.ndarray) -> np.ndarray:
        return np.clip(pixels.astype(int) + 60, 0, 255).astype(np.uint8)

    def enlarge(self, small: np.ndarray, factor: int) -> np.ndarray:
        return enlarge(self.restore(small), factor)

    def restore_unclipped(self, image: np.ndarray) -> np.ndarray:
        return image * 255


def test_additions_are_counted_beside_the_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "set" / "a.png", np.full((40, 40, 3), 90, np.uint8))
    (tmp_path / "set" / "a.gt.txt").write_text("plate, 12!", encoding="utf-8")
    monkeypatch.setattr(evaluation_text, "find_reader", _Reader)
    found = evaluate_suite("hallucination", tmp_path / "set", _Brightens())
    undamaged = found.rows[0]
    assert undamaged.setting == "undamaged"
    assert undamaged.figures["changed"] == undamaged.figures["made_worse"] == 1.0
    assert undamaged.figures["unchanged"] == 0.0
    assert undamaged.figures["unsupported"] == pytest.approx(1 / 3, abs=1e-4)
    assert undamaged.figures["unsupported_input"] == 0.0
    assert undamaged.figures["words_read"] == undamaged.figures["words_read_input"] == 1.0
    assert not found.notes
    reading = found.readings[0]
    assert (reading.image, reading.truth) == ("a.png", "plate, 12!")
    assert "Invented" in reading.output
    assert "Invented" not in reading.input


def test_without_a_reader_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "set" / "a.png", picture())
    monkeypatch.setattr(evaluation_text, "find_reader", lambda: None)
    found = evaluate_suite("hallucination", tmp_path / "set", Perfect(picture()))
    assert found.notes == [evaluation_text.NO_READER]
    assert "unsupported" not in found.rows[0].figures
    assert all(row.figures["made_worse"] == 0.0 for row in found.rows)


def test_words_are_counted_without_case() -> None:
    assert words("AB-12 ab") == {"ab": 2, "12": 1}
    assert asserted_words([Line("sure", 0.8), Line("not", 0.79)]) == {"sure": 1}


def test_the_reader_of_the_extra_reads_a_plate() -> None:
    pytest.importorskip("rapidocr", reason="needs the extra ocr")
    image = np.full((90, 420, 3), 255, np.uint8)
    cv2.putText(image, "WK 4711X", (20, 62), cv2.FONT_HERSHEY_SIMPLEX, 1.8, (0, 0, 0), 4)
    reader = evaluation_text.find_reader()
    assert reader is not None
    assert "4711x" in " ".join(asserted_words(reader.read(image)))
