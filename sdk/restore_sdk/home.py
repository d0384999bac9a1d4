"""Where keys, log, imported weights and caches live."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_data_path

__all__ = ["restore_home"]


def restore_home() -> Path:
    """The folder named by `RESTORE_HOME`, or the platform's user data folder for `restore`.

    The folder is not created: whoever writes into it makes it, with the permissions that its content needs.
    """
    named = os.environ.get("RESTORE_HOME", "").strip()
    return Path(named).expanduser().absolute() if named else user_data_path("restore", appauthor=False)
