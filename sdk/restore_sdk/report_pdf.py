"""A report as PDF: set by Typst from data, offline, with tags for readers that speak.

Texts are handed over as JSON and are never read as markup. Typst comes with the optional part `pdf`; its own
fonts are used and no others, so that the same report looks the same on every machine.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from restore_manifests.errors import UndecidableError
from restore_sdk.report_document import ReportDocument
from restore_sdk.report_pictures import Figure

__all__ = ["check_pdf", "render_pdf"]


def check_pdf() -> None:
    """Raises UndecidableError where PDF cannot be made because Typst is not installed."""
    try:
        import typst  # noqa: F401, PLC0415
    except ImportError as error:
        raise UndecidableError(
            "PDF cannot be made: the optional part 'pdf' is not installed.",
            hint="Install forensic-restore[pdf], or write the report as .html and print that.",
        ) from error


def render_pdf(document: ReportDocument, *, now: datetime | None = None) -> bytes:
    """The report as PDF. `now` becomes its date of creation; None: this moment.

    Raises UndecidableError as `check_pdf` does.
    """
    check_pdf()
    import typst  # noqa: PLC0415

    moment = None if now is None else int(now.timestamp())
    with tempfile.TemporaryDirectory(prefix="restore-report-") as name:
        folder = Path(name)
        data = _as_data(document, folder)
        (folder / "report.json").write_text(json.dumps(data), encoding="utf-8")
        template = files("restore_sdk") / "templates" / "report.typ"
        (folder / "report.typ").write_bytes(template.read_bytes())
        made = typst.compile(folder / "report.typ", root=folder, ignore_system_fonts=True, timestamp=moment)
    return bytes(made)


def _as_data(part: Any, folder: Path) -> Any:
    """A part as JSON data; pictures become files in `folder`."""
    match part:
        case Figure(caption, b"", _):
            return {"caption": caption, "file": None}
        case Figure(caption, data, mime):
            ending = "png" if mime == "image/png" else "jpg"
            file = f"picture-{len(list(folder.iterdir()))}.{ending}"
            (folder / file).write_bytes(data)
            return {"caption": caption, "file": file}
        case tuple():
            return [_as_data(item, folder) for item in part]
        case _ if dataclasses.is_dataclass(part):
            return {f.name: _as_data(getattr(part, f.name), folder) for f in dataclasses.fields(part)}
        case _:
            return part
