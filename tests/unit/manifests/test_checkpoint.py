"""Signed notes and checkpoints against the published examples of other implementations."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_manifests import checkpoint as cp
from restore_manifests.errors import LogError, VerificationError

# The example key and note of golang.org/x/mod/sumdb/note.
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SKEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
)
GO_NOTE = (
    f"{GO_TEXT}\n\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXg"
    "KvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
# The example of c2sp.org/signed-note.
C2SP_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
C2SP_NOTE = (
    "This is an example message.\n\n\u2014 example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)

KEY = cp.SigningKey.generate("example.com/log")
HEAD = cp.Checkpoint("example.com/log", 42, bytes(range(32)))
NOTE = cp.sign_checkpoint(HEAD, KEY)
WITNESS_LINE = (
    "\u2014 witness.example/w1 " + base64.b64encode(b"\x01\x02\x03\x04" + bytes(72)).decode() + "\n"
)


@pytest.mark.parametrize("vkey", [GO_VKEY, C2SP_VKEY])
def test_public_keys_of_others_are_read_and_written(vkey: str) -> None:
    assert cp.VerifierKey.parse(vkey).encode() == vkey


def test_the_go_key_signs_the_go_note() -> None:
    key = cp.SigningKey.parse(GO_SKEY)
    assert key.encode() == GO_SKEY
    assert key.verifier.encode() == GO_VKEY
    assert cp.sign_note(GO_TEXT, key) == GO_NOTE


def test_notes_of_others_are_opened() -> None:
    assert cp.open_note(GO_NOTE, cp.VerifierKey.parse(GO_VKEY)) == GO_TEXT
    assert cp.open_note(C2SP_NOTE, cp.VerifierKey.parse(C2SP_VKEY)) == "This is an example message.\n"


def test_a_text_may_have_blank_lines() -> None:
    text = "one\n\ntwo\n"
    assert cp.open_note(cp.sign_note(text, KEY), KEY.verifier) == text


def test_a_checkpoint_goes_there_and_back() -> None:
    assert NOTE.startswith(
        "example.com/log\n42\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\n\u2014 example.com/log "
    )
    assert cp.verify_checkpoint(NOTE, KEY.verifier) == HEAD


def test_extension_lines_are_allowed() -> None:
    note = cp.sign_note(HEAD.text() + "more\n", KEY)
    assert cp.verify_checkpoint(note, KEY.verifier) == HEAD


def test_signatures_of_witnesses_are_ignored() -> None:
    text, _, signatures = NOTE.partition("\n\n")
    for block in (signatures + WITNESS_LINE, WITNESS_LINE * 16 + signatures):
        assert cp.verify_checkpoint(f"{text}\n\n{block}", KEY.verifier) == HEAD


def test_a_second_bad_signature_of_the_same_key_refuses_the_note() -> None:
    other = cp.sign_note("another text\n", KEY).rpartition("\n\n")[2]
    with pytest.raises(VerificationError, match="does not fit its text"):
        cp.open_note(NOTE + other, KEY.verifier)


@given(at=st.integers(0, len(NOTE.encode()) - 1), bit=st.integers(0, 7))
def test_any_changed_byte_of_a_checkpoint_is_refused(at: int, bit: int) -> None:
    raw = bytearray(NOTE.encode())
    raw[at] ^= 1 << bit
    with pytest.raises(VerificationError):
        cp.verify_checkpoint(raw.decode("utf-8", "surrogateescape"), KEY.verifier)


@given(at=st.integers(0, len(NOTE) - 1))
def test_a_cut_checkpoint_is_refused(at: int) -> None:
    with pytest.raises(VerificationError):
        cp.verify_checkpoint(NOTE[:at], KEY.verifier)


@given(st.text())
def test_any_text_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(VerificationError) as caught:
        cp.verify_checkpoint(text, KEY.verifier)
    assert caught.value.message.endswith(".")


def test_the_key_of_another_log_with_the_same_name() -> None:
    other = cp.SigningKey.generate("example.com/log").verifier
    with pytest.raises(VerificationError, match="is not signed with the key"):
        cp.verify_checkpoint(NOTE, other)


def test_a_key_that_signs_for_another_origin() -> None:
    note = cp.sign_checkpoint(cp.Checkpoint("example.com/other", 42, HEAD.root), KEY)
    with pytest.raises(VerificationError, match=r"of the log example.com/other, not of example.com/log"):
        cp.verify_checkpoint(note, KEY.verifier)


@pytest.mark.parametrize(
    "text",
    [
        "example.com/log\n042\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "example.com/log\n-1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "example.com/log\n4_2\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "example.com/log\n\u0664\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "example.com/log\n9223372036854775808\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "example.com/log\n42\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=\n",
        "example.com/log\n42\nAAEC\n",
        "example.com/log\n42\n",
        "\n42\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "example.com/log\n42\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\nmore\n",
    ],
    ids=[
        "leading-zero",
        "negative",
        "underscore",
        "arabic-digit",
        "two-to-the-63",
        "loose-base64-bits",
        "short-root",
        "no-root",
        "no-origin",
        "blank-extension",
    ],
)
def test_a_signed_text_that_is_no_checkpoint(text: str) -> None:
    with pytest.raises(VerificationError, match="does not state an origin, a size and a root hash"):
        cp.verify_checkpoint(cp.sign_note(text, KEY), KEY.verifier)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "text\n",
        "text\n\n",
        NOTE.replace("\u2014 ", "-- "),
        NOTE.replace("\n\n", "\n"),
        NOTE.removesuffix("\n"),
        NOTE.replace("\n", "\r\n"),
        NOTE + "\u2014 two words AAAA\n",
        NOTE + "\u2014 x AAAA\n",
        "x" * (1 << 20) + NOTE,
    ],
    ids=["empty", "text", "no-lines", "dash", "joined", "cut", "crlf", "spaces", "short", "huge"],
)
def test_a_text_that_is_no_note(note: str) -> None:
    with pytest.raises(VerificationError, match="is no signed note"):
        cp.open_note(note, KEY.verifier)


@given(start=st.integers(0, len(GO_VKEY)), end=st.integers(0, len(GO_VKEY)))
def test_a_part_of_a_public_key_is_refused(start: int, end: int) -> None:
    if (start, end) != (0, len(GO_VKEY)):
        with pytest.raises(LogError, match="public key cannot be read"):
            cp.VerifierKey.parse(GO_VKEY[start:end])


@given(at=st.integers(0, len(GO_VKEY) - 1), change=st.characters())
def test_a_changed_public_key_is_refused(at: int, change: str) -> None:
    if GO_VKEY[at] != change:
        with pytest.raises(LogError):
            cp.VerifierKey.parse(GO_VKEY[:at] + change + GO_VKEY[at + 1 :])


@given(at=st.integers(0, len(GO_SKEY) - 1), change=st.characters())
def test_a_changed_private_key_is_refused_and_not_shown(at: int, change: str) -> None:
    if GO_SKEY[at] != change:
        with pytest.raises(LogError) as caught:
            cp.SigningKey.parse(GO_SKEY[:at] + change + GO_SKEY[at + 1 :])
        assert "AYEKFALV" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u00a0b", "a\nb", "a\x00"])
def test_a_name_that_cannot_name_a_log(name: str) -> None:
    with pytest.raises(LogError, match="cannot name a transparency log"):
        cp.SigningKey.generate(name)
