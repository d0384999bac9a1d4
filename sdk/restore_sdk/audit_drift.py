"""What an audit reads from the manifests themselves, and whether it changes over time.

Manifests are taken at their word here, verified or not: drift is a question to ask, not a verdict.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import threading
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from restore_manifests.canonical import MAX_JSON_BYTES
from restore_manifests.errors import ManifestError, UsageError
from restore_manifests.schema import parse_manifest
from restore_sdk.stored_file import read_file

__all__ = ["Facts", "Period", "Reference", "Series", "drift_of", "facts_of", "prepare"]

MIN_RECORDS = 20
"""Fewer records than this say nothing about drift: ten on each side is little already."""

SIGNIFICANCE = 0.01
"""Of the two-sample test, divided by the number of series (Bonferroni)."""


@dataclass(frozen=True)
class Facts:
    """What one manifest says. `values` holds the figures whose distribution is followed."""

    created: str
    source: str
    result: str
    edit: str | None
    confidence: str | None
    source_sha256: str
    result_pixels_sha256: str
    size: str
    models: tuple[str, ...]
    abstained: bool
    values: dict[str, float]
    result_sha256: str = ""
    """Of the sealed result file."""

    @property
    def names(self) -> tuple[str, ...]:
        """The recorded names of the bundle's pictures."""
        return tuple(name for name in (self.result, self.edit, self.confidence) if name)

    def to_json(self) -> dict[str, Any]:
        """The record as an audit's item shows it."""
        return {
            "created": self.created,
            "source": self.source,
            "result": self.result,
            "edit": self.edit,
            "confidence": self.confidence,
            "result_sha256": self.result_sha256,
            "source_sha256": self.source_sha256,
            "result_pixels_sha256": self.result_pixels_sha256,
            "size": self.size,
            "models": list(self.models),
            "abstained": self.abstained,
            "values": self.values,
        }


@dataclass(frozen=True)
class Reference:
    """The period, days included, that all other records are compared with."""

    first: date
    last: date

    @classmethod
    def parse(cls, text: str) -> Reference:
        """`2026-01-01..2026-03-31`. Raises UsageError for everything else."""
        try:
            first, last = (date.fromisoformat(day) for day in text.split(".."))
        except ValueError:
            first, last = date.max, date.min
        if first > last:
            raise UsageError(
                f"{text!r} is not a period.", hint="Give two days, such as 2026-01-01..2026-03-31."
            )
        return cls(first, last)

    def holds(self, created: str) -> bool:
        """Whether a record of that time (RFC 3339, UTC) belongs to it."""
        return self.first.isoformat() <= created[:10] <= self.last.isoformat()

    def __str__(self) -> str:
        return f"{self.first} to {self.last}"


@dataclass(frozen=True)
class Period:
    """The records of one day, month or year: how many, and quartiles of the figure."""

    name: str
    count: int
    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Series:
    """One figure over time. `drifted`: the later half is distributed differently from the earlier.

    Where a reference period was stated: the records outside it differently from those inside.
    """

    name: str
    periods: tuple[Period, ...]
    p_value: float | None
    drifted: bool
    message: str

    def to_json(self) -> dict[str, Any]:
        """The series as `restore audit --json` prints it."""
        return {
            "name": self.name,
            "drifted": self.drifted,
            "p_value": self.p_value,
            "message": self.message,
            "periods": [
                {"name": p.name, "count": p.count, "q25": p.low, "median": p.median, "q75": p.high}
                for p in self.periods
            ],
        }


def facts_of(manifest: Path) -> Facts | None:
    """What the manifest says; None if it cannot be read, which the verification reports."""
    try:
        record = parse_manifest(read_file(manifest, max_bytes=MAX_JSON_BYTES))
    except (ManifestError, UsageError):
        return None
    body = record.body
    edit, confidence = body.maps.edit, body.maps.confidence
    values = {f"estimate: {name}": estimate.value for name, estimate in body.degradation.items()}
    for kind, recorded in (("edit map", edit), ("confidence map", confidence)):
        values |= {f"{kind}: {name}": v for name, v in recorded.statistics.items()} if recorded else {}
    return Facts(
        created=body.created,
        source=body.source.name,
        result=body.result.name,
        edit=edit.name if edit else None,
        confidence=confidence.name if confidence else None,
        source_sha256=body.source.file_sha256,
        result_pixels_sha256=body.result.pixels_sha256,
        size=f"{body.result.width} x {body.result.height}",
        models=tuple(model.id for model in body.models),
        abstained=body.abstained,
        values={**values, "abstained": float(body.abstained)},
        result_sha256=record.files.result.sha256,
    )


def prepare(records: int) -> None:
    """Load in a thread what `drift_of` will need for so many records, while others do the work before it."""
    if records >= MIN_RECORDS:
        threading.Thread(target=_load_tests).start()


def _load_tests() -> None:
    with contextlib.suppress(ImportError):  # who needs it will say so
        importlib.import_module("scipy.stats")


def drift_of(records: list[Facts], reference: Reference | None = None) -> list[Series]:
    """One series for each figure that at least two records hold, by the manifests' `created`."""
    records = sorted(records, key=lambda record: record.created)
    names = sorted({name for record in records for name in record.values})
    points = {name: [(r.created, r.values[name]) for r in records if name in r.values] for name in names}
    points = {name: found for name, found in points.items() if len(found) > 1}
    return [_series(name, found, SIGNIFICANCE / len(points), reference) for name, found in points.items()]


def _series(
    name: str, points: list[tuple[str, float]], threshold: float, reference: Reference | None
) -> Series:
    width = _period_width(points[0][0], points[-1][0])
    groups: dict[str, list[float]] = {}
    for created, value in points:
        groups.setdefault(created[:width], []).append(value)
    periods = tuple(Period(when, len(v), *_quartiles(v)) for when, v in groups.items())
    if reference is None:
        # split at a moment, not within one: records of the same second have no order
        middle = points[len(points) // 2][0]
        when = f"since {middle[:10]}"
        before = [value for created, value in points if created < middle]
        after = [value for created, value in points if created >= middle]
    else:
        when = f"outside the reference period {reference}"
        before = [value for created, value in points if reference.holds(created)]
        after = [value for created, value in points if not reference.holds(created)]
    if len(points) < MIN_RECORDS or min(len(before), len(after)) < MIN_RECORDS // 4:
        return Series(name, periods, None, drifted=False, message=f"{name}: too few records to tell.")
    p_value = _p_value(before, after)
    drifted = p_value < threshold
    change = f"is distributed differently {when}" if drifted else f"is distributed as before, {when}"
    if _are_flags(before) and _are_flags(after):
        figures = f"share {sum(before) / len(before):.3g} then {sum(after) / len(after):.3g}"
    else:
        figures = f"median {_quartiles(before)[1]:.4g} then {_quartiles(after)[1]:.4g}"
    return Series(name, periods, p_value, drifted, f"{name} {change}: {figures} (p = {p_value:.2g}).")


def _p_value(before: list[float], after: list[float]) -> float:
    """Of Fisher's exact test for yes-or-no figures, of the two-sample Kolmogorov-Smirnov test for others."""
    from scipy.stats import fisher_exact, ks_2samp  # type: ignore[import-untyped]  # noqa: PLC0415  (no types)

    if _are_flags(before) and _are_flags(after):
        counts = [[int(sum(values)), len(values) - int(sum(values))] for values in (before, after)]
        return float(fisher_exact(counts).pvalue)
    return float(ks_2samp(before, after, method="auto").pvalue)


def _are_flags(values: list[float]) -> bool:
    return all(value in (0.0, 1.0) for value in values)


def _period_width(first: str, last: str) -> int:
    """How much of an RFC 3339 time names a period, so that there are few enough to read."""
    if first[:7] == last[:7]:
        return 10  # days
    months = (int(last[:4]) - int(first[:4])) * 12 + int(last[5:7]) - int(first[5:7])
    return 7 if months < 36 else 4


def _quartiles(values: list[float]) -> tuple[float, float, float]:
    ordered = sorted(values)

    def at(share: float) -> float:
        place = share * (len(ordered) - 1)
        below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
        return below + (above - below) * (place - math.floor(place))

    return at(0.25), at(0.5), at(0.75)
