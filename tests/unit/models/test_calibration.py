"""Risk-controlling calibration: the published rule, whole-number intervals, and what travels with a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from restore_manifests.errors import ModelError, UsageError
from restore_models.calibration import (
    NOTE,
    NOTE_AFTER,
    SCALE_LIMIT,
    CalibratedClass,
    Calibration,
    calibrations_after,
    choose_scale,
    read_calibration,
    risk_upper_bound,
)
from restore_models.calibration_images import (
    CLASSES,
    KINDS,
    SMALL_KINDS,
    SOURCES_NAME,
    calibrate_program,
    damaged,
    measure_damaged,
    scales_needed,
    shown_forms,
)
from restore_models.cascade import Cascade
from restore_models.degradation_kinds import degrade
from restore_models.evaluation import evaluate_suite
from restore_models.evaluation_images import luma8, middle, read_images
from restore_models.evaluation_protocol import as_float, levels_like
from restore_models.evaluation_routed import CascadeSubject
from restore_models.lone_pixels import lone_pixels
from restore_models.program import Program, load_program, save_program
from restore_models.resample import enlarge
from restore_models.restorer import TorchRunner, interval_unit, restore_pixels
from restore_models.routing import EnlargingRule, Rule

ALPHA, DELTA = 0.3, 0.2


def _class(name: str = "little damage", **changes: Any) -> CalibratedClass:
    values: dict[str, Any] = {
        "name": name,
        "at_least": {},
        "images": 100,
        "pictures": 200,
        "scale_64ths": 96,
        "risk": 0.03,
        "risk_upper": 0.09,
        "within": {"noise_sigma": (0, 1000)},
    }
    return CalibratedClass(**{**values, **changes})


def _calibration(program: Program, *classes: CalibratedClass) -> Calibration:
    return Calibration(
        program_sha256=program.program_sha256(),
        alpha=0.1,
        delta=0.05,
        side=64,
        damage={kind: {} for kind in KINDS},
        classes=classes or (_class(),),
        images=(),
    )


def _pictures(folder: Path, count: int, side: int = 40) -> Path:
    folder.mkdir()
    y, x = np.mgrid[:side, :side]
    for index in range(count):
        rng = np.random.default_rng(index)
        waves = [np.sin(x / rng.uniform(2, 12) + y / rng.uniform(2, 12)) for _ in range(3)]
        image = ((np.dstack(waves) * rng.uniform(0.1, 0.45) + 0.5) * 255).astype(np.uint8)
        assert cv2.imwrite(str(folder / f"{index:02}.png"), image if index % 5 else image[:, :, 0])
    return folder


class Careful(TorchRunner):
    """Leaves a picture as it is, and puts the truth within 20 levels, or as far as the program says."""

    def integers(self, image: np.ndarray) -> dict[str, np.ndarray]:
        found = super().integers(image)
        wide = np.maximum(found["interval"], 20 * interval_unit(self.program))
        return {**found, "residual": np.zeros_like(found["residual"]), "interval": wide}


# ---- the rule --------------------------------------------------------------------------------------------


def _falling(start: float, rate: float) -> Callable[[int], float]:
    return lambda scale: start * float(np.exp(-scale / rate))


@pytest.mark.parametrize(("images", "rate"), [(60, 40.0), (100, 300.0), (400, 900.0)])
def test_the_scale_is_the_least_from_which_on_the_bound_stays_below_alpha(images: int, rate: float) -> None:
    risk = _falling(0.6, rate)
    found = choose_scale(risk, images, 0.1, 0.05)
    assert found is not None
    scale, mean, upper = found
    assert (mean, upper) == (risk(scale), risk_upper_bound(risk(scale), images, 0.05))
    assert upper < 0.1
    # the definition, walked down from where the risk is low
    kept = [risk_upper_bound(risk(s), images, 0.05) < 0.1 for s in range(max(0, scale - 8), scale + 8)]
    assert kept == [s >= scale for s in range(max(0, scale - 8), scale + 8)]


def test_no_scale_where_images_are_too_few_or_errors_stay() -> None:
    assert choose_scale(lambda _: 0.0, 28, 0.1, 0.05) is None
    assert choose_scale(lambda _: 0.0, 40, 0.1, 0.05) == (0, 0.0, risk_upper_bound(0.0, 40, 0.05))
    assert choose_scale(lambda _: 0.2, 1000, 0.1, 0.05) is None
    assert choose_scale(_falling(0.5, 10), 0, 0.1, 0.05) is None


def test_the_risk_is_kept_as_often_as_promised() -> None:
    """Calibrations on draws of synthetic losses, whose expectation is known."""
    scales = np.arange(SCALE_LIMIT + 1)
    rng = np.random.default_rng(3)
    broken = 0
    for _ in range(20):
        rates = rng.exponential(60.0, 60) + 5
        curve = np.mean(np.exp(-scales[None, :] / rates[:, None]), axis=0)
        found = choose_scale(lambda scale, curve=curve: float(curve[scale]), 60, 0.2, 0.2)
        assert found is not None
        truth = np.mean(np.exp(-found[0] / (rng.exponential(60.0, 40_000) + 5)))
        broken += truth > 0.2
    assert broken <= 20 * 0.2 + 3


def test_a_sample_needs_the_least_scale_that_holds_its_truth() -> None:
    rng = np.random.default_rng(1)
    truth, result = (rng.integers(0, 12, 400).astype(np.uint8) for _ in range(2))
    below, above = (rng.integers(0, 60, 400).astype(np.int64) for _ in range(2))
    unit = 16
    needed = scales_needed(truth, result, below, above, unit)

    def inside(index: int, scale: int) -> bool:
        value, at = Fraction(int(truth[index])), Fraction(int(result[index]))
        low, high = (Fraction(scale * int(side[index]), 64 * unit) for side in (below, above))
        return at - low - Fraction(1, 2) <= value <= at + high + Fraction(1, 2)

    for index, scale in enumerate(needed.tolist()):
        if scale > SCALE_LIMIT:
            assert not inside(index, SCALE_LIMIT)
        else:
            assert inside(index, scale)
            assert scale == 0 or not inside(index, scale - 1)
    assert (needed[truth == result] == 0).all()


# ---- the map ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grey", [False, True])
def test_the_map_is_the_scaled_interval_and_half_a_level_on_each_side(program: Program, grey: bool) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (70, 90, 3)).astype(np.uint8)
    pixels = pixels[:, :, 0] if grey else pixels
    runner = TorchRunner(program)
    sums = np.zeros(pixels.shape[:2], np.int64)

    def watch(rows: slice, columns: slice, interval: np.ndarray) -> None:
        sums[rows, columns] = interval.sum(axis=0)

    learned = restore_pixels(runner, pixels, watch=watch)
    said: list[Any] = []
    scaled = restore_pixels(runner, pixels, interval_scale=lambda e: said.append(dict(e)) or 100)
    assert said == [learned.estimates]
    unit = Fraction(3 * interval_unit(program))
    for one, times, added in ((learned, 64, 0), (scaled, 100, 2)):
        halves = [int(Fraction(2 * times * int(total), 64) / unit + Fraction(1, 2)) for total in sums.ravel()]
        assert one.interval.ravel().tolist() == [min(value + added, 255) for value in halves]
    assert (scaled.pixels == learned.pixels).all()
    again = restore_pixels(runner, pixels, tile=program.multiple * 2, interval_scale=lambda _: 100)
    assert (again.interval == scaled.interval).all()
    assert (restore_pixels(runner, pixels, interval_scale=lambda _: None).interval == learned.interval).all()


# ---- calibrating -----------------------------------------------------------------------------------------


def test_noise_for_some_models_is_drawn_where_it_is_named(program: Program, tmp_path: Path) -> None:
    runner, folder = Careful(program), _pictures(tmp_path / "set", 2)
    kinds = ["strong_gaussian", "gaussian", "light_clipped_gaussian"]
    found = calibrate_program(runner, folder, kinds=kinds, side=32)
    assert set(found.damage) == set(kinds)
    low, high = found.damage["strong_gaussian"]["noise_sigma"]
    assert 32 <= low < high <= 68
    low, high = found.damage["light_clipped_gaussian"]["noise_sigma"]
    assert 0.5 <= low < high <= 40
    enlarging = Careful(replace(program, notes={**program.notes, "scale": 2}))
    with pytest.raises(UsageError, match="Nothing is calibrated on the kind 'strong_gaussian'"):
        calibrate_program(enlarging, folder, kinds=["strong_gaussian"], side=32)


def test_calibration_keeps_the_risk_of_each_class(program: Program, tmp_path: Path) -> None:
    folder = _pictures(tmp_path / "set", 16)
    (folder / SOURCES_NAME).write_text(
        'name,source,licence\n00.png,"a museum, Bergen",CC0-1.0\n', encoding="utf-8"
    )
    runner = Careful(program)
    shares: list[float] = []
    found = calibrate_program(runner, folder, alpha=ALPHA, delta=DELTA, side=32, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert [one.name for one in found.classes] == [name for name, _ in CLASSES]
    assert sum(one.pictures for one in found.classes) == 16 * len(KINDS)
    assert set(found.damage) == set(KINDS)
    assert found.damage["jpeg"]["jpeg_loss"][1] <= 92
    assert [image.name for image in found.images] == [f"{index:02}.png" for index in range(16)]
    assert (found.images[0].source, found.images[0].licence) == ("a museum, Bergen", "CC0-1.0")
    assert found.images[1].licence == "not stated"

    enlarging = Careful(replace(program, notes={**program.notes, "scale": 2}))
    calibrated = calibrate_program(enlarging, folder, alpha=ALPHA, delta=DELTA, side=32)
    assert set(calibrated.damage) == {"enlarged2", "worn_enlarged2"}

    # the risk as stated, counted again from the pictures themselves
    losses: dict[str, dict[int, list[float]]] = {}
    lone: list[int] = []
    for number in range(16):
        clean = cv2.imread(str(folder / f"{number:02}.png"), cv2.IMREAD_UNCHANGED)
        clean = middle(clean[:, :, ::-1] if clean.ndim == 3 else clean, 32)
        for kind in KINDS:
            picture = measure_damaged(runner, clean, damaged(clean, kind, number)[0])
            chosen = found.class_of(picture.estimates)
            assert chosen is not None
            assert found.outside(chosen, picture.estimates) == []
            lone.append(lone_pixels(picture.worse))
            if chosen.scale_64ths is not None:
                share = picture.outside[chosen.scale_64ths]
                losses.setdefault(chosen.name, {}).setdefault(number, []).append(share)
    assert found.lone_pixels == max(lone)
    assert not found.has_impulses(max(lone))
    assert found.has_impulses(max(lone) + 1)
    stated = {one.name: one for one in found.classes if one.scale_64ths is not None}
    assert stated
    assert set(losses) == set(stated)
    for name, by_image in losses.items():
        assert stated[name].images == len(by_image)
        assert stated[name].risk == pytest.approx(np.mean([np.mean(v) for v in by_image.values()]), abs=1e-6)
        assert stated[name].risk_upper is not None
        assert stated[name].risk_upper < ALPHA


def test_after_another_program_only_what_that_is_given_counts_and_it_says_the_class(
    program: Program, tmp_path: Path
) -> None:
    folder = _pictures(tmp_path / "set", 6)
    enlarging = Careful(replace(program, notes={**program.notes, "scale": 2}))
    small = Careful(program)
    asked: list[tuple[int, ...]] = []

    def given(shown: np.ndarray) -> bool:
        asked.append(shown.shape)
        return len(asked) % 2 == 0

    options: dict[str, Any] = {"alpha": ALPHA, "delta": DELTA, "side": 31}
    found = calibrate_program(enlarging, folder, small=small, given_to_small=given, **options)
    assert len(asked) == 6 * len(SMALL_KINDS)
    assert {shape[:2] for shape in asked} == {(15, 15)}  # of 31 pixels an even part, halved
    assert sum(one.pictures for one in found.classes) == len(asked) // 2
    assert set(found.damage) <= set(SMALL_KINDS)
    assert found.small_program_sha256 == program.program_sha256()
    assert found.program_sha256 == enlarging.program.program_sha256()

    cascade, lone, said = Cascade(enlarging, 2, small), [], []
    for number in range(6):
        clean = cv2.imread(str(folder / f"{number:02}.png"), cv2.IMREAD_UNCHANGED)
        clean = middle(clean[:, :, ::-1] if clean.ndim == 3 else clean, 31)
        for index, form in enumerate(shown_forms(enlarging.program, clean, number, after_small=True)):
            if (number * len(SMALL_KINDS) + index) % 2:
                picture = measure_damaged(cascade, form.clean, form.shown)
                assert picture.estimates == restore_pixels(small, form.shown).estimates
                assert np.array_equal(picture.worse, enlarge(form.shown, 2))
                lone.append(lone_pixels(form.shown))
                said.append(picture.estimates["noise_sigma"])
    assert found.lone_pixels == max(lone)
    stated = [one.within["noise_sigma"] for one in found.classes if one.pictures]
    assert (min(low for low, _ in stated), max(high for _, high in stated)) == (min(said), max(said))


def test_a_program_for_grey_images_is_calibrated_on_the_luma(program: Program, tmp_path: Path) -> None:
    coloured, grey = _pictures(tmp_path / "coloured", 4), tmp_path / "grey"
    grey.mkdir()
    for name, image in read_images(coloured):
        assert cv2.imwrite(str(grey / name), luma8(image))
    runner = TorchRunner(replace(program, notes={**program.notes, "grey": True}))
    found, expected, other = (
        calibrate_program(one, folder, side=32)
        for one, folder in ((runner, coloured), (runner, grey), (TorchRunner(program), coloured))
    )
    assert found.classes == expected.classes != other.classes
    assert found.damage == expected.damage


def test_grey_pictures_are_damaged_in_grey() -> None:
    """Poisson noise, then JPEG, as happens to one channel: not in colour, of which one is kept."""
    grey = np.tile(np.arange(64, 192, 2, dtype=np.uint8), (64, 1))
    for number in range(4):
        worse, applied = damaged(grey, "mixed", number)
        rng, other = (np.random.default_rng([31, number, KINDS.index("mixed")]) for _ in range(2))
        expected, said = degrade(as_float(grey), rng, {"mixed": 1.0}, grey=True)
        assert np.array_equal(worse, levels_like(expected, grey))
        assert applied == said
        assert not np.array_equal(worse, levels_like(degrade(as_float(grey), other, {"mixed": 1.0})[0], grey))


def test_lone_pixels_are_counted_in_the_small_picture(program: Program, tmp_path: Path) -> None:
    """Enlarged, none stands alone any more: every small photograph would count as full of impulses."""
    folder = tmp_path / "set"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    assert cv2.imwrite(str(folder / "noise.png"), noise)
    enlarging = TorchRunner(replace(program, notes={**program.notes, "scale": 2}))
    lone = calibrate_program(enlarging, folder).lone_pixels
    assert lone
    assert lone_pixels(enlarge(shown_small := noise[::2, ::2], 2)) == 0 < lone_pixels(shown_small)


@pytest.mark.parametrize("options", [{"alpha": 0.0}, {"alpha": 1.0}, {"delta": 1.5}, {"alpha": float("nan")}])
def test_shares_that_are_none_are_refused(
    program: Program, tmp_path: Path, options: dict[str, float]
) -> None:
    with pytest.raises(UsageError, match="is no share"):
        calibrate_program(TorchRunner(program), _pictures(tmp_path / "set", 1), **options)


def test_images_that_are_the_same_or_a_broken_table_are_refused(program: Program, tmp_path: Path) -> None:
    folder = _pictures(tmp_path / "set", 2)
    (folder / SOURCES_NAME).write_text("image;licence\n00.png;CC0\n", encoding="utf-8")
    with pytest.raises(UsageError, match="table SOURCES"):
        calibrate_program(TorchRunner(program), folder)
    (folder / SOURCES_NAME).unlink()
    (folder / "copy.png").write_bytes((folder / "01.png").read_bytes())
    with pytest.raises(UsageError, match=r"01\.png and copy\.png are the same"):
        calibrate_program(TorchRunner(program), folder)


def test_compressed_pictures_stay_in_their_place() -> None:
    """Some training pictures of the kind jpeg are shifted; against their truth nothing could be measured."""
    y, x = np.mgrid[:64, :64]
    clean = np.repeat(((x // 16 + y // 16) % 2 * 200 + 20)[:, :, None], 3, axis=2).astype(np.uint8)
    for number in range(40):
        worse = damaged(clean, "jpeg", number)[0].astype(int)
        still = np.abs(worse - clean).mean()
        assert all(still <= np.abs(np.roll(worse, s, 1) - clean).mean() for s in (-3, -2, -1, 1, 2, 3))


# ---- what travels with the model -------------------------------------------------------------------------


def test_a_calibration_travels_in_the_file_and_changes_no_program(program: Program, tmp_path: Path) -> None:
    bare, full = tmp_path / "bare.safetensors", tmp_path / "full.safetensors"
    calibration = _calibration(program)
    save_program(bare, program)
    save_program(full, replace(program, notes={**program.notes, NOTE: calibration.to_notes()}))
    one, other = load_program(bare), load_program(full)
    assert one.program_sha256() == other.program_sha256()
    assert one.file_sha256 != other.file_sha256
    assert read_calibration(one) is None
    assert read_calibration(other) == calibration


def test_calibrations_after_others_are_kept_apart(program: Program, tmp_path: Path) -> None:
    own, first, second = (
        _calibration(program, _class(scale_64ths=scale)).model_copy(update={"small_program_sha256": small})
        for scale, small in ((96, None), (97, "1" * 64), (98, "2" * 64))
    )
    assert "small_program_sha256" not in own.to_notes()  # as before there was such a field
    after = {"1" * 64: first.to_notes(), "2" * 64: second.to_notes()}
    full = replace(program, notes={NOTE: own.to_notes(), NOTE_AFTER: after})
    assert read_calibration(full) == own
    assert read_calibration(full, "1" * 64) == first
    assert read_calibration(full, "2" * 64) == second
    assert read_calibration(full, "3" * 64) is None
    assert read_calibration(replace(program, notes={NOTE: own.to_notes()}), "1" * 64) is None
    assert calibrations_after(full) == [first, second]
    assert calibrations_after(program) == []
    swapped = replace(program, notes={NOTE_AFTER: {"1" * 64: second.to_notes(), "2" * 64: own.to_notes()}})
    for small in ("1" * 64, "2" * 64):
        with pytest.raises(ModelError, match="another program"):
            read_calibration(swapped, small)
    with pytest.raises(ModelError, match="another program"):
        read_calibration(replace(program, notes={NOTE: first.to_notes()}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"program_sha256": "0" * 64}, "another program"),
        ({"alpha": 2.0}, "damaged"),
        ({"classes": []}, "damaged"),
        ({"extra": 1}, "damaged"),
        ({"format": "restore.calibration/9"}, "damaged"),
        (None, "damaged"),
    ],
)
def test_a_damaged_or_foreign_calibration_is_refused(
    program: Program, change: dict[str, Any] | None, said: str
) -> None:
    notes: Any = [] if change is None else {**_calibration(program).to_notes(), **change}
    with pytest.raises(ModelError, match=said):
        read_calibration(replace(program, notes={NOTE: notes}))


def test_the_first_class_that_fits_is_taken(program: Program) -> None:
    strong, light, rest = (
        _class("strong", at_least={"noise_sigma": 800}),
        _class("light", at_least={"noise_sigma": 100}, scale_64ths=None, risk=None, risk_upper=None),
        _class("rest", at_least={"blur_sigma": 0}),
    )
    calibration = _calibration(program, strong, light, rest)
    for noise, expected in ((900, strong), (800, strong), (799, light), (0, rest)):
        assert calibration.class_of({"noise_sigma": noise, "blur_sigma": 0}) == expected
    assert calibration.class_of({"blur_sigma": -1}) is None
    assert calibration.scale({"noise_sigma": 900}) == 96
    assert calibration.scale({"noise_sigma": 300}) is None
    assert calibration.outside(strong, {"noise_sigma": 1001}) == ["noise_sigma"]
    assert calibration.outside(strong, {"noise_sigma": 1000, "jpeg_loss": 9000}) == []


def test_an_estimate_below_what_any_class_asks_for_is_no_damage(program: Program) -> None:
    noisy = _class("noise", at_least={"noise_sigma": 100}, within={"blur_sigma": (-5, 11)})
    blurred = _class("blur", at_least={"blur_sigma": 500}, within={"blur_sigma": (500, 2900)})
    calibration = _calibration(program, blurred, noisy)
    assert calibration.outside(noisy, {"noise_sigma": 900, "blur_sigma": 400}) == []
    assert calibration.outside(blurred, {"blur_sigma": 2900}) == []
    assert calibration.outside(blurred, {"blur_sigma": 2901}) == ["blur_sigma"]


# ---- the suite -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "flagged"), [(10**6, 0.0), (-(10**6), 1.0)])
def test_the_suite_sets_each_class_beside_what_it_guarantees(
    program: Program, tmp_path: Path, limit: int, flagged: float
) -> None:
    folder = _pictures(tmp_path / "set", 3)
    one = _class("everything", scale_64ths=SCALE_LIMIT, within={"noise_sigma": (-(10**6), limit)})
    calibrated = replace(program, notes={NOTE: _calibration(program, one).to_notes()})
    found = evaluate_suite("calibration", folder, TorchRunner(calibrated))
    rows = {row.setting: row for row in found.rows}
    assert next(iter(rows)) == "everything"
    assert all(setting.startswith("shifted: ") for setting in list(rows)[1:])
    assert len(rows) == 5
    assert "Nothing here holds for a single pixel" in found.notes[0]
    for row in rows.values():
        figures = row.figures
        assert (row.images, figures["alpha"], figures["flagged"]) == (3, 0.1, flagged)
        assert figures["outside"] is not None
        assert figures["outside_upper"] is not None
        assert figures["holds"] is (figures["outside"] <= 0.1)
        assert figures["outside"] < figures["outside_upper"]
    assert "alpha" in rows["everything"].to_json()


def test_the_suite_measures_every_way_in_which_enlarged_pictures_are_restored(
    program: Program, tmp_path: Path
) -> None:
    folder = _pictures(tmp_path / "set", 2)
    enlarging = replace(program, notes={"scale": 2})
    wide = _class("everything", scale_64ths=SCALE_LIMIT, within={})
    own, after = (
        _calibration(enlarging, wide).model_copy(
            update={"small_program_sha256": small, "damage": {kind: {} for kind in kinds}}
        )
        for small, kinds in ((None, ("enlarged2",)), (program.program_sha256(), ("gaussian", "soft")))
    )
    notes = {"scale": 2, NOTE: own.to_notes(), NOTE_AFTER: {program.program_sha256(): after.to_notes()}}
    runner, first = TorchRunner(replace(program, notes=notes)), TorchRunner(program)
    for limit, chosen in ((0, "noisy"), (10**9, "quiet")):  # all pictures go to the one or to the other
        rule = EnlargingRule(Rule("noisy", "quiet", limit, 0, limit), "last", 0, 0, 0, 0)
        subject = CascadeSubject(runner, {"noisy": first, "quiet": first}, rule)
        found = evaluate_suite("calibration", folder, subject)
        settings = [row.setting for row in found.rows]
        assert settings[:2] == ["everything", f"after {chosen}: everything"]
        assert len(settings) == 2 + 4
        assert all(setting.startswith("shifted: ") for setting in settings[2:])


def test_a_class_without_a_scale_promises_nothing(program: Program, tmp_path: Path) -> None:
    one = _class("everything", scale_64ths=None, risk=None, risk_upper=None)
    calibrated = replace(program, notes={NOTE: _calibration(program, one).to_notes()})
    row = evaluate_suite("calibration", _pictures(tmp_path / "set", 2), TorchRunner(calibrated)).rows[0]
    assert (row.figures["alpha"], row.figures["holds"]) == (None, None)
