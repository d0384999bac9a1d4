"""The processes of one training run: this one alone, or all that `torchrun` started.

Several processes work on one batch: each takes its share of the patches, and gradients are averaged over
all of them (distributed data parallel; Li et al. 2020), so that a configuration computes the same, up to
rounding, however many there are. Start, placement and exchange are accelerate's (extra `scale`); a run in
one process does not need it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from restore_manifests.errors import UsageError

__all__ = ["Processes"]


class Processes:
    """`count` processes, of which this is number `rank`; the one numbered 0 writes the files."""

    def __init__(self) -> None:
        self._accelerator: Any = None
        self.count, self.rank = 1, 0
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if _started() > 1:
            self._join()

    def _join(self) -> None:
        if importlib.util.find_spec("accelerate") is None:
            raise UsageError(
                "Training in several processes needs accelerate, which is not installed.",
                hint="Install the extra with pip install 'forensic-restore[scale]', or start one process.",
            )
        from accelerate import Accelerator  # noqa: PLC0415 -- an extra

        self._accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="no")
        self.count, self.rank = self._accelerator.num_processes, self._accelerator.process_index
        self.device = self._accelerator.device

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def together(self, network: nn.Module) -> nn.Module:
        """`network`, or the same with its gradients averaged over all processes in the backward pass."""
        if self._accelerator is None:
            return network
        prepared: nn.Module = self._accelerator.prepare_model(network)
        return prepared

    def gathering(self, network: nn.Module, *, last: bool) -> AbstractContextManager[Any]:
        """Around a forward and backward pass: gradients are exchanged in the `last` part of a batch only."""
        if self._accelerator is None or last:
            return contextlib.nullcontext()
        waiting: AbstractContextManager[Any] = self._accelerator.no_sync(network)
        return waiting

    def mean(self, values: Tensor) -> Tensor:
        """The mean of `values` over the processes."""
        if self._accelerator is None:
            return values
        reduced: Tensor = self._accelerator.reduce(values, reduction="mean")
        return reduced

    def close(self) -> None:
        """Waits until all have come here, and leaves them."""
        if self._accelerator is not None:
            self._accelerator.wait_for_everyone()
            self._accelerator.end_training()


def _started() -> int:
    """How many processes torchrun, or another launcher that speaks as it does, has started."""
    try:
        return int(os.environ.get("WORLD_SIZE", "1"))
    except ValueError:
        raise UsageError(
            "WORLD_SIZE is not a number.", hint="Start several processes with torchrun, or unset it."
        ) from None
