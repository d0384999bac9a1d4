"""Plots of a measured suite as SVG pictures that stand alone: no font, no script, no file beside them.

They need the extra `plots` (matplotlib). Ours is the strong line; what others published is thin and says so.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from restore_sdk.published import Published

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["NO_PLOTS", "Plot", "draw_plots"]

NO_PLOTS = "There are no plots: the extra plots is not installed (pip install 'forensic-restore[plots]')."

_INK, _SOFT, _LINE, _OURS, _INPUT = "#1f2430", "#667085", "#d8dce3", "#0b5fd6", "#9aa3b2"
_PEERS = ("#b45309", "#7c3aed", "#0f766e", "#be123c", "#4d7c0f", "#a21caf", "#0369a1", "#854d0e")
_WIDTH, _HEIGHT = 7.2, 3.9
_NUMBER = re.compile(r"^(?:sigma |quality |x)(\d+)$")
_AXES = {"gaussian": "noise, sigma of 255", "jpeg": "JPEG quality", "sr": "enlargement, times"}
_QUANTITIES = {
    "noise_sigma": "noise, 8-bit levels",
    "blur_sigma": "blur, pixels",
    "jpeg_loss": "JPEG, points of quality",
    "scale_log2": "reduction, halvings",
}


@dataclass(frozen=True)
class Plot:
    """A picture with its caption; `svg` is a whole SVG document."""

    caption: str
    svg: bytes


def draw_plots(suite: str, rows: list[dict[str, Any]], peers: list[Published]) -> list[Plot] | None:
    """The plots of a suite's rows; None where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 -- an extra
    except ImportError:
        return None

    def figure(height: float = _HEIGHT, columns: int = 1) -> tuple[Figure, list[Axes]]:
        made = Figure(figsize=(_WIDTH, height), layout="constrained")
        axes = [made.add_subplot(1, columns, index + 1) for index in range(columns)]
        for one in axes:
            _style(one)
        return made, axes

    plots = []
    if suite in _AXES:
        made, (axes,) = figure()
        _levels(axes, suite, rows, peers)
        said = " Thin lines were published by others, not measured here." if peers else ""
        plots.append(Plot(f"PSNR of input and result.{said}", _svg(made)))
    elif suite == "estimate":
        made, several = figure(columns=len(_QUANTITIES))
        for axes, (name, label) in zip(several, _QUANTITIES.items(), strict=True):
            _errors(axes, [row for row in rows if row["setting"].startswith(f"{name}, ")], label)
        plots.append(Plot("Mean absolute error of each estimate, by kind of damage.", _svg(made)))
    elif suite == "calibration":
        made, (axes,) = figure()
        _coverage(axes, rows)
        caption = "Share of samples outside the interval; the mark is the upper bound of its expectation."
        plots.append(Plot(caption, _svg(made)))
    else:
        made, (axes,) = figure(1.2 + 0.55 * len(rows))
        _bars(axes, rows)
        plots.append(Plot("PSNR of input and result by setting.", _svg(made)))
        if suite == "hallucination":
            made, (axes,) = figure(1.2 + 0.75 * len(rows))
            _additions(axes, rows)
            plots.append(Plot("What the restoration changed and what it made worse, by setting.", _svg(made)))
    return plots


def _style(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_LINE)
    axes.tick_params(colors=_SOFT, labelsize=8.5, length=0)
    axes.grid(True, color=_LINE, linewidth=0.6)
    axes.set_axisbelow(True)


def _levels(axes: Axes, suite: str, rows: list[dict[str, Any]], peers: list[Published]) -> None:
    """PSNR against the strength of the damage, labelled at the end of each line."""
    places = [int(match[1]) for row in rows if (match := _NUMBER.match(row["setting"]))]
    ends: list[tuple[float, str, str, bool]] = []
    for index, peer in enumerate(peers):
        points = [
            (at, peer.psnr[row["setting"]])
            for at, row in zip(places, rows, strict=True)
            if row["setting"] in peer.psnr
        ]
        colour = _PEERS[index % len(_PEERS)]
        axes.plot(*zip(*points, strict=True), color=colour, linewidth=1, marker="o", markersize=2.5)
        if points[-1][0] == places[-1]:
            ends.append((points[-1][1], peer.method, colour, False))
        else:
            axes.annotate(
                peer.method, points[-1], (4, 4), textcoords="offset points", fontsize=7.5, color=colour
            )
    inputs, ours = ([row[key] for row in rows] for key in ("psnr_input", "psnr"))
    axes.plot(places, inputs, color=_INPUT, linewidth=1.6, linestyle="--", marker="o", markersize=4)
    axes.plot(places, ours, color=_OURS, linewidth=2.6, marker="o", markersize=6, zorder=5)
    ends += [(inputs[-1], "input", _SOFT, False), (ours[-1], "this model", _OURS, True)]
    low, high = axes.get_ylim()
    step = (high - low) / 22
    at = float("-inf")
    for value, text, colour, bold in sorted(ends):  # pushed apart upwards where they would overlap
        at = max(value, at + step)
        axes.annotate(
            text,
            (places[-1], value),
            (1.02, at),
            textcoords=("axes fraction", "data"),
            fontsize=8,
            color=colour,
            weight="bold" if bold else "normal",
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 4},
        )
    axes.set_ylim(low, max(high, at + step))
    axes.set_xticks(places)
    axes.set_xlabel(_AXES[suite], color=_INK, fontsize=9)
    axes.set_ylabel("PSNR, dB", color=_INK, fontsize=9)


def _bars(axes: Axes, rows: list[dict[str, Any]]) -> None:
    places = list(range(len(rows)))
    for shift, key, colour, label in (
        (-0.19, "psnr_input", _INPUT, "input"),
        (0.19, "psnr", _OURS, "this model"),
    ):
        bars = axes.barh([at + shift for at in places], [row[key] for row in rows], 0.34, color=colour)
        bars.set_label(label)
        axes.bar_label(bars, fmt="%.2f", fontsize=8, color=_INK, padding=3)
    _named(axes, rows, "PSNR, dB")


def _additions(axes: Axes, rows: list[dict[str, Any]]) -> None:
    places = list(range(len(rows)))
    names = [
        ("changed", _OURS, "changed, of pixels"),
        ("made_worse", "#be123c", "made worse, of pixels"),
        ("unsupported_input", _INPUT, "unsupported words, input"),
        ("unsupported", "#b45309", "unsupported words, result"),
    ]
    shown = [item for item in names if rows[0].get(item[0]) is not None]
    for index, (key, colour, label) in enumerate(shown):
        shift = 0.2 * (index - (len(shown) - 1) / 2)
        bars = axes.barh(
            [at + shift for at in places], [100 * (row[key] or 0) for row in rows], 0.18, color=colour
        )
        bars.set_label(label)
        axes.bar_label(bars, fmt="%.1f", fontsize=7.5, color=_INK, padding=3)
    _named(axes, rows, "share, per cent")


def _named(axes: Axes, rows: list[dict[str, Any]], label: str) -> None:
    axes.set_yticks(range(len(rows)), [row["setting"] for row in rows])
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlabel(label, color=_INK, fontsize=9)
    axes.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.18), ncols=4)


def _errors(axes: Axes, rows: list[dict[str, Any]], label: str) -> None:
    names = [row["setting"].partition(", ")[2] for row in rows]
    colours = [_OURS if name == "all" else _INPUT for name in names]
    bars = axes.bar(names, [row["mae"] for row in rows], color=colours)
    axes.bar_label(bars, fmt="%.2g", fontsize=7.5, color=_INK)
    axes.tick_params(axis="x", rotation=60)
    axes.set_title(label, fontsize=8.5, color=_INK)


def _coverage(axes: Axes, rows: list[dict[str, Any]]) -> None:
    names = [row["setting"] for row in rows]
    bars = axes.bar(names, [row["outside"] for row in rows], 0.6, color=_OURS)
    axes.bar_label(bars, fmt="%.3f", fontsize=8, color=_INK)
    axes.plot(names, [row["outside_upper"] for row in rows], linestyle="", marker="_", markersize=22,
              markeredgewidth=1.6, color=_INK)  # fmt: skip
    axes.axhline(0.1, color="#be123c", linewidth=1, linestyle="--")
    axes.annotate("nominal 0.10", (1.01, 0.1), xycoords=("axes fraction", "data"), fontsize=8, va="center",
                  color="#be123c")  # fmt: skip
    axes.set_ylabel("share outside", color=_INK, fontsize=9)


def _svg(figure: Figure) -> bytes:
    """The same bytes for the same figures."""
    from matplotlib import rc_context  # noqa: PLC0415

    stream = io.BytesIO()
    with rc_context({"svg.hashsalt": "restore", "svg.fonttype": "path"}):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    return stream.getvalue()
