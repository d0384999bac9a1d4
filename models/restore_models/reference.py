"""The reference executor: NumPy, int64, slow and plain. What it returns is by definition right."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from restore_models.program import EXP_STEPS, PROBABILITY_ONE, Instruction, Op, Program

__all__ = ["run_reference"]

Integers = NDArray[np.int64]


def run_reference(program: Program, image: Integers) -> dict[str, Integers]:
    """Runs a program on integers of shape (3, height, width), both sides multiples of `program.multiple`.

    Returns `residual` (3, h, w), `interval` (6, h, w) and `estimate` (4, h / lowest, w / lowest).
    """
    limit = program.input_limit
    values: dict[str, Integers] = {"image": np.clip(image.astype(np.int64), -limit, limit)}
    for step in program.instructions:
        sources = [values[name] for name in step.inputs]
        match step.op:
            case Op.CONV:
                values[step.name] = _conv(program, step, sources)
            case Op.ADD:
                left, right, down = step.shifts
                half = (1 << down) >> 1
                total = ((sources[0] << left) + (sources[1] << right) + half) >> down
                values[step.name] = np.clip(total, step.low, step.high)
            case Op.FOLD:
                values[step.name] = _fold(sources[0], step.block)
            case Op.UNFOLD:
                values[step.name] = _unfold(sources[0], step.block)
            case Op.ATTENTION:
                values[step.name] = _attention(program, step, *sources)
    return {name: values[tensor] for name, tensor in program.outputs.items()}


def _conv(program: Program, step: Instruction, sources: list[Integers]) -> Integers:
    weight = program.tensors[f"{step.name}.weight"].astype(np.int64)
    bias = program.tensors[f"{step.name}.bias"].astype(np.int64)
    shift = program.tensors[f"{step.name}.shift"].astype(np.int64)
    source = sources[0]
    stride, edge = (2, 0) if step.kernel == 2 else (1, step.kernel // 2)
    padded = np.pad(source, ((0, 0), (edge, edge), (edge, edge)))
    height, width = source.shape[1] // stride, source.shape[2] // stride
    total = np.broadcast_to(bias[:, None, None], (step.channels, height, width)).copy()
    for y in range(step.kernel):
        for x in range(step.kernel):
            piece = padded[:, y : y + stride * height : stride, x : x + stride * width : stride]
            total += np.einsum("oc,chw->ohw", weight[:, :, y, x], piece)
    if len(sources) == 2:
        addend_shift = program.tensors[f"{step.name}.addend_shift"].astype(np.int64)
        total += sources[1] << addend_shift[:, None, None]
    result: Integers = np.clip(total >> shift[:, None, None], step.low, step.high)
    return result


def _fold(source: Integers, block: int) -> Integers:
    channels, height, width = source.shape
    split = source.reshape(channels, height // block, block, width // block, block)
    return split.transpose(0, 2, 4, 1, 3).reshape(channels * block**2, height // block, width // block)


def _unfold(source: Integers, block: int) -> Integers:
    channels, height, width = source.shape
    split = source.reshape(channels // block**2, block, block, height, width)
    return split.transpose(0, 3, 1, 4, 2).reshape(channels // block**2, height * block, width * block)


def _attention(
    program: Program, step: Instruction, query: Integers, key: Integers, value: Integers
) -> Integers:
    """Window by window; keys outside the image do not exist."""
    exponential = program.tensors["exp"].astype(np.int64)
    table = program.tensors[f"{step.name}.position"].astype(np.int64)
    score_shift, result_shift = step.shifts
    _, height, width = query.shape
    depth = step.channels // step.heads
    result = np.empty_like(query)
    for top in range(-step.offset, height, step.window):
        for left in range(-step.offset, width, step.window):
            rows = np.arange(max(top, 0), min(top + step.window, height))
            columns = np.arange(max(left, 0), min(left + step.window, width))
            y, x = (axis.reshape(-1) for axis in np.meshgrid(rows, columns, indexing="ij"))
            offsets = (y[:, None] - y[None] + step.window - 1) * (2 * step.window - 1)
            offsets += x[:, None] - x[None] + step.window - 1
            for head in range(step.heads):
                part = slice(head * depth, (head + 1) * depth)
                q, k, v = query[part, y, x], key[part, y, x], value[part, y, x]
                score = ((q.T @ k + ((1 << score_shift) >> 1)) >> score_shift) + table[offsets, head]
                below = np.minimum(score.max(axis=1, keepdims=True) - score, EXP_STEPS - 1)
                weight = exponential[below]
                total = weight.sum(axis=1, keepdims=True)
                share = (2 * PROBABILITY_ONE * weight + total) // (2 * total)
                mixed = (v @ share.T + ((1 << result_shift) >> 1)) >> result_shift
                result[part, y, x] = np.clip(mixed, step.low, step.high)
    return result
