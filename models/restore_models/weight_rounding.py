"""Rounding of a convolution's weights to whole steps that fit the certificate, errors made up for.

Rounding each weight to the nearest step treats inputs as unrelated. They are not: neighbouring pixels and
channels say much the same, so what one weight rounds off the next can make up for. Weights are rounded one
after another, and the error of each is spread over those not yet rounded so that the result changes least
over the calibration images (Frantar et al. 2023, "GPTQ", algorithm 1; Hassibi and Stork 1993 for the
update). The mean error left goes into the bias, which is rounded far more finely.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from restore_models.program import LIMIT

__all__ = ["InputSums", "Made", "Moments", "Rounded", "round_weights", "weight_exponents"]

_LARGEST = 127
_DAMPING = 0.003
"""Share of the mean variance added to every input's, as GPTQ does: calibration images are not all images."""

_BLOCK = 64
"""Columns that are rounded before the error is spread beyond them: only a matter of speed."""

_ROWS = 1024
"""Positions a calibration batch."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Made:
    """A result in steps of 2^-exponent, at most `bound` steps from zero."""

    exponent: int
    bound: int


@dataclass(frozen=True)
class Moments:
    """Mean (n,) and covariance (n, n) of what one output position reads: n = inputs x kernel x kernel."""

    mean: Floats
    covariance: Floats


class InputSums:
    """Collects the moments of a convolution's input over calibration images."""

    def __init__(self) -> None:
        self._count = 0
        self._first: Floats | None = None
        self._second: Floats | None = None

    def add(self, image: Tensor, kernel: int, rng: np.random.Generator) -> None:
        """Takes in what `_ROWS` random positions of (batch, channels, height, width) read; a kernel of 2 has
        stride 2, one of 3 is padded by 1."""
        stride, edge = (2, 0) if kernel == 2 else (1, kernel // 2)
        padded = functional.pad(image, (edge,) * 4)
        places = [
            torch.from_numpy(rng.integers(0, size, _ROWS))
            for size in (image.shape[0], image.shape[2] // stride, image.shape[3] // stride)
        ]
        patches = [
            padded[places[0], :, places[1] * stride + y, places[2] * stride + x]
            for y in range(kernel)
            for x in range(kernel)
        ]
        rows = torch.stack(patches, dim=2).flatten(1).double().numpy()  # inputs outermost, as in a kernel
        first, second = rows.sum(axis=0), rows.T @ rows
        self._first = first if self._first is None else self._first + first
        self._second = second if self._second is None else self._second + second
        self._count += _ROWS

    def moments(self) -> Moments:
        """Of all that was added, which must have been something."""
        assert self._first is not None  # noqa: S101 -- a fault of the caller
        assert self._second is not None  # noqa: S101
        mean = self._first / self._count
        return Moments(mean, self._second / self._count - np.outer(mean, mean))


@dataclass(frozen=True)
class Rounded:
    """`whole`: weights in steps of 2^-steps[channel]; `bias`: what is to be added, in the result's unit."""

    whole: NDArray[Any]
    bias: Floats
    steps: list[int]


@dataclass(frozen=True)
class _Frame:
    """What the certificate of one convolution depends on beside its weights."""

    given: Made
    exponent: int
    added: Made | None

    def fits(self, whole: NDArray[Any], bias: float, step: int) -> bool:
        """Whether one channel's weights are int8 and no partial sum of it can leave the exact range."""
        total_exponent = self.given.exponent + step
        shift = total_exponent - self.exponent
        if np.abs(whole).max() > _LARGEST or not 0 <= shift <= 24:
            return False
        total = np.abs(whole).sum() * self.given.bound + abs(bias) * 2.0**total_exponent + 2.0**shift
        if self.added is not None:
            if total_exponent < self.added.exponent:
                return False
            total += self.added.bound * 2.0 ** (total_exponent - self.added.exponent)
        return bool(total < LIMIT)

    def finest(self, weight: Floats, bias: float) -> int | None:
        """The finest step of one channel, each weight rounded to the nearest; None if there is none."""
        for step in range(min(24, 24 + self.exponent - self.given.exponent), -8, -1):
            if self.fits(np.rint(weight * 2.0**step), bias, step):
                return step
        return None


def weight_exponents(
    weight: Floats, bias: Floats, given: Made, exponent: int, added: Made | None
) -> list[int] | None:
    """The finest power-of-two step of each output channel; None if a channel has none.

    Args:
        weight: (outputs, inputs, k, k).
        bias: (outputs,).
        given: the input of the convolution.
        exponent: of its result.
        added: what is summed with it in the same accumulator.
    """
    frame = _Frame(given, exponent, added)
    steps = []
    for channel, offset in zip(weight, bias, strict=True):
        step = frame.finest(channel, float(offset))
        if step is None:
            return None
        steps.append(step)
    return steps


def round_weights(
    weight: Floats, bias: Floats, given: Made, exponent: int, added: Made | None, moments: Moments | None
) -> Rounded | None:
    """Weights in whole steps that keep the certificate; None if a channel cannot have them.

    Each channel is rounded to the nearest or, with `moments`, so that errors make up for one another, at the
    finest step or the next; whichever changes the result least and keeps the certificate is taken.

    Args:
        moments: of the convolution's input over calibration images.
        others: as for `weight_exponents`.
    """
    steps = weight_exponents(weight, bias, given, exponent, added)
    if steps is None:
        return None
    sizes = 2.0 ** np.array(steps, np.float64)
    rows = weight.reshape(len(weight), -1)
    whole = np.rint(rows * sizes[:, None])
    if moments is None:
        return Rounded(whole.reshape(weight.shape), bias, steps)
    frame = _Frame(given, exponent, added)
    bias_made = bias + (rows - whole / sizes[:, None]) @ moments.mean
    best = _errors(rows, whole, sizes, moments)
    # A mean error moved into the bias could break the certificate; then the bias stays as it was.
    for channel, step in enumerate(steps):
        if not frame.fits(whole[channel], float(bias_made[channel]), step):
            bias_made[channel] = bias[channel]
    inverse = _inverse_root(moments.covariance)
    for coarser in (0, 1):
        tried_steps = [step - coarser for step in steps]
        tried_sizes = sizes / 2.0**coarser
        tried = _compensated(rows, tried_sizes, inverse)
        offsets = bias + (rows - tried / tried_sizes[:, None]) @ moments.mean
        errors = _errors(rows, tried, tried_sizes, moments)
        for channel, step in enumerate(tried_steps):
            if errors[channel] < best[channel] and frame.fits(tried[channel], float(offsets[channel]), step):
                whole[channel], bias_made[channel] = tried[channel], offsets[channel]
                steps[channel], best[channel] = step, errors[channel]
    return Rounded(whole.reshape(weight.shape), bias_made, steps)


def _errors(rows: Floats, whole: Floats, sizes: Floats, moments: Moments) -> Floats:
    """Variance of what rounding changes in the result of each channel."""
    left = rows - whole / sizes[:, None]
    result: Floats = np.einsum("ci,ij,cj->c", left, moments.covariance, left, optimize=True)
    return result


def _inverse_root(covariance: Floats) -> Floats:
    """Upper triangular U with U^T U the inverse of the damped covariance."""
    extra = _DAMPING * float(np.trace(covariance)) / len(covariance) + 1e-12
    inverse = np.linalg.inv(covariance + extra * np.eye(len(covariance)))
    return np.asarray(np.linalg.cholesky((inverse + inverse.T) / 2).T, np.float64)


def _compensated(rows: Floats, sizes: Floats, inverse: Floats) -> Floats:
    """GPTQ: rounds column after column, spreading the error of each over the columns after it."""
    left = rows.copy()
    whole = np.empty_like(rows)
    count = rows.shape[1]
    for first in range(0, count, _BLOCK):
        last = min(first + _BLOCK, count)
        errors = np.empty((len(rows), last - first))
        for column in range(first, last):
            whole[:, column] = np.clip(np.rint(left[:, column] * sizes), -_LARGEST, _LARGEST)
            error = (left[:, column] - whole[:, column] / sizes) / inverse[column, column]
            left[:, column:last] -= np.outer(error, inverse[column, column:last])
            errors[:, column - first] = error
        left[:, last:] -= errors @ inverse[first:last, last:]
    return whole
