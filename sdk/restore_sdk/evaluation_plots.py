"""Plots of a measured suite as SVG pictures that stand alone: no font, no script, no file beside them.

They need the extra `plots` (matplotlib). Ours is the strong line; what others published is thin and says so.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from restore_sdk.published import GMACS, Published

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["NO_PLOTS", "Plot", "draw_plots"]

NO_PLOTS = "There are no plots: the extra plots is not installed (pip install 'forensic-restore[plots]')."

_INK, _SOFT, _LINE, _OURS, _INPUT = "#1f2430", "#667085", "#d8dce3", "#0b5fd6", "#9aa3b2"
_PEERS = ("#b45309", "#7c3aed", "#0f766e", "#be123c", "#4d7c0f", "#a21caf", "#0369a1", "#854d0e")
_WIDTH, _HEIGHT = 7.2, 3.9
_NUMBER = re.compile(r"^(?:sigma |quality |x)(\d+)$")
_TYPICAL = "sigma 25"
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


def draw_plots(
    suite: str, rows: list[dict[str, Any]], peers: list[Published], gmacs: float | None = None
) -> list[Plot] | None:
    """The plots of a suite's rows; None where matplotlib is not installed.

    With `gmacs`, billions of multiply-adds of the model at 256 x 256, quality is also set against cost.
    """
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
        made, several = figure(columns=2 if peers else 1)
        _levels(several[0], suite, rows)
        caption = "PSNR of input and result."
        if peers:
            _distances(several[1], suite, rows, peers)
            caption += " Right: what others published (not measured here), above or below this model."
        plots.append(Plot(caption, _svg(made)))
        costs = [peer for peer in peers if peer.method in GMACS and _TYPICAL in peer.psnr]
        if gmacs and costs:
            made, (axes,) = figure()
            _costs(axes, next(row["psnr"] for row in rows if row["setting"] == _TYPICAL), gmacs, costs)
            caption = f"PSNR at {_TYPICAL} against cost. Grey: published by others, not measured here."
            plots.append(Plot(caption, _svg(made)))
    elif suite == "estimate":
        made, several = figure(columns=len(_QUANTITIES))
        for axes, (name, label) in zip(several, _QUANTITIES.items(), strict=True):
            own = [row for row in rows if row["setting"].startswith(f"{name}, ")]
            _errors(axes, [row for row in own if ": " not in row["setting"]], label)
        plots.append(Plot("Mean absolute error of each estimate, by kind of damage.", _svg(made)))
        if any(": " in row["setting"] for row in rows):
            made, several = figure(columns=3)
            for axes, (name, label) in zip(several, _QUANTITIES.items(), strict=False):
                _estimates(axes, [row for row in rows if row["setting"].startswith(f"{name}, ")], label)
            plots.append(
                Plot("Mean estimate of damage done alone, with its error, against the truth.", _svg(made))
            )
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


def _levels(axes: Axes, suite: str, rows: list[dict[str, Any]]) -> None:
    """PSNR of input and result against the strength of the damage."""
    places = _places(rows)
    for key, colour, label in (("psnr_input", _INPUT, "input"), ("psnr", _OURS, "this model")):
        strong = key == "psnr"
        axes.plot(
            places,
            [row[key] for row in rows],
            color=colour,
            linewidth=2.4 if strong else 1.6,
            linestyle="-" if strong else "--",
            marker="o",
            markersize=5,
            label=label,
        )
    axes.set_xticks(places)
    axes.set_xlabel(_AXES[suite], color=_INK, fontsize=9)
    axes.set_ylabel("PSNR, dB", color=_INK, fontsize=9)
    axes.legend(fontsize=8, frameon=False)


def _distances(axes: Axes, suite: str, rows: list[dict[str, Any]], peers: list[Published]) -> None:
    """How far the published figures are from ours, named at the end of each line."""
    places = _places(rows)
    ends: list[tuple[float, float, str, str]] = [(0.0, places[-1], "this model", _OURS)]
    for index, peer in enumerate(peers):
        colour = _PEERS[index % len(_PEERS)]
        points = [
            (at, peer.psnr[row["setting"]] - row["psnr"])
            for at, row in zip(places, rows, strict=True)
            if row["setting"] in peer.psnr
        ]
        axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.1, marker="o", markersize=3)
        ends.append((points[-1][1], points[-1][0], peer.method, colour))
    axes.axhline(0, color=_OURS, linewidth=2.4)
    low, high = axes.get_ylim()
    step = (high - low) / 18
    height = float("-inf")
    for value, place, text, colour in sorted(ends):  # pushed apart upwards where they would overlap
        height = max(value, height + step)
        axes.annotate(
            text,
            (place, value),
            (1.04, height),
            textcoords=("axes fraction", "data"),
            fontsize=8,
            color=colour,
            weight="bold" if text == "this model" else "normal",
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3},
        )
    axes.set_ylim(low, max(high, height + step))
    axes.set_xticks(places)
    axes.set_xlabel(_AXES[suite], color=_INK, fontsize=9)
    axes.set_ylabel("published by others minus this model, dB", color=_INK, fontsize=9)


def _costs(axes: Axes, psnr: float, gmacs: float, peers: list[Published]) -> None:
    for peer in peers:
        place = (GMACS[peer.method], peer.psnr[_TYPICAL])
        axes.plot(*place, marker="o", markersize=6, color=_INPUT, linestyle="")
        axes.annotate(peer.method, place, (6, -10), textcoords="offset points", fontsize=8, color=_SOFT)
    axes.plot(gmacs, psnr, marker="o", markersize=8, color=_OURS, linestyle="")
    axes.annotate(
        "this model",
        (gmacs, psnr),
        (8, -3),
        textcoords="offset points",
        fontsize=8.5,
        color=_OURS,
        weight="bold",
    )
    axes.set_xscale("log")
    axes.margins(x=0.12, y=0.15)
    ticks = [5, 10, 20, 50, 100, 200, 500, 1000]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    costs = [gmacs, *(GMACS[peer.method] for peer in peers)]
    axes.set_xlim(min(costs) / 1.6, max(costs) * 1.9)
    axes.set_xlabel("billions of multiply-adds, 256 x 256 pixels", color=_INK, fontsize=9)
    axes.set_ylabel("PSNR, dB", color=_INK, fontsize=9)


def _places(rows: list[dict[str, Any]]) -> list[float]:
    return [float(match[1]) for row in rows if (match := _NUMBER.match(row["setting"]))]


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
    figure = axes.get_figure()
    assert figure is not None  # noqa: S101 -- it was made for them
    figure.legend(fontsize=8, frameon=False, loc="outside upper center", ncols=2)


def _errors(axes: Axes, rows: list[dict[str, Any]], label: str) -> None:
    names = [row["setting"].partition(", ")[2] for row in rows]
    colours = [_OURS if name == "all" else _INPUT for name in names]
    bars = axes.bar(names, [row["mae"] for row in rows], color=colours)
    axes.bar_label(bars, fmt="%.2g", fontsize=7.5, color=_INK)
    axes.tick_params(axis="x", rotation=60)
    axes.set_title(label, fontsize=8.5, color=_INK)


def _estimates(axes: Axes, rows: list[dict[str, Any]], label: str) -> None:
    """What was said on average, plus and minus the mean error, at each level of damage done alone."""
    series: dict[str, list[tuple[float, float, float]]] = {}
    for row in rows:
        _, alone, level = row["setting"].partition(", alone: ")
        if not alone:
            continue
        words = level.split()
        truth = 100 - float(words[-1]) if "quality" in words else float(words[-1])
        series.setdefault(level.removesuffix(words[-1]), []).append((truth, truth + row["bias"], row["mae"]))
    for (name, points), colour in zip(series.items(), (_OURS, _SOFT), strict=False):
        points.sort()
        truths, said, errors = zip(*points, strict=True)
        axes.plot(truths, truths, color=_LINE, linewidth=1)
        axes.plot(truths, said, color=colour, marker="o", markersize=3.5, linewidth=1.2)
        if not name.startswith("cropped"):  # whose errors are mostly bias, which the line shows
            axes.errorbar(truths, said, errors, color=colour, linestyle="", elinewidth=1.2, capsize=2)
        if len(series) > 1:
            axes.annotate(
                "cropped" if "cropped" in name else "whole", (truths[-1], said[-1]), (-4, 6),
                textcoords="offset points", fontsize=7.5, ha="right", color=colour,
            )  # fmt: skip
    axes.set_title(label, fontsize=8.5, color=_INK)
    axes.set_xlabel("truth", color=_INK, fontsize=9)


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
