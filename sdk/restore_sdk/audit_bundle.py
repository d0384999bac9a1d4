"""The examination of one bundle in an audit, in whatever process that happens: a task in, a finding out."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from restore_manifests.canonical import MAX_JSON_BYTES, canonical_bytes, sha256_hex
from restore_manifests.errors import RestoreError, UsageError
from restore_manifests.report import Check, Verdict
from restore_sdk.audit_drift import Facts, facts_of
from restore_sdk.audit_items import AuditItem
from restore_sdk.bundle_names import MANIFEST_SUFFIX
from restore_sdk.stored_file import read_file, sha256_of_file
from restore_sdk.verification import beside, verify

__all__ = ["Examined", "Options", "Task", "examine", "lost"]

_DEPEND_ON_TIME = ("clock", "timestamp-clock", "check-broke")
"""Codes of checks that may come out differently tomorrow: such an item is not taken over."""


@dataclass(frozen=True)
class Options:
    """What all bundles of an audit are examined with; members as for `verify`."""

    root: Path
    recompute: bool = True
    pixels: bool = False
    trust: Path | None = None
    tsa_trust: Path | None = None
    revoked: Path | None = None
    log_key: str | None = None
    public_log_keys: tuple[str, ...] = ()
    thumbnails: bool = False
    remembered: bool = False
    """Whether fingerprints are wanted, so that findings can be kept for a later audit."""
    run: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Of this audit: within it, the weights installed here are hashed once in each process."""

    def digest(self) -> str:
        """SHA-256 over everything but the bundle that a finding depends on, the programs included.

        Raises UsageError if a file named cannot be read.
        """
        named = {"trust": self.trust, "tsa_trust": self.tsa_trust, "revoked": self.revoked}
        packages = ("forensic-restore", "c2pa-python", "cryptography", "numpy", "pillow", "tifffile", "torch")
        return sha256_hex(
            canonical_bytes(
                {
                    "files": {name: path and sha256_hex(read_file(path)) for name, path in named.items()},
                    "log_keys": [self.log_key, *self.public_log_keys],
                    "pixels": self.pixels,
                    "recompute": self.recompute,
                    "thumbnails": self.thumbnails,
                    "versions": {name: _version(name) for name in packages},
                }
            )
        )


@dataclass(frozen=True)
class Task:
    """A manifest to examine. `known` is the fingerprint of what an earlier audit found, if there is any."""

    manifest: Path
    known: str | None = None


@dataclass(frozen=True)
class Examined:
    """A finding about the bundle `path`; `item` is None where the fingerprint is the known one.

    `fingerprint` is None where the finding must not be kept; it may be until `good_until` (aware).
    """

    path: str
    item: AuditItem | None
    fingerprint: str | None = None
    good_until: datetime | None = None


def examine(task: Task, *, options: Options, digest: str) -> Examined:
    """One bundle. Whatever goes wrong becomes its verdict. `digest` is that of `options`."""
    manifest = task.manifest
    path = manifest.relative_to(options.root).as_posix()
    facts = facts_of(manifest)
    before = _fingerprint(manifest, facts, options, digest) if options.remembered else None
    if before is not None and before == task.known:
        return Examined(path, None, before)
    item = _item(manifest, path, facts, options)
    again = _fingerprint(manifest, facts, options, digest) if before else None
    stays = item.checks and not any(check.code in _DEPEND_ON_TIME for check in item.checks)
    until = _good_until(manifest) if options.remembered else None
    return Examined(path, item, before if stays and before == again else None, until)


def lost(task: Task, *, root: Path) -> Examined:
    """The finding about a bundle whose worker died over it twice."""
    message = "The process that examined this bundle was killed, for lack of memory perhaps."
    path = task.manifest.relative_to(root).as_posix()
    return Examined(path, AuditItem("bundle", path, Verdict.UNABLE, message))


def _item(manifest: Path, path: str, facts: Facts | None, options: Options) -> AuditItem:
    checks: tuple[Check, ...] = ()
    thumbnails: dict[str, str] = {}
    try:
        result = _result(manifest, facts)
        report = verify(
            result,
            manifest,
            trust=options.trust,
            recompute=options.recompute,
            pixels=options.pixels,
            log_key=options.log_key,
            public_log_keys=options.public_log_keys,
            revoked=options.revoked,
            tsa_trust=options.tsa_trust,
            weights=partial(_weights, options.run),
        )
        checks, verdict = report.checks, report.verdict
        worst = next((check for check in checks if check.verdict is verdict), None)
        message = report.praise if verdict is Verdict.PASS or worst is None else worst.message
        if options.thumbnails:
            from restore_sdk.audit_thumbnails import thumbnails_of  # noqa: PLC0415

            thumbnails = thumbnails_of(manifest.parent, result, facts)
    except RestoreError as error:
        verdict, message = Verdict.UNABLE, error.message
    except Exception as error:  # the last line of defence: the other bundles are still to be examined
        verdict, message = Verdict.UNABLE, f"The audit of this bundle broke: {type(error).__name__}: {error}."
    return AuditItem("bundle", path, verdict, message, checks, facts, thumbnails)


def _result(manifest: Path, facts: Facts | None) -> Path:
    name = facts.result if facts else manifest.name.removesuffix(MANIFEST_SUFFIX) + ".restored.png"
    result = beside(manifest.parent, name)
    if result is None:
        raise UsageError(f"The result {name!r} is not beside its manifest.")
    return result


def _fingerprint(manifest: Path, facts: Facts | None, options: Options, digest: str) -> str | None:
    """SHA-256 over the hashes of all bytes that the finding comes from; None if the bundle is not whole.

    Nothing is believed for its time stamp or its length: every file is read.
    """
    if facts is None:
        return None
    try:
        names = {"result": facts.result, "source": facts.source}
        names |= {"edit": facts.edit or "", "confidence": facts.confidence or ""}
        files = {"manifest": sha256_of_file(manifest, max_bytes=MAX_JSON_BYTES)}
        for role, name in names.items():
            path = beside(manifest.parent, name) if name else None
            files[role] = sha256_of_file(path) if path else ""
        weights = {model: _weights(options.run, model) for model in facts.models}
        return sha256_hex(canonical_bytes({"files": files, "options": digest, "weights": weights}))
    except RestoreError:
        return None


@lru_cache(maxsize=256)
def _weights(run: str, model: str) -> str | None:  # noqa: ARG001 - another audit may find other files
    from restore_sdk.models import weights_sha256  # noqa: PLC0415

    return weights_sha256(model)


def _good_until(manifest: Path) -> datetime | None:
    """When the next certificate of the signer expires, after which the verdict may be another one."""
    from restore_manifests.schema import parse_manifest  # noqa: PLC0415
    from restore_manifests.signing import load_certificates  # noqa: PLC0415

    try:
        signatures = parse_manifest(read_file(manifest, max_bytes=MAX_JSON_BYTES)).signatures
        ends = [one.not_valid_after_utc for signed in signatures for one in load_certificates(signed)]
    except (RestoreError, ValueError):
        ends = []
    now = datetime.now(UTC)
    return min((end for end in ends if end > now), default=now + timedelta(days=366))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
