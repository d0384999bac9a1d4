"""The PyTorch executor: the same integers as the reference, carried in float32 tensors.

Exact because the certificate keeps every partial sum an integer (or an integer times a power of two)
below 2^24: float32 holds each without rounding, whatever the order of summation. The right shift of a
convolution is folded into its weights as a factor 2^-shift, which moves the binary point and loses
nothing; what is left of requantising is floor and clamp.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from restore_models.network import relative_positions, window_mask
from restore_models.program import EXP_STEPS, PROBABILITY_ONE, Instruction, Op, Program

__all__ = ["TorchExecutor", "join_windows", "split_windows"]


_TOGETHER = 8
"""Images convolved in one call. From 16 on, with oneDNN off, PyTorch turns to NNPACK, which transforms the
operands (Winograd) and so voids the certificate. Splitting needs no switch that other threads share."""


@dataclass(frozen=True)
class _Conv:
    weight: Tensor
    bias: Tensor
    addend: float


class TorchExecutor:
    """Runs one program on a device. Build once, call often; thread-safe after construction.

    With `exact=False` nothing is rounded or clamped between the steps: the labelled preview.

    With `products` a convolution is a sum of matrix products, one for each place of its kernel. Libraries
    of GPUs choose among algorithms for a convolution, Winograd's with them, which the certificate does not
    cover; for a product there is but one way, in any order. None: everywhere but on the processor.
    """

    def __init__(
        self, program: Program, *, device: str = "cpu", exact: bool = True, products: bool | None = None
    ) -> None:
        self.program = program
        self.device = torch.device(device)
        self.exact = exact
        self.products = self.device.type != "cpu" if products is None else products
        self._convs: dict[str, _Conv] = {}
        self._bias: dict[str, Tensor] = {}
        self._last: dict[str, str] = {}
        self._exp = torch.from_numpy(program.tensors["exp"].astype("float32")).to(self.device)
        for step in program.instructions:
            self._last |= dict.fromkeys(step.inputs, step.name)
            if step.op is Op.CONV:
                self._convs[step.name] = self._prepare_conv(step)
            elif step.op is Op.ATTENTION:
                self._bias[step.name] = self._prepare_bias(step)
        for tensor in program.outputs.values():
            self._last.pop(tensor, None)

    def _prepare_conv(self, step: Instruction) -> _Conv:
        tensors = self.program.tensors
        shift = torch.from_numpy(tensors[f"{step.name}.shift"].astype("float32"))
        scale = torch.pow(torch.tensor(2.0, dtype=torch.float64), -shift.double())
        weight = (
            torch.from_numpy(tensors[f"{step.name}.weight"].astype("float64")) * scale[:, None, None, None]
        )
        bias = torch.from_numpy(tensors[f"{step.name}.bias"].astype("float64")) * scale
        addend = 0.0
        if len(step.inputs) == 2:
            gap = int(tensors[f"{step.name}.addend_shift"][0]) - int(tensors[f"{step.name}.shift"][0])
            addend = 2.0**gap
        if not self.exact:
            # Half a step was folded into the bias for rounding; without rounding it would be a bias.
            bias = bias - torch.where(shift > 0, 0.5, 0.0)
        weight = weight.float().to(self.device).contiguous(memory_format=torch.channels_last)
        return _Conv(weight, bias.float().to(self.device), addend)

    def _prepare_bias(self, step: Instruction) -> Tensor:
        table = torch.from_numpy(self.program.tensors[f"{step.name}.position"].astype("float32"))
        keys = step.window**2
        bias = table[relative_positions(step.window).reshape(-1)].reshape(keys, keys, step.heads)
        return bias.permute(2, 0, 1).contiguous().to(self.device)

    @torch.no_grad()
    def run(self, image: Tensor) -> dict[str, Tensor]:
        """Integers of shape (batch, 3, height, width) in, as float32; both sides multiples of `multiple`.

        Returns `residual` (batch, 3, h, w), `interval` (batch, 6, h, w), `estimate` (batch, 4, ...) as
        float32 tensors that hold integers.
        """
        if image.shape[0] <= _TOGETHER:
            return self._run(image)
        parts = [self._run(part) for part in torch.split(image, _TOGETHER)]
        return {name: torch.cat([part[name] for part in parts]) for name in self.program.outputs}

    def _run(self, image: Tensor) -> dict[str, Tensor]:
        limit = float(self.program.input_limit)
        image = image.to(self.device, torch.float32, memory_format=torch.channels_last)
        values = {"image": image.clamp(-limit, limit)}
        for step in self.program.instructions:
            values[step.name] = self._step(step, [values[name] for name in step.inputs])
            for name in step.inputs:
                if self._last.get(name) == step.name:
                    values.pop(name, None)
        return {name: values[tensor] for name, tensor in self.program.outputs.items()}

    def _step(self, step: Instruction, sources: list[Tensor]) -> Tensor:
        match step.op:
            case Op.CONV:
                conv = self._convs[step.name]
                convolve = _convolve_by_products if self.products else _convolve
                total = convolve(sources[0], conv)
                if len(sources) == 2:
                    total.add_(sources[1], alpha=conv.addend)
                return self._settle(total, step)
            case Op.ADD:
                left, right, down = step.shifts
                total = sources[0] * 2.0 ** (left - down)
                total.add_(sources[1], alpha=2.0 ** (right - down))
                if down and self.exact:
                    total.add_(0.5)
                return self._settle(total, step)
            case Op.FOLD:
                return functional.pixel_unshuffle(sources[0], step.block)
            case Op.UNFOLD:
                return functional.pixel_shuffle(sources[0], step.block)
            case Op.ATTENTION:
                return self._attention(step, *sources)

    def _settle(self, total: Tensor, step: Instruction) -> Tensor:
        if self.exact:
            return total.floor_().clamp_(step.low, step.high)
        return total.clamp_(min=0) if step.low == 0 else total

    def _attention(self, step: Instruction, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        batch, _, height, width = query.shape
        window, offset = step.window, step.offset
        rows, columns = -(-(height + offset) // window), -(-(width + offset) // window)
        pads = (offset, columns * window - width - offset, offset, rows * window - height - offset)
        inside = window_mask(height, width, window, offset).to(self.device)
        q, k, v = (split_windows(tensor, step, pads, rows, columns) for tensor in (query, key, value))
        mixed = torch.empty_like(v)
        bias = self._bias[step.name]
        whole = inside.all(dim=1)
        count = rows * columns
        # A strip of windows at a time keeps the scores, which are 64 times the keys, in the caches.
        for image in range(batch):
            for start in range(0, count, 32):
                stop = min(start + 32, count)
                part = slice(image * count + start, image * count + stop)
                outside = None if bool(whole[start:stop].all()) else ~inside[start:stop]
                mixed[part] = self._mix(step, q[part], k[part], v[part], bias, outside)
        joined = join_windows(mixed, step, batch, rows, columns)
        result = joined[:, :, offset : offset + height, offset : offset + width]
        return result.contiguous(memory_format=torch.channels_last)

    def _mix(
        self, step: Instruction, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, outside: Tensor | None
    ) -> Tensor:
        """(windows, heads, keys, depth) each; probabilities and their weighted sum as integers."""
        score_shift, result_shift = step.shifts
        score = (q @ k.transpose(-1, -2)).mul_(2.0**-score_shift)
        if self.exact and score_shift:
            score.add_(0.5).floor_()
        score.add_(bias)
        if outside is not None:
            score.masked_fill_(outside[:, None, None, :], -torch.inf)
        top = score.amax(dim=-1, keepdim=True)
        if not self.exact:
            share = torch.softmax(score / 128.0, dim=-1)
            return (share @ v).mul_(PROBABILITY_ONE * 2.0**-result_shift)
        below = (top - score).clamp_(max=EXP_STEPS - 1)
        weight = self._exp[below.to(torch.int64)]
        if outside is not None:
            weight.mul_(~outside[:, None, None, :])
        total = weight.sum(dim=-1, keepdim=True)
        # One IEEE division; docs/program.md shows why its floor is the floor of the true quotient.
        share = weight.mul_(2.0 * PROBABILITY_ONE).add_(total).div_(total * 2.0).floor_()
        mixed = (share @ v).mul_(2.0**-result_shift)
        if result_shift:
            mixed.add_(0.5)
        return mixed.floor_().clamp_(step.low, step.high)


def _convolve(source: Tensor, conv: _Conv) -> Tensor:
    stride, edge = _stride_and_edge(conv.weight.shape[-1])
    return functional.conv2d(source, conv.weight, conv.bias, stride, edge)


def _convolve_by_products(source: Tensor, conv: _Conv) -> Tensor:
    """The same sums, kernel place by kernel place: (b h w, in) times (in, out) each."""
    channels, _, side, _ = conv.weight.shape
    stride, edge = _stride_and_edge(side)
    rows = functional.pad(source.permute(0, 2, 3, 1), (0, 0, edge, edge, edge, edge))
    batch, height, width = source.shape[0], source.shape[2] // stride, source.shape[3] // stride
    total = conv.bias.repeat(batch * height * width, 1)
    for j in range(side):
        for i in range(side):
            seen = rows[:, j : j + height * stride : stride, i : i + width * stride : stride]
            total.addmm_(seen.reshape(-1, source.shape[1]), conv.weight[:, :, j, i].T)
    return total.reshape(batch, height, width, channels).permute(0, 3, 1, 2)


def _stride_and_edge(kernel: int) -> tuple[int, int]:
    return (2, 0) if kernel == 2 else (1, kernel // 2)


def split_windows(
    source: Tensor, step: Instruction, pads: tuple[int, ...], rows: int, columns: int
) -> Tensor:
    """(batch, channels, h, w) -> (batch * windows, heads, window^2, depth)."""
    batch = source.shape[0]
    padded = functional.pad(source, pads) if any(pads) else source
    depth = step.channels // step.heads
    split = padded.reshape(batch, step.heads, depth, rows, step.window, columns, step.window)
    split = split.permute(0, 3, 5, 1, 4, 6, 2)
    return split.reshape(batch * rows * columns, step.heads, step.window**2, depth)


def join_windows(mixed: Tensor, step: Instruction, batch: int, rows: int, columns: int) -> Tensor:
    """The reverse of `split_windows`, the padding still there."""
    mixed = mixed.reshape(batch, rows, columns, step.heads, step.window, step.window, -1)
    mixed = mixed.permute(0, 3, 6, 1, 4, 2, 5)
    return mixed.reshape(batch, step.channels, rows * step.window, columns * step.window)
