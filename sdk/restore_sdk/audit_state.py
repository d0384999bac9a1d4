"""What audits found, kept in one SQLite file, so that a later or a resumed one examines only what changed.

A finding is taken over only where every byte that it comes from has the same SHA-256, and options, weights
and program versions are the same: files are always read, never believed for their time stamps. Whoever can
write this file can write findings into it, so it belongs where the auditor's own files are.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from restore_manifests.errors import StorageError, UsageError
from restore_manifests.report import Check, Verdict
from restore_sdk.audit_bundle import Examined
from restore_sdk.audit_drift import Facts
from restore_sdk.audit_items import AuditItem

__all__ = ["AuditState"]

_APPLICATION_ID = 0x72_73_74_61  # "rsta" in the SQLite header
_FORMAT = 1
_BUSY_SECONDS = 60.0
_SCHEMA = """
CREATE TABLE finding (
  folder TEXT NOT NULL, path TEXT NOT NULL, fingerprint TEXT NOT NULL, examined TEXT NOT NULL,
  good_until TEXT NOT NULL, item TEXT NOT NULL, PRIMARY KEY (folder, path)
)"""


class AuditState:
    """The findings about the bundles below one folder. Use as a context manager.

    Every method raises StorageError for a disk that is full or may not be written.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        """Open the file `path`, made if it is not there.

        Raises UsageError if it is another kind of file, StorageError if it cannot be opened.
        """
        self._path = path
        self._folder = str(folder.resolve())
        with self._explained():
            self._connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def fingerprints(self, now: datetime) -> dict[str, str]:
        """What is known and still good at `now` (aware): fingerprint by path of the manifest."""
        with self._explained():
            return dict(
                self._connection.execute(
                    "SELECT path, fingerprint FROM finding WHERE folder = ? AND good_until > ?",
                    (self._folder, _text(now)),
                )
            )

    def item(self, path: str) -> AuditItem | None:
        """The finding that is kept about a bundle, marked with when it was made; None if it is unreadable."""
        with self._explained():
            row = self._connection.execute(
                "SELECT item, examined FROM finding WHERE folder = ? AND path = ?", (self._folder, path)
            ).fetchone()
        try:
            return None if row is None else replace(_parsed(json.loads(row[0])), examined=str(row[1]))
        except (ValueError, TypeError, KeyError):
            return None

    def keep(self, found: Examined, now: datetime) -> None:
        """Keep a fresh finding, on the disk when this returns, if it may be kept at all."""
        if found.item is None:
            return
        with self._explained():
            if found.fingerprint is None or found.good_until is None:
                self._connection.execute(
                    "DELETE FROM finding WHERE folder = ? AND path = ?", (self._folder, found.path)
                )
                return
            item = {**found.item.to_json(), "thumbnails": found.item.thumbnails}
            row = (self._folder, found.path, found.fingerprint, _text(now), _text(found.good_until))
            self._connection.execute(
                "INSERT OR REPLACE INTO finding VALUES (?, ?, ?, ?, ?, ?)", (*row, json.dumps(item))
            )

    def _prepare(self) -> None:
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        (identity,) = execute("PRAGMA application_id").fetchone()
        (format_,) = execute("PRAGMA user_version").fetchone()
        (tables,) = execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not identity and not tables:
            execute(_SCHEMA)
            execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            execute(f"PRAGMA user_version = {_FORMAT}")
        elif (identity, format_) != (_APPLICATION_ID, _FORMAT):
            raise self._foreign()
        execute("COMMIT")

    def _foreign(self) -> UsageError:
        return UsageError(
            f"{self._path} does not hold the findings of an audit.", hint="Name another file for --state."
        )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StorageError(
                f"{self._path} cannot be read or written ({error}).",
                hint="Name a file on a local disk with space, in a folder that is yours to write.",
            ) from error
        except sqlite3.DatabaseError as error:
            raise self._foreign() from error


def _text(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _parsed(document: dict[str, Any]) -> AuditItem:
    """The item in a stored document; raises ValueError, TypeError or KeyError if it is damaged."""
    facts = document.get("record")
    return AuditItem(
        kind="bundle",
        path=document["path"],
        verdict=Verdict(document["verdict"]),
        message=document["message"],
        checks=tuple(
            Check(one["id"], Verdict(one["verdict"]), one["code"], one["message"])
            for one in document["checks"]
        ),
        facts=None if facts is None else Facts(**{**facts, "models": tuple(facts["models"])}),
        thumbnails=dict(document["thumbnails"]),
    )
