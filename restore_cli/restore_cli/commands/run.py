"""`restore run`: restore images and write their bundles."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from restore_cli.options import Arithmetic, Force, Json, Model, Quiet, Tsa, Verbose, model_named
from restore_cli.terminal import Terminal

__all__ = ["Mode", "run"]

SCALES = (1, 2, 4)


class Mode(StrEnum):
    """How the restoration is steered."""

    AUTO = "auto"
    BLIND = "blind"
    GUIDED = "guided"


def _scale(value: int) -> int:
    if value not in SCALES:
        raise typer.BadParameter(f"{value} is not one of 1, 2, 4.")
    return value


def run(
    images: Annotated[list[Path], typer.Argument(metavar="IMG...", help="Images to restore.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder for the results.")
    ] = None,
    prompt: Annotated[
        str, typer.Option(metavar="TEXT", help="Recorded; the shipped model is blind and does not read it.")
    ] = "",
    mode: Annotated[
        Mode, typer.Option(help="auto: the shipped model for its damage and scale; blind: one for all.")
    ] = Mode.AUTO,
    scale: Annotated[int, typer.Option(metavar="1|2|4", callback=_scale, help="Enlargement.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of whatever is random.")] = 0,
    guidance_scale: Annotated[float, typer.Option(help="Recorded; for guided models only.")] = 1.0,
    model: Model = None,
    arithmetic: Annotated[Arithmetic, typer.Option(help="Exact results repeat anywhere.")] = Arithmetic.EXACT,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Refuse images outside the domain of the model."),
    ] = False,
    tsa: Tsa = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Restore images: result, maps and signed manifest for each.

    They are written beside the image or into a folder of your choice, all of them or none, and never over
    what is there.
    """
    from restore_cli.passphrase import open_identity  # noqa: PLC0415
    from restore_sdk.home import restore_home  # noqa: PLC0415

    terminal = Terminal(json, quiet, verbose)
    identity = open_identity(restore_home())  # before the work: a missing key must not cost an hour
    from restore_sdk.restoration import restore  # noqa: PLC0415

    with terminal.progress() as progress:
        done = restore(
            images,
            out=out,
            prompt=prompt,
            mode=mode.value,
            scale=scale,
            seed=seed,
            guidance_scale=guidance_scale,
            model=model_named(model),
            arithmetic=arithmetic.value,
            strict=strict,
            force=force,
            identity=identity,
            tsa=tsa or (),
            progress=progress,
        )
    documents = [item.to_json() for item in done]
    terminal.document(documents[0] if len(images) == 1 else documents)
    for item in done:
        terminal.say(f"{item.result}  ({item.seconds:.1f} s)")
        terminal.say(f"  verify it with: restore verify {item.result} {item.manifest}")
        if item.abstained:
            terminal.note(f"{item.result}: outside the domain of the model; see the manifest.")
        for finding in item.findings:
            terminal.note(f"{item.result}: {finding['severity']}: {finding['message']}")
    return 0
