"""A log as static files that any client of c2sp.org/tlog-tiles reads: from a web server, a disk, a DVD.

    checkpoint               the signed head
    tile/<L>/<N>             256 hashes: the nodes of level 8 L, from 256 N on
    tile/<L>/<N>.p/<W>       the last one of a level, W hashes long
    tile/entries/<N>         256 entries, each after its length (uint16, big-endian); .p/<W> likewise

N is written in groups of three digits, all but the last with an x before: 1234067 is x001/x234/067. An entry
of 65,536 bytes or more does not fit the format: its bundle is left out, its hash is in the tree all the same.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from restore_manifests.checkpoint import VerifierKey, verify_checkpoint
from restore_manifests.errors import LogError, StorageError
from restore_manifests.merkle import HASH_BYTES, Frontier, leaf_hash, node_hash

if TYPE_CHECKING:
    from pathlib import Path

    from restore_manifests.log import TransparencyLog

__all__ = ["Exported", "TileReader", "export_tiles", "tile_path"]

_WIDTH = 256
_LEVELS = 8
_MAX_ENTRY = (1 << 16) - 1


@dataclass(frozen=True)
class Exported:
    """What `export_tiles` wrote: the checkpoint, its size, and the bundles that the format cannot hold."""

    checkpoint: str
    size: int
    left_out: tuple[str, ...]


def tile_path(level: int | str, number: int, width: int = _WIDTH) -> str:
    """Where a tile is, c2sp.org/tlog-tiles "Merkle Tree"; level "entries" is that of the entry bundles."""
    groups = [f"{number % 1000:03}"]
    while number := number // 1000:
        groups.insert(0, f"x{number % 1000:03}")
    return f"tile/{level}/{'/'.join(groups)}" + (f".p/{width}" if width < _WIDTH else "")


def export_tiles(log: TransparencyLog, folder: Path) -> Exported:
    """Write `log` into `folder`, or bring an older export of it there up to date; the checkpoint comes last.

    The log is checked in full before, because what is published stays. Raises LogError if it does not hold,
    or if the folder has the tiles of another one; StorageError.
    """
    log.check()
    note = log.checkpoint()
    head = verify_checkpoint(note, VerifierKey.parse(log.vkey))
    frontier = Frontier()
    rows: list[list[bytes]] = []
    bundle: list[bytes] = []
    left_out: list[str] = []

    def flush(level: int | str, parts: list[bytes], count: int) -> None:
        path = tile_path(level, (count - 1) // _WIDTH, (count - 1) % _WIDTH + 1)
        if level == "entries":
            if any(len(part) > _MAX_ENTRY for part in parts):
                left_out.append(path)
                return
            parts = [struct.pack(">H", len(part)) + part for part in parts]
        _publish(folder / path, b"".join(parts), immutable=True)

    try:
        for entry in log.entries(0, head.size):
            bundle.append(entry)
            nodes = frontier.append(leaf_hash(entry))
            for tile_level, node in enumerate(nodes[::_LEVELS]):
                if tile_level == len(rows):
                    rows.append([])
                row = rows[tile_level]
                row.append(node)
                if len(row) == _WIDTH:
                    flush(tile_level, row, frontier.size >> (_LEVELS * tile_level))
                    row.clear()
            if len(bundle) == _WIDTH:
                flush("entries", bundle, frontier.size)
                bundle.clear()
        if bundle:
            flush("entries", bundle, frontier.size)
        for level, row in enumerate(rows):
            if row:
                flush(level, row, frontier.size >> (_LEVELS * level))
        _publish(folder / "checkpoint", note.encode(), immutable=False)
    except OSError as error:
        raise StorageError(
            f"The log cannot be written to {folder}: {error.strerror or error}.",
            hint="Name a folder that you can write to.",
        ) from error
    return Exported(note, head.size, tuple(left_out))


class TileReader:
    """The nodes of a tree of `size` leaves from its tiles; a `NodeReader` for merkle.py.

    `fetch` gives the bytes of a path. Nothing is verified here: roots and proofs made from it are.
    """

    def __init__(self, fetch: Callable[[str], bytes], size: int) -> None:
        self._size = size
        self._tile = lru_cache(maxsize=1024)(lambda level, number: self._fetched(fetch, level, number))

    def __call__(self, level: int, position: int, /) -> bytes:
        """Raises LogError if a tile is missing or has the wrong length."""
        above, below = divmod(level, _LEVELS)
        start = position << below
        tile = self._tile(above, start // _WIDTH)
        at = start % _WIDTH
        row = [tile[HASH_BYTES * i : HASH_BYTES * (i + 1)] for i in range(at, at + (1 << below))]
        while len(row) > 1:
            row = [node_hash(*pair) for pair in zip(row[::2], row[1::2], strict=True)]
        return row[0]

    def _fetched(self, fetch: Callable[[str], bytes], level: int, number: int) -> bytes:
        width = min(_WIDTH, (self._size >> (_LEVELS * level)) - _WIDTH * number)
        path = tile_path(level, number, width)
        try:
            data = fetch(path)
        except OSError as error:
            raise LogError(f"The log's {path} cannot be read: {error.strerror or error}.") from error
        if len(data) != width * HASH_BYTES:
            raise LogError(f"The log's {path} has {len(data)} bytes instead of {width * HASH_BYTES}.")
        return data


def _publish(path: Path, data: bytes, *, immutable: bool) -> None:
    if immutable and path.exists():
        if path.read_bytes() != data:
            raise LogError(
                f"{path} is there already and is of another log, or of another history of this one.",
                hint="Export into an empty folder, and compare the two.",
            )
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
