"""The network with the rounding of its future program, for fine-tuning.

Runs a program's own list of instructions in float32 on the parameters that are being trained: weights are
rounded to the program's steps and results to their exponents and ranges. What comes out are the program's
integers themselves, as fractions, so that training sees what the integers will do. Gradients pass the
rounding as if it were not there (straight-through estimator, Bengio et al. 2013) and stop where a range
clips. Steps and exponents are those of the last calibration.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from restore_models.architecture import Operation
from restore_models.network import RestorationNet, parameter_key, relative_positions, window_mask
from restore_models.program import EXP_STEPS, PROBABILITY_ONE, SCORE_STEPS, Instruction, Op, Program
from restore_models.quantise import quantise_network
from restore_models.torch_executor import join_windows, split_windows

__all__ = ["QuantisedNetwork"]


class QuantisedNetwork:
    """Calls like a `RestorationNet`, whose parameters it uses; see `calibrate`."""

    def __init__(self, network: RestorationNet) -> None:
        self._network = network
        self._nodes = {node.name: node for node in network.graph.nodes}
        self._steps: dict[str, Tensor] = {}
        self._bias_steps: dict[str, Tensor] = {}
        self._program: Program | None = None

    @property
    def calibrated(self) -> bool:
        """Whether it can be called."""
        return self._program is not None

    def calibrate(self, batches: Sequence[Tensor]) -> Program:
        """Takes exponents and steps from the present parameters and images in network units.

        Raises:
            ModelError: if the parameters do not go into an exact program.
        """
        program = quantise_network(self._network, batches, {}, compensate=False)
        exponents = {"image": program.input_exponent} | {i.name: i.exponent for i in program.instructions}
        for step in program.instructions:
            if step.op is Op.CONV:
                shift = torch.from_numpy(program.tensors[f"{step.name}.shift"].astype("float32"))
                finest = shift + step.exponent - exponents[step.inputs[0]]
                self._steps[step.name] = torch.pow(2.0, finest)[:, None, None, None]
                self._bias_steps[step.name] = torch.pow(2.0, shift + step.exponent)
        self._program = program
        return program

    def __call__(self, image: Tensor) -> dict[str, Tensor]:
        """As `RestorationNet.forward`, rounded as the program rounds; float32 in, float32 out."""
        assert self._program is not None, "calibrate first"  # noqa: S101 -- a fault of the caller
        program = self._program
        limit = program.input_limit
        values = {"image": _rounded(image, program.input_exponent, -limit, limit)}
        for step in program.instructions:
            sources = [values[name] for name in step.inputs]
            result = self._run(step, sources)
            if step.op not in (Op.FOLD, Op.UNFOLD):
                result = _rounded(result, step.exponent, step.low, step.high)
            values[step.name] = result
        return {name: values[tensor] for name, tensor in program.outputs.items()}

    def _run(self, step: Instruction, sources: list[Tensor]) -> Tensor:
        match step.op:
            case Op.CONV:
                weight, bias = self._parameters(step)
                weight = _straight(weight, _round_to(weight, self._steps[step.name]))
                finest = self._bias_steps[step.name]
                bias = _straight(bias, torch.round(bias * finest) / finest)
                stride, edge = (2, 0) if step.kernel == 2 else (1, step.kernel // 2)
                total = functional.conv2d(sources[0], weight, bias, stride, edge)
                return total + sources[1] if len(sources) == 2 else total
            case Op.ADD:
                return sources[0] + sources[1]
            case Op.FOLD:
                return functional.pixel_unshuffle(sources[0], step.block)
            case Op.UNFOLD:
                return functional.pixel_shuffle(sources[0], step.block)
            case Op.ATTENTION:
                table = self._network.position_bias[parameter_key(step.name)]
                query, key, value = sources
                return _attention(step, query, key, value, table)

    def _parameters(self, step: Instruction) -> tuple[Tensor, Tensor]:
        """Kernel and bias behind an instruction: its own, or that summed into it, or a third, or the rest."""
        if step.name.endswith(".fine"):
            coarse = step.name.removesuffix(".fine")
            weight, bias = self._kernel(coarse)
            # What the other part rounds off; that part has the gradient already.
            return (weight - _round_to(weight, self._steps[coarse])).detach(), torch.zeros_like(bias)
        name, rows, scale = step.name, slice(None), 1.0
        node = self._nodes.get(name)
        if node is None:
            name, _, part = name.rpartition(".")
            node = self._nodes[name]
            rows = slice("qkv".index(part) * step.channels, ("qkv".index(part) + 1) * step.channels)
            scale = (node.channels // node.heads) ** -0.5 if part == "q" else 1.0
            name = node.inputs[0]
        elif node.operation is Operation.ADD:
            name = node.inputs[1]  # what the exporter sums in the accumulator of this addition
        weight, bias = self._kernel(name)
        return weight[rows] * scale, bias[rows] * scale

    def _kernel(self, name: str) -> tuple[Tensor, Tensor]:
        conv = self._network.convs[parameter_key(name)]
        weight, bias = conv.weight, conv.bias
        assert isinstance(weight, Tensor)  # noqa: S101 -- for the type checker
        assert isinstance(bias, Tensor)  # noqa: S101
        return weight, bias


def _attention(step: Instruction, query: Tensor, key: Tensor, value: Tensor, table: Tensor) -> Tensor:
    """Window attention with the program's scores in 128ths, table of exponentials, and shares in 2,048ths."""
    batch, _, height, width = query.shape
    window, offset = step.window, step.offset
    rows, columns = -(-(height + offset) // window), -(-(width + offset) // window)
    pads = (offset, columns * window - width - offset, offset, rows * window - height - offset)
    q, k, v = (split_windows(tensor, step, pads, rows, columns) for tensor in (query, key, value))
    score = q @ k.transpose(-1, -2) * SCORE_STEPS
    score = _straight(score, torch.floor(score + 0.5))
    bias = table * SCORE_STEPS
    bias = _straight(bias, torch.round(bias))[relative_positions(window).reshape(-1)]
    score = score + bias.reshape(window**2, window**2, step.heads).permute(2, 0, 1)
    outside = ~window_mask(height, width, window, offset).repeat(batch, 1)[:, None, None, :]
    score = score.masked_fill(outside, -1e9)
    below = (score.detach().amax(dim=-1, keepdim=True) - score).clamp(max=EXP_STEPS - 1)
    weight = torch.exp(below / -SCORE_STEPS) * (EXP_STEPS - 1)
    weight = _straight(weight, torch.round(weight)).masked_fill(outside, 0.0)
    share = weight / weight.sum(dim=-1, keepdim=True)
    share = _straight(share, torch.floor(share * PROBABILITY_ONE + 0.5) / PROBABILITY_ONE)
    joined = join_windows(share @ v, step, batch, rows, columns)
    return joined[:, :, offset : offset + height, offset : offset + width]


def _round_to(weight: Tensor, steps: Tensor) -> Tensor:
    """To the steps of the last calibration, within int8."""
    return torch.clamp(torch.round(weight * steps), -127, 127) / steps


def _rounded(values: Tensor, exponent: int, low: int, high: int) -> Tensor:
    """To whole steps of 2^-exponent, half up, and into the range; no gradient from beyond it."""
    step = 2.0**exponent
    values = values.clamp(low / step, high / step)
    return _straight(values, torch.floor(values * step + 0.5) / step)


def _straight(values: Tensor, rounded: Tensor) -> Tensor:
    """`rounded`, with the gradient of `values`."""
    return values + (rounded - values).detach()
