"""`restore models`: the weights that are installed, and what their intervals guarantee."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from restore_cli.options import Force, Json, Quiet, Verbose, examples, model_named
from restore_cli.terminal import Terminal

__all__ = ["app"]

app = typer.Typer(help="List, show, import or calibrate weights.", rich_markup_mode=None)


@app.command("list", epilog=examples("restore models list --json"))
def list_(json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> int:
    """List the weights that are shipped or imported."""
    from restore_sdk.models import list_models  # noqa: PLC0415

    terminal = Terminal(json, quiet, verbose)
    found = list_models()
    terminal.document(found)
    for model in found:
        _rows(terminal, model)
        terminal.say()
    return 0


@app.command("show", epilog=examples("restore models show blind-fine-1"))
def show(
    model: Annotated[str, typer.Argument(metavar="ID", help="An id of `restore models list`.")],
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Show one set of weights: hash, licence, training data, figures, known failures."""
    from restore_sdk.models import show_model  # noqa: PLC0415

    terminal = Terminal(json, quiet, verbose)
    found = show_model(model)
    terminal.document(found)
    _rows(terminal, found)
    return 0


@app.command(
    "import",
    epilog=examples(
        "restore models import mine.safetensors", "restore models import SCUNet.pth --licence Apache-2.0"
    ),
)
def import_(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Weights made by restore, or by others in a known architecture."),
    ],
    licence: Annotated[
        str | None, typer.Option(metavar="SPDX", help="Licence of weights made by others, for the record.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Install weights from a file, pinned by their hash."""
    from restore_sdk.models import import_model  # noqa: PLC0415

    terminal = Terminal(json, quiet, verbose)
    found = import_model(file, licence=licence)
    terminal.document(found)
    _rows(terminal, found)
    return 0


@app.command(
    "calibrate",
    epilog=examples(
        "restore models calibrate mine.safetensors --images photographs --alpha 0.1 --delta 0.05"
    ),
)
def calibrate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Weights made by restore: an id, or a file.")],
    images: Annotated[
        Path, typer.Option(metavar="DIR", help="Clean photographs that the weights were not trained on.")
    ],
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="Kind of damage that the weights are for, as in docs/training.md; repeat it for more."
        ),
    ] = None,
    alpha: Annotated[
        float, typer.Option(help="Share of samples that may lie outside, on average over images.")
    ] = 0.1,
    delta: Annotated[
        float, typer.Option(help="How often, over draws of the images, that may turn out wrong.")
    ] = 0.05,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Where to write them; else in their place."),
    ] = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Give the intervals of the confidence map a guarantee: scale them by what independent images need."""
    from restore_sdk.model_calibration import calibrate_model  # noqa: PLC0415

    terminal = Terminal(json, quiet, verbose)
    with terminal.progress() as progress:
        found = calibrate_model(
            model_named(model) or "",
            images=images,
            kinds=kind,
            alpha=alpha,
            delta=delta,
            out=out,
            force=force,
            progress=lambda share: progress("calibrating", share),
        )
    terminal.document(found)
    _classes(terminal, found["classes"])
    for name, classes in found["after"].items():
        terminal.say(f"For what {name} has restored before:")
        _classes(terminal, classes)
    _rows(terminal, {name: value for name, value in found.items() if name not in ("classes", "after")})
    return 0


def _classes(terminal: Terminal, classes: list[dict[str, Any]]) -> None:
    terminal.table([list(classes[0]), *([_cell(value) for value in row.values()] for row in classes)])
    terminal.say()


def _cell(value: object) -> str:
    return "none" if value is None else str(value)


def _rows(terminal: Terminal, model: dict[str, Any]) -> None:
    terminal.table([(name, str(value)) for name, value in model.items() if name not in ("notes", "card")])
    if card := model.get("card"):
        terminal.say(f"\n{card}")
