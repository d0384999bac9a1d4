"""A key is replaced, a certificate is revoked: which old records still count."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from restore_cli.__main__ import main
from restore_manifests.errors import KeyStoreError, StorageError, UsageError
from restore_manifests.keys import Identity, create_identity, load_identity
from restore_manifests.report import Check
from restore_manifests.revocation import Revocation, parse_revocations
from restore_manifests.rotation import rotate_identity
from restore_manifests.schema import TimestampAnchor, manifest_bytes, parse_manifest, stamped_bytes
from restore_manifests.timestamp import read_response, stamp_query
from restore_manifests.verifier import RecordInputs, verify_record
from restore_sdk import verify

HOUR = timedelta(hours=1)


class TestRotation:
    def test_the_old_root_remains_listed(self, tmp_path: Path) -> None:
        words = iter(("first", "second", "third"))
        keys = [create_identity(tmp_path, name="Lab", passphrase=next(words))]
        keys += [rotate_identity(tmp_path, passphrase=word) for word in words]
        assert len({key.key_id for key in keys}) == 3
        assert load_identity(tmp_path, "third").key_id == keys[-1].key_id
        assert load_identity(tmp_path, "third").name == "Lab"
        roots = x509.load_pem_x509_certificates((tmp_path / "keys" / "roots.pem").read_bytes())
        assert roots[0] == keys[-1].root
        assert set(roots) == {key.root for key in keys}
        retired = tmp_path / "keys" / "retired" / keys[0].key_id[:16]
        assert sorted(path.name for path in retired.iterdir()) == ["chain.pem", "identity.p12", "root.pem"]
        if os.name != "nt":
            assert (retired / "identity.p12").stat().st_mode & 0o077 == 0

    def test_without_an_identity_or_a_passphrase(self, tmp_path: Path) -> None:
        with pytest.raises(KeyStoreError, match="could be replaced"):
            rotate_identity(tmp_path, passphrase=None, unprotected=True)
        old = create_identity(tmp_path, name="Lab", passphrase=None, unprotected=True)
        with pytest.raises(UsageError, match="passphrase"):
            rotate_identity(tmp_path, passphrase=None)
        assert load_identity(tmp_path, None).key_id == old.key_id

    def test_a_failure_leaves_the_old_key(self, tmp_path: Path) -> None:
        old = create_identity(tmp_path, name="Lab", passphrase=None, unprotected=True)
        (tmp_path / "keys" / "retired").write_text("in the way")
        with pytest.raises(StorageError, match="cannot be replaced"):
            rotate_identity(tmp_path, passphrase=None, unprotected=True)
        assert load_identity(tmp_path, None).key_id == old.key_id

    def test_the_command(
        self, tmp_path: Path, restore_home: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ["keys", "rotate", "--unprotected", "--json"]
        assert main(command) == 2
        old = create_identity(restore_home, name="Lab", passphrase=None, unprotected=True)
        capsys.readouterr()
        assert main(command) == 0
        document = json.loads(capsys.readouterr().out)
        assert document["name"] == "Lab"
        assert document["key_id"] != old.key_id
        assert old.root_pem is not None
        assert old.root_pem in Path(document["roots"]).read_text()
        assert int(document["serial"], 16) == load_identity(restore_home, None).chain[0].serial_number


@pytest.fixture
def bundle(make_bundle: Callable[..., Any], tmp_path: Path) -> Any:
    return make_bundle(tmp_path / "bundle")


def created(bundle: Any) -> datetime:
    return datetime.fromisoformat(parse_manifest(bundle.manifest.read_bytes()).body.created)


def entry(signer: Identity, since: datetime, **changes: Any) -> Revocation:
    document = {
        "serial": f"{signer.chain[0].serial_number:X}",
        "issuer": None,
        "since": f"{since:%Y-%m-%dT%H:%M:%SZ}",
        "reason": "lost",
    }
    return Revocation.model_validate({**document, **changes})


def trust_check(bundle: Any, roots: str | None, *revocations: Revocation, anchors: Any = ()) -> Check:
    manifest = parse_manifest(bundle.manifest.read_bytes())
    manifest = manifest.model_copy(update={"anchors": [*manifest.anchors, *anchors]})
    report = verify_record(
        RecordInputs(
            result_bytes=bundle.result.read_bytes(),
            manifest_bytes=manifest_bytes(manifest),
            now=datetime.now(UTC) + 48 * HOUR,
            trust_roots_pem=roots,
            revocations=revocations,
        )
    )
    return next(check for check in report.checks if check.id == "signer.trust")


def stamped(bundle: Any, authority: Any) -> TimestampAnchor:
    query = stamp_query(stamped_bytes(parse_manifest(bundle.manifest.read_bytes()), "record"))
    token = read_response(authority.reply(query.request), query)
    return TimestampAnchor(type="rfc3161", token=base64.b64encode(token).decode(), over="record")


class TestRevocation:
    def test_signed_after_it_fails(self, bundle: Any, signer: Identity) -> None:
        for since in (created(bundle), created(bundle) - HOUR):
            for roots in (signer.root_pem, None):
                found = trust_check(bundle, roots, entry(signer, since))
                assert (found.verdict.value, found.code) == ("fail", "certificate-revoked")

    def test_signed_before_it_needs_a_timestamp(self, bundle: Any, signer: Identity, authority: Any) -> None:
        """Whoever stole the key can write an earlier date."""
        since, roots = entry(signer, created(bundle) + HOUR), f"{signer.root_pem}{authority.root_pem}"
        found = trust_check(bundle, roots, since)
        assert (found.verdict.value, found.code) == ("unable", "certificate-revoked-since")
        anchors = [stamped(bundle, authority)]
        assert trust_check(bundle, roots, since, anchors=anchors).verdict.value == "pass"
        found = trust_check(bundle, signer.root_pem, since, anchors=anchors)
        assert found.code == "certificate-revoked-since"
        late = entry(signer, created(bundle) - HOUR)
        assert trust_check(bundle, roots, late, anchors=anchors).code == "certificate-revoked"

    def test_another_certificate_is_not_meant(self, bundle: Any, signer: Identity) -> None:
        since = created(bundle) - HOUR
        for changes in ({"serial": "1234"}, {"issuer": "CN=Somebody Else"}):
            assert (
                trust_check(bundle, signer.root_pem, entry(signer, since, **changes)).verdict.value == "pass"
            )
        issuer = signer.chain[0].issuer.rfc4514_string()
        meant = entry(signer, since, issuer=issuer, serial=f"00{signer.chain[0].serial_number:x}")
        assert trust_check(bundle, signer.root_pem, meant).code == "certificate-revoked"

    def test_the_earliest_counts(self, bundle: Any, signer: Identity) -> None:
        both = [entry(signer, created(bundle) + HOUR), entry(signer, created(bundle) - HOUR)]
        assert trust_check(bundle, signer.root_pem, *both).code == "certificate-revoked"

    def test_the_option(self, bundle: Any, signer: Identity, tmp_path: Path) -> None:
        file = tmp_path / "revoked.json"
        since = entry(signer, created(bundle) - HOUR).model_dump()
        file.write_text(json.dumps({"schema": "restore.revocations/1", "revoked": [since]}))
        report = verify(bundle.result, bundle.manifest, trust=bundle.root, recompute=False, revoked=file)
        assert report.exit_code == 1
        words = ["verify", str(bundle.result), str(bundle.manifest), "--no-recompute", "--revoked"]
        assert main([*words, str(file)]) == 1
        file.write_text("[]")
        assert main([*words, str(file)]) == 2
        assert main([*words, str(tmp_path / "absent")]) == 2

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{}",
            '{"schema": "restore.revocations/2", "revoked": []}',
            '{"schema": "restore.revocations/1", "revoked": [], "more": 1}',
            '{"schema": "restore.revocations/1", "revoked": [{"serial": "zz"}]}',
            '{"schema": "restore.revocations/1", "revoked": '
            '[{"serial": "1", "issuer": null, "since": "2026-13-01T00:00:00Z", "reason": ""}]}',
        ],
    )
    def test_a_list_that_cannot_be_read_is_refused(self, text: str) -> None:
        with pytest.raises(KeyStoreError, match="cannot be read"):
            parse_revocations(text.encode())

    @given(st.binary(max_size=100))
    def test_no_bytes_are_taken_for_a_list(self, junk: bytes) -> None:
        with pytest.raises(KeyStoreError):
            parse_revocations(junk)
