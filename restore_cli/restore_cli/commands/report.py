"""`restore report`: one restoration, verified and told for a court."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from restore_cli.options import Force, Json, LogKey, NoRecompute, Quiet, Trust, Verbose, log_key_named
from restore_cli.terminal import Terminal

__all__ = ["report"]


def report(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="The manifest.json of the bundle.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE.html|FILE.pdf",
            help="Default: <stem>.report.html beside the manifest.",
        ),
    ] = None,
    discovery: Annotated[
        Path | None,
        typer.Option(metavar="ARCHIVE.zip", help="Pack everything needed to verify, the report included."),
    ] = None,
    result: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The restored image; else looked for by its name.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The original; else looked for by its name.")
    ] = None,
    trust: Trust = None,
    log_key: LogKey = None,
    revoked: Annotated[
        Path | None, typer.Option(metavar="FILE", help="List of revoked certificates to honour.")
    ] = None,
    no_recompute: NoRecompute = False,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Write a report on one restoration, for court: HTML or PDF.

    Verdict, before and after and limits on the first page; then hashes, steps, maps, estimates, findings,
    signature and every check. Exit code as of verify; a record that fails is reported on all the same.
    """
    from restore_manifests.errors import UsageError  # noqa: PLC0415
    from restore_sdk.case_files import open_case  # noqa: PLC0415
    from restore_sdk.discovery import make_discovery  # noqa: PLC0415
    from restore_sdk.report_document import make_document  # noqa: PLC0415
    from restore_sdk.report_page import render_page  # noqa: PLC0415
    from restore_sdk.report_pdf import check_pdf, render_pdf  # noqa: PLC0415
    from restore_sdk.single_file import check_place, write_file  # noqa: PLC0415

    terminal = Terminal(json, quiet, verbose)
    if out is None and discovery is None:
        out = open_case(manifest, result=result, source=source).beside_manifest("report.html")
    if out is not None:  # before the work, which takes as long as the restoration
        if out.suffix.lower() not in (".html", ".htm", ".pdf"):
            raise UsageError(
                f"{out} is neither .html nor .pdf.", hint="Name a file with one of these endings."
            )
        check_place(out, force=force)
        if out.suffix.lower() == ".pdf":
            check_pdf()
    with terminal.progress() as progress:
        progress("verifying", 0.0)
        options = {
            "result": result,
            "source": source,
            "trust": trust,
            "log_key": log_key_named(log_key),
            "revoked": revoked,
            "recompute": not no_recompute,
        }
        if discovery is None:
            document = make_document(manifest, **options)  # type: ignore[arg-type]  # each has its own type
        else:
            document = make_discovery(manifest, discovery, force=force, **options)  # type: ignore[arg-type]
        if out is not None:
            as_pdf = out.suffix.lower() == ".pdf"
            page = (
                render_pdf(document) if as_pdf else render_page(document).encode("utf-8", "backslashreplace")
            )
            write_file(out, page, force=force)
    written = {"report": str(out) if out else None, "discovery": str(discovery) if discovery else None}
    terminal.document({"verdict": document.verdict.value, **written})
    for path in filter(None, written.values()):
        terminal.say(path)
    terminal.table(document.concerns)
    terminal.verdict(document.verdict.value, document.headline)
    return document.exit_code
