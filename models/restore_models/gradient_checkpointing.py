"""A network whose blocks are computed again in the backward pass instead of being remembered.

Of each block only what enters it is kept (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"):
memory for about a third more arithmetic. The gradients are those of the plain network.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from restore_models.architecture import Graph, Node, Operation
from restore_models.network import RestorationNet

__all__ = ["GradientCheckpointing"]


class GradientCheckpointing(nn.Module):
    """Calls like the `RestorationNet` that it holds, whose parameters it uses."""

    def __init__(self, network: RestorationNet) -> None:
        super().__init__()
        self.network = network
        self._blocks = _blocks(network.graph)
        self._kept = [_read_later(self._blocks, index) for index in range(len(self._blocks))]

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """As `RestorationNet.forward`."""
        values: dict[str, Tensor] = {"image": image}
        for nodes, kept in zip(self._blocks, self._kept, strict=True):
            made = {node.name for node in nodes}
            needed = sorted({name for node in nodes for name in node.inputs} - made)
            run = self._runner(nodes, needed, kept)
            results = checkpoint(
                run, *(values[name] for name in needed), use_reentrant=False, preserve_rng_state=False
            )
            values.update(zip(kept, results, strict=True))
        outputs = [node for node in self.network.graph.nodes if node.operation is Operation.OUTPUT]
        return {node.name: values[node.inputs[0]] for node in outputs}

    def _runner(
        self, nodes: list[Node], needed: list[str], kept: list[str]
    ) -> Callable[..., tuple[Tensor, ...]]:
        def run(*given: Tensor) -> tuple[Tensor, ...]:
            values = dict(zip(needed, given, strict=True))
            for node in nodes:
                values[node.name] = self.network.run_node(node, [values[name] for name in node.inputs])
            return tuple(values[name] for name in kept)

        return run


def _blocks(graph: Graph) -> list[list[Node]]:
    """Nodes in running order, those of one block (named alike up to the last full stop) together."""
    nodes = [n for n in graph.nodes if n.operation not in (Operation.INPUT, Operation.OUTPUT)]
    return [list(block) for _, block in itertools.groupby(nodes, lambda node: node.name.rpartition(".")[0])]


def _read_later(blocks: list[list[Node]], index: int) -> list[str]:
    """What a block makes for others, or for nobody in the graph: its outputs."""
    made = [node.name for node in blocks[index]]
    inside = {name for node in blocks[index] for name in node.inputs}
    outside = {
        name for other, block in enumerate(blocks) if other != index for node in block for name in node.inputs
    }
    return [name for name in made if name in outside or name not in inside]
