"""Chains of restorations in a tree: a bundle whose source is itself the result of a bundle.

A record says by its hash which file it was made from. Here the bundles of one tree are joined by that hash,
so that a restoration is not believed further than the restoration that it began with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from restore_manifests.report import Verdict
from restore_sdk.audit_drift import Facts

__all__ = ["Joint", "Link", "links_of"]

_RESULT_SUFFIX = ".restored.png"


@dataclass(frozen=True)
class Joint:
    """What joining needs of one bundle: path of its manifest, verdict, and what the manifest says."""

    path: str
    verdict: Verdict
    facts: Facts


@dataclass(frozen=True)
class Link:
    """A bundle that began with a restoration. `parent` is the path of that one's manifest, if it is known."""

    path: str
    parent: str | None
    broken: bool
    message: str

    def to_json(self) -> dict[str, Any]:
        """The link as `restore audit --json` prints it."""
        return {"path": self.path, "parent": self.parent, "broken": self.broken, "message": self.message}


def links_of(bundles: Sequence[Joint]) -> list[Link]:
    """One link for each bundle whose source is, or is named like, the result of a restoration."""
    by_hash: dict[str, Joint] = {}
    by_name: dict[tuple[str, str], Joint] = {}
    for joint in sorted(bundles, key=lambda joint: joint.path, reverse=True):
        if joint.facts.result_sha256:
            by_hash[joint.facts.result_sha256] = joint
        by_name[_folder(joint.path), joint.facts.result] = joint
    links = (_link(joint, by_hash, by_name) for joint in sorted(bundles, key=lambda joint: joint.path))
    return [link for link in links if link is not None]


def _link(
    joint: Joint, by_hash: Mapping[str, Joint], by_name: Mapping[tuple[str, str], Joint]
) -> Link | None:
    facts = joint.facts
    parent = by_hash.get(facts.source_sha256)
    if parent is not None:
        if failed := _failed_above(joint, by_hash):
            message = f"It goes back to the restoration {failed}, which does not verify."
            return Link(joint.path, parent.path, broken=True, message=message)
        message = f"Its source is the result of {parent.path}."
        return Link(joint.path, parent.path, broken=False, message=message)
    namesake = by_name.get((_folder(joint.path), facts.source))
    if namesake is not None:
        message = f"Its source has the name of the result of {namesake.path}, and is another file."
        return Link(joint.path, namesake.path, broken=True, message=message)
    if facts.source.endswith(_RESULT_SUFFIX):
        message = "Its source is named like a restoration, and no bundle here is that restoration."
        return Link(joint.path, None, broken=True, message=message)
    return None


def _failed_above(joint: Joint, by_hash: Mapping[str, Joint]) -> str | None:
    """The nearest ancestor that fails. Manifests are strangers' words: they may name each other in a ring."""
    seen = {joint.path}
    parent = by_hash.get(joint.facts.source_sha256)
    while parent is not None and parent.path not in seen:
        if parent.verdict is Verdict.FAIL:
            return parent.path
        seen.add(parent.path)
        parent = by_hash.get(parent.facts.source_sha256)
    return None


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
