"""The restoration network as a list of operations: one description, many executors.

The network is a Swin-UNet: residual 3x3 convolutions where the resolution is high, the same plus
shifted-window attention (Liu et al. 2021, "Swin Transformer") where it is low, added skips
(Zhang et al. 2021, "DRUNet") and a residual output. It is described by seven kinds of operation and
nothing else, so that the same list can be run in floating point for training (`network.py`) and as
integers for evidence (`program.py` and the executors). There is no normalisation layer: a norm's
statistics would have to be summed in a fixed order on every machine.

Channel layout is (batch, channels, height, width). Resolutions are fractions of the image: where the first
operation folds 2x2 pixels into channels, level 0 works at half the image's resolution.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from restore_manifests.errors import ModelError

__all__ = ["ESTIMATES", "PRESETS", "Architecture", "Graph", "Node", "Operation", "build_graph"]

ESTIMATES = ("noise_sigma", "blur_sigma", "jpeg_loss", "scale_log2")
"""What the estimate head says, in order; units and ranges are in `degradations.Applied`."""


class Operation(StrEnum):
    """The kinds of operation a program is made of."""

    INPUT = "input"
    CONV = "conv"
    ADD = "add"
    ATTENTION = "window_attention"
    FOLD = "space_to_depth"
    UNFOLD = "depth_to_space"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class Node:
    """One operation. `inputs` name earlier nodes; unused fields are zero."""

    operation: Operation
    name: str
    inputs: tuple[str, ...] = ()
    channels: int = 0
    """Channels of the result."""
    kernel: int = 0
    """Side of a convolution's kernel: 1, 3 (zero padded by one) or 2 (stride two)."""
    relu: bool = False
    """Whether a convolution's result is clamped at zero from below."""
    block: int = 0
    """Side of the square that folding and unfolding move between space and channels."""
    heads: int = 0
    window: int = 0
    shift: int = 0
    """How far the attention windows are moved up and left, in positions of that level."""


@dataclass(frozen=True, slots=True)
class Graph:
    """The operations in running order, with the factor to which image sides are padded."""

    nodes: tuple[Node, ...]
    multiple: int
    """Image sides are padded to a multiple of this many pixels."""
    halo: int
    """Pixels round a tile, itself aligned to `multiple`, beyond which nothing can change the tile."""

    def outputs(self) -> tuple[Node, ...]:
        """The results: `residual`, `interval` and `estimate`."""
        return tuple(node for node in self.nodes if node.operation is Operation.OUTPUT)


@dataclass(frozen=True, slots=True)
class Architecture:
    """What decides the shape of a network. All of it is stored with the weights."""

    widths: tuple[int, ...] = (64, 128, 192)
    """Channels of each level; the first works at 1/`fold` of the image's resolution, each next at half."""
    blocks: tuple[int, ...] = (2, 2, 4)
    """Residual blocks a level: on each side of the U, and in all at the lowest level."""
    attention_levels: int = 1
    """How many of the lowest levels carry window attention."""
    head_channels: int = 32
    """Channels of an attention head."""
    window: int = 8
    mlp_ratio: int = 2
    fold: int = 2
    """Side of the blocks of pixels that the first level takes as channels; 1: it works on the pixels."""
    skip: str = "add"
    """How a level's result on the way down joins that on the way up: `add`; `project`, both through 1x1
    convolutions first, which is concatenation with one convolution after it; or `none`."""

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.blocks) or len(self.widths) < 2:
            raise ModelError(
                f"The architecture names {len(self.widths)} widths and {len(self.blocks)} block counts.",
                hint="Give as many block counts as widths, at least two of each.",
            )
        if self.fold not in (1, 2, 4):
            raise ModelError(
                f"The architecture folds blocks of {self.fold} pixels.", hint="Give fold as 1, 2 or 4."
            )
        if self.skip not in ("add", "project", "none"):
            raise ModelError(
                f"There are no skips called {self.skip!r}.", hint="Give skip as add, project or none."
            )
        for width in self.widths[len(self.widths) - self.attention_levels :]:
            if width % self.head_channels:
                raise ModelError(
                    f"Width {width} does not divide into heads of {self.head_channels} channels.",
                    hint="Make the widths of attention levels multiples of head_channels.",
                )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Architecture:
        """The reverse of `to_dict`; refuses unknown names with `ModelError`."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ModelError(
                f"The architecture has unknown fields: {', '.join(unknown)}.",
                hint="Use a model made by this version of restore.",
            )
        plain: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        return cls(**plain)


PRESETS = {
    "small": Architecture(),
    "fine": Architecture(
        widths=(24, 48, 96, 192), blocks=(2, 2, 2, 2), attention_levels=2, head_channels=24, fold=1
    ),
    "deep": Architecture(
        widths=(24, 48, 96, 192), blocks=(2, 4, 4, 4), attention_levels=2, head_channels=24, fold=1
    ),
    "large": Architecture(
        widths=(32, 64, 128, 256), blocks=(2, 4, 4, 4), attention_levels=2, head_channels=32, fold=1
    ),
    "broad": Architecture(widths=(32, 64, 128, 256), blocks=(2, 2, 2, 2), fold=1),
    "enlarge2": Architecture(widths=(32, 64, 128), blocks=(4, 2, 2), attention_levels=2, fold=2),
    "enlarge4": Architecture(widths=(32, 64, 128), blocks=(4, 2, 2), attention_levels=2, fold=4),
    "base": Architecture(widths=(96, 192, 320, 448), blocks=(2, 2, 3, 4), attention_levels=2),
    "tiny": Architecture(widths=(16, 32), blocks=(1, 2)),
}
"""`small` and `fine` ship, at about the same cost, `fine` working on the pixels themselves; `deep` is
`fine` with more blocks, `large` that with wider levels, and both can begin with its weights; `broad` has half
as many multiply-adds again as `fine`, in widths that are whole vectors of a processor; `enlarge2` and
`enlarge4` are for pictures enlarged 2 and 4 times: folded, such a picture is the small one again, and the
heads make `fold`^2 pixels of each (Shi et al. 2016, sub-pixel convolution); `base` is the 30-60M
configuration; `tiny` is for tests."""


class _Builder:
    """Collects nodes in running order."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def add(self, operation: Operation, name: str, *inputs: str, **fields_: Any) -> str:
        self.nodes.append(Node(operation, name, inputs, **fields_))
        return name

    def conv(self, name: str, source: str, channels: int, kernel: int, *, relu: bool = False) -> str:
        return self.add(Operation.CONV, name, source, channels=channels, kernel=kernel, relu=relu)

    def sum(self, name: str, one: str, other: str, channels: int) -> str:
        return self.add(Operation.ADD, name, one, other, channels=channels)

    def skip(self, name: str, here: str, other: str, channels: int, kind: str) -> str:
        if kind == "none":
            return here
        if kind == "project":
            here = self.conv(f"{name}.here", here, channels, 1)
            other = self.conv(f"{name}.other", other, channels, 1)
        return self.sum(name, here, other, channels)

    def head(self, name: str, source: str, channels: int, fold: int, *, relu: bool = False) -> str:
        """A result at the image's resolution."""
        result = self.conv(f"{name}.head", source, channels * fold**2, 3, relu=relu)
        if fold > 1:
            result = self.add(Operation.UNFOLD, f"{name}.unfold", result, channels=channels, block=fold)
        return result

    def residual_block(self, name: str, source: str, channels: int) -> str:
        inner = self.conv(f"{name}.conv1", source, channels, 3, relu=True)
        return self.sum(f"{name}.sum", source, self.conv(f"{name}.conv2", inner, channels, 3), channels)

    def attention_block(self, name: str, source: str, channels: int, shape: Architecture, shift: int) -> str:
        qkv = self.conv(f"{name}.qkv", source, 3 * channels, 1)
        mixed = self.add(
            Operation.ATTENTION,
            f"{name}.attention",
            qkv,
            channels=channels,
            heads=channels // shape.head_channels,
            window=shape.window,
            shift=shift,
        )
        summed = self.sum(f"{name}.sum1", source, self.conv(f"{name}.project", mixed, channels, 1), channels)
        inner = self.conv(f"{name}.mlp1", summed, shape.mlp_ratio * channels, 1, relu=True)
        return self.sum(f"{name}.sum2", summed, self.conv(f"{name}.mlp2", inner, channels, 1), channels)


def build_graph(shape: Architecture) -> Graph:
    """The operations of one architecture.

    Input: 3 channels at the image's resolution. Outputs, at the image's resolution: `residual`
    (3 channels, added to the input), `interval` (6 channels, all >= 0: how far below and above the
    point the truth may lie); and `estimate` (4 channels at the lowest resolution, see `ESTIMATES`).
    """
    make = _Builder()
    make.add(Operation.INPUT, "image", channels=3)
    folded = "image"
    if shape.fold > 1:
        folded = make.add(Operation.FOLD, "fold", "image", channels=3 * shape.fold**2, block=shape.fold)
    here = make.conv("stem", folded, shape.widths[0], 3)
    levels = len(shape.widths)
    skips: list[str] = []

    def stage(name: str, source: str, level: int) -> str:
        attends = level >= levels - shape.attention_levels
        for index in range(shape.blocks[level]):
            source = make.residual_block(f"{name}.{index}", source, shape.widths[level])
            if attends:
                shift = shape.window // 2 if index % 2 else 0
                source = make.attention_block(
                    f"{name}.{index}.swin", source, shape.widths[level], shape, shift
                )
        return source

    for level in range(levels - 1):
        here = stage(f"encoder{level}", here, level)
        skips.append(here)
        here = make.conv(f"down{level}", here, shape.widths[level + 1], 2)
    here = stage("bottom", here, levels - 1)
    hidden = make.conv("estimate.hidden", here, 32, 1, relu=True)
    estimate = make.conv("estimate.head", hidden, len(ESTIMATES), 1)
    for level in reversed(range(levels - 1)):
        wide = make.conv(f"up{level}", here, 4 * shape.widths[level], 1)
        here = make.add(Operation.UNFOLD, f"unfold{level}", wide, channels=shape.widths[level], block=2)
        here = make.skip(f"skip{level}", here, skips[level], shape.widths[level], shape.skip)
        here = stage(f"decoder{level}", here, level)
    residual = make.head("residual", here, 3, shape.fold)
    interval = make.head("interval", here, 6, shape.fold, relu=True)
    make.add(Operation.OUTPUT, "residual", residual, channels=3)
    make.add(Operation.OUTPUT, "interval", interval, channels=6)
    make.add(Operation.OUTPUT, "estimate", estimate, channels=len(ESTIMATES))
    nodes = tuple(make.nodes)
    lowest = shape.fold * 2 ** (levels - 1)
    has_attention = shape.attention_levels > 0
    multiple = lowest * shape.window if has_attention else lowest
    return Graph(nodes, multiple, _halo(nodes, multiple))


def _halo(nodes: tuple[Node, ...], multiple: int) -> int:
    """How far a tile must be extended, rounded up to `multiple`.

    Runs backward over the graph: the reach of a node is how many of its own positions beyond the
    tile's edge its readers need. A 3x3 kernel adds one; a stride-two kernel doubles; a window adds up
    to what is left of the window its last needed position falls in (exact, because tiles are aligned
    to `multiple`, hence to unshifted windows at every level).
    """
    reach: dict[str, int] = {}
    for node in reversed(nodes):
        need = reach.get(node.name, 0)
        if node.operation is Operation.CONV:
            need = need + 1 if node.kernel == 3 else need * node.kernel
        elif node.operation is Operation.ATTENTION:
            # Beyond the edge, window borders lie at shift, shift + window, ... and at -(window - shift).
            need = node.shift + -(-(need - node.shift) // node.window) * node.window
        elif node.operation is Operation.FOLD:
            need *= node.block
        elif node.operation is Operation.UNFOLD:
            need = -(-need // node.block)
        for source in node.inputs:
            reach[source] = max(reach.get(source, 0), need)
    return -(-reach["image"] // multiple) * multiple
