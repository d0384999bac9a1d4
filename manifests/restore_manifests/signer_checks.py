"""The checks of who vouches for a record: `signature`, `signer.trust`, `log.inclusion`, `log.checkpoint`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from restore_manifests.canonical import sha256_hex
from restore_manifests.errors import ManifestError
from restore_manifests.log_proof import LogProofError, ProofPart, verify_inclusion
from restore_manifests.record import Record
from restore_manifests.report import Check, Verdict, failed, passed, unable
from restore_manifests.schema import LogAnchor, files_bytes
from restore_manifests.signing import chain_problem, common_name, leads_to_root, signature_problem

__all__ = ["log", "signature", "signer_trust"]

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


def log(record: Record) -> Iterable[Check]:
    if not record.manifest.anchors:
        message = "The manifest carries no proof that it was entered in a transparency log."
        yield unable("log.inclusion", "anchor-missing", message)
        yield unable("log.checkpoint", "anchor-missing", message)
        return
    pairs = [_anchor(record, anchor) for anchor in record.manifest.anchors]
    rank = (Verdict.FAIL, Verdict.UNABLE, Verdict.PASS)
    yield min((inclusion for inclusion, _ in pairs), key=lambda check: rank.index(check.verdict))
    yield min((checkpoint for _, checkpoint in pairs), key=lambda check: rank.index(check.verdict))


def _anchor(record: Record, anchor: LogAnchor) -> tuple[Check, Check]:
    inclusion, checkpoint = "log.inclusion", "log.checkpoint"
    given = record.inputs.log_public_key
    known = given is not None and given.strip() == anchor.public_key
    origin = repr(anchor.origin[:80])
    note = passed(
        checkpoint,
        f"The log {origin} signed its state with the key that was given."
        if known
        else f"The log {origin} signed its state with the key that the manifest names; "
        "no key was given to compare it with.",
    )
    if given is not None and not known:
        note = failed(checkpoint, "log-key", "The log's key in the manifest is not the key that was given.")
    try:
        place = verify_inclusion(anchor.proof, record.signed, anchor.public_key)
    except LogProofError as error:
        if error.part is ProofPart.INCLUSION:
            return failed(inclusion, "log-entry", error.message), note
        return (
            unable(inclusion, "log-state", "Without a valid signed state of the log, no entry can be shown."),
            failed(checkpoint, "log-signature", error.message),
        )
    if place.origin != anchor.origin:
        note = failed(
            checkpoint, "log-origin", f"The proof is of the log {place.origin[:80]!r}, not {origin}."
        )
    if (place.index, place.tree_size) != (anchor.index, anchor.tree_size):
        return (
            failed(
                inclusion,
                "log-place",
                f"The proof is for entry {place.index} of {place.tree_size}; the manifest says "
                f"{anchor.index} of {anchor.tree_size}.",
            ),
            note,
        )
    return passed(inclusion, f"The record is entry {place.index} of the log {origin}."), note
