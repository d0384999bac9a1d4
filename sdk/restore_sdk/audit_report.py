"""An audit as one HTML file that needs nothing else: no network, no script to be read, no font, no picture.

All text in it comes from strangers' files and is escaped; a content security policy inside the page names
its one script by hash, so that nothing else could run even if something slipped through.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from restore_manifests.report import Verdict
from restore_sdk.audit_plots import HEIGHT, WIDTH, plot_of
from restore_sdk.single_file import check_place, write_file

if TYPE_CHECKING:
    from jinja2 import Environment

    from restore_sdk.audit_tree import AuditReport

__all__ = ["render_report", "write_report"]

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

    Raises UsageError if the place is none or taken and not `force`, StorageError if it cannot be stored.
    """
    check_place(path, force=force)
    write_file(path, render_report(report).encode("utf-8", "backslashreplace"), force=force)


def render_report(report: AuditReport, *, now: datetime | None = None) -> str:
    """The page. `now` is printed in it as the time of the audit (UTC; default: this moment)."""
    environment = _environment()
    folder = Path(report.directory)
    script = environment.get_template("audit_report.js.j2").render()
    style = environment.get_template("audit_report.css.j2").render()
    return environment.get_template(_TEMPLATE).render(
        report=report,
        folder=report.directory if folder.name else folder.resolve().name,  # not a lone dot
        items=sorted(report.items, key=lambda item: _ORDER.index(item.verdict)),
        roles=_ROLES,
        plot_of=plot_of,
        plot_width=WIDTH,
        plot_height=HEIGHT,
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
