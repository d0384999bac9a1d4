"""The checks of who vouches for a record: `signature`, `signer.trust`, `timestamp`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from restore_manifests.canonical import sha256_hex
from restore_manifests.errors import ManifestError
from restore_manifests.record import Record
from restore_manifests.report import Check, failed, passed, unable
from restore_manifests.revocation import revoked_since
from restore_manifests.schema import files_bytes
from restore_manifests.signing import chain_problem, common_name, leads_to_root, signature_problem
from restore_manifests.timestamp import UNDECIDED, Stamp

__all__ = ["signature", "signer_trust", "timestamp"]

_CLOCK_SKEW = timedelta(minutes=10)


def signature(record: Record) -> Iterable[Check]:
    name, manifest = "signature", record.manifest
    scopes = sorted(signature.scope for signature in manifest.signatures)
    if scopes != ["body", "files"]:
        yield failed(name, "signature-count", "The manifest must be signed once, and the result's seal once.")
        return
    if len({tuple(signature.certificates) for signature in manifest.signatures}) != 1:
        yield failed(
            name, "signature-signers", "The record and the result's seal were signed by two signers."
        )
        return
    try:
        leaf = record.chain[0]
    except ManifestError as error:
        yield failed(name, "certificate-form", error.message)
        return
    parts = {"body": record.signed, "files": files_bytes(manifest.files)}
    for signature in manifest.signatures:
        if problem := signature_problem(signature, parts[signature.scope], leaf):
            yield failed(name, problem.code, problem.message)
            return
    if manifest.files.body_sha256 != sha256_hex(record.signed):
        yield failed(name, "seal-mismatch", "The seal of the result file belongs to another record.")
    elif manifest.files.result.name != record.body.result.name:
        yield failed(name, "seal-mismatch", "The seal and the record give the result different names.")
    elif problem := chain_problem(record.chain, record.created):
        yield failed(name, problem.code, problem.message)
    else:
        yield passed(
            name,
            f"The record and the result's seal were signed by {common_name(leaf)} and not changed since.",
        )


def signer_trust(record: Record) -> Iterable[Check]:
    name, roots = "signer.trust", record.roots
    try:
        signer = common_name(record.chain[0])
    except ManifestError as error:
        yield failed(name, "certificate-form", error.message)
        return
    revoked = _revoked(record)
    if revoked and record.created >= revoked:
        yield failed(
            name,
            "certificate-revoked",
            f"The certificate of {signer} was revoked on {revoked:%Y-%m-%d}, before this record was signed.",
        )
        return
    if roots is None:
        yield unable(
            name,
            "root-missing",
            f"The signer calls itself {signer}; no trust root was given to confirm it.",
        )
        return
    if not roots:
        yield unable(name, "root-unreadable", "The trust roots given cannot be read as PEM certificates.")
        return
    credential = set(record.claim.credential_failures)
    expired = record.inputs.now > record.chain[0].not_valid_after_utc
    if expired:  # the library then also calls the claim's signer untrusted; that is said below
        credential -= {
            "signingCredential.expired",
            "signingCredential.untrusted",
            "claimSignature.outsideValidity",
        }
    if not leads_to_root(record.chain, roots, record.created):
        yield failed(
            name,
            "root-other",
            f"The signer {signer} is not vouched for by any trust root that was given.",
        )
    elif credential:
        codes = ", ".join(sorted(credential))
        yield failed(name, "claim-signer", f"The signer of the C2PA claim is not accepted ({codes}).")
    elif revoked:
        yield unable(
            name,
            "certificate-revoked-since",
            f"The certificate of {signer} was revoked on {revoked:%Y-%m-%d}. The record says that it is "
            "older, and no independent timestamp shows it.",
        )
    elif expired and _proven_in_time(record):
        yield passed(
            name,
            f"The signer {signer} is vouched for by a trust root that was given; the certificate has expired "
            f"since, and a timestamp shows that the signature existed by {record.signed_by:%Y-%m-%d}.",
        )
    elif expired:
        yield unable(
            name,
            "certificate-expired",
            f"The certificate of {signer} was valid on {record.created:%Y-%m-%d} but has expired since, "
            "and no independent timestamp shows that the signature is older.",
        )
    elif record.created > record.inputs.now + _CLOCK_SKEW:
        yield unable(
            name,
            "clock",
            f"The record says {record.body.created}, which is later than this machine's clock.",
        )
    else:
        yield passed(name, f"The signer {signer} is vouched for by a trust root that was given.")


def _revoked(record: Record) -> datetime | None:
    """Since when the signer is revoked; None too where a trusted timestamp shows that it signed before."""
    since = revoked_since(record.chain, record.inputs.revocations)
    earlier = since and record.signed_by and record.signed_by < since
    return None if earlier and _proven_in_time(record) else since


def _proven_in_time(record: Record) -> bool:
    """Whether a trusted timestamp shows that the signatures existed while their whole chain was valid."""
    at, roots = record.signed_by, record.roots or ()
    return (
        at is not None and chain_problem(record.chain, at) is None and leads_to_root(record.chain, roots, at)
    )


def timestamp(record: Record) -> Iterable[Check]:
    name = "timestamp"
    stamps = [stamp for _, stamp in record.stamps]
    good = [stamp for stamp in stamps if isinstance(stamp, Stamp)]
    problems = [stamp for stamp in stamps if not isinstance(stamp, Stamp)]
    broken = [problem for problem in problems if problem.code not in UNDECIDED]
    if broken:
        yield failed(name, broken[0].code, broken[0].message)
    elif good:
        first = min(good, key=lambda stamp: stamp.time)
        if first.time < record.created - _CLOCK_SKEW:
            yield failed(
                name,
                "timestamp-before",
                f"{first.authority} stamped the record on {first.time:%Y-%m-%d %H:%M:%S} UTC, before the "
                "time at which it says that it was made.",
            )
            return
        others = f" {len(problems)} more could not be judged." if problems else ""
        yield passed(
            name,
            f"{first.authority} confirms that the record existed on {first.time:%Y-%m-%d %H:%M:%S} UTC."
            f"{others}",
        )
    elif problems:
        yield unable(name, problems[0].code, problems[0].message)
