"""The integer program: the executor equals the reference, tiles equal the whole, the certificate holds."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_manifests.errors import ModelError, UsageError
from restore_models.program import LIMIT, Program, certificate, load_program, parse_program, save_program
from restore_models.reference import run_reference
from restore_models.restorer import TorchRunner, restore_pixels
from restore_models.torch_executor import TorchExecutor
from restore_models.vectors import ReferenceRunner, vector_image


def _conftest() -> ModuleType:
    spec = importlib.util.spec_from_file_location("models_conftest", Path(__file__).with_name("conftest.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_program = _conftest().make_program


def _changed(program: Program, name: str, index: int, value: int) -> Program:
    tensor = program.tensors[name].copy()
    tensor.reshape(-1)[index] = value
    return dataclasses.replace(program, tensors={**program.tensors, name: tensor})


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    scale=st.floats(0.2, 3.0),
    fold=st.sampled_from([1, 2, 4]),
    skip=st.sampled_from(["add", "project", "none"]),
    height=st.integers(1, 2),
    width=st.integers(1, 2),
)
def test_torch_equals_reference_on_random_programs(
    seed: int, scale: float, fold: int, skip: str, height: int, width: int
) -> None:
    program = make_program(seed, scale, fold, skip)
    rng = np.random.default_rng(seed)
    size = (3, height * program.multiple, width * program.multiple)
    image = rng.integers(-2500, 2500, size)  # beyond the limit too: it is clamped
    expected = run_reference(program, image)
    for products in (False, True):  # by convolutions, and as on a GPU
        executor = TorchExecutor(program, products=products)
        found = executor.run(torch.from_numpy(image[None].astype(np.float32)))
        for name, values in expected.items():
            assert (found[name][0].numpy() == values).all(), (products, name)


def test_result_does_not_depend_on_threads(program: Program) -> None:
    image = vector_image(64, 96, 3, 8)
    threads = torch.get_num_threads()
    results = []
    for count in (1, 2):
        torch.set_num_threads(count)
        results.append(restore_pixels(TorchRunner(program), image).pixels)
    torch.set_num_threads(threads)
    assert (results[0] == results[1]).all()


def test_batch_of_images_equals_each_alone(program: Program) -> None:
    rng = np.random.default_rng(1)
    images = torch.from_numpy(rng.integers(-510, 510, (4, 3, 64, 32)).astype(np.float32))
    executor = TorchExecutor(program)
    together = executor.run(images)
    for index in range(4):
        alone = executor.run(images[index : index + 1])
        for name in together:
            assert torch.equal(together[name][index], alone[name][0])


@pytest.mark.filterwarnings("ignore:TF32 acceleration")  # said by PyTorch whenever the flags are set
def test_large_batch_without_onednn_equals_reference(program: Program) -> None:
    """Where PyTorch would turn to a convolution that transforms its operands."""
    rng = np.random.default_rng(2)
    size = program.multiple
    images = rng.integers(-510, 510, (17, 3, size, size))
    executor = TorchExecutor(program)
    with torch.backends.mkldnn.flags(enabled=False):
        found = executor.run(torch.from_numpy(images.astype(np.float32)))
    for index in (0, 8, 16):
        for name, values in run_reference(program, images[index]).items():
            assert (found[name][index].numpy() == values).all(), name


@pytest.mark.parametrize("shape", [(200, 150, 3), (97, 300), (1, 1), (5, 260, 3)])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("fold", "views"), [(1, 1), (2, 1), (2, 8)])
def test_tiles_equal_whole(shape: tuple[int, ...], bits: int, fold: int, views: int) -> None:
    program = dataclasses.replace(make_program(fold=fold), views=views)
    image = vector_image(shape[0], shape[1], 3 if len(shape) == 3 else 1, bits)
    runner = TorchRunner(program)
    whole = restore_pixels(runner, image, tile=None)
    assert whole.pixels.shape == image.shape
    assert whole.pixels.dtype == image.dtype
    for tile in (program.multiple, 2 * program.multiple):
        tiled = restore_pixels(runner, image, tile=tile)
        assert (tiled.pixels == whole.pixels).all()
        assert (tiled.interval == whole.interval).all()
        assert tiled.estimates == whole.estimates


def test_halo_is_not_larger_than_needed(program: Program) -> None:
    """One alignment step less and some pixel changes: so the proof of the halo is a real one."""
    image = vector_image(8 * program.multiple, 2 * program.multiple, 3, 8)
    smaller = dataclasses.replace(program, halo=program.halo - program.multiple)
    whole = restore_pixels(TorchRunner(program), image, tile=None)
    short = restore_pixels(TorchRunner(smaller), image, tile=program.multiple)
    assert (short.pixels != whole.pixels).any() or (short.interval != whole.interval).any()


def test_tile_must_be_a_multiple(program: Program) -> None:
    with pytest.raises(UsageError, match="does not fit"):
        restore_pixels(TorchRunner(program), vector_image(8, 8, 3, 8), tile=program.multiple + 1)


def test_reference_and_torch_agree_on_pixels(program: Program) -> None:
    for shape in ((40, 33, 3, 8), (33, 40, 1, 16)):
        image = vector_image(*shape)
        one, other = (restore_pixels(runner(program), image) for runner in (ReferenceRunner, TorchRunner))
        assert (one.pixels == other.pixels).all()
        assert (one.interval == other.interval).all()


def test_round_trip_through_a_file(program: Program, tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    save_program(path, program)
    again = load_program(path)
    assert again.program_sha256() == program.program_sha256()
    assert again.notes == program.notes
    assert again.instructions == program.instructions


def test_the_same_program_is_written_to_the_same_bytes(program: Program, tmp_path: Path) -> None:
    """In any process: the library that writes orders metadata at random in each."""
    path = tmp_path / "program.safetensors"
    save_program(path, program)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length]
    assert length % 8 == 0
    assert header.strip() == json.dumps(json.loads(header), sort_keys=True, separators=(",", ":")).encode()
    load_program(path)


def test_one_weight_beyond_the_certificate_is_refused(program: Program) -> None:
    """Weights at their largest in one channel: 127 * 9 * 32 * 2047 is well beyond 2^24."""
    name = next(
        n for n in program.tensors if n.endswith("conv1.weight") and program.tensors[n].shape[1] >= 16
    )
    tensor = program.tensors[name].copy()
    tensor[0] = 127
    broken = dataclasses.replace(program, tensors={**program.tensors, name: tensor})
    with pytest.raises(ModelError, match="beyond the exact range"):
        certificate(broken)


def test_certificate_is_tight(program: Program) -> None:
    """Raising a bias to the bound is accepted, one more is refused."""
    step = next(s for s in program.instructions if s.name == "down0")
    (source,) = (s for s in program.instructions if step.inputs == (s.name,))
    weight = np.abs(program.tensors["down0.weight"].astype(np.int64)).sum(axis=(1, 2, 3))
    room = LIMIT - 1 - int(weight[0]) * max(-source.low, source.high)
    certificate(_changed(program, "down0.bias", 0, room))
    with pytest.raises(ModelError, match="down0"):
        certificate(_changed(program, "down0.bias", 0, room + 1))


def test_first_and_last_weights_are_in_two_parts(program: Program) -> None:
    """Where an error reaches the image, what int8 rounds off is an addend of its own."""
    steps = {step.name: step for step in program.instructions}
    for name in ("stem", "residual.head"):
        assert steps[name].inputs[1] == f"{name}.fine"
        assert steps[f"{name}.fine"].exponent > steps[name].exponent
        assert program.tensors[f"{name}.fine.weight"].any()


def test_one_flipped_bit_changes_the_digest(program: Program) -> None:
    for name in ("stem.weight", "exp", "stem.shift", "stem.bias"):
        old = int(program.tensors[name].reshape(-1)[0])
        assert _changed(program, name, 0, old ^ 1).program_sha256() != program.program_sha256()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_files_are_refused_or_unchanged(
    data: st.DataObject, program: Program, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("p") / "p.safetensors"
    save_program(path, program)
    content = bytearray(path.read_bytes())
    kind = data.draw(st.sampled_from(["flip", "cut", "junk"]))
    if kind == "flip":
        place = data.draw(st.integers(0, min(len(content) - 1, 20_000)))
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "cut":
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        content = bytearray(data.draw(st.binary(max_size=200)))
    try:
        parsed = parse_program(bytes(content), "p")
    except ModelError:
        return
    assert parsed.program_sha256() != program.program_sha256() or parsed.file_sha256 != program.file_sha256


def test_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read") as caught:
        load_program(tmp_path / "none.safetensors")
    assert caught.value.exit_code == 3


def test_preview_is_close_to_exact(program: Program) -> None:
    image = vector_image(64, 64, 3, 8)
    exact = restore_pixels(TorchRunner(program), image).pixels.astype(int)
    preview = restore_pixels(TorchRunner(program, exact=False), image).pixels.astype(int)
    assert np.abs(exact - preview).mean() < 1.0
