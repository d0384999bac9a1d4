"""Witnesses: they cosign a history that grows, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_cli.__main__ import main
from restore_manifests.checkpoint import (
    COSIGNATURE,
    Checkpoint,
    SigningKey,
    VerifierKey,
    sign_checkpoint,
    verify_checkpoint,
)
from restore_manifests.errors import LogError, StorageError, VerificationError
from restore_manifests.log import TransparencyLog
from restore_manifests.log_proof import LogProof, verify_inclusion
from restore_manifests.merkle import EMPTY_ROOT, Frontier, leaf_hash
from restore_manifests.tiles import export_tiles
from restore_manifests.witness import add_signatures, cosign, verify_cosignature
from restore_manifests.witness_files import Witness

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LOG = SigningKey.generate("test.example/log")
KEY = SigningKey.generate("witness.example/w1", COSIGNATURE)


def head(size: int, word: bytes = b"entry") -> Checkpoint:
    frontier = Frontier()
    for number in range(size):
        frontier.append(leaf_hash(b"%s %d" % (word, number)))
    return Checkpoint("test.example/log", size, frontier.root())


def sign(checkpoint: Checkpoint, last: Checkpoint | None = None, **options: Any) -> Any:
    options = {"log": LOG.verifier, "proof": [], "key": KEY, "at": AT, **options}
    return cosign(sign_checkpoint(checkpoint, LOG), last=last, **options)


def test_the_published_example_has_the_same_form() -> None:
    """The example of c2sp.org/tlog-cosignature: a blob of 4 + 8 + 64 bytes, at a time in March 2023."""
    key = VerifierKey("witness.example.com/w1", bytes(32), COSIGNATURE)
    line = (
        "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZ"
        "qhf5nNo0xUe+mbIUBkBIfZ+qnA=="
    )
    import base64  # noqa: PLC0415

    blob = base64.b64decode(line)
    ours = base64.b64decode(sign(head(3)).note.splitlines()[-1].split(" ")[2])
    assert len(blob) == len(ours) == 4 + 8 + 64
    assert datetime.fromtimestamp(int.from_bytes(blob[4:12], "big"), UTC).year == 2023
    assert ours[:4] == KEY.verifier.key_id
    assert datetime.fromtimestamp(int.from_bytes(ours[4:12], "big"), UTC) == AT
    message = b"cosignature/v1\ntime %d\n" % AT.timestamp() + head(3).text().encode()
    KEY.private.public_key().verify(ours[12:], message)
    assert key.encode().startswith("witness.example.com/w1+")


def test_the_first_state_is_taken_as_it_is() -> None:
    done = sign(head(3))
    assert done.seen == head(3)
    assert verify_cosignature(done.note, KEY.verifier) == AT
    assert verify_checkpoint(done.note, LOG.verifier) == head(3)


@pytest.mark.parametrize(
    ("checkpoint", "last", "what"),
    [
        (head(2), head(3), "rolled back"),
        (head(0), head(1), "rolled back"),
        (head(3, b"other"), head(3), "forked"),
        (head(5), head(3), "forked, or its proof"),
        (head(3), Checkpoint("other.example", 3, head(3).root), "not of other.example"),
        (Checkpoint("other.example", 3, head(3).root), None, "not of test.example/log"),
    ],
)
def test_what_is_refused(checkpoint: Checkpoint, last: Checkpoint | None, what: str) -> None:
    with pytest.raises(VerificationError, match=what):
        sign(checkpoint, last)


def test_a_state_that_the_log_did_not_sign() -> None:
    stranger = SigningKey.generate("test.example/log")
    with pytest.raises(VerificationError, match="not signed with the key"):
        sign(head(3), log=stranger.verifier)


def test_the_same_state_again_and_from_nothing() -> None:
    assert sign(head(3), head(3)).seen == head(3)
    assert sign(head(3), Checkpoint("test.example/log", 0, EMPTY_ROOT)).seen == head(3)


def test_a_witness_is_no_log_and_a_log_no_witness() -> None:
    note = sign(head(3)).note
    as_log = VerifierKey(KEY.name, KEY.verifier.public)
    with pytest.raises(VerificationError):
        verify_checkpoint(note, as_log)
    with pytest.raises(VerificationError, match="did not sign"):
        verify_cosignature(note, VerifierKey(LOG.name, LOG.verifier.public, COSIGNATURE))
    with pytest.raises(LogError):
        VerifierKey.parse(KEY.verifier.encode())
    assert VerifierKey.parse(KEY.verifier.encode(), COSIGNATURE) == KEY.verifier
    assert SigningKey.parse(KEY.encode(), COSIGNATURE).verifier == KEY.verifier


@given(st.integers(0, 63 + 12), st.integers(1, 255))
def test_a_changed_cosignature_does_not_hold(place: int, mask: int) -> None:
    import base64  # noqa: PLC0415

    note = sign(head(3)).note
    lines = note.splitlines()
    dash, name, text = lines[-1].split(" ")
    blob = bytearray(base64.b64decode(text))
    blob[place] ^= mask
    changed = "\n".join([*lines[:-1], f"{dash} {name} {base64.b64encode(blob).decode()}"]) + "\n"
    with pytest.raises(VerificationError):
        verify_cosignature(changed, KEY.verifier)


def test_cosignatures_of_several_come_together() -> None:
    second = SigningKey.generate("witness.example/w2", COSIGNATURE)
    one, other = sign(head(3)).note, sign(head(3), key=second, at=AT + timedelta(hours=1)).note
    both = add_signatures(one, other)
    assert len(both.splitlines()) == len(one.splitlines()) + 1
    assert verify_cosignature(both, KEY.verifier) == AT
    assert verify_cosignature(both, second.verifier) == AT + timedelta(hours=1)
    assert verify_checkpoint(both, LOG.verifier) == head(3)
    with pytest.raises(LogError, match="same state"):
        add_signatures(one, sign(head(4)).note)


# ---- on files --------------------------------------------------------------------------------------------


@pytest.fixture
def public(tmp_path: Path) -> Path:
    with TransparencyLog.open(tmp_path / "log", origin="test.example/log") as log:
        log.append_many([b"entry %d" % number for number in range(300)])
        export_tiles(log, tmp_path / "public")
    return tmp_path / "public"


def grow(tmp_path: Path, public: Path, count: int = 300) -> VerifierKey:
    with TransparencyLog.open(tmp_path / "log") as log:
        log.append_many([b"more"] * count)
        export_tiles(log, public)
        return VerifierKey.parse(log.vkey)


def vkey(tmp_path: Path) -> VerifierKey:
    with TransparencyLog.open(tmp_path / "log") as log:
        return VerifierKey.parse(log.vkey)


def test_it_follows_a_log_that_grows(tmp_path: Path, public: Path) -> None:
    witness, key = Witness.open(tmp_path / "w", name="witness.example/w1"), vkey(tmp_path)
    assert witness.last(key) is None
    for size in (300, 300, 600, 605):
        if size > 300:
            grow(tmp_path, public, 300 if size == 600 else 5)
        again = Witness.open(tmp_path / "w", name="ignored")
        assert again.vkey == witness.vkey
        note = again.witness(public, key, AT)
        assert verify_cosignature(note, VerifierKey.parse(witness.vkey, COSIGNATURE)) == AT
        last = again.last(key)
        assert last is not None
        assert last.size == size
    if os.name != "nt":
        assert (tmp_path / "w" / "witness.key").stat().st_mode & 0o077 == 0


def test_it_refuses_a_rollback_and_a_fork_and_remembers_what_it_saw(tmp_path: Path, public: Path) -> None:
    key, witness = vkey(tmp_path), Witness.open(tmp_path / "w", name="witness.example/w1")
    shutil.copytree(tmp_path / "log", tmp_path / "backup")
    shutil.copytree(public, tmp_path / "old-public")
    grow(tmp_path, public)
    witness.witness(public, key, AT)
    seen = witness.last(key)
    with pytest.raises(VerificationError, match="rolled back from 600 entries to 300"):
        witness.witness(tmp_path / "old-public", key, AT)
    with TransparencyLog.open(tmp_path / "backup") as forked:
        forked.append_many([b"other"] * 400)
        export_tiles(forked, tmp_path / "forked-public")
    with pytest.raises(VerificationError, match="forked"):
        witness.witness(tmp_path / "forked-public", key, AT)
    assert witness.last(key) == seen


def test_what_is_missing_or_damaged_is_said(tmp_path: Path, public: Path) -> None:
    key, witness = vkey(tmp_path), Witness.open(tmp_path / "w", name="witness.example/w1")
    with pytest.raises(LogError, match="no checkpoint"):
        witness.witness(tmp_path, key, AT)
    witness.witness(public, key, AT)
    grow(tmp_path, public)
    shutil.rmtree(public / "tile")
    with pytest.raises(LogError, match="cannot be read"):
        witness.witness(public, key, AT)
    (state,) = (tmp_path / "w").glob("*.checkpoint")
    state.write_text("nonsense")
    with pytest.raises(LogError, match="damaged"):
        witness.last(key)
    (tmp_path / "w" / "witness.key").write_text("nonsense")
    with pytest.raises(LogError, match=r"witness\.key .* damaged"):
        Witness.open(tmp_path / "w", name="x")
    (tmp_path / "w" / "witness.key").unlink()
    with pytest.raises(LogError, match=r"witness\.key .* missing"):
        Witness.open(tmp_path / "w", name="x")
    with pytest.raises(StorageError):
        Witness.open(public / "checkpoint" / "w", name="x")


def test_the_commands_and_a_proof_that_carries_the_cosignature(
    tmp_path: Path, public: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, cosigned = vkey(tmp_path), tmp_path / "cosigned.txt"
    words = ["log", "witness", str(public), "--state", str(tmp_path / "w"), "--json"]
    assert main(words) == 2
    assert "public key is missing" in capsys.readouterr().err
    assert main([*words, "--log-key", key.encode(), "--out", str(cosigned)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["origin"], document["before"]) == ("test.example/log", None)
    grow(tmp_path, public)
    proof = tmp_path / "7.tlog-proof"
    prove = ["log", "prove", "7", "--log", str(tmp_path / "log"), "--out", str(proof)]
    assert main([*prove, "--checkpoint", str(cosigned)]) == 0
    text = proof.read_text("utf-8")
    place = verify_inclusion(text, b"entry 7", key.encode())
    assert (place.index, place.tree_size) == (7, 300)
    witness = VerifierKey.parse(document["witness"], COSIGNATURE)
    assert verify_cosignature(LogProof.parse(text).checkpoint, witness)
    shutil.rmtree(public)
    with TransparencyLog.open(tmp_path / "forked", origin="test.example/other"):
        pass
    assert main(["log", "check", "--log", str(tmp_path / "log"), "--against", str(cosigned)]) == 0
