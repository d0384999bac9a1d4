"""CIEDE2000 between sRGB samples, the same bits on every machine.

Samples are taken as sRGB (IEC 61966-2-1) under D65. Hue angles are never formed where a vector says the same:
what the standard asks of a mean hue are its cosines, and those follow from the sum of two unit vectors. All
functions are those of `elementary`.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore_sdk.elementary import angle, cube_root, exp_of_minus, fifth_root, sine

__all__ = ["delta_e_2000", "lab"]

Floats = NDArray[np.float64]

# Cosine and sine of the angles that the standard names.
_COS_6, _SIN_6 = 0.9945218953682733, 0.10452846326765347
_COS_30, _SIN_30 = 0.8660254037844386, 0.5
_COS_63, _SIN_63 = 0.45399049973954675, 0.8910065241883678
_COS_275, _SIN_275 = 0.08715574274765817, -0.9961946980917455
_RADIAN = 57.29577951308232
"""In degrees."""


@functools.cache
def _linear(bits: int) -> Floats:
    """Linear light of every sample value (IEC 61966-2-1, 5.2)."""
    value = np.arange(1 << bits) / ((1 << bits) - 1)
    base = (np.maximum(value, 0.04) + 0.055) / 1.055
    square = base * base
    # base^2.4 = base^2 * (base^2)^(1/5)
    return np.where(value <= 0.04045, value / 12.92, square * fifth_root(square))


def lab(samples: NDArray[Any]) -> Floats:
    """`(3, ...)` CIE L*a*b* of uint8 or uint16 samples, `(H, W)` grey or `(H, W, 3)` sRGB.

    The white is the matrix's own, so that grey has a* = b* = 0.
    """
    light = _linear(samples.dtype.itemsize * 8)[samples]
    if samples.ndim == 2:
        lightness = _f(light)
        return np.stack((116 * lightness - 16, np.zeros_like(light), np.zeros_like(light)))
    red, green, blue = light[..., 0], light[..., 1], light[..., 2]
    x = _f((0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505)
    y = _f(0.2126 * red + 0.7152 * green + 0.0722 * blue)
    z = _f((0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.0890)
    return np.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)))


def _f(ratio: Floats) -> Floats:
    """The cube root of CIE L*a*b* with its straight start (CIE 15:2004, 8.2.1)."""
    root = cube_root(np.maximum(ratio, 0.008))
    return np.where(ratio > 216 / 24389, root, (24389 / 27 * ratio + 16) / 116)


def _saturation(chroma: Floats) -> Floats:
    """The square root of C^7 / (C^7 + 25^7)."""
    cubed = chroma * chroma * chroma
    seventh = cubed * cubed * chroma
    result: Floats = np.sqrt(seventh / (seventh + 6103515625.0))
    return result


def delta_e_2000(first: Floats, second: Floats) -> Floats:
    """CIEDE2000 of `(3, ...)` CIE L*a*b* arrays, kL = kC = kH = 1.

    Numbers in the comments are the equations of Sharma, Wu, Dalal, Color Research & Application 30 (2005) 21.
    """
    (l1, a1, b1), (l2, a2, b2) = first, second
    stretch = 1.5 - 0.5 * _saturation(
        (np.sqrt(a1 * a1 + b1 * b1) + np.sqrt(a2 * a2 + b2 * b2)) / 2
    )  # (2) to (4)
    a1, a2 = stretch * a1, stretch * a2  # (5)
    c1, c2 = np.sqrt(a1 * a1 + b1 * b1), np.sqrt(a2 * a2 + b2 * b2)  # (6)
    delta_h = _hue_difference(a1, b1, c1, a2, b2, c2)
    cos1, sin1 = _mean_hue(a1, b1, c1, a2, b2, c2)
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2  # (12), (13)

    cos2, sin2 = 2 * cos1 * cos1 - 1, 2 * cos1 * sin1
    cos3, sin3 = cos1 * cos2 - sin1 * sin2, sin1 * cos2 + cos1 * sin2
    cos4, sin4 = 2 * cos2 * cos2 - 1, 2 * cos2 * sin2
    weight = (
        1
        - 0.17 * (_COS_30 * cos1 + _SIN_30 * sin1)
        + 0.24 * cos2
        + 0.32 * (_COS_6 * cos3 - _SIN_6 * sin3)
        - 0.20 * (_COS_63 * cos4 + _SIN_63 * sin4)
    )  # (15)
    from_50 = mean_l - 50
    from_50 = from_50 * from_50
    lightness = (l2 - l1) / (1 + 0.015 * from_50 / np.sqrt(20 + from_50))  # (8), (18)
    chroma = (c2 - c1) / (1 + 0.045 * mean_c)  # (9), (19)
    hue = delta_h / (1 + 0.015 * mean_c * weight)  # (20)
    turning = -2 * _saturation(mean_c) * sine(_rotation(cos1, sin1))  # (17), (21)
    squared = lightness * lightness + chroma * chroma + hue * hue + turning * chroma * hue  # (22)
    result: Floats = np.sqrt(np.maximum(squared, 0))
    return result


def _hue_difference(a1: Floats, b1: Floats, c1: Floats, a2: Floats, b2: Floats, c2: Floats) -> Floats:
    """Delta H' of (10) and (11): 2 sqrt(C1' C2') sin(dh' / 2), which is sqrt(2 (C1' C2' - a1' a2' - b1 b2)).

    The radicand is |u|^2 with u = sqrt(C2' / C1') p1 - sqrt(C1' / C2') p2; taken so, nothing cancels.
    """
    coloured = (c1 > 0) & (c2 > 0)
    ratio = np.sqrt(np.where(coloured, c2, 1) / np.where(coloured, c1, 1))
    a, b = ratio * a1 - a2 / ratio, ratio * b1 - b2 / ratio
    size = np.sqrt(a * a + b * b)
    backwards = a1 * b2 - b1 * a2 < 0
    return np.where(coloured, np.where(backwards, -size, size), 0.0)


def _mean_hue(
    a1: Floats, b1: Floats, c1: Floats, a2: Floats, b2: Floats, c2: Floats
) -> tuple[Floats, Floats]:
    """Cosine and sine of the mean hue (14): the direction half way along the shorter arc.

    A grey has no hue and the other's counts; of two greys it is 0. Between opposite hues, which have two
    middles, (14) takes the one that is a quarter turn from the smaller angle.
    """
    x = a1 / np.where(c1 > 0, c1, 1) + a2 / np.where(c2 > 0, c2, 1)
    y = b1 / np.where(c1 > 0, c1, 1) + b2 / np.where(c2 > 0, c2, 1)
    size = np.sqrt(x * x + y * y)
    both_grey = (c1 <= 0) & (c2 <= 0)
    opposite = (size <= 0) & ~both_grey
    lower_half = (b1 < 0) | ((b1 == 0) & (a1 < 0))  # the first angle is a half turn or more
    turned = np.where(lower_half, -1.0, 1.0) / np.where(c1 > 0, c1, 1)
    whole = np.where(size > 0, size, 1)
    cosine = np.where(both_grey, 1.0, np.where(opposite, -b1 * turned, x / whole))
    sine_ = np.where(both_grey, 0.0, np.where(opposite, a1 * turned, y / whole))
    return cosine, sine_


def _rotation(cosine: Floats, sine_: Floats) -> Floats:
    """Twice delta theta of (16), in radians: 60 degrees times exp(-((h - 275) / 25)^2), h in [0, 360)."""
    x = cosine * _COS_275 + sine_ * _SIN_275
    y = sine_ * _COS_275 - cosine * _SIN_275
    steps = angle(x, y) * (_RADIAN / 25)
    bell = exp_of_minus(steps * steps)
    # Beyond 85 degrees up, h has passed 360 and begun again at 0, 275 degrees away; so far away, and also
    # beyond 120 degrees down, the bell is below 1e-9 and taken as 0.
    near = (x > -0.5) & (steps < 85 / 25)
    return np.where(near, 1.0471975511965976 * bell, 0.0)
