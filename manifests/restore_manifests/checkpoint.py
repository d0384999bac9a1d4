"""Checkpoints: the signed head of a transparency log, in the form every C2SP tool reads.

Sources: c2sp.org/signed-note (the note, its keys, Ed25519), c2sp.org/tlog-checkpoint (the text), and
golang.org/x/mod/sumdb/note for the one-line encodings of the two halves of a key.

    example.com/log        origin, also the name of the key
    42                     tree size
    <base64 root hash>     RFC 9162 root
                           blank line; all above it, with the last newline, is what is signed
    — example.com/log <base64(key ID || signature)>

Pure: no file and no network is touched here.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from restore_manifests.errors import LogError, VerificationError
from restore_manifests.merkle import HASH_BYTES

__all__ = [
    "COSIGNATURE",
    "ED25519",
    "Checkpoint",
    "SigningKey",
    "VerifierKey",
    "decode_base64",
    "note_signatures",
    "note_text",
    "open_note",
    "parse_decimal",
    "sign_checkpoint",
    "sign_note",
    "verify_checkpoint",
]

ED25519 = b"\x01"
"""Kind of a log's key: the signature type identifier of c2sp.org/signed-note."""
COSIGNATURE = b"\x04"
"""Kind of a witness's key, c2sp.org/tlog-cosignature."""

_SKEY_PREFIX = "PRIVATE+KEY+"
_MAX_NOTE = 1 << 20  # signed-note: verifiers SHOULD limit the size; 16 post-quantum signatures need 80 kB
_NO_HEAD = "The checkpoint does not state an origin, a size and a root hash."
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True)
class VerifierKey:
    """The public half of a log's key: what a stranger needs to check a checkpoint."""

    name: str
    public: bytes
    """32 bytes, RFC 8032."""
    kind: bytes = ED25519

    @property
    def key_id(self) -> bytes:
        """SHA-256(name || 0x0A || kind || public key)[:4], signed-note "Ed25519 signatures"."""
        return hashlib.sha256(self.name.encode() + b"\n" + self.kind + self.public).digest()[:4]

    def encode(self) -> str:
        """`name+keyid+base64(type || public key)`, the vkey of sumdb/note."""
        return f"{self.name}+{self.key_id.hex()}+{_encode_base64(self.kind + self.public)}"

    @classmethod
    @lru_cache(maxsize=64)  # an audit reads the same few keys thousands of times
    def parse(cls, text: str, kind: bytes = ED25519) -> VerifierKey:
        """Raises LogError if the text is no vkey of that kind, or its key ID is of another key."""
        try:
            name, key_id, material = text.split("+", 2)
            raw = decode_base64(material)
        except ValueError:
            raise _not_a_key("log's public key", "name+keyid+base64") from None
        key = cls(name, raw[1:], kind)
        if not (_is_name(name) and raw[:1] == kind and len(raw) == 33 and key.key_id.hex() == key_id):
            raise _not_a_key("log's public key", "name+keyid+base64")
        return key


@dataclass(frozen=True)
class SigningKey:
    """The private half of a log's key."""

    name: str
    private: Ed25519PrivateKey
    kind: bytes = ED25519

    @classmethod
    def generate(cls, name: str, kind: bytes = ED25519) -> SigningKey:
        """A fresh key; raises LogError if `name` cannot name a key (empty, a space or a plus in it)."""
        if not _is_name(name):
            raise LogError(
                f"{name!r} cannot name a transparency log: it is empty, or has a space or a plus in it.",
                hint="Use a name such as example.com/log.",
            )
        return cls(name, Ed25519PrivateKey.generate(), kind)

    @property
    def verifier(self) -> VerifierKey:
        return VerifierKey(self.name, self.private.public_key().public_bytes_raw(), self.kind)

    def encode(self) -> str:
        """`PRIVATE+KEY+name+keyid+base64(type || seed)`, the skey of sumdb/note. Secret."""
        material = _encode_base64(self.kind + self.private.private_bytes_raw())
        return f"{_SKEY_PREFIX}{self.name}+{self.verifier.key_id.hex()}+{material}"

    @classmethod
    def parse(cls, text: str, kind: bytes = ED25519) -> SigningKey:
        """Raises LogError if the text is no skey of that kind; the text is never quoted in the message."""
        shape = f"{_SKEY_PREFIX}name+keyid+base64"
        try:
            name, key_id, material = text.removeprefix(_SKEY_PREFIX).split("+", 2)
            raw = decode_base64(material)
        except ValueError:
            raise _not_a_key("log's private key", shape) from None
        if not (text.startswith(_SKEY_PREFIX) and _is_name(name) and raw[:1] == kind and len(raw) == 33):
            raise _not_a_key("log's private key", shape)
        key = cls(name, Ed25519PrivateKey.from_private_bytes(raw[1:]), kind)
        if key.verifier.key_id.hex() != key_id:
            raise _not_a_key("log's private key", shape)
        return key


@dataclass(frozen=True)
class Checkpoint:
    """The head of a log at one size; c2sp.org/tlog-checkpoint "Note text"."""

    origin: str
    size: int
    root: bytes
    """32 bytes."""

    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{_encode_base64(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Reads the note text; extension lines are allowed and ignored. Raises VerificationError."""
        lines = text.split("\n")
        try:
            origin, size, root, *extensions = lines[:-1]
            checkpoint = cls(origin, parse_decimal(size), decode_base64(root))
        except ValueError:
            raise VerificationError(_NO_HEAD) from None
        if not origin or lines[-1] or not all(extensions) or len(checkpoint.root) != HASH_BYTES:
            raise VerificationError(_NO_HEAD)
        return checkpoint


def sign_note(text: str, key: SigningKey) -> str:
    """A signed note over `text`, which ends in a newline; deterministic (RFC 8032)."""
    signature = _encode_base64(key.verifier.key_id + key.private.sign(text.encode()))
    return f"{text}\n\u2014 {key.name} {signature}\n"


def open_note(note: str, key: VerifierKey) -> str:
    """The text of a note signed by `key`; raises VerificationError otherwise.

    Signatures of other keys (witnesses) are ignored, as signed-note demands; where several lines carry the
    name and ID of `key`, all of them have to verify.
    """
    signatures = note_signatures(note, key)
    signed = note_text(note)
    if not signatures:
        raise VerificationError(
            f"The checkpoint is not signed with the key {key.key_id.hex()} of {key.name}."
        )
    public = Ed25519PublicKey.from_public_bytes(key.public)
    try:
        for signature in signatures:
            public.verify(signature, signed.encode())
    except (InvalidSignature, UnicodeEncodeError):
        raise VerificationError("The signature of the checkpoint does not fit its text.") from None
    return signed


def note_signatures(note: str, key: VerifierKey) -> list[bytes]:
    """What the lines of a note that carry the name and ID of `key` hold after the ID; nothing is verified.

    Raises VerificationError if it is no signed note.
    """
    if len(note) > _MAX_NOTE or _CONTROL.search(note):
        raise VerificationError("The checkpoint is no signed note: it is too long or has control characters.")
    _, blank, block = note.rpartition("\n\n")
    lines = block.split("\n")
    if not blank or len(lines) < 2 or lines.pop():
        raise VerificationError("The checkpoint is no signed note: it has no block of signatures.")
    return [signature for line in lines if (signature := _signature_of(line, key)) is not None]


def note_text(note: str) -> str:
    """What the signatures of a note are over: all above its last blank line, the newline included."""
    return note.rpartition("\n\n")[0] + "\n"


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey) -> str:
    return sign_note(checkpoint.text(), key)


def verify_checkpoint(note: str, key: VerifierKey) -> Checkpoint:
    """The checkpoint in a signed note; raises VerificationError.

    The origin has to be the name of the key: tlog-checkpoint only recommends it, but a bare vkey says
    nothing else about which log it speaks for.
    """
    checkpoint = Checkpoint.parse(open_note(note, key))
    if checkpoint.origin != key.name:
        raise VerificationError(f"The checkpoint is of the log {checkpoint.origin}, not of {key.name}.")
    return checkpoint


def decode_base64(text: str) -> bytes:
    """RFC 4648 section 4, and only the one spelling that encoding gives; raises ValueError."""
    raw = base64.b64decode(text, validate=True)
    if _encode_base64(raw) != text:
        raise ValueError("not the canonical base64")
    return raw


def parse_decimal(text: str) -> int:
    """ASCII decimal without sign or leading zeroes, below 2**63; raises ValueError."""
    if not _DECIMAL.fullmatch(text) or int(text) >= 1 << 63:
        raise ValueError("not a whole number")
    return int(text)


def _encode_base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _is_name(name: str) -> bool:
    """signed-note: key names are not empty and have neither Unicode spaces nor plus."""
    return name.split() == [name] and name.isprintable() and "+" not in name


def _signature_of(line: str, key: VerifierKey) -> bytes | None:
    """The signature bytes of a line if it is of `key`; raises VerificationError if it is no such line."""
    try:
        dash, name, blob = line.split(" ")
        raw = decode_base64(blob)
    except ValueError:
        dash, name, raw = "", "", b""
    if dash != "\u2014" or not _is_name(name) or len(raw) <= 4:
        raise VerificationError("The checkpoint is no signed note: a signature line cannot be read.")
    return raw[4:] if (name, raw[:4]) == (key.name, key.key_id) else None


def _not_a_key(what: str, shape: str) -> LogError:
    return LogError(f"The {what} cannot be read.", hint=f"It is one line of the form {shape}.")
