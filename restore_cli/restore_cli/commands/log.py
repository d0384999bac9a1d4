"""`restore log`: the transparency log of this machine."""

from __future__ import annotations

import base64
import json as jsonlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from restore_cli.options import Force, Json, Quiet, Verbose, examples
from restore_cli.terminal import Terminal

if TYPE_CHECKING:
    from restore_manifests.log import TransparencyLog

__all__ = ["app"]

app = typer.Typer(help="Show, prove, check or export the log of all records.", rich_markup_mode=None)

Folder = Annotated[
    Path | None,
    typer.Option("--log", metavar="DIR", help="Folder of the log; default: that of RESTORE_HOME."),
]


@contextmanager
def _opened(folder: Path | None) -> Iterator[TransparencyLog]:
    from restore_manifests.log import TransparencyLog  # noqa: PLC0415
    from restore_sdk.home import restore_home  # noqa: PLC0415

    with TransparencyLog.open(folder or restore_home() / "log", create=False) as log:
        yield log


@app.command("show", epilog=examples("restore log show"))
def show(log: Folder = None, json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> int:
    """Show the log's name, size, public key and newest signed state."""
    terminal = Terminal(json, quiet, verbose)
    with _opened(log) as opened:
        described = {
            "origin": opened.origin,
            "size": opened.size,
            "public_key": opened.vkey,
            "checkpoint": opened.checkpoint(),
        }
    terminal.document(described)
    terminal.table([(name, str(described[name])) for name in ("origin", "size", "public_key")])
    terminal.say(f"\n{described['checkpoint']}")
    return 0


@app.command(
    "prove",
    epilog=examples("restore log prove plate.manifest.json", "restore log prove 7 --out 7.tlog-proof"),
)
def prove(
    entry: Annotated[
        str, typer.Argument(metavar="MANIFEST|INDEX", help="The record, or its number in the log.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write the proof there.")
    ] = None,
    log: Folder = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Prove that a record is in the log as it is now (C2SP tlog-proof)."""
    terminal = Terminal(json, quiet, verbose)
    with _opened(log) as opened:
        index = int(entry) if entry.isascii() and entry.isdigit() else _index_of(opened, Path(entry))
        proof = opened.inclusion_proof_text(index)
        origin = opened.origin
    if out is not None:
        _store(out, [proof.encode()], force=force)
    terminal.document({"origin": origin, "index": index, "proof": proof, "file": str(out) if out else None})
    terminal.say(str(out) if out else proof)
    return 0


@app.command(
    "check", epilog=examples("restore log check", "restore log check --against checkpoint-of-may.txt")
)
def check(
    against: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="An old checkpoint or log proof, kept elsewhere, to compare with."),
    ] = None,
    log: Folder = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Recompute the whole log from its entries; find changes, losses and a rollback."""
    from restore_manifests.errors import UsageError  # noqa: PLC0415

    terminal = Terminal(json, quiet, verbose)
    old = None
    if against is not None:
        try:
            text = against.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{against} cannot be read as text.", hint="Name a checkpoint file.") from error
        # a log proof ends with the checkpoint that it leads to, after an empty line
        old = text.partition("\n\n")[2] if text.startswith("c2sp.org/tlog-proof") else text
    with _opened(log) as opened:
        head = opened.check()
        if old is not None:
            opened.check_extends(old)
    terminal.document({"verdict": "pass", "origin": head.origin, "size": head.size, "root": head.root.hex()})
    kept = " and extends the state given" if old else ""
    terminal.verdict("pass", f"The log {head.origin} holds its {head.size} entries unchanged{kept}.")
    return 0


@app.command("export", epilog=examples("restore log export log.jsonl"))
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE.jsonl", help="Where to write.")],
    log: Folder = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Write the signed state and all entries as JSON lines, for others to keep or recompute."""
    from restore_manifests.checkpoint import VerifierKey, verify_checkpoint  # noqa: PLC0415

    terminal = Terminal(json, quiet, verbose)
    with _opened(log) as opened:
        note = opened.checkpoint()
        size = verify_checkpoint(note, VerifierKey.parse(opened.vkey)).size
        head = {"origin": opened.origin, "public_key": opened.vkey, "size": size, "checkpoint": note}
        entries = (
            {"index": index, "data": base64.b64encode(data).decode()}
            for index, data in enumerate(opened.entries(0, size))
        )
        _store(
            file,
            (jsonlib.dumps(line).encode() + b"\n" for part in ([head], entries) for line in part),
            force=force,
        )
    terminal.document({"file": str(file), "origin": head["origin"], "size": size})
    terminal.say(f"{file}: {size} entries of {head['origin']}")
    return 0


def _index_of(log: TransparencyLog, path: Path) -> int:
    from restore_manifests.errors import LogError, UsageError  # noqa: PLC0415
    from restore_manifests.schema import body_bytes, parse_manifest  # noqa: PLC0415

    try:
        record = body_bytes(parse_manifest(path.read_bytes()).body)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}.", hint="Name a manifest, or an entry by its number."
        ) from error
    for index, data in enumerate(log.entries()):
        if data == record:
            return index
    raise LogError(
        f"The record of {path} is not in the log {log.origin}.",
        hint="It may be in the log of another machine.",
    )


def _store(path: Path, parts: Iterator[bytes] | list[bytes], *, force: bool) -> None:
    """All of it or nothing, and never over something else unless `force` says so."""
    from restore_manifests.errors import StorageError, UsageError  # noqa: PLC0415

    if path.exists() and not force:
        raise UsageError(f"{path} already exists.", hint="Name another file, or replace it with --force.")
    try:
        temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
        try:
            with temporary.open("xb") as stream:
                stream.writelines(parts)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror}.",
            hint="Name a file in a folder that you can write to.",
        ) from error
