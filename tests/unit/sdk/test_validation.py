"""The validation kit: tests that can fail, a walk that touches nothing of the user's, a signed sheet."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restore_cli.__main__ import main
from restore_manifests.errors import ManifestError, UsageError
from restore_manifests.keys import Identity
from restore_manifests.revocation import Revocation
from restore_manifests.validation import (
    KnownAnswer,
    Sheet,
    SheetBody,
    SheetTrust,
    parse_sheet,
    sheet_bytes,
    sign_sheet,
    verify_sheet,
)
from restore_sdk import validation
from restore_sdk.models import list_models
from restore_sdk.validation import validate, write_inputs
from restore_sdk.validation_standards import standards

needs_weights = pytest.mark.skipif(
    not any(model["shipped"] for model in list_models()), reason="no weights are shipped"
)


def answer(found: str = "a", name: str = "x.1") -> KnownAnswer:
    verdict: Any = "pass" if found == "a" else "fail"
    return KnownAnswer(id=name, about="", input_sha256=None, expected="a", found=found, verdict=verdict)


def body(*tests: KnownAnswer, created: datetime | None = None) -> SheetBody:
    return SheetBody(
        created=f"{created or datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        tool_version="0",
        machine={"system": "x"},
        packages={"numpy": "2", "none": None},
        model={"id": "m"},
        tests=list(tests or [answer()]),
    )


@pytest.fixture(scope="module")
def trust_of(signer: Identity) -> Callable[..., SheetTrust]:
    def make(**changes: Any) -> SheetTrust:
        roots = x509.load_pem_x509_certificates((signer.root_pem or "").encode())
        return SheetTrust(**{"now": datetime.now(UTC), "roots": roots, **changes})

    return make


def found(sheet: Sheet | bytes, trust: SheetTrust) -> dict[str, str]:
    report = verify_sheet(sheet if isinstance(sheet, bytes) else sheet_bytes(sheet), trust)
    return {check.id: f"{check.verdict.value} {check.code}" for check in report.checks}


def test_a_sheet_is_signed_and_holds(signer: Identity, trust_of: Any) -> None:
    sheet = sign_sheet(body(), signer)
    assert parse_sheet(sheet_bytes(sheet)) == sheet
    assert found(sheet, trust_of()) == {
        "sheet.schema": "pass ok",
        "signature": "pass ok",
        "signer.trust": "pass ok",
        "sheet.results": "pass ok",
    }
    assert found(sheet, trust_of(roots=None))["signer.trust"] == "unable root-missing"
    assert found(sheet, trust_of(roots=[]))["signer.trust"] == "fail root-other"
    assert found(sign_sheet(body(answer("b")), signer), trust_of())["sheet.results"] == "fail tests"


def test_expiry_and_revocation_are_judged_as_for_a_manifest(signer: Identity, trust_of: Any) -> None:
    sheet = sign_sheet(body(), signer)
    later = trust_of(now=signer.not_after + timedelta(days=1))
    assert found(sheet, later)["signer.trust"] == "unable certificate-expired"
    serial = f"{signer.chain[0].serial_number:x}"
    for since, code in (
        ("2020-01-01", "fail certificate-revoked"),
        ("2099-01-01", "unable certificate-revoked-since"),
    ):
        entry = Revocation(serial=serial, issuer=None, since=f"{since}T00:00:00Z", reason="")
        assert found(sheet, trust_of(revocations=[entry]))["signer.trust"] == code
    early = sign_sheet(body(created=datetime(2001, 1, 1, tzinfo=UTC)), signer)
    assert found(early, trust_of())["signature"] == "fail certificate-time"


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_change_of_a_sheet_passes(signer: Identity, trust_of: Any, data: st.DataObject) -> None:
    original = sheet_bytes(sign_sheet(body(answer("b"), answer(name="y")), signer))
    at = data.draw(st.integers(0, len(original) - 1))
    changed = bytearray(original)
    changed[at] = data.draw(st.integers(0, 255))
    report = verify_sheet(bytes(changed), trust_of())
    try:
        same = json.loads(bytes(changed)) == json.loads(original)
    except ValueError:
        same = False
    assert report.exit_code == 1
    if not same:
        failing = {check.id for check in report.checks if check.verdict.value == "fail"}
        assert failing & {"sheet.schema", "signature", "signer.trust"}


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["body"]["tests"][0].update(verdict="pass"),
        lambda d: d["body"]["tests"].append(dict(d["body"]["tests"][0])),
        lambda d: d["body"].update(tests=[]),
        lambda d: d["body"].update(created="2026-02-30T00:00:00Z"),
        lambda d: d.update(more=1),
        lambda d: d.update(schema="restore.manifest/1"),
        lambda d: d.pop("timestamps"),
    ],
)
def test_what_is_no_sheet_is_refused(signer: Identity, trust_of: Any, change: Callable[[Any], Any]) -> None:
    document = json.loads(sheet_bytes(sign_sheet(body(answer("b")), signer)))
    change(document)
    data = json.dumps(document).encode()
    with pytest.raises(ManifestError, match=r"result sheet does not follow restore\.validation/1"):
        parse_sheet(data)
    assert found(data, trust_of()) == {"sheet.schema": "fail sheet-form"}


def test_a_manifests_signature_is_none_of_a_sheet(signer: Identity, trust_of: Any) -> None:
    sheet = sign_sheet(body(), signer)
    value = base64.b64encode(signer.sign(b"something else")).decode()
    forged = sheet.model_copy(update={"signature": sheet.signature.model_copy(update={"value": value})})
    assert found(forged, trust_of())["signature"] == "fail signature-mismatch"


def test_the_standards_hold_and_a_wrong_decoder_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {test.verdict for test in standards()} == {"pass"}
    assert {test.verdict for test in validation._decoders()} == {"pass"}
    from restore_sdk import evidence  # noqa: PLC0415

    true = evidence.decode_evidence

    def wrong(data: bytes, name: str) -> Any:
        return true(data if not name.endswith(".bmp") else data[:-1] + b"\xff", name)

    monkeypatch.setattr(evidence, "decode_evidence", wrong)
    assert [test.id for test in validation._decoders() if test.verdict != "pass"] == ["decoder.colour-8-bmp"]


def test_the_kits_pictures_are_handed_out(tmp_path: Path) -> None:
    written = write_inputs(tmp_path / "kit")
    assert {path.suffix for path in written} == {".png", ".tif", ".bmp", ".webp", ".jpg", ".json"}
    with pytest.raises(UsageError, match="already exists"):
        write_inputs(tmp_path / "kit")
    assert main(["selftest", "--inputs", str(tmp_path / "kit"), "--force"]) == 0


@needs_weights
def test_the_walk_finds_every_alteration_and_touches_no_log(restore_home: Path) -> None:
    found = validate()
    assert {test.id: (test.expected, test.found) for test in found.tests if test.verdict != "pass"} == {}
    walked = {test.id for test in found.tests if test.id.startswith("walk.")}
    assert walked >= {"walk.untouched", "walk.result-pixel", "walk.record", "walk.log-proof", "walk.signer"}
    assert not restore_home.exists()


@needs_weights
def test_the_commands(
    tmp_path: Path, restore_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet, other = str(tmp_path / "sheet.json"), str(tmp_path / "other.json")
    assert main(["selftest", "--sheet", sheet]) == 2  # nobody to sign it, said before any work
    assert main(["keys", "init", "--name", "Laboratory", "--unprotected"]) == 0
    monkeypatch.setattr(validation, "_walk", lambda model: [answer(name="walk")])
    capsys.readouterr()
    assert main(["selftest", "--sheet", sheet, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["verdict"], document["sheet"]) == ("pass", sheet)
    assert main(["selftest", "--sheet", sheet]) == 2
    assert main(["selftest", "--check", sheet]) == 3
    root = next(restore_home.rglob("root.pem"))
    assert main(["selftest", "--check", sheet, "--trust", str(root)]) == 0
    capsys.readouterr()
    monkeypatch.setattr(validation, "_walk", lambda model: [answer("b", name="walk")])
    assert main(["selftest", "--sheet", other]) == 1
    assert "walk: expected a; found b" in capsys.readouterr().err
    assert main(["selftest", "--check", other, "--trust", str(root), "--json"]) == 1
    assert main(["selftest", "--check", sheet, "--sheet", other]) == 2
    assert main(["selftest", "--sheet", str(tmp_path / "third.json"), "--tsa", "http://127.0.0.1:9/"]) == 2
    assert not (tmp_path / "third.json").exists()
