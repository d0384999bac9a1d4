"""Public logs: small servers on this machine that speak as Rekor v2 and Tessera do, and as they must not."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_der_public_key

from restore_cli.__main__ import main
from restore_manifests.canonical import canonical_bytes
from restore_manifests.checkpoint import Checkpoint, SigningKey, sign_checkpoint
from restore_manifests.errors import LogError, RestoreError, UndecidableError, UsageError
from restore_manifests.public_log import digest_entry, rekor_request
from restore_manifests.schema import Manifest, PublicLogAnchor, body_bytes, manifest_bytes, parse_manifest
from restore_manifests.signing import sign_manifest
from restore_sdk import public_logs, verify
from restore_sdk.public_logs import RekorLog, TesseraLog, anchor_manifests

REKOR, TESSERA = "rekor.example.com", "tessera.example.com/log"


def mth(leaves: list[bytes]) -> bytes:
    """MTH, straight from RFC 9162, section 2.1.1; nothing of ours."""
    if len(leaves) < 2:
        return hashlib.sha256(b"\0" + leaves[0] if leaves else b"").digest()
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path_of(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH, straight from RFC 9162, section 2.1.3.1."""
    if len(leaves) < 2:
        return []
    k = 1 << (len(leaves) - 1).bit_length() - 1
    if m < k:
        return [*path_of(m, leaves[:k]), mth(leaves[k:])]
    return [*path_of(m - k, leaves[k:]), mth(leaves[:k])]


class Keeper:
    """A log in memory that answers as `kind` of server, and in the way that `fault` says."""

    def __init__(self, origin: str, entries: int) -> None:
        self.key = SigningKey.generate(origin)
        self.leaves = [f"entry {number}".encode() for number in range(entries)]
        self.published = entries
        self.delay = 0
        self.fault = ""
        self.url = ""
        self.asked: list[str] = []

    @property
    def vkey(self) -> str:
        return self.key.verifier.encode()

    def checkpoint(self) -> str:
        key = SigningKey.generate(self.key.name) if self.fault == "key" else self.key
        size = self.published
        return sign_checkpoint(Checkpoint(self.key.name, size, mth(self.leaves[:size])), key)

    # Tessera, cmd/conformance: POST /add answers with the index, the rest is tlog-tiles.
    def add(self, body: bytes) -> bytes:
        self.leaves.append(body + b"x" if self.fault == "entry" else body)
        if not self.delay:
            self.published = len(self.leaves)
        return b"not a number" if self.fault == "garbage" else str(len(self.leaves) - 1).encode()

    def get(self, path: str) -> tuple[int, bytes]:
        if path == "/checkpoint":
            if self.delay:
                self.delay -= 1
                self.published = len(self.leaves) if not self.delay else self.published
            return 200, self.checkpoint().encode()
        _, _, level, *rest = path.split("/")
        partial = rest[-2].endswith(".p") if len(rest) > 1 else False
        width = int(rest.pop()) if partial else 256
        number = int("".join(part.removesuffix(".p").removeprefix("x") for part in rest))
        step = 256 ** int(level)
        nodes = [mth(self.leaves[i * step : (i + 1) * step]) for i in range(len(self.leaves) // step)]
        tile = nodes[number * 256 : number * 256 + width]
        if len(tile) < width or (partial and self.fault == "partial-gone"):
            return 404, b"no such tile"
        data = b"".join(tile)
        return 200, data[:-1] if self.fault == "short" else data[::-1] if self.fault == "tiles" else data

    # Rekor v2: POST /api/v2/log/entries answers with a TransparencyLogEntry, in protojson.
    def create(self, body: bytes) -> tuple[int, bytes]:
        request = json.loads(body)["hashedRekordRequestV002"]
        signature, digest = request["signature"], base64.b64decode(request["digest"])
        raw = base64.b64decode(signature["verifier"]["publicKey"]["rawBytes"])
        public = load_der_public_key(raw)
        assert isinstance(public, ec.EllipticCurvePublicKey)
        kind: Any = {32: hashes.SHA256(), 48: hashes.SHA384()}[len(digest)]
        prehashed = ec.ECDSA(Prehashed(kind))
        public.verify(base64.b64decode(signature["content"]), digest, prehashed)  # as the server does
        names = {32: ("SHA2_256", "PKIX_ECDSA_P256_SHA_256"), 48: ("SHA2_384", "PKIX_ECDSA_P384_SHA_384")}
        algorithm, details = names[len(digest)]
        assert signature["verifier"]["keyDetails"] == details
        if self.fault == "entry":
            request["digest"] = base64.b64encode(bytes(32)).decode()
        entry = canonical_bytes(
            {
                "apiVersion": "0.0.2" if self.fault != "version" else "0.0.3",
                "kind": "hashedrekord",
                "spec": {
                    "hashedRekordV002": {
                        "data": {"algorithm": algorithm, "digest": request["digest"]},
                        "signature": signature,
                    }
                },
            }
        )
        self.leaves.append(entry)
        self.published = len(self.leaves)
        index = len(self.leaves) - 1
        hashes_ = [base64.b64encode(h).decode() for h in path_of(index, self.leaves)]
        if self.fault == "path":
            hashes_ = hashes_[::-1]
        answer = {
            "logIndex": str(index if self.fault != "index" else 0),
            "logId": {"keyId": base64.b64encode(self.key.verifier.key_id).decode()},
            "kindVersion": {"kind": "hashedrekord", "version": "0.0.2"},
            "integratedTime": "0",
            "inclusionPromise": None,
            "inclusionProof": {
                "logIndex": "77",  # to be ignored, as are root and size: CLIENTS.md
                "rootHash": base64.b64encode(bytes(32)).decode(),
                "treeSize": "78",
                "hashes": hashes_,
                "checkpoint": {"envelope": self.checkpoint()},
            },
            "canonicalizedBody": base64.b64encode(entry).decode(),
        }
        if self.fault == "garbage":
            return 200, b"[]"
        return (201, json.dumps(answer).encode()) if self.fault != "down" else (503, b"{}")


def serve(keeper: Keeper) -> Iterator[Keeper]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            keeper.asked.append(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/api/v2/log/entries":
                assert self.headers["Content-Type"] == "application/json"
                self.reply(*keeper.create(body))
            else:
                assert self.path == "/add"
                self.reply(500, b"") if keeper.fault == "down" else self.reply(200, keeper.add(body))

        def do_GET(self) -> None:
            self.reply(*keeper.get(self.path))

        def reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        keeper.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield keeper
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def rekor() -> Iterator[Keeper]:
    yield from serve(Keeper(REKOR, 11))


@pytest.fixture(params=[0, 5, 256, 300])
def tessera(request: pytest.FixtureRequest) -> Iterator[Keeper]:
    yield from serve(Keeper(TESSERA, request.param))


@pytest.fixture
def bundle(make_bundle: Callable[..., Any], tmp_path: Path) -> Any:
    return make_bundle(tmp_path / "bundle")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public_logs, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(public_logs, "INTEGRATION_SECONDS", 5.0)


def found(bundle: Any, *keys: str, log_key: str | None = None) -> dict[str, str]:
    report = verify(
        bundle.result,
        bundle.manifest,
        trust=bundle.root,
        log_key=log_key or bundle.log_key,
        public_log_keys=keys,
        recompute=False,
    )
    return {check.id: f"{check.verdict.value} {check.code}" for check in report.checks}


def enter(bundle: Any, log: Any) -> PublicLogAnchor:
    ((_, done),) = anchor_manifests([bundle.manifest], log)
    if isinstance(done, RestoreError):
        raise done
    assert isinstance(done.anchors[-1], PublicLogAnchor)
    return done.anchors[-1]


def test_rekor_holds_the_record(bundle: Any, rekor: Keeper, online: None) -> None:
    before = parse_manifest(bundle.manifest.read_bytes())
    anchor = enter(bundle, RekorLog(rekor.url, rekor.key.verifier))
    assert (anchor.index, anchor.tree_size, anchor.origin) == (11, 12, REKOR)
    after = parse_manifest(bundle.manifest.read_bytes())
    assert (after.body, after.signatures, after.anchors[:-1]) == (
        before.body,
        before.signatures,
        before.anchors,
    )
    assert found(bundle)["log.checkpoint"] == "pass ok"
    checks = found(bundle, rekor.vkey)
    assert (checks["log.inclusion"], checks["log.checkpoint"]) == ("pass ok", "pass ok")
    entry = base64.b64decode(anchor.entry)
    assert bundle.source.name.encode() not in entry
    assert (
        json.loads(entry)["spec"]["hashedRekordV002"]["data"]["digest"]
        == base64.b64encode(hashlib.sha256(body_bytes(after.body)).digest()).decode()
    )


def test_a_log_of_tiles_holds_the_record(bundle: Any, tessera: Keeper, online: None) -> None:
    at = len(tessera.leaves)
    tessera.delay = 3
    anchor = enter(bundle, TesseraLog(tessera.url + "/", tessera.key.verifier))
    assert (anchor.index, anchor.tree_size, anchor.origin) == (at, at + 1, TESSERA)
    assert base64.b64decode(anchor.entry) == digest_entry(parse_manifest(bundle.manifest.read_bytes()))
    checks = found(bundle, tessera.vkey)
    assert (checks["log.inclusion"], checks["log.checkpoint"]) == ("pass ok", "pass ok")


@pytest.mark.parametrize("tessera", [255], indirect=True)
def test_a_partial_tile_that_was_replaced_is_read_from_the_full_one(
    bundle: Any, tessera: Keeper, online: None
) -> None:
    """The log grows from 200 to 256 entries between checkpoint and tiles."""
    tessera.fault = "partial-gone"
    tessera.published = 200
    log = TesseraLog(tessera.url, tessera.key.verifier)
    tessera.leaves.append(b"x")
    _, head = log._checkpoint_after(150)
    assert head.size == 200
    from restore_manifests.merkle import inclusion_path, leaf_hash, verify_inclusion_path  # noqa: PLC0415
    from restore_manifests.tiles import TileReader  # noqa: PLC0415

    path = inclusion_path(TileReader(log._tile, 200), 150, 200)
    assert verify_inclusion_path(leaf_hash(tessera.leaves[150]), 150, 200, path, head.root)


@pytest.mark.parametrize("fault", ["entry", "garbage", "down", "path", "index", "key", "version"])
def test_a_rekor_that_goes_wrong_leaves_the_manifest_alone(
    bundle: Any, rekor: Keeper, fault: str, online: None
) -> None:
    before = bundle.manifest.read_bytes()
    rekor.fault = fault
    with pytest.raises(UndecidableError):
        enter(bundle, RekorLog(rekor.url, rekor.key.verifier))
    assert bundle.manifest.read_bytes() == before


@pytest.mark.parametrize("tessera", [5], indirect=True)
@pytest.mark.parametrize("fault", ["entry", "garbage", "down", "key", "tiles", "short", "late"])
def test_a_tessera_that_goes_wrong_leaves_the_manifest_alone(
    bundle: Any, tessera: Keeper, fault: str, online: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = bundle.manifest.read_bytes()
    tessera.fault = fault
    if fault == "late":
        tessera.delay = 10**6
        monkeypatch.setattr(public_logs, "INTEGRATION_SECONDS", 0.05)
    with pytest.raises(UndecidableError):
        enter(bundle, TesseraLog(tessera.url, tessera.key.verifier))
    assert bundle.manifest.read_bytes() == before


def test_keys_of_public_logs_are_judged_by_their_own_list(bundle: Any, rekor: Keeper, online: None) -> None:
    enter(bundle, RekorLog(rekor.url, rekor.key.verifier))
    other = SigningKey.generate(REKOR).verifier.encode()
    elsewhere = SigningKey.generate("other.example").verifier.encode()
    assert found(bundle, other)["log.checkpoint"] == "fail log-key"
    assert found(bundle, elsewhere)["log.checkpoint"] == "unable log-key-missing"
    assert found(bundle, elsewhere, rekor.vkey)["log.checkpoint"] == "pass ok"
    assert found(bundle, rekor.vkey, log_key=elsewhere)["log.checkpoint"] == "fail log-key"


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"index": 3}, "log.inclusion"),
        ({"tree_size": 99}, "log.inclusion"),
        ({"entry": base64.b64encode(b"entry 3").decode()}, "log.inclusion"),
        ({"entry": "AB=="}, "log.inclusion"),
        ({"format": "restore.digest/1"}, "log.inclusion"),
        ({"origin": "trusted.example"}, "log.checkpoint"),
        ({"proof": ""}, "log.checkpoint"),
    ],
)
def test_a_forged_anchor_fails(
    bundle: Any, rekor: Keeper, change: dict[str, Any], check: str, online: None
) -> None:
    anchor = enter(bundle, RekorLog(rekor.url, rekor.key.verifier))
    manifest = parse_manifest(bundle.manifest.read_bytes())
    anchors = [*manifest.anchors[:-1], anchor.model_copy(update=change)]
    bundle.manifest.write_bytes(manifest_bytes(manifest.model_copy(update={"anchors": anchors})))
    assert found(bundle)[check].startswith("fail")


def test_an_anchor_of_another_record_fails(
    make_bundle: Callable[..., Any], tmp_path: Path, rekor: Keeper, online: None
) -> None:
    first, second = make_bundle(tmp_path / "a"), make_bundle(tmp_path / "b", seed=3)
    anchor = enter(first, RekorLog(rekor.url, rekor.key.verifier))
    manifest = parse_manifest(second.manifest.read_bytes())
    moved = manifest.model_copy(update={"anchors": [*manifest.anchors, anchor]})
    second.manifest.write_bytes(manifest_bytes(moved))
    assert found(second)["log.inclusion"] == "fail log-entry-other"


def test_rekor_takes_ecdsa_only(bundle: Any, tmp_path: Path) -> None:
    from restore_manifests.keys import create_identity  # noqa: PLC0415

    def signed(algorithm: Any) -> Manifest:
        home = tmp_path / algorithm
        identity = create_identity(home, name="L", algorithm=algorithm, passphrase=None, unprotected=True)
        manifest = parse_manifest(bundle.manifest.read_bytes())
        return sign_manifest(manifest.body, bundle.result.read_bytes(), identity)

    assert (
        len(base64.b64decode(json.loads(rekor_request(signed("ES384")))["hashedRekordRequestV002"]["digest"]))
        == 48
    )
    for algorithm in ("Ed25519", "PS256"):
        with pytest.raises(LogError, match="ECDSA"):
            rekor_request(signed(algorithm))


def test_offline_and_by_default_nobody_is_asked(bundle: Any, rekor: Keeper) -> None:
    log = RekorLog(rekor.url, rekor.key.verifier)
    tiles = TesseraLog(rekor.url, rekor.key.verifier)
    for ask in (
        lambda: anchor_manifests([bundle.manifest], log),
        lambda: log.enter(parse_manifest(bundle.manifest.read_bytes())),
        lambda: tiles.enter(parse_manifest(bundle.manifest.read_bytes())),
    ):
        with pytest.raises(UsageError, match="RESTORE_OFFLINE"):
            ask()
    assert rekor.asked == []
    for url in ("", "ftp://x/", "http://", "file:///etc"):
        with pytest.raises(UsageError, match="address"):
            RekorLog(url, rekor.key.verifier)


def test_the_command(
    bundle: Any, rekor: Keeper, tmp_path: Path, capsys: pytest.CaptureFixture[str], online: None
) -> None:
    (key := tmp_path / "rekor.pub").write_text(rekor.vkey + "\n")
    words = ["log", "anchor", str(bundle.manifest), "--json"]
    full = [*words, "--rekor", rekor.url, "--log-key", str(key)]
    assert main(full) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == {
        "manifest": str(bundle.manifest),
        "origin": REKOR,
        "index": 11,
        "tree_size": 12,
        "problem": None,
    }
    rekor.fault = "down"
    assert main(full) == 3
    assert "did not answer" in json.loads(capsys.readouterr().out)["problem"]
    for wrong in (
        words,
        [*words, "--rekor", rekor.url],
        [*full, "--tessera", rekor.url],
        [*full, "--read-url", rekor.url],
        [*words, "--rekor", "nowhere", "--log-key", rekor.vkey],
        [*words, "--rekor", rekor.url, "--log-key", "no key"],
    ):
        assert main(wrong) == 2
    verify_words = [
        "verify",
        str(bundle.result),
        str(bundle.manifest),
        "--no-recompute",
        "--trust",
        str(bundle.root),
    ]
    assert main([*verify_words, "--public-log-key", str(key)]) == 0
    assert main([*verify_words, "--public-log-key", SigningKey.generate(REKOR).verifier.encode()]) == 1
