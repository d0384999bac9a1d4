"""`restore evaluate`: the figures of a set of weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from restore_cli.options import Arithmetic, Force, Json, Model, Quiet, Verbose, model_named
from restore_cli.terminal import Terminal

__all__ = ["evaluate"]


def evaluate(
    suite: Annotated[
        str,
        typer.Argument(
            metavar="SUITE",
            help="gaussian, realistic, jpeg, sr, real, estimate, calibration or hallucination.",
        ),
    ],
    images: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder with clean pictures; for real, with pairs.")
    ],
    model: Model = None,
    arithmetic: Annotated[
        Arithmetic, typer.Option(help="Float is faster and not repeatable.")
    ] = Arithmetic.EXACT,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write a page with tables, plots and published figures."),
    ] = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Measure restorations of pictures whose clean form is known.

    Also what the model says of them (estimate, calibration) and what it adds to them (hallucination).
    """
    from restore_sdk.evaluation import evaluate as work  # noqa: PLC0415

    terminal = Terminal(json, quiet, verbose)
    with terminal.progress() as progress:
        found = work(
            suite,
            images=images,
            model=model_named(model),
            arithmetic=arithmetic.value,
            report=report,
            force=force,
            progress=lambda share: progress(f"measuring {suite}", share),
        )
    terminal.document(found)
    if rows := found["rows"]:
        heads = list(rows[0])
        terminal.table([heads, *([_cell(row.get(head, "")) for head in heads] for row in rows)])
    for note in found.get("notes", []):
        terminal.note(note)
    if report is not None:
        terminal.say(str(report))
    return 0


def _cell(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):  # similarities below one want more places than decibels
        return f"{value:.4f}" if abs(value) < 1 else f"{value:.2f}"
    return str(value)
