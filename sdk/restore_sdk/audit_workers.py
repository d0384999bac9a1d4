"""Processes that examine bundles one by one, and survive the death of any of them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
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

BATCH_SECONDS = 0.05
"""Long beside handing over a batch, short beside what anybody would notice of it."""
_LARGEST_BATCH = 32


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

    Tasks are handed out in batches of about `BATCH_SECONDS`, so that small ones do not wait for the way there
    and back. When a worker dies the executor cannot say over which task, and gives up all that it holds. So
    there are no more batches under way than workers, and their tasks are then tried again one by one.
    """
    waiting = deque(tasks)
    size = 1
    while waiting:
        suspects: list[T] = []
        with _pool(min(jobs, len(waiting))) as pool:
            running: dict[Future[tuple[list[R], float]], list[T]] = {}
            while (waiting or running) and not suspects:
                while waiting and len(running) < jobs:
                    fair = -(-len(waiting) // (2 * jobs))  # towards the end smaller ones: all end together
                    batch = [waiting.popleft() for _ in range(min(size, fair))]
                    with _undisturbed():
                        running[pool.submit(_batch, work, batch)] = batch
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    batch = running.pop(future)
                    try:
                        found, seconds = future.result()
                    except BrokenProcessPool:
                        suspects.extend(batch)
                        continue
                    size = max(1, min(_LARGEST_BATCH, int(BATCH_SECONDS * len(batch) / max(seconds, 1e-6))))
                    yield from found
            suspects.extend(task for batch in running.values() for task in batch)
        yield from _one_by_one(work, suspects, lost)


def _batch(work: Callable[[T], R], tasks: Sequence[T]) -> tuple[list[R], float]:
    """In a worker: what becomes of the tasks, and the seconds that they took."""
    began = time.perf_counter()
    return [work(task) for task in tasks], time.perf_counter() - began


def _one_by_one(work: Callable[[T], R], suspects: Sequence[T], lost: Callable[[T], R]) -> Iterator[R]:
    """Nothing else is under way, so that a death has one cause; whose second death in a new process is it."""
    waiting = deque(suspects)
    while waiting:
        with _pool(1) as pool:
            fresh = True
            while waiting:
                task = waiting.popleft()
                try:
                    with _undisturbed():
                        again = pool.submit(work, task)
                    found = again.result()
                except BrokenProcessPool:
                    if fresh:
                        yield lost(task)
                    else:  # what was done in that process before may have had a part in it
                        waiting.appendleft(task)
                    break
                fresh = False
                yield found


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
