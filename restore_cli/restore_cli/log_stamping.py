"""What `restore log stamp` does and shows: records one by one, or all of them through the log's state."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from restore_cli.terminal import Terminal
    from restore_manifests.log import TransparencyLog
    from restore_manifests.schema import Manifest

__all__ = ["stamp_checkpoint", "stamp_records"]


def stamp_records(terminal: Terminal, manifests: list[Path], urls: list[str]) -> int:
    """A timestamp over each record. Returns 0, or 3 if an authority gave none for one of them."""
    from restore_sdk.stamping import stamp_manifest  # noqa: PLC0415

    documents, missing = [], False
    for path in manifests:
        manifest, problems = stamp_manifest(path, urls)
        missing |= bool(problems)
        sentences = [problem.message for problem in problems]
        documents.append({**_described(path, manifest), "problems": sentences})
        terminal.say(f"{path}: {_stamps(manifest)} timestamp(s)")
        for sentence in sentences:
            terminal.note(f"{path}: not timestamped: {sentence}")
    terminal.document(documents[0] if len(documents) == 1 else documents)
    return 3 if missing else 0


def stamp_checkpoint(
    terminal: Terminal, log: TransparencyLog, folder: Path, manifests: list[Path], urls: list[str]
) -> int:
    """A timestamp over the log's newest state, carried into each manifest.

    Returns 0, 3 if an authority gave none, or the exit code of a manifest that could not be given it.
    """
    from restore_manifests.errors import RestoreError  # noqa: PLC0415
    from restore_sdk.log_stamps import anchor_through_log, stamp_log  # noqa: PLC0415

    done = stamp_log(log, folder, urls)
    terminal.say(f"{done.path}: {len(done.stamped.tokens)} timestamp(s) of the log with {done.size} entries")
    for problem in done.problems:
        terminal.note(f"not timestamped: {problem.message}")
    documents: list[dict[str, Any]] = []
    code = 3 if done.problems else 0
    for path in manifests if done.fresh else ():
        try:
            manifest = anchor_through_log(path, log, done)
        except RestoreError as error:  # the others are stamped all the same
            documents.append({"manifest": str(path), "timestamps": None, "problems": [error.message]})
            terminal.note(f"{path}: not timestamped: {error}")
            code = error.exit_code
        else:
            documents.append({**_described(path, manifest), "problems": []})
            terminal.say(f"{path}: {_stamps(manifest)} timestamp(s)")
    terminal.document(
        {
            "origin": log.origin,
            "size": done.size,
            "file": str(done.path) if done.stamped.tokens else None,
            "timestamps": len(done.stamped.tokens),
            "problems": [problem.message for problem in done.problems],
            "manifests": documents,
        }
    )
    return code


def _described(path: Path, manifest: Manifest) -> dict[str, Any]:
    return {"manifest": str(path), "timestamps": _stamps(manifest)}


def _stamps(manifest: Manifest) -> int:
    return sum(anchor.type == "rfc3161" for anchor in manifest.anchors)
