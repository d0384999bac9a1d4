"""What a network costs: weights and multiply-adds, counted from its list of operations."""

from __future__ import annotations

from restore_models.architecture import Architecture, Operation, build_graph

__all__ = ["multiply_adds", "weight_count"]


def multiply_adds(shape: Architecture, height: int = 256, width: int = 256) -> int:
    """Products of convolutions and of attention (queries by keys, weights by values) for one image.

    The sides are rounded up to the network's multiple, as they are when it runs. The field's tables count at
    256 x 256. Additions, bias, softmax and rescaling are left out, as there.
    """
    graph = build_graph(shape)
    size = tuple(-(-side // graph.multiple) * graph.multiple for side in (height, width))
    channels, positions = {"image": 3}, {"image": size[0] * size[1]}
    total = 0
    for node in graph.nodes:
        source = node.inputs[0] if node.inputs else node.name
        here = positions[source]
        channels[node.name] = node.channels or channels[source]
        if node.operation is Operation.CONV:
            here //= node.kernel**2 if node.kernel == 2 else 1
            total += here * node.channels * channels[source] * node.kernel**2
        elif node.operation is Operation.ATTENTION:
            total += 2 * here * node.window**2 * node.channels
        elif node.operation is Operation.FOLD:
            here //= node.block**2
        elif node.operation is Operation.UNFOLD:
            here *= node.block**2
        positions[node.name] = here
    return total


def weight_count(shape: Architecture) -> int:
    """The weights of the convolutions, without biases and position tables."""
    graph = build_graph(shape)
    channels = {"image": 3}
    total = 0
    for node in graph.nodes:
        channels[node.name] = node.channels or channels[node.inputs[0]]
        if node.operation is Operation.CONV:
            total += node.channels * channels[node.inputs[0]] * node.kernel**2
    return total
