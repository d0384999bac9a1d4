"""Where the marks of a plot go: one figure over time, as quartile bars and medians, in units of an SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass

from restore_sdk.audit_drift import Series

__all__ = ["HEIGHT", "WIDTH", "Mark", "Plot", "plot_of"]

WIDTH, HEIGHT = 640, 150
"""Of the drawing, in its own units."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 10, 24
_MOST_LABELS = 8


@dataclass(frozen=True)
class Mark:
    """One period: a bar from the lower to the upper quartile (y downward) with a dot at the median."""

    x: float
    top: float
    bottom: float
    median: float
    half_width: float
    label: str
    """Under the axis; empty where there is no room."""
    title: str


@dataclass(frozen=True)
class Plot:
    """The marks, the line through the medians, and the levels named on the left axis, each with its y."""

    marks: tuple[Mark, ...]
    line: str
    levels: tuple[tuple[float, str], ...]


def plot_of(series: Series) -> Plot | None:
    """None where there is nothing to draw: fewer than two periods, or figures too large for a drawing."""
    periods = series.periods
    low, high = min(p.low for p in periods), max(p.high for p in periods)
    if len(periods) < 2 or not math.isfinite(high - low):
        return None
    span = (high - low) or 1.0
    step = (WIDTH - _LEFT - _RIGHT) / len(periods)

    def y(value: float) -> float:
        share = (value - low) / span if high > low else 0.5
        return round(HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM), 1)

    every = -(-len(periods) // _MOST_LABELS)
    marks = tuple(
        Mark(
            x=round(_LEFT + (number + 0.5) * step, 1),
            top=y(period.high),
            bottom=y(period.low),
            median=y(period.median),
            half_width=round(min(step * 0.35, 14.0), 1),
            label=period.name if number % every == 0 else "",
            title=f"{period.name}: {period.count} record(s), median {period.median:.4g}, "
            f"quartiles {period.low:.4g} and {period.high:.4g}",
        )
        for number, period in enumerate(periods)
    )
    levels = {y(value): f"{value:.4g}" for value in (low, high)}
    return Plot(marks, " ".join(f"{mark.x},{mark.median}" for mark in marks), tuple(levels.items()))
