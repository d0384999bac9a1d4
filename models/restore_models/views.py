"""What a program says of an image when it looks at it in several views: turned and mirrored, the mean of all.

The field calls it geometric self-ensemble (Timofte, Rothe, Van Gool: Seven ways to improve example-based
single image super resolution, CVPR 2016). A network that has not learned to treat all directions alike errs
differently in each view, and the mean of the views errs less. The same holds for the order of the channels,
which a program may change from view to view (decision 28).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from restore_models.program import VIEWS

if TYPE_CHECKING:
    from restore_models.restorer import Executor

__all__ = ["CHANNEL_ORDERS", "in_all_views"]

Integers = NDArray[np.int32]

_OF_CHANNELS = ("residual", "interval")
"""The outputs that speak of the image's channels, in groups of three."""

CHANNEL_ORDERS = ((0, 1, 2), (2, 1, 0), (0, 1, 2), (2, 1, 0), (0, 1, 2), (2, 1, 0), (0, 1, 2), (2, 1, 0))
"""What a program has that is exported with its channels in other orders, view by view."""


def in_all_views(
    executor: Executor, image: Integers, progress: Callable[[float], None] | None = None
) -> dict[str, Integers]:
    """The outputs of `executor` for (3, height, width), both sides multiples of the program's `multiple`.

    With eight views, each value is the mean of the eight outputs turned back, rounded half up: the sums are
    whole numbers, so the result depends on no order (docs/program.md, section 5). `progress` is called with
    the finished share, 0 to 1.
    """
    views, orders = executor.program.views, executor.program.channel_orders
    total: dict[str, Integers] = {}
    for view in range(views):
        seen = image[list(orders[view])] if orders else image
        for name, values in executor.integers(_turned(seen, view)).items():
            back = _turned_back(values, view)
            if orders and name in _OF_CHANNELS:
                back = _in_order(back, orders[view])
            total[name] = total[name] + back if view else back
        if progress is not None:
            progress((view + 1) / views)
    if views == 1:
        return total
    return {name: (values + VIEWS // 2) // VIEWS for name, values in total.items()}


def _in_order(values: Integers, order: tuple[int, ...]) -> Integers:
    """(3 or 6, height, width) of a view whose channels are in this order, for the channels as they are."""
    groups = values.reshape(-1, 3, *values.shape[1:])
    return groups[:, np.argsort(order)].reshape(values.shape)


def _turned(image: NDArray[Any], view: int) -> NDArray[Any]:
    mirrored = image[:, :, ::-1] if view & 4 else image
    return np.ascontiguousarray(np.rot90(mirrored, view & 3, axes=(1, 2)))


def _turned_back(values: NDArray[Any], view: int) -> NDArray[Any]:
    upright = np.rot90(values, -(view & 3), axes=(1, 2))
    return upright[:, :, ::-1] if view & 4 else upright
