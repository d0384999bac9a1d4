"""`restore train`: one phase of training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from restore_cli.options import Json, Quiet, Verbose
from restore_cli.terminal import Terminal

__all__ = ["train"]


def train(
    phase: Annotated[int, typer.Option(min=0, help="Which phase; 0 is the blind restoration network.")],
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Settings, TOML.")] = None,
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder with training pictures.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder for checkpoints.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    start: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Begin from the average.safetensors of another run; given twice, from the mean.",
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Stop after this many steps.")] = None,
    quantised: Annotated[
        bool,
        typer.Option("--quantised", help="Fine-tune through the rounding of the integer program."),
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write curves for TensorBoard beside the log.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Train one phase of the networks; resumable."""
    from restore_sdk.training import is_first_process  # noqa: PLC0415
    from restore_sdk.training import train as work  # noqa: PLC0415

    speaks = is_first_process()  # of several, so that the document is printed once
    terminal = Terminal(json and speaks, quiet or not speaks, verbose and speaks)
    with terminal.progress() as progress:

        def tell(step: int, total: int, figures: dict[str, float]) -> None:
            said = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
            progress(f"step {step} of {total}: {said}", step / max(total, 1))

        done = work(
            phase,
            config=config,
            data=data,
            out=out,
            resume=resume,
            start=start or (),
            steps=steps,
            quantised=quantised,
            tensorboard=tensorboard,
            progress=tell,
        )
    terminal.document(done)
    terminal.table(
        [(name, str(value)) for name, value in {**done, **done["metrics"]}.items() if name != "metrics"]
    )
    return 0
