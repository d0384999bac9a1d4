"""Timestamps of the log's states: made once for many records, carried into them, checked with the log."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from restore_cli.__main__ import main
from restore_manifests.checkpoint import VerifierKey
from restore_manifests.checkpoint_stamps import MAX_STAMPS, StampedCheckpoint
from restore_manifests.errors import LogError, UsageError, VerificationError
from restore_manifests.log import TransparencyLog
from restore_manifests.schema import TimestampAnchor, manifest_bytes, parse_manifest
from restore_manifests.timestamp import Stamp, read_response, stamp_query
from restore_sdk import verify
from restore_sdk.log_stamps import anchor_through_log, check_log_stamps, stamp_log

MakeBundle = Callable[..., Any]


@pytest.fixture
def folder(restore_home: Path) -> Path:
    return restore_home / "log"


@pytest.fixture
def roots(authority: Any) -> list[Any]:
    from cryptography import x509  # noqa: PLC0415

    return x509.load_pem_x509_certificates(authority.root_pem.encode())


@pytest.fixture
def trust(make_bundle: MakeBundle, signer: Any, authority: Any, tmp_path: Path) -> Path:
    path = tmp_path / "trust.pem"
    path.write_text(f"{signer.root_pem}{authority.root_pem}")
    return path


def found(bundle: Any, trust: Path) -> dict[str, str]:
    report = verify(bundle.result, bundle.manifest, trust=trust, log_key=bundle.log_key, recompute=False)
    return {check.id: f"{check.verdict.value} {check.code}" for check in report.checks}


def verdicts(folder: Path, roots: list[Any]) -> list[str]:
    with TransparencyLog.open(folder, create=False) as log:
        return [one.verdict.value for one in check_log_stamps(log, folder, roots, datetime.now(UTC))]


def test_one_timestamp_serves_every_record_of_the_log(
    make_bundle: MakeBundle,
    tmp_path: Path,
    folder: Path,
    authority: Any,
    second_authority: Any,
    roots: list[Any],
    trust: Path,
    online: None,
) -> None:
    bundles = [make_bundle(tmp_path / name, seed=seed) for seed, name in enumerate("abc")]
    with TransparencyLog.open(folder, create=False) as log:
        done = stamp_log(log, folder, [authority.url, second_authority.url])
        assert (done.size, len(done.fresh), done.problems) == (3, 2, ())
        for bundle in bundles:
            anchor_through_log(bundle.manifest, log, done)
    for bundle in bundles:
        before = parse_manifest(bundle.manifest.read_bytes())
        kinds = [anchor.type for anchor in before.anchors]
        # the last record's own proof leads to the stamped state already
        assert kinds == ["tlog-proof"] * (1 if bundle is bundles[2] else 2) + ["rfc3161"] * 2
        assert found(bundle, trust)["timestamp"] == "pass ok"
        assert found(bundle, trust)["log.inclusion"] == "pass ok"
    assert verdicts(folder, roots) == ["pass"]
    assert verdicts(folder, []) == ["unable"]


def test_a_checkpoint_stamp_says_nothing_about_the_signature(
    make_bundle: MakeBundle, tmp_path: Path, folder: Path, authority: Any, trust: Path, online: None
) -> None:
    from restore_manifests.record import Record, RecordInputs  # noqa: PLC0415

    bundle = make_bundle(tmp_path / "a")
    with TransparencyLog.open(folder, create=False) as log:
        anchor_through_log(bundle.manifest, log, stamp_log(log, folder, [authority.url]))
    data = bundle.manifest.read_bytes()
    inputs = RecordInputs(b"", data, datetime.now(UTC), trust_roots_pem=trust.read_text())
    record = Record(inputs, parse_manifest(data))
    assert [type(stamp) for _, stamp in record.stamps] == [Stamp]
    assert record.signed_by is None


@pytest.mark.parametrize("kind", ["no-proof", "broken-proof", "other-state", "body"])
def test_a_timestamp_of_a_state_that_does_not_hold_the_record_fails(
    make_bundle: MakeBundle, tmp_path: Path, authority: Any, trust: Path, kind: str
) -> None:
    bundle, other = make_bundle(tmp_path / "a"), make_bundle(tmp_path / "b", seed=8)
    manifest, later = (parse_manifest(one.manifest.read_bytes()) for one in (bundle, other))
    note = StampedCheckpoint(
        (later if kind == "other-state" else manifest).anchors[0].proof.partition("\n\n")[2]
    )
    data = {"body": manifest.body.id.encode()}.get(kind, note.stamped_bytes)
    query = stamp_query(data)
    token = base64.b64encode(read_response(authority.reply(query.request), query)).decode()
    log = {
        "no-proof": [],
        "broken-proof": [manifest.anchors[0].model_copy(update={"proof": later.anchors[0].proof})],
    }.get(kind, manifest.anchors)
    anchors = [*log, TimestampAnchor(type="rfc3161", token=token, over="checkpoint")]
    bundle.manifest.write_bytes(manifest_bytes(manifest.model_copy(update={"anchors": anchors})))
    assert found(bundle, trust)["timestamp"] == "fail timestamp-other"


def test_a_log_that_was_rewritten_is_found_by_its_stamps(
    make_bundle: MakeBundle, tmp_path: Path, folder: Path, authority: Any, roots: list[Any], online: None
) -> None:
    make_bundle(tmp_path / "a")
    with TransparencyLog.open(folder, create=False) as log:
        stamp_log(log, folder, [authority.url])
        log.append(b"more")
    assert verdicts(folder, roots) == ["pass"]
    stamps, key = folder / "stamps", (folder / "log.key").read_bytes()
    shutil.move(stamps, tmp_path / "stamps")
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "log.key").write_bytes(key)
    shutil.move(tmp_path / "stamps", stamps)
    with TransparencyLog.open(folder) as log:  # its keeper writes another history with the same key
        log.append_many([b"other", b"more"])
    assert verdicts(folder, roots) == ["fail"]
    with TransparencyLog.open(folder) as log, pytest.raises(LogError, match="another history"):
        (stamps / "2.json").write_bytes((stamps / "1.json").read_bytes())
        stamp_log(log, folder, [authority.url])


@pytest.mark.parametrize("damage", ["json", "note", "token", "base64", "member"])
def test_damaged_stamps_never_pass(
    make_bundle: MakeBundle,
    tmp_path: Path,
    folder: Path,
    authority: Any,
    roots: list[Any],
    damage: str,
    online: None,
) -> None:
    make_bundle(tmp_path / "a")
    with TransparencyLog.open(folder, create=False) as log:
        path = stamp_log(log, folder, [authority.url]).path
    document = json.loads(path.read_bytes())
    match damage:
        case "note":
            document["checkpoint"] = document["checkpoint"].replace("\n1\n", "\n2\n")
        case "token":
            document["timestamps"] = [
                document["timestamps"][0][:-40] + "A" * 36 + document["timestamps"][0][-4:]
            ]
        case "base64":
            document["timestamps"] = ["AB=="]
        case "member":
            document["more"] = 1
    path.write_bytes(b"{" if damage == "json" else json.dumps(document).encode())
    assert verdicts(folder, roots) == ["fail"]


def test_stamps_are_added_and_judged_at_the_time_given(
    make_bundle: MakeBundle, tmp_path: Path, folder: Path, authority: Any, roots: list[Any], online: None
) -> None:
    make_bundle(tmp_path / "a")
    with TransparencyLog.open(folder, create=False) as log:
        stamp_log(log, folder, [authority.url])
        done = stamp_log(log, folder, [authority.url])
        assert len(done.stamped.tokens) == 2
        key, now = VerifierKey.parse(log.vkey), datetime.now(UTC)
        _, said = done.stamped.verify(key, roots, now)
        assert all(isinstance(one, Stamp) for one in said)
        _, early = done.stamped.verify(key, roots, now - timedelta(days=1))
        assert {one.code for one in early if not isinstance(one, Stamp)} == {"timestamp-clock"}
        other = VerifierKey(key.name, bytes(32))
        with pytest.raises(VerificationError, match="not signed with the key"):
            done.stamped.verify(other, roots, now)
    with pytest.raises(LogError, match=f"at most {MAX_STAMPS}"):
        StampedCheckpoint("", (b"x",) * (MAX_STAMPS + 1)).encode()


def test_offline_asks_nobody_and_writes_nothing(
    make_bundle: MakeBundle, tmp_path: Path, folder: Path
) -> None:
    make_bundle(tmp_path / "a")
    with TransparencyLog.open(folder, create=False) as log:
        with pytest.raises(UsageError, match="RESTORE_OFFLINE"):
            stamp_log(log, folder, ["http://127.0.0.1:9/"])
        with pytest.raises(UsageError, match="No timestamp authority"):
            stamp_log(log, folder, [])
    assert not (folder / "stamps").exists()


def test_the_commands(
    make_bundle: MakeBundle,
    tmp_path: Path,
    folder: Path,
    authority: Any,
    capsys: pytest.CaptureFixture[str],
    online: None,
) -> None:
    bundle = make_bundle(tmp_path / "a")
    foreign = tmp_path / "foreign.manifest.json"
    manifest = parse_manifest(bundle.manifest.read_bytes())
    foreign.write_bytes(manifest_bytes(manifest.model_copy(update={"anchors": []})))
    (root := tmp_path / "tsa.pem").write_text(authority.root_pem)
    command = ["log", "stamp", "--checkpoint", "--json", "--tsa", authority.url]
    assert main([*command, str(bundle.manifest)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["size"], document["timestamps"], document["problems"]) == (1, 1, [])
    assert document["manifests"] == [{"manifest": str(bundle.manifest), "timestamps": 1, "problems": []}]
    assert main([*command, str(foreign), str(bundle.manifest)]) == 2
    document = json.loads(capsys.readouterr().out)
    assert "not in the log" in document["manifests"][0]["problems"][0]
    assert document["manifests"][1]["timestamps"] == 2
    assert main([*command[:-1], f"{authority.url}down"]) == 3
    capsys.readouterr()
    assert main(["log", "check", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["timestamps"][0]["code"] == "timestamp-root"
    assert main(["log", "check", "--tsa-trust", str(root)]) == 0
    assert "confirms that the log had 1 entries" in capsys.readouterr().out
    assert main(["log", "stamp", "--tsa", authority.url]) == 2
    assert "--checkpoint" in capsys.readouterr().err
