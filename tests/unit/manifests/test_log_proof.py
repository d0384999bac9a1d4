"""The text form of a log proof, and its verification without any log."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_manifests import merkle
from restore_manifests.checkpoint import Checkpoint, SigningKey, sign_checkpoint
from restore_manifests.errors import VerificationError
from restore_manifests.log_proof import IncludedAt, LogProof, LogProofError, ProofPart, verify_inclusion

KEY = SigningKey.generate("example.com/log")
VKEY = KEY.verifier.encode()


def make(entries: list[bytes], index: int, key: SigningKey = KEY, extra: bytes | None = None) -> str:
    """A proof of one entry among some, made from the Merkle core alone."""
    nodes: list[bytes] = []
    frontier = merkle.Frontier()
    for entry in entries:
        nodes += frontier.append(merkle.leaf_hash(entry))

    def read(level: int, position: int, /) -> bytes:
        return nodes[merkle.node_number(level, position)]

    note = sign_checkpoint(Checkpoint(key.name, len(entries), frontier.root()), key)
    return LogProof(index, tuple(merkle.inclusion_path(read, index, len(entries))), note, extra).encode()


ENTRIES = [f"entry {at}".encode() for at in range(11)]
PROOF = make(ENTRIES, 7)


def test_the_shape_that_c2sp_prescribes() -> None:
    lines = PROOF.split("\n")
    assert lines[:2] == ["c2sp.org/tlog-proof@v1", "index 7"]
    assert [len(line) for line in lines[2:6]] == [44] * 4
    assert lines[6:9] == ["", "example.com/log", "11"]
    assert lines[10] == ""
    assert lines[11].startswith("\u2014 example.com/log ")
    assert lines[12:] == [""]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=20), min_size=1, max_size=70), st.data())
def test_every_proof_verifies_and_comes_back(entries: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(entries) - 1))
    extra = data.draw(st.none() | st.binary(max_size=40))
    text = make(entries, index, extra=extra)
    found = verify_inclusion(text, entries[index], VKEY)
    assert (found.origin, found.index, found.tree_size) == ("example.com/log", index, len(entries))
    proof = LogProof.parse(text)
    assert proof.encode() == text
    assert (proof.index, proof.extra) == (index, extra)


def test_what_a_valid_proof_says() -> None:
    root = Checkpoint.parse(PROOF.split("\n\n")[1] + "\n").root
    assert verify_inclusion(PROOF, b"entry 7", VKEY) == IncludedAt("example.com/log", 7, 11, root.hex())


@given(at=st.integers(0, len(PROOF.encode()) - 1), bit=st.integers(0, 7))
def test_any_changed_byte_of_a_proof_is_refused(at: int, bit: int) -> None:
    raw = bytearray(PROOF.encode())
    raw[at] ^= 1 << bit
    with pytest.raises(LogProofError) as caught:
        verify_inclusion(raw.decode("utf-8", "surrogateescape"), b"entry 7", VKEY)
    in_head = at < len(PROOF.split("\n\n")[0].encode())
    assert caught.value.part is (ProofPart.INCLUSION if in_head else ProofPart.CHECKPOINT)


@given(at=st.integers(0, len(PROOF) - 1), change=st.text(max_size=2))
def test_any_edit_of_a_proof_is_refused(at: int, change: str) -> None:
    edited = PROOF[:at] + change + PROOF[at + 1 :]
    if edited != PROOF:
        with pytest.raises(LogProofError):
            verify_inclusion(edited, b"entry 7", VKEY)


@given(st.text())
def test_any_text_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(LogProofError) as caught:
        verify_inclusion(text, b"", VKEY)
    assert caught.value.message.endswith(".")


@pytest.mark.parametrize("data", [b"", b"entry 6", b"entry 7 ", b"Entry 7"])
def test_other_data_is_a_failure_of_inclusion(data: bytes) -> None:
    with pytest.raises(VerificationError, match="does not hold this record as its entry 7") as caught:
        verify_inclusion(PROOF, data, VKEY)
    assert isinstance(caught.value, LogProofError)
    assert caught.value.part == "inclusion"
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("index", [0, 6, 8, 10])
def test_another_index_is_a_failure_of_inclusion(index: int) -> None:
    with pytest.raises(LogProofError) as caught:
        verify_inclusion(PROOF.replace("index 7", f"index {index}"), b"entry 7", VKEY)
    assert caught.value.part is ProofPart.INCLUSION


def test_an_index_beyond_the_tree() -> None:
    with pytest.raises(LogProofError, match="names entry 11 of a log that has 11"):
        verify_inclusion(PROOF.replace("index 7", "index 11"), b"entry 7", VKEY)


def test_the_key_of_another_log_is_a_failure_of_the_checkpoint() -> None:
    with pytest.raises(LogProofError, match="is not signed with the key") as caught:
        verify_inclusion(PROOF, b"entry 7", SigningKey.generate("example.com/log").verifier.encode())
    assert caught.value.part is ProofPart.CHECKPOINT


def test_a_key_that_is_none_is_a_failure_of_the_checkpoint() -> None:
    with pytest.raises(LogProofError, match="public key cannot be read") as caught:
        verify_inclusion(PROOF, b"entry 7", "not a key")
    assert caught.value.part is ProofPart.CHECKPOINT


def test_the_checkpoint_of_another_tree_does_not_carry_the_path() -> None:
    head = PROOF.partition("\n\n")[0]
    note = make([*ENTRIES[:5], b"other", *ENTRIES[6:]], 7).partition("\n\n")[2]
    with pytest.raises(LogProofError) as caught:
        verify_inclusion(f"{head}\n\n{note}", b"entry 7", VKEY)
    assert caught.value.part is ProofPart.INCLUSION


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tlog-proof@v1", "tlog-proof@v2"),
        ("index 7", "index 07"),
        ("index 7", "index +7"),
        ("index 7", "index"),
        ("index 7\n", ""),
        ("index 7", "place 7"),
        ("index 7\n", "extra AA==\nextra AA==\nindex 7\n"),
        ("index 7\n", "extra ?\nindex 7\n"),
        ("index 7\n", "index 7\nAAAA\n"),
        ("index 7\n", "index 7\n" + f"{'A' * 43}=\n" * 65),
        ("c2sp.org/tlog-proof@v1\nindex 7\n", "c2sp.org/tlog-proof@v1\n\n"),
        ("index 7\n", f"extra {'A' * (1 << 20)}\nindex 7\n"),
    ],
    ids=[
        "version", "leading-zero", "sign", "no-number", "no-index", "other-word", "two-extras", "bad-extra",
        "short-hash", "long-path", "nothing", "huge",
    ],
)  # fmt: skip
def test_a_text_that_does_not_follow_the_format(old: str, new: str) -> None:
    text = PROOF.replace(old, new, 1)
    assert text != PROOF
    with pytest.raises(LogProofError):
        verify_inclusion(text, b"entry 7", VKEY)
    with pytest.raises(LogProofError, match=r"does not follow c2sp.org/tlog-proof@v1"):
        LogProof.parse(text)


def test_windows_line_ends_are_refused() -> None:
    with pytest.raises(LogProofError):
        verify_inclusion(PROOF.replace("\n", "\r\n"), b"entry 7", VKEY)


def test_a_verifier_needs_no_database() -> None:
    program = "import sys, restore_manifests.log_proof; sys.exit('sqlite3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
