"""An audit on a Ray cluster of two nodes on this machine; and what is said where there is none."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from restore_cli.__main__ import main
from restore_manifests.errors import UndecidableError, UsageError
from restore_sdk.audit_bundle import Options
from restore_sdk.audit_cluster import on_cluster
from restore_sdk.audit_tree import audit

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: pip install ray")


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where both nodes find their models: what a node is started with stays."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def restore_home(shared_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In place of a home for each test."""
    monkeypatch.setenv("RESTORE_HOME", str(shared_home))
    monkeypatch.setenv("RESTORE_OFFLINE", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    return shared_home


@pytest.fixture(scope="module")
def cluster(shared_home: Path) -> Iterator[str]:
    """The address of two nodes with one processor each."""
    from ray.cluster_utils import Cluster  # noqa: PLC0415

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESTORE_HOME", str(shared_home))
        yield from _two_nodes(Cluster)


def _two_nodes(cluster: Any) -> Iterator[str]:
    node = {"num_cpus": 1, "object_store_memory": 100 << 20}
    nodes = None
    try:
        nodes = cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        nodes.add_node(**node)
        nodes.wait_for_nodes()
    except Exception as error:  # Ray raises plain Exception
        if nodes is not None:
            nodes.shutdown()
        if "timed out" not in str(error):
            raise
        pytest.skip(f"Ray did not start on this machine within its own time limit: {error}")
    try:
        yield nodes.address
    finally:
        nodes.shutdown()


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESTORE_OFFLINE")


def test_without_ray_or_offline_a_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["audit", str(tmp_path), "--cluster", "127.0.0.1:6379"]
    assert main(words) == 2
    assert "RESTORE_OFFLINE" in capsys.readouterr().err
    monkeypatch.delenv("RESTORE_OFFLINE")
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(words) == 2
    assert "forensic-restore[cluster]" in capsys.readouterr().err
    assert main([*words, "--jobs", "2"]) == 2


@needs_ray
@pytest.mark.filterwarnings("default")
def test_a_cluster_that_does_not_answer(tmp_path: Path, online: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with (
        pytest.raises(UndecidableError, match="does not answer"),
        on_cluster(f"127.0.0.1:{port}", Options(tmp_path)),
    ):
        pass


def _die_over(task: int, *, victim: int) -> tuple[int, str]:
    if task == victim:
        os.kill(os.getpid(), signal.SIGKILL)
    return task, "pass"


def _lost(task: int) -> tuple[int, str]:
    return task, "killed"


@needs_ray
@pytest.mark.filterwarnings("default")
def test_two_nodes_judge_as_one_machine_does(
    cluster: str,
    make_bundle: Callable[..., Any],
    tmp_path: Path,
    online: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundles = [make_bundle(tmp_path / "batch" / name, seed=seed) for seed, name in enumerate("abcd")]
    bundles[1].edit.write_bytes(bundles[2].edit.read_bytes() + b"x")
    options = {"trust": bundles[0].root, "log_key": bundles[0].log_key, "recompute": False}
    here = audit(tmp_path / "batch", jobs=1, **options)
    monkeypatch.chdir(tmp_path)
    options["trust"] = bundles[0].root.relative_to(tmp_path)
    there = audit(Path("batch"), cluster=cluster, state=tmp_path / "state", **options)
    assert [(item.path, item.verdict, item.message) for item in there.items] == [
        (item.path, item.verdict, item.message) for item in here.items
    ]
    assert there.counts == {**here.counts, "taken_over": 0}
    again = audit(Path("batch"), cluster=cluster, state=tmp_path / "state", **options)
    assert again.counts["taken_over"] == 4


@needs_ray
@pytest.mark.filterwarnings("default")
def test_a_process_that_dies_there_costs_one_bundle(cluster: str, tmp_path: Path, online: None) -> None:
    with on_cluster(cluster, Options(tmp_path)) as run:
        found = dict(run(partial(_die_over, victim=2), range(5), _lost))
    assert found == {number: "killed" if number == 2 else "pass" for number in range(5)}


@needs_ray
@pytest.mark.filterwarnings("default")
def test_machines_that_would_judge_differently_are_refused(
    cluster: str, tmp_path: Path, online: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="no folder"), on_cluster(cluster, Options(tmp_path / "none")):
        pass
    with monkeypatch.context() as patch:
        patch.setattr(Options, "digest", lambda self: "of this machine only")
        with (
            pytest.raises(UsageError, match="would judge differently"),
            on_cluster(cluster, Options(tmp_path)),
        ):
            pass
    models = tmp_path / "other home" / "models"
    models.mkdir(parents=True)
    (models / "known-here-only.safetensors").write_bytes(b"weights")
    monkeypatch.setenv("RESTORE_HOME", str(models.parent))
    with pytest.raises(UsageError, match="would judge differently"), on_cluster(cluster, Options(tmp_path)):
        pass
