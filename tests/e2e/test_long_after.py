"""Years later: the signer's certificate has expired, the log has moved on, and the record still verifies."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

sys.path.insert(0, str(Path(__file__).parents[1]))  # helpers of several groups of tests lie there

from timestamp_authorities import Authority, make_authority, served

from restore_manifests.keys import Identity, create_identity
from restore_manifests.log import TransparencyLog
from restore_manifests.schema import parse_manifest
from restore_sdk import verification
from restore_sdk.restoration import restore
from restore_sdk.verification import verify

if TYPE_CHECKING:
    from conftest import Bundle
else:
    Bundle = Any

LATER_ENTRIES = 1_000
YEARS = timedelta(days=3653)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Authority]:
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl program, which makes the timestamp authority of this test")
    monkeypatch.delenv("RESTORE_OFFLINE")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield from served(make_authority(tmp_path / "authority", "Test-TSA"))


def short_lived(home: Path, seconds: float) -> Identity:
    """An identity whose certificate, under a root of ten years, ends in so many seconds."""
    like = create_identity(home, name="Test Laboratory", passphrase=None, unprotected=True)
    assert like.root is not None
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)

    def issued(old: x509.Certificate, public: ec.EllipticCurvePublicKey, end: datetime) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(old.subject)
            .issuer_name(old.issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(end)
        )
        for extension in old.extensions:
            if not isinstance(extension.value, x509.AuthorityKeyIdentifier | x509.SubjectKeyIdentifier):
                builder = builder.add_extension(extension.value, critical=extension.critical)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
        return builder.add_extension(identifier, critical=False).sign(root_key, hashes.SHA256())

    root = issued(like.root, root_key.public_key(), now + timedelta(days=3660))
    leaf = issued(like.chain[0], key.public_key(), now + timedelta(seconds=seconds))
    return Identity("ES256", (leaf,), root, key)


@pytest.mark.slow
def test_expired_and_moved_on(
    bundle: Bundle, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, folder = tmp_path / "laboratory", tmp_path / "case"
    monkeypatch.setenv("RESTORE_HOME", str(home))
    folder.mkdir()
    shutil.copy(bundle.source, folder / "warm.png")
    shutil.copy(bundle.source, folder / "plate.png")
    began = time.monotonic()  # how long a restoration takes here decides how long the certificate has to live
    restore(
        folder / "warm.png",
        identity=create_identity(tmp_path / "h", name="W", passphrase=None, unprotected=True),
    )
    identity = short_lived(tmp_path / "keys", 10 + 2 * (time.monotonic() - began))
    (made,) = restore(folder / "plate.png", identity=identity, tsa=[authority.url])
    manifest = parse_manifest(made.manifest.read_bytes())
    assert [anchor.type for anchor in manifest.anchors] == ["tlog-proof", "rfc3161"]
    assert not [finding for finding in made.findings if finding["checker"] == "timestamp"]

    with TransparencyLog.open(home / "log") as log:
        old = log.checkpoint()
        log.append_many([f"later record {number}".encode() for number in range(LATER_ENTRIES)])
        assert log.check_extends(old).size == 2
        assert log.check().size == 2 + LATER_ENTRIES
        key = log.vkey
    trust, log_key = tmp_path / "trust.pem", tmp_path / "log.pub"
    trust.write_text(f"{identity.root_pem}{authority.root_pem}")
    log_key.write_text(key)
    end = identity.chain[0].not_valid_after_utc
    time.sleep(max(0.0, (end - datetime.now(UTC)).total_seconds() + 1.5))

    # By the clock: the certificate has ended, for the C2PA library too.
    arguments = [str(made.result), str(made.manifest), "--trust", str(trust), "--log-key", str(log_key)]
    done = subprocess.run(
        [sys.executable, "-m", "restore_cli", "verify", *arguments, "--json"],
        env={**os.environ, "RESTORE_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = {check["id"]: check for check in json.loads(done.stdout)["checks"]}
    assert {check["verdict"] for check in found.values()} == {"pass"}
    assert "has expired since" in found["signer.trust"]["message"]
    assert {"timestamp", "log.inclusion", "log.checkpoint", "recompute.pixels"} <= found.keys()

    # Ten years on, when the authority's certificate has ended as well.
    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + YEARS

    monkeypatch.setattr(verification, "datetime", Later)
    report = verify(made.result, made.manifest, trust=trust, log_key=key)
    assert {check.verdict.value for check in report.checks} == {"pass"}, report
    without = tmp_path / "signer-only.pem"
    without.write_text(identity.root_pem or "")
    report = verify(made.result, made.manifest, trust=without, log_key=key, recompute=False)
    codes = {check.id: check.code for check in report.checks}
    assert codes["signer.trust"] == "certificate-expired"  # nobody trusted says that it was in time
