"""Tiny models installed as the shipped ones, for the tests of how models are chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from restore_manifests.keys import Identity, create_identity, load_identity
from restore_manifests.pixels import encode_png
from restore_models import routing, zoo
from restore_models.architecture import PRESETS
from restore_models.network import RestorationNet
from restore_models.program import load_program, save_program
from restore_models.quantise import quantise_network
from restore_sdk.restoration import Restoration, restore

NOISY, QUIET, ENLARGES2 = "tiny-noisy", "tiny-quiet", "tiny-enlarge2"
ALONE, SMALL = "tiny-alone", "tiny-alone-small"
STRONG, SMALL_STRONG = "tiny-strong", "tiny-strong-small"
GREY, SMALL_GREY = "tiny-grey", "tiny-grey-small"
GREY_JPEG, SMALL_GREY_JPEG = "tiny-grey-jpeg", "tiny-grey-jpeg-small"


def _install(
    folder: Path,
    name: str,
    *,
    says_noise: float,
    seed: int,
    says_compressed: float = 0.0,
    says_blurred: float = 0.0,
    views: int = 1,
    **notes: Any,
) -> None:
    """A tiny program that sees the same in everything."""
    network = RestorationNet(PRESETS["tiny"], seed=seed).eval()
    head = network.convs["estimate_head"]
    assert isinstance(head, torch.nn.Conv2d)
    assert head.bias is not None
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.tensor([says_noise, says_blurred, says_compressed, 0.0]))
    batch = torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (2, 3, 64, 64)).astype(np.float32))
    folder.mkdir(parents=True, exist_ok=True)
    notes = {"licence": "Apache-2.0", **notes}
    program = replace(quantise_network(network, [batch], notes), views=views)
    save_program(folder / f"{name}.safetensors", program)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Restoration]:
    """Restores one picture with tiny models installed as the shipped ones; those for noise alone are given no
    picture."""
    home = tmp_path / "home"
    monkeypatch.setenv("RESTORE_HOME", str(home))
    monkeypatch.setattr(zoo, "DEFAULT_MODEL", NOISY)
    monkeypatch.setattr(zoo, "QUIET_MODEL", QUIET)
    monkeypatch.setattr(zoo, "NOISE_MODEL", ALONE)
    monkeypatch.setattr(zoo, "SMALL_NOISE_MODEL", SMALL)
    monkeypatch.setattr(zoo, "STRONG_NOISE_MODEL", STRONG)
    monkeypatch.setattr(zoo, "SMALL_STRONG_NOISE_MODEL", SMALL_STRONG)
    monkeypatch.setattr(routing, "ALONE_COMPRESSION", 0)
    monkeypatch.setattr(zoo, "GREY_MODEL", GREY)
    monkeypatch.setattr(zoo, "SMALL_GREY_MODEL", SMALL_GREY)
    monkeypatch.setattr(zoo, "GREY_JPEG_MODEL", GREY_JPEG)
    monkeypatch.setattr(zoo, "SMALL_GREY_JPEG_MODEL", SMALL_GREY_JPEG)
    monkeypatch.setattr(zoo, "ENLARGING_MODELS", {2: ENLARGES2})
    identity: Identity = create_identity(home, name="Laboratory", passphrase=None, unprotected=True)
    picture = tmp_path / "picture.png"
    picture.write_bytes(encode_png(np.random.default_rng(1).integers(0, 256, (70, 90, 3)).astype(np.uint8)))

    def restore_it(
        says_noise: float, says_compressed: float = 0.0, says_blurred: float = 0.0, **options: Any
    ) -> Restoration:
        _install(home / "models", NOISY, says_noise=says_noise, says_compressed=says_compressed, seed=1)
        _install(home / "models", QUIET, says_noise=0.0, says_blurred=says_blurred, seed=2)
        _install(home / "models", ENLARGES2, says_noise=0.0, seed=3, scale=2)
        _install(home / "models", ALONE, says_noise=says_noise, seed=4)
        _install(home / "models", SMALL, says_noise=says_noise, seed=4, views=8)
        _install(home / "models", STRONG, says_noise=says_noise, seed=7)
        _install(home / "models", SMALL_STRONG, says_noise=says_noise, seed=7, views=8)
        _install(home / "models", GREY, says_noise=says_noise, seed=5, grey=True)
        _install(home / "models", SMALL_GREY, says_noise=says_noise, seed=5, views=8, grey=True)
        _install(home / "models", GREY_JPEG, says_noise=says_noise, seed=6, grey=True)
        _install(home / "models", SMALL_GREY_JPEG, says_noise=says_noise, seed=6, views=8, grey=True)
        return restore(picture, out=tmp_path / "out", identity=identity, force=True, **options)[0]

    return restore_it


@pytest.fixture
def again(tmp_path: Path) -> Callable[..., Restoration]:
    """Restores the picture of `run` once more, with the models that are installed."""

    def restore_again(**options: Any) -> Restoration:
        identity = load_identity(tmp_path / "home", None)
        picture, out = tmp_path / "picture.png", tmp_path / "out"
        return restore(picture, out=out, force=True, identity=identity, **options)[0]

    return restore_again


@pytest.fixture
def install(tmp_path: Path) -> Callable[..., None]:
    """Puts another model in the place of one of `run`."""
    return partial(_install, tmp_path / "home" / "models")


@pytest.fixture
def spoil(tmp_path: Path) -> Callable[[str, float], None]:
    """Gives the residual of a model of `run` a constant, so that two of them can be told apart."""

    def spoil_it(name: str, strength: float) -> None:
        path = tmp_path / "home" / "models" / f"{name}.safetensors"
        program = load_program(path)
        last = next(step for step in program.instructions if step.name == "residual.head")
        bias = program.tensors["residual.head.bias"]
        shift = program.tensors["residual.head.shift"].astype(np.int32)
        bias += (np.int32(strength * 2**last.exponent) << shift).astype(bias.dtype)
        save_program(path, program)

    return spoil_it
