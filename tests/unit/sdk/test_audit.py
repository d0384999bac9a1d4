"""Auditing a tree: broken, missing, doubled and drifting bundles, killed workers, and the report on it."""

from __future__ import annotations

import base64
import hashlib
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_manifests.errors import StorageError, UsageError
from restore_manifests.report import Check, Verdict
from restore_sdk import audit_tree
from restore_sdk.audit_bundle import Task, lost
from restore_sdk.audit_drift import Facts, drift_of
from restore_sdk.audit_report import render_report, write_report
from restore_sdk.audit_tree import AuditItem, AuditReport, audit
from restore_sdk.audit_workers import in_processes

MakeBundle = Callable[..., Any]
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7*7 }}"


@pytest.fixture
def tree(make_bundle: MakeBundle, tmp_path: Path) -> Path:
    """Two good bundles of one source, a tampered one, an unreadable one, one without result, and orphans."""
    root = tmp_path / "batch"
    make_bundle(root / "a")
    make_bundle(root / "b" / "deep", "second", source_name="second.png")
    changed = make_bundle(root / "c", seed=9)
    changed.edit.write_bytes(changed.confidence.read_bytes())
    broken = make_bundle(root / "d", seed=10)
    broken.manifest.write_bytes(b"{not json")
    make_bundle(root / "e", seed=11).result.unlink()
    make_bundle(root / "f", seed=12).manifest.unlink()
    partial_folder = root / "g" / ".x.restore-partial-0123456789abcdef"
    partial_folder.mkdir(parents=True)
    (partial_folder / "x.manifest.json").write_bytes(b"{}")
    return root


def test_an_audit_names_what_is_wrong_and_goes_on(tree: Path, tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    report = audit(
        tree, jobs=2, recompute=False, trust=tmp_path / "root.pem", progress=lambda *t: told.append(t)
    )
    found = {item.path: item for item in report.items}
    assert {path: item.verdict.value for path, item in found.items() if item.kind == "bundle"} == {
        "a/plate.manifest.json": "pass",
        "b/deep/second.manifest.json": "pass",
        "c/plate.manifest.json": "fail",
        "d/plate.manifest.json": "fail",
        "e/plate.manifest.json": "unable",
    }
    assert {path for path, item in found.items() if item.kind == "orphan"} == {
        "f/plate.restored.png",
        "f/plate.edit.png",
        "f/plate.confidence.png",
        "f/plate.tlog-proof",
        "g/.x.restore-partial-0123456789abcdef",
    }
    assert "edit map" in found["c/plate.manifest.json"].message
    assert [group.kind for group in report.duplicates] == ["source", "result"]
    assert report.duplicates[0].paths == ("a/plate.manifest.json", "b/deep/second.manifest.json")
    assert (report.verdict, report.exit_code) == (Verdict.FAIL, 1)
    assert [share for _, share in told] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    document = report.to_json()
    assert document["verdict"] == "fail"
    assert document["counts"] == {
        "bundles": 5,
        "pass": 2,
        "fail": 2,
        "unable": 1,
        "orphans": 5,
        "duplicates": 2,
        "sources_missing": 0,
        "chains_broken": 0,
        "abstained": 0,
        "drifted": 0,
        "taken_over": 0,
    }
    assert [item["path"] for item in document["items"]] == sorted(found)


def test_a_good_tree_passes_and_an_orphan_alone_makes_it_undecided(
    make_bundle: MakeBundle, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "batch")
    options = {"jobs": 1, "recompute": False, "trust": bundle.root, "log_key": bundle.log_key}
    assert audit(tmp_path / "batch", **options).exit_code == 0
    (tmp_path / "batch" / "stray.restored.png").write_bytes(b"")
    assert audit(tmp_path / "batch", **options).exit_code == 3


def test_an_empty_tree_decides_nothing(tmp_path: Path) -> None:
    report = audit(tmp_path)
    assert (report.verdict, report.exit_code, report.items) == (Verdict.UNABLE, 3, ())


def test_a_loop_of_links_is_not_walked(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "batch" / "a")
    try:
        (bundle.source.parent / "loop").symlink_to(tmp_path / "batch", target_is_directory=True)
        (tmp_path / "batch" / "self.manifest.json").symlink_to("self.manifest.json")
    except OSError:
        pytest.skip("this system lets only administrators make links")
    found = {item.path: item.verdict for item in audit(tmp_path / "batch", jobs=1, recompute=False).items}
    assert found == {"a/plate.manifest.json": Verdict.UNABLE, "self.manifest.json": Verdict.UNABLE}


def test_wrong_use_is_told_before_any_work(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "batch")
    with pytest.raises(UsageError, match="not a folder"):
        audit(bundle.source)
    with pytest.raises(UsageError, match="no certificates"):
        audit(tmp_path / "batch", trust=bundle.source)
    with pytest.raises(UsageError, match="at least one process"):
        audit(tmp_path / "batch", jobs=0)


def _die_over(task: int, *, victim: int) -> tuple[int, str]:
    """Stands for a bundle that exhausts memory: its process is killed, whatever else it was doing."""
    if task == victim:
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
    return task, "pass"


def test_a_killed_worker_costs_one_bundle_only() -> None:
    found = dict(in_processes(partial(_die_over, victim=4), range(9), lambda task: (task, "killed"), 2))
    assert found == {number: "killed" if number == 4 else "pass" for number in range(9)}
    assert "was killed" in str(lost(Task(Path("/audited/4")), root=Path("/audited")).item)


def test_a_killed_worker_among_batches_costs_one_task_only() -> None:
    count = 400  # by then batches are large
    found = dict(in_processes(partial(_die_over, victim=390), range(count), lambda task: (task, "killed"), 2))
    assert found == {number: "killed" if number == 390 else "pass" for number in range(count)}


def _large_or_small(task: int, *, folder: Path) -> bytes:
    if task:
        return b"small"
    while not (folder / "small-is-done").exists():
        time.sleep(0.01)
    (folder / "large-comes").touch()
    return bytes(1 << 23)


def test_a_worker_killed_while_it_tells_its_result_holds_nobody_up(tmp_path: Path) -> None:
    found: list[int] = []
    for result in in_processes(partial(_large_or_small, folder=tmp_path), [0, 1], lambda _: b"killed", 2):
        found.append(len(result))
        if len(found) == 1:
            (tmp_path / "small-is-done").touch()
            while not (tmp_path / "large-comes").exists():
                time.sleep(0.01)
            time.sleep(0.3)  # now the pipe is full of the first part of it, for nobody reads
            for process in multiprocessing.active_children():
                process.kill()
    assert found == [5, 1 << 23]


def _never(task: int) -> int:
    if task:
        time.sleep(600)
    return task


def test_processes_end_with_the_iteration() -> None:
    results = in_processes(_never, range(2), lambda task: task, 2)
    assert next(results) == 0
    working = multiprocessing.active_children()
    assert len(working) == 2
    began = time.monotonic()
    results.close()
    assert time.monotonic() - began < 60
    assert not any(process.is_alive() for process in working)


def _fault(task: int) -> int:
    raise UsageError(f"{task} is wrong")


def test_what_a_task_raises_reaches_the_caller() -> None:
    with pytest.raises(UsageError, match="0 is wrong"):
        list(in_processes(_fault, range(1), lambda task: task, 1))
    assert not multiprocessing.active_children()


def test_no_task_needs_no_process() -> None:
    assert list(in_processes(_fault, [], lambda task: task, 2)) == []


def _facts(day: int, sigma: float, *, abstained: bool = False) -> Facts:
    return Facts(
        created=f"2026-{1 + day // 28:02}-{1 + day % 28:02}T00:00:00Z",
        source="s.png",
        result="r.png",
        edit=None,
        confidence=None,
        source_sha256=str(day),
        result_pixels_sha256=str(day),
        size="1 x 1",
        models=(),
        abstained=abstained,
        values={"estimate: noise_sigma": sigma, "abstained": float(abstained)},
    )


def test_drift_is_seen_where_there_is_one_and_only_there() -> None:
    records = [_facts(day, 10.0 + day % 5 + (8 if day >= 60 else 0)) for day in range(120)]
    found = {series.name: series for series in drift_of(records)}
    noise = found["estimate: noise_sigma"]
    assert noise.drifted
    assert "2026-03-05" in noise.message
    assert [period.name for period in noise.periods] == [f"2026-{month:02}" for month in range(1, 6)]
    assert sum(period.count for period in noise.periods) == 120
    assert not found["abstained"].drifted


@pytest.mark.parametrize(("records", "loaded"), [(19, False), (20, True)])
def test_the_tests_of_drift_are_loaded_beside_the_work_where_they_will_be_needed(
    records: int, loaded: bool
) -> None:
    program = f"""
import sys, threading
from restore_sdk.audit_drift import prepare
prepare({records})
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join()
sys.exit({loaded} != ("scipy.stats" in sys.modules))
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_few_records_say_nothing_about_drift() -> None:
    series = drift_of([_facts(day, float(day)) for day in range(19)])
    assert not any(item.drifted for item in series)
    assert all("too few" in item.message for item in series)


@settings(deadline=None)  # the first call imports a statistics library
@given(st.lists(st.tuples(st.integers(0, 300), st.floats(-1e6, 1e6)), max_size=60))
def test_drift_takes_any_figures(points: list[tuple[int, float]]) -> None:
    for series in drift_of([_facts(day, value) for day, value in points]):
        assert sum(period.count for period in series.periods) == len(points)
        assert all(period.low <= period.median <= period.high for period in series.periods)
        assert series.p_value is None or 0 <= series.p_value <= 1 + 1e-9


class _Page(HTMLParser):
    """The tags of a page and what is in its scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script":
            self.scripts.append(data)


def test_the_report_shows_pictures_and_needs_nothing_from_elsewhere(tree: Path, tmp_path: Path) -> None:
    report = audit(tree, jobs=2, recompute=False, thumbnails=True)
    target = tmp_path / "report.html"
    write_report(report, target)
    page = _Page(target.read_text(encoding="utf-8"))
    pictures = [attributes["src"] or "" for tag, attributes in page.tags if tag == "img"]
    # four in each of three bundles; before the unreadable manifest only the result is known
    assert len(pictures) == 13
    for uri in pictures:
        assert base64.b64decode(uri.removeprefix("data:image/jpeg;base64,")).startswith(b"\xff\xd8")
    sources = [a.get("src") or a.get("href") for tag, a in page.tags if tag != "img"]
    assert not any(sources)
    policy = next(a["content"] or "" for tag, a in page.tags if a.get("http-equiv"))
    digest = base64.b64encode(hashlib.sha256(page.scripts[0].encode()).digest()).decode()
    assert policy.startswith("default-src 'none'")
    assert f"'sha256-{digest}'" in policy
    with pytest.raises(UsageError, match="already exists"):
        write_report(report, target)
    write_report(report, target, force=True)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["report.html", "root.pem"]


def test_markup_in_metadata_stays_text() -> None:
    facts = Facts(
        HOSTILE, HOSTILE, HOSTILE, None, None, HOSTILE, HOSTILE, HOSTILE, (HOSTILE,), True, {HOSTILE: 1.0}
    )
    item = AuditItem(
        "bundle", HOSTILE, Verdict.FAIL, HOSTILE, (Check(HOSTILE, Verdict.FAIL, HOSTILE, HOSTILE),), facts
    )
    group = audit_tree.Duplicate("source", HOSTILE, (HOSTILE, HOSTILE))
    hostile = AuditReport(HOSTILE, (item,), (group,), tuple(drift_of([facts, facts])))
    tame = AuditReport("x", (item,), (group,), hostile.drift)
    page = _Page(render_report(hostile))
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not any(tag == "img" for tag, _ in page.tags)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert len(page.tags) == len(_Page(render_report(tame)).tags)
    assert "{{ 7*7 }}" in render_report(hostile)
    assert not re.search(r"alert\(\d\)", "".join(page.scripts))


def test_a_report_that_cannot_be_stored_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = AuditReport("x", (), (), ())
    with pytest.raises(UsageError, match="no such folder"):
        write_report(report, tmp_path / "none" / "report.html")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        write_report(report, tmp_path / "report.html")
    assert not [path for path in tmp_path.iterdir() if path.is_file()]
