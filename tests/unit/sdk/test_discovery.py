"""The discovery archive: whole, the same every time, verifiable after unpacking, no way out of a folder."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_manifests.errors import ManifestError, UsageError
from restore_manifests.keys import Identity
from restore_manifests.report import Verdict
from restore_sdk.discovery import DOCUMENTS, check_names, make_discovery
from restore_sdk.verification import verify

MakeBundle = Callable[..., Any]
NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
DOCS = Path(__file__).parents[3] / "docs"


def pack(bundle: Any, archive: Path, **options: Any) -> Any:
    options = {"trust": bundle.root, "log_key": bundle.log_key, "recompute": False, "now": NOW, **options}
    return make_discovery(bundle.manifest, archive, **options)


def test_what_is_unpacked_verifies_again(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "case")
    moved = bundle.source.replace(tmp_path / "original of another name.png")
    document = pack(bundle, tmp_path / "d.zip", source=moved)
    assert document.verdict is Verdict.PASS
    folder = tmp_path / "unpacked"
    with zipfile.ZipFile(tmp_path / "d.zip") as archive:
        names = archive.namelist()
        archive.extractall(folder)
    assert names == sorted(names)
    assert set(names) == {
        *(f"bundle/plate.{end}" for end in ("png", "restored.png", "edit.png", "confidence.png")),
        "bundle/plate.manifest.json",
        "bundle/plate.tlog-proof",
        *(f"documents/{name}" for name in DOCUMENTS),
        "trust/roots.pem",
        "trust/log.vkey",
        "report.html",
        "SHA256SUMS",
    }
    listed = dict(
        reversed(line.split("  ", 1))
        for line in (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    )
    assert set(listed) == set(names) - {"SHA256SUMS"}
    for name, digest in listed.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    report = verify(
        folder / "bundle" / "plate.restored.png",
        folder / "bundle" / "plate.manifest.json",
        trust=folder / "trust" / "roots.pem",
        log_key=folder / "trust" / "log.vkey",
        recompute=False,
    )
    assert report.verdict is Verdict.PASS
    assert (folder / "documents" / "verifying.md").read_bytes() == (DOCS / "verifying.md").read_bytes()
    assert 'class="banner pass"' in (folder / "report.html").read_text(encoding="utf-8")


def test_a_revocation_that_was_given_counts_and_travels_along(
    make_bundle: MakeBundle, tmp_path: Path, signer: Identity
) -> None:
    bundle = make_bundle(tmp_path / "case")
    one = {"serial": f"{signer.chain[0].serial_number:x}", "issuer": None, "reason": "lost"}
    listed = {"schema": "restore.revocations/1", "revoked": [{**one, "since": "2020-01-01T00:00:00Z"}]}
    revoked = tmp_path / "revoked.json"
    revoked.write_text(json.dumps(listed), encoding="utf-8")
    document = pack(bundle, tmp_path / "d.zip", revoked=revoked)
    assert document.verdict is Verdict.FAIL
    with zipfile.ZipFile(tmp_path / "d.zip") as archive:
        assert archive.read("trust/revoked.json") == revoked.read_bytes()


def test_the_same_files_give_the_same_bytes(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "case")
    pack(bundle, tmp_path / "a.zip")
    for path in (bundle.source, bundle.result):
        path.touch()
    pack(bundle, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.testzip() is None


def test_a_tampered_bundle_is_packed_with_a_report_that_says_so(
    make_bundle: MakeBundle, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "case")
    bundle.result.write_bytes(make_bundle(tmp_path / "other", seed=8).result.read_bytes())
    assert pack(bundle, tmp_path / "d.zip").verdict is Verdict.FAIL
    with zipfile.ZipFile(tmp_path / "d.zip") as archive:
        assert b'class="banner fail"' in archive.read("report.html")
        assert archive.read("bundle/plate.restored.png") == bundle.result.read_bytes()


def test_what_is_not_at_hand_is_left_out(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "case")
    bundle.source.unlink()
    proof = bundle.proof.read_bytes()
    bundle.proof.unlink()
    document = pack(bundle, tmp_path / "d.zip", trust=None, log_key=None)
    assert document.verdict is Verdict.UNABLE
    with zipfile.ZipFile(tmp_path / "d.zip") as archive:
        names = archive.namelist()
        assert archive.read("bundle/plate.tlog-proof") == proof  # the manifest holds it as well
    assert "bundle/plate.png" not in names
    assert not any(name.startswith("trust/") for name in names)


def test_nothing_is_overwritten_and_nothing_half_written(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "case")
    archive = tmp_path / "d.zip"
    archive.write_bytes(b"older")
    with pytest.raises(UsageError, match="already exists"):
        pack(bundle, archive)
    assert archive.read_bytes() == b"older"
    pack(bundle, archive, force=True)
    assert zipfile.is_zipfile(archive)
    with pytest.raises(UsageError, match="no such folder"):
        pack(bundle, tmp_path / "nowhere" / "d.zip")
    assert not list(tmp_path.glob(".*.tmp"))


BAD = ["../x", "a/b", "a\\b", "..", ".", "", "C:x.png", "NUL", "com1.png", "x.", "x ", "a\u202eb", "a\tb"]


@pytest.mark.parametrize("name", BAD)
def test_names_that_would_not_unpack_as_they_are_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="would not unpack"):
        check_names(["plate.png", name])


@pytest.mark.parametrize(
    ("first", "second"), [("a.png", "a.png"), ("a.png", "A.PNG"), ("\u00e9.png", "e\u0301.png")]
)
def test_names_that_would_become_one_file_are_refused(first: str, second: str) -> None:
    with pytest.raises(UsageError, match="one file"):
        check_names([first, second])


@given(st.text(max_size=30))
def test_whatever_is_accepted_is_one_plain_part_of_a_path(name: str) -> None:
    try:
        check_names([name])
    except UsageError:
        return
    assert Path(name).parts == (name,)
    assert not set(name) & set("/\\\0\r\n")
    assert name not in (".", "..")


@pytest.mark.parametrize("name", ["C:plate.png", "con.png", "plate\u202e.png", "plate.restored.png"])
def test_a_record_with_such_a_name_is_not_packed(make_bundle: MakeBundle, tmp_path: Path, name: str) -> None:
    bundle = make_bundle(tmp_path / "case", source_name=name)
    with pytest.raises(UsageError, match="would"):
        pack(bundle, tmp_path / "d.zip", source=bundle.source)
    assert not (tmp_path / "d.zip").exists()


def test_a_manifest_that_is_none_names_nothing_to_pack(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "case")
    bundle.manifest.write_bytes(b"{}")
    with pytest.raises(ManifestError, match="names no files"):
        pack(bundle, tmp_path / "d.zip", result=bundle.result)
