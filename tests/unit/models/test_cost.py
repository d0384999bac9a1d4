"""Multiply-adds and weights, counted by hand and by running the network."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from restore_models.architecture import PRESETS, Operation, build_graph
from restore_models.cost import multiply_adds, weight_count
from restore_models.network import RestorationNet


@pytest.mark.parametrize("preset", ["tiny", "small"])
@pytest.mark.parametrize("side", [64, 128])
def test_convolutions_are_what_a_run_counts(preset: str, side: int) -> None:
    shape = replace(PRESETS[preset], attention_levels=0)
    network = RestorationNet(shape).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, side, side))
    assert 2 * multiply_adds(shape, side, side) == counter.get_total_flops()


def test_attention_by_hand() -> None:
    shape = PRESETS["tiny"]  # two blocks at a quarter of the resolution, 32 channels
    plain = replace(shape, attention_levels=0)
    positions = (64 // 4) ** 2
    products = positions * 2 * 8**2 * 32
    # qkv, projection and a perceptron twice as wide
    kernels = positions * (3 + 1 + 2 + 2) * 32**2
    attention = multiply_adds(shape, 64, 64) - multiply_adds(plain, 64, 64)
    blocks = sum(node.operation is Operation.ATTENTION for node in build_graph(shape).nodes)
    assert attention == blocks * (products + kernels)


def test_weights_are_those_of_the_convolutions() -> None:
    for shape in (PRESETS["tiny"], PRESETS["small"]):
        network = RestorationNet(shape)
        kernels = sum(p.numel() for p in network.parameters() if p.ndim == 4)
        assert weight_count(shape) == kernels


def test_sides_are_rounded_up_as_in_a_run() -> None:
    shape = PRESETS["small"]
    assert multiply_adds(shape, 65, 64) == multiply_adds(shape, 128, 64) == 2 * multiply_adds(shape, 64, 64)
