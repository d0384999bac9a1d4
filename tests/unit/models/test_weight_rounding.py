"""Rounding that makes up for its errors: closer than to the nearest, and never beyond the certificate."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from restore_models.program import LIMIT
from restore_models.weight_rounding import InputSums, Made, Moments, round_weights, weight_exponents

GIVEN = Made(9, 2047)
EXPONENT = 8


def _kernel(seed: int, outputs: int = 6, inputs: int = 8, size: int = 3, scale: float = 0.1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, scale, (outputs, inputs, size, size))


def _related(count: int, seed: int) -> Moments:
    """Inputs that say much the same: a common part and a little of their own."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(0, 1, (count, 4))
    return Moments(rng.normal(0.5, 0.2, count), mixing @ mixing.T + 0.02 * np.eye(count))


def _variance(weight: np.ndarray, whole: np.ndarray, steps: list[int], moments: Moments) -> np.ndarray:
    left = (weight - whole / 2.0 ** np.array(steps)[:, None, None, None]).reshape(len(weight), -1)
    return np.asarray(np.einsum("ci,ij,cj->c", left, moments.covariance, left))


def test_related_inputs_are_rounded_more_closely_than_to_the_nearest() -> None:
    weight, bias = _kernel(1), np.zeros(6)
    moments = _related(72, 2)
    plain = round_weights(weight, bias, GIVEN, EXPONENT, None, None)
    made = round_weights(weight, bias, GIVEN, EXPONENT, None, moments)
    assert plain is not None
    assert made is not None
    before = _variance(weight, plain.whole, plain.steps, moments)
    after = _variance(weight, made.whole, made.steps, moments)
    assert (after <= before).all()
    assert after.sum() < 0.2 * before.sum()


def test_the_mean_error_goes_into_the_bias() -> None:
    weight, bias = _kernel(3), np.full(6, 0.25)
    moments = _related(72, 4)
    made = round_weights(weight, bias, GIVEN, EXPONENT, None, moments)
    assert made is not None
    rows = made.whole.reshape(6, -1) / 2.0 ** np.array(made.steps)[:, None]
    expected = weight.reshape(6, -1) @ moments.mean + bias
    np.testing.assert_allclose(rows @ moments.mean + made.bias, expected, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.floats(0.001, 3.0),
    offset=st.floats(-2.0, 2.0),
    added=st.one_of(st.none(), st.builds(Made, st.integers(4, 11), st.just(2047))),
)
def test_no_channel_leaves_the_exact_range(
    seed: int, scale: float, offset: float, added: Made | None
) -> None:
    weight, bias = _kernel(seed, scale=scale), np.full(6, offset)
    made = round_weights(weight, bias, GIVEN, EXPONENT, added, _related(72, seed))
    if made is None:
        assert weight_exponents(weight, bias, GIVEN, EXPONENT, added) is None
        return
    for whole, constant, step in zip(made.whole, made.bias, made.steps, strict=True):
        assert np.abs(whole).max() <= 127
        total = np.abs(whole).sum() * GIVEN.bound + abs(constant) * 2.0 ** (GIVEN.exponent + step)
        if added is not None:
            total += added.bound * 2.0 ** (GIVEN.exponent + step - added.exponent)
        assert total < LIMIT


def test_moments_are_those_of_what_a_convolution_reads() -> None:
    """With every position of the image drawn many times, both agree with the unfolded image."""
    rng = np.random.default_rng(5)
    image = torch.from_numpy(rng.normal(0.3, 1.0, (2, 3, 6, 8)).astype(np.float32))
    for kernel, padding, stride in ((1, 0, 1), (3, 1, 1), (2, 0, 2)):
        sums = InputSums()
        for _ in range(60):
            sums.add(image, kernel, rng)
        moments = sums.moments()
        columns = functional.unfold(image, kernel, padding=padding, stride=stride)
        read = columns.permute(1, 0, 2).reshape(columns.shape[1], -1).double().numpy()
        np.testing.assert_allclose(moments.mean, read.mean(axis=1), atol=0.03)
        np.testing.assert_allclose(moments.covariance, np.cov(read, bias=True), atol=0.06)
