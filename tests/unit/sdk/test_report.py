"""Reports: the verdict first, everything escaped, nothing missing unsaid, HTML and PDF alike."""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_manifests.canonical import sha256_hex
from restore_manifests.errors import UndecidableError, UsageError
from restore_manifests.report import Verdict
from restore_manifests.schema import parse_manifest
from restore_sdk.report_document import MAX_ROWS, MAX_TEXT, ReportDocument, make_document, visible
from restore_sdk.report_page import render_page
from restore_sdk.report_pdf import render_pdf
from restore_sdk.report_pictures import Figure
from restore_sdk.report_sections import Section, Table
from restore_sdk.report_texts import LIMITS, OPERATIONS, STANDING

MakeBundle = Callable[..., Any]
NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
HOSTILE = '<script>alert(1)</script>"><img src=x onerror=\'alert(2)\'>{{ 7*7 }} #panic("no") $x$ *b*'


class Outline(HTMLParser):
    """Tags with their attributes' names, and all text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def document_of(bundle: Any, **options: Any) -> ReportDocument:
    options = {"trust": bundle.root, "log_key": bundle.log_key, "recompute": False, "now": NOW, **options}
    return make_document(bundle.manifest, **options)


def cells(document: ReportDocument, title: str) -> list[tuple[str, ...]]:
    (section,) = [s for s in document.sections if s.title == title]
    assert section.table
    return list(section.table.rows)


@cache
def plain() -> ReportDocument:
    """A small document that is not about any files."""
    return ReportDocument(
        title="title",
        made="now",
        verdict=Verdict.UNABLE,
        headline="headline",
        meaning="meaning",
        facts=(("name", "value"),),
        concerns=(("unable", "source.file", "message"),),
        pictures=(Figure("before"), Figure("after")),
        notes=("note",),
        standing="standing",
        limits=("limit",),
        sections=(Section("section", ("paragraph",), Table(("Verdict", "What"), (("pass", "cell"),))),),
        exit_code=3,
    )


def filled(text: str) -> ReportDocument:
    return dataclasses.replace(
        plain(),
        title=text,
        facts=((text, text),),
        concerns=(("fail", text, text),),
        pictures=(Figure(text), Figure(text)),
        notes=(text,),
        sections=(Section(text, (text,), Table(("Verdict", text), ((text, text),))),),
    )


def test_a_good_record_is_told_whole(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "case")
    document = document_of(bundle)
    page = render_page(document)
    body = parse_manifest(bundle.manifest.read_bytes()).body
    assert document.verdict is Verdict.PASS
    assert document.exit_code == 0
    assert not document.concerns
    text = Outline(page).text
    for needed in (
        "Every check that was made holds; the pixels were not computed again.",
        STANDING,
        *LIMITS,
        body.id,
        body.source.file_sha256,
        body.source.pixels_sha256,
        body.result.pixels_sha256,
        sha256_hex(bundle.result.read_bytes()),
        body.models[0].file_sha256,
        body.label.statement,
        "'Test Laboratory'",
        "10 to 15",
        "test.example/log",
        OPERATIONS["restore"],
        "Liu et al. Swin Transformer",
        "RFC 8785",
        "2026-05-04 12:30 UTC",
    ):
        assert needed in text, needed
    assert [row[0] for row in cells(document, "Every check")] == ["pass"] * len(
        cells(document, "Every check")
    )
    assert {row[4] for row in cells(document, "Inputs and outputs")[:-1]} == {"the same"}
    assert page.count("data:image/") == 4


def test_the_first_page_holds_verdict_pictures_and_limits_in_this_order(
    make_bundle: MakeBundle, tmp_path: Path
) -> None:
    page = render_page(document_of(make_bundle(tmp_path / "case")))
    first = page[page.index('<div class="first">') : page.index("<section>")]
    places = [first.index(part) for part in ('class="banner pass"', "Before:", "After:", "Not for ident")]
    assert places == sorted(places)
    assert "was left out when it was made" in first


@pytest.mark.parametrize("damage", ["result", "record"])
def test_the_report_on_a_tampered_bundle_says_fail_first(
    make_bundle: MakeBundle, tmp_path: Path, damage: str
) -> None:
    bundle = make_bundle(tmp_path / "case")
    if damage == "result":
        bundle.result.write_bytes(make_bundle(tmp_path / "other", seed=8).result.read_bytes())
    else:
        text = bundle.manifest.read_text(encoding="utf-8")
        bundle.manifest.write_text(text.replace('"seed": 0', '"seed": 1'), encoding="utf-8")
    document = document_of(bundle, trust=None)
    assert document.verdict is Verdict.FAIL
    assert document.exit_code == 1
    assert [verdict for verdict, _, _ in document.concerns] == sorted(v for v, _, _ in document.concerns)
    assert document.concerns[0][0] == "fail"
    assert document.concerns[-1][1] == "signer.trust"  # unable: after what failed
    page = render_page(document)
    assert "<title>Report on the restoration of plate.png: fail</title>" in page
    assert page.index('class="banner fail"') < page.index('class="concerns"') < page.index("<img")
    assert "that was made holds" not in page
    if damage == "result":
        (row,) = [row for row in cells(document, "Inputs and outputs") if row[0] == "result"]
        assert row[4] == sha256_hex(bundle.result.read_bytes()) != row[3]


def test_a_missing_source_is_said_and_decides_nothing(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "case")
    moved = bundle.source.replace(tmp_path / "original.png")
    document = document_of(bundle)
    assert document.verdict is Verdict.UNABLE
    assert document.pictures[0] == Figure("Before: the source was not at hand when this report was made.")
    assert cells(document, "Inputs and outputs")[0][4] == "not at hand"
    assert "source.file" in {check for _, check, _ in document.concerns}
    named = document_of(bundle, source=moved)
    assert named.verdict is Verdict.PASS
    assert named.pictures[0].data


def test_maps_that_are_missing_or_no_maps_are_said(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "case")
    bundle.edit.unlink()
    bundle.confidence.write_bytes(bundle.source.read_bytes())
    document = document_of(bundle)
    (section,) = [s for s in document.sections if s.title == "Maps"]
    assert [figure.data for figure in section.figures] == [b"", b""]
    assert "not at hand" in section.figures[0].caption
    assert "not one 8-bit channel" in section.figures[1].caption


@pytest.mark.parametrize("role", ["source", "result"])
def test_a_picture_that_cannot_be_decoded_is_a_sentence(
    make_bundle: MakeBundle, tmp_path: Path, role: str
) -> None:
    bundle = make_bundle(tmp_path / "case")
    getattr(bundle, role).write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    document = document_of(bundle)
    assert document.verdict is Verdict.FAIL
    assert "cannot be shown" in document.pictures[role == "result"].caption
    render_page(document)


def test_a_manifest_that_is_none_is_reported_on_where_the_result_is_named(
    make_bundle: MakeBundle, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "case")
    bundle.manifest.write_bytes(b'{"schema": "<b>"}')
    with pytest.raises(UsageError, match="does not name its result"):
        document_of(bundle)
    document = document_of(bundle, result=bundle.result)
    assert document.verdict is Verdict.FAIL
    assert document.concerns[0][1] == "manifest.schema"
    assert "cannot be read" in document.notes[0]
    assert '<div class="banner fail">' in render_page(document)
    assert render_pdf(document, now=NOW)[:5] == b"%PDF-"


def test_a_result_that_is_not_there_is_wrong_use(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "case")
    bundle.result.unlink()
    with pytest.raises(UsageError, match=r"plate\.restored\.png"):
        document_of(bundle)


def hostile(document: dict[str, Any]) -> None:
    document["request"]["prompt"] = HOSTILE
    document["label"]["statement"] = HOSTILE
    document["abstained"], document["abstentions"] = True, [HOSTILE]
    document["degradation"] = {HOSTILE: {"value": 1.0, "low": 0.5, "high": 2.0, "unit": HOSTILE}}
    document["findings"] = [
        {"checker": HOSTILE, "severity": "problem", "message": HOSTILE, "details": {HOSTILE: HOSTILE}}
    ]
    document["plan"][0]["parameters"] = {HOSTILE: HOSTILE}
    document["source"]["metadata_lost"] = [HOSTILE]
    document["maps"]["edit"]["method"] = HOSTILE
    document["maps"]["edit"]["statistics"] = {HOSTILE: 1.0}


def test_markup_in_a_record_stays_text(make_bundle: MakeBundle, tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>\u202egnp.exe.png"
    good = Outline(render_page(document_of(make_bundle(tmp_path / "good"))))
    document = document_of(make_bundle(tmp_path / "case", source_name=name, changes=hostile))
    page = render_page(document)
    outline = Outline(page)
    assert {tag for tag, _ in outline.tags} <= {tag for tag, _ in good.tags} | {"b"}
    assert not {name for _, names in outline.tags for name in names if name.startswith("on")}
    assert outline.text.count("<script>alert(1)</script>") >= 10
    assert "{{ 7*7 }}" in outline.text
    assert "\u202e" not in page
    assert "\\u202egnp" in outline.text
    assert "default-src 'none'" in page
    assert not re.search(r"https?://", page)
    assert render_pdf(document, now=NOW)[:5] == b"%PDF-"


@given(st.text(max_size=60))
@settings(max_examples=150, deadline=None)
def test_no_text_whatever_becomes_markup(text: str) -> None:
    baseline, outline = Outline(render_page(filled("x"))), Outline(render_page(filled(visible(text))))
    assert [tag for tag, _ in outline.tags if tag != "code"] == [
        tag for tag, _ in baseline.tags if tag != "code"
    ]


@given(st.text(st.sampled_from("#$*_`\\/@<>[](){}=\"'-+~\n xa") | st.characters(codec="utf-8"), max_size=60))
@settings(max_examples=25, deadline=None)
def test_no_text_whatever_stops_the_pdf(text: str) -> None:
    assert render_pdf(filled(visible(text)), now=NOW)[:5] == b"%PDF-"


@given(st.text(st.characters()))
def test_visible_text_has_no_hidden_characters(text: str) -> None:
    shown = visible(text)
    assert all(c.isprintable() or c == "\n" for c in shown)
    if text.isprintable():
        assert shown == text
    shown.encode("utf-8")


def test_long_texts_and_tables_are_cut_and_say_so(make_bundle: MakeBundle, tmp_path: Path) -> None:
    def long(document: dict[str, Any]) -> None:
        document["request"]["prompt"] = "p" * 90_000
        document["plan"] *= MAX_ROWS + 5

    document = document_of(make_bundle(tmp_path / "case", changes=long))
    prompt = dict(cells(document, "What was asked for"))["prompt"]
    assert prompt.startswith("p" * MAX_TEXT + " …")
    assert "90,000 characters" in prompt
    assert len(cells(document, "Every step")) == MAX_ROWS + 1
    assert cells(document, "Every step")[-1][0].startswith("… 5 more rows")


def test_large_pictures_are_jpeg_even_where_they_are_noise(make_bundle: MakeBundle, tmp_path: Path) -> None:
    document = document_of(make_bundle(tmp_path / "case", size=(500, 1400)))
    assert [figure.mime for figure in document.pictures] == ["image/jpeg", "image/jpeg"]
    assert "(1400 x 500 pixels, shown smaller)" in document.pictures[0].caption


def test_an_abstention_is_on_the_first_page(make_bundle: MakeBundle, tmp_path: Path) -> None:
    def abstain(document: dict[str, Any]) -> None:
        document["abstained"], document["abstentions"] = True, ["the noise is stronger than any seen"]

    document = document_of(make_bundle(tmp_path / "case", changes=abstain))
    assert any("the noise is stronger than any seen" in note for note in document.notes)
    assert ("abstention", "warning", "the noise is stronger than any seen") in cells(
        document, "Findings and abstentions"
    )


def test_the_pdf_repeats_byte_for_byte(make_bundle: MakeBundle, tmp_path: Path) -> None:
    document = document_of(make_bundle(tmp_path / "case", size=(64, 96)))
    first = render_pdf(document, now=NOW)
    assert first == render_pdf(document, now=NOW)
    assert first.startswith(b"%PDF-")


def test_without_typst_the_pdf_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "typst", None)
    with pytest.raises(UndecidableError, match="not installed") as caught:
        render_pdf(plain())
    assert "forensic-restore[pdf]" in caught.value.hint
    assert caught.value.exit_code == 3


def test_a_report_needs_no_torch() -> None:
    for name in ("report_document", "report_page", "report_pdf", "discovery", "exports"):
        module = importlib.import_module(f"restore_sdk.{name}")
        assert "torch" not in vars(module)
