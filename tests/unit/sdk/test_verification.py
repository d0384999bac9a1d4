"""Gathering what a verification needs: where names lead, what is missing, what a caller got wrong."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restore_manifests.canonical import sha256_hex
from restore_manifests.errors import LogError, UsageError
from restore_manifests.record import Recomputation
from restore_manifests.report import Report, Verdict
from restore_sdk import verification
from restore_sdk.stored_file import StoredFile, sha256_of_file
from restore_sdk.verification import beside, verify

MakeBundle = Callable[..., Any]


def verdicts(report: Report) -> dict[str, str]:
    return {check.id: check.verdict.value for check in report.checks}


def test_a_good_bundle_passes_every_check_but_the_recomputation_left_out(
    make_bundle: MakeBundle, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "case")
    report = verify(
        bundle.result, bundle.manifest, trust=bundle.root, log_key=bundle.log_key, recompute=False
    )
    assert report.verdict is Verdict.PASS, [c for c in report.checks if c.verdict is not Verdict.PASS]
    assert {"source.file", "source.pixels", "maps.edit", "maps.confidence", "model.weights"} <= set(
        verdicts(report)
    )
    assert "recompute.pixels" not in verdicts(report)


def test_an_unknown_signer_never_passes(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "case")
    report = verify(bundle.result, bundle.manifest, recompute=False)
    assert verdicts(report)["signer.trust"] == "unable"
    assert report.exit_code == 3


def test_the_source_is_found_beside_the_result_and_by_name(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "case")
    manifest = tmp_path / "elsewhere" / "m.json"
    manifest.parent.mkdir()
    bundle.manifest.replace(manifest)
    assert verdicts(verify(bundle.result, manifest, recompute=False))["source.file"] == "pass"
    moved = bundle.source.replace(tmp_path / "original.png")
    missing = verdicts(verify(bundle.result, manifest, recompute=False))
    assert (missing["source.file"], missing["source.pixels"]) == ("unable", "unable")
    named = verdicts(verify(bundle.result, manifest, source=moved, recompute=False))
    assert (named["source.file"], named["source.pixels"]) == ("pass", "pass")


def test_a_map_that_is_missing_is_unable_and_one_that_was_changed_fails(
    make_bundle: MakeBundle, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "case")
    bundle.edit.write_bytes(bundle.confidence.read_bytes())
    bundle.confidence.unlink()
    found = verdicts(verify(bundle.result, bundle.manifest, recompute=False))
    assert (found["maps.edit"], found["maps.confidence"]) == ("fail", "unable")


def test_weights_that_are_not_installed_are_unable_and_others_fail(
    make_bundle: MakeBundle, tmp_path: Path, restore_home: Path
) -> None:
    bundle = make_bundle(tmp_path / "case")
    weights = restore_home / "models" / "test-net.safetensors"
    weights.write_bytes(b"other weights")
    assert verdicts(verify(bundle.result, bundle.manifest, recompute=False))["model.weights"] == "fail"
    weights.unlink()
    assert verdicts(verify(bundle.result, bundle.manifest, recompute=False))["model.weights"] == "unable"


def test_the_recomputation_is_given_source_and_result(
    make_bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle(tmp_path / "case")
    seen: list[Any] = []

    def recompute(body: Any, evidence: Any, result: bytes) -> Recomputation:
        seen.append((evidence.data, result))
        maps = body.maps
        return Recomputation(
            body.result.pixels_sha256, maps.edit.pixels_sha256, maps.confidence.pixels_sha256
        )

    monkeypatch.setitem(sys.modules, "restore_sdk.recompute", SimpleNamespace(recompute=recompute))
    report = verify(bundle.result, bundle.manifest, trust=bundle.root)
    assert verdicts(report)["recompute.pixels"] == "pass"
    assert seen == [(bundle.source.read_bytes(), bundle.result.read_bytes())]


@pytest.mark.parametrize("damage", ["missing", "unreadable"])
def test_without_a_usable_source_the_recomputation_is_unable(
    make_bundle: MakeBundle, tmp_path: Path, damage: str
) -> None:
    bundle = make_bundle(tmp_path / "case")
    if damage == "missing":
        bundle.source.unlink()
    else:
        bundle.source.write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    found = verdicts(verify(bundle.result, bundle.manifest))
    assert found["recompute.pixels"] == "unable"
    assert found["source.file"] == ("unable" if damage == "missing" else "fail")
    assert found["source.pixels"] == "unable"


def test_a_link_out_of_the_folder_is_not_followed(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "case")
    outside = bundle.source.replace(tmp_path / "outside.png")
    try:
        bundle.source.symlink_to(outside)
    except OSError:
        pytest.skip("this system lets only administrators make links")
    assert verdicts(verify(bundle.result, bundle.manifest, recompute=False))["source.file"] == "unable"


@pytest.mark.parametrize(
    "name", ["../secret.txt", "..", ".", "", "/etc/hostname", "a/b", "a\0b", "x" * 5000, "case"]
)
def test_a_name_never_leads_out_of_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "bundle"
    (folder / "case").mkdir(parents=True)
    assert beside(folder, name) is None


@given(st.text(max_size=40))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_name_whatever_leads_out_of_its_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir(exist_ok=True)
    found = beside(folder, name)
    assert found is None or found.resolve().parent == folder.resolve()


@pytest.mark.parametrize("role", ["result", "manifest", "source", "trust"])
@pytest.mark.parametrize("fault", ["missing", "folder"])
def test_a_path_that_names_no_file_is_wrong_use(
    make_bundle: MakeBundle, tmp_path: Path, role: str, fault: str
) -> None:
    bundle = make_bundle(tmp_path / "case")
    bad = tmp_path if fault == "folder" else tmp_path / "nowhere.bin"
    paths: dict[str, Any] = {"result": bundle.result, "manifest": bundle.manifest, role: bad}
    with pytest.raises(UsageError, match="cannot be used") as caught:
        verify(**paths, recompute=False)
    assert caught.value.exit_code == 2
    assert caught.value.hint


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_without_waiting_for_a_writer(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "case")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match="no regular file"):
        verify(bundle.result, pipe)


def test_trust_and_log_key_must_be_what_they_are_called(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "case")
    with pytest.raises(UsageError, match="no certificates"):
        verify(bundle.result, bundle.manifest, trust=bundle.source)
    with pytest.raises(LogError):
        verify(bundle.result, bundle.manifest, log_key="not a key")
    file = tmp_path / "log.vkey"
    file.write_text(bundle.log_key + "\n")
    found = verdicts(verify(bundle.result, bundle.manifest, log_key=file, recompute=False))
    assert found["log.checkpoint"] == "pass"


def test_a_manifest_that_is_none_is_a_failed_check_not_an_error(
    make_bundle: MakeBundle, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "case")
    for content in (b"", b"{}", b"[" * 100_000, b'{"schema": 1}', os.urandom(200)):
        bundle.manifest.write_bytes(content)
        report = verify(bundle.result, bundle.manifest)
        assert verdicts(report)["manifest.schema"] == "fail"
        json.dumps(report.to_json())


def test_pictures_are_decoded_only_where_their_bytes_are_not_known_unless_asked_for(
    make_bundle: MakeBundle, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "case")

    def codes(**options: Any) -> dict[str, str]:
        report = verify(bundle.result, bundle.manifest, recompute=False, **options)
        return {check.id: check.code for check in report.checks}

    pictures = {"result.pixels", "source.pixels", "maps.edit", "maps.confidence"}
    by_bytes = codes(trust=bundle.root)
    assert {name for name, code in by_bytes.items() if code == "same-bytes"} == pictures
    for decoded in (codes(trust=bundle.root, pixels=True), codes()):
        assert {decoded[name] for name in pictures} == {"ok"}
        assert decoded.keys() == by_bytes.keys()
    bundle.edit.write_bytes(bundle.edit.read_bytes() + b"x")
    changed = codes(trust=bundle.root)
    assert changed.pop("maps.edit") == "file-mismatch"
    assert {name for name, code in changed.items() if code == "same-bytes"} == pictures - {"maps.edit"}


def test_large_pictures_are_hashed_without_being_held(
    make_bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of these pictures are small, so the limit is set to nothing."""
    bundle = make_bundle(tmp_path / "case")
    options: dict[str, Any] = {"recompute": False, "trust": bundle.root, "log_key": bundle.log_key}
    held = verify(bundle.result, bundle.manifest, **options)
    decoding = verify(bundle.result, bundle.manifest, pixels=True, **options)
    monkeypatch.setattr(verification, "_WORTH_HASHING_ALONE", 0)
    made: list[StoredFile] = []

    class Counted(StoredFile):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            made.append(self)

        def read(self) -> bytes:
            raise AssertionError("held in memory")

    with monkeypatch.context() as patch:
        patch.setattr(verification, "StoredFile", Counted)
        assert verify(bundle.result, bundle.manifest, **options) == held
        assert verify(bundle.result, bundle.manifest, source=bundle.source, **options) == held
        assert len(made) == 6
        assert verify(bundle.result, bundle.manifest, pixels=True, **options) == decoding
        assert len(made) == 6
    for path, check in (
        (bundle.source, "source.file"),
        (bundle.edit, "maps.edit"),
        (bundle.confidence, "maps.confidence"),
    ):
        data = path.read_bytes()
        path.write_bytes(data[:-1])
        report = verify(bundle.result, bundle.manifest, **options)
        assert (verdicts(report)[check], report.verdict) == ("fail", Verdict.FAIL)
        path.write_bytes(data)
    assert verify(bundle.result, bundle.manifest, **options) == held


def test_a_stored_file_gives_the_bytes_that_it_hashes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    file = StoredFile(path)
    assert (file.size, file.sha256()) == (3, sha256_hex(b"one"))
    path.write_bytes(b"two!")
    assert file.sha256() == sha256_hex(b"two!")  # nothing is remembered of what was not kept
    assert file.read() == b"two!"
    path.write_bytes(b"three")
    assert (file.read(), file.sha256()) == (b"two!", sha256_hex(b"two!"))
    path.unlink()
    assert file.read() == b"two!"
    with pytest.raises(UsageError, match="does not exist"):
        StoredFile(path)
    with pytest.raises(UsageError, match="is a folder"):
        sha256_of_file(tmp_path)
    path.write_bytes(b"three")
    with pytest.raises(UsageError, match="more than 4 bytes"):
        sha256_of_file(path, max_bytes=4)


def test_a_record_that_contradicts_its_own_pixels_is_caught_by_plain_verify_and_by_pixels(
    make_bundle: MakeBundle, tmp_path: Path
) -> None:
    def misstate(document: dict[str, Any]) -> None:
        document["maps"]["edit"]["pixels_sha256"] = "0" * 64

    bundle = make_bundle(tmp_path / "case", changes=misstate)
    options: list[dict[str, Any]] = [{}, {"recompute": False, "pixels": True}, {"recompute": False}]
    found = [verify(bundle.result, bundle.manifest, trust=bundle.root, **option) for option in options]
    assert [verdicts(report)["maps.edit"] for report in found] == ["fail", "fail", "pass"]
    checks = {check.id: check for check in found[-1].checks}
    assert (checks["maps.edit"].code, "not decoded" in checks["maps.edit"].message) == ("same-bytes", True)
