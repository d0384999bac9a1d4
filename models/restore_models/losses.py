"""Training losses, in network units (see `network.to_network_units`)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["QUANTILES", "fidelity_loss", "pinball_loss"]

QUANTILES = (0.05, 0.95)
"""What the two halves of the interval head aim at."""


def fidelity_loss(kind: str, difference: Tensor) -> Tensor:
    """Mean `charbonnier` (Lai et al. 2017; epsilon half an 8-bit level in these units), `l1` or `l2`."""
    if kind == "l2":
        return difference.square().mean()
    if kind == "l1":
        return difference.abs().mean()
    return torch.sqrt(difference.square() + 2e-3**2).mean()


def pinball_loss(interval: Tensor, point: Tensor, truth: Tensor) -> Tensor:
    """Quantile loss of [point - below, point + above] at `QUANTILES` (Koenker and Bassett 1978).

    `interval` is (batch, 6, h, w), >= 0: three channels below, three above. The point estimate is not
    pulled by it.
    """
    below, above = interval[:, :3], interval[:, 3:]
    error = truth - point.detach()
    low, high = QUANTILES
    beyond_low, beyond_high = error + below, error - above
    lower = functional.relu(beyond_low) * low + functional.relu(-beyond_low) * (1 - low)
    upper = functional.relu(beyond_high) * high + functional.relu(-beyond_high) * (1 - high)
    return (lower + upper).mean()
