"""Training losses, in network units (see `network.to_network_units`)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["QUANTILES", "detail_loss", "fidelity_loss", "frequency_loss", "pinball_loss", "ssim_loss"]

QUANTILES = (0.05, 0.95)
"""What the two halves of the interval head aim at."""


_RANGE = 1020 / 512
"""From black to white in network units."""

_FLOOR = 0.005
"""Loss below which an image gets no further weight: about one 8-bit level."""


def fidelity_loss(kind: str, difference: Tensor, *, balance: float = 0.0) -> Tensor:
    """Mean `charbonnier` (Lai et al. 2017; epsilon half an 8-bit level in these units), `l1`, `l2` or `psnr`.

    `psnr` is the mean logarithm of each image's mean square (the loss of Chen et al. 2022, NAFNet), over 64,
    which gives gradients of about the size of the others'; `balance` has no part in it.

    `difference` is (batch, 3, h, w). With `balance` an image counts by its own loss to the power of minus
    `balance`: 0 is the plain mean, in which strong damage drowns light damage; 1 weighs relative gains
    alike, as a loss on PSNR would. The weights have mean one and no gradient.
    """
    if kind == "psnr":
        return torch.log(difference.square().mean(dim=(1, 2, 3)) + _FLOOR**2).mean() / 64
    if kind == "l2":
        values = difference.square()
    elif kind == "l1":
        values = difference.abs()
    else:
        values = torch.sqrt(difference.square() + 2e-3**2)
    each = values.mean(dim=(1, 2, 3))
    weights = (each.detach() + _FLOOR).pow(-balance)
    return (each * weights / weights.mean()).mean()


def detail_loss(point: Tensor, truth: Tensor, *, ssim: float, frequency: float) -> Tensor | float:
    """`ssim_loss` and `frequency_loss` by their weights; a term of weight zero is not computed."""
    loss: Tensor | float = 0.0
    if ssim:
        loss = loss + ssim * ssim_loss(point, truth)
    if frequency:
        loss = loss + frequency * frequency_loss(point - truth)
    return loss


def ssim_loss(point: Tensor, truth: Tensor) -> Tensor:
    """1 minus the mean structural similarity (Wang et al. 2004) of (batch, 3, h, w), h and w at least 11.

    Windows are Gaussian, 11x11 with 1.5 pixels, and lie inside the image; each channel counts alike. The
    range of the samples is that of `network.to_network_units`, 1020 / 512.
    """
    channels = point.shape[1]
    places = torch.arange(11, device=point.device, dtype=point.dtype) - 5
    line = torch.exp(-(places**2) / (2 * 1.5**2))
    line = line / line.sum()

    def mean(values: Tensor) -> Tensor:
        """Over each window, along one side after the other."""
        across = functional.conv2d(values, line.expand(channels, 1, 1, 11), groups=channels)
        return functional.conv2d(across, line[:, None].expand(channels, 1, 11, 1), groups=channels)

    one, other = mean(point), mean(truth)
    one_variance = mean(point * point) - one * one
    other_variance = mean(truth * truth) - other * other
    covariance = mean(point * truth) - one * other
    c1, c2 = (0.01 * _RANGE) ** 2, (0.03 * _RANGE) ** 2
    similarity = (2 * one * other + c1) * (2 * covariance + c2)
    similarity = similarity / ((one * one + other * other + c1) * (one_variance + other_variance + c2))
    return 1 - similarity.mean()


def frequency_loss(difference: Tensor) -> Tensor:
    """Mean magnitude of the parts of the Fourier transform of (batch, 3, h, w) (Cho et al. 2021, MIMO-UNet).

    The transform is orthonormal, so that a weight means the same for patches of any size.
    """
    spectrum = torch.fft.rfft2(difference, norm="ortho")
    return torch.view_as_real(spectrum).abs().mean()


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
