"""Small pictures of a bundle as data URIs: source, result, and the maps in colours that can be seen."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from restore_manifests.errors import RestoreError
from restore_manifests.pixels import decode_png
from restore_sdk.verification import beside, read_file

if TYPE_CHECKING:
    from restore_sdk.audit_drift import Facts

__all__ = ["FULL_SCALE", "map_colours", "shrink", "thumbnails_of"]

SIDE = 240
"""Longest side of a thumbnail in pixels: about 8 kilobytes each as JPEG."""

FULL_SCALE = {"edit": 100, "confidence": 80}
"""Map value shown in the brightest colour: CIEDE2000 of 10, an interval of 40 of 255 levels."""


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


def map_colours(values: NDArray[np.uint8], kind: Literal["edit", "confidence"]) -> NDArray[np.uint8]:
    """A map `(H, W)` as RGB `(H, W, 3)`: black for none to yellow for `FULL_SCALE` and more (inferno)."""
    share = np.minimum(values.astype(np.uint16) * 255 // FULL_SCALE[kind], 255).astype(np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(share, cv2.COLORMAP_INFERNO)[..., ::-1])


def shrink(pixels: NDArray[Any], side: int) -> NDArray[np.uint8]:
    """Pixels (uint8 or uint16, grey or RGB) as 8-bit RGB of at most `side` pixels a side; never enlarged."""
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):  # alpha is not shown
        pixels = pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :3]
    height, width = pixels.shape[:2]
    share = min(1.0, side / max(height, width))
    if share < 1:
        size = (max(1, round(width * share)), max(1, round(height * share)))
        pixels = cv2.resize(np.ascontiguousarray(pixels), size, interpolation=cv2.INTER_AREA)
    if pixels.dtype == np.uint16:
        pixels = (pixels // 257).astype(np.uint8)
    return np.dstack([pixels] * 3) if pixels.ndim == 2 else np.ascontiguousarray(pixels)


def _picture(role: str, path: Path) -> NDArray[np.uint8]:
    data = read_file(path)
    if role == "before":
        from restore_sdk.evidence import decode_evidence  # noqa: PLC0415

        return shrink(decode_evidence(data, path.name).pixels, SIDE)
    pixels: NDArray[Any] = decode_png(data)
    if role == "after":
        return shrink(pixels, SIDE)
    small = shrink(pixels, SIDE)[..., 0]
    return map_colours(small, "edit" if role == "edit" else "confidence")


def _uri(pixels: NDArray[np.uint8]) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=78, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
