"""A signing key in a PKCS#11 token: SoftHSM2, a token in software."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from restore_cli.__main__ import main
from restore_cli.passphrase import open_identity
from restore_manifests import c2pa_claim
from restore_manifests.errors import KeyStoreError
from restore_manifests.hsm import TokenPlace, use_token
from restore_manifests.keys import Identity, create_identity, identity_path, load_identity
from restore_manifests.schema import manifest_bytes, parse_manifest
from restore_manifests.signing import sign_manifest
from restore_sdk import verify

PIN = "135790"
MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)


@dataclass(frozen=True)
class Token:
    """A token with one key for each algorithm, and the identities whose keys they are."""

    module: str
    identities: dict[str, Identity]

    def place(self, algorithm: str = "ES256", **changes: str) -> TokenPlace:
        return TokenPlace(**{"module": self.module, "token": "lab", "key": algorithm, **changes})

    def chain(self, algorithm: str = "ES256") -> bytes:
        identity = self.identities[algorithm]
        return f"{identity.chain_pem}{identity.root_pem}".encode()


@pytest.fixture(scope="session")
def token(tmp_path_factory: pytest.TempPathFactory) -> Any:
    module = next((path for path in MODULES if Path(path).is_file()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        pytest.skip("needs SoftHSM2 (apt install softhsm2), a token in software")
    if importlib.util.find_spec("pkcs11") is None:
        pytest.skip("needs python-pkcs11, the extra hsm")
    folder = tmp_path_factory.mktemp("token")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(folder / "softhsm2.conf"))
        tool = ["softhsm2-util", "--pin", PIN]
        subprocess.run(
            [*tool, "--init-token", "--free", "--label", "lab", "--so-pin", PIN],
            check=True,
            capture_output=True,
        )
        identities = {}
        for number, algorithm in enumerate(("ES256", "ES384", "PS256")):
            made = create_identity(
                folder / algorithm,
                name="Lab",
                algorithm=algorithm,  # type: ignore[arg-type]
                passphrase=None,
                unprotected=True,
            )
            pem = folder / f"{algorithm}.pem"
            pem.write_bytes(made._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))  # type: ignore[union-attr]
            where = ["--token", "lab", "--label", algorithm, "--id", f"0{number}"]
            subprocess.run([*tool, "--import", str(pem), *where], check=True, capture_output=True)
            identities[algorithm] = made
        yield Token(module, identities)


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "PS256"])
def test_a_record_signed_in_the_token_verifies(
    token: Token, tmp_path: Path, make_bundle: Callable[..., Any], algorithm: str
) -> None:
    identity = use_token(tmp_path / "home", token.place(algorithm), token.chain(algorithm), pin=PIN)
    assert identity.algorithm == algorithm
    assert identity.key_id == token.identities[algorithm].key_id
    assert PIN not in repr(identity)
    assert PIN not in identity_path(tmp_path / "home").read_text()
    bundle = make_bundle(tmp_path / "bundle")
    before = parse_manifest(bundle.manifest.read_bytes())
    text = c2pa_claim.read(bundle.result.read_bytes()).record_text
    assert text
    result = c2pa_claim.embed(
        bundle.edit.read_bytes(),
        body=before.body,
        manifest_text=text,
        source_bytes=bundle.source.read_bytes(),
        source_mime="image/png",
        maps={},
        identity=identity,
    )
    assert identity.root is not None
    assert not c2pa_claim.read(result, [identity.root]).credential_failures
    signed = sign_manifest(before.body, bundle.result.read_bytes(), identity)
    bundle.manifest.write_bytes(manifest_bytes(signed))
    root = tmp_path / "home" / "keys" / "root.pem"
    report = verify(bundle.result, bundle.manifest, trust=root, recompute=False)
    assert {check.id: check.verdict.value for check in report.checks}["signature"] == "pass"


def test_it_is_loaded_like_any_other(token: Token, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_token(tmp_path, token.place(), token.chain(), pin=PIN)
    assert load_identity(tmp_path, PIN).sign(b"x")
    with pytest.raises(KeyStoreError, match="needs its PIN"):
        load_identity(tmp_path, None)
    monkeypatch.setenv("RESTORE_PASSPHRASE", PIN)
    assert open_identity(tmp_path).root == token.identities["ES256"].root
    with pytest.raises(KeyStoreError, match="already is"):
        use_token(tmp_path, token.place(), token.chain(), pin=PIN)
    made = create_identity(tmp_path, name="Lab", passphrase=None, unprotected=True, force=True)
    assert load_identity(tmp_path, None).key_id == made.key_id


@pytest.mark.parametrize(
    ("changes", "pin"),
    [({"token": "other"}, PIN), ({"key": "other"}, PIN), ({"module": "/nowhere.so"}, PIN), ({}, "000000")],
)
def test_what_is_not_there_is_said(token: Token, tmp_path: Path, changes: dict[str, str], pin: str) -> None:
    with pytest.raises(KeyStoreError, match="cannot be used"):
        use_token(tmp_path, token.place(**changes), token.chain(), pin=pin)
    assert not (tmp_path / "keys").exists()


def test_the_key_of_another_certificate(token: Token, tmp_path: Path) -> None:
    other = create_identity(tmp_path / "other", name="Other", passphrase=None, unprotected=True)
    with pytest.raises(KeyStoreError, match="not the one"):
        use_token(tmp_path, token.place(), other.chain_pem.encode(), pin=PIN)
    with pytest.raises(KeyStoreError, match="no certificates"):
        use_token(tmp_path, token.place(), b"garbage", pin=PIN)


def test_a_damaged_description(token: Token, tmp_path: Path) -> None:
    use_token(tmp_path, token.place(), token.chain(), pin=PIN)
    for text in ("", "{}", "[]"):
        identity_path(tmp_path).write_text(text)
        with pytest.raises(KeyStoreError, match="cannot be read"):
            load_identity(tmp_path, PIN)


def test_the_command(
    token: Token, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RESTORE_PASSPHRASE", PIN)
    chain = tmp_path / "chain.pem"
    chain.write_bytes(token.chain())
    words = ["keys", "import", str(chain), "--json", "--token", "lab", "--key", "ES256"]
    assert main(words) == 2
    capsys.readouterr()
    assert main([*words, "--pkcs11", token.module]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["key_id"] == token.identities["ES256"].key_id
    assert main(["keys", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == document
