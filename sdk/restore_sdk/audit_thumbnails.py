"""Small pictures of a bundle as data URIs: source, result, and the maps in colours that can be seen."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from restore_manifests.errors import RestoreError
from restore_manifests.pixels import decode_png
from restore_sdk.maps import colourise
from restore_sdk.verification import beside, read_file

if TYPE_CHECKING:
    from restore_sdk.audit_drift import Facts

__all__ = ["thumbnails_of"]

SIDE = 240
"""Longest side of a thumbnail in pixels: about 8 kilobytes each as JPEG."""

_MAPS = {
    # the level shown in the brightest colour, and a legend that fits: most changes are small ones
    "edit": (100, ("dE00", "0", "10+")),
    "confidence": (255, ("levels", "0", "127+")),
}


def thumbnails_of(folder: Path, result: Path, facts: Facts | None) -> dict[str, str]:
    """Data URIs by role, without those that are not there or cannot be decoded: verification says so."""
    files = {"after": result}
    if facts is not None:
        names = {"before": facts.source, "edit": facts.edit, "confidence": facts.confidence}
        files |= {role: path for role, name in names.items() if name and (path := beside(folder, name))}
    found: dict[str, str] = {}
    for role in ("before", "after", "edit", "confidence"):
        try:
            if role in files:
                found[role] = _uri(_picture(role, files[role]))
        except RestoreError:
            continue
    return found


def _picture(role: str, path: Path) -> Image.Image:
    data = read_file(path)
    if role == "before":
        from restore_sdk.evidence import decode_evidence  # noqa: PLC0415

        return _shrunk(decode_evidence(data, path.name).pixels)
    pixels: NDArray[Any] = decode_png(data)
    if role == "after":
        return _shrunk(pixels)
    top, legend = _MAPS[role]
    levels = np.asarray(_shrunk(pixels).convert("L"), np.uint16)
    return colourise(np.minimum(levels * 255 // top, 255).astype(np.uint8), legend=legend)


def _shrunk(pixels: NDArray[Any]) -> Image.Image:
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    picture = Image.fromarray(pixels)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=None)
    return picture


def _uri(picture: Image.Image) -> str:
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "JPEG", quality=80, optimize=True)  # alpha is not shown
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
