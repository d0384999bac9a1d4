"""`restore verify`: every check of one record."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from restore_cli.options import (
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

__all__ = ["VERDICTS", "verify"]

VERDICTS = {
    "fail": "At least one check failed: do not rely on this result.",
    "unable": "No check failed, but at least one could not be made.",
}


def verify(
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="The restored image.")],
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="Its manifest.json.")],
    source: Annotated[
        Path | None,
        typer.Option(metavar="IMG", help="The original; else looked for beside manifest and result."),
    ] = None,
    trust: Trust = None,
    log_key: LogKey = None,
    public_log_key: PublicLogKey = None,
    tsa_trust: TsaTrust = None,
    revoked: Revoked = None,
    no_recompute: NoRecompute = False,
    pixels: Pixels = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Make every check of one result and its manifest.

    Signature and signer, hashes of files and pixels, the C2PA claim, source, maps, log, weights, and the
    pixels made again. Exit code 0: all hold, 1: one fails, 3: one could not be made.
    """
    from restore_sdk.verification import verify as check  # noqa: PLC0415

    terminal = Terminal(json, quiet, verbose)
    report = check(
        result,
        manifest,
        source=source,
        trust=trust,
        recompute=not no_recompute,
        pixels=pixels,
        log_key=log_key_named(log_key),
        public_log_keys=log_keys_named(public_log_key),
        revoked=revoked,
        tsa_trust=tsa_trust,
    )
    terminal.document(report.to_json())
    terminal.table([(item.verdict.value, item.id, item.message) for item in report.checks])
    terminal.say()
    terminal.verdict(report.verdict.value, VERDICTS.get(report.verdict.value, report.praise))
    return report.exit_code
