"""The entry point: runs one command, and turns whatever goes wrong into one sentence and an exit code.

0 pass or done   1 a check failed   2 wrong use or bad input   3 unable to decide
4 interrupted, out of resources, or a fault of ours; nothing half-written
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

__all__ = ["main"]

INTERRUPTED = 4
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}


def main(argv: Sequence[str] | None = None) -> int:
    """Run `argv` (default: the command line) and return the exit code. Never raises."""
    if argv is None:
        with contextlib.suppress(ValueError):  # not in the main thread: somebody else handles signals
            signal.signal(signal.SIGTERM, _interrupt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a Windows console page cannot show every file name
            stream.reconfigure(errors="backslashreplace")
    arguments = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has gone, which is no fault of anybody
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INTERRUPTED
    except KeyboardInterrupt:  # a second time, while the first was being told
        return INTERRUPTED
    return code


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(arguments: list[str]) -> int:
    try:
        return _dispatch(arguments)
    except (KeyboardInterrupt, EOFError):
        return _fail(
            arguments, INTERRUPTED, "Interrupted.", "Nothing half-written was left; run it again to go on."
        )
    except MemoryError:
        return _fail(
            arguments,
            INTERRUPTED,
            "There is not enough memory for this.",
            "Use fewer jobs or smaller images.",
        )
    except BrokenPipeError:
        raise
    except OSError as error:
        said = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
        hint = "Nothing half-written was left."
        if error.errno in _FULL:
            return _fail(arguments, INTERRUPTED, f"The disk is full ({said}).", f"Free some space. {hint}")
        return _fail(arguments, INTERRUPTED, f"The system refused an operation ({said}).", hint)
    except Exception as error:  # the last line of defence: a user sees a sentence, a maintainer the traceback
        message = f"restore has a fault: {type(error).__name__}: {_first_line(error)}."
        hint = "Nothing half-written was left. Run it again with --verbose and report what that prints."
        return _fail(arguments, INTERRUPTED, message, hint)


def _dispatch(arguments: list[str]) -> int:
    import typer  # noqa: PLC0415  (inside, so that an interrupt during imports is told as one)

    from restore_cli.app import command  # noqa: PLC0415
    from restore_manifests.errors import RestoreError  # noqa: PLC0415

    try:
        root = command()
        with root.make_context("restore", arguments) as context:
            return int(root.invoke(context) or 0)
    except typer.Exit as done:
        return done.exit_code
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    except typer.TyperException as error:
        where = getattr(getattr(error, "ctx", None), "command_path", "restore")
        return _fail(arguments, 2, error.format_message(), f"See: {where} --help")
    except RestoreError as error:
        return _fail(arguments, error.exit_code, error.message, error.hint)


def _fail(arguments: list[str], code: int, message: str, hint: str) -> int:
    from restore_cli.terminal import printable  # noqa: PLC0415

    # known also where the arguments could not be parsed; after "--" there are names only
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if {"--verbose", "-v"}.intersection(options) and sys.exc_info()[0] is not None:
        import traceback  # noqa: PLC0415

        traceback.print_exc()
    if "--json" in options:
        print(json.dumps({"error": {"message": message, "hint": hint, "exit_code": code}}))
    print(printable(f"restore: {message} {hint}".strip()), file=sys.stderr)
    return code


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["no message"])[0][:300].rstrip(".")


if __name__ == "__main__":
    sys.exit(main())
