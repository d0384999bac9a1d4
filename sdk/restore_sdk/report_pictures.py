"""Pictures of a report: source and result as seen, and the maps in colours over their legends."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from restore_manifests.errors import RestoreError
from restore_manifests.pixels import decode_png
from restore_sdk.case_files import CaseFiles
from restore_sdk.maps import colourise

__all__ = ["Figure", "before_and_after", "map_figures"]

LONGEST = 1100
"""Pixels on the longer side: two pictures side by side at 300 per inch on a page of paper."""

_LOSSLESS = 400 * 400  # pixels up to which PNG is used; above, JPEG at a quality that shows no blocks

_MAPS = {
    # the level drawn in the brightest colour (most changes are small ones), the legend, and what it says
    "edit": (
        100,
        ("change, CIEDE2000", "0", "10 or more"),
        "Edit map: where the picture was changed. Dark is unchanged, bright is changed plainly.",
    ),
    "confidence": (
        255,
        ("interval, 8-bit levels", "0", "127 or more"),
        "Confidence map: how wide the network's own interval is. Dark is sure of itself, bright is unsure.",
    ),
}


@dataclass(frozen=True)
class Figure:
    """An encoded picture with its caption; `data` is empty where there is none, and the caption says why."""

    caption: str
    data: bytes = b""
    mime: str = "image/png"


def before_and_after(case: CaseFiles) -> tuple[Figure, Figure]:
    """The source and the result."""
    return _source(case), _result(case.result)


def map_figures(case: CaseFiles) -> tuple[Figure, ...]:
    """The maps that the record names."""
    recorded = case.record.body.maps.model_dump() if case.record else {}
    return tuple(_map(kind, case) for kind in _MAPS if recorded.get(kind))


def _source(case: CaseFiles) -> Figure:
    from restore_sdk.evidence import decode_evidence  # noqa: PLC0415

    if case.source is None or case.source_path is None:
        return Figure("Before: the source was not at hand when this report was made.")
    try:
        pixels = decode_evidence(case.source, case.source_path.name).pixels
    except RestoreError as error:
        return Figure(f"Before: the source cannot be shown. {error.message}")
    return _shown("Before: the source", pixels)


def _result(data: bytes) -> Figure:
    try:
        pixels = decode_png(data)
    except RestoreError as error:
        return Figure(f"After: the result cannot be shown. {error.message}")
    return _shown("After: the restored result, an estimate", pixels)


def _map(kind: str, case: CaseFiles) -> Figure:
    top, legend, caption = _MAPS[kind]
    if kind not in case.maps:
        return Figure(f"The {kind} map was not at hand when this report was made.")
    try:
        pixels = decode_png(case.maps[kind][1])
    except RestoreError as error:
        return Figure(f"The {kind} map cannot be shown. {error.message}")
    if pixels.ndim != 2 or pixels.dtype != np.uint8:
        return Figure(f"The {kind} map cannot be shown: it is not one 8-bit channel.")
    levels = np.minimum(pixels.astype(np.uint16) * 255 // top, 255).astype(np.uint8)
    return _encoded(caption, colourise(levels, legend=legend, longest=LONGEST))


def _shown(caption: str, pixels: NDArray[Any]) -> Figure:
    height, width = pixels.shape[:2]
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    picture = Image.fromarray(pixels).convert("RGB")  # alpha is not shown
    picture.thumbnail((LONGEST, LONGEST), Image.Resampling.BOX, reducing_gap=None)
    reduced = ", shown smaller" if picture.size != (width, height) else ""
    return _encoded(f"{caption} ({width} x {height} pixels{reduced}).", picture)


def _encoded(caption: str, picture: Image.Image) -> Figure:
    stream = io.BytesIO()
    if picture.width * picture.height <= _LOSSLESS:
        picture.save(stream, "PNG", optimize=True)
        return Figure(caption, stream.getvalue())
    # not optimized: Pillow's buffer for that is too small for a picture that is mostly noise
    picture.save(stream, "JPEG", quality=92, subsampling=0)
    return Figure(caption, stream.getvalue(), "image/jpeg")
