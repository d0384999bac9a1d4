"""The checks of the C2PA claim inside a result: `c2pa.binding`, `c2pa.ancestors`, `c2pa.agrees`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from restore_manifests.canonical import parse_json_strict
from restore_manifests.errors import ManifestError
from restore_manifests.record import Record, ResultFile
from restore_manifests.report import Check, failed, passed, unable

__all__ = ["agrees", "ancestors", "binding"]


def binding(record: ResultFile, *, hash_known: bool = False) -> Iterable[Check]:
    """With `hash_known` these bytes are those that were signed: the library's hash of them is enough."""
    name, claim = "c2pa.binding", record.claim
    own = claim.binding and (claim.binding.form_problem if hash_known else claim.binding.problem)
    if claim.problem:
        code, reason = claim.problem
        yield failed(name, code, f"The result has no C2PA claim that can be read: {reason}.")
    elif claim.failures:
        codes = ", ".join(dict.fromkeys(claim.failures))
        yield failed(name, "claim-invalid", f"The C2PA claim does not hold for this file ({codes}).")
    elif own:
        yield failed(name, "binding-mismatch", f"The C2PA claim does not hold: {own}.")
    else:
        yield passed(name, "The C2PA claim is intact and was made for exactly these bytes.")


def ancestors(record: ResultFile) -> Iterable[Check]:
    name, claim, expected = "c2pa.ancestors", record.claim, record.expected_ancestors
    found = {ancestor.label: ancestor for ancestor in claim.ancestors}
    if claim.problem:
        if expected:
            yield unable(name, "claim-absent", "The earlier claims cannot be read without the C2PA claim.")
        return
    verdicts = {label: ancestor.verdict for label, ancestor in found.items()}
    broken = [label for label, verdict in (*verdicts.items(), *expected.items()) if verdict == "fail"]
    if broken:
        codes = ", ".join(found[broken[0]].codes) if broken[0] in found else ""
        yield failed(
            name,
            "ancestor-broken",
            f"An earlier claim, which the source brought along, does not hold: {broken[0]} "
            f"({codes or 'found broken when the source was opened'}).",
        )
    elif missing := sorted(expected.keys() - found.keys()):
        yield failed(
            name,
            "ancestor-missing",
            f"The record names {len(missing)} earlier claim(s) that the result no longer carries, "
            f"such as {missing[0]!r}.",
        )
    elif unknown := [label for label, verdict in verdicts.items() if verdict != "pass"]:
        yield unable(
            name,
            "ancestor-unknown",
            f"An earlier claim, {unknown[0]}, is intact as far as can be seen, but its signer is not "
            "known: give the root that it is to be trusted by.",
        )
    elif found:
        yield passed(name, f"All {len(found)} earlier claim(s) that the source brought along hold.")


def agrees(record: Record) -> Iterable[Check]:
    name, claim, body = "c2pa.agrees", record.claim, record.body
    if claim.problem:
        yield unable(name, "claim-absent", "There is no C2PA claim to compare the manifest with.")
    elif claim.record_text is None:
        yield failed(name, "record-form", f"The embedded record cannot be used: {claim.record_problem}.")
    elif claim.record_text.encode("utf-8", "replace") != record.signed:
        places = _differences(claim.record_text, record.signed)
        yield failed(
            name, "record-differs", f"The record inside the result is not that of the manifest{places}."
        )
    elif claim.maps != {m.name: m.file_sha256 for m in (body.maps.edit, body.maps.confidence) if m}:
        yield failed(
            name,
            "maps-differ",
            "The maps inside the result's claim are not those that the manifest names.",
        )
    elif sorted(claim.models) != sorted(model.file_sha256 for model in body.models):
        yield failed(
            name, "models-differ", "The weights in the result's claim are not those of the manifest."
        )
    elif set(claim.source_types) != {body.label.digital_source_type}:
        yield failed(name, "label-differs", "The claim labels the result differently from the manifest.")
    elif claim.signer_serial != record.signer_serial:
        yield failed(
            name, "signer-differs", "The claim and the manifest were signed with different certificates."
        )
    else:
        yield passed(name, "The record, maps, weights, label and signer in the claim are the manifest's.")


def _differences(embedded: str, signed: bytes) -> str:
    """Where two records differ, for people: up to three members."""
    try:
        found = _paths(parse_json_strict(embedded.encode("utf-8", "replace")), parse_json_strict(signed))
    except ManifestError:
        return ": it is not canonical JSON"
    names = sorted(found)
    if not names:
        return ": it says the same in another form"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f": they differ in {', '.join(names[:3])[:300]}{more}"


def _paths(one: Any, other: Any, place: str = "") -> set[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        pairs = {key: (one.get(key), other.get(key)) for key in one.keys() | other.keys()}
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = {str(index): pair for index, pair in enumerate(zip(one, other, strict=True))}
    else:
        return set() if one == other else {place or "the whole"}
    return {found for key, (a, b) in pairs.items() for found in _paths(a, b, f"{place}.{key}".lstrip("."))}
