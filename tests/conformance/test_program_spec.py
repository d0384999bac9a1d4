"""An executor written from docs/program.md alone, in plain Python, against the package's own.

The first half of this file imports nothing of the package and no library for numbers: it reads the model file
byte by byte and follows the page section by section. Tensors are lists of channels of rows of int.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import operator
import struct
from collections.abc import Iterable
from fractions import Fraction
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from restore_manifests.errors import ModelError
from restore_manifests.pixels import pixels_sha256
from restore_models.architecture import PRESETS
from restore_models.network import RestorationNet
from restore_models.program import (
    LIMIT,
    Op,
    Program,
    certificate,
    exp_table,
    load_program,
    parse_program,
    save_program,
)
from restore_models.quantise import quantise_network
from restore_models.reference import run_reference
from restore_models.resample import enlarge
from restore_models.restorer import TorchRunner, restore_pixels
from restore_models.vectors import ReferenceRunner

VECTORS = Path(__file__).parents[1] / "vectors" / "program"

Plane = list[list[int]]
Tensor = list[Plane]


# --- section 1: the file ---------------------------------------------------------------------------------


def read_model(data: bytes) -> tuple[dict[str, Any], dict[str, tuple[str, tuple[int, ...], bytes]]]:
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    program = json.loads(header.pop("__metadata__")["program"])
    number = 1 + ("views" in program) + ("channel_orders" in program)
    assert program["format"] == f"restore.program/{number}"
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        raw = data[8 + length + begin : 8 + length + end]
        tensors[name] = (entry["dtype"], tuple(entry["shape"]), raw)
    return program, tensors


def numbers(tensor: tuple[str, tuple[int, ...], bytes]) -> list[int]:
    kind, shape, raw = tensor
    return list(struct.unpack(f"<{math.prod(shape)}{ {'I8': 'b', 'I16': 'h', 'I32': 'i'}[kind] }", raw))


# --- section 2: the instructions -------------------------------------------------------------------------


def half(n: int) -> int:
    return 1 << (n - 1) if n else 0


def clamp(x: int, low: int, high: int) -> int:
    return min(max(x, low), high)


def dot(a: Iterable[int], b: Iterable[int]) -> int:
    return sum(map(operator.mul, a, b))


def conv(step: dict[str, Any], tensors: dict[str, Any], source: Tensor, addend: Tensor | None) -> Tensor:
    kernel, name = step["kernel"], step["name"]
    weight, bias, shift = (numbers(tensors[f"{name}.{part}"]) for part in ("weight", "bias", "shift"))
    lift = numbers(tensors[f"{name}.addend_shift"]) if addend else []
    stride, edge = (2, 0) if kernel == 2 else (1, kernel // 2)
    height, width = len(source[0]) // stride, len(source[0][0]) // stride

    def at(i: int, y: int, x: int) -> int:
        inside = 0 <= y < len(source[0]) and 0 <= x < len(source[0][0])
        return source[i][y][x] if inside else 0

    taps = [(j, k) for j in range(kernel) for k in range(kernel)]
    size = len(source) * len(taps)
    result: Tensor = [[[0] * width for _ in range(height)] for _ in range(step["channels"])]
    for y in range(height):
        for x in range(width):
            seen = [
                at(i, stride * y + j - edge, stride * x + k - edge)
                for i in range(len(source))
                for j, k in taps
            ]
            for c in range(step["channels"]):
                total = bias[c] + dot(weight[c * size : (c + 1) * size], seen)
                if addend:
                    total += addend[c][y][x] << lift[c]
                result[c][y][x] = clamp(total >> shift[c], step["low"], step["high"])
    return result


def add(step: dict[str, Any], a: Tensor, b: Tensor) -> Tensor:
    left, right, down = step["shifts"]
    return [
        [
            [
                clamp(((m << left) + (n << right) + half(down)) >> down, step["low"], step["high"])
                for m, n in zip(*rows, strict=True)
            ]
            for rows in zip(*planes, strict=True)
        ]
        for planes in zip(a, b, strict=True)
    ]


def attention(step: dict[str, Any], tensors: dict[str, Any], q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    side, offset, heads = step["window"], step["offset"], step["heads"]
    score_shift, result_shift = step["shifts"]
    position, table = numbers(tensors[f"{step['name']}.position"]), numbers(tensors["exp"])
    height, width, depth = len(q[0]), len(q[0][0]), step["channels"] // heads
    windows: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for y in range(height):
        for x in range(width):
            windows.setdefault(((y + offset) // side, (x + offset) // side), []).append((y, x))
    result: Tensor = [[[0] * width for _ in range(height)] for _ in range(step["channels"])]
    for members in windows.values():
        for head in range(heads):
            own = range(head * depth, (head + 1) * depth)
            keys = [[k[c][y][x] for c in own] for y, x in members]
            values = [[v[c][y][x] for y, x in members] for c in own]
            for y, x in members:
                query = [q[c][y][x] for c in own]
                scores = []
                for key, (ky, kx) in zip(keys, members, strict=True):
                    index = (y - ky + side - 1) * (2 * side - 1) + (x - kx + side - 1)
                    score = (dot(query, key) + half(score_shift)) >> score_shift
                    scores.append(score + position[index * heads + head])
                top = max(scores)
                weights = [table[min(top - score, 2047)] for score in scores]
                total = sum(weights)
                shares = [(4096 * weight + total) // (2 * total) for weight in weights]
                for c, column in zip(own, values, strict=True):
                    mixed = (dot(shares, column) + half(result_shift)) >> result_shift
                    result[c][y][x] = clamp(mixed, step["low"], step["high"])
    return result


def space_to_depth(step: dict[str, Any], source: Tensor) -> Tensor:
    b = step["block"]
    return [[row[k::b] for row in plane[j::b]] for plane in source for j in range(b) for k in range(b)]


def depth_to_space(step: dict[str, Any], source: Tensor) -> Tensor:
    b = step["block"]
    height, width = b * len(source[0]), b * len(source[0][0])
    return [
        [
            [source[c * b * b + (y % b) * b + x % b][y // b][x // b] for x in range(width)]
            for y in range(height)
        ]
        for c in range(step["channels"])
    ]


def execute(program: dict[str, Any], tensors: dict[str, Any], image: Tensor) -> dict[str, Tensor]:
    limit = program["input_limit"]
    made = {"image": [[[clamp(n, -limit, limit) for n in row] for row in plane] for plane in image]}
    for step in program["instructions"]:
        inputs = [made[name] for name in step["inputs"]]
        match step["op"]:
            case "conv":
                made[step["name"]] = conv(step, tensors, inputs[0], inputs[1] if inputs[1:] else None)
            case "add":
                made[step["name"]] = add(step, *inputs)
            case "window_attention":
                made[step["name"]] = attention(step, tensors, *inputs)
            case "space_to_depth":
                made[step["name"]] = space_to_depth(step, inputs[0])
            case "depth_to_space":
                made[step["name"]] = depth_to_space(step, inputs[0])
            case other:
                raise ValueError(other)
    return {output: made[name] for output, name in program["outputs"].items()}


# --- section 5: from pixels to pixels --------------------------------------------------------------------


def turned(tensor: Tensor) -> Tensor:
    """A quarter turn counterclockwise: what is at (y, x) goes to (w - 1 - x, y)."""
    return [[list(column) for column in zip(*plane, strict=True)][::-1] for plane in tensor]


def mirror(tensor: Tensor) -> Tensor:
    return [[row[::-1] for row in plane] for plane in tensor]


def in_views(program: dict[str, Any], tensors: dict[str, Any], image: Tensor) -> dict[str, Tensor]:
    found = []
    for k in range(8):
        order = program["channel_orders"][k] if "channel_orders" in program else [0, 1, 2]
        view = [image[c] for c in order]
        view = mirror(view) if k >= 4 else view
        for _ in range(k % 4):
            view = turned(view)
        outputs = execute(program, tensors, view)
        for _ in range(-k % 4):
            outputs = {name: turned(tensor) for name, tensor in outputs.items()}
        outputs = {name: mirror(tensor) if k >= 4 else tensor for name, tensor in outputs.items()}
        for name, count in (("residual", 3), ("interval", 6)):
            planes: Tensor = [[] for _ in range(count)]
            for i in range(count):
                planes[i - i % 3 + order[i % 3]] = outputs[name][i]
            outputs[name] = planes
        found.append(outputs)
    return {
        name: [
            [
                [(sum(values) + 4) >> 3 for values in zip(*rows, strict=True)]
                for rows in zip(*planes, strict=True)
            ]
            for planes in zip(*(outputs[name] for outputs in found), strict=True)
        ]
        for name in found[0]
    }


def restore(
    program: dict[str, Any], tensors: dict[str, Any], pixels: list[Any], bits: int
) -> tuple[list[Any], Plane, dict[str, int], dict[str, Tensor]]:
    """`pixels`: rows of samples (grey) or of lists of three. Returns result, map, estimates, raw outputs."""
    height, width, multiple = len(pixels), len(pixels[0]), program["multiple"]

    def enter(x: int) -> int:
        return 4 * x - 510 if bits == 8 else (1020 * x + 32767) // 65535 - 510

    def mirrored(i: int, n: int) -> int:
        return min(i % (2 * n), 2 * n - 1 - i % (2 * n))

    grey = isinstance(pixels[0][0], int)
    rows = [mirrored(i, height) for i in range(-(-height // multiple) * multiple)]
    columns = [mirrored(i, width) for i in range(-(-width // multiple) * multiple)]
    image = [
        [[enter(pixels[y][x] if grey else pixels[y][x][c]) for x in columns] for y in rows] for c in range(3)
    ]
    raw = in_views(program, tensors, image) if "views" in program else execute(program, tensors, image)

    exponents = {step["name"]: step["exponent"] for step in program["instructions"]}
    exponent = {output: exponents[name] for output, name in program["outputs"].items()}
    top = 2**bits - 1

    def change(x: int, r: int) -> int:
        b = exponent["residual"] - program["input_exponent"] + 2
        return clamp(((x << b) + (r if bits == 8 else 257 * r) + half(b)) >> b, 0, top)

    result: list[Any] = []
    widths: Plane = []
    unit = 3 << (exponent["interval"] - program["input_exponent"] + 2)
    for y in range(height):
        result.append([])
        widths.append([])
        for x in range(width):
            r = [raw["residual"][c][y][x] for c in range(3)]
            if grey:
                result[y].append(change(pixels[y][x], (2 * sum(r) + 3) // 6))
            else:
                result[y].append([change(pixels[y][x][c], r[c]) for c in range(3)])
            m = 2 * sum(plane[y][x] for plane in raw["interval"])
            widths[y].append(min((2 * m + unit) // (2 * unit), 255))

    cell = 1
    for step in program["instructions"]:
        if step["name"] == program["outputs"]["estimate"]:
            break
        if step["op"] == "space_to_depth":
            cell *= step["block"]
        elif step["op"] == "conv" and step["kernel"] == 2:
            cell *= 2
    down, across = -(-height // cell), -(-width // cell)
    names = ("noise_sigma", "blur_sigma", "jpeg_loss", "scale_log2")
    said = {}
    for name, plane in zip(names, raw["estimate"], strict=True):
        total, u = sum(sum(row[:across]) for row in plane[:down]), (down * across) << exponent["estimate"]
        said[name] = (2000 * total + u) // (2 * u)
    return result, widths, said, raw


# --- section 7: enlargement ------------------------------------------------------------------------------

TAPS = {
    2: (8, [(-2, (-9, 67, 225, -27)), (-1, (-27, 225, 67, -9))]),
    4: (
        11,
        [
            (-2, (-135, 873, 1535, -225)),
            (-2, (-21, 235, 1981, -147)),
            (-1, (-147, 1981, 235, -21)),
            (-1, (-225, 1535, 873, -135)),
        ],
    ),
}


def enlarged(plane: Plane, factor: int, top: int) -> Plane:
    n, phases = TAPS[factor]
    for _ in range(2):  # first the height; the turned picture gets its height, which is the width
        rows = []
        for i in range(len(plane)):
            for first, taps in phases:
                near = [plane[clamp(i + first + k, 0, len(plane) - 1)] for k in range(4)]
                rows.append([dot(taps, old) for old in zip(*near, strict=True)])
        plane = [list(column) for column in zip(*rows, strict=True)]
    return [[clamp((total + half(2 * n)) >> (2 * n), 0, top) for total in row] for row in plane]


# --- section 8: digests ----------------------------------------------------------------------------------


def program_digest(program: dict[str, Any], tensors: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(program, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(tensors):
        kind, shape, raw = tensors[name]
        written = {"I8": "|i1", "I16": "<i2", "I32": "<i4"}[kind]
        axes = f"({shape[0]},)" if len(shape) == 1 else f"({', '.join(map(str, shape))})"
        digest.update(f"\n{name} {written} {axes}\n".encode() + raw)
    return digest.hexdigest()


def pixels_digest(pixels: list[Any], bits: int) -> str:
    grey = isinstance(pixels[0][0], int)
    samples = [s for row in pixels for p in row for s in ([p] if grey else p)]
    head = f"restore.pixels/1\n{len(pixels)} {len(pixels[0])} {1 if grey else len(pixels[0][0])} {bits}\n"
    body = struct.pack(f">{len(samples)}{'B' if bits == 8 else 'H'}", *samples)
    return hashlib.sha256(head.encode() + body).hexdigest()


def tensor_digest(tensor: Any) -> str:
    """Of a raw output in the vector file: int32, little-endian, row-major."""
    flat = [n for plane in tensor for row in plane for n in row]
    return hashlib.sha256(struct.pack(f"<{len(flat)}i", *map(int, flat))).hexdigest()


# --- the comparison --------------------------------------------------------------------------------------


def make_program() -> Program:
    """A `tiny` network with weights from NumPy's generator, large enough that clamps and masks take part."""
    torch.manual_seed(0)
    network = RestorationNet(PRESETS["tiny"]).eval()
    rng = np.random.default_rng(11)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            fan = math.prod(parameter.shape[1:]) if parameter.ndim == 4 else 1
            spread = 1.2 / math.sqrt(fan) if parameter.ndim == 4 else 0.3
            for part, factor in (("qkv", 0.8), ("residual_head", 0.1), ("interval_head", 0.02)):
                spread *= factor if part in name else 1.0
            values = rng.normal(0, spread, tuple(parameter.shape)).astype(np.float32)
            parameter.copy_(torch.from_numpy(values))
    batch = rng.uniform(-1, 1, (2, 3, 64, 64)).astype(np.float32)
    return quantise_network(network, [torch.from_numpy(batch)], {"licence": "Apache-2.0"})


def make_images() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(12)
    ramp = np.linspace(0, 255, 16)[:, None, None] * np.ones((1, 16, 3))
    noisy = np.clip(ramp + rng.normal(0, 40, ramp.shape), 0, 255).astype(np.uint8)
    return {
        "rgb8": noisy,
        "grey8": noisy[:, :, 1].copy(),
        "rgb16": np.clip(
            noisy.astype(np.int64) * 257 + rng.integers(-128, 128, noisy.shape), 0, 65535
        ).astype(np.uint16),
        "grey16-odd": rng.integers(0, 65536, (9, 13), dtype=np.uint16),
    }


VIEWS: dict[str, dict[str, Any]] = {
    "one view": {},
    "eight views": {"views": 8},
    "channels in other orders": {
        "views": 8,
        "channel_orders": (*permutations(range(3)), (1, 2, 0), (0, 1, 2)),
    },
}


@pytest.fixture(scope="module", params=VIEWS)
def model_in_views(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "tiny.safetensors"
    save_program(path, dataclasses.replace(make_program(), **VIEWS[request.param]))
    return path


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "tiny.safetensors"
    save_program(path, make_program())
    return path


def test_keys_outside_do_not_exist_however_low_the_scores_inside(model_file: Path) -> None:
    """Scores of about -8,000,000, which the certificate allows, in windows that the edge cuts."""
    package = load_program(model_file)
    tensors, steps = dict(package.tensors), []
    for step in package.instructions:
        if step.op is Op.ATTENTION:
            step = dataclasses.replace(step, shifts=(0, step.shifts[1]))  # noqa: PLW2901
        elif step.name.endswith((".q", ".k")):
            for part, value in (("weight", 0), ("shift", 0), ("bias", 500 if step.name[-1] == "q" else -500)):
                name = f"{step.name}.{part}"
                tensors[name] = np.full_like(tensors[name], value)
        steps.append(step)
    extreme = dataclasses.replace(package, instructions=tuple(steps), tensors=tensors)
    certificate(extreme)
    image = np.random.default_rng(15).integers(-500, 500, (3, 32, 32))
    reference = run_reference(extreme, image)
    for output, values in TorchRunner(extreme).integers(image.astype(np.int32)).items():
        assert reference[output].tolist() == values.tolist()


@pytest.mark.parametrize("name", make_images())
def test_the_page_alone_gives_the_bytes_of_the_package(model_in_views: Path, name: str) -> None:
    image = make_images()[name]
    package = load_program(model_in_views)
    program, tensors = read_model(model_in_views.read_bytes())

    result, widths, estimates, raw = restore(program, tensors, image.tolist(), image.dtype.itemsize * 8)

    for runner in (ReferenceRunner(package), TorchRunner(package)):
        theirs = restore_pixels(runner, image)
        assert theirs.pixels.tolist() == result
        assert theirs.interval.tolist() == widths
        assert theirs.estimates == estimates
        assert pixels_sha256(theirs.pixels) == pixels_digest(result, image.dtype.itemsize * 8)
    assert program_digest(program, tensors) == package.program_sha256()
    assert result != image.tolist()
    assert set(raw) == {"residual", "interval", "estimate"}


def test_raw_outputs_agree_beyond_the_clamps(model_file: Path) -> None:
    """Whole range of the input, off the grid that pixels can reach, and past `input_limit`."""
    package = load_program(model_file)
    program, tensors = read_model(model_file.read_bytes())
    image = np.random.default_rng(13).integers(-2500, 2500, (3, 32, 32))
    ours = execute(program, tensors, image.tolist())
    reference = run_reference(package, image)
    for output, values in TorchRunner(package).integers(image.astype(np.int32)).items():
        assert ours[output] == reference[output].tolist() == values.tolist()
    assert program_digest(program, tensors) == package.program_sha256()


def test_the_stored_vectors_hold() -> None:
    """What an outsider compares with: for this page's executor and for the package."""
    data = (VECTORS / "tiny.safetensors").read_bytes()
    stored = json.loads((VECTORS / "tiny.json").read_text())
    package, (program, tensors) = parse_program(data, "tiny"), read_model(data)
    assert stored["program_sha256"] == program_digest(program, tensors) == package.program_sha256()
    assert len(stored["vectors"]) >= 4
    for vector in stored["vectors"]:
        result, widths, estimates, raw = restore(program, tensors, vector["pixels"], vector["bits"])
        found = {
            "name": vector["name"],
            "bits": vector["bits"],
            "pixels": vector["pixels"],
            "result": result,
            "confidence": widths,
            "estimates": estimates,
            "pixels_sha256": pixels_digest(result, vector["bits"]),
            "outputs_sha256": {output: tensor_digest(values) for output, values in raw.items()},
        }
        assert found == vector
        image = np.array(vector["pixels"], np.uint8 if vector["bits"] == 8 else np.uint16)
        theirs = restore_pixels(TorchRunner(package), image)
        assert theirs.pixels.tolist() == vector["result"]
        assert theirs.interval.tolist() == vector["confidence"]
        assert theirs.estimates == vector["estimates"]


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_the_page_alone_enlarges_alike(factor: int, kind: type[np.uint8] | type[np.uint16]) -> None:
    top = int(np.iinfo(kind).max)
    image = np.random.default_rng(14).choice([0, top // 3, top], (7, 5)).astype(kind)
    assert enlarge(image, factor).tolist() == enlarged(image.tolist(), factor, top)


@given(st.lists(st.integers(1, 2047), min_size=1, max_size=64), st.integers(0, 2047))
def test_the_floor_of_one_float_division_is_the_integer_quotient(others: list[int], weight: int) -> None:
    total = weight + sum(others[:63])
    above, below = np.float32(4096 * weight + total), np.float32(2 * total)
    assert int(np.floor(above / below)) == (4096 * weight + total) // (2 * total)


def test_the_floor_of_one_float_division_where_it_is_tightest() -> None:
    """Quotients just below a whole number, for every total: the worst cases of the proof."""
    totals = np.arange(1, 64 * 2047 + 1, dtype=np.int64)
    for share in (1, 2, 3, 1023, 1024, 1025, 2047, 2048):
        # the largest weight with 4096 weight + total < 2 share total
        weight = np.maximum((2 * share - 1) * totals - 1, 0) // 4096
        weight = np.minimum(np.minimum(weight, 2047), totals)
        above, below = 4096 * weight + totals, 2 * totals
        quotient = np.floor(above.astype(np.float32) / below.astype(np.float32)).astype(np.int64)
        assert above.max() < LIMIT
        assert np.array_equal(quotient, above // below)


def test_the_table_is_what_the_page_says() -> None:
    assert exp_table().tolist() == [round(2047 * math.exp(-i / 128)) for i in range(2048)]
    worst = min(abs(Fraction(2047 * math.exp(-i / 128)) % 1 - Fraction(1, 2)) for i in range(2048))
    assert worst > Fraction(1, 10**6)  # so no library's exp can round an entry the other way


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("certificate", lambda p, t: t["stem.weight"].__setitem__(slice(None), 127)),
        ("bias", lambda p, t: t["stem.bias"].__setitem__(0, 2**24)),
        ("exp-zero", lambda p, t: t["exp"].__setitem__(0, 0)),
        ("exp-negative", lambda p, t: t["exp"].__setitem__(9, -1)),
        ("shift", lambda p, t: t["stem.shift"].__setitem__(0, 25)),
        ("format", lambda p, t: p.__setitem__("format", "restore.program/2")),
        ("unknown-member", lambda p, t: p["instructions"][0].__setitem__("dilation", 2)),
        ("unknown-op", lambda p, t: p["instructions"][0].__setitem__("op", "softmax")),
        ("made-twice", lambda p, t: p["instructions"].append(p["instructions"][0])),
        ("read-before-made", lambda p, t: p["instructions"].insert(0, p["instructions"][-1])),
        ("no-output", lambda p, t: p["outputs"].pop("estimate")),
        (
            "position-of-floats",
            lambda p, t: p.setdefault("types", {"bottom.0.swin.attention.position": "F16"}),
        ),
        ("shift-unsigned", lambda p, t: p.setdefault("types", {"stem.shift": "U8"})),
        ("kernel", lambda p, t: p["instructions"][1].__setitem__("kernel", 1)),
    ],
)
def test_what_the_page_refuses_is_refused(model_file: Path, name: str, change: Any) -> None:
    data = model_file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    program = json.loads(header["__metadata__"]["program"])
    body = bytearray(data[8 + length :])
    kinds = {"I8": np.int8, "I16": np.int16, "I32": np.int32}
    tensors = {
        key: np.frombuffer(body, kinds[entry["dtype"]], math.prod(entry["shape"]), entry["data_offsets"][0])
        for key, entry in header.items()
        if key != "__metadata__"
    }
    change(program, tensors)
    for key, kind in program.pop("types", {}).items():
        header[key]["dtype"] = kind
    header["__metadata__"]["program"] = json.dumps(program)
    text = json.dumps(header).encode()
    with pytest.raises(ModelError):
        parse_program(len(text).to_bytes(8, "little") + text + bytes(body), f"{name}.safetensors")
