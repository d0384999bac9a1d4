"""A larger network that begins as the same function as a smaller one.

What was learned is kept: a trained network is copied into one with more channels, more blocks or both, and
what is new changes no result until it is trained (Chen et al. 2016, "Net2Net"). New blocks add nothing,
because the last convolution of each of their branches is zero; new channels are not read by the former ones.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from restore_models.architecture import Architecture, Node, Operation, build_graph
from restore_models.network import is_last_of_branch, parameter_key

__all__ = ["can_grow", "grown"]


def can_grow(former: Architecture, shape: Architecture) -> bool:
    """Whether a network of `shape` can begin as one of `former` does: it has the same levels, of as many
    blocks, channels, attention heads and channels of a head each, or more. `fold` may differ."""
    if len(former.blocks) != len(shape.blocks):
        return False
    grows = (
        *zip(former.blocks, shape.blocks, strict=True),
        *zip(former.widths, shape.widths, strict=True),
        (former.head_channels, shape.head_channels),
        *zip(_heads(former), _heads(shape), strict=False),
    )
    alike = replace(
        former,
        fold=shape.fold,
        blocks=shape.blocks,
        widths=shape.widths,
        head_channels=shape.head_channels,
    )
    return alike == shape and all(before <= now for before, now in grows)


def _heads(shape: Architecture) -> list[int]:
    """How many each level with attention has."""
    return [
        width // shape.head_channels for width in shape.widths[len(shape.widths) - shape.attention_levels :]
    ]


@torch.no_grad()
def grown(
    weights: dict[str, Tensor], former: Architecture, begun: dict[str, Tensor], shape: Architecture
) -> dict[str, Tensor]:
    """The parameters of a network of `shape` that computes what one of `former` does with `weights`.

    Of networks that differ in `fold` the first and last convolutions do not fit: their kernels stay as begun.

    Args:
        weights: all parameters of the former network, by name.
        former: its shape; `can_grow(former, shape)`.
        begun: those that the larger network was begun with. It keeps them where it is new.
        shape: that of the larger network.
    """
    before, now = ({node.name: node for node in build_graph(one).nodes} for one in (former, shape))
    result = {name: tensor.clone() for name, tensor in begun.items()}
    for node in now.values():
        key = parameter_key(node.name)
        kernel, bias, table = f"convs.{key}.weight", f"convs.{key}.bias", f"position_bias.{key}"
        if node.name not in before:
            for name in (kernel, bias):
                if name in result and is_last_of_branch(name):
                    result[name].zero_()
        elif node.operation is Operation.ATTENTION:
            result[table][:, : before[node.name].heads] = weights[table]
        elif node.operation is Operation.CONV:
            if former.fold != shape.fold and _at_the_pixels(node):
                if result[bias].shape == weights[bias].shape:
                    result[bias] = weights[bias]
                continue
            source = before[node.name].inputs[0]
            rows, columns = (
                _channels(before[name], now[name], former, shape) for name in (node.name, source)
            )
            result[kernel][rows] = 0  # what is new among the inputs is not read
            result[kernel][rows[:, None], columns] = weights[kernel]
            result[bias][rows] = weights[bias]
            if node.name.endswith(".qkv"):
                _keep_scores(result[kernel], result[bias], before[node.name].channels // 3, former, shape)
    return result


def _at_the_pixels(node: Node) -> bool:
    return node.name in ("stem", "residual.head", "interval.head")


def _channels(before: Node, now: Node, former: Architecture, shape: Architecture) -> Tensor:
    """Where the channels of a former node are in the larger network: the first ones, of attention the first
    heads, and of each head the first channels."""
    if not (before.operation is Operation.ATTENTION or before.name.endswith(".qkv")):
        return torch.arange(before.channels)
    parts = 3 if before.name.endswith(".qkv") else 1
    part = torch.arange(parts)[:, None, None] * (now.channels // parts)
    head = torch.arange(before.channels // parts // former.head_channels)[:, None] * shape.head_channels
    return (part + head + torch.arange(former.head_channels)).reshape(-1)


def _keep_scores(kernel: Tensor, bias: Tensor, width: int, former: Architecture, shape: Architecture) -> None:
    """Leaves the scores of the former heads, of `width` channels together, as they were: with the query as
    much larger as the root of a head's channels, which scores are divided by, and without the keys' new
    channels."""
    query = torch.arange(width // former.head_channels * shape.head_channels)
    new = query[query % shape.head_channels >= former.head_channels]
    for values in (kernel, bias):
        values[query] *= (shape.head_channels / former.head_channels) ** 0.5
        values[len(values) // 3 + new] = 0
