"""Edit map: how visibly each pixel changed (CIEDE2000), and pictures of maps for people.

Samples are taken as sRGB under D65 whatever the embedded profile says, so that a map depends on pixel values
alone; and `ciede2000` computes the same bits from them everywhere.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from restore_manifests.errors import UsageError
from restore_sdk.ciede2000 import delta_e_2000, lab

__all__ = ["EDIT_MAP_METHOD", "colourise", "contact_sheet", "edit_map"]

EDIT_MAP_METHOD = "CIEDE2000 between source and result as sRGB D65; one level is 0.1, clipped at 25.5"
"""What the manifest says of the edit map."""

_BAND = 1 << 15  # pixels worked on at a time: the intermediate arrays stay in the processor's cache
_TOP = 2000  # tenths; CIEDE2000 between sRGB colours stays below 120


def edit_map(before: NDArray[Any], after: NDArray[Any]) -> tuple[NDArray[np.uint8], dict[str, float]]:
    """CIEDE2000 between two aligned pictures, uint8 or uint16, `(H, W)` grey or `(H, W, 3)` sRGB.

    Returns a uint8 `(H, W)` map in tenths, rounded and clipped at 25.5, and statistics in units of CIEDE2000,
    taken before clipping: `mean`, `p95`, `p99`, `max`, and the shares of pixels above 1 (just visible side by
    side), 2.3 (just noticeable) and 5 (plain). Raises UsageError where the sizes differ.
    """
    if before.shape[:2] != after.shape[:2] or not before.size:
        raise UsageError(
            f"Pictures of {before.shape[:2]} and {after.shape[:2]} cannot be compared pixel by pixel.",
            hint="Resample the first to the size of the second.",
        )
    height, width = before.shape[:2]
    tenths = np.zeros((height, width), np.uint8)
    counts = np.zeros(_TOP + 1, np.int64)
    rows = max(1, _BAND // width)
    for top in range(0, height, rows):
        old, new = before[top : top + rows], after[top : top + rows]
        difference = np.rint(delta_e_2000(lab(old), lab(new)) * 10).astype(np.int64)
        counts += np.bincount(difference.ravel(), minlength=_TOP + 1)
        tenths[top : top + rows] = np.minimum(difference, 255)
    return tenths, _statistics(counts)


def _statistics(counts: NDArray[np.int64]) -> dict[str, float]:
    """Figures from the histogram of tenths: whole numbers up to the last division, so exact."""
    pixels = int(counts.sum())
    reached = np.cumsum(counts)

    def share_above(tenth: int) -> float:
        return round((pixels - int(reached[tenth])) / pixels, 6)

    def percentile(percent: int) -> float:
        return int(np.searchsorted(reached * 100, percent * pixels)) / 10

    return {
        "share_above_1": share_above(10),
        "share_above_2_3": share_above(23),
        "share_above_5": share_above(50),
        "mean": round(int(counts @ np.arange(counts.size)) / (10 * pixels), 6),
        "p95": percentile(95),
        "p99": percentile(99),
        "max": percentile(100),
    }


# ---- pictures for people ---------------------------------------------------------------------------------

# Viridis (S. van der Walt, N. Smith, CC0) as a polynomial of degree six per channel, constant term first
# (fit by M. Zucker, CC0): perceptually uniform, and readable without colour vision.
_VIRIDIS = (
    (0.2777273272, 0.1050930431, -0.3308618287, -4.6342304990, 6.2282699363, 4.7763849977, -5.4354558559),
    (0.0054073445, 1.4046135299, 0.2148475595, -5.7991009734, 14.1799333668, -13.7451453777, 4.6458526122),
    (0.3340998053, 1.3845901626, 0.0950951630, -19.3324409563, 56.6905526007, -65.3530326334, 26.3124352496),
)
_INK, _PAPER, _GAP = (32, 32, 36), (255, 255, 255), 12


@functools.cache
def _palette() -> NDArray[np.uint8]:
    at = np.arange(256) / 255
    channels = [np.polynomial.polynomial.polyval(at, terms) for terms in _VIRIDIS]
    return np.rint(np.clip(np.stack(channels, axis=-1), 0, 1) * 255).astype(np.uint8)


def colourise(
    levels: NDArray[np.uint8],
    *,
    legend: tuple[str, str, str] = ("change, CIEDE2000", "0", "25.5 or more"),
    longest: int | None = None,
) -> Image.Image:
    """A map, uint8 `(H, W)`, as an sRGB picture in viridis over a legend.

    `legend` says what is shown, what level 0 means and what level 255 means. With `longest` the map is first
    averaged down so that neither side is longer than that many pixels.
    """
    shown = Image.fromarray(levels)
    if longest and max(shown.size) > longest:
        shown.thumbnail((longest, longest), Image.Resampling.BOX)
    picture = Image.fromarray(_palette()[np.asarray(shown)])
    title, low, high = legend
    font = ImageFont.load_default(13)
    # The title stands in the middle, so the longer of the two ends decides on both sides of it.
    ends = max(font.getlength(low), font.getlength(high))
    width = max(picture.width, round(font.getlength(title) + 2 * ends) + 2 * _GAP)
    sheet = Image.new("RGB", (width, picture.height + 46), _PAPER)
    sheet.paste(picture, ((width - picture.width) // 2, 0))
    bar = Image.fromarray(_palette()[None]).resize((width, 14), Image.Resampling.NEAREST)
    sheet.paste(bar, (0, picture.height + 6))
    draw = ImageDraw.Draw(sheet)
    line = picture.height + 24
    draw.text((2, line), low, _INK, font)
    draw.text((width / 2, line), title, _INK, font, anchor="ma")
    draw.text((width - 2, line), high, _INK, font, anchor="ra")
    return sheet


def contact_sheet(
    before: NDArray[Any],
    after: NDArray[Any],
    edit: NDArray[np.uint8],
    confidence: NDArray[np.uint8] | None = None,
    title: str = "",
    *,
    confidence_legend: tuple[str, str, str] = ("confidence map", "level 0", "level 255"),
    cell: int = 560,
) -> Image.Image:
    """Source, result and maps side by side with captions, each at most `cell` pixels on its longer side.

    `before` and `after` are uint8 or uint16, `(H, W)` or `(H, W, 3)`, and may differ in size.
    """
    panels = [
        (f"before, {before.shape[1]} x {before.shape[0]}", _panel(before, cell)),
        (f"after, {after.shape[1]} x {after.shape[0]}", _panel(after, cell)),
        ("where it was changed", colourise(edit, longest=cell)),
    ]
    if confidence is not None:
        panels.append(("how unsure it is", colourise(confidence, legend=confidence_legend, longest=cell)))
    columns = 2
    width = max(panel.width for _, panel in panels)
    rows = [panels[at : at + columns] for at in range(0, len(panels), columns)]
    heights = [30 + max(panel.height for _, panel in row) for row in rows]
    top = 44 if title else _GAP
    sheet = Image.new("RGB", (columns * (width + _GAP) + _GAP, top + sum(heights) + _GAP * len(rows)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, 10), title, _INK, ImageFont.load_default(22))
    for row, height in zip(rows, heights, strict=True):
        for column, (caption, panel) in enumerate(row):
            left = _GAP + column * (width + _GAP)
            draw.text((left, top + 6), caption, _INK, ImageFont.load_default(16))
            sheet.paste(panel, (left, top + 30))
        top += height + _GAP
    return sheet


def _panel(samples: NDArray[Any], cell: int) -> Image.Image:
    if samples.dtype == np.uint16:
        samples = ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
    picture = Image.fromarray(samples).convert("RGB")
    picture.thumbnail((cell, cell), Image.Resampling.LANCZOS)
    return picture
