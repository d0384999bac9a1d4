"""The integer program: what a shipped model *is*. Specification for outsiders: docs/program.md.

A program is a list of instructions over integer tensors, each (channels, height, width). It is stored in
one safetensors file: int8 weights, int32 biases, int8 shifts, int16 tables, and the instructions as JSON
metadata. Every partial sum of every instruction is an integer below 2^24 in magnitude, which is checked
when a program is loaded, so that float32 arithmetic computes it exactly in any order of summation.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from restore_manifests.errors import ModelError
from restore_models.whole_file import write_whole

__all__ = [
    "EXP_STEPS",
    "LIMIT",
    "PROBABILITY_ONE",
    "SCORE_STEPS",
    "Instruction",
    "Op",
    "Program",
    "certificate",
    "exp_table",
    "load_program",
    "made_for_grey",
    "made_for_scale",
    "parse_program",
    "save_program",
]

FORMAT = "restore.program/1"
FORMAT_OF_VIEWS = "restore.program/2"
"""Of a program that looks at an image in more than one view: readers of the first format cannot run it."""
FORMAT_OF_ORDERS = "restore.program/3"
"""Of one whose views also have the channels in other orders."""
_FORMATS = (FORMAT, FORMAT_OF_VIEWS, FORMAT_OF_ORDERS)
VIEWS = 8
"""How many views there are: four quarter turns, of the image and of its mirror image."""
LIMIT = 2**24
"""Every partial sum stays below this: the integers that float32 holds without gaps."""
SCORE_STEPS = 128
"""Attention scores are counted in 128ths of a natural logarithm."""
EXP_STEPS = 2048
"""Length of the exponential table; scores further than 16 below the largest count as this far."""
PROBABILITY_ONE = 2048
"""What an attention probability of one is written as."""

Integers = NDArray[np.int64]


class Op(StrEnum):
    """The kinds of instruction."""

    CONV = "conv"
    ADD = "add"
    ATTENTION = "window_attention"
    FOLD = "space_to_depth"
    UNFOLD = "depth_to_space"


@dataclass(frozen=True, slots=True)
class Instruction:
    """One step. Results are clamped to [low, high]; an integer n stands for n / 2^exponent.

    conv:   out[c] = clamp((sum w a + bias[c] + (addend << addend_shift[c])) >> shift[c]); inputs: source and,
            where there is one, the addend; kernel 1, 3 (zeros beyond the edge) or 2 (stride two).
    add:    out = clamp(((a << shifts[0]) + (b << shifts[1]) + half) >> shifts[2]).
    window_attention: inputs q, k, v; see docs/program.md; shifts = (of the score, of the result).
    space_to_depth, depth_to_space: channel c * block^2 + y * block + x is position (y, x) of channel c.
    """

    op: Op
    name: str
    inputs: tuple[str, ...]
    channels: int
    exponent: int
    low: int = 0
    high: int = 0
    kernel: int = 0
    block: int = 0
    heads: int = 0
    window: int = 0
    offset: int = 0
    shifts: tuple[int, ...] = ()


@dataclass(frozen=True)
class Program:
    """A checked program. `inputs`/`outputs` name tensors; `tensors` hold the parameters by instruction."""

    instructions: tuple[Instruction, ...]
    outputs: dict[str, str]
    """`residual`, `interval`, `estimate`: the tensors that hold them."""
    input_exponent: int
    input_limit: int
    multiple: int
    halo: int
    tensors: dict[str, NDArray[Any]]
    notes: dict[str, Any] = field(default_factory=dict)
    """JSON values that are not executed: identity, licence, architecture, calibration, training record."""
    file_sha256: str = ""
    views: int = 1
    """1, or `VIEWS`: what is returned is the mean over the image turned and mirrored; see `views`."""
    channel_orders: tuple[tuple[int, ...], ...] = ()
    """For each view, which channel of the image is its first, second and third; none: in all as they are."""

    def instruction_exponent(self, name: str) -> int:
        """The exponent of a tensor by name."""
        if name == "image":
            return self.input_exponent
        return next(i.exponent for i in self.instructions if i.name == name)

    def program_sha256(self) -> str:
        """Digest of what is executed: instructions and parameters, without the notes."""
        digest = hashlib.sha256(_executed_json(self).encode())
        for name in sorted(self.tensors):
            tensor = self.tensors[name]
            digest.update(f"\n{name} {tensor.dtype.str} {tensor.shape}\n".encode())
            digest.update(np.ascontiguousarray(tensor).tobytes())
        return digest.hexdigest()


def made_for_scale(program: Program) -> int | None:
    """What the images that a program is for have been enlarged by; None: it is for any image."""
    scale = program.notes.get("scale")
    return scale if type(scale) is int else None


def made_for_grey(program: Program) -> bool:
    """Whether a program is for grey images only."""
    return program.notes.get("grey") is True


def exp_table() -> NDArray[np.int16]:
    """round(2047 exp(-i / 128)) for i in 0..2047. Stored with each program: a reader need not compute it."""
    values = [round(2047 * math.exp(-i / SCORE_STEPS)) for i in range(EXP_STEPS)]
    return np.array(values, np.int16)


def _executed_json(program: Program) -> str:
    executed: dict[str, Any] = {
        "format": FORMAT,
        "instructions": [asdict(instruction) for instruction in program.instructions],
        "outputs": program.outputs,
        "input_exponent": program.input_exponent,
        "input_limit": program.input_limit,
        "multiple": program.multiple,
        "halo": program.halo,
    }
    if program.views != 1:
        executed |= {"format": FORMAT_OF_VIEWS, "views": program.views}
    if program.channel_orders:
        executed |= {"format": FORMAT_OF_ORDERS, "channel_orders": program.channel_orders}
    return json.dumps(executed, sort_keys=True, separators=(",", ":"))


def save_program(path: Path, program: Program) -> None:
    """Checks the certificate, then writes `path` by way of a temporary neighbour.

    Raises:
        ModelError: if a partial sum could leave the exact range.
        StorageError: if the file cannot be written.
    """
    metadata = {
        "program": _executed_json(program),
        "certificate": json.dumps(certificate(program), sort_keys=True),
        "notes": json.dumps(program.notes, sort_keys=True),
    }
    data = save({name: np.ascontiguousarray(t) for name, t in program.tensors.items()}, metadata)
    write_whole(path, _ordered(data))


def _ordered(data: bytes) -> bytes:
    """The same safetensors file with its header sorted: the library writes metadata in random order."""
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the tensors stay aligned
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def load_program(path: Path) -> Program:
    """Reads and checks a model file; see `parse_program`."""
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise ModelError(
            f"The model file {path.name} cannot be read: {problem.strerror}.",
            hint="Reinstall restore, or name a model with --model.",
        ) from problem
    return parse_program(data, path.name)


def parse_program(data: bytes, name: str) -> Program:
    """A program from the bytes of a model file, with its certificate checked.

    Raises:
        ModelError: if it is damaged, from another version, or a partial sum could leave the exact range.
    """
    try:
        tensors = load(data)
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length])["__metadata__"]
        executed = json.loads(metadata["program"])
        if executed["format"] not in _FORMATS:
            raise ModelError(
                f"{name} is a program of format {executed['format']!r}; this version reads "
                f"{', '.join(_FORMATS)}.",
                hint="Use a model made for this version of restore.",
            )
        views, channel_orders = _views(executed)
        program = Program(
            instructions=tuple(_instruction(values) for values in executed["instructions"]),
            outputs=dict(executed["outputs"]),
            input_exponent=int(executed["input_exponent"]),
            input_limit=int(executed["input_limit"]),
            multiple=int(executed["multiple"]),
            halo=int(executed["halo"]),
            tensors=tensors,
            notes=json.loads(metadata["notes"]),
            file_sha256=hashlib.sha256(data).hexdigest(),
            views=views,
            channel_orders=channel_orders,
        )
        if certificate(program) != json.loads(metadata["certificate"]):
            raise ModelError(
                f"The certificate of {name} is not that of its program.",
                hint="Reinstall restore, or export the model again.",
            )
    except (SafetensorError, KeyError, ValueError, TypeError, IndexError) as problem:
        raise ModelError(
            f"The model file {name} is damaged or is not a program of restore.",
            hint="Reinstall restore, or name another model with --model.",
        ) from problem
    return program


def _views(executed: dict[str, Any]) -> tuple[int, tuple[tuple[int, ...], ...]]:
    """How many views, and their orders: the first format speaks of neither, the second only of all views."""
    form, views, orders = executed["format"], executed.get("views"), executed.get("channel_orders", [])
    if form == FORMAT and "views" not in executed and "channel_orders" not in executed:
        return 1, ()
    if type(views) is int and views == VIEWS:
        if form == FORMAT_OF_VIEWS and "channel_orders" not in executed:
            return VIEWS, ()
        if form == FORMAT_OF_ORDERS and [*map(_is_order, orders)] == [True] * VIEWS:
            return VIEWS, tuple(map(tuple, orders))
    raise ModelError(
        f"The program asks for views of an image that a {form} does not have.",
        hint="Export the model again.",
    )


def _is_order(order: object) -> bool:
    return type(order) is list and all(type(c) is int for c in order) and sorted(order) == [0, 1, 2]


def _instruction(values: dict[str, Any]) -> Instruction:
    if unknown := set(values) - {f.name for f in fields(Instruction)}:
        raise ModelError(f"The program uses fields that this version does not know: {sorted(unknown)}.")
    plain: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    plain["op"] = Op(plain["op"])
    return Instruction(**plain)


def certificate(program: Program) -> dict[str, int]:
    """The largest magnitude that any partial sum of each instruction can take, by its name.

    Raises:
        ModelError: naming the instruction and the bound it breaks.
    """
    bound = {"image": program.input_limit}
    found: dict[str, int] = {}
    channels = {"image": 3}
    exponent = {"image": program.input_exponent}
    for step in program.instructions:
        if step.name in bound or any(name not in bound for name in step.inputs):
            raise ModelError(f"Instruction {step.name!r} is out of order or its name stands twice.")
        reach = _reach(program, step, bound, channels, exponent)
        if reach >= LIMIT:
            raise ModelError(
                f"Instruction {step.name!r} could reach {reach}, beyond the exact range of {LIMIT}.",
                hint="Export the model again: its certificate does not hold.",
            )
        found[step.name] = reach
        if step.op in (Op.FOLD, Op.UNFOLD):
            bound[step.name] = bound[step.inputs[0]]
        else:
            if not -LIMIT < step.low <= step.high < LIMIT:
                raise ModelError(f"Instruction {step.name!r} has no usable range.")
            bound[step.name] = max(abs(step.low), abs(step.high))
        channels[step.name] = step.channels
        exponent[step.name] = step.exponent
    for output in ("residual", "interval", "estimate"):
        if program.outputs.get(output) not in bound:
            raise ModelError(f"The program does not say where its {output} is.")
        if output != "estimate" and not 0 <= exponent[program.outputs[output]] - program.input_exponent <= 8:
            raise ModelError(f"The program's {output} is coarser than its input.")
    return found


def _reach(
    program: Program,
    step: Instruction,
    bound: dict[str, int],
    channels: dict[str, int],
    exponent: dict[str, int],
) -> int:
    """The largest magnitude that any partial sum of one instruction can take."""
    source = step.inputs[0]
    match step.op:
        case Op.CONV:
            return _conv_reach(program, step, bound, channels)
        case Op.ADD:
            other = step.inputs[1]
            if channels[source] != channels[other] or min(step.shifts) < 0 or len(step.shifts) != 3:
                raise ModelError(f"Instruction {step.name!r} adds tensors that do not fit.")
            half = 2 ** (step.shifts[2] - 1) if step.shifts[2] else 0
            return (bound[source] << step.shifts[0]) + (bound[other] << step.shifts[1]) + half
        case Op.ATTENTION:
            return _attention_reach(program, step, bound, channels)
        case Op.FOLD | Op.UNFOLD:
            factor = step.block**2
            grown = channels[source] * factor if step.op is Op.FOLD else step.channels * factor
            expected = step.channels if step.op is Op.FOLD else channels[source]
            if grown != expected or step.exponent != exponent[source]:
                raise ModelError(f"Instruction {step.name!r} does not fit its input.")
            return 0


def _conv_reach(program: Program, step: Instruction, bound: dict[str, int], channels: dict[str, int]) -> int:
    weight = program.tensors[f"{step.name}.weight"]
    bias = program.tensors[f"{step.name}.bias"]
    shift = program.tensors[f"{step.name}.shift"]
    expected = (step.channels, channels[step.inputs[0]], step.kernel, step.kernel)
    if weight.shape != expected or bias.shape != shift.shape or shift.shape != (step.channels,):
        raise ModelError(f"Instruction {step.name!r} has parameters of the wrong shape.")
    types = [tensor.dtype.name for tensor in (weight, bias, shift)]
    if types != ["int8", "int32", "int8"] or step.kernel not in (1, 2, 3):
        raise ModelError(f"Instruction {step.name!r} has parameters of the wrong type.")
    if int(shift.min()) < 0 or int(shift.max()) > 24:
        raise ModelError(f"Instruction {step.name!r} has a shift outside 0..24.")
    total = np.abs(weight.astype(np.int64)).sum(axis=(1, 2, 3)) * bound[step.inputs[0]]
    total += np.abs(bias.astype(np.int64))
    if len(step.inputs) == 2:
        addend = program.tensors[f"{step.name}.addend_shift"]
        if addend.dtype != np.int8 or addend.shape != shift.shape:
            raise ModelError(f"Instruction {step.name!r} has parameters of the wrong type.")
        addend = addend.astype(np.int64)
        if int(addend.min()) < 0 or int(addend.max()) > 24 or channels[step.inputs[1]] != step.channels:
            raise ModelError(f"Instruction {step.name!r} has an addend that does not fit.")
        if len(set((addend - shift.astype(np.int64)).tolist())) != 1:
            raise ModelError(f"Instruction {step.name!r} has an addend of more than one step.")
        total += bound[step.inputs[1]] << addend
    return int(total.max())


def _attention_reach(
    program: Program, step: Instruction, bound: dict[str, int], channels: dict[str, int]
) -> int:
    query, key, value = step.inputs
    if len({channels[query], channels[key], channels[value], step.channels}) != 1:
        raise ModelError(f"Instruction {step.name!r} mixes tensors of different width.")
    table = program.tensors[f"{step.name}.position"]
    if table.shape != ((2 * step.window - 1) ** 2, step.heads) or step.channels % step.heads:
        raise ModelError(f"Instruction {step.name!r} has a position table of the wrong shape.")
    if table.dtype != np.int16 or program.tensors["exp"].dtype != np.int16:
        raise ModelError(f"Instruction {step.name!r} has a table of the wrong type.")
    exponential = program.tensors["exp"].astype(np.int64)
    if exponential.shape != (EXP_STEPS,) or int(exponential.min()) < 0 or int(exponential[0]) < 1:
        raise ModelError("The program's exponential table is damaged.")
    score_shift, result_shift = step.shifts
    if min(step.shifts) < 0 or max(step.shifts) > 24:
        raise ModelError(f"Instruction {step.name!r} has a shift outside 0..24.")
    keys = step.window**2
    score = bound[query] * bound[key] * (step.channels // step.heads)
    score += (int(np.abs(table.astype(np.int64)).max()) + 1) << score_shift
    division = 2 * PROBABILITY_ONE * int(exponential.max()) + keys * int(exponential.max())
    # Rounded probabilities may exceed one together by at most half a step each.
    mixed = (PROBABILITY_ONE + keys // 2) * bound[value] + (1 << result_shift)
    return max(score, division, mixed)
