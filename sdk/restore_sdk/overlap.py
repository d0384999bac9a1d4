"""Three stages over a list of items: the next is read and the last is written while one is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["overlapped"]

Item = TypeVar("Item")
Read = TypeVar("Read")
Computed = TypeVar("Computed")
Written = TypeVar("Written")


def overlapped(
    items: Sequence[Item],
    read: Callable[[Item], Read],
    compute: Callable[[Read], Computed],
    write: Callable[[Computed], Written],
) -> list[Written]:
    """`write(compute(read(item)))` for each item, in order; `compute` runs in the calling thread.

    At most one item is in each stage, so that three are in memory. What fails is raised as if the items had
    been done one after the other: those before it are written, none after it is.
    """
    if len(items) < 2:
        return [write(compute(read(item))) for item in items]
    done: list[Written] = []
    behind: Future[Written] | None = None
    with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "write") as writer:
        ahead = reader.submit(read, items[0])
        for following in (*items[1:], None):
            try:
                opened = ahead.result()
                if following is not None:
                    ahead = reader.submit(read, following)
                computed = compute(opened)
            finally:
                # Also when this item failed: an earlier one that failed is what the caller must hear of.
                if behind is not None:
                    done.append(behind.result())
                    behind = None
            behind = writer.submit(write, computed)
        assert behind is not None  # noqa: S101 -- there was at least one item
        done.append(behind.result())
    return done
