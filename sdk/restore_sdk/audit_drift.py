"""What an audit reads from the manifests themselves, and whether it changes over time.

Manifests are taken at their word here, verified or not: drift is a question to ask, not a verdict.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restore_manifests.canonical import MAX_JSON_BYTES
from restore_manifests.errors import ManifestError, UsageError
from restore_manifests.schema import parse_manifest
from restore_sdk.verification import read_file

__all__ = ["Facts", "Period", "Series", "drift_of", "facts_of"]

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
            "source_sha256": self.source_sha256,
            "result_pixels_sha256": self.result_pixels_sha256,
            "size": self.size,
            "models": list(self.models),
            "abstained": self.abstained,
            "values": self.values,
        }


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
    """One figure over time. `drifted`: its later half is distributed differently from its earlier."""

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
        body = parse_manifest(read_file(manifest, max_bytes=MAX_JSON_BYTES)).body
    except (ManifestError, UsageError):
        return None
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
    )


def drift_of(records: list[Facts]) -> list[Series]:
    """One series for each figure that at least two records hold, by the manifests' `created`."""
    records = sorted(records, key=lambda record: record.created)
    names = sorted({name for record in records for name in record.values})
    points = {name: [(r.created, r.values[name]) for r in records if name in r.values] for name in names}
    points = {name: found for name, found in points.items() if len(found) > 1}
    return [_series(name, found, SIGNIFICANCE / len(points)) for name, found in points.items()]


def _series(name: str, points: list[tuple[str, float]], threshold: float) -> Series:
    width = _period_width(points[0][0], points[-1][0])
    groups: dict[str, list[float]] = {}
    for created, value in points:
        groups.setdefault(created[:width], []).append(value)
    periods = tuple(Period(when, len(v), *_quartiles(v)) for when, v in groups.items())
    # split at a moment, not within one: records of the same second have no order
    middle = points[len(points) // 2][0]
    earlier = [value for created, value in points if created < middle]
    later = [value for created, value in points if created >= middle]
    if len(points) < MIN_RECORDS or min(len(earlier), len(later)) < MIN_RECORDS // 4:
        return Series(name, periods, None, drifted=False, message=f"{name}: too few records to tell.")
    from scipy.stats import ks_2samp  # type: ignore[import-untyped]  # noqa: PLC0415  (scipy has no types)

    p_value = float(ks_2samp(earlier, later, method="auto").pvalue)
    before, after = _quartiles(earlier)[1], _quartiles(later)[1]
    drifted = p_value < threshold
    change = "is distributed differently since" if drifted else "is distributed as before, since"
    message = f"{name} {change} {middle[:10]}: median {before:.4g} then {after:.4g} (p = {p_value:.2g})."
    return Series(name, periods, p_value, drifted, message)


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
