"""Elementary functions of binary64 arrays, the same bits on every machine.

Mathematical libraries differ in the last bits of cube roots, sines and exponentials, and a map that a record
hashes must not. Everything here is made of +, -, *, / and square roots, which IEEE 754 (2019, clause 5.4.1)
rounds correctly, one array operation at a time, so that no compiler can contract two of them into one; and of
comparisons and scalings by powers of two, which round nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["angle", "cube_root", "exp_of_minus", "fifth_root", "sine"]

Floats = NDArray[np.float64]

_LN2 = 0.6931471805599453


def cube_root(x: Floats) -> Floats:
    """For x in [0.008, 1.2]; relative error below 1e-14."""
    root = 0.25 + 0.8 * x  # within 30 %
    for _ in range(3):  # Halley's iteration, which cubes the error
        cubed = root * root * root
        root = root * ((cubed + 2 * x) / (2 * cubed + x))
    return root


def fifth_root(x: Floats) -> Floats:
    """For x in [0.001, 1]; relative error below 1e-15."""
    root = np.ones_like(x)
    for _ in range(20):  # Newton's iteration, from above
        fourth = (root * root) * (root * root)
        root = (4 * root + x / fourth) / 5
    return root


def exp_of_minus(x: Floats) -> Floats:
    """exp(-x) for x >= 0; relative error below 1e-13 up to 200, growing with x."""
    halvings = np.floor(x / _LN2)
    rest = halvings * _LN2 - x  # in [-ln 2, 0]
    total = np.ones_like(x)
    for n in range(16, 0, -1):  # Horner's form of the series
        total = 1 + (rest / n) * total
    return np.ldexp(total, -np.minimum(halvings, 1000).astype(np.int32))


def sine(x: Floats) -> Floats:
    """For x in [-1.1, 1.1]; absolute error below 1e-15."""
    square = x * x
    total = np.ones_like(x)
    for n in range(18, 0, -2):
        total = 1 - square / (n * (n + 1)) * total
    return x * total


def angle(cosine: Floats, sine: Floats) -> Floats:
    """The angle in radians, in [-2 pi / 3, 2 pi / 3], of a unit vector; absolute error below 1e-13.

    Directions further round come out somewhere between there and pi, which is not more exact.
    """
    tangent = sine / np.maximum(1 + cosine, 0.5)  # of half the angle
    for _ in range(2):
        tangent = tangent / (1 + np.sqrt(1 + tangent * tangent))  # of half of it again
    square = tangent * tangent
    total = np.zeros_like(square)
    for n in range(21, 0, -2):  # the series of the arc tangent
        total = 1 / n - square * total
    return 8 * tangent * total
