"""The checks `log.inclusion` and `log.checkpoint`: of the laboratory's own log, and of public ones."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import assert_never

from restore_manifests.log_proof import LogProofError, ProofPart, verify_inclusion
from restore_manifests.public_log import entry_problem
from restore_manifests.record import Record
from restore_manifests.report import Check, Verdict, failed, passed, unable
from restore_manifests.schema import LogAnchor, PublicLogAnchor, TimestampAnchor

__all__ = ["log"]

_INCLUSION, _CHECKPOINT = "log.inclusion", "log.checkpoint"
_RANK = (Verdict.FAIL, Verdict.UNABLE, Verdict.PASS)


def log(record: Record) -> Iterable[Check]:
    """Both checks, each the worst over all log proofs of the manifest."""
    pairs = []
    for anchor in record.manifest.anchors:
        match anchor:
            case LogAnchor():
                pairs.append(_judged(anchor, record.signed, _own_key(record, anchor)))
            case PublicLogAnchor():
                pairs.append(_public(record, anchor))
            case TimestampAnchor():
                continue
            case _:
                assert_never(anchor)
    if not pairs:
        message = "The manifest carries no proof that it was entered in a transparency log."
        yield unable(_INCLUSION, "anchor-missing", message)
        yield unable(_CHECKPOINT, "anchor-missing", message)
        return
    for side in (0, 1):
        yield min((pair[side] for pair in pairs), key=lambda check: _RANK.index(check.verdict))


def _own_key(record: Record, anchor: LogAnchor) -> Check:
    given = record.inputs.log_public_key
    if given is not None and given.strip() != anchor.public_key:
        return failed(_CHECKPOINT, "log-key", "The log's key in the manifest is not the key that was given.")
    return _signed(anchor, known=given is not None)


def _public(record: Record, anchor: PublicLogAnchor) -> tuple[Check, Check]:
    if problem := entry_problem(anchor, record.manifest):
        return failed(_INCLUSION, problem.code, problem.message), _public_key(record, anchor)
    return _judged(anchor, base64.b64decode(anchor.entry), _public_key(record, anchor))


def _public_key(record: Record, anchor: PublicLogAnchor) -> Check:
    given = [key.strip() for key in record.inputs.public_log_keys]
    if anchor.public_key in given:
        return _signed(anchor, known=True)
    origin = _quoted(anchor)
    if anchor.origin in [key.partition("+")[0] for key in given]:
        return failed(
            _CHECKPOINT, "log-key", f"The key of {origin} in the manifest is not the key that was given."
        )
    if given:
        return unable(_CHECKPOINT, "log-key-missing", f"No key was given for the public log {origin}.")
    return _signed(anchor, known=False)


def _signed(anchor: LogAnchor | PublicLogAnchor, *, known: bool) -> Check:
    """What holds once the signature of the checkpoint does."""
    return passed(
        _CHECKPOINT,
        f"The log {_quoted(anchor)} signed its state with the key that was given."
        if known
        else f"The log {_quoted(anchor)} signed its state with the key that the manifest names; "
        "no key was given to compare it with.",
    )


def _judged(anchor: LogAnchor | PublicLogAnchor, entry: bytes, note: Check) -> tuple[Check, Check]:
    """The pair for a proof of `entry`; `note` says what is known of the log's key."""
    try:
        place = verify_inclusion(anchor.proof, entry, anchor.public_key)
    except LogProofError as error:
        if error.part is ProofPart.INCLUSION:
            return failed(_INCLUSION, "log-entry", error.message), note
        return (
            unable(
                _INCLUSION, "log-state", "Without a valid signed state of the log, no entry can be shown."
            ),
            failed(_CHECKPOINT, "log-signature", error.message),
        )
    if place.origin != anchor.origin:
        message = f"The proof is of the log {place.origin[:80]!r}, not {_quoted(anchor)}."
        note = failed(_CHECKPOINT, "log-origin", message)
    if (place.index, place.tree_size) != (anchor.index, anchor.tree_size):
        return (
            failed(
                _INCLUSION,
                "log-place",
                f"The proof is for entry {place.index} of {place.tree_size}; the manifest says "
                f"{anchor.index} of {anchor.tree_size}.",
            ),
            note,
        )
    what = "The record" if isinstance(anchor, LogAnchor) else "The hash of the record"
    return passed(_INCLUSION, f"{what} is entry {place.index} of the log {_quoted(anchor)}."), note


def _quoted(anchor: LogAnchor | PublicLogAnchor) -> str:
    return repr(anchor.origin[:80])
