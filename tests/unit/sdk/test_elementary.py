"""Functions of basic arithmetic alone: close to the true value, and the same bits on every machine."""

from __future__ import annotations

import hashlib
import struct
from decimal import Decimal, localcontext

import numpy as np
import pytest

from restore_sdk.ciede2000 import delta_e_2000, lab
from restore_sdk.elementary import angle, cube_root, exp_of_minus, fifth_root, sine

GRID = np.linspace(0, 1, 4001)


def test_roots() -> None:
    x = 0.008 + 1.192 * GRID
    assert np.abs(cube_root(x) ** 3 / x - 1).max() < 3e-14
    x = 0.001 + 0.999 * GRID
    assert np.abs(fifth_root(x) ** 5 / x - 1).max() < 6e-15


@pytest.mark.parametrize("x", [0.0, 1e-9, 0.3, 0.6931471805599453, 1.0, 12.5, 120.0, 200.0])
def test_exponential_against_decimals(x: float) -> None:
    """Python's decimal module rounds exp correctly (General Decimal Arithmetic Specification)."""
    with localcontext(prec=40):
        true = Decimal(-x).exp()
        assert abs(Decimal(float(exp_of_minus(np.array([x]))[0])) / true - 1) < Decimal("1e-13")


def test_sine_and_angle() -> None:
    x = -1.1 + 2.2 * GRID
    assert np.abs(sine(x) - np.sin(x)).max() < 2e-15
    turn = (GRID - 0.5) * 4 * np.pi / 3
    assert np.abs(angle(np.cos(turn), np.sin(turn)) - turn).max() < 1e-12


def test_same_bits_as_on_the_machine_that_wrote_this() -> None:
    """Every pair of 12 sRGB colours, bit for bit: another processor or library must not change one."""
    levels = [0, 1, 40, 127, 200, 255]
    colours = np.array(
        [[r, g, b] for r, g, b in zip(levels * 2, levels[::-1] * 2, [9] * 6 + [230] * 6, strict=True)]
    )
    one, other = np.broadcast_arrays(colours[:, None], colours[None])
    values = delta_e_2000(lab(one.astype(np.uint8)), lab((other * 257).astype(np.uint16)))
    digest = hashlib.sha256(struct.pack("<144d", *values.ravel().tolist())).hexdigest()
    assert digest == "b158e656cf2127c24b5f1bb3c10e02f78a88306550d9265470b418ba098ac30d"
