"""RFC 3161 timestamps: tokens of real `openssl ts` authorities, verified with nothing but bytes and roots."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_manifests import signer_checks, timestamp
from restore_manifests.c2pa_claim import ClaimView
from restore_manifests.errors import UndecidableError
from restore_manifests.keys import Identity
from restore_manifests.record import Record, RecordInputs
from restore_manifests.report import Check, Verdict
from restore_manifests.schema import TimestampAnchor, manifest_bytes, parse_manifest, stamped_bytes
from restore_manifests.signing import Problem, sign_manifest
from restore_manifests.timestamp import Stamp, read_response, stamp_query, verify_token
from restore_manifests.verifier import verify_record

DATA = b"what existed"
YEARS = timedelta(days=365 * 20)


def now() -> datetime:
    return datetime.now(UTC)


def token_of(authority: Any, data: bytes = DATA) -> bytes:
    query = stamp_query(data)
    return read_response(authority.reply(query.request), query)


def roots(*authorities: Any) -> list[x509.Certificate]:
    return [x509.load_pem_x509_certificate(one.root_pem.encode()) for one in authorities]


@pytest.fixture(scope="module")
def token(authority: Any) -> bytes:
    return token_of(authority)


class TestToken:
    def test_says_when(self, authority: Any, token: bytes) -> None:
        stamp = verify_token(token, DATA, roots(authority), now())
        assert isinstance(stamp, Stamp)
        assert abs(stamp.time - now()) < timedelta(minutes=5)
        assert stamp.authority == "'First-TSA'"

    def test_says_the_upper_end_of_the_authoritys_accuracy(self, authority: Any, token: bytes) -> None:
        stamp = verify_token(token, DATA, roots(authority), now())
        (authority.folder / "t.der").write_bytes(token)
        said = subprocess.check_output(
            ["openssl", "ts", "-reply", "-token_in", "-in", "t.der", "-token_out", "-text"],
            cwd=authority.folder,
            text=True,
        )
        (line,) = [line for line in said.splitlines() if line.startswith("Time stamp:")]
        stated = datetime.strptime(line, "Time stamp: %b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
        assert isinstance(stamp, Stamp)
        assert stamp.time - stated == timedelta(seconds=1)

    def test_holds_long_after_its_certificate_expired(self, authority: Any, token: bytes) -> None:
        assert isinstance(verify_token(token, DATA, roots(authority), now() + YEARS), Stamp)

    def test_openssl_agrees(self, authority: Any, token: bytes) -> None:
        (authority.folder / "data").write_bytes(DATA)
        (authority.folder / "token").write_bytes(token)
        command = ["openssl", "ts", "-verify", "-token_in", "-in", "token", "-data", "data"]
        said = subprocess.run(
            [*command, "-CAfile", "root.pem"],
            cwd=authority.folder,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "Verification: OK" in said.stdout + said.stderr

    def test_is_of_one_authority_among_several_roots(
        self, authority: Any, second_authority: Any, token: bytes
    ) -> None:
        assert isinstance(verify_token(token, DATA, roots(second_authority, authority), now()), Stamp)

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            (lambda t, _: (t, b"something else"), "timestamp-other"),
            (lambda t, _: (b"", DATA), "timestamp-form"),
            (lambda t, _: (t[:-1], DATA), "timestamp-form"),
            (lambda t, _: (t + b"\0", DATA), "timestamp-form"),
            (lambda t, _: (bytes(100_000), DATA), "timestamp-form"),
            (lambda t, _: (t[:-1] + bytes([t[-1] ^ 1]), DATA), "timestamp-signature"),
        ],
    )
    def test_a_changed_one_does_not_hold(
        self, authority: Any, token: bytes, change: Callable[..., tuple[bytes, bytes]], code: str
    ) -> None:
        changed, data = change(token, None)
        problem = verify_token(changed, data, roots(authority), now())
        assert isinstance(problem, Problem)
        assert problem.code == code
        assert code not in timestamp.UNDECIDED

    def test_without_its_root_nothing_is_known(self, second_authority: Any, token: bytes) -> None:
        for given_roots in ([], roots(second_authority)):
            problem = verify_token(token, DATA, given_roots, now())
            assert isinstance(problem, Problem)
            assert problem.code == "timestamp-root"

    def test_the_certificate_inside_is_no_root(self, authority: Any, token: bytes) -> None:
        leaf = x509.load_pem_x509_certificate((authority.folder / "tsa.pem").read_bytes())
        assert not isinstance(verify_token(token, DATA, [leaf], now()), Stamp)

    def test_of_the_future_is_not_decided(self, authority: Any, token: bytes) -> None:
        problem = verify_token(token, DATA, roots(authority), now() - timedelta(days=1))
        assert isinstance(problem, Problem)
        assert problem.code == "timestamp-clock"

    def test_of_an_authority_that_borrows_the_name(
        self, build_authority: Callable[..., Any], authority: Any
    ) -> None:
        impostor = build_authority("First-TSA")
        problem = verify_token(token_of(impostor), DATA, roots(authority), now())
        assert isinstance(problem, Problem)
        assert problem.code == "timestamp-root"

    @settings(max_examples=300, deadline=None)
    @given(data=st.data())
    def test_no_mutation_raises_or_changes_the_time(
        self, authority: Any, token: bytes, data: st.DataObject
    ) -> None:
        place = data.draw(st.integers(0, len(token) - 1))
        mask = data.draw(st.integers(1, 255))
        length = data.draw(st.sampled_from([len(token), len(token), place]))
        changed = bytearray(token[:length])
        if place < length:
            changed[place] ^= mask
        good = verify_token(token, DATA, roots(authority), now())
        found = verify_token(bytes(changed), DATA, roots(authority), now())
        assert isinstance(found, Problem) or found == good

    @given(st.binary(max_size=200))
    def test_no_bytes_raise(self, junk: bytes) -> None:
        assert isinstance(verify_token(junk, DATA, [], now()), Problem)


class TestResponse:
    @pytest.mark.parametrize("path", ["/other", "/refused", "/garbage", "/huge"])
    def test_what_was_not_asked_for_is_refused(self, authority: Any, path: str) -> None:
        query = stamp_query(DATA)
        with pytest.raises(UndecidableError, match="authority"):
            read_response(authority.answer(path, query.request)[1], query)

    def test_an_older_answer_is_not_taken_for_this_one(self, authority: Any) -> None:
        older = authority.reply(stamp_query(DATA).request)
        with pytest.raises(UndecidableError, match="another question"):
            read_response(older, stamp_query(DATA))


# ---- the verifier ----------------------------------------------------------------------------------------


def anchor(authority: Any, manifest: Any, over: str = "record") -> TimestampAnchor:
    token = token_of(authority, stamped_bytes(manifest, over))  # type: ignore[arg-type]
    return TimestampAnchor(type="rfc3161", token=base64.b64encode(token).decode(), over=over)  # type: ignore[arg-type]


@pytest.fixture
def bundle(make_bundle: Callable[..., Any], tmp_path: Path) -> Any:
    return make_bundle(tmp_path / "bundle")


def checks(
    bundle: Any, anchors: list[Any], trust: str | None, at: datetime | None = None
) -> dict[str, Check]:
    manifest = parse_manifest(bundle.manifest.read_bytes())
    manifest = manifest.model_copy(update={"anchors": [*manifest.anchors, *anchors]})
    report = verify_record(
        RecordInputs(
            result_bytes=bundle.result.read_bytes(),
            manifest_bytes=manifest_bytes(manifest),
            now=at or now(),
            trust_roots_pem=trust,
        )
    )
    return {check.id: check for check in report.checks}


class TestVerifier:
    def test_without_a_timestamp_there_is_no_check(self, bundle: Any, signer: Identity) -> None:
        assert "timestamp" not in checks(bundle, [], signer.root_pem)

    @pytest.mark.parametrize("over", ["body", "record"])
    def test_pass(self, bundle: Any, signer: Identity, authority: Any, over: str) -> None:
        manifest = parse_manifest(bundle.manifest.read_bytes())
        found = checks(bundle, [anchor(authority, manifest, over)], f"{signer.root_pem}{authority.root_pem}")
        assert found["timestamp"].verdict is Verdict.PASS
        assert "First-TSA" in found["timestamp"].message
        assert found["signer.trust"].verdict is Verdict.PASS
        assert found["log.inclusion"].verdict is Verdict.PASS

    def test_unable_without_a_root(self, bundle: Any, signer: Identity, authority: Any) -> None:
        manifest = parse_manifest(bundle.manifest.read_bytes())
        for trust in (None, signer.root_pem):
            found = checks(bundle, [anchor(authority, manifest)], trust)["timestamp"]
            assert (found.verdict, found.code) == (Verdict.UNABLE, "timestamp-root")

    @pytest.mark.parametrize("known", [True, False])
    def test_fail_for_another_record(
        self, bundle: Any, make_bundle: Callable[..., Any], tmp_path: Path, authority: Any, known: bool
    ) -> None:
        other = parse_manifest(make_bundle(tmp_path / "other", seed=8).manifest.read_bytes())
        found = checks(bundle, [anchor(authority, other)], authority.root_pem if known else None)["timestamp"]
        assert (found.verdict, found.code) == (Verdict.FAIL, "timestamp-other")

    def test_what_it_is_over_cannot_be_changed(self, bundle: Any, authority: Any) -> None:
        manifest = parse_manifest(bundle.manifest.read_bytes())
        for over, other in (("body", "record"), ("record", "body")):
            moved = anchor(authority, manifest, over).model_copy(update={"over": other})
            assert checks(bundle, [moved], authority.root_pem)["timestamp"].verdict is Verdict.FAIL

    def test_base64_of_another_spelling(self, bundle: Any, authority: Any) -> None:
        good = anchor(authority, parse_manifest(bundle.manifest.read_bytes()))
        for text in ("A", "AAAA=", good.token.rstrip("=") + "A"):
            odd = good.model_copy(update={"token": text})
            assert checks(bundle, [odd], authority.root_pem)["timestamp"].code == "timestamp-form"

    def test_several_authorities(self, bundle: Any, authority: Any, second_authority: Any) -> None:
        manifest = parse_manifest(bundle.manifest.read_bytes())
        both = [anchor(authority, manifest), anchor(second_authority, manifest)]
        for trust, more in (
            (authority.root_pem + second_authority.root_pem, ""),
            (second_authority.root_pem, "1 more could not be judged"),
        ):
            found = checks(bundle, both, trust)["timestamp"]
            assert found.verdict is Verdict.PASS
            assert more in found.message
        bad = both[0].model_copy(update={"over": "body"})
        assert checks(bundle, [bad, both[1]], authority.root_pem)["timestamp"].verdict is Verdict.FAIL

    def test_stamped_before_it_was_made(
        self, make_bundle: Callable[..., Any], tmp_path: Path, authority: Any
    ) -> None:
        later = f"{now() + timedelta(days=3):%Y-%m-%dT%H:%M:%SZ}"
        late = make_bundle(tmp_path / "late", changes=lambda document: document.update(created=later))
        stamp = anchor(authority, parse_manifest(late.manifest.read_bytes()))
        found = checks(late, [stamp], authority.root_pem, now() + timedelta(days=4))["timestamp"]
        assert (found.verdict, found.code) == (Verdict.FAIL, "timestamp-before")


class TestExpiredSigner:
    def test_a_timestamp_of_its_lifetime_keeps_the_signature(
        self, bundle: Any, signer: Identity, authority: Any
    ) -> None:
        trust = f"{signer.root_pem}{authority.root_pem}"
        stamp = anchor(authority, parse_manifest(bundle.manifest.read_bytes()))
        found = checks(bundle, [stamp], trust, now() + YEARS)
        assert {found[name].verdict for name in ("signer.trust", "signature", "timestamp")} == {Verdict.PASS}
        assert "has expired since" in found["signer.trust"].message

    @pytest.mark.parametrize("kind", ["none", "body", "unknown"])
    def test_nothing_less_does(self, bundle: Any, signer: Identity, authority: Any, kind: str) -> None:
        """A timestamp of the body alone does not show that it was signed then."""
        manifest = parse_manifest(bundle.manifest.read_bytes())
        anchors = (
            [] if kind == "none" else [anchor(authority, manifest, "body" if kind == "body" else "record")]
        )
        trust = signer.root_pem if kind == "unknown" else f"{signer.root_pem}{authority.root_pem}"
        found = checks(bundle, anchors, trust, now() + YEARS)["signer.trust"]
        assert (found.verdict, found.code) == (Verdict.UNABLE, "certificate-expired")

    def test_stamped_too_late(self, bundle: Any, signer: Identity, authority: Any) -> None:
        """The signer's certificate had ended when the authority saw the signature."""
        manifest = parse_manifest(bundle.manifest.read_bytes())
        ended = _shortened(signer)
        manifest = sign_manifest(
            manifest.body.model_copy(update={"created": f"{now() - timedelta(days=5):%Y-%m-%dT%H:%M:%SZ}"}),
            bundle.result.read_bytes(),
            ended,
        )
        manifest = manifest.model_copy(update={"anchors": [anchor(authority, manifest)]})
        inputs = RecordInputs(b"", manifest_bytes(manifest), now(), trust_roots_pem=_pem(ended, authority))
        record = Record(inputs, manifest)
        record.__dict__["claim"] = ClaimView()  # a claim cannot be made with such a certificate
        (stamp,) = signer_checks.timestamp(record)
        (trust,) = signer_checks.signer_trust(record)
        assert stamp.verdict is Verdict.PASS
        assert (trust.verdict, trust.code) == (Verdict.UNABLE, "certificate-expired")


def _pem(identity: Identity, authority: Any) -> str:
    return f"{identity.root_pem}{authority.root_pem}"


def _shortened(signer: Identity) -> Identity:
    """An identity like `signer` whose certificate ended yesterday."""
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    assert signer.root is not None
    key = ec.generate_private_key(ec.SECP256R1())

    def again(
        like: x509.Certificate, public: Any, issuer_key: ec.EllipticCurvePrivateKey
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(like.subject)
            .issuer_name(like.issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now() - timedelta(days=10))
            .not_valid_after(now() - timedelta(days=1))
        )
        for extension in like.extensions:
            if extension.oid not in (
                x509.AuthorityKeyIdentifier.oid,
                x509.SubjectKeyIdentifier.oid,
            ):
                builder = builder.add_extension(extension.value, critical=extension.critical)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        return builder.add_extension(identifier, critical=False).sign(issuer_key, hashes.SHA256())

    root_key = ec.generate_private_key(ec.SECP256R1())
    root = again(signer.root, root_key.public_key(), root_key)
    leaf = again(signer.chain[0], key.public_key(), root_key)
    return Identity("ES256", (leaf,), root, key)


def test_the_page_checks_a_timestamp_by_hand(bundle: Any, authority: Any, tmp_path: Path) -> None:
    docs = Path(__file__).parents[3] / "docs"
    marker = r"<!-- tested: {} runs this block -->\n```(\w+)\n(.*?)```"
    own = marker.format("tests/unit/provenance/test_timestamp.py")
    blocks = dict(re.findall(own, (docs / "timestamps.md").read_text(encoding="utf-8"), re.DOTALL))
    verifying = (docs / "verifying.md").read_text(encoding="utf-8")
    canonical = re.search(r"^import base64.*?^def der", verifying, re.MULTILINE | re.DOTALL)
    assert canonical
    manifest = parse_manifest(bundle.manifest.read_bytes())
    stamped = manifest.model_copy(update={"anchors": [*manifest.anchors, anchor(authority, manifest)]})
    (tmp_path / "m.json").write_bytes(manifest_bytes(stamped))
    (tmp_path / "by_hand.py").write_text(canonical[0].removesuffix("def der") + blocks["python"])
    (tmp_path / "tsa-root.pem").write_text(authority.root_pem)
    subprocess.run([sys.executable, "by_hand.py", "m.json"], cwd=tmp_path, check=True)
    said = subprocess.run(
        ["bash", "-euc", blocks["bash"]], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "Verification: OK" in said.stdout + said.stderr
    assert "Time stamp: " in said.stdout
