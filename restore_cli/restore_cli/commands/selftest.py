"""`restore selftest`: known answers on this machine, and the laboratory's validation with a signed sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from restore_cli.options import Force, Json, Quiet, Revoked, Trust, Tsa, TsaTrust, Verbose
from restore_cli.terminal import Terminal

__all__ = ["selftest"]

_EXIT = {"pass": 0, "fail": 1, "unable": 3}


def selftest(
    sheet: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="Run the whole validation kit and write its result, signed by this laboratory.",
        ),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Check a result sheet instead of running anything."),
    ] = None,
    inputs: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the kit's pictures and their hashes there.")
    ] = None,
    tsa: Tsa = None,
    trust: Trust = None,
    tsa_trust: TsaTrust = None,
    revoked: Revoked = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Compute known answers: does this machine restore as others do?

    With --sheet also published examples of the standards, the decoders, and a whole restoration that has to
    verify while each alteration of it has to be found. Exit code 0: all as expected, 1: not, 3: unable.
    """
    from restore_manifests.errors import UsageError  # noqa: PLC0415

    terminal = Terminal(json, quiet, verbose)
    if sum(option is not None for option in (sheet, check, inputs)) > 1:
        raise UsageError("--sheet, --check and --inputs do different things.", hint="Give one of them.")
    if check is not None:
        return _check(terminal, check, trust, tsa_trust, revoked)
    if inputs is not None:
        return _inputs(terminal, inputs, force=force)
    if sheet is not None:
        return _sheet(terminal, sheet, tsa or [], force=force)
    from restore_sdk.selftest import selftest as work  # noqa: PLC0415

    found = work()
    terminal.document(found)
    terminal.table([[vector["verdict"], vector["name"], vector["found"]] for vector in found["vectors"]])
    terminal.verdict(found["verdict"], f"{len(found['vectors'])} known answers on {found['device']}.")
    return _EXIT[found["verdict"]]


def _sheet(terminal: Terminal, path: Path, urls: list[str], *, force: bool) -> int:
    from restore_cli.passphrase import open_identity  # noqa: PLC0415
    from restore_sdk.home import restore_home  # noqa: PLC0415
    from restore_sdk.single_file import check_place  # noqa: PLC0415
    from restore_sdk.stamping import check_authorities  # noqa: PLC0415
    from restore_sdk.validation import validate  # noqa: PLC0415
    from restore_sdk.validation_sheets import write_sheet  # noqa: PLC0415

    check_place(path, force=force)  # before the work: what is missing must not cost it
    check_authorities(urls)
    identity = open_identity(restore_home())
    with terminal.progress() as progress:
        body = validate(progress=progress)
    problems = write_sheet(body, identity, path, urls=urls, force=force)
    for problem in problems:
        terminal.note(f"not timestamped: {problem.message}")
    document: dict[str, Any] = {"verdict": body.verdict.value, "sheet": str(path)}
    document |= {"problems": [problem.message for problem in problems], **body.model_dump(mode="json")}
    terminal.document(document)
    terminal.table([[test.verdict, test.id, test.about] for test in body.tests])
    for test in body.tests:
        if test.verdict != "pass":
            terminal.note(f"{test.id}: expected {test.expected}; found {test.found}")
    terminal.verdict(body.verdict.value, f"{len(body.tests)} tests; signed by {identity.name}: {path}")
    return 3 if problems and not _EXIT[body.verdict.value] else _EXIT[body.verdict.value]


def _check(
    terminal: Terminal, path: Path, trust: Path | None, tsa_trust: Path | None, revoked: Path | None
) -> int:
    from restore_sdk.validation_sheets import check_sheet  # noqa: PLC0415

    report = check_sheet(path, trust=trust, tsa_trust=tsa_trust, revoked=revoked)
    terminal.document(report.to_json())
    terminal.table([(item.verdict.value, item.id, item.message) for item in report.checks])
    terminal.say()
    terminal.verdict(report.verdict.value, f"The result sheet {path.name}.")
    return report.exit_code


def _inputs(terminal: Terminal, folder: Path, *, force: bool) -> int:
    from restore_sdk.validation import write_inputs  # noqa: PLC0415

    written = [str(path) for path in write_inputs(folder, force=force)]
    terminal.document({"files": written})
    for line in written:
        terminal.say(line)
    return 0
