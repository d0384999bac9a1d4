"""The Merkle tree of RFC 9162 section 2.1 (the same tree as RFC 6962 section 2.1) over SHA-256.

Pure functions of bytes and whole numbers. What a tree stores is reached through a `NodeReader`, so that
the same proofs come from a database, from memory, or from tiles.

A node (level, position) is the root of the complete subtree over the leaves
[position << level, (position + 1) << level). Nodes never change once their last leaf is there; in the order
in which they become complete they are numbered by `node_number`, so a store of them is append-only too.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "EMPTY_ROOT",
    "HASH_BYTES",
    "MAX_PATH",
    "Frontier",
    "NodeReader",
    "consistency_path",
    "inclusion_path",
    "leaf_hash",
    "node_count",
    "node_hash",
    "node_number",
    "peaks",
    "tree_root",
    "verify_consistency_path",
    "verify_inclusion_path",
]

HASH_BYTES = 32
MAX_PATH = 64
"""No tree of fewer than 2**63 leaves has a longer path."""

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""MTH({}) = HASH(), RFC 9162 section 2.1.1."""


class NodeReader(Protocol):
    """Gives the hash of a complete subtree."""

    def __call__(self, level: int, position: int, /) -> bytes: ...


def leaf_hash(data: bytes) -> bytes:
    """MTH({d0}) = HASH(0x00 || d0), RFC 9162 section 2.1.1."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """HASH(0x01 || left || right), RFC 9162 section 2.1.1; the prefix keeps leaves and nodes apart."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def node_count(size: int) -> int:
    """How many nodes are complete in a tree of `size` leaves."""
    return 2 * size - size.bit_count()


def node_number(level: int, position: int) -> int:
    """The place of a node in the order of completion: each leaf, then the subtrees it completes, upward."""
    last_leaf = ((position + 1) << level) - 1
    return node_count(last_leaf) + level


def peaks(size: int) -> list[tuple[int, int]]:
    """The maximal complete subtrees of a tree of `size` leaves, as (level, position), left to right."""
    return [(level, (size >> level) - 1) for level in reversed(range(size.bit_length())) if size >> level & 1]


class Frontier:
    """The right edge of a tree: all that appending to it needs, O(log n) hashes."""

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        """`hashes` are those of `peaks(size)`, in that order."""
        if len(hashes) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} peaks, not {len(hashes)}")
        self.size = size
        self._hashes = list(hashes)

    def append(self, leaf: bytes) -> list[bytes]:
        """Add a leaf hash; returns the nodes it completes, the leaf first, in the order of `node_number`."""
        nodes = [leaf]
        rest = self.size
        while rest & 1:
            nodes.append(node_hash(self._hashes.pop(), nodes[-1]))
            rest >>= 1
        self._hashes.append(nodes[-1])
        self.size += 1
        return nodes

    def root(self) -> bytes:
        """MTH of the leaves so far, RFC 9162 section 2.1.1."""
        if not self._hashes:
            return EMPTY_ROOT
        root = self._hashes[-1]
        for left in reversed(self._hashes[:-1]):
            root = node_hash(left, root)
        return root


def tree_root(read: NodeReader, size: int) -> bytes:
    """MTH(D[0:size]) of a tree that holds at least `size` leaves."""
    return _range_hash(read, 0, size) if size else EMPTY_ROOT


def inclusion_path(read: NodeReader, index: int, size: int) -> list[bytes]:
    """PATH(index, D[0:size]), RFC 9162 section 2.1.3.1: from the leaf's sibling to the root's child."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    path = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_hash(read, middle, end))
            end = middle
        else:
            path.append(_range_hash(read, start, middle))
            start = middle
    return path[::-1]


def consistency_path(read: NodeReader, old: int, new: int) -> list[bytes]:
    """PROOF(old, D[0:new]), RFC 9162 section 2.1.4.1; empty where `old` is 0 or `new`."""
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {old} is not a prefix of a tree of {new}")
    if old in (0, new):
        return []
    path = []
    start, end = 0, new
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_range_hash(read, middle, end))
            end = middle
        else:
            path.append(_range_hash(read, start, middle))
            start = middle
    if start:  # the verifier does not know this subtree: SUBPROOF(m, D[m], false)
        path.append(_range_hash(read, start, end))
    return path[::-1]


def verify_inclusion_path(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether `path` leads from the leaf hash to `root`, by the steps of RFC 9162 section 2.1.3.2."""
    if not (0 <= index < size and _are_hashes((leaf, root, *path))):
        return False
    at, last = index, size - 1
    found = leaf
    for sibling in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node_hash(sibling, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root


def verify_consistency_path(
    old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]
) -> bool:
    """Whether the tree of `old` leaves is a prefix of that of `new`, by RFC 9162 section 2.1.4.2.

    The RFC leaves out two cases, decided here: equal sizes need equal roots and no path; the empty tree is
    a prefix of every tree and needs no path.
    """
    if not (0 <= old <= new and _are_hashes((old_root, new_root, *path))):
        return False
    if old == new:
        return not path and old_root == new_root
    if old == 0:
        return not path and old_root == EMPTY_ROOT
    if not path:
        return False
    first, *rest = [old_root, *path] if old.bit_count() == 1 else path
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old_found = new_found = first
    for step in rest:
        if last == 0:
            return False
        if at & 1 or at == last:
            old_found, new_found = node_hash(step, old_found), node_hash(step, new_found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new_found = node_hash(new_found, step)
        at, last = at >> 1, last >> 1
    return last == 0 and old_found == old_root and new_found == new_root


def _split(count: int) -> int:
    """k of RFC 9162 section 2.1.1: the largest power of two smaller than `count` (two or more)."""
    return 1 << ((count - 1).bit_length() - 1)


def _range_hash(read: NodeReader, start: int, end: int) -> bytes:
    """MTH(D[start:end]) for a range that the splits of section 2.1.1 make."""
    count = end - start
    if count.bit_count() == 1:
        level = count.bit_length() - 1
        return read(level, start >> level)
    middle = start + _split(count)
    return node_hash(_range_hash(read, start, middle), _range_hash(read, middle, end))


def _are_hashes(values: Sequence[bytes]) -> bool:
    return all(len(value) == HASH_BYTES for value in values)
