"""What `restore log anchor` does and shows: records entered in a log that others keep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_manifests.errors import RestoreError, UsageError

if TYPE_CHECKING:
    from restore_cli.terminal import Terminal
    from restore_sdk.public_logs import PublicLog

__all__ = ["anchor_records", "public_log"]


def public_log(
    rekor: str | None, tessera: str | None, read_url: str | None, log_key: str | Path | None
) -> PublicLog:
    """The log that the options name. Raises UsageError unless it is one, with its key."""
    from restore_manifests.checkpoint import VerifierKey  # noqa: PLC0415
    from restore_sdk.public_logs import RekorLog, TesseraLog  # noqa: PLC0415
    from restore_sdk.verification import load_log_key  # noqa: PLC0415

    if (rekor is None) == (tessera is None):
        raise UsageError("One public log has to be named.", hint="Give --rekor URL or --tessera URL.")
    if log_key is None:
        raise UsageError(
            "The public log's key is missing.", hint="Get it from whoever runs the log; give it by --log-key."
        )
    key = VerifierKey.parse(load_log_key(log_key))
    if rekor is not None and read_url is not None:
        raise UsageError("--read-url is for --tessera.", hint="Leave it out: Rekor sends its proofs.")
    return RekorLog(rekor, key) if rekor is not None else TesseraLog(tessera or "", key, read_url=read_url)


def anchor_records(terminal: Terminal, manifests: list[Path], log: PublicLog) -> int:
    """Enter each; returns 0, or the worst exit code of those that could not be entered."""
    from restore_sdk.public_logs import anchor_manifests  # noqa: PLC0415

    documents: list[dict[str, Any]] = []
    code = 0
    for path, done in anchor_manifests(manifests, log):
        document: dict[str, Any] = {"manifest": str(path), "origin": None, "index": None, "tree_size": None}
        if isinstance(done, RestoreError):
            document["problem"] = done.message
            terminal.note(f"{path}: not entered: {done}")
            code = max(code, done.exit_code)
        else:
            anchor = done.anchors[-1].model_dump()
            document |= {name: anchor[name] for name in ("origin", "index", "tree_size")} | {"problem": None}
            terminal.say(f"{path}: entry {anchor['index']} of {anchor['origin']}")
        documents.append(document)
    terminal.document(documents[0] if len(documents) == 1 else documents)
    return code
