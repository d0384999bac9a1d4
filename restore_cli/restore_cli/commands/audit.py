"""`restore audit`: verify a whole tree of bundles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from restore_cli.options import (
    Force,
    Json,
    LogKey,
    NoRecompute,
    Pixels,
    PublicLogKey,
    Quiet,
    Revoked,
    Trust,
    TsaTrust,
    Verbose,
    log_key_named,
    log_keys_named,
)
from restore_cli.terminal import Terminal

if TYPE_CHECKING:
    from restore_sdk.audit_items import AuditReport

__all__ = ["audit"]


def audit(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with bundles, at any depth.")],
    jobs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes; default: one per processor.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Work on this Ray cluster, whose machines share the folder."),
    ] = None,
    report: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE.html|.csv|.json",
            help="Write a self-contained HTML report, a table, or the JSON document; may be given again.",
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keep findings there: an audit that stopped goes on, unchanged bundles are skipped.",
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="FROM..TO", help="Days to compare all others with for drift: 2026-01-01..2026-03-31"
        ),
    ] = None,
    trust: Trust = None,
    tsa_trust: TsaTrust = None,
    revoked: Revoked = None,
    log_key: LogKey = None,
    public_log_key: PublicLogKey = None,
    no_recompute: NoRecompute = False,
    pixels: Pixels = False,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Verify every bundle in a folder tree.

    Also finds orphans (parts without a manifest), missing sources, broken chains of restorations, duplicates,
    and drift of what the manifests record.
    """
    from restore_sdk.audit_tree import Reference  # noqa: PLC0415
    from restore_sdk.audit_tree import audit as check  # noqa: PLC0415

    terminal = Terminal(json, quiet, verbose)
    reports = report or []
    _check_places(reports, force=force)  # before the work, which may take hours
    with terminal.progress() as progress:
        found = check(
            directory,
            jobs=jobs,
            cluster=cluster,
            recompute=not no_recompute,
            pixels=pixels,
            trust=trust,
            tsa_trust=tsa_trust,
            revoked=revoked,
            log_key=log_key_named(log_key),
            public_log_keys=log_keys_named(public_log_key),
            thumbnails=any(path.suffix == ".html" for path in reports),
            state=state,
            reference=Reference.parse(reference) if reference is not None else None,
            progress=progress,
        )
    for path in reports:
        _write(found, path, force=force)
        terminal.note(f"Report: {path}")
    terminal.document(found.to_json())
    terminal.table([(item.verdict.value, item.path, item.message) for item in found.items])
    terminal.say()
    terminal.table([(name, str(count)) for name, count in found.counts.items()])
    for group in found.duplicates:
        terminal.say(f"the same {group.kind} in {len(group.paths)} bundles: {', '.join(group.paths)}")
    for link in found.links:
        if link.broken:
            terminal.say(f"broken chain: {link.path}: {link.message}")
    for series in found.drift:
        if series.drifted:
            terminal.say(f"drift: {series.message}")
    terminal.verdict(found.verdict.value, found.summary)
    return found.exit_code


def _check_places(paths: list[Path], *, force: bool) -> None:
    from restore_manifests.errors import UsageError  # noqa: PLC0415
    from restore_sdk.single_file import check_place  # noqa: PLC0415

    for path in paths:
        if path.suffix not in (".html", ".csv", ".json"):
            raise UsageError(
                f"{path} does not say what kind of report it is.",
                hint="End its name in .html, .csv or .json.",
            )
        check_place(path, force=force)


def _write(found: AuditReport, path: Path, *, force: bool) -> None:
    from restore_sdk.audit_report import write_report  # noqa: PLC0415
    from restore_sdk.audit_tables import write_csv, write_json  # noqa: PLC0415

    match path.suffix:
        case ".csv":
            write_csv(found, path, force=force)
        case ".json":
            write_json(found, path, force=force)
        case _:
            write_report(found, path, force=force)
