"""All commands in one tree. Nothing heavy is imported here: `restore --help` is to answer at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from restore_cli.commands import keys, log, models
from restore_cli.commands.audit import audit
from restore_cli.commands.demo import demo
from restore_cli.commands.evaluate import evaluate
from restore_cli.commands.export import export
from restore_cli.commands.report import report
from restore_cli.commands.run import run
from restore_cli.commands.selftest import selftest
from restore_cli.commands.train import train
from restore_cli.commands.verify import verify
from restore_cli.options import examples

if TYPE_CHECKING:
    from typer._click import Command

__all__ = ["app", "command"]

app = typer.Typer(
    name="restore",
    help="Forensic, verifiable image restoration: pixels that anyone can recompute, with a signed record.",
    epilog=examples("restore run plate.jpg", "restore verify plate.restored.png plate.manifest.json"),
    add_completion=False,
    rich_markup_mode=None,  # plain help: readable in any code page, and a tenth of a second faster
)

_EXAMPLES: dict[Callable[..., int], tuple[str, ...]] = {
    run: (
        'restore run img.png --prompt "remove the noise, keep the plate sharp"',
        "restore run *.jpg -o restored",
    ),
    verify: (
        "restore verify img.restored.png img.manifest.json --trust root.pem",
        "restore verify img.restored.png img.manifest.json --no-recompute --json",
    ),
    audit: ("restore audit batch/ --report audit.html",),
    report: (
        "restore report img.manifest.json --trust root.pem -o img.report.pdf",
        "restore report img.manifest.json --trust root.pem --discovery img.zip",
    ),
    export: ("restore export img.manifest.json --as in-toto",),
    train: ("restore train --phase 0 --data photographs --out runs/mine --resume",),
    evaluate: (
        "restore evaluate gaussian --images CBSD68 --report gaussian.html",
        "restore evaluate real --images Nam_patches --json",
    ),
    selftest: ("restore selftest --json",),
    demo: ("restore demo my-demo",),
}

for _command, _lines in _EXAMPLES.items():
    app.command(epilog=examples(*_lines))(_command)
app.add_typer(keys.app, name="keys")
app.add_typer(log.app, name="log")
app.add_typer(models.app, name="models")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415

        print(f"restore {version('forensic-restore')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def command() -> Command:
    """The tree as a parsed command, ready to run."""
    return typer.main.get_command(app)
