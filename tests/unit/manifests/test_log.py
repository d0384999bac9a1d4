"""The log over SQLite: what it promises, and one sentence for everything that can be wrong with it."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pymerkle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_manifests import log_files
from restore_manifests.checkpoint import SigningKey, VerifierKey, verify_checkpoint
from restore_manifests.errors import LogError, RestoreError, StorageError, UsageError
from restore_manifests.log import MAX_ENTRY_BYTES, TransparencyLog
from restore_manifests.log_proof import verify_inclusion
from restore_manifests.merkle import verify_consistency_path

ENTRIES = [f"entry {at}".encode() for at in range(21)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A closed log of 21 entries."""
    path = tmp_path / "log"
    with TransparencyLog.open(path, origin="example.com/log") as log:
        assert log.append_many(ENTRIES) == list(range(21))
    return path


@pytest.fixture
def log(folder: Path) -> Iterator[TransparencyLog]:
    with TransparencyLog.open(folder) as opened:
        yield opened


def edit(folder: Path, *statements: str) -> None:
    """What somebody with an SQLite shell could do."""
    with closing(sqlite3.connect(folder / "log.sqlite")) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def refused(folder: Path, kind: type[RestoreError] = LogError) -> str:
    """The sentence with which opening or, failing that, the full check refuses; twice the same."""
    sentences = []
    for _ in range(2):
        with pytest.raises(kind) as caught, TransparencyLog.open(folder) as log:
            log.check()
        sentences.append(caught.value.message)
    assert sentences[0] == sentences[1]
    assert sentences[0].endswith(".")
    assert "\n" not in sentences[0]
    return sentences[0]


def test_a_new_log_is_empty_and_signed(tmp_path: Path) -> None:
    with TransparencyLog.open(tmp_path / "deep" / "log", origin="example.com/log") as log:
        head = verify_checkpoint(log.checkpoint(), VerifierKey.parse(log.vkey))
        assert (head.origin, head.size, head.root.hex()[:8]) == ("example.com/log", 0, "e3b0c442")
        assert log.size == 0
        assert list(log.entries()) == []
        assert log.append_many([]) == []
        assert log.check() == head


def test_new_logs_have_names_of_their_own(tmp_path: Path) -> None:
    names = set()
    for at in range(2):
        with TransparencyLog.open(tmp_path / str(at)) as log:
            names.add(log.origin)
    assert len(names) == 2


def test_entries_survive_closing(folder: Path, log: TransparencyLog) -> None:
    assert log.origin == "example.com/log"
    assert list(log.entries()) == ENTRIES
    assert list(log.entries(5, 8)) == ENTRIES[5:8]
    assert list(log.entries(-3, 100)) == ENTRIES
    assert list(log.entries(30)) == []
    assert log.append(b"one more") == 21
    assert log.size == log.check().size == 22


def test_long_exports_come_in_pages(log: TransparencyLog) -> None:
    more = [str(at).encode() for at in range(1000)]
    log.append_many(more)
    pages = log.entries()
    assert [next(pages) for _ in range(300)] == (ENTRIES + more)[:300]
    log.append(b"while the export runs")
    assert list(pages) == (ENTRIES + more)[300:]


@settings(deadline=None, max_examples=25)
@given(batches=st.lists(st.lists(st.binary(max_size=9), max_size=40), max_size=5), data=st.data())
def test_any_history_proves_every_entry(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[bytes]], data: st.DataObject
) -> None:
    entries: list[bytes] = []
    with TransparencyLog.open(tmp_path_factory.mktemp("history")) as log:
        heads = [log.checkpoint()]
        for batch in batches:
            start = len(entries)
            entries += batch
            assert log.append_many(batch) == list(range(start, len(entries)))
            heads.append(log.checkpoint())
        other = pymerkle.InmemoryTree.init_from_entries(entries)
        head = log.check()
        assert (head.size, head.root) == (len(entries), other.get_root())
        for index, entry in enumerate(entries):
            text = log.inclusion_proof_text(index)
            assert verify_inclusion(text, entry, log.vkey).index == index
        old, new = sorted(data.draw(st.integers(0, len(heads) - 1)) for _ in range(2))
        first, second = (verify_checkpoint(heads[at], VerifierKey.parse(log.vkey)) for at in (old, new))
        path = log.consistency_proof(first.size, second.size)
        assert verify_consistency_path(first.size, second.size, first.root, second.root, path)
        for note in heads:
            log.check_extends(note)


@pytest.mark.parametrize("index", [-1, 21, 1 << 70])
def test_no_proof_for_an_entry_that_is_not_there(log: TransparencyLog, index: int) -> None:
    with pytest.raises(LogError, match=f"has 21 entries: there is no entry {index}"):
        log.inclusion_proof_text(index)


@pytest.mark.parametrize(("old", "new"), [(-1, 3), (4, 3), (3, 22)])
def test_no_consistency_proof_beyond_the_log(log: TransparencyLog, old: int, new: int) -> None:
    with pytest.raises(LogError, match=f"no consistency proof from {old} to {new}"):
        log.consistency_proof(old, new)


def test_a_huge_entry_is_refused_with_its_batch(log: TransparencyLog) -> None:
    with pytest.raises(UsageError, match="at most 67108864 bytes"):
        log.append_many([b"small", bytes(MAX_ENTRY_BYTES + 1)])
    assert log.size == 21


def test_a_log_may_be_shared_between_threads(log: TransparencyLog) -> None:
    seen: list[int] = []

    def work(name: int) -> None:
        seen.extend(log.append(f"{name} {at}".encode()) for at in range(10))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == list(range(21, 61))
    assert log.check().size == 61


def test_two_openings_see_each_other(folder: Path, log: TransparencyLog) -> None:
    with TransparencyLog.open(folder, create=False) as other:
        assert other.append(b"theirs") == 21
        assert log.append(b"ours") == 22
        assert other.size == 23
        assert other.checkpoint() == log.checkpoint()


def test_processes_that_create_a_log_at_once_share_it(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from restore_manifests.log import TransparencyLog\n"
        "sys.stdin.read()\n"
        "with TransparencyLog.open(Path(sys.argv[1])) as log: print(log.vkey, log.append(b'x'))\n"
    )
    path = tmp_path / "log"
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    for worker in workers:  # all imported and waiting; now let them go together
        assert worker.stdin is not None
        worker.stdin.close()
        worker.stdin = None
    lines = [worker.communicate(timeout=60)[0].split() for worker in workers]
    assert len({vkey for vkey, _ in lines}) == 1
    assert sorted(int(index) for _, index in lines) == list(range(6))
    with TransparencyLog.open(path) as log:
        assert log.check().size == 6


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
def test_only_the_owner_reads_the_key(folder: Path) -> None:
    assert (folder / "log.key").stat().st_mode & 0o777 == 0o600


def test_a_key_that_was_provided_is_used(tmp_path: Path) -> None:
    key = SigningKey.generate("example.com/provided")
    (tmp_path / "log.key").write_text(key.encode() + "\n", encoding="ascii")
    with pytest.raises(LogError, match=r"is example.com/provided, not example.com/other"):
        TransparencyLog.open(tmp_path, origin="example.com/other")
    with TransparencyLog.open(tmp_path) as log:
        assert log.vkey == key.verifier.encode()


def test_a_creation_killed_halfway_is_taken_up(tmp_path: Path) -> None:
    (tmp_path / "log.sqlite").touch()
    (tmp_path / "log.key.tmp").write_text("PRIVATE+KEY+exam", encoding="ascii")
    with TransparencyLog.open(tmp_path) as log:
        assert log.append(b"x") == 0
    assert not (tmp_path / "log.key.tmp").exists()


def test_leftovers_of_killed_writers_are_swept(folder: Path) -> None:
    old, young = folder / "checkpoint.1.2.tmp", folder / "checkpoint.3.4.tmp"
    for path in (old, young):
        path.write_text("half a check", encoding="utf-8")
    os.utime(old, (time.time() - 3600,) * 2)
    TransparencyLog.open(folder).close()
    assert not old.exists()
    assert young.exists()


def test_the_checkpoint_beside_the_log_is_the_newest(folder: Path, log: TransparencyLog) -> None:
    log.append(b"x")
    assert (folder / "checkpoint").read_text(encoding="utf-8") == log.checkpoint()


def test_another_origin_is_refused(folder: Path) -> None:
    with pytest.raises(LogError, match=r"is example.com/log, not example.com/other"):
        TransparencyLog.open(folder, origin="example.com/other")


def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="There is no transparency log"):
        TransparencyLog.open(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()


def test_a_closed_log_says_so(folder: Path) -> None:
    log = TransparencyLog.open(folder)
    log.close()
    log.close()
    with pytest.raises(LogError, match="is closed"):
        log.append(b"x")


TAMPERING = {
    "entry-changed": "UPDATE entry SET data = CAST('Entry 3' AS BLOB) WHERE number = 3",
    "entry-as-text": "UPDATE entry SET data = 'entry 3' WHERE number = 3",
    "entry-removed": "DELETE FROM entry WHERE number = 3",
    "last-entry-removed": "DELETE FROM entry WHERE number = 20",
    "entry-added": "INSERT INTO entry VALUES (21, x'00')",
    "entry-negative": "INSERT INTO entry VALUES (-1, x'00')",
    "leaf-hash-changed": "UPDATE node SET hash = zeroblob(32) WHERE number = 0",
    "inner-hash-changed": "UPDATE node SET hash = zeroblob(32) WHERE number = 2",
    "peak-changed": "UPDATE node SET hash = zeroblob(32) WHERE number = 30",
    "hash-cut": "UPDATE node SET hash = zeroblob(31) WHERE number = 30",
    "hash-removed": "DELETE FROM node WHERE number = 5",
    "hash-added": "INSERT INTO node VALUES (1000, zeroblob(32))",
    "everything-removed": "DELETE FROM entry",
    "checkpoint-changed": "UPDATE head SET checkpoint = replace(checkpoint, '21', '20')",
    "checkpoint-empty": "UPDATE head SET checkpoint = ''",
    "head-removed": "DELETE FROM head",
    "table-removed": "DROP TABLE node",
    "table-renamed": "ALTER TABLE entry RENAME TO entries",
}


@pytest.mark.parametrize("statement", TAMPERING.values(), ids=TAMPERING)
def test_a_tampered_database_is_refused(folder: Path, statement: str) -> None:
    edit(folder, statement)
    assert "damaged" in refused(folder)


def test_swapped_entries_are_found_by_the_check(folder: Path) -> None:
    edit(
        folder,
        "UPDATE entry SET number = 99 WHERE number = 4",
        "UPDATE entry SET number = 4 WHERE number = 5",
        "UPDATE entry SET number = 5 WHERE number = 99",
    )
    assert "its entry 4 or a hash above it was changed" in refused(folder)


def test_a_changed_entry_is_not_proven(folder: Path, log: TransparencyLog) -> None:
    edit(folder, TAMPERING["entry-changed"])
    with pytest.raises(LogError, match="its entry 3 does not lead to its last checkpoint"):
        log.inclusion_proof_text(3)


def test_nothing_is_signed_over_a_changed_tree(folder: Path, log: TransparencyLog) -> None:
    before = log.checkpoint()
    edit(folder, TAMPERING["peak-changed"])
    with pytest.raises(LogError, match="its tree does not lead to its last checkpoint"):
        log.append(b"x")
    assert log.checkpoint() == before
    assert log.size == 21


def test_nothing_is_added_after_entries_that_nobody_signed(folder: Path, log: TransparencyLog) -> None:
    edit(folder, TAMPERING["entry-added"])
    with pytest.raises(LogError, match="damaged"):
        log.append(b"x")


def test_a_database_rolled_back_to_a_backup(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "log.sqlite", tmp_path / "backup")
    with TransparencyLog.open(folder) as log:
        log.append_many([b"a", b"b"])
    shutil.copy(tmp_path / "backup", folder / "log.sqlite")
    assert "was rolled back from 23 entries to 21" in refused(folder)


def test_a_whole_folder_rolled_back_fails_against_an_outside_checkpoint(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "backup")
    with TransparencyLog.open(folder) as log:
        log.append(b"a")
        outside = log.checkpoint()
    with TransparencyLog.open(tmp_path / "backup") as log:
        with pytest.raises(LogError, match="was rolled back from 22 entries to 21"):
            log.check_extends(outside)
        log.append(b"b")
        with pytest.raises(LogError, match="was forked: its first 22 entries have changed"):
            log.check_extends(outside)


def test_a_fork_beside_its_old_checkpoint(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "fork")
    for path, data in ((folder, b"a"), (tmp_path / "fork", b"b")):
        with TransparencyLog.open(path) as log:
            log.append_many([data, b"c"])
    with TransparencyLog.open(tmp_path / "fork") as log:
        log.append(b"d")
    shutil.copy(folder / "checkpoint", tmp_path / "fork" / "checkpoint")
    assert "was forked: its first 23 entries have changed" in refused(tmp_path / "fork")


def test_the_checkpoint_of_another_log(folder: Path, tmp_path: Path) -> None:
    with TransparencyLog.open(tmp_path / "other", origin="example.com/log") as other:
        other.append(b"x")
    shutil.copy(tmp_path / "other" / "checkpoint", folder / "checkpoint")
    assert "does not hold: The checkpoint is not signed with the key" in refused(folder)


@pytest.mark.parametrize("content", [b"garbage", b"\xff\xfe"])
def test_a_damaged_witness_is_reported(folder: Path, content: bytes) -> None:
    (folder / "checkpoint").write_bytes(content)
    assert "A checkpoint to compare" in refused(folder)


@pytest.mark.parametrize("content", [b"", bytes(180)])
def test_a_witness_that_a_power_cut_blanked_is_no_alarm(folder: Path, content: bytes) -> None:
    (folder / "checkpoint").write_bytes(content)
    with TransparencyLog.open(folder) as log:
        assert log.check().size == 21


def fresh_skey(name: str) -> bytes:
    return SigningKey.generate(name).encode().encode()


def spoil(name: str, content: bytes | None) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content)

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (spoil("log.sqlite", b"this is no database, it is a letter\n" * 200), "is damaged or is not a log"),
        (spoil("log.sqlite", b""), "is not a transparency log"),
        (spoil("log.sqlite", None), "log.sqlite is not there, although its checkpoint is"),
        (spoil("log.key", None), "The key log.key of the log in .* is missing"),
        (spoil("log.key", b""), "The key log.key of the log in .* is damaged"),
        (spoil("log.key", b"\xff\xff"), "The key log.key of the log in .* is damaged"),
        (spoil("log.key", fresh_skey("example.com/log")), "is not the key of the log"),
        (spoil("log.key", fresh_skey("example.com/b")), "is not the key of the log"),
        (lambda folder: edit(folder, "PRAGMA user_version = 2"), "has a newer format"),
        (lambda folder: edit(folder, "PRAGMA application_id = 7"), "is not a transparency log"),
    ],
    ids=[
        "letter", "empty", "no-database", "no-key", "empty-key", "binary-key", "wrong-key", "foreign-key",
        "newer", "foreign-database",
    ],
)  # fmt: skip
def test_a_spoilt_folder_is_refused(folder: Path, change: Callable[[Path], None], sentence: str) -> None:
    change(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    message = refused(folder)
    assert re.search(sentence, message), message
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_a_damaged_page_never_passes_and_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any 64 bytes of the file overwritten: refused in a sentence, or nothing that counts was hit."""
    path = tmp_path_factory.mktemp("pages")
    with TransparencyLog.open(path) as log:
        log.append_many([bytes([at]) * 90 for at in range(200)])
        good = log.check()
    raw = bytearray((path / "log.sqlite").read_bytes())
    at = data.draw(st.integers(0, len(raw) - 64))
    raw[at : at + 64] = data.draw(st.binary(min_size=64, max_size=64))
    (path / "log.sqlite").write_bytes(raw)
    try:
        with TransparencyLog.open(path) as log:
            assert log.check() == good
            assert list(log.entries()) == [bytes([at]) * 90 for at in range(200)]
    except RestoreError as error:
        assert error.message.endswith(".")


def test_a_schema_that_is_no_text_is_one_sentence(tmp_path: Path) -> None:
    """SQLite's own complaint then quotes what cannot be decoded, and Python raises no sqlite3.Error."""
    TransparencyLog.open(tmp_path).close()
    raw = (tmp_path / "log.sqlite").read_bytes()
    assert b"CREATE TABLE head" in raw
    (tmp_path / "log.sqlite").write_bytes(raw.replace(b"CREATE TABLE head", b"CREATE \x80ABLE head"))
    assert "damaged" in refused(tmp_path)


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    edit(tmp_path, "CREATE TABLE photos (name TEXT)")
    assert "is not a transparency log" in refused(tmp_path)
    assert not (tmp_path / "log.key").exists()


@pytest.mark.parametrize("below", ["file", "file/log"])
def test_a_file_in_the_place_of_the_folder(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert "cannot be used" in refused(tmp_path / below, StorageError)


def test_a_database_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "log.sqlite").mkdir()
    assert "cannot be read or written" in refused(tmp_path, StorageError)


def test_a_log_that_may_not_be_written(log: TransparencyLog) -> None:
    log._connection.execute("PRAGMA query_only = ON")  # SQLite answers as on a read-only file
    with pytest.raises(StorageError, match="cannot be read or written"):
        log.append(b"x")
    assert log.check().size == 21


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_a_folder_that_may_not_be_written(folder: Path) -> None:
    folder.chmod(0o555)
    (folder / "log.sqlite").chmod(0o444)
    try:
        with pytest.raises(StorageError), TransparencyLog.open(folder) as log:
            log.append(b"x")
    finally:
        folder.chmod(0o755)


def test_a_full_disk_loses_nothing(log: TransparencyLog) -> None:
    pages = log._connection.execute("PRAGMA page_count").fetchone()[0]
    log._connection.execute(f"PRAGMA max_page_count = {pages}")  # SQLite answers as on a full disk
    before = log.checkpoint()
    with pytest.raises(StorageError, match=r"disk of the log in .* is full"):
        log.append_many([b"small", bytes(100_000)])
    assert log.checkpoint() == before
    log._connection.execute("PRAGMA max_page_count = 1000000")
    assert log.append(b"after") == 21
    assert log.check().size == 22


def test_a_witness_that_cannot_be_written_does_not_fail_the_append(
    folder: Path, log: TransparencyLog
) -> None:
    (folder / "checkpoint").unlink()
    (folder / "checkpoint").mkdir()
    assert log.append(b"x") == 21


def test_a_log_that_others_keep_busy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_files, "PATIENCE_SECONDS", 0.05)
    with TransparencyLog.open(folder) as log, closing(sqlite3.connect(folder / "log.sqlite")) as other:
        log._connection.execute("PRAGMA busy_timeout = 50")
        other.execute("BEGIN IMMEDIATE")
        assert log.check().size == 21  # readers do not wait for writers
        with pytest.raises(LogError, match="kept busy by another program"):
            log.append(b"x")
        other.execute("ROLLBACK")
        assert log.append(b"x") == 21


def test_the_checker_in_the_documentation_works(log: TransparencyLog) -> None:
    page = (Path(__file__).parents[3] / "docs" / "log.md").read_text(encoding="utf-8")
    block = page.partition("<!-- tested:")[2].partition("```python\n")[2].partition("```")[0]
    names: dict[str, Callable[[str, bytes, str], str]] = {}
    exec(block, names)  # noqa: S102 - our own page
    for index, entry in enumerate(ENTRIES):
        proof = log.inclusion_proof_text(index)
        assert names["check"](proof, entry, log.vkey) == f"entry {index} of 21 in example.com/log"
        with pytest.raises(AssertionError):
            names["check"](proof, entry + b"!", log.vkey)
