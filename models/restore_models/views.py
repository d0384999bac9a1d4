"""What a program says of an image when it looks at it in several views: turned and mirrored, the mean of all.

The field calls it geometric self-ensemble (Timofte, Rothe, Van Gool: Seven ways to improve example-based
single image super resolution, CVPR 2016). A network that has not learned to treat all directions alike errs
differently in each view, and the mean of the views errs less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from restore_models.restorer import Executor

__all__ = ["in_all_views"]

Integers = NDArray[np.int32]


def in_all_views(executor: Executor, image: Integers) -> dict[str, Integers]:
    """The outputs of `executor` for (3, height, width), both sides multiples of the program's `multiple`.

    With eight views, each value is the mean of the eight outputs turned back, rounded half up: the sums are
    whole numbers, so the result depends on no order (docs/program.md, section 6).
    """
    views = executor.program.views
    if views == 1:
        return executor.integers(image)
    total: dict[str, Integers] = {}
    for view in range(views):
        for name, values in executor.integers(_turned(image, view)).items():
            back = _turned_back(values, view)
            total[name] = total[name] + back if view else back
    return {name: (values + views // 2) // views for name, values in total.items()}


def _turned(image: NDArray[Any], view: int) -> NDArray[Any]:
    mirrored = image[:, :, ::-1] if view & 4 else image
    return np.ascontiguousarray(np.rot90(mirrored, view & 3, axes=(1, 2)))


def _turned_back(values: NDArray[Any], view: int) -> NDArray[Any]:
    upright = np.rot90(values, -(view & 3), axes=(1, 2))
    return upright[:, :, ::-1] if view & 4 else upright
