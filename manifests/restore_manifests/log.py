"""A transparency log in one folder: append-only, signed, safe for many processes at once.

    log.sqlite    entries and the hashes of all complete subtrees (WAL, every commit synced)
    log.key       the log's Ed25519 key, readable by its owner only
    checkpoint    the newest signed checkpoint, kept outside the database as a witness against its rollback

The tree is that of RFC 9162 section 2.1; checkpoints and proofs speak C2SP (see checkpoint.py, log_proof.py).
Appending and proving cost O(log n). Every append runs in one write transaction that first compares the tree
with the last signed checkpoint and then stores entries, hashes and the next checkpoint together: after a kill
at any moment the log is as before or as after, and no checkpoint is ever signed over a history that does not
extend the one signed before (a MUST of c2sp.org/tlog-checkpoint).

The folder must be on a local disk: SQLite's WAL does not work across a network file system.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import threading
from typing import TYPE_CHECKING, Any, Literal, Self

from restore_manifests.checkpoint import (
    Checkpoint,
    SigningKey,
    sign_checkpoint,
    verify_checkpoint,
)
from restore_manifests.errors import LogError, UsageError, VerificationError
from restore_manifests.log_files import (
    CHECKPOINT_NAME,
    KEY_NAME,
    PATIENCE_SECONDS,
    in_one_sentence,
    load_key,
    patiently,
    read_witness,
    sweep,
    write_key,
    write_witness,
)
from restore_manifests.log_proof import LogProof
from restore_manifests.merkle import (
    EMPTY_ROOT,
    HASH_BYTES,
    Frontier,
    consistency_path,
    inclusion_path,
    leaf_hash,
    node_count,
    node_number,
    peaks,
    tree_root,
    verify_consistency_path,
    verify_inclusion_path,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

__all__ = ["DATABASE_NAME", "MAX_ENTRY_BYTES", "TransparencyLog"]

DATABASE_NAME = "log.sqlite"
MAX_ENTRY_BYTES = 64 << 20

_APPLICATION_ID = 0x72_73_74_6C  # "rstl" in the SQLite header: tells our files from foreign ones
_FORMAT = 1
_PAGE = 256
_SCHEMA = (
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_FORMAT}",
    "CREATE TABLE head (vkey TEXT NOT NULL, checkpoint TEXT NOT NULL)",  # one row
    "CREATE TABLE entry (number INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    "CREATE TABLE node (number INTEGER PRIMARY KEY, hash BLOB NOT NULL)",  # numbered by merkle.node_number
)


class TransparencyLog:
    """The log in one folder. Use as a context manager or call `close`; may be shared between threads.

    Every method raises LogError for a log that is damaged, rolled back, forked, foreign or kept busy by
    others, and StorageError for a disk that is full or may not be written; what was acknowledged stays.
    """

    def __init__(self, connection: sqlite3.Connection, folder: Path) -> None:
        """Internal: use `TransparencyLog.open`."""
        self._connection = connection
        self._folder = folder
        self._lock = threading.RLock()
        self._key: SigningKey

    @classmethod
    def open(cls, path: Path, *, origin: str | None = None, create: bool = True) -> Self:
        """Open the log in the folder `path`, making it if it is not there and `create` says so.

        Several processes may do this at once: one of them makes the log, all get the same one. `origin`
        names a new log (default: a random name under restore.local) and is compared with that of an old one.
        What is signed is checked against what is stored, in O(log n); `check` does it in full.
        """
        with in_one_sentence(path):
            database = path / DATABASE_NAME
            if create:
                path.mkdir(parents=True, exist_ok=True)
            witness = read_witness(path)  # before the database, which may only be newer
            if not database.is_file() and (witness is not None or not create):
                known = "" if witness is None else ", although its checkpoint is"
                raise LogError(
                    f"There is no transparency log in {path}: {DATABASE_NAME} is not there{known}.",
                    hint="Name the right folder, or restore the whole folder from a backup.",
                )
            connection = sqlite3.connect(
                database, timeout=PATIENCE_SECONDS, isolation_level=None, check_same_thread=False
            )
            log = cls(connection, path)
            try:
                log._prepare(origin, create=create and witness is None)
                log._check_head(witness)
                sweep(path)
            except BaseException:
                connection.close()
                raise
            return log

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def vkey(self) -> str:
        """The public key, as one line `name+keyid+base64` (C2SP vkey): what verifiers need."""
        return self._key.verifier.encode()

    @property
    def origin(self) -> str:
        return self._key.name

    @property
    def size(self) -> int:
        """How many entries the log has now, those of other processes included."""
        with self._transaction("DEFERRED"):
            return self._size()

    def append(self, data: bytes) -> int:
        """Store one entry durably; returns its index."""
        return self.append_many([data])[0]

    def append_many(self, entries: Sequence[bytes]) -> list[int]:
        """Store entries durably, all or none, side by side; returns their indices."""
        if any(len(data) > MAX_ENTRY_BYTES for data in entries):
            raise UsageError(
                f"A log entry has at most {MAX_ENTRY_BYTES} bytes.", hint="Log its hash instead."
            )
        if not entries:
            return []
        with self._transaction("IMMEDIATE"):
            _, head = self._head()
            frontier = Frontier(head.size, [self._node(*peak) for peak in peaks(head.size)])
            if frontier.root() != head.root or self._size() != head.size:
                raise self._damaged("its tree does not lead to its last checkpoint")
            hashes = [node for data in entries for node in frontier.append(leaf_hash(data))]
            execute = self._connection.executemany
            execute("INSERT INTO entry VALUES (?, ?)", enumerate(entries, head.size))
            execute("INSERT INTO node VALUES (?, ?)", enumerate(hashes, node_count(head.size)))
            note = sign_checkpoint(Checkpoint(self.origin, frontier.size, frontier.root()), self._key)
            self._connection.execute("UPDATE head SET checkpoint = ?", (note,))
        write_witness(self._folder, note)
        return list(range(head.size, frontier.size))

    def checkpoint(self) -> str:
        """The newest signed checkpoint (C2SP signed note)."""
        with self._transaction("DEFERRED"):
            return self._head()[0]

    def inclusion_proof_text(self, index: int, checkpoint: str | None = None) -> str:
        """The proof that entry `index` is in the log, as C2SP tlog-proof text, checked before it is given.

        With `checkpoint`, an older one of this log that witnesses may have cosigned, it leads to that one.
        """
        with self._transaction("DEFERRED"):
            if checkpoint is None:
                note, head = self._head()
            else:
                note, head = checkpoint, self._check_extends(checkpoint)
            if not 0 <= index < head.size:
                raise LogError(f"The log {self.origin} has {head.size} entries: there is no entry {index}.")
            path = inclusion_path(self._node, index, head.size)
            (data,) = self._entries(index, index + 1)
            if not verify_inclusion_path(leaf_hash(data), index, head.size, path, head.root):
                raise self._damaged(f"its entry {index} does not lead to its last checkpoint")
            return LogProof(index, tuple(path), note).encode()

    def consistency_proof(self, old_size: int, new_size: int) -> list[bytes]:
        """PROOF(old_size, D[0:new_size]) of RFC 9162 section 2.1.4.1: nothing was changed in between."""
        with self._transaction("DEFERRED"):
            size = self._size()
            if not 0 <= old_size <= new_size <= size:
                raise LogError(
                    f"There is no consistency proof from {old_size} to {new_size} in a log of {size} entries."
                )
            return consistency_path(self._node, old_size, new_size)

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The entries [start, stop) in order, as they were appended; `stop` defaults to the present size."""
        end = self.size if stop is None else min(stop, self.size)
        for first in range(max(start, 0), end, _PAGE):
            with self._transaction("DEFERRED"):
                page = self._entries(first, min(first + _PAGE, end))
            yield from page

    def check_extends(self, checkpoint: str) -> Checkpoint:
        """Refuse (LogError) unless this log still holds the history that an old checkpoint of it signed.

        This is what finds a log that was rolled back or replaced as a whole: keep a checkpoint, or any
        proof, elsewhere. O(log n).
        """
        with self._transaction("DEFERRED"):
            return self._check_extends(checkpoint)

    def check(self) -> Checkpoint:
        """Recompute everything from the entries; LogError if any was changed, lost, added or rolled back."""
        with self._transaction("DEFERRED"):
            witness = read_witness(self._folder)
            _, head = self._head()
            verdicts = self._connection.execute("PRAGMA integrity_check(1)").fetchall()
            if verdicts != [("ok",)]:
                raise self._damaged("SQLite's integrity check found a fault")
            frontier = Frontier()
            count = 0
            stored = self._connection.execute("SELECT number, hash FROM node ORDER BY number")
            for number, data in self._connection.execute("SELECT number, data FROM entry ORDER BY number"):
                if number != frontier.size or not isinstance(data, bytes):
                    raise self._damaged(f"its entry {frontier.size} is missing")
                for expected in frontier.append(leaf_hash(data)):
                    if stored.fetchone() != (count, expected):
                        raise self._damaged(f"its entry {number} or a hash above it was changed")
                    count += 1
            if stored.fetchone() is not None or (frontier.size, frontier.root()) != (head.size, head.root):
                raise self._damaged(f"its {frontier.size} entries are not those of its last checkpoint")
            if witness is not None:
                self._check_extends(witness)
            return head

    def _prepare(self, origin: str | None, *, create: bool) -> None:
        """Make the log if the database is blank, then learn its key and see that all belongs together."""
        execute = self._connection.execute
        execute("PRAGMA synchronous = FULL")
        if create and self._is_blank():
            patiently(lambda: execute("PRAGMA journal_mode = WAL"))
            with self._transaction("IMMEDIATE"):
                if self._is_blank():  # still: nobody else made the log meanwhile
                    self._initialise(origin)
        with self._transaction("DEFERRED"):
            if self._pragma("application_id") != _APPLICATION_ID:
                raise LogError(
                    f"The file {DATABASE_NAME} in {self._folder} is not a transparency log.",
                    hint="Choose another folder, or move that file away.",
                )
            if self._pragma("user_version") != _FORMAT:
                raise LogError(f"The log in {self._folder} has a newer format.", hint="Update restore.")
            vkey = self._row("SELECT vkey FROM head")[0]
        self._key = load_key(self._folder)
        if self.vkey != vkey:
            raise LogError(
                f"The key {KEY_NAME} in {self._folder} is not the key of the log beside it.",
                hint="Restore both from the same backup.",
            )
        self._check_origin(self._key, origin)

    def _initialise(self, origin: str | None) -> None:
        """Under the write lock. A key found is used: its maker was killed, or somebody provides it."""
        if (self._folder / KEY_NAME).exists():
            key = load_key(self._folder)
            self._check_origin(key, origin)
        else:
            key = SigningKey.generate(origin or f"restore.local/{secrets.token_hex(8)}")
            write_key(self._folder, key)
        for statement in _SCHEMA:
            self._connection.execute(statement)
        note = sign_checkpoint(Checkpoint(key.name, 0, EMPTY_ROOT), key)
        self._connection.execute("INSERT INTO head VALUES (?, ?)", (key.verifier.encode(), note))

    def _check_origin(self, key: SigningKey, origin: str | None) -> None:
        if origin not in {None, key.name}:
            raise LogError(f"The log in {self._folder} is {key.name}, not {origin}.")

    def _check_head(self, witness: str | None) -> None:
        with self._transaction("DEFERRED"):
            _, head = self._head()
            size = self._size()
            nodes = self._row("SELECT coalesce(max(number) + 1, 0) FROM node")[0]
            if size != head.size or nodes != node_count(size) or tree_root(self._node, size) != head.root:
                raise self._damaged(
                    f"its {size} entries are not those of its last checkpoint, which signs {head.size}"
                )
            if witness is not None:
                self._check_extends(witness)

    def _check_extends(self, note: str) -> Checkpoint:
        try:
            old = verify_checkpoint(note, self._key.verifier)
        except VerificationError as error:
            raise LogError(
                f"A checkpoint to compare the log in {self._folder} with does not hold: {error.message}",
                hint=f"If it is the file {CHECKPOINT_NAME} beside the log, restore that file from a backup.",
            ) from None
        _, head = self._head()
        if old.size > head.size:
            raise LogError(
                f"The log in {self._folder} was rolled back from {old.size} entries to {head.size}.",
                hint="Restore the newest database, with its -wal file.",
            )
        path = consistency_path(self._node, old.size, head.size)
        if not verify_consistency_path(old.size, head.size, old.root, head.root, path):
            raise LogError(
                f"The log in {self._folder} was forked: its first {old.size} entries have changed.",
                hint="Restore the database from a backup.",
            )
        return old

    def _head(self) -> tuple[str, Checkpoint]:
        """The stored checkpoint, its signature verified."""
        note = self._row("SELECT checkpoint FROM head")[0]
        try:
            return note, verify_checkpoint(note, self._key.verifier)
        except VerificationError as error:
            raise self._damaged(error.message.rstrip(".").replace("The", "the", 1)) from None

    def _size(self) -> int:
        size: int = self._row("SELECT coalesce(max(number) + 1, 0) FROM entry")[0]
        return size

    def _node(self, level: int, position: int, /) -> bytes:
        found = self._row("SELECT hash FROM node WHERE number = ?", node_number(level, position))[0]
        if not isinstance(found, bytes) or len(found) != HASH_BYTES:
            raise self._damaged("a hash of its tree cannot be read")
        return found

    def _entries(self, start: int, stop: int) -> list[bytes]:
        rows = self._connection.execute(
            "SELECT data FROM entry WHERE number >= ? AND number < ? ORDER BY number", (start, stop)
        ).fetchall()
        if len(rows) != stop - start or not all(isinstance(data, bytes) for (data,) in rows):
            raise self._damaged(f"entries {start} to {stop - 1} cannot be read")
        return [data for (data,) in rows]

    def _row(self, query: str, *values: int) -> tuple[Any, ...]:
        row: tuple[Any, ...] | None = self._connection.execute(query, values).fetchone()
        if row is None:
            raise self._damaged("a part of it is missing")
        return row

    def _pragma(self, name: Literal["application_id", "user_version"]) -> int:
        value: int = self._row(f"PRAGMA {name}")[0]
        return value

    def _is_blank(self) -> bool:
        return not self._pragma("application_id") and self._row("SELECT count(*) FROM sqlite_master")[0] == 0

    def _damaged(self, how: str) -> LogError:
        return LogError(
            f"The log in {self._folder} is damaged: {how}.", hint="Keep it as it is, and restore a backup."
        )

    @contextlib.contextmanager
    def _transaction(self, kind: Literal["DEFERRED", "IMMEDIATE"]) -> Iterator[None]:
        """One snapshot (DEFERRED) or one atomic change (IMMEDIATE) of the log."""
        with self._lock, in_one_sentence(self._folder):
            patiently(lambda: self._connection.execute(f"BEGIN {kind}"))
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
