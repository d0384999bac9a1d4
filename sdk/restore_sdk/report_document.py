"""The report on one restoration as a document: verified, gathered and put into words, in no format yet.

What a manifest says is a stranger's word: every text is stripped of invisible and direction characters and
cut to a length that a page can bear, and the renderers escape it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from restore_manifests.errors import RestoreError
from restore_manifests.report import Report, Verdict
from restore_manifests.signing import common_name, load_certificates
from restore_sdk.case_files import CaseFiles, open_case
from restore_sdk.report_pictures import Figure, before_and_after, map_figures
from restore_sdk.report_sections import Section, Table, record_sections
from restore_sdk.report_texts import HEADLINES, LIMITS, MEANING, REFERENCES, STANDING
from restore_sdk.verification import verify

__all__ = ["ReportDocument", "make_document", "visible"]

MAX_TEXT = 3_000
"""Characters of one text that are shown; the manifest has the rest."""

MAX_ROWS = 400
"""Rows of one table that are shown."""

Part = TypeVar("Part")


@dataclass(frozen=True)
class ReportDocument:
    """A report: the first page for a lay reader, then sections for an examiner."""

    title: str
    made: str
    verdict: Verdict
    headline: str
    meaning: str
    facts: tuple[tuple[str, str], ...]
    """What was restored, when and by whom: label and value."""
    concerns: tuple[tuple[str, str, str], ...]
    """Verdict, id and sentence of every check that does not hold, failures first."""
    pictures: tuple[Figure, ...]
    notes: tuple[str, ...]
    standing: str
    limits: tuple[str, ...]
    sections: tuple[Section, ...]
    exit_code: int
    """That of the verification: 0 pass, 1 fail, 3 unable."""


def make_document(
    manifest: Path,
    *,
    result: Path | None = None,
    source: Path | None = None,
    trust: Path | None = None,
    log_key: str | Path | None = None,
    revoked: Path | None = None,
    recompute: bool = True,
    now: datetime | None = None,
) -> ReportDocument:
    """Verify one restoration and put everything about it into a document.

    Options as for `verify`; `result` is looked for beside the manifest under its recorded name. `now` is
    printed as the time of the report (UTC; default: this moment). A record that fails is reported on, not
    refused. Raises UsageError if a file named cannot be read, or if there is no result; LogError if
    `log_key` is no key, KeyStoreError if `revoked` is no list.
    """
    case = open_case(manifest, result=result, source=source)
    report = verify(
        case.result_path,
        manifest,
        source=source,
        trust=trust,
        recompute=recompute,
        pixels=True,  # the report shows them as decoded
        log_key=log_key,
        revoked=revoked,
    )
    return _describe(case, report, recompute=recompute, now=now or datetime.now(UTC))


def _describe(case: CaseFiles, report: Report, *, recompute: bool, now: datetime) -> ReportDocument:
    order = (Verdict.FAIL, Verdict.UNABLE)
    concerns = sorted((c for c in report.checks if c.verdict in order), key=lambda c: order.index(c.verdict))
    document = ReportDocument(
        title=f"Report on the restoration of {_subject(case)}",
        made=f"{now:%Y-%m-%d %H:%M} UTC, restore {version('forensic-restore')}",
        verdict=report.verdict,
        headline=HEADLINES.get(report.verdict, report.praise),
        meaning=MEANING[report.verdict],
        facts=_facts(case),
        concerns=tuple((c.verdict.value, c.id, c.message) for c in concerns),
        pictures=before_and_after(case),
        notes=_notes(case, recompute=recompute),
        standing=STANDING,
        limits=LIMITS,
        sections=(
            *record_sections(case, map_figures(case)),
            Section(
                "Every check",
                table=Table(
                    ("Verdict", "Check", "What was found"),
                    tuple((c.verdict.value, c.id, c.message) for c in report.checks),
                ),
            ),
            Section("References", paragraphs=REFERENCES),
        ),
        exit_code=report.exit_code,
    )
    return _bearable(document)


def _subject(case: CaseFiles) -> str:
    return case.record.body.source.name if case.record else case.result_path.name


def _facts(case: CaseFiles) -> tuple[tuple[str, str], ...]:
    if case.record is None:
        return (("Result", case.result_path.name), ("Manifest", case.manifest_path.name))
    body = case.record.body
    try:
        signer = ", ".join(
            dict.fromkeys(common_name(load_certificates(s)[0]) for s in case.record.signatures)
        )
    except RestoreError:
        signer = "the certificate cannot be read"
    models = ", ".join(model.id for model in body.models) or "none"
    return (
        ("Source", body.source.name),
        ("Result", case.record.files.result.name),
        ("Record", body.id),
        ("Made, by the machine's clock", body.created),
        ("Signer, by the certificate", signer or "nobody"),
        ("Model", models),
        ("Statement in the record", body.label.statement),
    )


def _notes(case: CaseFiles, *, recompute: bool) -> tuple[str, ...]:
    notes = []
    if case.record is None:
        notes.append("The manifest cannot be read as one, so that only files and checks can be shown.")
    elif case.record.body.abstained:
        reasons = "; ".join(case.record.body.abstentions) or "no reason is recorded"
        notes.append(f"The tool itself says that this picture is outside what it is proven for: {reasons}.")
    if not recompute:
        notes.append(
            "The pixels were not computed again for this report: that was left out when it was made."
        )
    return tuple(notes)


def visible(text: str, longest: int = MAX_TEXT) -> str:
    """`text` with every character that is not visible written as an escape, and cut at `longest`.

    A line break stays. Direction and zero-width characters could make a name read as another one.
    """
    cut = f" … ({len(text):,} characters in all; the manifest has them)" if len(text) > longest else ""
    shown = (
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii")
        for c in text[:longest]
    )
    return "".join(shown) + cut


def _bearable(part: Part) -> Part:
    """All texts in a part made visible, and long tables cut."""
    match part:
        case Verdict():
            return part
        case str():
            return visible(part)  # type: ignore[return-value]  # Part is str here
        case Table(head, rows) if len(rows) > MAX_ROWS:
            more = (f"… {len(rows) - MAX_ROWS} more rows; the manifest has them", *[""] * (len(head) - 1))
            return replace(part, head=_bearable(head), rows=_bearable((*rows[:MAX_ROWS], more)))
        case tuple():
            return tuple(map(_bearable, part))  # type: ignore[return-value]  # Part is a tuple here
        case _ if is_dataclass(part) and not isinstance(part, type):
            return replace(part, **{f.name: _bearable(getattr(part, f.name)) for f in fields(part)})
        case _:
            return part
