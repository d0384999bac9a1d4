"""What a record says, section by section, for an examiner."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from cryptography.hazmat.primitives import hashes

from restore_manifests.canonical import sha256_hex
from restore_manifests.errors import RestoreError
from restore_manifests.schema import Body, LogAnchor, Manifest, PublicLogAnchor, TimestampAnchor
from restore_manifests.signing import load_certificates
from restore_sdk.case_files import CaseFiles
from restore_sdk.report_figures import in_words
from restore_sdk.report_pictures import Figure
from restore_sdk.report_texts import ALGORITHMS, MAPS, OPERATIONS

__all__ = ["Section", "Table", "record_sections"]


@dataclass(frozen=True)
class Table:
    """Rows of texts under a head; a column headed "Verdict" holds verdicts."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """Paragraphs, then a table, then figures."""

    title: str
    paragraphs: tuple[str, ...] = ()
    table: Table | None = None
    figures: tuple[Figure, ...] = ()


def record_sections(case: CaseFiles, maps: tuple[Figure, ...]) -> tuple[Section, ...]:
    """The sections of a report that come from the record; only the files where it cannot be read."""
    files = Section("Inputs and outputs", table=_files(case))
    if case.record is None:
        return (files,)
    body = case.record.body
    known = dict.fromkeys(step.operation for step in body.plan if step.operation in OPERATIONS)
    told = tuple(OPERATIONS[operation] for operation in known)
    return (
        files,
        Section("The pictures as decoded", table=_pictures(body)),
        Section("What was asked for", table=_pairs(body.request.model_dump())),
        Section("Every step", table=_steps(body)),
        Section("The algorithms", (*told, MAPS, ALGORITHMS)),
        Section("Maps", _map_words(body), figures=maps),
        Section(
            "Figures of the maps",
            table=Table(
                ("Map", "Figure", "Value"),
                tuple(
                    (kind, in_words(kind, name), _text(value))
                    for kind, recorded in _maps(body)
                    for name, value in recorded.statistics.items()
                ),
            ),
        ),
        _degradation(body),
        *_degraded_again(body),
        _findings(body),
        Section(
            "Signature, certificates and log",
            (
                "Whether they hold is under Every check: signature, signer.trust, log.inclusion, "
                "log.checkpoint and timestamp.",
            ),
            _signature(case.record),
        ),
        Section(
            "The model",
            (
                "What a model was trained on, what it reaches and where it fails is in its card, which lies "
                "beside the weights in the package and is shown by: restore models show, with its name.",
            ),
            Table(
                ("Model", "Member", "Value"),
                tuple((m.id, name, _text(v)) for m in body.models for name, v in m if name != "id"),
            ),
        ),
    )


def _files(case: CaseFiles) -> Table:
    rows: list[tuple[str, ...]] = []
    if case.record is None:
        rows.append(
            ("manifest", case.manifest_path.name, str(len(case.manifest)), "", sha256_hex(case.manifest))
        )
        rows.append(("result", case.result_path.name, str(len(case.result)), "", sha256_hex(case.result)))
    else:
        body, sealed = case.record.body, case.record.files.result
        rows.append(_file("source", body.source.name, body.source.file_sha256, case.source))
        rows.append(_file("result", sealed.name, sealed.sha256, case.result))
        for kind, recorded in _maps(body):
            data = case.maps[kind][1] if kind in case.maps else None
            rows.append(_file(f"{kind} map", recorded.name, recorded.file_sha256, data))
        rows.append(
            ("manifest", case.manifest_path.name, f"{len(case.manifest):,}", "", sha256_hex(case.manifest))
        )
    return Table(("File", "Name", "Bytes", "SHA-256 recorded", "SHA-256 found"), tuple(rows))


def _file(role: str, name: str, recorded: str, data: bytes | None) -> tuple[str, ...]:
    if data is None:
        return role, name, "", recorded, "not at hand"
    found = sha256_hex(data)
    return role, name, f"{len(data):,}", recorded, "the same" if found == recorded else found


def _pictures(body: Body) -> Table:
    source, result = body.source, body.result
    shape = "{0.width} x {0.height}, {0.channels} channels, {0.bits} bits"
    rows = [
        ("Size", shape.format(source), shape.format(result)),
        ("SHA-256 of the pixels", source.pixels_sha256, result.pixels_sha256),
        ("Format", source.format, "PNG, lossless"),
        ("Decoder", f"{source.decoder.name} {source.decoder.version}", ""),
        ("EXIF orientation as found", str(source.orientation), "upright"),
        ("SHA-256 of the ICC profile", source.icc_sha256 or "none", ""),
        ("Metadata kept", "", ", ".join(source.metadata_kept) or "none"),
        ("Metadata lost", "", ", ".join(source.metadata_lost) or "none"),
    ]
    rows += [("Earlier C2PA claim", f"{item.label}: {item.verdict}", "") for item in body.ingredients]
    return Table(("", "Source", "Result"), tuple(rows))


def _steps(body: Body) -> Table:
    rows = []
    for number, step in enumerate(body.plan):
        parameters = "\n".join(f"{name} = {_text(value)}" for name, value in step.parameters.items())
        done = body.trace[number] if number < len(body.trace) else None
        pixels = f"in  {done.input_sha256}\nout {done.output_sha256}" if done else "not recorded"
        rows.append((str(number + 1), step.operation, parameters or "none", pixels))
    return Table(("Step", "Operation", "Parameters", "SHA-256 of the pixels"), tuple(rows))


def _maps(body: Body) -> Iterable[tuple[str, Any]]:
    return [(k, m) for k, m in (("edit", body.maps.edit), ("confidence", body.maps.confidence)) if m]


def _map_words(body: Body) -> tuple[str, ...]:
    return tuple(
        f"The {kind} map, by the record: {recorded.method.rstrip('.')}. Guarantee: "
        f"{(recorded.guarantee or 'none stated').rstrip('.')}."
        for kind, recorded in _maps(body)
    )


def _degraded_again(body: Body) -> tuple[Section, ...]:
    if not body.result.consistency:
        return ()
    words = "The result, degraded again by the estimates, beside the source; a finding says what came of it."
    rows = tuple(
        (in_words("consistency", name), _text(value)) for name, value in body.result.consistency.items()
    )
    return (Section("The result degraded again", (words,), Table(("Figure", "Value"), rows)),)


def _degradation(body: Body) -> Section:
    rows = tuple(
        (in_words("estimate", name), f"{item.value:g}", f"{item.low:g} to {item.high:g}", item.unit)
        for name, item in body.degradation.items()
    )
    words = (
        "What the tool estimates to be wrong with the source. An interval comes from held-out training "
        "pictures; real cameras differ.",
    )
    return Section(
        "Estimates of the degradation", words, Table(("Estimate", "Value", "Interval", "Unit"), rows)
    )


def _findings(body: Body) -> Section:
    rows = [("abstention", "warning", reason) for reason in body.abstentions]
    rows += [
        (item.checker, item.severity, f"{item.message}{f' {_text(item.details)}' if item.details else ''}")
        for item in body.findings
    ]
    words = () if rows else ("The record holds no finding and no abstention.",)
    return Section("Findings and abstentions", words, Table(("From", "Weight", "What it says"), tuple(rows)))


def _signature(record: Manifest) -> Table:
    rows: list[tuple[str, str]] = []
    for signature in record.signatures:
        rows.append((f"Signature over {signature.scope}", signature.algorithm))
        try:
            for place, certificate in enumerate(load_certificates(signature)):
                who = "Signer" if place == 0 else f"Issuer {place}"
                start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
                valid = f"{start:%Y-%m-%d} to {end:%Y-%m-%d}"
                rows += [
                    (who, certificate.subject.rfc4514_string()),
                    (f"{who}: issued by", certificate.issuer.rfc4514_string()),
                    (f"{who}: valid, serial number", f"{valid}, {certificate.serial_number:x}"),
                    (f"{who}: SHA-256 of the certificate", certificate.fingerprint(hashes.SHA256()).hex()),
                ]
        except (RestoreError, ValueError) as error:
            rows.append(("Certificates", f"cannot be read: {error}"))
    for anchor in record.anchors:
        match anchor:
            case LogAnchor():
                rows += [
                    ("Log", anchor.origin),
                    ("Log: entry, of entries then", f"{anchor.index}, {anchor.tree_size}"),
                    ("Log: public key in the record", anchor.public_key),
                ]
            case PublicLogAnchor():
                entry = f"{anchor.index}, {anchor.tree_size}; SHA-256 {sha256_hex(anchor.entry.encode())}"
                rows += [
                    ("Public log", anchor.origin),
                    (f"Public log: {anchor.format}, entry, of entries then; of its base64 text", entry),
                    ("Public log: public key in the record", anchor.public_key),
                ]
            case TimestampAnchor():
                token = sha256_hex(anchor.token.encode())
                rows += [(f"Timestamp over {anchor.over}: SHA-256 of its base64 text", token)]
            case _:
                assert_never(anchor)
    return Table(("What", "Value"), tuple(dict.fromkeys(rows)))


def _pairs(values: Mapping[str, Any]) -> Table:
    return Table(("Member", "Value"), tuple((name, _text(value)) for name, value in values.items()))


def _text(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case str():
            return value if value else "(empty)"
        case float():
            return f"{value:g}"
        case _:
            return json.dumps(value, ensure_ascii=False)
