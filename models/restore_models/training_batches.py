"""The batches of a training run, made ahead of their steps by threads or by processes of their own."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from restore_models.data import Batch, PatchSource
from restore_models.training_config import TrainingConfig

__all__ = ["Share", "patch_source", "upcoming"]

_AHEAD = 3
"""Batches in the making while one is trained on."""


@dataclass(frozen=True, slots=True)
class Share:
    """The patches of every batch that one process takes: each `count`-th of `batch`, from `rank` on."""

    batch: int
    size: int
    """Side of a patch in pixels."""
    rank: int = 0
    count: int = 1

    def of(self, source: PatchSource, step: int) -> Batch:
        """This share of the batch of one step."""
        return source.patches(step, range(self.rank, self.batch, self.count), self.size)


def patch_source(config: TrainingConfig, photographs: list[NDArray[np.uint8]], seed: int) -> PatchSource:
    """The patches of a configuration, from these photographs (uint8 RGB)."""
    return PatchSource(
        photographs,
        seed=seed,
        shares=config.shares(),
        page_share=config.page_share,
        grey_share=config.grey_share,
        detail_choices=config.detail_choices,
        page_kinds=dict(config.page_kinds),
        fonts=config.fonts,
        cropped_share=config.cropped_share,
        shrunk_share=config.shrunk_share,
        grey=config.grey,
        tone_share=config.tone_share,
        scan_share=config.scan_share,
        film_share=config.film_share,
    )


class _Steps(Dataset[tuple[Tensor, ...]]):
    """Batches as tensors: those come out of another process in shared memory."""

    def __init__(self, source: PatchSource, share: Share, first: int, steps: int) -> None:
        self._source, self._share, self._first, self._steps = source, share, first, steps

    def __len__(self) -> int:
        return self._steps - self._first

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        batch = self._share.of(self._source, self._first + index)
        return tuple(torch.from_numpy(values) for values in (batch.clean, batch.degraded, batch.estimates))


def upcoming(source: PatchSource, share: Share, first: int, steps: int, *, workers: int) -> Iterator[Batch]:
    """The batches of the steps from `first` to before `steps`, in order, the same for any `workers`.

    0: two threads of this process, enough for a processor; else so many processes, for GPUs, which would
    wait for threads that share one interpreter.
    """
    if workers == 0:
        return _by_threads(source, share, first, steps)
    loader = DataLoader(
        _Steps(source.shared(), share, first, steps),
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_it_is,
        multiprocessing_context="spawn",
        worker_init_fn=_alone_on_its_core,
        pin_memory=torch.cuda.is_available(),
    )
    return (Batch(*(tensor.numpy() for tensor in tensors)) for tensors in loader)


def _as_it_is(batch: Any) -> Any:
    return batch


def _alone_on_its_core(_worker: int) -> None:
    cv2.setNumThreads(0)


def _by_threads(source: PatchSource, share: Share, first: int, steps: int) -> Iterator[Batch]:
    with ThreadPoolExecutor(2) as pool:
        ahead = [pool.submit(share.of, source, step) for step in range(first, min(first + _AHEAD, steps))]
        for step in range(first, steps):
            batch = ahead.pop(0).result()
            if step + _AHEAD < steps:
                ahead.append(pool.submit(share.of, source, step + _AHEAD))
            yield batch
