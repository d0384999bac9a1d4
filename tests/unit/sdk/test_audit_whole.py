"""What only the whole tree shows: chains, drift against a stated period; and its tables and plots."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from restore_manifests.errors import UsageError
from restore_manifests.report import Check, Verdict
from restore_sdk.audit_drift import Facts, Period, Reference, Series, drift_of
from restore_sdk.audit_items import AuditItem, AuditReport
from restore_sdk.audit_links import Joint, links_of
from restore_sdk.audit_plots import HEIGHT, WIDTH, plot_of
from restore_sdk.audit_report import render_report
from restore_sdk.audit_tables import csv_of
from restore_sdk.audit_tree import audit


def facts(source: str = "s.png", result: str = "r.png", **changes: Any) -> Facts:
    given = {"created": "2026-01-01T00:00:00Z", "abstained": False, "values": {}, "size": "1 x 1"}
    given |= {"source_sha256": f"sha of {source}", "result_sha256": f"sha of {result}", "models": ()}
    given |= {"edit": None, "confidence": None, "result_pixels_sha256": "", **changes}
    return Facts(source=source, result=result, **given)


def joint(path: str, verdict: Verdict = Verdict.PASS, **changes: Any) -> Joint:
    return Joint(path, verdict, facts(**changes))


def broken(*joints: Joint) -> dict[str, tuple[str | None, bool]]:
    return {link.path: (link.parent, link.broken) for link in links_of(joints)}


def test_a_chain_holds_as_far_as_its_worst_ancestor() -> None:
    first = joint("a.manifest.json", source="a.png", result="a.restored.png")
    second = joint("b.manifest.json", source="a.restored.png", result="b.png")
    third = joint("c.manifest.json", source="b.png", result="c.png")
    assert broken(third, second, first) == {
        "b.manifest.json": ("a.manifest.json", False),
        "c.manifest.json": ("b.manifest.json", False),
    }
    failed = Joint(first.path, Verdict.FAIL, first.facts)
    assert broken(failed, second, third) == {
        "b.manifest.json": ("a.manifest.json", True),
        "c.manifest.json": ("b.manifest.json", True),
    }


def test_a_source_that_was_exchanged_or_is_not_here_breaks_the_chain() -> None:
    first = joint("x/a.manifest.json", source="a.png", result="a.restored.png")
    exchanged = joint("x/b.manifest.json", source="a.restored.png", source_sha256="other", result="b.png")
    elsewhere = joint("y/c.manifest.json", source="a.restored.png", source_sha256="other", result="c.png")
    assert broken(first, exchanged, elsewhere) == {
        "x/b.manifest.json": ("x/a.manifest.json", True),
        "y/c.manifest.json": (None, True),
    }


def test_manifests_that_name_each_other_in_a_ring_end_the_walk() -> None:
    ring = [joint(f"{n}.manifest.json", source=f"{n}.png", result=f"{(n + 1) % 3}.png") for n in range(3)]
    assert {parent for parent, _ in broken(*ring).values()} == {one.path for one in ring}
    alone = joint("z.manifest.json", source="z.png", result="z.png")
    assert broken(alone) == {"z.manifest.json": ("z.manifest.json", False)}


def test_a_broken_chain_is_no_pass(make_bundle: Callable[..., Any], tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "batch", source_name="before.restored.png")
    bundle.source.rename(bundle.source.with_name("before.restored.png"))
    report = audit(tmp_path / "batch", jobs=1, recompute=False, trust=bundle.root, log_key=bundle.log_key)
    assert (report.exit_code, report.counts["chains_broken"], report.counts["pass"]) == (3, 1, 1)
    assert "1 broken chain" in report.summary
    assert "named like a restoration" in render_report(report)


@pytest.mark.parametrize(
    "text", ["", "2026-01-01", "2026-02-30..2026-03-01", "2026-03-01..2026-02-01", "a..b"]
)
def test_what_is_no_period_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a period"):
        Reference.parse(text)


def test_drift_is_measured_from_the_stated_period() -> None:
    """A change in the middle of the year, which halves of the whole would place elsewhere."""
    records = [
        facts(
            created=f"2026-{1 + day // 28:02}-{1 + day % 28:02}T00:00:00Z",
            values={
                "sigma": float(day % 7) + 20 * (day >= 56),
                "verdict: fail": float(day >= 56 and day % 2),
            },
        )
        for day in range(84)
    ]
    quiet, all_of_it = Reference.parse("2026-01-01..2026-02-28"), Reference.parse("2026-01-01..2026-03-31")
    found = {series.name: series for series in drift_of(records, quiet)}
    assert found["sigma"].drifted
    assert "outside the reference period 2026-01-01 to 2026-02-28" in found["sigma"].message
    assert found["verdict: fail"].drifted
    assert "share 0 then 0.5" in found["verdict: fail"].message
    assert not any(series.drifted for series in drift_of(records, all_of_it))
    assert not any(
        series.drifted for series in drift_of(records[:56], Reference.parse("2026-01-01..2026-01-28"))
    )


def test_rare_flags_are_tested_exactly() -> None:
    """3 of 30 against 0 of 30 is chance (Fisher p = 0.24); 12 of 30 against 0 of 30 is not (p < 0.0001)."""
    for count, drifted in ((3, False), (12, True)):
        records = [
            facts(
                created=f"2026-{month:02}-{day:02}T00:00:00Z",
                values={"abstained": float(month == 2 and day <= count)},
            )
            for month in (1, 2)
            for day in range(1, 29)
        ]
        (series,) = drift_of(records, Reference.parse("2026-01-01..2026-01-31"))
        assert series.drifted is drifted


def test_the_table_has_a_row_for_each_item_and_no_formula() -> None:
    item = AuditItem(
        "bundle",
        "=cmd|' /C calc'!A0",
        Verdict.FAIL,
        '+1, "quoted"\nand broken',
        (Check("signature", Verdict.FAIL, "x", "y"),),
        facts(source="@source", values={"-1": 2.5}, models=("m", "n")),
    )
    stray = AuditItem("orphan", "b.edit.png", Verdict.UNABLE, "A part")
    rows = list(csv.DictReader(io.StringIO(csv_of(AuditReport("x", (item, stray), (), ())))))
    assert [row["verdict"] for row in rows] == ["fail", "unable"]
    assert (rows[0]["path"], rows[0]["source"]) == ("'=cmd|' /C calc'!A0", "'@source")
    assert rows[0]["message"] == '\'+1, "quoted"\nand broken'
    assert (rows[0]["check: signature"], rows[0]["'-1"], rows[0]["models"]) == ("fail", "2.5", "m n")
    assert rows[1]["source"] == ""
    assert not any((cell or "")[:1] in "=+@-" for row in rows for cell in row.values() if cell)


def test_plots_stay_inside_their_drawing() -> None:
    periods = tuple(Period(f"2026-{n:02}", n, 1.0 * n, 2.0 * n, 3.0 * n) for n in range(1, 13))
    plot = plot_of(Series("x", periods, None, drifted=False, message=""))
    assert plot is not None
    for mark in plot.marks:
        assert 0 < mark.top <= mark.median <= mark.bottom < HEIGHT
        assert 0 < mark.x - mark.half_width < mark.x + mark.half_width < WIDTH
    assert [label for _, label in plot.levels] == ["1", "36"]
    assert sum(bool(mark.label) for mark in plot.marks) == 6
    flat = plot_of(
        Series("x", (Period("a", 1, 5, 5, 5), Period("b", 1, 5, 5, 5)), None, drifted=False, message="")
    )
    assert flat is not None
    assert {mark.median for mark in flat.marks} == {68.0}
    assert plot_of(Series("x", periods[:1], None, drifted=False, message="")) is None
    huge = (Period("a", 1, -1e308, 0, 1e308), Period("b", 1, 0, 0, 1e308))
    assert plot_of(Series("x", huge, None, drifted=False, message="")) is None
    series = Series("<b>x</b>", periods, None, drifted=True, message="m")
    page = render_report(AuditReport("x", (), (), (series,)))
    assert page.count("<svg") == 1
    assert "<b>x" not in page


def test_an_audit_without_recomputation_decodes_only_if_asked_to(
    make_bundle: Callable[..., Any], tmp_path: Path
) -> None:
    def misstate(document: dict[str, Any]) -> None:
        document["result"]["pixels_sha256"] = "0" * 64

    bundle = make_bundle(tmp_path / "batch" / "a", changes=misstate)
    make_bundle(tmp_path / "batch" / "b", seed=8)
    options = {"jobs": 1, "recompute": False, "trust": bundle.root, "log_key": bundle.log_key}
    by_bytes = audit(tmp_path / "batch", **options)
    decoded = audit(tmp_path / "batch", pixels=True, **options)
    assert [item.verdict.value for item in by_bytes.items] == ["pass", "pass"]
    assert all("neither decoded nor computed again" in item.message for item in by_bytes.items)
    assert [item.verdict.value for item in decoded.items] == ["fail", "pass"]
    assert "not computed again" in decoded.items[1].message
    assert "decoded" not in decoded.items[1].message


def test_report_names_the_folder_it_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "case 17").mkdir()
    monkeypatch.chdir(tmp_path / "case 17")
    assert "<title>Audit of case 17: unable</title>" in render_report(AuditReport(".", (), (), ()))
    assert "<title>Audit of a/b: unable</title>" in render_report(AuditReport("a/b", (), (), ()))
