"""Metadata of evidence: taken where it can be carried, named as lost where it cannot."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

from PIL import Image

from restore_sdk.evidence_parts import Found, ImageFormat, printable_name

__all__ = ["pillow_metadata", "take_dpi", "take_exif", "take_icc", "take_orientation", "take_xmp"]


def pillow_metadata(image: Image.Image, kind: ImageFormat, found: Found) -> None:
    info = image.info
    tags: Mapping[int, Any] = {}
    try:
        tags = image.getexif()
    except Exception:  # damaged tags must not hide good pixels
        found.lost.append("EXIF (damaged)")
    else:
        take_exif(info.get("exif"), found)
    take_orientation(tags.get(0x0112), found)
    take_icc(info.get("icc_profile"), found)
    take_xmp(info.get("xmp"), found)
    if (
        kind is not ImageFormat.JPEG or "jfif_density" in info or 0x011A in tags
    ):  # else Pillow makes up 72 dpi
        take_dpi(info.get("dpi"), found)
    text = dict(getattr(image, "text", {}))
    text.pop("XML:com.adobe.xmp", None)
    if comment := info.get("comment"):
        text["Comment"] = (
            comment.rstrip(b"\0").decode("latin-1") if isinstance(comment, bytes) else str(comment)
        )
    for key, value in text.items():
        # "Raw profile" texts are old wrappings of EXIF and would tell the orientation before it was applied
        if (
            not key.isprintable()
            or not 0 < len(key) < 80
            or "\0" in value
            or key.startswith("Raw profile type")
        ):
            found.lost.append(f"text {printable_name(key)}")
        else:
            found.text[key] = str(value)
    if (frames := getattr(image, "n_frames", 1)) > 1:
        found.lost.append(f"frames 2 to {frames} (only the first is read)")


def take_orientation(value: object, found: Found) -> None:
    if isinstance(value, int) and 1 <= value <= 8:
        found.orientation = value


def take_icc(icc: bytes | None, found: Found) -> None:
    if not icc or found.recoloured:
        return
    space = b"GRAY" if found.pixels.ndim == 2 else b"RGB "  # ICC.1:2022, 7.2.6
    if icc[16:20] == space:
        found.icc = icc
    else:
        found.lost.append("ICC profile (for another colour space than the pixels)")


def take_exif(exif: bytes | None, found: Found) -> None:
    if not exif:
        return
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        (following,) = struct.unpack_from(
            f"{order}I", exif.ljust(start + 6 + 12 * count, b"\0"), start + 2 + 12 * count
        )
    except struct.error:
        found.lost.append("EXIF (damaged)")
        return
    found.exif = exif
    if following:
        found.lost.append("EXIF thumbnail (it shows the source, not the result)")


def take_xmp(xmp: bytes | str | None, found: Found) -> None:
    if not xmp:
        return
    try:
        packet = xmp.encode() if isinstance(xmp, str) else xmp.rstrip(b"\0")
        packet.decode()
    except UnicodeError:
        found.lost.append("XMP (not UTF-8)")
        return
    if b"\0" in packet:
        found.lost.append("XMP (damaged)")
    else:
        found.xmp = packet


def take_dpi(dpi: object, found: Found) -> None:
    try:
        x, y = (float(value) for value in dpi)  # type: ignore[attr-defined]  # anything may stand in damaged files
    except (TypeError, ValueError, ArithmeticError):
        return
    if all(math.isfinite(value) and 0.01 < value < 1e6 for value in (x, y)):
        found.dpi = (x, y)
