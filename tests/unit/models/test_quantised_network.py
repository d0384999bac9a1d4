"""Training through the rounding: what is trained is what the program will compute."""

from __future__ import annotations

import numpy as np
import torch

from restore_models.architecture import Architecture
from restore_models.network import RestorationNet, to_network_units
from restore_models.quantised_network import QuantisedNetwork
from restore_models.torch_executor import TorchExecutor

SHAPE = Architecture(widths=(16, 32), blocks=(1, 2), head_channels=16)


def _network() -> RestorationNet:
    """With branches that matter: a fresh network's are almost zero, and would hide a wrong one."""
    network = RestorationNet(SHAPE, seed=3)
    rng = np.random.default_rng(4)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            scale = 0.4 / max(1.0, parameter[0].numel() ** 0.5) if parameter.ndim == 4 else 0.05
            drawn = rng.standard_normal(tuple(parameter.shape), dtype=np.float32) * np.float32(scale)
            parameter.add_(torch.from_numpy(drawn) * (3 if "head" in name else 1))
    return network


def _images(seed: int) -> torch.Tensor:
    levels = np.random.default_rng(seed).integers(0, 256, (2, 3, 64, 64)).astype(np.float32)
    return torch.from_numpy(levels / np.float32(255))


def test_computes_what_the_program_computes() -> None:
    network = _network()
    quantised = QuantisedNetwork(network)
    program = quantised.calibrate([to_network_units(_images(1))])
    images = _images(2)
    with torch.no_grad():
        found = quantised(to_network_units(images))
        plain = network(to_network_units(images))
    exact = TorchExecutor(program).run(torch.round(images * 1020) - 510)
    for name, integers in exact.items():
        exponent = program.instruction_exponent(program.outputs[name])
        steps = found[name] * 2.0**exponent
        assert (steps - integers).abs().max() <= 1, name
        assert (steps == integers).float().mean() > 0.999, name
        assert (plain[name] * 2.0**exponent - integers).abs().mean() > 1, name  # there is something to learn


def test_gradients_pass_the_rounding() -> None:
    network = _network()
    quantised = QuantisedNetwork(network)
    quantised.calibrate([to_network_units(_images(1))])
    outputs = quantised(to_network_units(_images(2)))
    sum(values.square().mean() for values in outputs.values()).backward()  # type: ignore[union-attr]
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
