"""The ONNX Runtime executor: a program as an ONNX graph, with the bytes of the reference.

The graph carries integers in float32 tensors, as `TorchExecutor` does, and for the same reason
(docs/program.md, section 4) the runtime may fuse, reorder and block its sums as it likes. What it must not do
is transform the operands or round them further; see `_session_options`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore_manifests.errors import ModelError
from restore_models.program import EXP_STEPS, LIMIT, PROBABILITY_ONE, Instruction, Op, Program

__all__ = ["OnnxRunner", "export_onnx"]

Integers = NDArray[np.int32]

_OPSET = 17
_IR_VERSION = 8  # of opset 17's time: read by every runtime since 1.12


class OnnxRunner:
    """Runs one program on the CPU through ONNX Runtime, behind the `Executor` protocol of `restorer`.

    Args:
        program: what to run.
        threads: of one run; None: what the runtime chooses, one for each core.

    Raises:
        ModelError: if onnx or onnxruntime is not installed.
    """

    def __init__(self, program: Program, threads: int | None = None) -> None:
        self.program = program
        runtime = _need("onnxruntime")
        self._session = runtime.InferenceSession(
            export_onnx(program),
            sess_options=_session_options(runtime, threads),
            providers=["CPUExecutionProvider"],
        )
        self._names = [output.name for output in self._session.get_outputs()]

    def integers(self, image: Integers) -> dict[str, Integers]:
        """(3, height, width) in, both sides multiples of `program.multiple`; outputs without a batch axis."""
        values = self._session.run(self._names, {"image": image[None].astype(np.float32)})
        return {
            name: np.rint(value[0]).astype(np.int32) for name, value in zip(self._names, values, strict=True)
        }


def _session_options(runtime: ModuleType, threads: int | None) -> Any:
    """All graph optimisations stay on: on the CPU they fuse an addend, a factor 2^-n or a transposition into
    its convolution or product and choose blocked layouts, which reorders sums that the certificate covers.
    Its convolutions are direct or by matrix product; it has no Winograd form. Off for good is the one mode
    that rounds operands, bfloat16 products on 64-bit ARM: bfloat16 does not hold 12-bit activations.
    """
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("mlas.enable_gemm_fastmath_arm64_bfloat16", "0")
    return options


def _need(name: str) -> ModuleType:
    """An optional package, imported only here: the other executors work without it."""
    try:
        return import_module(name)
    except ImportError as problem:
        raise ModelError(
            f"The ONNX executor needs the package {name}, which is not installed.",
            hint="Install it with: pip install forensic-restore[onnx]",
        ) from problem


def export_onnx(program: Program) -> bytes:
    """A program as an ONNX model: input `image` (batch, 3, height, width), float32 that hold integers, both
    sides multiples of `program.multiple`; outputs `residual`, `interval` and `estimate`.

    The same program gives the same bytes under one version of onnx. Its digest is in the model's metadata.
    The graph is of one view: the mean over several is made around it (`views.in_all_views`).

    Raises:
        ModelError: if onnx is not installed, or the program's windows do not divide its `multiple`.
    """
    builder = _Builder(program)
    for step in program.instructions:
        builder.instruction(step)
    data: bytes = builder.model().SerializeToString(deterministic=True)
    return data


class _Builder:
    """Collects nodes and constants; a tensor bears the name of the instruction that makes it."""

    def __init__(self, program: Program) -> None:
        self.onnx: Any = _need("onnx")
        self.program = program
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.shrunk = {"image": 1}
        limit = float(program.input_limit)
        self._clip("image", -limit, limit, "image:clamped")

    def constant(self, name: str, values: Any, kind: Any = np.float32) -> str:
        if name not in self.constants:
            self.constants[name] = self.onnx.numpy_helper.from_array(np.asarray(values, kind), name)
        return name

    def number(self, value: float) -> str:
        return self.constant(f"number:{value}", value)

    def whole(self, *values: int) -> str:
        return self.constant("whole:" + ",".join(map(str, values)), values, np.int64)

    def node(self, operator: str, inputs: Sequence[str], out: str, **attributes: Any) -> str:
        """Appends one ONNX node; returns the name of its result."""
        self.nodes.append(self.onnx.helper.make_node(operator, list(inputs), [out], out, **attributes))
        return out

    def instruction(self, step: Instruction) -> None:
        sources = ["image:clamped" if name == "image" else name for name in step.inputs]
        shrunk = self.shrunk[step.inputs[0]]
        match step.op:
            case Op.CONV:
                self._conv(step, sources)
                shrunk *= 2 if step.kernel == 2 else 1
            case Op.ADD:
                self._add(step, sources)
            case Op.FOLD:
                self._fold(step, sources[0])
                shrunk *= step.block
            case Op.UNFOLD:
                self.node("DepthToSpace", sources, step.name, blocksize=step.block, mode="CRD")
                shrunk //= step.block
            case Op.ATTENTION:
                if self.program.multiple % (shrunk * step.window):
                    raise ModelError(f"The windows of {step.name!r} do not divide the program's multiple.")
                self._attention(step, *sources)
        self.shrunk[step.name] = shrunk

    def _clip(self, source: str, low: float, high: float, out: str) -> str:
        return self.node("Clip", (source, self.number(low), self.number(high)), out)

    def _settle(self, total: str, step: Instruction) -> None:
        floor = self.node("Floor", [total], f"{step.name}:floor")
        self._clip(floor, float(step.low), float(step.high), step.name)

    def _scaled(self, source: str, shift: int, out: str) -> str:
        """source * 2^shift, which is exact."""
        return self.node("Mul", (source, self.number(2.0**shift)), out) if shift else source

    def _rounded(self, source: str, shift: int, out: str) -> str:
        """(source + half(shift)) >> shift before the floor."""
        if not shift:
            return source
        scaled = self._scaled(source, -shift, f"{out}:scaled")
        return self.node("Add", (scaled, self.number(0.5)), out)

    def _conv(self, step: Instruction, sources: list[str]) -> None:
        name, tensors = step.name, self.program.tensors
        shift = tensors[f"{name}.shift"].astype(np.int64)
        scale = np.exp2(-shift.astype(np.float64))
        weight = self.constant(f"{name}.weight", tensors[f"{name}.weight"] * scale[:, None, None, None])
        bias = self.constant(f"{name}.bias", tensors[f"{name}.bias"] * scale)
        stride, edge = (2, 0) if step.kernel == 2 else (1, step.kernel // 2)
        total = self.node(
            "Conv",
            (sources[0], weight, bias),
            f"{name}:sum",
            kernel_shape=[step.kernel] * 2,
            strides=[stride] * 2,
            pads=[edge] * 4,
        )
        if len(sources) == 2:
            gap = int(tensors[f"{name}.addend_shift"][0]) - int(shift[0])
            addend = self._scaled(sources[1], gap, f"{name}:addend")
            total = self.node("Add", (total, addend), f"{name}:total")
        self._settle(total, step)

    def _add(self, step: Instruction, sources: list[str]) -> None:
        left, right, down = step.shifts
        a = self._scaled(sources[0], left - down, f"{step.name}:left")
        b = self._scaled(sources[1], right - down, f"{step.name}:right")
        total = self.node("Add", (a, b), f"{step.name}:sum")
        if down:
            total = self.node("Add", (total, self.number(0.5)), f"{step.name}:half")
        self._settle(total, step)

    def _fold(self, step: Instruction, source: str) -> None:
        """ONNX puts the place in the block before the channel, the program after it."""
        block = step.block**2
        raw = self.node("SpaceToDepth", [source], f"{step.name}:blocks", blocksize=step.block)
        order = np.arange(step.channels).reshape(block, -1).T.reshape(-1)
        places = self.constant(f"{step.name}:order", order, np.int64)
        self.node("Gather", (raw, places), step.name, axis=1)

    def _attention(self, step: Instruction, query: str, key: str, value: str) -> None:
        """Windows as (batch, windows, heads, keys, depth), from SpaceToDepth by the side of a window.

        The sides are multiples of the window, so the padding does not depend on the size of the image.
        """
        name, window = step.name, step.window
        score_shift, result_shift = step.shifts
        q = self._windows(step, query, "q", [0, 4, 2, 1, 3])
        k = self._windows(step, key, "k", [0, 4, 2, 3, 1])
        v = self._windows(step, value, "v", [0, 4, 2, 1, 3])
        product = self.node("MatMul", (q, k), f"{name}:product")
        score = self._rounded(product, score_shift, f"{name}:rounded")
        if score_shift:
            score = self.node("Floor", [score], f"{name}:whole")
        bias = self.constant(f"{name}.position", self._position_bias(step))
        score = self.node("Add", (score, bias), f"{name}:score")
        inside = self._inside(step, query) if step.offset else None
        if inside:
            # Below any score that the certificate allows.
            score = self.node("Where", (inside, score, self.number(-2.0 * LIMIT)), f"{name}:attended")
        top = self.node("ReduceMax", [score], f"{name}:top", axes=[-1], keepdims=1)
        below = self.node("Sub", (top, score), f"{name}:below")
        below = self.node("Min", (below, self.number(EXP_STEPS - 1)), f"{name}:near")
        index = self.node("Cast", [below], f"{name}:index", to=self.onnx.TensorProto.INT32)
        table = self.constant("exp", self.program.tensors["exp"])
        weight = self.node("Gather", (table, index), f"{name}:weight", axis=0)
        if inside:
            weight = self.node("Where", (inside, weight, self.number(0.0)), f"{name}:kept")
        total = self.node("ReduceSum", (weight, self.whole(-1)), f"{name}:total", keepdims=1)
        # One IEEE division; docs/program.md shows why its floor is the floor of the true quotient.
        scaled = self.node("Mul", (weight, self.number(2.0 * PROBABILITY_ONE)), f"{name}:scaled")
        above = self.node("Add", (scaled, total), f"{name}:above")
        under = self.node("Mul", (total, self.number(2.0)), f"{name}:under")
        share = self.node("Floor", [self.node("Div", (above, under), f"{name}:quotient")], f"{name}:share")
        mixed = self._rounded(self.node("MatMul", (share, v), f"{name}:mixed"), result_shift, f"{name}:half")
        rows = self.node("Transpose", [mixed], f"{name}:back", perm=[0, 3, 2, 4, 1])
        rows = self.node("Reshape", (rows, f"{name}:q:shape"), f"{name}:blocks")
        plane = self.node("DepthToSpace", [rows], f"{name}:plane", blocksize=window, mode="DCR")
        if step.offset:
            begin, end = self.whole(step.offset, step.offset), self.whole(*[step.offset - window] * 2)
            plane = self.node("Slice", (plane, begin, end, self.whole(2, 3)), f"{name}:cut")
        self._settle(plane, step)

    def _padded(self, step: Instruction, source: str, out: str) -> str:
        """Zeros round the image, so that it is cut into whole windows."""
        if not step.offset:
            return source
        before, after = step.offset, step.window - step.offset
        return self.node("Pad", (source, self.whole(0, 0, before, before, 0, 0, after, after)), out)

    def _windows(self, step: Instruction, source: str, part: str, order: list[int]) -> str:
        """(batch, channels, h, w) to (batch, keys, heads, depth, windows), then transposed by `order`."""
        name = f"{step.name}:{part}"
        padded = self._padded(step, source, f"{name}:padded")
        blocks = self.node("SpaceToDepth", [padded], f"{name}:blocks", blocksize=step.window)
        if part == "q":
            self.node("Shape", [blocks], f"{name}:shape")
        shape = self.whole(0, step.window**2, step.heads, step.channels // step.heads, -1)
        split = self.node("Reshape", (blocks, shape), f"{name}:split")
        return self.node("Transpose", [split], name, perm=order)

    def _inside(self, step: Instruction, source: str) -> str:
        """Which keys lie inside the image: bool (batch, windows, 1, 1, keys)."""
        name = f"{step.name}:inside"
        plane = self.node("Slice", (source, self.whole(0), self.whole(1), self.whole(1)), f"{name}:plane")
        size = self.node("Shape", [plane], f"{name}:size")
        ones = self.node(
            "ConstantOfShape",
            [size],
            f"{name}:ones",
            value=self.onnx.numpy_helper.from_array(np.ones(1, np.float32)),
        )
        padded = self._padded(step, ones, f"{name}:padded")
        blocks = self.node("SpaceToDepth", [padded], f"{name}:blocks", blocksize=step.window)
        split = self.node("Reshape", (blocks, self.whole(0, step.window**2, 1, 1, -1)), f"{name}:split")
        rows = self.node("Transpose", [split], f"{name}:rows", perm=[0, 4, 2, 3, 1])
        return self.node("Greater", (rows, self.number(0.5)), name)

    def _position_bias(self, step: Instruction) -> NDArray[np.float32]:
        """(heads, keys, keys) from the table of offsets."""
        y, x = (axis.reshape(-1) for axis in np.indices((step.window, step.window)))
        span = 2 * step.window - 1
        offset = (y[:, None] - y + step.window - 1) * span + x[:, None] - x + step.window - 1
        table = self.program.tensors[f"{step.name}.position"].astype(np.float32)
        bias: NDArray[np.float32] = np.ascontiguousarray(table[offset].transpose(2, 0, 1))
        return bias

    def model(self) -> Any:
        """The finished, checked model."""
        helper, real = self.onnx.helper, self.onnx.TensorProto.FLOAT
        channels = {step.name: step.channels for step in self.program.instructions}
        outputs = []
        for output, source in self.program.outputs.items():
            self.node("Identity", [source], output)
            size = ["batch", channels[source], f"{output}_height", f"{output}_width"]
            outputs.append(helper.make_tensor_value_info(output, real, size))
        image = helper.make_tensor_value_info("image", real, ["batch", 3, "height", "width"])
        graph = helper.make_graph(
            self.nodes, "restore.program/1", [image], outputs, list(self.constants.values())
        )
        model = helper.make_model(
            graph,
            producer_name="restore",
            opset_imports=[helper.make_opsetid("", _OPSET)],
            ir_version=_IR_VERSION,
        )
        helper.set_model_props(model, {"program_sha256": self.program.program_sha256()})
        self.onnx.checker.check_model(model)
        return model
