"""`restore log`: the transparency log of this machine."""

from __future__ import annotations

import base64
import json as jsonlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from restore_cli.options import Force, Json, LogKey, Quiet, Tsa, TsaTrust, Verbose, examples, log_key_named
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

    with TransparencyLog.open(_folder(folder), create=False) as log:
        yield log


def _folder(named: Path | None) -> Path:
    from restore_sdk.home import restore_home  # noqa: PLC0415

    return named or restore_home() / "log"


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
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An older, cosigned state of the log to prove it in.")
    ] = None,
    log: Folder = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Prove that a record is in the log as it is now, or was (C2SP tlog-proof)."""
    from restore_sdk.single_file import write_file  # noqa: PLC0415

    terminal = Terminal(json, quiet, verbose)
    state = _text(checkpoint) if checkpoint else None
    with _opened(log) as opened:
        index = int(entry) if entry.isascii() and entry.isdigit() else _index_of(opened, Path(entry))
        proof = opened.inclusion_proof_text(index, state)
        origin = opened.origin
    if out is not None:
        write_file(out, [proof.encode()], force=force)
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
    tsa_trust: TsaTrust = None,
    log: Folder = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Recompute the whole log from its entries; find changes, losses and a rollback.

    States of the log that were timestamped are checked too: exit code 3 without the authority's root.
    """
    from restore_manifests.report import Report, Verdict  # noqa: PLC0415
    from restore_sdk.log_stamps import check_log_stamps  # noqa: PLC0415
    from restore_sdk.verification import load_certificates  # noqa: PLC0415

    terminal = Terminal(json, quiet, verbose)
    old = None
    if against is not None:
        text = _text(against)
        # a log proof ends with the checkpoint that it leads to, after an empty line
        old = text.partition("\n\n")[2] if text.startswith("c2sp.org/tlog-proof") else text
    roots = [] if tsa_trust is None else load_certificates(tsa_trust)
    with _opened(log) as opened:
        head = opened.check()
        if old is not None:
            opened.check_extends(old)
        stamps = Report(tuple(check_log_stamps(opened, _folder(log), roots, datetime.now(UTC))))
    verdict = stamps.verdict if stamps.checks else Verdict.PASS
    described = {"origin": head.origin, "size": head.size, "root": head.root.hex()}
    terminal.document({"verdict": verdict.value, **described, "timestamps": stamps.to_json()["checks"]})
    terminal.table([(item.verdict.value, item.id, item.message) for item in stamps.checks])
    kept = " and extends the state given" if old else ""
    terminal.verdict("pass", f"The log {head.origin} holds its {head.size} entries unchanged{kept}.")
    if verdict is not Verdict.PASS:
        terminal.verdict(verdict.value, "Not every timestamp of its states could be confirmed.")
    return stamps.exit_code if stamps.checks else 0


@app.command("export", epilog=examples("restore log export public/", "restore log export log.jsonl"))
def export(
    target: Annotated[
        Path, typer.Argument(metavar="DIR|FILE.jsonl", help="Folder for static files, or one file of lines.")
    ],
    log: Folder = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Write the signed state and all entries for others to keep, serve or recompute.

    Into a folder as static files in the C2SP tlog-tiles layout, brought up to date if they are there already;
    into a file that ends in .jsonl as JSON lines.
    """
    from restore_manifests.checkpoint import VerifierKey, verify_checkpoint  # noqa: PLC0415
    from restore_manifests.tiles import export_tiles  # noqa: PLC0415
    from restore_sdk.single_file import write_file  # noqa: PLC0415

    terminal = Terminal(json, quiet, verbose)
    with _opened(log) as opened:
        origin, vkey = opened.origin, opened.vkey
        if target.suffix != ".jsonl":
            done = export_tiles(opened, target)
            described = {"folder": str(target), "origin": origin, "public_key": vkey, "size": done.size}
            terminal.document({**described, "left_out": list(done.left_out)})
            terminal.say(f"{target}: {done.size} entries of {origin}")
            for path in done.left_out:
                terminal.note(f"{target}: {path} is left out: an entry of it is too long for the format.")
            return 0
        note = opened.checkpoint()
        size = verify_checkpoint(note, VerifierKey.parse(vkey)).size
        head = {"origin": origin, "public_key": vkey, "size": size, "checkpoint": note}
        entries = (
            {"index": index, "data": base64.b64encode(data).decode()}
            for index, data in enumerate(opened.entries(0, size))
        )
        write_file(
            target,
            (jsonlib.dumps(line).encode() + b"\n" for part in ([head], entries) for line in part),
            force=force,
        )
    terminal.document({"file": str(target), "origin": origin, "size": size})
    terminal.say(f"{target}: {size} entries of {origin}")
    return 0


@app.command(
    "witness",
    epilog=examples("restore log witness public/ --log-key log.pub --state witness --out cosigned.txt"),
)
def witness(
    tiles: Annotated[
        Path, typer.Argument(metavar="DIR", help="Another log, as `restore log export` wrote it.")
    ],
    log_key: LogKey = None,
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="What was seen; default: in RESTORE_HOME.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of a new witness, such as example.com/w1.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write the cosigned state there.")
    ] = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Cosign the state of somebody else's log (C2SP cosignature/v1), if it extends the one seen before.

    Exit code 1, and no signature: the log was rolled back or forked, or did not sign that state.
    """
    from restore_manifests.checkpoint import VerifierKey  # noqa: PLC0415
    from restore_manifests.errors import UsageError  # noqa: PLC0415
    from restore_manifests.witness_files import Witness  # noqa: PLC0415
    from restore_sdk.home import restore_home  # noqa: PLC0415
    from restore_sdk.single_file import write_file  # noqa: PLC0415
    from restore_sdk.verification import load_log_key  # noqa: PLC0415

    terminal = Terminal(json, quiet, verbose)
    given = log_key_named(log_key)
    if given is None:
        raise UsageError(
            "The log's public key is missing.",
            hint="Get it from whoever runs the log, and give it by --log-key.",
        )
    key = VerifierKey.parse(load_log_key(given))
    opened = Witness.open(
        state or restore_home() / "witness", name=name or f"restore.local/witness-{secrets.token_hex(8)}"
    )
    before = opened.last(key)
    note = opened.witness(tiles, key, datetime.now(UTC))
    if out is not None:
        write_file(out, [note.encode()], force=force)
    size = before.size if before else None
    terminal.document({"witness": opened.vkey, "origin": key.name, "before": size, "checkpoint": note})
    terminal.say(str(out) if out else note)
    return 0


@app.command(
    "stamp",
    epilog=examples(
        "restore log stamp *.manifest.json --tsa http://tsa.example.com",
        "restore log stamp --checkpoint *.manifest.json --tsa http://tsa.example.com",
    ),
)
def stamp(
    manifests: Annotated[
        list[Path] | None, typer.Argument(metavar="MANIFEST...", help="Signed records.")
    ] = None,
    tsa: Tsa = None,
    checkpoint: Annotated[
        bool,
        typer.Option(
            "--checkpoint",
            help="One timestamp for all: of the log's newest state, with a proof of each record.",
        ),
    ] = False,
    log: Folder = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Have signed records, or the state of the log, timestamped; what was signed stays as it is.

    Exit code 3: an authority gave no timestamp for one of them.
    """
    from restore_cli.log_stamping import stamp_checkpoint, stamp_records  # noqa: PLC0415
    from restore_manifests.errors import UsageError  # noqa: PLC0415

    terminal = Terminal(json, quiet, verbose)
    if not tsa:
        raise UsageError("No timestamp authority is named.", hint="Name one with --tsa URL.")
    if checkpoint:
        with _opened(log) as opened:
            return stamp_checkpoint(terminal, opened, _folder(log), manifests or [], tsa)
    if not manifests:
        raise UsageError("Nothing to stamp is named.", hint="Name manifests, or stamp the log: --checkpoint")
    return stamp_records(terminal, manifests, tsa)


@app.command(
    "anchor",
    epilog=examples(
        "restore log anchor *.manifest.json --rekor https://rekor.example.com --log-key rekor.pub",
        "restore log anchor *.manifest.json --tessera https://log.example.com --log-key log.pub",
    ),
)
def anchor(
    manifests: Annotated[list[Path], typer.Argument(metavar="MANIFEST...", help="Signed records.")],
    rekor: Annotated[
        str | None, typer.Option(metavar="URL", help="A Rekor of version 2, over the network.")
    ] = None,
    tessera: Annotated[
        str | None, typer.Option(metavar="URL", help="A tlog-tiles log with POST /add, over the network.")
    ] = None,
    read_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where that log's tiles are, if elsewhere.")
    ] = None,
    log_key: LogKey = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Enter the hashes of records in a public log, and add its checked proofs to the manifests.

    Exit code 3: the log did not answer, or its answer did not hold.
    """
    from restore_cli.log_anchoring import anchor_records, public_log  # noqa: PLC0415

    log = public_log(rekor, tessera, read_url, log_key_named(log_key))
    return anchor_records(Terminal(json, quiet, verbose), manifests, log)


def _text(path: Path) -> str:
    from restore_manifests.errors import UsageError  # noqa: PLC0415

    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as text.", hint="Name a checkpoint file.") from error


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
