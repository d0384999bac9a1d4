"""Asking authorities: while signing, later, offline, and when they are down or wrong."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from restore_cli.__main__ import main
from restore_manifests.errors import ManifestError, UndecidableError, UsageError
from restore_manifests.keys import Identity
from restore_manifests.pixels import encode_png
from restore_manifests.schema import parse_manifest
from restore_sdk import output, restore, stamping, verify
from restore_sdk.models import list_models
from restore_sdk.stamping import add_stamps, stamp_manifest

needs_weights = pytest.mark.skipif(
    not any(model["shipped"] for model in list_models()), reason="no weights are shipped"
)


@pytest.fixture
def bundle(make_bundle: Callable[..., Any], tmp_path: Path) -> Any:
    return make_bundle(tmp_path / "bundle")


@pytest.fixture
def trust(signer: Identity, authority: Any, tmp_path: Path) -> Path:
    path = tmp_path / "trust.pem"
    path.write_text(f"{signer.root_pem}{authority.root_pem}")
    return path


@pytest.fixture
def nobody() -> str:
    """An address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"http://127.0.0.1:{port}/"


def verdict(bundle: Any, trust: Path) -> str | None:
    report = verify(bundle.result, bundle.manifest, trust=trust, recompute=False)
    return next((check.verdict.value for check in report.checks if check.id == "timestamp"), None)


def test_a_stored_manifest_is_stamped(bundle: Any, authority: Any, trust: Path, online: None) -> None:
    before = parse_manifest(bundle.manifest.read_bytes())
    assert verdict(bundle, trust) is None
    stamped, problems = stamp_manifest(bundle.manifest, [authority.url])
    after = parse_manifest(bundle.manifest.read_bytes())
    assert (after, problems) == (stamped, [])
    assert (after.body, after.files, after.signatures) == (before.body, before.files, before.signatures)
    assert after.anchors[:-1] == before.anchors
    assert verdict(bundle, trust) == "pass"
    report = verify(bundle.result, bundle.manifest, trust=trust, recompute=False)
    assert report.exit_code == 0
    assert sorted(path.name for path in bundle.manifest.parent.iterdir()) == sorted(
        path.name for path in (bundle.source, bundle.result, bundle.manifest, *_others(bundle))
    )


def _others(bundle: Any) -> tuple[Path, ...]:
    return bundle.edit, bundle.confidence, bundle.proof


def test_a_root_for_timestamps_vouches_for_no_signer(
    bundle: Any, authority: Any, signer: Identity, tmp_path: Path, online: None
) -> None:
    stamp_manifest(bundle.manifest, [authority.url])
    tsa, both = tmp_path / "tsa.pem", tmp_path / "both.pem"
    tsa.write_text(authority.root_pem)
    both.write_text(f"{authority.root_pem}{signer.root_pem}")
    report = verify(bundle.result, bundle.manifest, trust=bundle.root, tsa_trust=tsa, recompute=False)
    assert report.exit_code == 0
    report = verify(bundle.result, bundle.manifest, trust=tsa, tsa_trust=both, recompute=False)
    found = {check.id: check.verdict.value for check in report.checks}
    assert (found["signer.trust"], found["timestamp"]) == ("fail", "pass")
    words = [
        "verify",
        str(bundle.result),
        str(bundle.manifest),
        "--no-recompute",
        "--trust",
        str(bundle.root),
    ]
    assert main([*words, "--tsa-trust", str(tsa)]) == 0
    assert main(words) == 3


def test_several_authorities_and_again(
    bundle: Any, authority: Any, second_authority: Any, trust: Path, online: None
) -> None:
    urls = [authority.url, second_authority.url, authority.url]
    assert len(stamp_manifest(bundle.manifest, urls)[0].anchors) == 3
    assert len(stamp_manifest(bundle.manifest, urls[:1])[0].anchors) == 4
    assert verdict(bundle, trust) == "pass"


@pytest.mark.parametrize("path", ["other", "refused", "garbage", "huge", "down", "elsewhere"])
def test_an_authority_that_goes_wrong_leaves_the_manifest_alone(
    bundle: Any, authority: Any, path: str, online: None
) -> None:
    before = bundle.manifest.read_bytes()
    _, (problem,) = stamp_manifest(bundle.manifest, [authority.url + path])
    assert isinstance(problem, UndecidableError)
    assert path in problem.message
    assert bundle.manifest.read_bytes() == before


def test_one_that_is_down_does_not_hinder_the_other(
    bundle: Any, authority: Any, nobody: str, trust: Path, online: None
) -> None:
    stamped, problems = stamp_manifest(bundle.manifest, [nobody, authority.url])
    assert len(problems) == 1
    assert len(stamped.anchors) == 2
    assert verdict(bundle, trust) == "pass"


def test_one_that_never_answers(bundle: Any, monkeypatch: pytest.MonkeyPatch, online: None) -> None:
    monkeypatch.setattr(stamping, "TIMEOUT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        _, (problem,) = stamp_manifest(bundle.manifest, [f"http://127.0.0.1:{server.getsockname()[1]}/"])
    assert "did not answer" in problem.message


@pytest.mark.parametrize(
    "url", ["", "tsa.example.com", "file:///etc/passwd", "http://", "http://[", "ftp://a/b"]
)
def test_what_is_no_address_is_refused(bundle: Any, url: str, online: None) -> None:
    with pytest.raises(UsageError, match="not the address"):
        stamp_manifest(bundle.manifest, [url])


def test_offline_asks_nobody(bundle: Any, authority: Any) -> None:
    assert os.environ["RESTORE_OFFLINE"] == "1"
    with pytest.raises(UsageError, match="RESTORE_OFFLINE"):
        stamp_manifest(bundle.manifest, [authority.url])
    with pytest.raises(UsageError, match="RESTORE_OFFLINE"):
        restore(bundle.source, tsa=[authority.url])


def test_a_full_manifest_is_left_alone(bundle: Any, authority: Any, online: None) -> None:
    manifest = parse_manifest(bundle.manifest.read_bytes())
    full = manifest.model_copy(update={"anchors": manifest.anchors * 16})
    with pytest.raises(ManifestError, match="16 anchors"):
        add_stamps(full, [authority.url])


def test_a_manifest_that_changed_meanwhile_is_left_alone(bundle: Any) -> None:
    with pytest.raises(UsageError, match="changed by another"):
        output.replace_file(bundle.manifest, b"new", before=b"old")
    assert parse_manifest(bundle.manifest.read_bytes())


def test_the_command(
    bundle: Any, authority: Any, nobody: str, capsys: pytest.CaptureFixture[str], online: None
) -> None:
    command = ["log", "stamp", str(bundle.manifest), "--json", "--tsa"]
    assert main([*command, authority.url]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == {"manifest": str(bundle.manifest), "timestamps": 1, "problems": []}
    assert main([*command, nobody]) == 3
    assert json.loads(capsys.readouterr().out)["timestamps"] == 1
    assert main(command[:-1]) == 2
    assert "--tsa URL" in capsys.readouterr().err


@needs_weights
def test_stamped_while_signing_and_signed_all_the_same(
    tmp_path: Path, signer: Identity, authority: Any, nobody: str, trust: Path, online: None
) -> None:
    image = tmp_path / "scene.png"
    image.write_bytes(encode_png(np.random.default_rng(3).integers(90, 160, (48, 64, 3), dtype=np.uint8)))
    (done,) = restore(image, identity=signer, tsa=[authority.url, nobody])
    (finding,) = [finding for finding in done.findings if finding["checker"] == "timestamp"]
    assert finding["message"].startswith("Not timestamped: ")
    assert "restore log stamp" in finding["message"]
    manifest = parse_manifest(done.manifest.read_bytes())
    assert [anchor.type for anchor in manifest.anchors] == ["tlog-proof", "rfc3161"]
    assert not [finding for finding in manifest.body.findings if finding.checker == "timestamp"]
    report = verify(done.result, done.manifest, trust=trust, recompute=False)
    assert report.exit_code == 0
