"""Timestamps of the log's states, kept beside the log: one request to an authority for any number of records.

    <log>/stamps/<size>.json     a checkpoint and its timestamps (restore_manifests.checkpoint_stamps)

A record that the log held then existed then: `anchor_through_log` gives a manifest the proof that leads to
the stamped state, and the timestamps with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from restore_manifests.checkpoint import VerifierKey, note_text, verify_checkpoint
from restore_manifests.checkpoint_stamps import StampedCheckpoint
from restore_manifests.errors import LogError, RestoreError, StorageError, UsageError
from restore_manifests.report import Check, failed, passed, unable
from restore_manifests.schema import LogAnchor, body_bytes
from restore_manifests.timestamp import UNDECIDED, Stamp
from restore_sdk.single_file import write_file
from restore_sdk.stamping import (
    ask_authorities,
    check_authorities,
    timestamp_anchor,
    update_manifest,
    with_anchors,
)
from restore_sdk.verification import read_file

if TYPE_CHECKING:
    from cryptography import x509

    from restore_manifests.log import TransparencyLog
    from restore_manifests.schema import Anchor, Manifest

__all__ = ["LogStamp", "anchor_through_log", "check_log_stamps", "stamp_log"]

_FOLDER = "stamps"
_MAX_STAMPS_FILE = 8 << 20


@dataclass(frozen=True)
class LogStamp:
    """A stamped state of the log: where it is kept, its size, and the timestamps that were had just now."""

    path: Path
    size: int
    stamped: StampedCheckpoint
    fresh: tuple[bytes, ...]
    problems: tuple[RestoreError, ...]


def stamp_log(log: TransparencyLog, folder: Path, urls: Sequence[str]) -> LogStamp:
    """Have the newest state of the log in `folder` timestamped; what was had is on the disk afterwards.

    An authority that gave none is among the problems; if none did, nothing is written. Raises UsageError
    (no authority, RESTORE_OFFLINE), LogError or StorageError.
    """
    if not check_authorities(urls):
        raise UsageError("No timestamp authority is named.", hint="Name one with --tsa URL.")
    note = log.checkpoint()
    size = verify_checkpoint(note, VerifierKey.parse(log.vkey)).size
    path = folder / _FOLDER / f"{size}.json"
    stamped = StampedCheckpoint.parse(_read(path)) if path.exists() else StampedCheckpoint(note)
    if note_text(stamped.note) != note_text(note):
        raise LogError(
            f"{path} is of another log, or of another history of this one.",
            hint="Keep it as it is: together with the log it shows that one of them was changed.",
        )
    tokens, problems = ask_authorities(stamped.stamped_bytes, urls)
    stamped = StampedCheckpoint(stamped.note, (*stamped.tokens, *tokens))
    if tokens:
        data = stamped.encode()
        try:
            path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"{path.parent} cannot be made: {error.strerror or error}.",
                hint="See that the folder of the log is yours to write.",
            ) from error
        write_file(path, data, force=True)
    return LogStamp(path, size, stamped, tuple(tokens), tuple(problems))


def anchor_through_log(manifest: Path, log: TransparencyLog, stamp: LogStamp) -> Manifest:
    """Add to a stored manifest its proof in the stamped state, and that state's fresh timestamps, in one.

    The record's place is taken from its older log proof and checked. Raises LogError if the record is not in
    this log, ManifestError where the manifest has no room, UsageError or StorageError; the file is then as
    before.
    """

    def change(found: Manifest) -> Manifest:
        index = _place(found, log, manifest)
        proof = log.inclusion_proof_text(index, stamp.stamped.note)
        own = LogAnchor(
            type="tlog-proof",
            origin=log.origin,
            index=index,
            tree_size=stamp.size,
            public_key=log.vkey,
            proof=proof,
        )
        states = {(one.origin, one.tree_size) for one in found.anchors if isinstance(one, LogAnchor)}
        anchors: list[Anchor] = [] if (own.origin, own.tree_size) in states else [own]
        anchors += [timestamp_anchor(token, "checkpoint") for token in stamp.fresh]
        return with_anchors(found, anchors)

    return update_manifest(manifest, change)


def check_log_stamps(
    log: TransparencyLog, folder: Path, roots: Sequence[x509.Certificate], now: datetime
) -> list[Check]:
    """One check for each timestamped state beside the log: it is a state of this log, and existed then.

    `roots` are of timestamp authorities, `now` is aware. A state that the log has no more (rolled back or
    forked) fails. Raises StorageError if the folder cannot be listed.
    """
    try:
        paths = sorted((folder / _FOLDER).glob("*.json"), key=lambda path: (len(path.name), path.name))
    except OSError as error:
        raise StorageError(f"{folder / _FOLDER} cannot be listed: {error.strerror or error}.") from error
    return [_checked(log, path, roots, now) for path in paths]


def _checked(log: TransparencyLog, path: Path, roots: Sequence[x509.Certificate], now: datetime) -> Check:
    name = f"timestamp.{path.stem}"
    try:
        stamped = StampedCheckpoint.parse(_read(path))
        head, said = stamped.verify(VerifierKey.parse(log.vkey), roots, now)
        log.check_extends(stamped.note)
    except RestoreError as error:
        return failed(name, "checkpoint", f"{path.name}: {error.message}")
    stamps = [one for one in said if isinstance(one, Stamp)]
    problems = [one for one in said if not isinstance(one, Stamp)]
    broken = [one for one in problems if one.code not in UNDECIDED]
    if broken:
        return failed(name, broken[0].code, broken[0].message)
    if not stamps:
        code, message = (
            (problems[0].code, problems[0].message) if problems else ("no-timestamp", "There is none.")
        )
        return unable(name, code, message)
    first = min(stamps, key=lambda stamp: stamp.time)
    more = f", {len(stamps) - 1} more agree(s)" if len(stamps) > 1 else ""
    return passed(
        name,
        f"{first.authority} confirms that the log had {head.size} entries on "
        f"{first.time:%Y-%m-%d %H:%M:%S} UTC{more}.",
    )


def _place(manifest: Manifest, log: TransparencyLog, path: Path) -> int:
    """The index of the record in `log`."""
    record = body_bytes(manifest.body)
    for anchor in manifest.anchors:
        if isinstance(anchor, LogAnchor) and anchor.origin == log.origin:
            (entry,) = list(log.entries(anchor.index, anchor.index + 1)) or (None,)
            if entry == record:
                return anchor.index
    raise LogError(
        f"The record of {path} is not in the log {log.origin} where it says.",
        hint="Name the log that it was entered in with --log.",
    )


def _read(path: Path) -> bytes:
    return read_file(path, max_bytes=_MAX_STAMPS_FILE)
