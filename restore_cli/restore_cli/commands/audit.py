"""`restore audit`: verify a whole tree of bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from restore_cli.options import Force, Json, LogKey, NoRecompute, Quiet, Trust, Verbose, log_key_named
from restore_cli.terminal import Terminal

__all__ = ["audit"]


def audit(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with bundles, at any depth.")],
    jobs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes; default: one per processor.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a self-contained HTML report.")
    ] = None,
    trust: Trust = None,
    log_key: LogKey = None,
    no_recompute: NoRecompute = False,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Verify every bundle in a folder tree.

    Also finds orphans (parts without a manifest), duplicates, and drift of what the manifests record.
    """
    from restore_sdk.audit_tree import audit as check  # noqa: PLC0415

    terminal = Terminal(json, quiet, verbose)
    if report is not None:
        from restore_sdk.audit_report import write_report  # noqa: PLC0415
        from restore_sdk.single_file import check_place  # noqa: PLC0415

        check_place(report, force=force)  # before the work, which may take hours
    with terminal.progress() as progress:
        found = check(
            directory,
            jobs=jobs,
            recompute=not no_recompute,
            trust=trust,
            log_key=log_key_named(log_key),
            thumbnails=report is not None,
            progress=progress,
        )
    if report is not None:
        write_report(found, report, force=force)
        terminal.note(f"Report: {report}")
    terminal.document(found.to_json())
    terminal.table([(item.verdict.value, item.path, item.message) for item in found.items])
    terminal.say()
    terminal.table([(name, str(count)) for name, count in found.counts.items()])
    for group in found.duplicates:
        terminal.say(f"the same {group.kind} in {len(group.paths)} bundles: {', '.join(group.paths)}")
    for series in found.drift:
        if series.drifted:
            terminal.say(f"drift: {series.message}")
    terminal.verdict(found.verdict.value, found.summary)
    return found.exit_code
