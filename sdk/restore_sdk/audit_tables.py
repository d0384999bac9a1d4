"""An audit as tables for other programs: CSV with a row for each bundle or stray file, and JSON."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

from restore_sdk.single_file import check_place, write_file

if TYPE_CHECKING:
    from restore_sdk.audit_items import AuditItem, AuditReport

__all__ = ["csv_of", "write_csv", "write_json"]

_LEADING = (
    "kind",
    "path",
    "verdict",
    "message",
    "examined",
    "created",
    "source",
    "source_sha256",
    "result",
    "result_sha256",
    "result_pixels_sha256",
    "size",
    "models",
    "abstained",
)


def write_csv(report: AuditReport, path: Path, *, force: bool = False) -> None:
    """Write `csv_of` to `path` in UTF-8, all of it or nothing.

    Raises UsageError if the place is none or taken and not `force`, StorageError if it cannot be stored.
    """
    check_place(path, force=force)
    write_file(path, csv_of(report).encode("utf-8", "backslashreplace"), force=force)


def write_json(report: AuditReport, path: Path, *, force: bool = False) -> None:
    """Write what `restore audit --json` prints to `path`, all of it or nothing; raises as `write_csv`."""
    check_place(path, force=force)
    write_file(path, (json.dumps(report.to_json(), indent=2, allow_nan=False) + "\n").encode(), force=force)


def csv_of(report: AuditReport) -> str:
    """One row for each item (RFC 4180): what it is, what its record says, each check's verdict, the figures.

    Text comes from strangers' files: what a spreadsheet would take for a formula gets an apostrophe first.
    """
    checks = list(dict.fromkeys(check.id for item in report.items for check in item.checks))
    values = sorted({name for item in report.items if item.facts for name in item.facts.values})
    stream = io.StringIO()
    writer = csv.DictWriter(
        stream, [*_LEADING, *(f"check: {name}" for name in checks), *map(_text, values)], restval=""
    )
    writer.writeheader()
    for item in report.items:
        writer.writerow(_row(item))
    return stream.getvalue()


def _row(item: AuditItem) -> dict[str, str | float]:
    row: dict[str, str | float] = {
        "kind": item.kind,
        "path": _text(item.path),
        "verdict": item.verdict.value,
        "message": _text(item.message),
        "examined": item.examined or "",
        **{f"check: {check.id}": check.verdict.value for check in item.checks},
    }
    if item.facts is not None:
        record = item.facts.to_json()
        row |= {name: _text(str(record[name])) for name in _LEADING if name in record and name != "models"}
        row["models"] = _text(" ".join(item.facts.models))
        row |= {_text(name): value for name, value in item.facts.values.items()}
    return row


def _text(text: str) -> str:
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
