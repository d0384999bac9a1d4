"""Training losses, in network units (see `network.to_network_units`)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["QUANTILES", "fidelity_loss", "pinball_loss"]

QUANTILES = (0.05, 0.95)
"""What the two halves of the interval head aim at."""


_FLOOR = 0.005
"""Loss below which an image gets no further weight: about one 8-bit level."""


def fidelity_loss(kind: str, difference: Tensor, *, balance: float = 0.0) -> Tensor:
    """Mean `charbonnier` (Lai et al. 2017; epsilon half an 8-bit level in these units), `l1` or `l2`.

    `difference` is (batch, 3, h, w). With `balance` an image counts by its own loss to the power of minus
    `balance`: 0 is the plain mean, in which strong damage drowns light damage; 1 weighs relative gains
    alike, as a loss on PSNR would. The weights have mean one and no gradient.
    """
    if kind == "l2":
        values = difference.square()
    elif kind == "l1":
        values = difference.abs()
    else:
        values = torch.sqrt(difference.square() + 2e-3**2)
    each = values.mean(dim=(1, 2, 3))
    weights = (each.detach() + _FLOOR).pow(-balance)
    return (each * weights / weights.mean()).mean()


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
