"""Options that several commands share, and the form of the examples in their help."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Arithmetic",
    "Force",
    "Json",
    "LogKey",
    "Model",
    "NoRecompute",
    "Pixels",
    "PublicLogKey",
    "Quiet",
    "Revoked",
    "Trust",
    "Tsa",
    "TsaTrust",
    "Verbose",
    "examples",
    "log_key_named",
    "log_keys_named",
    "model_named",
]


class Arithmetic(StrEnum):
    """Integers that repeat on every machine, or floating point."""

    EXACT = "exact"
    FLOAT = "float"


Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say more on stderr; tracebacks in case of faults.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is already there.")]
Trust = Annotated[
    Path | None,
    typer.Option(
        "--trust",
        metavar="ROOTS.pem",
        help="Root certificates that you trust, of signers and timestamp authorities.",
    ),
]
Tsa = Annotated[
    list[str] | None,
    typer.Option(
        "--tsa",
        metavar="URL",
        help="RFC 3161 timestamp authority to ask, over the network; may be given several times.",
    ),
]
TsaTrust = Annotated[
    Path | None,
    typer.Option(
        "--tsa-trust", metavar="ROOTS.pem", help="Root certificates that you trust for timestamps only."
    ),
]
Revoked = Annotated[
    Path | None, typer.Option("--revoked", metavar="FILE", help="List of revoked certificates to honour.")
]
LogKey = Annotated[
    str | None,
    typer.Option(
        "--log-key",
        metavar="KEY|FILE",
        help="Public key of the transparency log that you trust, or its file.",
    ),
]
NoRecompute = Annotated[
    bool,
    typer.Option(
        "--no-recompute",
        help="Leave out the recomputation of the pixels, which takes longest; a file that is, byte for byte, "
        "the one that a trusted signer signed is not decoded either.",
    ),
]
Pixels = Annotated[
    bool,
    typer.Option("--pixels", help="With --no-recompute: decode every picture and compare its pixels too."),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="ID|FILE", help="Weights to use: an id of `restore models list`, or a file."
    ),
]


PublicLogKey = Annotated[
    list[str] | None,
    typer.Option(
        "--public-log-key",
        metavar="KEY|FILE",
        help="Public key of a public log that you trust, or its file; may be given several times.",
    ),
]


def model_named(model: str | None) -> str | Path | None:
    """A model is named by its id, or by a file if it ends like one or a file of that name is there."""
    return Path(model) if model and (model.endswith(".safetensors") or Path(model).is_file()) else model


def log_key_named(key: str | None) -> str | Path | None:
    """A log's key is given as it is, or by the file that holds it."""
    return Path(key) if key and Path(key).is_file() else key


def log_keys_named(keys: list[str] | None) -> tuple[str | Path, ...]:
    """As `log_key_named`, for several."""
    return tuple(Path(key) if Path(key).is_file() else key for key in keys or ())


def examples(*lines: str) -> str:
    """The epilogue of a command's help. `\\b` keeps the line breaks."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)
