"""What an audit found, as values: one item for each bundle or stray file, and what only the whole shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from restore_manifests.report import Check, Verdict
from restore_sdk.audit_drift import Facts, Series
from restore_sdk.audit_links import Link

__all__ = ["AuditItem", "AuditReport", "Duplicate"]

_RANK = (Verdict.FAIL, Verdict.UNABLE, Verdict.PASS)


@dataclass(frozen=True)
class AuditItem:
    """One bundle, or one file that belongs to none.

    `path` is relative to the audited folder, with forward slashes: that of the manifest for a bundle.
    `thumbnails` maps "before", "after", "edit", "confidence" to data URIs, as far as they were asked for and
    could be made. `examined` is set (RFC 3339, UTC) where the item was taken over from an earlier audit.
    """

    kind: Literal["bundle", "orphan"]
    path: str
    verdict: Verdict
    message: str
    checks: tuple[Check, ...] = ()
    facts: Facts | None = None
    thumbnails: dict[str, str] = field(default_factory=dict, repr=False)
    examined: str | None = None

    @property
    def source_missing(self) -> bool:
        """Whether the source of a bundle was not found."""
        return any(check.id == "source.file" and check.code == "source-missing" for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """The item as `restore audit --json` prints it."""
        checks = [
            {"id": c.id, "verdict": c.verdict.value, "code": c.code, "message": c.message}
            for c in self.checks
        ]
        return {
            "kind": self.kind,
            "path": self.path,
            "verdict": self.verdict.value,
            "message": self.message,
            "checks": checks,
            **({"record": self.facts.to_json()} if self.facts else {}),
            **({"examined": self.examined} if self.examined else {}),
        }


@dataclass(frozen=True)
class Duplicate:
    """Bundles that share a source file or result pixels, which has innocent reasons as well."""

    kind: Literal["source", "result"]
    sha256: str
    paths: tuple[str, ...]


@dataclass(frozen=True)
class AuditReport:
    """What an audit found, items in the order of their paths."""

    directory: str
    items: tuple[AuditItem, ...]
    duplicates: tuple[Duplicate, ...]
    drift: tuple[Series, ...]
    links: tuple[Link, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst of the items; a broken chain is at best `unable`.

        A tree without any item decides nothing and is `unable`.
        """
        found = {item.verdict for item in self.items} | {Verdict.UNABLE for link in self.links if link.broken}
        return next((verdict for verdict in _RANK if verdict in found), Verdict.UNABLE)

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 3 unable."""
        return {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.UNABLE: 3}[self.verdict]

    @property
    def counts(self) -> dict[str, int]:
        """Bundles by verdict, orphans, duplicates, missing sources, broken chains, abstentions, drift."""
        bundles = [item for item in self.items if item.kind == "bundle"]
        verdicts = Counter(item.verdict for item in bundles)
        return {
            "bundles": len(bundles),
            **{verdict.value: verdicts[verdict] for verdict in (Verdict.PASS, Verdict.FAIL, Verdict.UNABLE)},
            "orphans": len(self.items) - len(bundles),
            "duplicates": len(self.duplicates),
            "sources_missing": sum(item.source_missing for item in bundles),
            "chains_broken": sum(link.broken for link in self.links),
            "abstained": sum(item.facts.abstained for item in bundles if item.facts),
            "drifted": sum(series.drifted for series in self.drift),
            "taken_over": sum(item.examined is not None for item in bundles),
        }

    @property
    def summary(self) -> str:
        """The verdict in one sentence."""
        counts = self.counts
        if not self.items:
            return "There is no bundle in this folder."
        said = [
            f"{counts[name]} {word}"
            for name, word in (("pass", "pass"), ("fail", "fail"), ("unable", "undecided"))
            if counts[name]
        ]
        orphans = f"; {counts['orphans']} file(s) without a manifest" if counts["orphans"] else ""
        chains = f"; {counts['chains_broken']} broken chain(s)" if counts["chains_broken"] else ""
        return f"{counts['bundles']} bundle(s): {', '.join(said) or 'none'}{orphans}{chains}."

    def to_json(self) -> dict[str, Any]:
        """The document that `restore audit --json` prints."""
        return {
            "verdict": self.verdict.value,
            "counts": self.counts,
            "items": [item.to_json() for item in self.items],
            "duplicates": [
                {"kind": group.kind, "sha256": group.sha256, "paths": list(group.paths)}
                for group in self.duplicates
            ],
            "chains": [link.to_json() for link in self.links],
            "drift": [series.to_json() for series in self.drift],
        }
