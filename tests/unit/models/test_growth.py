"""A larger network that begins as a smaller one computes the same, and all that is new can learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from restore_models.architecture import Architecture
from restore_models.growth import can_grow, grown
from restore_models.network import RestorationNet

FORMER = Architecture(
    widths=(8, 16, 32), blocks=(1, 1, 2), attention_levels=2, head_channels=8, window=4, fold=1
)

LARGER = {
    "deeper": {"blocks": (2, 3, 4)},
    "wider": {"widths": (12, 24, 40)},
    "deeper heads": {"widths": (8, 24, 48), "head_channels": 12},
    "two levels alike": {"widths": (8, 32, 32)},
    "all of it": {"widths": (16, 32, 64), "blocks": (2, 2, 3), "head_channels": 16},
}


def _trained(shape: Architecture) -> RestorationNet:
    """A network none of whose parameters is what it is begun with."""
    network = RestorationNet(shape, seed=1)
    rng = np.random.default_rng(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.from_numpy(rng.normal(0, 0.05, parameter.shape).astype(np.float32)))
    return network


def _parameters(network: RestorationNet) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in network.named_parameters()}


def _grown(former: RestorationNet, shape: Architecture) -> RestorationNet:
    larger = RestorationNet(shape, seed=3)
    larger.load_state_dict(grown(_parameters(former), former.shape, _parameters(larger), shape))
    return larger


@pytest.mark.parametrize("changed", LARGER.values(), ids=list(LARGER))
def test_a_larger_network_begins_as_the_same_function(changed: dict[str, object]) -> None:
    shape = replace(FORMER, **changed)
    assert can_grow(FORMER, shape)
    former = _trained(FORMER)
    larger = _grown(former, shape)
    rng = np.random.default_rng(4)
    # Sides that leave windows partly outside the picture, where scores are masked.
    image = torch.from_numpy(rng.uniform(-1, 1, (2, 3, 48, 32)).astype(np.float32))
    with torch.no_grad():
        before, after = former(image), larger(image)
    for name, values in before.items():
        assert values.abs().max() > 0.01, name
        assert torch.allclose(values, after[name], atol=2e-5), name


def test_what_is_new_can_learn() -> None:
    shape = replace(FORMER, **LARGER["all of it"])  # type: ignore[arg-type]  # a dict of fields
    larger = _grown(_trained(FORMER), shape)
    rng = np.random.default_rng(5)
    image = torch.from_numpy(rng.uniform(-1, 1, (2, 3, 32, 32)).astype(np.float32))
    rate = 0.05
    for _ in range(4):
        outputs = larger(image)
        loss = (outputs["residual"] - image.flip(0)).square().mean() + outputs["estimate"].square().mean()
        larger.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in larger.parameters():
                if parameter.grad is not None:
                    parameter.sub_(rate * parameter.grad)
    asleep = [
        name
        for name, p in larger.named_parameters()
        if "interval" not in name and (p.grad is None or not bool((p.grad != 0).any()))
    ]
    assert asleep == []
    # and of a kernel that was there before, the part that reads new channels learns as well
    gradient = larger.convs["encoder0_0_conv1"].weight.grad
    assert isinstance(gradient, Tensor)
    assert bool((gradient[:8, 8:] != 0).any())


@pytest.mark.parametrize(
    "changed",
    [
        {"blocks": (1, 1, 1)},
        {"widths": (8, 16, 24)},
        {"widths": (8, 16), "blocks": (1, 1)},
        {"head_channels": 4},
        {"widths": (8, 16, 32), "head_channels": 16},
        {"window": 8},
        {"skip": "none"},
    ],
    ids=str,
)
def test_a_network_with_less_of_anything_cannot_begin_so(changed: dict[str, object]) -> None:
    assert not can_grow(FORMER, replace(FORMER, **changed))
