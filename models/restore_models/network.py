"""The network in floating point, for training and for the labelled preview."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from restore_models.architecture import Architecture, Graph, Node, Operation, build_graph

__all__ = [
    "RestorationNet",
    "from_network_units",
    "is_last_of_branch",
    "last_readers",
    "parameter_key",
    "relative_positions",
    "to_network_units",
    "window_mask",
]


def to_network_units(image: Tensor) -> Tensor:
    """From [0, 1] samples to the network's units, (1020 x - 510) / 512.

    One step of 2^-9 is a quarter of an 8-bit level, so that 8-bit samples are whole numbers of steps.
    """
    return (image * 1020.0 - 510.0) / 512.0


def from_network_units(values: Tensor) -> Tensor:
    """The reverse of `to_network_units`."""
    return (values * 512.0 + 510.0) / 1020.0


def relative_positions(window: int) -> Tensor:
    """Index of each (query, key) pair into a table of (2 window - 1)^2 offsets; shape (n, n), n = window^2.

    Liu et al. 2021, section 3.2, "relative position bias".
    """
    steps = torch.arange(window)
    y = steps.repeat_interleave(window)
    x = steps.repeat(window)
    dy = y[:, None] - y[None, :] + window - 1
    dx = x[:, None] - x[None, :] + window - 1
    return dy * (2 * window - 1) + dx


def window_mask(height: int, width: int, window: int, shift: int) -> Tensor:
    """Which keys of each window lie inside the image: bool, shape (windows, window^2).

    Windows start `shift` positions above and left of the image; what lies outside is not attended to.
    """
    rows = (height + shift + window - 1) // window
    columns = (width + shift + window - 1) // window
    y = torch.arange(rows * window) - shift
    x = torch.arange(columns * window) - shift
    inside = ((y >= 0) & (y < height))[:, None] & ((x >= 0) & (x < width))[None, :]
    inside = inside.reshape(rows, window, columns, window).permute(0, 2, 1, 3)
    return inside.reshape(rows * columns, window * window)


class RestorationNet(nn.Module):
    """A graph with float parameters.

    `forward` takes (batch, 3, height, width) in network units, both sides multiples of `graph.multiple`,
    and returns `residual` (batch, 3, h, w), `interval` (batch, 6, h, w; three below then three above)
    and `estimate` (batch, 4, h / lowest, w / lowest). The weights are drawn from `seed`, the last of each
    residual branch `residual_scale` times as large as others.
    """

    def __init__(self, shape: Architecture, *, seed: int = 0, residual_scale: float = 0.1) -> None:
        super().__init__()
        rng = np.random.default_rng([seed, 11])
        self.shape = shape
        self.graph: Graph = build_graph(shape)
        self.convs = nn.ModuleDict()
        self.position_bias = nn.ParameterDict()
        channels: dict[str, int] = {}
        for node in self.graph.nodes:
            channels[node.name] = node.channels
            if node.operation is Operation.CONV:
                self.convs[parameter_key(node.name)] = _conv(
                    node, channels[node.inputs[0]], rng, residual_scale
                )
            elif node.operation is Operation.ATTENTION:
                self.position_bias[parameter_key(node.name)] = nn.Parameter(
                    torch.zeros((2 * node.window - 1) ** 2, node.heads)
                )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        values: dict[str, Tensor] = {"image": image}
        outputs: dict[str, Tensor] = {}
        last = last_readers(self.graph)
        for node in self.graph.nodes:
            if node.operation is Operation.OUTPUT:
                outputs[node.name] = values[node.inputs[0]]
            elif node.operation is not Operation.INPUT:
                values[node.name] = self.run_node(node, [values[name] for name in node.inputs])
            for name in node.inputs:
                if last[name] == node.name:
                    values.pop(name, None)
        return outputs

    def run_node(self, node: Node, inputs: list[Tensor]) -> Tensor:
        """One operation on its inputs."""
        match node.operation:
            case Operation.CONV:
                result = self.convs[parameter_key(node.name)](inputs[0])
                return functional.relu(result) if node.relu else result
            case Operation.ADD:
                return inputs[0] + inputs[1]
            case Operation.FOLD:
                return functional.pixel_unshuffle(inputs[0], node.block)
            case Operation.UNFOLD:
                return functional.pixel_shuffle(inputs[0], node.block)
            case Operation.ATTENTION:
                return _attention(node, inputs[0], self.position_bias[parameter_key(node.name)])
            case Operation.INPUT | Operation.OUTPUT:
                return inputs[0]


def last_readers(graph: Graph) -> dict[str, str]:
    """For each node the last one that reads it, after which its result can be let go."""
    return {source: node.name for node in graph.nodes for source in node.inputs}


def parameter_key(name: str) -> str:
    """What the parameters of a node of this name are called: module names may not hold a full stop."""
    return name.replace(".", "_")


_LAST_OF_BRANCH = (".conv2", ".project", ".mlp2")
"""How the nodes end whose result is added to what went into their branch."""


def is_last_of_branch(parameter: str) -> bool:
    """Whether a parameter, by its name, is of the last convolution of a residual branch."""
    return parameter.rpartition(".")[0].endswith(tuple(map(parameter_key, _LAST_OF_BRANCH)))


def _conv(node: Node, sources: int, rng: np.random.Generator, residual_scale: float) -> nn.Conv2d:
    stride, padding = (2, 0) if node.kernel == 2 else (1, node.kernel // 2)
    conv = nn.Conv2d(sources, node.channels, node.kernel, stride, padding)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    gain = (2.0 if node.relu else 1.0) / (sources * node.kernel**2)
    if node.name.endswith(_LAST_OF_BRANCH):
        # Each residual branch starts small: without norms this is what keeps a deep sum in range.
        gain = residual_scale**2 * 2.0 / (sources * node.kernel**2)
    elif node.name.endswith(".head"):
        gain *= 0.01
    # torch's own generators differ between instruction sets; NumPy's do not.
    values = rng.standard_normal(tuple(conv.weight.shape), dtype=np.float32) * np.float32(gain**0.5)
    conv.weight.data = torch.from_numpy(values)
    return conv


@lru_cache(maxsize=16)
def _positions(window: int, device: torch.device) -> Tensor:
    """`relative_positions`, in one row. Kept: copying it to a GPU at every step would make it wait."""
    with torch.inference_mode(False):
        return relative_positions(window).reshape(-1).to(device)


@lru_cache(maxsize=16)
def _outside(height: int, width: int, window: int, shift: int, device: torch.device) -> Tensor | None:
    """What is added to the scores of keys outside the image, (windows, 1, 1, window^2); None: none is."""
    with torch.inference_mode(False):
        inside = window_mask(height, width, window, shift)
        if bool(inside.all()):
            return None
        return (~inside).to(torch.float32).mul(-1e4)[:, None, None, :].to(device)


def _attention(node: Node, qkv: Tensor, table: Tensor) -> Tensor:
    batch, _, height, width = qkv.shape
    window, shift, heads = node.window, node.shift, node.heads
    rows = (height + shift + window - 1) // window
    columns = (width + shift + window - 1) // window
    below, right = rows * window - height - shift, columns * window - width - shift
    depth, places = node.channels // heads, window * window
    # Channels last, as the convolutions have them, so that only the windows are copied.
    last = qkv.permute(0, 2, 3, 1)
    if shift or below or right:
        last = functional.pad(last, (0, 0, shift, right, shift, below))
    split = last.reshape(batch, rows, window, columns, window, 3, heads, depth)
    split = split.permute(5, 0, 1, 3, 6, 2, 4, 7)
    query, key, value = split.reshape(3, batch, rows * columns, heads, places, depth)
    bias = table[_positions(window, table.device)]
    bias = bias.reshape(places, places, heads).permute(2, 0, 1)[None]
    outside = _outside(height, width, window, shift, qkv.device)
    if outside is not None:
        bias = bias + outside.to(bias.dtype)
    scores = torch.matmul(query * depth**-0.5, key.transpose(-1, -2)) + bias.to(query.dtype)
    shares = scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(value.dtype)
    mixed = torch.matmul(shares, value)
    mixed = mixed.reshape(batch, rows, columns, heads, window, window, depth).permute(0, 1, 4, 2, 5, 3, 6)
    mixed = mixed.reshape(batch, rows * window, columns * window, node.channels)
    return mixed[:, shift : shift + height, shift : shift + width].permute(0, 3, 1, 2)
