"""`restore selftest`: known answers on this machine."""

from __future__ import annotations

from restore_cli.options import Json, Quiet, Verbose
from restore_cli.terminal import Terminal

__all__ = ["selftest"]

_EXIT = {"pass": 0, "fail": 1, "unable": 3}


def selftest(json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> int:
    """Compute known answers: does this machine restore as others do?"""
    from restore_sdk.selftest import selftest as work  # noqa: PLC0415

    terminal = Terminal(json, quiet, verbose)
    found = work()
    terminal.document(found)
    terminal.table([[vector["verdict"], vector["name"], vector["found"]] for vector in found["vectors"]])
    terminal.verdict(found["verdict"], f"{len(found['vectors'])} known answers on {found['device']}.")
    return _EXIT[found["verdict"]]
