"""Findings that an audit keeps: taken over only where no byte changed, never believed for a time stamp."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from restore_cli.__main__ import main
from restore_manifests.errors import KeyStoreError, StorageError, UsageError
from restore_sdk import audit_bundle
from restore_sdk.audit_state import AuditState
from restore_sdk.audit_tree import AuditItem, audit

MakeBundle = Callable[..., Any]


def here(work: Callable[[Any], Any], tasks: Sequence[Any], lost: Callable[[Any], Any]) -> Iterator[Any]:
    """Examines in this process."""
    yield from map(work, tasks)


class Batch:
    """Two good bundles, and how many were examined afresh by the last audit."""

    def __init__(self, make_bundle: MakeBundle, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "batch"
        self.state = folder / "audit.state"
        self.first, self.second = (make_bundle(self.folder / name, seed=ord(name)) for name in "ab")
        self.fresh: list[str] = []
        verify = audit_bundle.verify

        def counted(result: Path, *arguments: Any, **options: Any) -> Any:
            self.fresh.append(result.parent.name)
            return verify(result, *arguments, **options)

        monkeypatch.setattr(audit_bundle, "verify", counted)

    def audit(self, **options: Any) -> dict[str, AuditItem]:
        self.fresh.clear()
        settings = {"trust": self.first.root, "log_key": self.first.log_key, "recompute": False}
        report = audit(self.folder, state=self.state, runner=here, **{**settings, **options})
        assert report.counts["taken_over"] == 2 - len(self.fresh)
        return {item.path.partition("/")[0]: item for item in report.items}


@pytest.fixture
def batch(make_bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batch:
    return Batch(make_bundle, tmp_path, monkeypatch)


def test_what_did_not_change_is_taken_over_as_it_was(batch: Batch) -> None:
    before = batch.audit(thumbnails=True)
    assert batch.fresh == ["a", "b"]
    after = batch.audit(thumbnails=True)
    assert batch.fresh == []
    for name, item in after.items():
        assert item.examined is not None
        assert before[name].examined is None
        assert (item.checks, item.facts, item.thumbnails) == (
            before[name].checks,
            before[name].facts,
            before[name].thumbnails,
        )
        assert {**item.to_json(), "examined": None} == {**before[name].to_json(), "examined": None}


@pytest.mark.parametrize("role", ["source", "result", "manifest", "edit", "confidence"])
def test_a_changed_byte_is_seen_behind_an_unchanged_time_stamp(batch: Batch, role: str) -> None:
    batch.audit()
    path: Path = getattr(batch.second, role)
    before, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert batch.audit()["b"].verdict.value != "pass"
    assert batch.fresh == ["b"]


def test_a_file_that_vanished_or_came_back_is_seen(batch: Batch) -> None:
    batch.audit()
    data = batch.first.source.read_bytes()
    batch.first.source.unlink()
    assert batch.audit()["a"].source_missing
    batch.first.source.write_bytes(data)
    assert batch.audit()["a"].verdict.value == "pass"
    assert batch.fresh == ["a"]


def test_other_options_weights_or_programs_examine_again(
    batch: Batch, restore_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch.audit()
    assert batch.audit(trust=None)["a"].verdict.value == "unable"
    batch.audit()
    (restore_home / "models" / "test-net.safetensors").write_bytes(b"other weights")
    assert batch.audit()["a"].verdict.value == "fail"
    assert batch.fresh == ["a", "b"]
    monkeypatch.setattr(audit_bundle, "version", lambda name: "9.9")
    batch.audit()
    assert batch.fresh == ["a", "b"]


def test_a_finding_is_not_taken_over_after_the_certificate_has_ended(batch: Batch) -> None:
    batch.audit()
    with AuditState(batch.state, batch.folder) as state:
        assert len(state.fingerprints(datetime.now(UTC))) == 2
        assert state.fingerprints(datetime.now(UTC) + timedelta(days=365 * 40)) == {}


def test_what_broke_is_tried_again(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(audit_bundle, "verify", broken)
        report = audit(batch.folder, state=batch.state, runner=here, recompute=False)
        assert {item.verdict.value for item in report.items} == {"unable"}
    batch.audit()
    assert batch.fresh == ["a", "b"]


def test_an_interrupted_audit_goes_on(batch: Batch) -> None:
    def stop(path: str, share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        audit(
            batch.folder,
            state=batch.state,
            runner=here,
            recompute=False,
            trust=batch.first.root,
            log_key=batch.first.log_key,
            progress=stop,
        )
    batch.audit()
    assert batch.fresh == ["b"]


def test_damaged_findings_are_made_again_and_foreign_files_refused(batch: Batch, tmp_path: Path) -> None:
    batch.audit()
    connection = sqlite3.connect(batch.state)
    with connection:
        connection.execute("UPDATE finding SET item = '{}' WHERE path LIKE 'a/%'")
    connection.close()
    assert {item.verdict.value for item in batch.audit().values()} == {"pass"}
    assert batch.fresh == ["a"]
    for content in (b"no database at all, but long enough to look like one" * 40, None):
        other = tmp_path / "other"
        other.unlink(missing_ok=True)
        if content is None:
            connection = sqlite3.connect(other)
            with connection:
                connection.execute("CREATE TABLE t (x)")
            connection.close()
        else:
            other.write_bytes(content)
        kept = other.read_bytes()
        with pytest.raises(UsageError, match="does not hold the findings"):
            audit(batch.folder, state=other, runner=here, recompute=False)
        assert other.read_bytes() == kept
    with pytest.raises(StorageError):
        audit(batch.folder, state=tmp_path / "none" / "state", runner=here, recompute=False)


def test_the_commands_options(batch: Batch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from restore_manifests.schema import parse_manifest  # noqa: PLC0415
    from restore_manifests.signing import load_certificates  # noqa: PLC0415

    signature = parse_manifest(batch.first.manifest.read_bytes()).signatures[0]
    (revoked := tmp_path / "revoked.json").write_text(
        json.dumps(
            {
                "schema": "restore.revocations/1",
                "revoked": [
                    {
                        "serial": f"{load_certificates(signature)[0].serial_number:x}",
                        "issuer": None,
                        "since": "2020-01-01T00:00:00Z",
                        "reason": "lost",
                    }
                ],
            }
        )
    )
    words = ["audit", str(batch.folder), "--no-recompute", "--jobs", "1", "--json"]
    words += ["--trust", str(batch.first.root), "--log-key", batch.first.log_key]
    reports = [str(tmp_path / f"audit.{kind}") for kind in ("html", "csv", "json")]
    assert (
        main([*words, *(w for path in reports for w in ("--report", path)), "--state", str(batch.state)]) == 0
    )
    document = json.loads(capsys.readouterr().out)
    assert json.loads(Path(reports[2]).read_text("utf-8")) == document
    assert Path(reports[1]).read_text("utf-8").count("\n") == 3
    assert main([*words, "--revoked", str(revoked), "--reference", "2026-01-01..2026-03-31"]) == 1
    codes = {c["code"] for item in json.loads(capsys.readouterr().out)["items"] for c in item["checks"]}
    assert "certificate-revoked" in codes
    for wrong in (["--reference", "May"], ["--reference", "2026-02-01..2026-01-01"], ["--report", "x.pdf"]):
        assert main([*words, *wrong]) == 2
    with pytest.raises(KeyStoreError, match="revocation list"):
        audit(batch.folder, revoked=batch.first.root)
