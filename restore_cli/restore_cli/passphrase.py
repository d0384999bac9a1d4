"""Where the passphrase of the signing key comes from: the environment or the keyboard, never an argument.

Arguments are seen by every user of a machine in its list of processes.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from restore_manifests.errors import KeyStoreError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from restore_manifests.keys import Identity

__all__ = ["VARIABLE", "ask", "open_identity"]

VARIABLE = "RESTORE_PASSPHRASE"


def ask(prompt: str, *, twice: bool = False) -> str:
    """The passphrase. Raises UsageError where there is neither the variable nor a keyboard to type it."""
    if given := os.environ.get(VARIABLE):
        return given
    if not sys.stdin.isatty():
        raise UsageError(
            "The signing key needs a passphrase, and there is no terminal to type it.",
            hint=f"Set {VARIABLE} in the environment.",
        )
    from getpass import getpass  # noqa: PLC0415

    typed = getpass(f"{prompt}: ", stream=sys.stderr)
    if twice and getpass("The same again: ", stream=sys.stderr) != typed:
        raise UsageError("The two passphrases differ.", hint="Run it again and type the same one twice.")
    return typed


def open_identity(home: Path) -> Identity:
    """The identity of `home`, asking for its passphrase only if it has one.

    Raises KeyStoreError, exit code 2, if there is none or it does not open.
    """
    from restore_manifests.keys import identity_path, load_identity  # noqa: PLC0415

    try:
        return load_identity(home, None)
    except KeyStoreError:
        if not identity_path(home).is_file():
            raise
    return load_identity(home, ask("Passphrase of the signing key"))
