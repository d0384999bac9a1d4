"""A small program with fixed weights, made once: what is tested is the arithmetic, not the restoration."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from restore_models.architecture import PRESETS
from restore_models.network import RestorationNet
from restore_models.program import Program
from restore_models.quantise import quantise_network


def make_network(seed: int = 0, scale: float = 1.0, fold: int = 2, skip: str = "add") -> RestorationNet:
    """The `tiny` network with weights from a seeded generator."""
    rng = np.random.default_rng(seed)
    network = RestorationNet(dataclasses.replace(PRESETS["tiny"], fold=fold, skip=skip)).eval()
    for name, parameter in network.named_parameters():
        values = rng.standard_normal(tuple(parameter.shape)).astype(np.float32)
        fan_in = max(1, int(np.prod(parameter.shape[1:])))
        spread = scale * (0.1 if "head" in name else 0.7) / np.sqrt(fan_in)
        parameter.data = torch.from_numpy(values * np.float32(spread))
    return network


def make_program(seed: int = 0, scale: float = 1.0, fold: int = 2, skip: str = "add") -> Program:
    rng = np.random.default_rng([seed, 1])
    batch = torch.from_numpy(rng.uniform(-1, 1, (2, 3, 64, 64)).astype(np.float32))
    return quantise_network(make_network(seed, scale, fold, skip), [batch], {"licence": "Apache-2.0"})


@pytest.fixture(scope="session")
def program() -> Program:
    return make_program()


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Forty small pictures, so that some are held out."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(40):
        smooth = cv2.GaussianBlur(rng.integers(0, 256, (110, 120, 3)).astype(np.uint8), (0, 0), 3)
        cv2.imwrite(str(folder / f"picture{index}.png"), cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX))
    return folder
