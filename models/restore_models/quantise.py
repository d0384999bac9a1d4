"""From float weights to an integer program, by calibration on held-out images (no fine-tuning).

Activations get 12 bits and a power-of-two step each, chosen for the least mean squared error on the
calibration images; weights get int8 and a power-of-two step per output channel, widened where the
certificate asks for it. Queries and keys get 10 bits, so that their products stay below 2^23.

What costs quality is the rounding of weights at the highest resolution, where an error reaches the image
undiluted. So the first convolution and the residual's have their weights in two parts, the second holding
what the first rounds off; and what is rectified inside a block there gets 11 bits, which leaves the
certificate room for weights twice as fine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore_manifests.errors import ModelError
from restore_models.architecture import Node, Operation
from restore_models.network import RestorationNet, parameter_key
from restore_models.program import SCORE_STEPS, Instruction, Op, Program, certificate, exp_table
from restore_models.weight_rounding import InputSums, Made, Moments, round_weights, weight_exponents

__all__ = ["INPUT_EXPONENT", "quantise_network"]

INPUT_EXPONENT = 9
"""8-bit samples become 4 x - 510: a quarter of a level is one step of 2^-9."""
_BOUND = 2047
_HIDDEN_BOUND = 1023
_FINE = ("stem", "residual.head")
_FINE_BITS = 5
"""How much finer than the result the second part of a convolution is."""
_SCORE_BOUND = 511
_PROBABILITY_BITS = 11
_SCORE_BITS = SCORE_STEPS.bit_length() - 1
_SAMPLES = 4096


class _Exporter:
    def __init__(
        self,
        network: RestorationNet,
        samples: dict[str, NDArray[np.float32]],
        moments: dict[str, Moments],
    ) -> None:
        self.network = network
        self.samples = samples
        self.moments = moments
        self.nodes = {node.name: node for node in network.graph.nodes}
        self.made: dict[str, Made] = {"image": Made(INPUT_EXPONENT, _BOUND)}
        self.instructions: list[Instruction] = []
        self.tensors: dict[str, NDArray[Any]] = {"exp": exp_table()}
        readers: dict[str, list[Node]] = {}
        for node in network.graph.nodes:
            for source in node.inputs:
                readers.setdefault(source, []).append(node)
        # A convolution read only by an addition is summed in the same accumulator as the other term.
        self.fused = {
            node.inputs[1]: node
            for node in network.graph.nodes
            if node.operation is Operation.ADD
            and self.nodes[node.inputs[1]].operation is Operation.CONV
            and len(readers[node.inputs[1]]) == 1
        }

    def export(self) -> dict[str, str]:
        """Emits all instructions; returns the output names."""
        outputs: dict[str, str] = {}
        for node in self.network.graph.nodes:
            match node.operation:
                case Operation.CONV:
                    if node.name.endswith(".qkv"):
                        self._query_key_value(node)
                    elif node.name not in self.fused:
                        self._conv(node, node.name, node, None)
                case Operation.ADD:
                    if node.inputs[1] in self.fused:
                        self._conv(self.nodes[node.inputs[1]], node.name, node, node.inputs[0])
                    else:
                        self._add(node)
                case Operation.ATTENTION:
                    self._attention(node)
                case Operation.FOLD | Operation.UNFOLD:
                    self._move(node)
                case Operation.OUTPUT:
                    outputs[node.name] = node.inputs[0]
                case Operation.INPUT:
                    pass
        return outputs

    def _parameters(self, node: Node) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        conv = self.network.convs[parameter_key(node.name)]
        weight, bias = conv.weight, conv.bias
        if not isinstance(weight, Tensor) or not isinstance(bias, Tensor):
            raise ModelError(f"The network has no weights for {node.name!r}.")
        return weight.detach().cpu().double().numpy(), bias.detach().cpu().double().numpy()

    def _conv(self, node: Node, name: str, measured: Node, addend: str | None) -> None:
        weight, bias = self._parameters(node)
        high = _HIDDEN_BOUND if self._inside_block(node) else _BOUND
        low = 0 if node.relu else -high
        exponent = _best_exponent(self.samples[measured.name], low, high)
        if node.name in ("residual.head", "interval.head"):
            exponent = min(max(exponent, INPUT_EXPONENT), INPUT_EXPONENT + 2)
        if node.name in _FINE:
            addend = self._rounded_off(node, weight, bias, exponent)
        self._emit_conv(
            name, node, node.inputs[0], weight, bias, exponent=exponent, low=low, high=high, addend=addend
        )

    def _inside_block(self, node: Node) -> bool:
        """Whether a result is the rectified middle of a block at the highest level of resolution."""
        return node.relu and node.name.endswith(".conv1") and node.channels == self.network.shape.widths[0]

    def _rounded_off(
        self, node: Node, weight: NDArray[np.float64], bias: NDArray[np.float64], exponent: int
    ) -> str | None:
        """Emits a convolution by what int8 weights round off, to be added; None where there is nothing."""
        given = self.made[node.inputs[0]]
        # As coarse as they will be beside an addend: the same bound, in the steps of the addend.
        fine = exponent + _FINE_BITS
        steps = weight_exponents(weight, bias, given, exponent, Made(fine, _BOUND))
        if steps is None:
            return None
        sizes = np.array([2.0**step for step in steps])[:, None, None, None]
        rest = weight - np.rint(weight * sizes) / sizes
        name = f"{node.name}.fine"
        self._emit_conv(
            name,
            node,
            node.inputs[0],
            rest,
            np.zeros_like(bias),
            exponent=fine,
            low=-_BOUND,
            high=_BOUND,
            addend=None,
        )
        return name if self.made[name].exponent == fine else None

    def _emit_conv(
        self,
        name: str,
        node: Node,
        source: str,
        weight: NDArray[np.float64],
        bias: NDArray[np.float64],
        *,
        exponent: int,
        low: int,
        high: int,
        addend: str | None,
    ) -> None:
        given = self.made[source]
        added = self.made[addend] if addend else None
        channels = weight.shape[0]
        # The rest of a convolution in two parts is what its first part rounds to the nearest.
        moments = None if node.name in _FINE else self.moments.get(node.name)
        offset = np.zeros(channels, np.int32)
        shift = np.zeros(channels, np.int8)
        addend_shift = np.zeros(channels, np.int8)
        rounded = round_weights(weight, bias, given, exponent, added, moments)
        while rounded is None and exponent > 0:
            # A result finer than its sums can be: give it a coarser step.
            exponent -= 1
            rounded = round_weights(weight, bias, given, exponent, added, moments)
        if rounded is None:
            raise ModelError(
                f"The weights of {name!r} are too large for an exact program.",
                hint="Train with a smaller learning rate or with weight decay.",
            )
        for c, step in enumerate(rounded.steps):
            shift[c] = given.exponent + step - exponent
            half = (1 << int(shift[c])) >> 1
            offset[c] = int(np.rint(rounded.bias[c] * 2.0 ** (given.exponent + step))) + half
            if added:
                addend_shift[c] = given.exponent + step - added.exponent
        whole = rounded.whole.astype(np.int8)
        self.tensors |= {f"{name}.weight": whole, f"{name}.bias": offset, f"{name}.shift": shift}
        inputs: tuple[str, ...] = (source,)
        if addend:
            self.tensors[f"{name}.addend_shift"] = addend_shift
            inputs = (source, addend)
        self.instructions.append(
            Instruction(Op.CONV, name, inputs, channels, exponent, low, high, kernel=node.kernel)
        )
        self.made[name] = Made(exponent, max(abs(low), high))

    def _query_key_value(self, node: Node) -> None:
        weight, bias = self._parameters(node)
        sampled = self.samples[node.name]
        reader = next(n for n in self.network.graph.nodes if node.name in n.inputs)
        width = reader.channels
        depth = width // reader.heads
        for index, part in enumerate("qkv"):
            rows = slice(index * width, (index + 1) * width)
            scale = depth**-0.5 if part == "q" else 1.0
            bound = _BOUND if part == "v" else _SCORE_BOUND
            values = sampled[:, rows] * np.float32(scale)
            exponent = _best_exponent(values, -bound, bound)
            if part != "v":
                # Scores finer than their table's step are of no use, and their shift must not be negative.
                exponent = max(exponent, (_SCORE_BITS + 1) // 2)
            name = f"{reader.name}.{part}"
            self._emit_conv(
                name,
                node,
                node.inputs[0],
                weight[rows] * scale,
                bias[rows] * scale,
                exponent=exponent,
                low=-bound,
                high=bound,
                addend=None,
            )

    def _attention(self, node: Node) -> None:
        names = tuple(f"{node.name}.{part}" for part in "qkv")
        query, key, value = (self.made[name] for name in names)
        exponent = _best_exponent(self.samples[node.name], -_BOUND, _BOUND)
        exponent = min(exponent, _PROBABILITY_BITS + value.exponent)
        table = self.network.position_bias[parameter_key(node.name)].detach().cpu().double().numpy()
        self.tensors[f"{node.name}.position"] = np.rint(table * SCORE_STEPS).astype(np.int16)
        shifts = (query.exponent + key.exponent - _SCORE_BITS, _PROBABILITY_BITS + value.exponent - exponent)
        self.instructions.append(
            Instruction(
                Op.ATTENTION,
                node.name,
                names,
                node.channels,
                exponent,
                -_BOUND,
                _BOUND,
                heads=node.heads,
                window=node.window,
                offset=node.shift,
                shifts=shifts,
            )
        )
        self.made[node.name] = Made(exponent, _BOUND)

    def _add(self, node: Node) -> None:
        left, right = (self.made[name] for name in node.inputs)
        exponent = min(
            _best_exponent(self.samples[node.name], -_BOUND, _BOUND), max(left.exponent, right.exponent)
        )
        finest = max(left.exponent, right.exponent)
        shifts = (finest - left.exponent, finest - right.exponent, finest - exponent)
        self.instructions.append(
            Instruction(
                Op.ADD, node.name, node.inputs, node.channels, exponent, -_BOUND, _BOUND, shifts=shifts
            )
        )
        self.made[node.name] = Made(exponent, _BOUND)

    def _move(self, node: Node) -> None:
        source = self.made[node.inputs[0]]
        op = Op.FOLD if node.operation is Operation.FOLD else Op.UNFOLD
        self.instructions.append(
            Instruction(op, node.name, node.inputs, node.channels, source.exponent, block=node.block)
        )
        self.made[node.name] = source


def _best_exponent(values: NDArray[np.float32], low: int, high: int) -> int:
    """The power-of-two step with the least mean squared error, rounding and clipping together."""
    top = float(np.abs(values).max())
    fits = int(np.floor(np.log2(high / top))) if top > 0 else INPUT_EXPONENT
    fits = min(max(fits, 0), 14)

    def error(exponent: int) -> float:
        scaled = np.clip(np.rint(values * np.float32(2.0**exponent)), low, high) * np.float32(2.0**-exponent)
        return float(np.mean((scaled - np.maximum(values, 0) if low == 0 else scaled - values) ** 2))

    return min(range(fits, min(fits + 4, 15)), key=error)


@torch.no_grad()
def _measure(
    network: RestorationNet, batches: Sequence[Tensor], *, moments: bool
) -> tuple[dict[str, NDArray[np.float32]], dict[str, Moments]]:
    """Samples of every node's values, (samples, channels), over all calibration batches; with `moments`, also
    the mean and covariance of what each convolution reads."""
    rng = np.random.default_rng(5)
    kept: dict[str, list[NDArray[np.float32]]] = {}
    sums: dict[str, InputSums] = {}
    for batch in batches:
        values: dict[str, Tensor] = {"image": batch}
        for node in network.graph.nodes:
            if node.operation in (Operation.INPUT, Operation.OUTPUT):
                continue
            inputs = [values[name] for name in node.inputs]
            if moments and node.operation is Operation.CONV:
                sums.setdefault(node.name, InputSums()).add(inputs[0], node.kernel, rng)
            result = network.run_node(node, inputs)
            values[node.name] = result
            rows = result.permute(0, 2, 3, 1).reshape(-1, result.shape[1])
            chosen = rng.integers(0, rows.shape[0], min(_SAMPLES, rows.shape[0]))
            kept.setdefault(node.name, []).append(rows[torch.from_numpy(chosen)].numpy())
    samples = {name: np.concatenate(parts) for name, parts in kept.items()}
    return samples, {name: each.moments() for name, each in sums.items()}


def quantise_network(
    network: RestorationNet, batches: Sequence[Tensor], notes: dict[str, Any], *, compensate: bool = True
) -> Program:
    """The integer program of a trained network.

    Args:
        network: averaged weights, in evaluation mode, on the CPU.
        batches: calibration images in network units, (batch, 3, height, width).
        notes: what is stored beside the program; see `Program.notes`.
        compensate: let weights make up for each other's rounding, see `weight_rounding`; off for a network
            that was trained through the plain rounding.

    Raises:
        ModelError: if the weights do not go into an exact program.
    """
    exporter = _Exporter(network, *_measure(network, batches, moments=compensate))
    outputs = exporter.export()
    program = Program(
        instructions=tuple(exporter.instructions),
        outputs=outputs,
        input_exponent=INPUT_EXPONENT,
        input_limit=_BOUND,
        multiple=network.graph.multiple,
        halo=network.graph.halo,
        tensors=exporter.tensors,
        notes=notes,
    )
    certificate(program)
    return program
