"""Processes that examine bundles one by one, and survive the death of any of them."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Protocol, TypeVar

from restore_manifests.errors import UsageError

__all__ = ["Runner", "in_processes", "job_count"]

T = TypeVar("T")
R = TypeVar("R")


class Runner(Protocol):
    """Gives what `work` makes of each of `tasks`, in the order in which they are done.

    `lost` makes the result of a task whose worker died over it. `work`, tasks and results can be pickled.
    """

    def __call__(
        self, work: Callable[[T], R], tasks: Sequence[T], lost: Callable[[T], R], /
    ) -> Iterator[R]: ...


def job_count(jobs: int | None) -> int:
    """How many processes: as many as asked for (1 to 60), or one per processor. Raises UsageError."""
    if jobs is not None and jobs < 1:
        raise UsageError("An audit needs at least one process.", hint="Leave out --jobs, or give 1 or more.")
    return min(jobs or os.cpu_count() or 1, 60)  # Windows cannot wait for more than 61 processes


def in_processes(
    work: Callable[[T], R], tasks: Sequence[T], lost: Callable[[T], R], jobs: int
) -> Iterator[R]:
    """A `Runner` of `jobs` processes on this machine, once `jobs` is bound.

    When a worker dies the executor cannot say over which task, and gives up all that it holds. So no more
    tasks are handed out than there are workers, and those are then tried again, each in a process alone:
    whichever dies again is the cause.
    """
    waiting = deque(tasks)
    while waiting:
        suspects: list[T] = []
        with _pool(min(jobs, len(waiting))) as pool:
            running: dict[Future[R], T] = {}
            while (waiting or running) and not suspects:
                while waiting and len(running) < jobs:
                    task = waiting.popleft()
                    with _undisturbed():
                        running[pool.submit(work, task)] = task
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    task = running.pop(future)
                    try:
                        yield future.result()
                    except BrokenProcessPool:
                        suspects.append(task)
            suspects.extend(running.values())
        for task in suspects:
            with _pool(1) as pool:
                try:
                    with _undisturbed():
                        again = pool.submit(work, task)
                    yield again.result()
                except BrokenProcessPool:
                    yield lost(task)


def _pool(workers: int) -> ProcessPoolExecutor:
    threads = max(1, (os.cpu_count() or 1) // workers)
    return ProcessPoolExecutor(workers, get_context("spawn"), _prepare, (threads,))


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold Ctrl-C back, here and in workers that start meanwhile: they would show where it caught them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare(threads: int) -> None:
    """In a worker, before anything heavy is imported."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches every process: end without a traceback
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
