"""The ONNX graph of a program gives the reference's integers, whatever its size, batch and threads."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_manifests.errors import ModelError
from restore_models.architecture import PRESETS
from restore_models.network import RestorationNet
from restore_models.onnx_executor import OnnxRunner, export_onnx
from restore_models.program import LIMIT, Op, Program, certificate, save_program
from restore_models.quantise import quantise_network
from restore_models.reference import run_reference
from restore_models.restorer import Executor, TorchRunner, restore_pixels
from restore_models.vectors import vector_image


def _conftest() -> ModuleType:
    spec = importlib.util.spec_from_file_location("models_conftest", Path(__file__).with_name("conftest.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_program = _conftest().make_program


def assert_same(program: Program, image: np.ndarray, runner: Executor | None = None) -> None:
    expected = run_reference(program, image.astype(np.int64))
    found = (runner or OnnxRunner(program, threads=1)).integers(image.astype(np.int32))
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name].dtype == np.int32
        assert np.array_equal(found[name], values), name


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    scale=st.floats(0.2, 3.0),
    fold=st.sampled_from([1, 2, 4]),
    height=st.integers(1, 3),
    width=st.integers(1, 3),
)
def test_onnx_equals_reference_on_random_programs(
    seed: int, scale: float, fold: int, height: int, width: int
) -> None:
    program = make_program(seed, scale, fold)
    size = (3, height * program.multiple, width * program.multiple)
    assert_same(program, np.random.default_rng(seed).integers(-2500, 2500, size))


def test_one_session_takes_every_size(program: Program) -> None:
    runner = OnnxRunner(program, threads=2)
    rng = np.random.default_rng(0)
    for height, width in ((1, 1), (4, 1), (1, 3), (2, 2), (1, 1)):
        size = (3, height * program.multiple, width * program.multiple)
        assert_same(program, rng.integers(-510, 511, size), runner)


def test_keys_outside_the_image_never_win() -> None:
    """Not even where every score inside is as low as the certificate allows, about -3 million."""
    program = make_program(0, 2.0)
    tensors = dict(program.tensors)
    steps = []
    for step in program.instructions:
        if step.op is not Op.ATTENTION:
            steps.append(step)
            continue
        steps.append(dataclasses.replace(step, shifts=(0, step.shifts[1])))
        for name, level in ((step.inputs[0], 400), (step.inputs[1], -511)):
            weight = np.zeros_like(tensors[f"{name}.weight"])
            weight[:, 0] = 1
            tensors[f"{name}.weight"] = weight
            tensors[f"{name}.bias"] = (level << tensors[f"{name}.shift"].astype(np.int64)).astype(np.int32)
    assert any(step.op is Op.ATTENTION and step.offset for step in steps)
    harsh = dataclasses.replace(program, instructions=tuple(steps), tensors=tensors)
    certificate(harsh)
    image = np.random.default_rng(0).integers(-2047, 2048, (3, program.multiple, 2 * program.multiple))
    assert_same(harsh, image)
    assert_same(harsh, image, TorchRunner(harsh))


def test_a_batch_equals_each_alone(program: Program) -> None:
    session = onnxruntime.InferenceSession(export_onnx(program), providers=["CPUExecutionProvider"])
    images = np.random.default_rng(1).integers(-510, 511, (3, 3, 64, 32)).astype(np.float32)
    together = session.run(None, {"image": images})
    for index in range(3):
        alone = session.run(None, {"image": images[index : index + 1]})
        for one, all_of_them in zip(alone, together, strict=True):
            assert np.array_equal(one[0], all_of_them[index])


def test_pixels_equal_those_of_torch_in_tiles(program: Program) -> None:
    image = vector_image(150, 97, 3, 16)
    ours = restore_pixels(OnnxRunner(program, threads=1), image, tile=program.multiple)
    theirs = restore_pixels(TorchRunner(program), image, tile=None)
    assert (ours.pixels == theirs.pixels).all()
    assert (ours.interval == theirs.interval).all()
    assert ours.estimates == theirs.estimates


def test_the_graph_is_plain_repeatable_and_says_its_program(program: Program) -> None:
    data = export_onnx(program)
    assert data == export_onnx(program)
    model = onnx.load_from_string(data)
    assert {node.domain for node in model.graph.node} == {""}
    assert {entry.key: entry.value for entry in model.metadata_props} == {
        "program_sha256": program.program_sha256()
    }
    assert [output.name for output in model.graph.output] == list(program.outputs)


def test_windows_that_do_not_divide_the_multiple_are_refused(program: Program) -> None:
    narrow = dataclasses.replace(program, multiple=program.multiple // 2)
    with pytest.raises(ModelError, match="do not divide"):
        export_onnx(narrow)


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_one_sentence(
    program: Program, package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModelError, match=f"needs the package {package}") as caught:
        OnnxRunner(program)
    assert "forensic-restore[onnx]" in caught.value.hint
    save_program(tmp_path / "p.safetensors", program)  # the rest of the package needs neither


def test_the_large_preset_runs_as_an_integer_program() -> None:
    """`base`, with weights from a seed: two executors agree, and no sum leaves the certificate."""
    network = RestorationNet(PRESETS["base"], seed=3).eval()
    rng = np.random.default_rng(0)
    batch = torch.from_numpy(rng.uniform(-1, 1, (1, 3, 128, 128)).astype(np.float32))
    program = quantise_network(network, [batch], {"licence": "Apache-2.0"}, compensate=False)
    assert max(certificate(program).values()) < LIMIT
    image = rng.integers(0, 256, (100, 128, 3)).astype(np.uint8)
    one, other = (restore_pixels(runner(program), image) for runner in (TorchRunner, OnnxRunner))
    assert (one.pixels == other.pixels).all()
    assert (one.interval == other.interval).all()
    assert one.estimates == other.estimates
    assert (one.pixels != image).any()
