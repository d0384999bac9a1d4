"""`restore export`: a record in the forms that other programs read."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from restore_cli.options import Force, Json, Quiet, Verbose
from restore_cli.terminal import Terminal

__all__ = ["Form", "export"]


class Form(StrEnum):
    """What a record can be exported as."""

    IN_TOTO = "in-toto"
    CASE_UCO = "case-uco"
    C2PA_SIDECAR = "c2pa-sidecar"


def export(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="The manifest.json of the bundle.")],
    form: Annotated[Form, typer.Option("--as", help="What to write.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Default: beside the manifest.")
    ] = None,
    result: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The restored image; else looked for by its name.")
    ] = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Write a record in another form: in-toto statement, CASE/UCO graph, or C2PA sidecar.

    The in-toto statement is signed with the identity of RESTORE_HOME. A record with a failed check is not
    exported: exit code 1.
    """
    from restore_cli.passphrase import open_identity  # noqa: PLC0415
    from restore_manifests.canonical import sha256_hex  # noqa: PLC0415
    from restore_sdk.case_files import open_case  # noqa: PLC0415
    from restore_sdk.exports import ENDINGS, ExportForm, export_record  # noqa: PLC0415
    from restore_sdk.home import restore_home  # noqa: PLC0415
    from restore_sdk.single_file import check_place, write_file  # noqa: PLC0415

    wanted = ExportForm(form.value)
    path = out or open_case(manifest, result=result).beside_manifest(ENDINGS[wanted])
    check_place(path, force=force)
    data = export_record(manifest, wanted, result=result, open_identity=lambda: open_identity(restore_home()))
    write_file(path, data, force=force)
    terminal = Terminal(json, quiet, verbose)
    terminal.document({"file": str(path), "form": form.value, "sha256": sha256_hex(data), "bytes": len(data)})
    terminal.say(str(path))
    return 0
