"""An audit as one HTML file that needs nothing else: no network, no script to be read, no font, no picture.

All text in it comes from strangers' files and is escaped; a content security policy inside the page names
its one script by hash, so that nothing else could run even if something slipped through.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import secrets
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from restore_manifests.errors import StorageError, UsageError
from restore_manifests.report import Verdict

if TYPE_CHECKING:
    from jinja2 import Environment

    from restore_sdk.audit_tree import AuditReport

__all__ = ["check_target", "render_report", "write_report"]

_TEMPLATE = "audit_report.html.j2"
_ORDER = (Verdict.FAIL, Verdict.UNABLE, Verdict.PASS)
_ROLES = {
    "before": "source",
    "after": "result",
    "edit": "edit map: where it was changed (CIEDE2000)",
    "confidence": "confidence map: interval, in 8-bit levels",
}


def write_report(report: AuditReport, path: Path, *, force: bool = False) -> None:
    """Write the report of an audit to `path`, all of it or nothing.

    Raises UsageError as `check_target` does, StorageError if it cannot be stored.
    """
    check_target(path, force=force)
    data = render_report(report).encode("utf-8", "backslashreplace")
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            f"The report {path} cannot be written: {error.strerror}.", hint="Name a file where you can write."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_target(path: Path, *, force: bool = False) -> None:
    """Raises UsageError if a report cannot be written to `path`, or would replace a file without `force`."""
    if path.is_dir() or not path.parent.is_dir():
        why = "it is a folder" if path.is_dir() else "there is no such folder"
        raise UsageError(
            f"The report cannot be written to {path}: {why}.",
            hint="Name a file in a folder that exists.",
        )
    if path.exists() and not force:
        raise UsageError(f"{path} already exists.", hint="Name another file, or replace it with --force.")


def render_report(report: AuditReport, *, now: datetime | None = None) -> str:
    """The page. `now` is printed in it as the time of the audit (UTC; default: this moment)."""
    environment = _environment()
    script = environment.get_template("audit_report.js.j2").render()
    style = environment.get_template("audit_report.css.j2").render()
    return environment.get_template(_TEMPLATE).render(
        report=report,
        items=sorted(report.items, key=lambda item: _ORDER.index(item.verdict)),
        roles=_ROLES,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=style,
        when=(now or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M UTC"),
        version=version("forensic-restore"),
    )


@cache
def _environment() -> Environment:
    from jinja2 import DictLoader, Environment, StrictUndefined  # noqa: PLC0415

    folder = files("restore_sdk") / "templates"
    sources = {
        entry.name: entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".j2")
    }
    return Environment(
        loader=DictLoader(sources),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
