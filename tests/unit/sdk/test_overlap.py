"""Stages that overlap: same results, same order, same failures as one after the other."""

from __future__ import annotations

import threading

import pytest

from restore_sdk.overlap import overlapped


def test_results_in_order() -> None:
    assert overlapped(range(5), lambda i: i + 1, lambda i: i * 10, str) == ["10", "20", "30", "40", "50"]
    assert overlapped([7], lambda i: i, lambda i: i, lambda i: i) == [7]
    assert overlapped([], lambda i: i, lambda i: i, lambda i: i) == []


def test_next_is_read_and_last_is_written_while_one_is_computed() -> None:
    """The middle item can only be computed once its neighbours are on their way: alone it would time out."""
    read_last, write_first = threading.Event(), threading.Event()

    def read(item: int) -> int:
        if item == 2:
            read_last.set()
        return item

    def compute(item: int) -> int:
        if item == 1:
            assert read_last.wait(10)
            assert write_first.wait(10)
        return item

    def write(item: int) -> int:
        if item == 0:
            write_first.set()
        return item

    assert overlapped([0, 1, 2], read, compute, write) == [0, 1, 2]


@pytest.mark.parametrize("stage", ["read", "compute", "write"])
@pytest.mark.parametrize("failing", [0, 1, 2])
def test_failure_leaves_what_came_before(stage: str, failing: int) -> None:
    written: list[int] = []

    def fail_at(name: str, item: int) -> int:
        if name == stage and item == failing:
            raise ValueError(f"{name} {item}")
        return item

    def write(item: int) -> int:
        written.append(fail_at("write", item))
        return item

    with pytest.raises(ValueError, match=f"{stage} {failing}"):
        overlapped([0, 1, 2], lambda i: fail_at("read", i), lambda i: fail_at("compute", i), write)
    assert written == list(range(failing))


def test_earlier_failure_is_the_one_that_is_raised() -> None:
    """Writing the first fails while the second is computed, which fails as well."""

    def compute(item: int) -> int:
        if item == 1:
            raise ValueError("second")
        return item

    def write(item: int) -> int:
        raise OSError("first")

    with pytest.raises(OSError, match="first"):
        overlapped([0, 1], lambda i: i, compute, write)
