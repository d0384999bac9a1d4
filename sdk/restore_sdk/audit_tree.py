"""Audit of a folder tree: every bundle verified, in processes, and what only the whole shows.

Orphans are results, maps and proofs that no manifest speaks for; duplicates are bundles of the same source
or the same result; drift is a change of what the manifests record over time. One broken bundle, or one that
takes its process down, never stops the audit.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

from restore_manifests.errors import RestoreError, UsageError
from restore_manifests.report import Check, Verdict
from restore_sdk.audit_drift import Facts, Series, drift_of, facts_of
from restore_sdk.output import BUNDLE_SUFFIXES, MANIFEST_SUFFIX
from restore_sdk.verification import beside, load_log_key, load_trust, verify

__all__ = ["AuditItem", "AuditReport", "Duplicate", "Progress", "audit"]

Progress = Callable[[str, float], None]
"""Called with what was just finished and the share that is done, 0 to 1."""

_PARTIAL = ".restore-partial-"
_RANK = (Verdict.FAIL, Verdict.UNABLE, Verdict.PASS)


@dataclass(frozen=True)
class AuditItem:
    """One bundle, or one file that belongs to none.

    `path` is relative to the audited folder, with forward slashes: that of the manifest for a bundle.
    `thumbnails` maps "before", "after", "edit", "confidence" to data URIs, as far as they were asked for and
    could be made.
    """

    kind: Literal["bundle", "orphan"]
    path: str
    verdict: Verdict
    message: str
    checks: tuple[Check, ...] = ()
    facts: Facts | None = None
    thumbnails: dict[str, str] = field(default_factory=dict, repr=False)

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

    @property
    def verdict(self) -> Verdict:
        """The worst of the items. A tree without any decides nothing and is `unable`."""
        found = {item.verdict for item in self.items}
        return next((verdict for verdict in _RANK if verdict in found), Verdict.UNABLE)

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 3 unable."""
        return {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.UNABLE: 3}[self.verdict]

    @property
    def counts(self) -> dict[str, int]:
        """Bundles by verdict, orphans, groups of duplicates, abstentions, series that drifted."""
        bundles = [item for item in self.items if item.kind == "bundle"]
        verdicts = Counter(item.verdict for item in bundles)
        return {
            "bundles": len(bundles),
            **{verdict.value: verdicts[verdict] for verdict in (Verdict.PASS, Verdict.FAIL, Verdict.UNABLE)},
            "orphans": len(self.items) - len(bundles),
            "duplicates": len(self.duplicates),
            "abstained": sum(item.facts.abstained for item in bundles if item.facts),
            "drifted": sum(series.drifted for series in self.drift),
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
        return f"{counts['bundles']} bundle(s): {', '.join(said) or 'none'}{orphans}."

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
            "drift": [series.to_json() for series in self.drift],
        }


def audit(
    directory: Path,
    *,
    jobs: int | None = None,
    recompute: bool = True,
    trust: Path | None = None,
    log_key: str | Path | None = None,
    thumbnails: bool = False,
    progress: Progress | None = None,
) -> AuditReport:
    """Verify every bundle below `directory` in `jobs` processes (default: one per processor).

    `trust` and `log_key` are as for `verify`; `thumbnails` adds small pictures for a report. Worker
    processes are spawned: a script calls this below `if __name__ == "__main__":`. Raises UsageError if the
    folder cannot be listed or an option names nothing; whatever is wrong with a bundle is in the report.
    """
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a folder.", hint="Name the folder that holds the bundles.")
    if trust is not None:
        load_trust(trust)
    key = None if log_key is None else load_log_key(log_key)
    files = sorted(_files(directory))
    manifests = [path for path in files if path.name.endswith(MANIFEST_SUFFIX)]
    examine = partial(
        _examine, root=directory, recompute=recompute, trust=trust, log_key=key, pictures=thumbnails
    )
    bundles = []
    for item in _in_processes(examine, manifests, _jobs(jobs), directory):
        bundles.append(item)
        if progress:
            progress(item.path, len(bundles) / len(manifests))
    claimed = {path for manifest in manifests for path in _claimed(manifest)}
    orphans = [_orphan(path, directory) for path in files if path not in claimed]
    return AuditReport(
        directory=str(directory),
        items=tuple(sorted((*bundles, *filter(None, orphans)), key=lambda item: (item.path, item.kind))),
        duplicates=tuple(_duplicates(bundles)),
        drift=tuple(drift_of([item.facts for item in bundles if item.facts])),
    )


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


def _claimed(manifest: Path) -> Iterator[Path]:
    stem = manifest.name.removesuffix(MANIFEST_SUFFIX)
    yield from (manifest.with_name(stem + suffix) for suffix in BUNDLE_SUFFIXES)
    if facts := facts_of(manifest):  # files that were renamed together with what the record calls them
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


def _examine(
    manifest: Path, *, root: Path, recompute: bool, trust: Path | None, log_key: str | None, pictures: bool
) -> AuditItem:
    """One bundle, in a worker process. Whatever goes wrong becomes its verdict."""
    facts = facts_of(manifest)
    checks: tuple[Check, ...] = ()
    thumbnails: dict[str, str] = {}
    try:
        name = facts.result if facts else manifest.name.removesuffix(MANIFEST_SUFFIX) + ".restored.png"
        result = beside(manifest.parent, name)
        if result is None:
            raise UsageError(f"The result {name!r} is not beside its manifest.")
        report = verify(result, manifest, trust=trust, recompute=recompute, log_key=log_key)
        checks, verdict = report.checks, report.verdict
        worst = next((check for check in checks if check.verdict is verdict), None)
        message = (
            "Every check was made and holds." if verdict is Verdict.PASS or worst is None else worst.message
        )
        if pictures:
            from restore_sdk.audit_thumbnails import thumbnails_of  # noqa: PLC0415

            thumbnails = thumbnails_of(manifest.parent, result, facts)
    except RestoreError as error:
        verdict, message = Verdict.UNABLE, error.message
    except Exception as error:  # the last line of defence: the other bundles are still to be examined
        verdict, message = Verdict.UNABLE, f"The audit of this bundle broke: {type(error).__name__}: {error}."
    path = manifest.relative_to(root).as_posix()
    return AuditItem("bundle", path, verdict, message, checks, facts, thumbnails)


def _jobs(jobs: int | None) -> int:
    if jobs is not None and jobs < 1:
        raise UsageError("An audit needs at least one process.", hint="Leave out --jobs, or give 1 or more.")
    return min(jobs or os.cpu_count() or 1, 60)  # Windows cannot wait for more than 61 processes


def _in_processes(
    examine: Callable[[Path], AuditItem], manifests: list[Path], jobs: int, root: Path
) -> Iterator[AuditItem]:
    """Items in the order in which they are done.

    When a worker dies the executor cannot say over which bundle, and gives up all that it holds. So no more
    bundles are handed out than there are workers, and those are then tried again, each in a process alone:
    whichever dies again is the cause.
    """
    waiting = deque(manifests)
    while waiting:
        suspects: list[Path] = []
        with _pool(min(jobs, len(waiting))) as pool:
            running: dict[Future[AuditItem], Path] = {}
            while (waiting or running) and not suspects:
                while waiting and len(running) < jobs:
                    path = waiting.popleft()
                    with _undisturbed():
                        running[pool.submit(examine, path)] = path
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    path = running.pop(future)
                    try:
                        yield future.result()
                    except BrokenProcessPool:
                        suspects.append(path)
            suspects.extend(running.values())
        for path in suspects:
            with _pool(1) as pool:
                try:
                    with _undisturbed():
                        again = pool.submit(examine, path)
                    yield again.result()
                except BrokenProcessPool:
                    message = "The process that examined this bundle was killed, for lack of memory perhaps."
                    yield AuditItem("bundle", path.relative_to(root).as_posix(), Verdict.UNABLE, message)


def _pool(workers: int) -> ProcessPoolExecutor:
    threads = max(1, (os.cpu_count() or 1) // workers)
    return ProcessPoolExecutor(workers, get_context("spawn"), _prepare, (threads,))


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold Ctrl-C back, here and in workers that start meanwhile: they would show where it caught them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare(threads: int) -> None:
    """In a worker, before anything heavy is imported."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches every process: end without a traceback
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))


def _duplicates(bundles: list[AuditItem]) -> Iterator[Duplicate]:
    kinds: tuple[Literal["source", "result"], ...] = ("source", "result")
    for kind in kinds:
        groups: dict[str, list[str]] = {}
        for item in bundles:
            if item.facts:
                digest = item.facts.source_sha256 if kind == "source" else item.facts.result_pixels_sha256
                groups.setdefault(digest, []).append(item.path)
        yield from (Duplicate(kind, d, tuple(sorted(paths))) for d, paths in groups.items() if len(paths) > 1)
