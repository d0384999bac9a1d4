"""External models: tensors only, tiles that blend, one sentence for whatever cannot be run.

Most tests stand a small descriptor in spandrel's place, so that they run without it; the last ones load
random weights of real architectures and want the extra.
"""

from __future__ import annotations

import io
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from restore_manifests.errors import ManifestError, ModelError, UsageError
from restore_models.external import NOT_STATED, ExternalModel, Tiling, load_external
from restore_models.zoo import import_model, known_external, known_models, open_any


class Descriptor:
    """What spandrel gives: a network that mixes neighbours, brightens, and enlarges `scale` times."""

    def __init__(
        self, scale: int = 1, channels: int = 3, tiling: str = "SUPPORTED", multiple: int = 1
    ) -> None:
        self.architecture = SimpleNamespace(name="Mixer")
        self.purpose = "Restoration" if scale == 1 else "SR"
        self.scale = scale
        self.input_channels = self.output_channels = channels
        self.tiling = SimpleNamespace(name=tiling)
        self.size_requirements = SimpleNamespace(multiple_of=multiple)
        self.model = torch.nn.Conv2d(1, 1, 1)
        self.sizes: list[tuple[int, int]] = []

    def eval(self) -> Descriptor:
        return self

    def float(self) -> Descriptor:
        return self

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        assert image.shape[:2] == (1, self.input_channels)
        assert 0 <= float(image.min()) <= float(image.max()) <= 1
        self.sizes.append((image.shape[2], image.shape[3]))
        padded = torch.nn.functional.pad(image, (1, 1, 1, 1), "replicate")
        mixed = torch.nn.functional.avg_pool2d(padded, 3, 1) * 0.9 + 0.05
        return mixed.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)


def model(**options: Any) -> ExternalModel:
    return ExternalModel(Descriptor(**options), file_sha256="0" * 64, licence="MIT")


def stand_in(monkeypatch: pytest.MonkeyPatch, descriptor: Any) -> None:
    """In spandrel's place: a loader that gives `descriptor` for any weights."""
    loader = SimpleNamespace(load_from_state_dict=lambda state: descriptor)
    module = SimpleNamespace(
        ModelLoader=lambda device: loader,
        ImageModelDescriptor=Descriptor,
        canonicalize_state_dict=lambda state: state,
    )
    monkeypatch.setitem(sys.modules, "spandrel", module)


def weights(suffix: str) -> bytes:
    tensors = {"body.0.weight": torch.ones(2, 3)}
    if suffix == ".safetensors":
        return save(tensors, {"license": "CC0-1.0"})
    stream = io.BytesIO()
    torch.save(tensors, stream)
    return stream.getvalue()


def noise(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(70, 90), (70, 90, 3)])
@pytest.mark.parametrize("scale", [1, 2])
def test_type_and_size_are_kept(dtype: Any, shape: tuple[int, ...], scale: int) -> None:
    pixels = noise(*shape, dtype=dtype)
    restored = model(scale=scale).restore(pixels)
    assert restored.dtype == dtype
    assert restored.shape == (70 * scale, 90 * scale, *shape[2:])
    if scale == 1:
        assert abs(float(restored.mean()) - (0.9 * pixels.mean() + 0.05 * np.iinfo(dtype).max)) < 0.02 * (
            np.iinfo(dtype).max
        )


def test_colour_goes_through_a_grey_network_channel_by_channel() -> None:
    pixels = noise(20, 30, 3)
    restored = model(channels=1).restore(pixels)
    for channel in range(3):
        assert (restored[:, :, channel] == model(channels=1).restore(pixels[:, :, channel])).all()


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_tiles_cover_everything_and_blend_without_a_seam(scale: int) -> None:
    pixels = noise(150, 201, 3)
    whole = model(scale=scale).restore(pixels, Tiling(0, 0)).astype(int)
    shares: list[float] = []
    tiled = model(scale=scale).restore(pixels, Tiling(64, 16), shares.append).astype(int)
    # a network that reaches one pixel differs at most near the tiles' own borders, where little weight lies
    assert np.abs(tiled - whole).max() <= 12
    assert (np.abs(tiled - whole) > 1).mean() < 0.05
    assert shares[-1] == 1
    constant = np.full((150, 201, 3), 100, np.uint8)
    assert len(np.unique(model(scale=scale).restore(constant, Tiling(64, 32)))) == 1


def test_tiles_follow_the_architecture() -> None:
    assert model().tiling == Tiling(512, 32)
    assert model(scale=4).tiling == Tiling(256, 32)
    assert model(multiple=48).tiling == Tiling(528, 48)
    assert model(tiling="DISCOURAGED").tiling == Tiling(1024, 128)
    assert model(tiling="DISCOURAGED").tiling_discouraged
    assert model(tiling="INTERNAL").tiling == Tiling(0, 0)
    descriptor = Descriptor(multiple=8)
    ExternalModel(descriptor, file_sha256="", licence="").restore(noise(64, 700), Tiling(512, 32))
    assert descriptor.sizes == [(64, 512), (64, 700 - 480)]


@pytest.mark.parametrize(("tile", "overlap"), [(16, 0), (-1, 0), (64, 33), (64, -1), (0, 8)])
def test_tilings_that_never_end_are_refused(tile: int, overlap: int) -> None:
    with pytest.raises(ManifestError, match="not known"):
        Tiling(tile, overlap)


def test_what_a_network_cannot_do_is_one_sentence() -> None:
    def broken(message: str | None) -> ExternalModel:
        descriptor = Descriptor()

        def call(self: Descriptor, image: torch.Tensor) -> torch.Tensor:
            if message:
                raise RuntimeError(message)
            return image * float("nan")

        descriptor.__class__ = type("Broken", (Descriptor,), {"__call__": call})
        return ExternalModel(descriptor, file_sha256="", licence="")

    with pytest.raises(ModelError, match="cannot take an image of 9 x 8"):
        broken("Kernel size can't be greater").restore(noise(8, 9))
    with pytest.raises(MemoryError):
        broken("DefaultCPUAllocator: can't allocate memory: you tried").restore(noise(8, 9))
    with pytest.raises(ModelError, match="no numbers"):
        broken(None).restore(noise(8, 9))


# ---- files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".ckpt"])
def test_models_are_imported_once_with_their_licence(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, Descriptor())
    file, folder = tmp_path / f"mixer{suffix}", tmp_path / "models"
    file.write_bytes(weights(suffix))
    found, opened = open_any(file, folder)
    assert isinstance(opened, ExternalModel)
    assert (found.id, found.external) == ("mixer", True)
    assert opened.licence == ("CC0-1.0" if suffix == ".safetensors" else NOT_STATED)
    import_model(file, folder, licence="MIT")
    with pytest.raises(ModelError, match="already installed"):
        import_model(file, folder)
    file.unlink()
    _, again = open_any("mixer", folder)
    assert isinstance(again, ExternalModel)
    assert (again.licence, again.file_sha256) == ("MIT", opened.file_sha256)
    assert [entry.id for entry in known_external(folder)] == ["mixer"]
    assert all(entry.shipped for entry in known_models(folder))


def test_a_program_states_its_own_licence(tmp_path: Path) -> None:
    shipped = next(iter(known_models(tmp_path)), None)
    if shipped is None:
        pytest.skip("no weights are shipped")
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(shipped.path.read_bytes())
    with pytest.raises(UsageError, match="states its licence itself"):
        import_model(copy, tmp_path / "models", licence="MIT")


class _Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("harm-was-done").touch, ())


def test_code_in_a_file_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, Descriptor())
    monkeypatch.chdir(tmp_path)
    zipped, plain = io.BytesIO(), pickle.dumps({"weight": _Harmful()})
    torch.save({"weight": _Harmful()}, zipped)
    for data in (zipped.getvalue(), plain):
        for name in ("evil.pth", "evil.pt", "evil.ckpt"):
            with pytest.raises(ModelError, match="more than tensors"):
                load_external(data, name)
    assert not (tmp_path / "harm-was-done").exists()
    with pytest.raises(ModelError, match="damaged"):
        load_external(b"nothing", "x.safetensors")
    stream = io.BytesIO()
    torch.save([torch.ones(1)], stream)
    with pytest.raises(ModelError, match="no weights by name"):
        load_external(stream.getvalue(), "list.pth")


def test_networks_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = weights(".pth")
    for descriptor, said in (
        (Descriptor(scale=3), "enlarges 3 times"),
        (Descriptor(channels=4), "does not turn a picture into a picture"),
    ):
        stand_in(monkeypatch, descriptor)
        with pytest.raises(ModelError, match=said):
            load_external(data, "x.pth")
    masked = SimpleNamespace(**{**vars(Descriptor()), "architecture": SimpleNamespace(name="LaMa")})
    stand_in(monkeypatch, masked)
    with pytest.raises(ModelError, match=r"LaMa network in .* does not turn"):
        load_external(data, "x.pth")


def test_without_the_extra_it_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spandrel", None)
    file = tmp_path / "mixer.pth"
    file.write_bytes(weights(".pth"))
    with pytest.raises(ModelError, match="extra spandrel") as caught:
        open_any(file, tmp_path / "models")
    assert "forensic-restore[spandrel]" in caught.value.hint
    with pytest.raises(ModelError, match=r"no model 'nowhere\.pth'"):
        open_any("nowhere.pth", tmp_path / "models")


# ---- spandrel itself -------------------------------------------------------------------------------------


def compact(scale: int) -> bytes:
    """Random weights of the smallest Compact network (Real-ESRGAN's SRVGGNet)."""
    module = pytest.importorskip("spandrel.architectures.Compact", reason="needs the extra spandrel")
    torch.manual_seed(0)
    network = module.Compact(num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=2, upscale=scale)
    stream = io.BytesIO()
    torch.save({"params": network.state_dict()}, stream)
    return stream.getvalue()


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_spandrel_reads_a_network_of_random_weights(scale: int) -> None:
    opened = load_external(compact(scale), "compact.pth")
    assert (opened.scale, opened.licence) == (scale, NOT_STATED)
    assert "Compact" in opened.architecture
    assert opened.parameters() > 100
    pixels = noise(40, 52, 3)
    restored = opened.restore(pixels)
    assert restored.shape == (40 * scale, 52 * scale, 3)
    assert (restored == opened.restore(pixels)).all()


def test_spandrel_pads_to_what_the_architecture_wants() -> None:
    module = pytest.importorskip("spandrel.architectures.NAFNet", reason="needs the extra spandrel")
    torch.manual_seed(0)
    network = module.NAFNet(
        img_channel=3, width=8, middle_blk_num=1, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1]
    )
    stream = io.BytesIO()
    torch.save(network.state_dict(), stream)
    opened = load_external(stream.getvalue(), "nafnet.pth")
    assert opened.restore(noise(13, 9, 3)).shape == (13, 9, 3)


def test_spandrel_does_not_know_everything() -> None:
    pytest.importorskip("spandrel", reason="needs the extra spandrel")
    with pytest.raises(ModelError, match="No architecture that spandrel knows"):
        load_external(weights(".pth"), "strange.pth")
