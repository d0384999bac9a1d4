"""Processes that work through tasks, such that one that dies costs its task and nothing else.

Each process has a pipe of its own, and nobody else holds its ends: when it dies, whatever it was doing, the
other end says so at once, in the middle of a message too. (Pools share a queue and a lock between processes:
one that is killed while it holds them leaves the others, and the parent, waiting for good.)
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from multiprocessing import connection, get_context
from typing import Any, Generic, Protocol, TypeVar

from restore_manifests.errors import UsageError

__all__ = ["Runner", "in_processes", "job_count"]

T = TypeVar("T")
R = TypeVar("R")

BATCH_SECONDS = 0.05
"""Long beside handing over a batch, short beside what anybody would notice of it."""
_LARGEST_BATCH = 32
_END_SECONDS = 5.0
"""For a process that was told to end; then it is killed."""


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
) -> Generator[R, None, None]:
    """A `Runner` of `jobs` processes on this machine, once `jobs` is bound.

    Tasks are handed out in batches of about `BATCH_SECONDS`, so that small ones do not wait for the way there
    and back. Where a process dies, the tasks of its batch are tried again at the end, one by one. Whenever
    the iteration ends, by an exception or by `close` too, the processes are ended within `_END_SECONDS`.
    """
    waiting = deque(tasks)
    count = max(1, min(jobs, len(waiting)))
    suspects: list[T] = []
    workers: list[_Worker[T, R]] = []
    size = 1
    try:
        while waiting or workers:
            while waiting and len(workers) < count:
                workers.append(_Worker(work, count))
            for worker in workers:
                if waiting and not worker.tasks:
                    fair = -(-len(waiting) // (2 * count))  # towards the end smaller ones: all end together
                    worker.give([waiting.popleft() for _ in range(min(size, fair))])
            for worker in _heard_of([worker for worker in workers if worker.tasks]):
                batch, said = worker.tasks, worker.hear()
                if said is None:
                    suspects.extend(batch)
                    workers.remove(worker)
                    worker.end()
                    continue
                found, seconds = said
                size = max(1, min(_LARGEST_BATCH, int(BATCH_SECONDS * len(batch) / max(seconds, 1e-6))))
                yield from found
            if not waiting and not any(worker.tasks for worker in workers):
                break
    finally:
        _end(workers)
    yield from _one_by_one(work, suspects, lost)


def _one_by_one(work: Callable[[T], R], suspects: Sequence[T], lost: Callable[[T], R]) -> Iterator[R]:
    """Nothing else is under way, so that a death has one cause; whose second death in a new process is it."""
    waiting = deque(suspects)
    worker: _Worker[T, R] | None = None
    try:
        while waiting:
            task = waiting.popleft()
            fresh = worker is None
            worker = worker or _Worker(work, 1)
            worker.give([task])
            said = worker.hear()
            if said is not None:
                yield from said[0]
                continue
            worker.end()
            worker = None
            if fresh:
                yield lost(task)
            else:  # what was done in that process before may have had a part in it
                waiting.appendleft(task)
    finally:
        if worker is not None:
            worker.end()


class _Worker(Generic[T, R]):
    """A process, and the `tasks` that it has in hand: none while it is idle."""

    def __init__(self, work: Callable[[T], R], workers: int) -> None:
        """Start one of so many `workers`."""
        self.tasks: list[T] = []
        context = get_context("spawn")
        self._here, there = context.Pipe()
        threads = max(1, (os.cpu_count() or 1) // workers)
        self._process = context.Process(target=_serve, args=(there, threads), daemon=True)
        with _undisturbed():
            self._process.start()
        there.close()
        self._send(work)

    def give(self, tasks: list[T]) -> None:
        """Hand over the next tasks."""
        self.tasks = tasks
        self._send(tasks)

    def hear(self) -> tuple[list[R], float] | None:
        """Wait for what became of the tasks, and the seconds that they took; None if the process died.

        Raises whatever a task raised.
        """
        self.tasks = []
        try:
            said = self._here.recv()
        except (EOFError, OSError):
            return None
        if isinstance(said, BaseException):
            raise said
        found: tuple[list[R], float] = said
        return found

    @property
    def pipe(self) -> connection.Connection[Any, Any]:
        """What becomes readable when the process has said something or died."""
        return self._here

    def end(self) -> None:
        """End the process, whatever it is doing."""
        self.stop()
        self._process.join(_END_SECONDS)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()

    def stop(self) -> None:
        """Tell the process to end, without waiting for it."""
        self._here.close()
        self._process.terminate()

    def _send(self, what: Any) -> None:
        with contextlib.suppress(OSError):  # it has died, which `hear` will say
            self._here.send(what)


def _heard_of(workers: Sequence[_Worker[T, R]]) -> list[_Worker[T, R]]:
    """Those that have something to say, as soon as there are any."""
    ready = connection.wait([worker.pipe for worker in workers])
    return [worker for worker in workers if worker.pipe in ready]


def _end(workers: Sequence[_Worker[T, R]]) -> None:
    for worker in workers:
        worker.stop()  # all at once, then wait
    for worker in workers:
        worker.end()


def _serve(pipe: connection.Connection[Any, Any], threads: int) -> None:
    """In the process: what to do comes first, then tasks, until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent ends this one
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # before anything heavy is imported
    with contextlib.suppress(EOFError, OSError):  # the parent has gone
        work = pipe.recv()
        while True:
            tasks = pipe.recv()
            began = time.perf_counter()
            try:
                said: Any = [work(task) for task in tasks], time.perf_counter() - began
            except Exception as error:  # the caller's to handle
                said = error
            pipe.send(said)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold Ctrl-C back, here and in a process that starts meanwhile: it would show where it was caught."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
