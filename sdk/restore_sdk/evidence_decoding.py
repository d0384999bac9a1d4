"""From the bytes of an image to upright integer pixels, whatever the format."""

from __future__ import annotations

import contextlib
import io
import logging
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from restore_sdk.evidence_metadata import pillow_metadata
from restore_sdk.evidence_parts import (
    Found,
    ImageFormat,
    check_size,
    damaged,
)
from restore_sdk.evidence_pillow import pillow, pillow_pixels
from restore_sdk.evidence_structure import check_jpeg, check_png, check_webp, wide_png
from restore_sdk.evidence_tiff import decode_tiff

__all__ = ["decode", "quiet", "upright"]

_STATE = threading.RLock()


@contextlib.contextmanager
def quiet(max_pixels: int) -> Iterator[None]:
    """Decoders keep limits and voices in globals: set them for one decode, then put them back."""
    log, cv_log = logging.getLogger("tifffile"), cv2.utils.logging
    with _STATE, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, log.disabled, cv_log.getLogLevel())
        try:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, log.disabled = max_pixels, False, True
            cv_log.setLogLevel(cv_log.LOG_LEVEL_SILENT)
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, log.disabled = before[:3]
            cv_log.setLogLevel(before[3])


def decode(data: bytes, kind: ImageFormat, shown: str, max_pixels: int) -> Found:
    if kind is ImageFormat.TIFF:
        return decode_tiff(data, shown, max_pixels)
    found = Found(pillow(kind))
    try:
        image = Image.open(io.BytesIO(data), formats=[kind.upper()])
    except UnidentifiedImageError as error:
        raise damaged(shown, kind, "its header cannot be read") from error
    with image:
        check_size(shown, *image.size, max_pixels)
        header = b""
        if kind is ImageFormat.PNG:
            header = check_png(data, shown, found)
        elif kind is ImageFormat.JPEG:
            check_jpeg(data, shown, image, found)
        elif kind is ImageFormat.WEBP:
            check_webp(data, shown, found)
        image.load()
        key = image.info.get("transparency")
        if header and header[8:10] in (b"\2\0", b"\4\0") and isinstance(key, int):
            # Pillow stretches 2- and 4-bit grey to 8 bits, but not the grey that stands for transparency
            image.info["transparency"] = key * 255 // ((1 << header[8]) - 1)
        if header and header[8] == 16:
            wide_png(data, header, max_pixels, found)
        else:
            pillow_pixels(image, shown, found)
        pillow_metadata(image, kind, found)
    return found


def upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo an EXIF orientation (JEITA CP-3451, tag 0x0112) and freeze the array."""
    if orientation in (5, 6, 7, 8):
        array = np.swapaxes(array, 0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    array = np.ascontiguousarray(array)
    array.setflags(write=False)
    return array
