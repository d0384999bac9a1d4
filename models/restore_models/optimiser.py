"""How parameters are stepped: AdamW for all of them, or Muon for the hidden convolutions beside it.

Muon (Jordan et al. 2024) replaces a matrix's momentum by the nearest matrix whose singular values are all
about one, so that no direction of a layer learns slowly because another has large gradients. Kernels count
as matrices of one row an output channel. First and last layers, biases and position tables stay with AdamW
(Loshchilov and Hutter 2019), as its authors advise.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["OptimiserKind", "ParameterOptimiser"]

OptimiserKind = Literal["adamw", "muon"]


class ParameterOptimiser:
    """Steps named parameters; its state goes in and out by their names.

    Both kinds take one learning rate: Muon's steps are scaled to the size that AdamW's would have (Liu et
    al. 2025, "Muon is Scalable for LLM Training", section 2.2).
    """

    def __init__(
        self,
        kind: OptimiserKind,
        parameters: dict[str, nn.Parameter],
        *,
        betas: tuple[float, float],
        weight_decay: float,
    ) -> None:
        self._parameters = parameters
        names = [name for name, p in parameters.items() if kind == "muon" and _is_hidden(name, p)]
        self._matrices = {name: nn.Parameter(_matrix_of(parameters[name])) for name in names}
        self._plain = {name: p for name, p in parameters.items() if name not in self._matrices}
        self._adamw = torch.optim.AdamW(self._plain.values(), lr=1.0, betas=betas, weight_decay=weight_decay)
        self._muon = (
            torch.optim.Muon(
                self._matrices.values(), lr=1.0, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
            )
            if self._matrices
            else None
        )

    def step(self, rate: float) -> None:
        """One step along the gradients at learning rate `rate`."""
        for optimiser in self._optimisers():
            for group in optimiser.param_groups:
                group["lr"] = rate
        for name, matrix in self._matrices.items():
            kernel = self._parameters[name]
            # Anew at every step: bringing processes together moves the kernels to other memory.
            matrix.data = _matrix_of(kernel)
            matrix.grad = None if kernel.grad is None else _as_matrix(kernel.grad)
        for optimiser in self._optimisers():
            optimiser.step()

    def zero_grad(self) -> None:
        """Forgets the gradients."""
        for parameter in self._parameters.values():
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """`first.<name>` and, for AdamW, `second.<name>`: the moments so far."""
        tensors: dict[str, Tensor] = {}
        for name, parameter in self._plain.items():
            if state := self._adamw.state.get(parameter):
                tensors[f"first.{name}"] = state["exp_avg"]
                tensors[f"second.{name}"] = state["exp_avg_sq"]
        if self._muon is not None:
            for name, matrix in self._matrices.items():
                if state := self._muon.state.get(matrix):
                    tensors[f"first.{name}"] = state["momentum_buffer"]
        return tensors

    def load_state(self, step: int, first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
        """The reverse of `state`, by plain parameter names; what is absent starts from nothing."""
        for name, parameter in self._plain.items():
            if name in first and name in second:
                self._adamw.state[parameter] = {
                    "step": torch.tensor(float(step)),
                    "exp_avg": _like(first[name], parameter),
                    "exp_avg_sq": _like(second[name], parameter),
                }
        if self._muon is not None:
            for name, matrix in self._matrices.items():
                if name in first and first[name].shape == matrix.shape:
                    self._muon.state[matrix] = {"momentum_buffer": _like(first[name], matrix)}

    def _optimisers(self) -> list[torch.optim.Optimizer]:
        return [self._adamw] if self._muon is None else [self._adamw, self._muon]


def _is_hidden(name: str, parameter: nn.Parameter) -> bool:
    """Kernels between the first convolution and the heads."""
    module = name.removeprefix("convs.")
    return parameter.ndim == 4 and not module.startswith("stem.") and "_head." not in module


def _as_matrix(kernel: Tensor) -> Tensor:
    """(out, in, h, w) as (out, h w in)."""
    return kernel.detach().permute(0, 2, 3, 1).reshape(kernel.shape[0], -1)


def _matrix_of(parameter: nn.Parameter) -> Tensor:
    """As `_as_matrix`, in the parameter's own memory, which has to hold channels last: steps go there."""
    return parameter.detach().permute(0, 2, 3, 1).view(parameter.shape[0], -1)


def _like(values: Tensor, parameter: Tensor) -> Tensor:
    """A copy of `values` on the device and in the memory layout of `parameter`."""
    return torch.empty_like(parameter, requires_grad=False).copy_(values)
