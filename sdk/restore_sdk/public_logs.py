"""Public transparency logs as a second anchor: Rekor v2, and Tessera or whatever else serves tlog-tiles.

A log of one's own can be rewritten by its keeper; one that strangers keep and watch cannot. Nothing is asked
unless a caller names a log and gives its key, and what comes back is checked before it is believed. A log
learns the SHA-256 of the record and this machine's address; Rekor also the signature and the public key.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from restore_manifests.checkpoint import Checkpoint, VerifierKey, parse_decimal, verify_checkpoint
from restore_manifests.errors import LogError, RestoreError, UndecidableError, VerificationError
from restore_manifests.log_proof import LogProof
from restore_manifests.merkle import HASH_BYTES, inclusion_path
from restore_manifests.public_log import digest_entry, public_anchor, read_rekor_response, rekor_request
from restore_manifests.tiles import TileReader
from restore_sdk.http_client import check_address, check_online, fetch
from restore_sdk.stamping import update_manifest, with_anchors

if TYPE_CHECKING:
    from restore_manifests.schema import Manifest, PublicLogAnchor

__all__ = ["PublicLog", "RekorLog", "TesseraLog", "anchor_manifests"]

TIMEOUT_SECONDS = 60.0
"""Of one answer: Rekor answers when a checkpoint with the entry is out (CLIENTS.md asks for 20 or more)."""
INTEGRATION_SECONDS = 60.0
"""How long a log may take from the promise of a place to a checkpoint that covers it."""
POLL_SECONDS = 1.0

_WHAT = "public log"


class PublicLog(Protocol):
    """A log that others keep. `key` is the one that it signs its checkpoints with."""

    key: VerifierKey

    def enter(self, manifest: Manifest) -> PublicLogAnchor:
        """Enter a record's hash, wait until a signed state of the log holds it, and give the checked proof.

        Raises UsageError under RESTORE_OFFLINE, LogError for a record that this log cannot take,
        UndecidableError if the log does not answer or its answer does not hold.
        """
        ...


class RekorLog:
    """A Rekor of version 2 (sigstore/rekor-tiles) at `url`, its API below `/api/v2`."""

    def __init__(self, url: str, key: VerifierKey) -> None:
        """Raises UsageError if `url` is no address. Nothing is asked yet."""
        self.key = key
        self._url = check_address(url, _WHAT).rstrip("/")

    def enter(self, manifest: Manifest) -> PublicLogAnchor:
        """As `PublicLog.enter`; one request. Only records signed with ECDSA are taken."""
        request = rekor_request(manifest)
        _check_online()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        url = f"{self._url}/api/v2/log/entries"
        answer = fetch(url, _WHAT, body=request, headers=headers, timeout=TIMEOUT_SECONDS)
        return read_rekor_response(answer, manifest, self.key)


class TesseraLog:
    """A log of bytes: `POST /add` gives the index, the rest is read as c2sp.org/tlog-tiles.

    That is how the servers that come with Tessera (transparency-dev/tessera, cmd/conformance) speak.
    `read_url` is where the tiles are, if that is elsewhere than where entries are added.
    """

    def __init__(self, url: str, key: VerifierKey, *, read_url: str | None = None) -> None:
        """Raises UsageError if an address is none. Nothing is asked yet."""
        self.key = key
        self._url = check_address(url, _WHAT).rstrip("/")
        self._read_url = check_address(read_url or url, _WHAT).rstrip("/")

    def enter(self, manifest: Manifest) -> PublicLogAnchor:
        """As `PublicLog.enter`: adds, waits for a checkpoint, and makes the proof from the tiles."""
        entry = digest_entry(manifest)
        _check_online()
        headers = {"Content-Type": "application/octet-stream"}
        answer = fetch(f"{self._url}/add", _WHAT, body=entry, headers=headers, timeout=TIMEOUT_SECONDS)
        try:
            index = parse_decimal(answer.decode("ascii").strip())
        except ValueError as error:  # UnicodeDecodeError is one
            raise UndecidableError(
                "The public log did not say where it entered the record.",
                hint="Check its address: POST /add has to answer with the index.",
            ) from error
        note, head = self._checkpoint_after(index)
        try:
            path = tuple(inclusion_path(TileReader(self._tile, head.size), index, head.size))
        except LogError as error:
            raise UndecidableError(
                f"The tiles of the public log cannot be read: {error.message}", hint="Try again later."
            ) from error
        return public_anchor(
            "restore.digest/1", entry, LogProof(index, path, note).encode(), manifest, self.key
        )

    def _checkpoint_after(self, index: int) -> tuple[str, Checkpoint]:
        deadline = time.monotonic() + INTEGRATION_SECONDS
        while True:
            data = fetch(f"{self._read_url}/checkpoint", _WHAT, timeout=TIMEOUT_SECONDS)
            try:
                note = data.decode("utf-8")
                head = verify_checkpoint(note, self.key)
            except (UnicodeDecodeError, VerificationError) as error:
                raise UndecidableError(
                    "The checkpoint of the public log does not hold under the key given.",
                    hint="Check that the key is that of this log.",
                ) from error
            if head.size > index:
                return note, head
            if time.monotonic() > deadline:
                raise UndecidableError(
                    f"The public log promised place {index} and has not signed a state that holds it.",
                    hint="Try again later: the same record gets the same proof.",
                )
            time.sleep(POLL_SECONDS)

    def _tile(self, path: str) -> bytes:
        """The bytes of a tile. A partial one may be gone once the full one is there (tlog-tiles)."""
        try:
            return self._read(path)
        except UndecidableError as error:
            full, _, width = path.partition(".p/")
            if not width:
                raise LogError(error.message) from error
        try:
            return self._read(full)[: int(width) * HASH_BYTES]
        except UndecidableError as error:
            raise LogError(error.message) from error

    def _read(self, path: str) -> bytes:
        return fetch(f"{self._read_url}/{path}", _WHAT, timeout=TIMEOUT_SECONDS)


def anchor_manifests(paths: Sequence[Path], log: PublicLog) -> list[tuple[Path, Manifest | RestoreError]]:
    """Enter stored records in a public log, and add the proof to each manifest, in one step each.

    What went wrong with one does not hinder the others. Raises UsageError under RESTORE_OFFLINE.
    """
    _check_online()
    done: list[tuple[Path, Manifest | RestoreError]] = []
    for path in paths:
        try:
            done.append((path, update_manifest(path, lambda found: with_anchors(found, [log.enter(found)]))))
        except RestoreError as error:
            done.append((path, error))
    return done


def _check_online() -> None:
    check_online(_WHAT, "Unset RESTORE_OFFLINE, or enter the record from another machine.")
