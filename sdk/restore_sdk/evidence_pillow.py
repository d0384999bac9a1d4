"""Pixels of evidence through Pillow, which decodes every 8-bit format."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import PIL
from PIL import Image, ImageCms, features

from restore_sdk.evidence_parts import (
    Decoder,
    Found,
    ImageFormat,
    keep,
    unsupported,
)

__all__ = ["pillow", "pillow_pixels"]


@cache  # asking for a version takes longer than decoding a small picture's header
def pillow(kind: ImageFormat) -> Decoder:
    library = {"PNG": "zlib", "JPEG": "libjpeg_turbo", "TIFF": "libtiff", "WebP": "webp"}.get(kind, "")
    version = features.version(library) if library else None
    return Decoder("Pillow", f"{PIL.__version__} ({library} {version})" if version else PIL.__version__)


def pillow_pixels(image: Image.Image, shown: str, found: Found) -> None:
    mode = image.mode
    if mode == "CMYK":
        image = _rgb_of_cmyk(image, found)
    elif mode in ("P", "PA"):
        found.lost.append("palette (pixels stored as RGB)")
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif mode == "1":
        found.lost.append("1-bit depth (stored as 0 and 255)")
        image = image.convert("L")
    elif mode in ("La", "RGBa"):
        found.lost.append("premultiplied alpha (stored as straight alpha)")
        image = image.convert(mode.upper())
    elif mode in ("YCbCr", "RGBX"):
        image = image.convert("RGB")
    if image.mode in ("L", "RGB") and "transparency" in image.info:
        image = image.convert("LA" if image.mode == "L" else "RGBA")
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        raise unsupported(shown, f"samples of kind {mode}")
    keep(np.asarray(image), found)


def _rgb_of_cmyk(image: Image.Image, found: Found) -> Image.Image:
    found.recoloured = True
    profile = image.info.get("icc_profile")
    if profile:
        try:
            rgb = ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                outputMode="RGB",
            )
        except (ImageCms.PyCMSError, OSError, ValueError):
            found.lost.append("ICC profile (does not fit CMYK pixels)")
        else:
            cms = f"littlecms2 {features.version('littlecms2')}"
            found.decoder = Decoder(found.decoder.name, f"{found.decoder.version}, {cms}")
            found.lost.append("CMYK separation (converted to sRGB through the embedded ICC profile)")
            assert rgb is not None  # noqa: S101  (None only with inPlace)
            return rgb
    found.lost.append("CMYK separation (converted by the plain formula (255 - ink) x (255 - black) / 255)")
    return image.convert("RGB")
