"""An audit on a Ray cluster: the same work on the same tree, seen by every machine under the same path.

Nothing is sent to the machines but the names of what to look at: each reads the bundles, the trust roots and
the lists from the shared file system itself, with its own installation of this program. Machines that would
judge differently (another version, other roots, no such folder) are found before the work begins.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from restore_manifests.canonical import canonical_bytes, sha256_hex
from restore_manifests.errors import RestoreError, UndecidableError, UsageError
from restore_sdk.audit_bundle import Options
from restore_sdk.audit_workers import Runner
from restore_sdk.http_client import check_online
from restore_sdk.models import list_models, weights_sha256

__all__ = ["on_cluster"]

T = TypeVar("T")
R = TypeVar("R")

CONNECT_SECONDS = 10.0
PROBE_SECONDS = 120.0
"""For a machine of the cluster to start a process and import this program."""
_AHEAD = 2
"""Tasks handed out for each processor, so that none waits for the next."""


@contextlib.contextmanager
def on_cluster(address: str, options: Options) -> Iterator[Runner]:
    """A `Runner` on the Ray cluster at `address` (`host:port` of its head, or `auto`), for one audit.

    Raises UsageError if Ray is not installed, RESTORE_OFFLINE is set or a machine would judge differently;
    UndecidableError if the cluster does not answer.
    """
    check_online("cluster", "Unset RESTORE_OFFLINE, or audit on this machine alone.")
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError as error:
        raise UsageError(
            "An audit on a cluster needs Ray, which is not installed.",
            hint="Install it with: pip install 'forensic-restore[cluster]'.",
        ) from error
    _connect(ray, address)
    try:
        _probe(ray, options)
        yield _Runner(ray)
    finally:
        ray.shutdown()


class _Runner:
    """See `audit_workers.Runner`."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray

    def __call__(self, work: Callable[[T], R], tasks: Sequence[T], lost: Callable[[T], R], /) -> Iterator[R]:
        ray = self._ray
        # tried once more, elsewhere perhaps, if the process or its machine dies
        remote = ray.remote(num_cpus=1, max_retries=1)(_call)
        shared = ray.put(work)
        limit = max(1, int(ray.cluster_resources().get("CPU", 1))) * _AHEAD
        waiting = deque(tasks)
        running: dict[Any, T] = {}
        while waiting or running:
            while waiting and len(running) < limit:
                task = waiting.popleft()
                running[remote.remote(shared, task)] = task
            done, _ = ray.wait(list(running), num_returns=1)
            for reference in done:
                task = running.pop(reference)
                try:
                    found: R = ray.get(reference)
                except ray.exceptions.RayError:
                    found = lost(task)
                yield found


def _call(work: Callable[[T], R], task: T) -> R:
    """On a machine of the cluster. Ray itself gives a process as many threads as it has processors."""
    os.environ["RESTORE_OFFLINE"] = "1"
    return work(task)


def _connect(ray: Any, address: str) -> None:
    unreachable = UndecidableError(
        f"The cluster at {address} does not answer.",
        hint="Start its head with: ray start --head, and give the address that it prints.",
    )
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "://" not in address:  # at once, where Ray would try for minutes
        try:
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise unreachable from error
    try:
        ray.init(
            address=address,
            namespace="restore-audit",
            logging_level="error",
            log_to_driver=False,
        )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise unreachable from error


def _probe(ray: Any, options: Options) -> None:
    """Ask every machine what it would judge with. Raises UsageError unless all agree with this one."""
    strategy = importlib.import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
    remote = ray.remote(num_cpus=0, max_retries=0)(_introduce)
    expected = _judgement(options)
    asked = {
        node["NodeManagerAddress"]: remote.options(
            scheduling_strategy=strategy(node_id=node["NodeID"], soft=False)
        ).remote(options)
        for node in ray.nodes()
        if node["Alive"]
    }
    for machine, reference in asked.items():
        try:
            said = ray.get(reference, timeout=PROBE_SECONDS)
        except ray.exceptions.RayError as error:
            said = f"it cannot run this program ({type(error).__name__})"
        if said != expected:
            reason = said if " " in said else "its programs, weights, trust roots or lists are other ones"
            raise UsageError(
                f"The machine {machine} of the cluster would judge differently: {reason}.",
                hint="Install the same versions and models everywhere; share the files under the same paths.",
            )


def _introduce(options: Options) -> str:
    """On a machine of the cluster: the digest of what it would judge with, or why it cannot."""
    if not options.root.is_dir():
        return f"it has no folder {options.root}"
    try:
        return _judgement(options)
    except RestoreError as error:
        return error.message.rstrip(".")


def _judgement(options: Options) -> str:
    """SHA-256 over what a machine judges with: programs, options, files named, and the weights installed."""
    weights = {model["id"]: weights_sha256(model["id"]) for model in list_models()}
    return sha256_hex(canonical_bytes({"options": options.digest(), "weights": weights}))
