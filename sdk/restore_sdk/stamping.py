"""Timestamps from outside: the one place where a record's making touches a network, and only if asked to.

An authority learns a SHA-256 and this machine's address, nothing of the image or of the record. Where it does
not answer, the record is signed all the same and can be stamped later: the signed bytes stay as they are.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from restore_manifests.errors import ManifestError, RestoreError, UndecidableError
from restore_manifests.schema import (
    MAX_ANCHORS,
    TimestampAnchor,
    manifest_bytes,
    parse_manifest,
    stamped_bytes,
)
from restore_sdk.http_client import check_address, check_online, fetch
from restore_sdk.output import replace_file
from restore_sdk.verification import read_file

if TYPE_CHECKING:
    from restore_manifests.schema import Anchor, Manifest

__all__ = [
    "add_stamps",
    "ask_authorities",
    "check_authorities",
    "stamp_manifest",
    "timestamp_anchor",
    "update_manifest",
    "with_anchors",
]

TIMEOUT_SECONDS = 20.0
_MAX_MANIFEST = 256 << 20


def check_authorities(urls: Sequence[str]) -> tuple[str, ...]:
    """The addresses, each once. Raises UsageError if one is none, or if RESTORE_OFFLINE forbids to ask."""
    for url in urls:
        check_address(url, "timestamp authority")
    if urls:
        check_online(
            "timestamp authority",
            "Leave --tsa out and stamp later with restore log stamp, or unset RESTORE_OFFLINE.",
        )
    return tuple(dict.fromkeys(urls))


def add_stamps(manifest: Manifest, urls: Sequence[str]) -> tuple[Manifest, list[RestoreError]]:
    """`manifest` with a timestamp of each authority that gave one, and why the others did not.

    The timestamp is of body, seal and signatures together. Raises UsageError as `check_authorities` does,
    ManifestError where the manifest has no room for more.
    """
    tokens, problems = ask_authorities(stamped_bytes(manifest, "record"), urls)
    return with_anchors(manifest, [timestamp_anchor(token, "record") for token in tokens]), problems


def ask_authorities(data: bytes, urls: Sequence[str]) -> tuple[list[bytes], list[RestoreError]]:
    """RFC 3161 tokens over `data` of each authority that gave one, and why the others did not.

    Only the SHA-256 of `data` leaves this machine. Raises UsageError as `check_authorities` does.
    """
    tokens: list[bytes] = []
    problems: list[RestoreError] = []
    for url in check_authorities(urls):
        try:
            tokens.append(_token(data, url))
        except UndecidableError as error:
            problems.append(UndecidableError(f"{url}: {error.message}", hint=error.hint))
    return tokens, problems


def timestamp_anchor(token: bytes, over: Literal["record", "checkpoint"]) -> TimestampAnchor:
    """A token as a manifest carries it."""
    return TimestampAnchor(type="rfc3161", token=base64.b64encode(token).decode(), over=over)


def with_anchors(manifest: Manifest, anchors: Sequence[Anchor]) -> Manifest:
    """`manifest` with more anchors. Raises ManifestError where it has no room for them."""
    if len(manifest.anchors) + len(anchors) > MAX_ANCHORS:
        raise ManifestError(
            f"A manifest has at most {MAX_ANCHORS} anchors, and this one is full.",
            hint="It has been anchored and stamped often enough.",
        )
    return manifest.model_copy(update={"anchors": [*manifest.anchors, *anchors]})


def stamp_manifest(path: Path, urls: Sequence[str]) -> tuple[Manifest, list[RestoreError]]:
    """Add timestamps to a stored manifest, in one step: it is as before, or has all that could be had.

    Raises UsageError, ManifestError or StorageError; an authority that gave none is in the list returned.
    """
    problems: list[RestoreError] = []

    def stamp(manifest: Manifest) -> Manifest:
        stamped, said = add_stamps(manifest, urls)
        problems.extend(said)
        return stamped

    return update_manifest(path, stamp), problems


def update_manifest(path: Path, change: Callable[[Manifest], Manifest]) -> Manifest:
    """Store what `change` makes of a manifest in its place, in one step, if it has more anchors then.

    Raises UsageError, ManifestError or StorageError, and whatever `change` does; the file is then as before.
    """
    before = read_file(path, max_bytes=_MAX_MANIFEST)
    manifest = parse_manifest(before)
    changed = change(manifest)
    if len(changed.anchors) > len(manifest.anchors):
        replace_file(path, manifest_bytes(changed), before=before)
    return changed


def _token(data: bytes, url: str) -> bytes:
    from restore_manifests.timestamp import read_response, stamp_query  # noqa: PLC0415

    query = stamp_query(data)
    headers = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}
    answer = fetch(  # RFC 3161 section 3.4: the request and its answer over HTTP
        url,
        "timestamp authority",
        body=query.request,
        headers=headers,
        timeout=TIMEOUT_SECONDS,
        hint="Stamp later with: restore log stamp MANIFEST --tsa URL",
    )
    return read_response(answer, query)
