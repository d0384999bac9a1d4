"""Two programs one after the other: the interval of the first in the place and the unit of the second."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from restore_models import cascade
from restore_models.cascade import Cascade, EarlierInterval, estimate_errors
from restore_models.program import Program
from restore_models.resample import enlarge
from restore_models.restorer import TorchRunner, restore_pixels


def _picture(height: int, width: int) -> Any:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize(("unit_before", "unit_after"), [(64, 64), (64, 256), (256, 64)])
def test_each_value_stands_in_every_pixel_made_of_one(
    program: Program, monkeypatch: pytest.MonkeyPatch, scale: int, unit_before: int, unit_after: int
) -> None:
    units = iter((unit_before, unit_after))
    monkeypatch.setattr(cascade, "interval_unit", lambda _program: next(units))
    values = np.random.default_rng(scale).integers(0, 1000, (6, 7, 9)).astype(np.int32)
    earlier = EarlierInterval(program, 7, 9)
    earlier.keep(slice(0, 7), slice(0, 4), values[:, :, :4])
    earlier.keep(slice(0, 7), slice(4, 9), values[:, :, 4:])
    rows, columns = slice(3, 7 * scale - 1), slice(scale, 8 * scale + 1)
    added = earlier.enlarged(program, scale)(rows, columns)
    expected = values.repeat(scale, axis=1).repeat(scale, axis=2)[:, rows, columns]
    assert np.array_equal(added, np.ceil(expected * (unit_after / unit_before)))


def test_no_value_can_overflow_the_sum(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    units = iter((1, 1 << 20))
    monkeypatch.setattr(cascade, "interval_unit", lambda _program: next(units))
    earlier = EarlierInterval(program, 1, 1)
    earlier.keep(slice(0, 1), slice(0, 1), np.full((6, 1, 1), (1 << 24) - 1, np.int32))
    added = earlier.enlarged(program, 2)(slice(0, 2), slice(0, 2))
    assert (added == 1 << 24).all()


def test_tiles_change_neither_pixels_nor_intervals(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    runner, shown = TorchRunner(program), _picture(40, 56)
    twice = Cascade(runner, 2, runner)
    whole = twice.restore(shown)
    by_default = restore_pixels

    def in_tiles(*arguments: Any, **options: Any) -> Any:
        return by_default(*arguments, tile=program.multiple, **options)

    monkeypatch.setattr(cascade, "restore_pixels", in_tiles)
    tiled = twice.restore(shown)
    assert np.array_equal(whole.pixels, tiled.pixels)
    assert np.array_equal(whole.interval, tiled.interval)
    assert whole.estimates == tiled.estimates


def test_one_program_alone_is_what_it_is_without_a_cascade(program: Program) -> None:
    runner, shown = TorchRunner(program), _picture(20, 30)
    for scale in (1, 2):
        found = Cascade(runner, scale).restore(shown)
        alone = restore_pixels(runner, enlarge(shown, scale) if scale > 1 else shown)
        assert np.array_equal(found.pixels, alone.pixels)
        assert np.array_equal(found.interval, alone.interval)
        assert found.estimates == alone.estimates


def test_in_one_size_the_second_says_how_soft_the_picture_was(program: Program) -> None:
    runner, shown = TorchRunner(program), _picture(20, 30)
    found = Cascade(runner, 1, runner).restore(shown)
    first = restore_pixels(runner, shown)
    last = restore_pixels(runner, first.pixels)
    assert np.array_equal(found.pixels, last.pixels)
    assert first.estimates != last.estimates
    of_second = ("blur_sigma", "scale_log2")
    assert found.estimates == {**first.estimates, **{name: last.estimates[name] for name in of_second}}
    errors = {name: [index, index + 1] for index, name in enumerate(found.estimates)}
    other = {name: [-9, 9] for name in errors}
    one, two = (replace(program, notes={"estimate_error": said}) for said in (errors, other))
    assert estimate_errors([one]) == errors
    assert estimate_errors([one, two]) == {**errors, **{name: [-9, 9] for name in of_second}}
    assert estimate_errors([one, replace(two, notes={**two.notes, "scale": 2})]) == errors


def test_two_programs_are_one_after_the_other(program: Program) -> None:
    runner, shown = TorchRunner(program), _picture(20, 30)
    found = Cascade(runner, 4, runner).restore(shown)
    first = restore_pixels(runner, shown)
    last = restore_pixels(runner, enlarge(first.pixels, 4))
    assert np.array_equal(found.pixels, last.pixels)
    assert found.estimates == first.estimates != last.estimates
    assert (found.interval >= last.interval).all()
    assert (found.interval > last.interval).any()
