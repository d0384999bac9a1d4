"""The forger's bench: a laboratory, a stranger who calls himself the same, and the tools to forge with."""

from __future__ import annotations

import base64
import json
import shutil
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from restore_manifests import c2pa_claim
from restore_manifests.keys import Identity, create_identity
from restore_manifests.log import TransparencyLog
from restore_manifests.pixels import decode_png, encode_png, pixels_sha256, png_chunks
from restore_manifests.schema import Body, LogAnchor, body_bytes, manifest_bytes, parse_manifest
from restore_manifests.signing import sign_manifest

Change = Callable[[dict[str, Any]], None]
NAME = "Test Laboratory"


@dataclass(frozen=True)
class Bundle:
    """The files of one restoration in a folder."""

    folder: Path
    stem: str = "plate"

    def path(self, ending: str) -> Path:
        return self.folder / f"{self.stem}.{ending}"

    @property
    def result(self) -> Path:
        return self.path("restored.png")

    @property
    def manifest(self) -> Path:
        return self.path("manifest.json")

    @property
    def source(self) -> Path:
        return self.path("png")

    @property
    def edit(self) -> Path:
        return self.path("edit.png")

    @property
    def confidence(self) -> Path:
        return self.path("confidence.png")

    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.manifest.read_bytes())
        return document

    def change(self, change: Change) -> None:
        """Edit the manifest as any text editor would, signing nothing."""
        document = self.document()
        change(document)
        self.manifest.write_text(json.dumps(document, indent=2), encoding="utf-8")

    def replace_text(self, old: str, new: str) -> None:
        text = self.manifest.read_text(encoding="utf-8")
        assert old in text, old
        self.manifest.write_text(text.replace(old, new, 1), encoding="utf-8")


@dataclass(frozen=True)
class Laboratory:
    """Keys and a log. The insider has the real ones; the stranger has his own, under the same names."""

    home: Path
    identity: Identity
    origin: str

    @classmethod
    def found(cls, home: Path, *, origin: str, algorithm: Any = "ES256") -> Laboratory:
        identity = create_identity(home, name=NAME, algorithm=algorithm, passphrase=None, unprotected=True)
        return cls(home, identity, origin)

    @property
    def log_key(self) -> str:
        with TransparencyLog.open(self.home / "log", origin=self.origin) as log:
            return log.vkey

    def log(self, *entries: bytes) -> LogAnchor:
        """Append the entries; the anchor is that of the last."""
        with TransparencyLog.open(self.home / "log", origin=self.origin) as log:
            index = log.append_many(list(entries))[-1]
            return LogAnchor(
                type="tlog-proof",
                origin=log.origin,
                index=index,
                tree_size=log.size,
                public_key=log.vkey,
                proof=log.inclusion_proof_text(index),
            )

    def claim(self, bundle: Bundle, png: bytes | None = None, **options: Any) -> bytes:
        """The result, or `png`, with a fresh claim; `options` replace what honest software would give."""
        body = parse_manifest(bundle.manifest.read_bytes()).body
        honest = {
            "body": body,
            "manifest_text": body_bytes(body).decode(),
            "source_bytes": bundle.source.read_bytes(),
            "source_mime": "image/png",
            "maps": {path.name: path.read_bytes() for path in (bundle.edit, bundle.confidence)},
            "identity": self.identity,
        }
        bare = png if png is not None else without_claim(bundle.result.read_bytes())
        return c2pa_claim.embed(bare, **(honest | options))

    def seal(self, bundle: Bundle, identity: Identity | None = None) -> None:
        """Sign the record and the result as they lie there; the proof stays as it is."""
        manifest = parse_manifest(bundle.manifest.read_bytes())
        signed = sign_manifest(
            manifest.body,
            bundle.result.read_bytes(),
            identity or self.identity,
            anchors=[anchor for anchor in manifest.anchors if isinstance(anchor, LogAnchor)],
        )
        bundle.manifest.write_bytes(manifest_bytes(signed))

    def remake(self, bundle: Bundle, change: Change | None = None, png: bytes | None = None) -> None:
        """A whole new, consistent bundle: record changed, claim made, everything signed and logged."""
        document = bundle.document()
        if change:
            change(document["body"])
        body = Body.model_validate(document["body"])
        text = body_bytes(body)
        result = self.claim(bundle, png, body=body, manifest_text=text.decode())
        bundle.result.write_bytes(result)
        signed = sign_manifest(body, result, self.identity, anchors=[self.log(text)])
        bundle.manifest.write_bytes(manifest_bytes(signed))


@dataclass(frozen=True)
class Scene:
    """What a forger finds. Only `bundle` is his to change; an insider also holds `lab`."""

    bundle: Bundle
    other: Bundle
    """Another picture of the same laboratory."""
    older: Bundle
    """The same source and names, restored earlier in another way."""
    lab: Laboratory
    stranger: Laboratory
    outside: Path


@dataclass(frozen=True)
class Attack:
    """One forgery: what the forger does, and what has to notice."""

    name: str
    does: str
    caught_by: tuple[str, ...]
    exit_code: int
    recompute: bool
    forge: Callable[[Scene], Any] = field(repr=False)


@dataclass
class Corpus:
    """The attacks of one module."""

    title: str
    attacks: list[Attack] = field(default_factory=list)

    def __call__(
        self, does: str, *caught_by: str, exit_code: int = 1, recompute: bool = False
    ) -> Callable[[Callable[[Scene], Any]], Callable[[Scene], Any]]:
        """Register a forgery under its function's name; `caught_by` empty means that nothing does."""

        def add(forge: Callable[[Scene], Any]) -> Callable[[Scene], Any]:
            self.add(forge.__name__.replace("_", "-"), does, caught_by, forge, exit_code, recompute)
            return forge

        return add

    def add(
        self,
        name: str,
        does: str,
        caught_by: Iterable[str],
        forge: Callable[[Scene], Any],
        exit_code: int = 1,
        recompute: bool = False,
    ) -> None:
        self.attacks.append(Attack(name, does, tuple(caught_by), exit_code, recompute, forge))


def copy_scene(scene: Scene, folder: Path) -> Scene:
    """The same scene with folders that may be damaged; keys and logs are shared."""
    bundles = {}
    for name in ("bundle", "other", "older"):
        bundle = getattr(scene, name)
        shutil.copytree(bundle.folder, folder / name)
        bundles[name] = Bundle(folder / name, bundle.stem)
    outside = folder / "outside"
    outside.mkdir()
    return Scene(**bundles, lab=scene.lab, stranger=scene.stranger, outside=outside)


# Pictures and their chunks


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def claim_of(png: bytes) -> bytes:
    """The body of the chunk that holds the claim."""
    return next(bytes(body) for _, kind, body in png_chunks(png) if kind == b"caBX")


def without_claim(png: bytes) -> bytes:
    return with_claim(png, None)


def with_claim(png: bytes, claim: bytes | None) -> bytes:
    """`png` with the claim's chunk replaced, check sum right, or taken out."""
    parts = [png[:8]]
    for _, kind, body in png_chunks(png):
        if kind != b"caBX":
            parts.append(chunk(kind, bytes(body)))
        elif claim is not None:
            parts.append(chunk(kind, claim))
    return b"".join(parts)


def with_pixels(png: bytes, pixels: Any) -> bytes:
    """`png` with other samples of the same shape and everything else kept, the old claim included."""
    data = next(bytes(body) for _, kind, body in png_chunks(encode_png(pixels)) if kind == b"IDAT")
    parts, written = [png[:8]], False
    for _, kind, body in png_chunks(png):
        if kind != b"IDAT":
            parts.append(chunk(kind, bytes(body)))
        elif not written:
            parts.append(chunk(kind, data))
            written = True
    return b"".join(parts)


def forged_pixels(png: bytes) -> Any:
    """The picture with a dark bar drawn over it."""
    pixels = decode_png(png).copy()
    pixels[4:9, 4:30] = 5
    return pixels


def flip(path: Path, place: int = -30) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(bytes(data))


def map_entry(entry: dict[str, Any], png: bytes) -> None:
    """Make the record of a map fit the file `png`."""
    from restore_manifests.canonical import sha256_hex  # noqa: PLC0415

    entry["file_sha256"] = sha256_hex(png)
    entry["pixels_sha256"] = pixels_sha256(decode_png(png))


# Log proofs


def change_proof(bundle: Bundle, change: Callable[[str], str]) -> None:
    def edit(document: dict[str, Any]) -> None:
        (anchor,) = document["anchors"]
        anchor["proof"] = change(anchor["proof"])

    bundle.change(edit)


def set_anchors(bundle: Bundle, *anchors: LogAnchor) -> None:
    bundle.change(lambda d: d.__setitem__("anchors", [anchor.model_dump() for anchor in anchors]))


def bump_base64(text: str, place: int = 6) -> str:
    raw = bytearray(base64.b64decode(text))
    raw[place] ^= 1
    return base64.b64encode(raw).decode()


# Certificates

_USAGES = (
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
_EMAIL = "1.3.6.1.5.5.7.3.4"


@dataclass
class Holder:
    """A key and, once issued, its certificate."""

    name: str
    key: Any
    certificate: x509.Certificate | None = None

    @property
    def subject(self) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, self.name)])


def holder(name: str, kind: str = "ec") -> Holder:
    match kind:
        case "ec":
            return Holder(name, ec.generate_private_key(ec.SECP256R1()))
        case "ed25519":
            return Holder(name, ed25519.Ed25519PrivateKey.generate())
        case "weak-rsa":
            return Holder(name, rsa.generate_private_key(65537, 1024))  # noqa: S505 -- the forgery
        case _:
            return Holder(name, ec.generate_private_key(ec.SECP192R1()))


def issue(
    issuer: Holder,
    to: Holder,
    *,
    ca: bool = False,
    eku: str | None = _EMAIL,
    days: tuple[int, int] = (-30, 30),
    path_length: int | None = None,
    aki: bool = True,
    critical: x509.ExtensionType | None = None,
    serial: int | None = None,
) -> x509.Certificate:
    """A certificate with at most the one fault that is asked for."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(to.subject)
        .issuer_name(issuer.subject)
        .public_key(to.key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca, path_length if ca else None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, **dict.fromkeys(_USAGES, False)),
            critical=True,
        )
    )
    if eku and not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([x509.ObjectIdentifier(eku)]), critical=False)
    if aki:
        key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
        builder = builder.add_extension(key_id, critical=False)
    if critical is not None:
        builder = builder.add_extension(critical, critical=True)
    digest = None if isinstance(issuer.key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    to.certificate = builder.sign(issuer.key, digest)
    return to.certificate


def own_identity(*, leaf_kind: str = "ec", algorithm: Any = "ES256", **leaf: Any) -> Identity:
    """An identity of a stranger whose root and signer have the laboratory's names."""
    root, signer = holder(f"{NAME} root"), holder(NAME, leaf_kind)
    issue(root, root, ca=True)
    issue(root, signer, **leaf)
    assert root.certificate is not None and signer.certificate is not None
    return Identity(algorithm, (signer.certificate,), root.certificate, signer.key)


def noise(shape: tuple[int, ...], seed: int) -> Any:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


MODEL = Path(__file__).parents[2] / "vectors" / "program" / "tiny.safetensors"


def make_scene(base: Path, set_home: Callable[[Path], None]) -> Scene:
    """Three real bundles made by a tiny network, and a stranger."""
    from restore_sdk.restoration import restore  # noqa: PLC0415 -- imports torch only where it is needed

    home = base / "home"
    set_home(home)
    identity = create_identity(home, name=NAME, passphrase=None, unprotected=True)
    (home / "models").mkdir()
    shutil.copy(MODEL, home / "models")
    with TransparencyLog.open(home / "log") as log:
        log.append(b"an older entry")
        origin = log.origin
    for name, seed, scale in (("older", 1, 2), ("other", 2, 1), ("bundle", 1, 1)):
        folder = base / name
        folder.mkdir()
        (folder / "plate.png").write_bytes(encode_png(noise((40, 48, 3), seed)))
        restore(folder / "plate.png", identity=identity, model="tiny", scale=scale)
    return Scene(
        bundle=Bundle(base / "bundle"),
        other=Bundle(base / "other"),
        older=Bundle(base / "older"),
        lab=Laboratory(home, identity, origin),
        stranger=Laboratory.found(base / "stranger", origin="stranger.example/log"),
        outside=base,
    )
