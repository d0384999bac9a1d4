"""TIFF files as evidence, 16-bit samples and all."""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Mapping

import cv2
import numpy as np
import tifffile
from PIL import Image

from restore_sdk.evidence_metadata import take_dpi, take_icc, take_orientation, take_xmp
from restore_sdk.evidence_parts import (
    Decoder,
    Found,
    ImageFormat,
    check_size,
    damaged,
    keep,
    printable_name,
    unsupported,
)
from restore_sdk.evidence_pillow import pillow, pillow_pixels

__all__ = ["decode_tiff", "take_tiff_tags", "wide_tiff"]

_EXIF_TAGS = frozenset({270, 271, 272, 305, 306, 315, 316, 33432, 34665, 34853})


_STRUCTURE = frozenset(
    {
        254,
        255,
        256,
        257,
        258,
        259,
        262,
        266,
        273,
        274,
        277,
        278,
        279,
        282,
        283,
        284,
        292,
        293,
        296,
        297,
        317,
        320,
    }
    | {322, 323, 324, 325, 338, 339, 347, 529, 530, 531, 532, 700, 34675}
)


def decode_tiff(data: bytes, shown: str, max_pixels: int) -> Found:
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages.first
        check_size(shown, page.imagewidth, page.imagelength, max_pixels)
        if (
            50706 in page.tags
            or page.photometric in (32803, 34892)
            or (page.subfiletype & 1 and 330 in page.tags)
        ):
            raise unsupported(shown, "the raw samples of a camera sensor")
        if not page.dataoffsets or 0 in page.databytecounts:
            raise damaged(shown, ImageFormat.TIFF, "it has no image data")
        end = max(offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True))
        if end > len(data):
            raise damaged(shown, ImageFormat.TIFF, f"{end - len(data)} bytes are missing at its end")
        found = Found(pillow(ImageFormat.TIFF))
        values = {tag.code: tag.value for tag in page.tags}
        take_orientation(values.get(274), found)
        if page.bitspersample in (1, 2, 4, 8) and page.sampleformat == 1:
            with Image.open(io.BytesIO(data), formats=["TIFF"]) as image:
                check_size(shown, *image.size, max_pixels)
                take_orientation(image.getexif().get(0x0112), found)
                image.load()
                found.turned = 0x0112 not in image.getexif()
                pillow_pixels(image, shown, found)
        elif page.bitspersample == 16 and page.sampleformat == 1:
            wide_tiff(data, page, shown, found)
        else:
            kind = {2: "signed", 3: "float"}.get(page.sampleformat, "integer")
            raise unsupported(shown, f"{page.bitspersample}-bit {kind} samples")
        take_icc(values.get(34675), found)
        take_xmp(values.get(700), found)
        take_tiff_tags(data, {tag.code: tag.name for tag in page.tags}, found)
        unit = {2: 1.0, 3: 2.54}.get(values.get(296, 2))
        if unit and 282 in values and 283 in values:
            take_dpi([unit * values[tag][0] / values[tag][1] for tag in (282, 283)], found)
        with contextlib.suppress(IndexError):
            tiff.pages[1]
            found.lost.append("further frames (only the first is read)")
    return found


def wide_tiff(data: bytes, page: tifffile.TiffPage, shown: str, found: Found) -> None:
    """16-bit TIFF, exactly: through tifffile where it has the codec, else through OpenCV's libtiff."""
    extra = tuple(page.extrasamples)
    colours = page.samplesperpixel - len(extra)
    if (
        page.photometric not in (0, 1, 2)
        or colours != (3 if page.photometric == 2 else 1)
        or page.imagedepth != 1
    ):
        raise unsupported(shown, "16-bit samples other than grey or RGB")
    if 1 in extra[:1]:
        raise unsupported(shown, "16-bit samples with premultiplied alpha")
    if page.compression in (1, 8, 32946):  # none, and the two numbers of deflate
        samples = page.asarray(maxworkers=1)
        if page.planarconfig == 2 and page.samplesperpixel > 1:
            samples = np.moveaxis(samples, 0, -1)
        found.decoder = Decoder("tifffile", tifffile.__version__)
    else:
        if page.photometric == 0 or page.samplesperpixel not in (1, 3, 4):
            raise unsupported(shown, "16-bit samples in a rare arrangement with rare compression")
        if tag := page.tags.get(274):  # OpenCV turns pictures by itself, and not when asked for alpha
            order = "<" if data[:2] == b"II" else ">"
            data = data[: tag.valueoffset] + struct.pack(f"{order}H", 1) + data[tag.valueoffset + 2 :]
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if decoded is None:
            raise damaged(shown, ImageFormat.TIFF, "its image data cannot be decoded")
        samples = decoded
        samples = samples[..., [2, 1, 0, 3][: samples.shape[2]]] if samples.ndim == 3 else samples
        found.decoder = Decoder("OpenCV", cv2.__version__)
    shape = (page.imagelength, page.imagewidth) + (
        (page.samplesperpixel,) if page.samplesperpixel > 1 else ()
    )
    if samples.shape != shape or samples.dtype.itemsize != 2:
        raise damaged(shown, ImageFormat.TIFF, "its image data do not have the announced size")
    samples = samples.astype(np.uint16).reshape(*shape[:2], -1)
    if page.photometric == 0:
        samples[..., 0] = 65535 - samples[..., 0]
    alpha = 2 in extra[:1]
    if len(extra) > alpha:
        found.lost.append("extra channels of no stated meaning")
    keep(samples[..., : colours + alpha], found)


def take_tiff_tags(data: bytes, names: Mapping[int, str], found: Found) -> None:
    """Carry the descriptive TIFF tags as an EXIF block, and name those that have no place there."""
    kept = _EXIF_TAGS & names.keys()
    if kept:
        try:
            tags, block = Image.Exif(), Image.Exif()
            tags.load(data)
            for tag in kept & set(tags):
                block[tag] = tags.get_ifd(tag) if tag in (34665, 34853) else tags[tag]
            found.exif = block.tobytes()[6:]
        except Exception:  # damage, or BigTIFF, which EXIF cannot be: the pixels are good all the same
            found.lost.append("TIFF tags that describe the picture (not transferable to EXIF)")
        else:
            found.kept.append("TIFF tags as EXIF: " + ", ".join(sorted(names[tag] for tag in kept)))
    lost = [printable_name(name) for tag, name in sorted(names.items()) if tag not in _STRUCTURE | _EXIF_TAGS]
    found.lost.extend(f"TIFF tag {name}" for name in lost)
