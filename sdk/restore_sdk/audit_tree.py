"""Audit of a folder tree: every bundle verified, in processes, and what only the whole shows.

Orphans are results, maps and proofs that no manifest speaks for; duplicates are bundles of the same source
or the same result; chains are restorations of restorations; drift is a change of what the manifests record
over time. One broken bundle, or one that takes its process down, never stops the audit.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal

from restore_manifests.errors import UsageError
from restore_manifests.report import Verdict
from restore_manifests.revocation import parse_revocations
from restore_sdk.audit_bundle import Examined, Options, Task, examine, lost
from restore_sdk.audit_drift import Facts, Reference, drift_of, facts_of, prepare
from restore_sdk.audit_items import AuditItem, AuditReport, Duplicate
from restore_sdk.audit_links import Joint, links_of
from restore_sdk.audit_state import AuditState
from restore_sdk.audit_workers import Runner, in_processes, job_count
from restore_sdk.bundle_names import BUNDLE_SUFFIXES, MANIFEST_SUFFIX
from restore_sdk.verification import load_log_key, load_trust, read_file

__all__ = ["AuditItem", "AuditReport", "Duplicate", "Progress", "Reference", "audit"]

Progress = Callable[[str, float], None]
"""Called with what was just finished and the share that is done, 0 to 1."""

_PARTIAL = ".restore-partial-"


def audit(
    directory: Path,
    *,
    jobs: int | None = None,
    recompute: bool = True,
    pixels: bool = False,
    trust: Path | None = None,
    tsa_trust: Path | None = None,
    revoked: Path | None = None,
    log_key: str | Path | None = None,
    public_log_keys: Sequence[str | Path] = (),
    thumbnails: bool = False,
    state: Path | None = None,
    reference: Reference | None = None,
    runner: Runner | None = None,
    cluster: str | None = None,
    progress: Progress | None = None,
) -> AuditReport:
    """Verify every bundle below `directory` in `jobs` processes (default: one per processor).

    `recompute`, `pixels`, `trust`, `tsa_trust`, `revoked` and the keys are as for `verify`; `thumbnails` adds
    small pictures for a report. `state` is a file that keeps findings: a bundle whose bytes are all as they
    were is taken over from it, and an audit that was interrupted goes on. `reference` is the period that the
    other records are compared with for drift; without one, the later half is compared with the earlier.
    `runner` replaces the processes of this machine, `cluster` (the address of a Ray cluster) brings its own.
    Worker processes are spawned: a script calls this below `if __name__ == "__main__":`.

    Raises UsageError if the folder cannot be listed or an option names nothing, KeyStoreError if `revoked` is
    no list, StorageError if `state` cannot be written; whatever is wrong with a bundle is in the report.
    """
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a folder.", hint="Name the folder that holds the bundles.")
    if cluster is not None:
        if jobs is not None or runner is not None:
            raise UsageError("A cluster has its own processes.", hint="Leave out --jobs, or --cluster.")
        directory = directory.resolve()  # other machines have other working folders
        trust, tsa_trust, revoked = (path and path.resolve() for path in (trust, tsa_trust, revoked))
    for roots in (trust, tsa_trust):
        if roots is not None:
            load_trust(roots)
    if revoked is not None:
        parse_revocations(read_file(revoked))
    options = Options(
        root=directory,
        recompute=recompute,
        pixels=pixels,
        trust=trust,
        tsa_trust=tsa_trust,
        revoked=revoked,
        log_key=None if log_key is None else load_log_key(log_key),
        public_log_keys=tuple(load_log_key(key) for key in public_log_keys),
        thumbnails=thumbnails,
        remembered=state is not None,
    )
    run = runner or partial(in_processes, jobs=job_count(jobs))
    files = sorted(_files(directory))
    manifests = [path for path in files if path.name.endswith(MANIFEST_SUFFIX)]
    bundles: list[AuditItem] = []
    with contextlib.ExitStack() as stack:
        if cluster is not None:
            from restore_sdk.audit_cluster import on_cluster  # noqa: PLC0415

            run = stack.enter_context(on_cluster(cluster, options))
        kept = None if state is None else stack.enter_context(AuditState(state, directory))
        examined = stack.enter_context(contextlib.closing(_examined(manifests, options, run, kept)))
        for item in examined:  # closed at once where this stops, and its processes with it
            bundles.append(item)
            if len(bundles) == 1:  # all processes are under way now, and this one has nothing to do
                prepare(len(manifests))
            if progress:
                progress(item.path, len(bundles) / len(manifests))
    known = {item.path: item.facts for item in bundles}
    claimed = {
        path
        for manifest in manifests
        for path in _claimed(manifest, known.get(manifest.relative_to(directory).as_posix()))
    }
    orphans = [_orphan(path, directory) for path in files if path not in claimed]
    return AuditReport(
        directory=str(directory),
        items=tuple(sorted((*bundles, *filter(None, orphans)), key=lambda item: (item.path, item.kind))),
        duplicates=tuple(_duplicates(bundles)),
        drift=tuple(drift_of([_followed(item, item.facts) for item in bundles if item.facts], reference)),
        links=tuple(links_of([Joint(one.path, one.verdict, one.facts) for one in bundles if one.facts])),
    )


def _examined(
    manifests: list[Path], options: Options, run: Runner, kept: AuditState | None
) -> Generator[AuditItem, None, None]:
    """Items in the order in which they are done; what is fresh is kept at once."""
    known = kept.fingerprints(datetime.now(UTC)) if kept else {}
    tasks = [Task(path, known.get(path.relative_to(options.root).as_posix())) for path in manifests]
    work = partial(examine, options=options, digest=options.digest() if kept else "")
    gone = partial(lost, root=options.root)
    again: list[Task] = []
    for found in run(work, tasks, gone):
        item = _settled(found, kept)
        if item is None:  # what was kept about it cannot be read any more
            again.append(Task(options.root / found.path))
        else:
            yield item
    for found in run(work, again, gone) if again else ():
        item = _settled(found, kept)
        if item is not None:
            yield item


def _settled(found: Examined, kept: AuditState | None) -> AuditItem | None:
    if kept is None or found.item is not None:
        if kept is not None:
            kept.keep(found, datetime.now(UTC))
        return found.item
    return kept.item(found.path)


def _followed(item: AuditItem, facts: Facts) -> Facts:
    """The figures whose distribution is followed: what the manifest records, and what the audit found."""
    verdicts = {f"verdict: {v.value}": float(item.verdict is v) for v in (Verdict.FAIL, Verdict.UNABLE)}
    return replace(facts, values={**facts.values, **verdicts})


def _files(directory: Path) -> Iterator[Path]:
    """All that could belong to a bundle. Links to folders are not followed, so no loop can catch us."""

    def refuse(error: OSError) -> None:
        if Path(error.filename) == directory:
            raise UsageError(
                f"{directory} cannot be listed: {error.strerror}.", hint="Check its permissions."
            )

    for folder, folders, names in os.walk(directory, onerror=refuse):
        for name in [name for name in folders if _PARTIAL in name]:
            folders.remove(name)
            yield Path(folder, name)
        yield from (Path(folder, name) for name in names if name.endswith(BUNDLE_SUFFIXES))


def _claimed(manifest: Path, facts: Facts | None) -> Iterator[Path]:
    stem = manifest.name.removesuffix(MANIFEST_SUFFIX)
    yield from (manifest.with_name(stem + suffix) for suffix in BUNDLE_SUFFIXES)
    facts = facts or facts_of(manifest)  # once more where the bundle took its process down
    if facts:  # files that were renamed together with what the record calls them
        yield from (manifest.with_name(name) for name in facts.names)


def _orphan(path: Path, root: Path) -> AuditItem | None:
    name = path.relative_to(root).as_posix()
    if _PARTIAL in path.name:
        message = "An unfinished write of a run that was killed, or that is writing now."
    elif path.name.endswith(".restored.png"):
        message = "A result without a manifest: nothing says where it comes from."
    else:
        message = "A part of a bundle whose manifest is missing."
    return AuditItem("orphan", name, Verdict.UNABLE, message)


def _duplicates(bundles: list[AuditItem]) -> Iterator[Duplicate]:
    kinds: tuple[Literal["source", "result"], ...] = ("source", "result")
    for kind in kinds:
        groups: dict[str, list[str]] = {}
        for item in bundles:
            if item.facts:
                digest = item.facts.source_sha256 if kind == "source" else item.facts.result_pixels_sha256
                groups.setdefault(digest, []).append(item.path)
        yield from (Duplicate(kind, d, tuple(sorted(paths))) for d, paths in groups.items() if len(paths) > 1)
