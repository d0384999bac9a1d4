"""A measured suite as one HTML page that needs nothing else: tables, plots, and peers' published figures."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from restore_sdk.evaluation_plots import NO_PLOTS, draw_plots
from restore_sdk.page_environment import page_environment
from restore_sdk.published import Published, published_for

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["render_evaluation"]


def render_evaluation(document: dict[str, Any], *, now: datetime | None = None) -> str:
    """The page of a document of `restore evaluate`. `now` is printed in it (UTC; default: this moment)."""
    rows: list[dict[str, Any]] = document["rows"]
    dataset, images = str(rows[0]["dataset"]), int(rows[0]["images"])
    peers = published_for(document["suite"], dataset, images)
    plots = draw_plots(document["suite"], rows, peers, document.get("gmacs"))
    notes = [*document["notes"], *([NO_PLOTS] if plots is None else [])]
    return (
        _environment()
        .get_template("evaluation.html.j2")
        .render(
            document=document,
            dataset=dataset,
            heads=list(rows[0])[1:],  # the set is in the title
            rows=[[_cell(value) for value in list(row.values())[1:]] for row in rows],
            beside=_beside(rows, peers),
            plots=plots or [],
            notes=notes,
            when=(now or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M UTC"),
            version=version("forensic-restore"),
        )
    )


def _beside(rows: list[dict[str, Any]], peers: list[Published]) -> list[list[str]]:
    """A table of PSNR with a column per setting: ours, then what others published; empty without peers."""
    if not peers:
        return []
    settings = [row["setting"] for row in rows]
    ours = [("this model, measured here", [row["psnr"] for row in rows])]
    theirs = [(peer.method, [peer.psnr.get(setting) for setting in settings]) for peer in peers]
    return [["", *settings], *([name, *(_decibels(v) for v in values)] for name, values in ours + theirs)]


def _decibels(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _cell(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 1 else f"{value:.2f}"
    return str(value)


@cache
def _environment() -> Environment:
    return page_environment()
