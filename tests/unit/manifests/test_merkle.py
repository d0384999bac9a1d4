"""The tree against the Certificate Transparency test tree, RFC 9162 section 2.1.5, and pymerkle."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pymerkle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_manifests import merkle

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "rfc6962" / "tree8.json").read_text(encoding="utf-8")
)
LEAVES = [bytes.fromhex(leaf) for leaf in VECTORS["leaves"]]
ROOTS = [bytes.fromhex(root) for root in VECTORS["roots"]]

entries_lists = st.lists(st.binary(max_size=8), min_size=1, max_size=140)


class Tree:
    """All complete subtrees of some entries, stored by number as the log stores them."""

    def __init__(self, entries: list[bytes]) -> None:
        self.leaves = [merkle.leaf_hash(entry) for entry in entries]
        self.nodes: list[bytes] = []
        self.roots = [merkle.EMPTY_ROOT]
        frontier = merkle.Frontier()
        for leaf in self.leaves:
            self.nodes += frontier.append(leaf)
            self.roots.append(frontier.root())

    def read(self, level: int, position: int, /) -> bytes:
        return self.nodes[merkle.node_number(level, position)]


def by_definition(entries: list[bytes]) -> bytes:
    """MTH as RFC 9162 section 2.1.1 words it, slow and plain: an independent second opinion."""
    if not entries:
        return hashlib.sha256().digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = 1
    while 2 * k < len(entries):
        k *= 2
    return hashlib.sha256(b"\x01" + by_definition(entries[:k]) + by_definition(entries[k:])).digest()


def flipped(value: bytes, bit: int) -> bytes:
    changed = bytearray(value)
    changed[bit // 8 % len(value)] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("size", range(9))
def test_the_roots_of_the_reference_tree(size: int) -> None:
    tree = Tree(LEAVES)
    assert merkle.tree_root(tree.read, size) == tree.roots[size] == ROOTS[size]


def test_the_nodes_of_the_reference_tree() -> None:
    tree = Tree(LEAVES)
    assert [[tree.read(level, at).hex() for at in range(8 >> level)] for level in range(4)] == VECTORS[
        "nodes"
    ]


@pytest.mark.parametrize("case", VECTORS["inclusion"], ids=lambda case: f"{case['index']}-in-{case['size']}")
def test_the_inclusion_paths_of_the_reference_tree(case: dict[str, Any]) -> None:
    tree = Tree(LEAVES)
    index, size = case["index"], case["size"]
    path = merkle.inclusion_path(tree.read, index, size)
    assert [step.hex() for step in path] == case["path"]
    assert merkle.verify_inclusion_path(tree.leaves[index], index, size, path, ROOTS[size])


@pytest.mark.parametrize("case", VECTORS["consistency"], ids=lambda case: f"{case['old']}-to-{case['new']}")
def test_the_consistency_paths_of_the_reference_tree(case: dict[str, Any]) -> None:
    old, new = case["old"], case["new"]
    path = merkle.consistency_path(Tree(LEAVES).read, old, new)
    assert [step.hex() for step in path] == case["path"]
    assert merkle.verify_consistency_path(old, new, ROOTS[old], ROOTS[new], path)


def test_the_paths_of_the_example_in_the_rfc() -> None:
    """RFC 9162 section 2.1.5: seven leaves; a..f, j are leaf hashes, g, h, i pairs, k and l the halves."""
    read = Tree(LEAVES[:7]).read
    a, b, c, d, e, f, j = (read(0, at) for at in range(7))
    g, h, i = (read(1, at) for at in range(3))
    k, left = read(2, 0), merkle.node_hash(i, j)
    assert (g, h, i) == (merkle.node_hash(a, b), merkle.node_hash(c, d), merkle.node_hash(e, f))
    assert merkle.inclusion_path(read, 0, 7) == [b, h, left]
    assert merkle.inclusion_path(read, 3, 7) == [c, g, left]
    assert merkle.inclusion_path(read, 4, 7) == [f, j, k]
    assert merkle.inclusion_path(read, 6, 7) == [i, k]
    assert merkle.consistency_path(read, 3, 7) == [c, d, g, left]
    assert merkle.consistency_path(read, 4, 7) == [left]
    assert merkle.consistency_path(read, 6, 7) == [i, j, k]


def test_every_pair_of_sizes_up_to_forty() -> None:
    entries = [bytes([at]) for at in range(40)]
    tree = Tree(entries)
    for size in range(41):
        assert merkle.tree_root(tree.read, size) == by_definition(entries[:size])
        for index in range(size):
            path = merkle.inclusion_path(tree.read, index, size)
            assert merkle.verify_inclusion_path(tree.leaves[index], index, size, path, tree.roots[size])
        for old in range(size + 1):
            path = merkle.consistency_path(tree.read, old, size)
            assert merkle.verify_consistency_path(old, size, tree.roots[old], tree.roots[size], path)


@settings(deadline=None, max_examples=60)
@given(entries=entries_lists, data=st.data())
def test_pymerkle_agrees(entries: list[bytes], data: st.DataObject) -> None:
    tree = Tree(entries)
    other = pymerkle.InmemoryTree.init_from_entries(entries)
    size = data.draw(st.integers(1, len(entries)))
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(1, size))
    assert merkle.tree_root(tree.read, size) == other.get_root(size)
    theirs = other.prove_inclusion(index + 1, size)
    assert merkle.inclusion_path(tree.read, index, size) == theirs.path[1:]
    pymerkle.verify_inclusion(tree.leaves[index], tree.roots[size], theirs)
    pymerkle.verify_consistency(tree.roots[old], tree.roots[size], other.prove_consistency(old, size))


@settings(deadline=None)
@given(entries=entries_lists, data=st.data())
def test_a_changed_inclusion_proof_fails(entries: list[bytes], data: st.DataObject) -> None:
    tree, size = Tree(entries), len(entries)
    index = data.draw(st.integers(0, size - 1))
    leaf, root = tree.leaves[index], tree.roots[size]
    path = merkle.inclusion_path(tree.read, index, size)
    bit = data.draw(st.integers(0, 255))
    verify = merkle.verify_inclusion_path
    assert verify(leaf, index, size, path, root)
    assert not verify(flipped(leaf, bit), index, size, path, root)
    assert not verify(leaf, index, size, path, flipped(root, bit))
    assert not verify(leaf, index, size, [*path, root], root)
    assert not verify(leaf, size, size, path, root)
    assert not verify(leaf, -1, size, path, root)
    for at in range(len(path)):
        changed = [*path[:at], flipped(path[at], bit), *path[at + 1 :]]
        assert not verify(leaf, index, size, changed, root)
        assert not verify(leaf, index, size, [*path[:at], path[at][:-1], *path[at + 1 :]], root)
        assert not verify(leaf, index, size, path[:at] + path[at + 1 :], root)


@settings(deadline=None)
@given(entries=entries_lists.filter(lambda entries: len(entries) > 1), data=st.data())
def test_a_changed_consistency_proof_fails(entries: list[bytes], data: st.DataObject) -> None:
    tree, new = Tree(entries), len(entries)
    old = data.draw(st.integers(1, new - 1))
    old_root, new_root = tree.roots[old], tree.roots[new]
    path = merkle.consistency_path(tree.read, old, new)
    bit = data.draw(st.integers(0, 255))
    verify = merkle.verify_consistency_path
    assert verify(old, new, old_root, new_root, path)
    assert not verify(old, new, flipped(old_root, bit), new_root, path)
    assert not verify(old, new, old_root, flipped(new_root, bit), path)
    assert not verify(old, new, old_root, new_root, [*path, new_root])
    assert not verify(old, new, old_root, new_root, [])
    assert not verify(new, old, new_root, old_root, path)
    for at in range(len(path)):
        assert not verify(old, new, old_root, new_root, [*path[:at], flipped(path[at], bit), *path[at + 1 :]])
        assert not verify(old, new, old_root, new_root, path[:at] + path[at + 1 :])


def test_a_leaf_is_not_a_node() -> None:
    """Without the prefixes of section 2.1.1 an inner node could be passed off as an entry."""
    tree = Tree(LEAVES[:2])
    forged = merkle.leaf_hash(tree.leaves[0] + tree.leaves[1])
    assert not merkle.verify_inclusion_path(forged, 0, 1, [], tree.roots[2])


def test_the_cases_that_the_rfc_leaves_out() -> None:
    verify = merkle.verify_consistency_path
    assert verify(0, 5, merkle.EMPTY_ROOT, ROOTS[5], [])
    assert not verify(0, 5, ROOTS[1], ROOTS[5], [])
    assert not verify(0, 5, merkle.EMPTY_ROOT, ROOTS[5], [ROOTS[5]])
    assert verify(5, 5, ROOTS[5], ROOTS[5], [])
    assert not verify(5, 5, ROOTS[5], ROOTS[4], [])


@pytest.mark.parametrize("index", [-1, 8, 9])
def test_no_path_for_a_leaf_that_is_not_there(index: int) -> None:
    with pytest.raises(ValueError, match="not in a tree of 8"):
        merkle.inclusion_path(Tree(LEAVES).read, index, 8)


@pytest.mark.parametrize(("old", "new"), [(-1, 8), (8, 7)])
def test_no_path_between_sizes_that_do_not_follow(old: int, new: int) -> None:
    with pytest.raises(ValueError, match="not a prefix"):
        merkle.consistency_path(Tree(LEAVES).read, old, new)


def test_a_frontier_wants_the_peaks_of_its_size() -> None:
    with pytest.raises(ValueError, match="2 peaks, not 1"):
        merkle.Frontier(3, [ROOTS[2]])


@given(st.integers(0, 1 << 40))
def test_peaks_cover_the_tree_left_to_right(size: int) -> None:
    end = 0
    for level, position in merkle.peaks(size):
        assert position << level == end
        end = (position + 1) << level
    assert end == size


def test_nodes_are_numbered_without_gaps() -> None:
    numbers = [merkle.node_number(level, at) for level in range(7) for at in range(64 >> level)]
    assert sorted(numbers) == list(range(merkle.node_count(64)))
