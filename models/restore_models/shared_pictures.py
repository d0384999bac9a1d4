"""Pictures that the processes of a training run read from one block of memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["SharedPictures"]


class SharedPictures(Sequence[NDArray[np.uint8]]):
    """A list of uint8 pictures, (height, width, 3), of which other processes are handed no copies."""

    def __init__(self, pictures: Sequence[NDArray[np.uint8]]) -> None:
        self._shapes = [picture.shape for picture in pictures]
        self._ends = np.cumsum([0, *(picture.size for picture in pictures)])
        block = torch.empty(int(self._ends[-1]), dtype=torch.uint8)
        self._block: Tensor = block.share_memory_()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        for index, picture in enumerate(pictures):
            self[index][...] = picture

    def __len__(self) -> int:
        return len(self._shapes)

    @overload
    def __getitem__(self, index: int) -> NDArray[np.uint8]: ...
    @overload
    def __getitem__(self, index: slice) -> list[NDArray[np.uint8]]: ...
    def __getitem__(self, index: int | slice) -> NDArray[np.uint8] | list[NDArray[np.uint8]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        flat: NDArray[np.uint8] = self._block[int(self._ends[index]) : int(self._ends[index + 1])].numpy()
        return flat.reshape(self._shapes[index])
