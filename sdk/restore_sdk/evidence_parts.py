"""What the decoders of evidence share: formats, what a decoder gathers, and how it refuses."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore_manifests.errors import EvidenceError

__all__ = [
    "Decoder",
    "Found",
    "ImageFormat",
    "Pixels",
    "check_size",
    "damaged",
    "keep",
    "printable_name",
    "unsupported",
]

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


class ImageFormat(StrEnum):
    """Formats that count as evidence; the value is what the manifest records."""

    PNG = "PNG"
    JPEG = "JPEG"
    TIFF = "TIFF"
    WEBP = "WebP"
    BMP = "BMP"


@dataclass(frozen=True)
class Decoder:
    """Which program turned bytes into pixels: decoders differ, in JPEG above all."""

    name: str
    version: str


@dataclass
class Found:
    """What a decoder gathers before the evidence is frozen."""

    decoder: Decoder
    pixels: Pixels = field(default_factory=lambda: np.zeros((0, 0), np.uint8))
    alpha: Pixels | None = None
    orientation: int = 1
    turned: bool = False  # the decoder has already applied the orientation
    recoloured: bool = False  # the pixels have left the colour space of the file's profile
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    text: dict[str, str] = field(default_factory=dict)
    dpi: tuple[float, float] | None = None
    kept: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def printable_name(text: str) -> str:
    """`text` fit for one line of a message: no control or text-direction characters, bounded length."""
    return "".join(c if c.isprintable() else "?" for c in text)[:120]


def damaged(shown: str, kind: ImageFormat, reason: str) -> EvidenceError:
    return EvidenceError(
        f"{shown} is a damaged or incomplete {kind} image: {reason.rstrip('.')}.",
        hint="Copy the file again from where it came from.",
    )


def check_size(shown: str, width: int, height: int, limit: int) -> None:
    if width * height > limit:
        raise EvidenceError(
            f"{shown} claims {width} x {height} pixels; the limit is {limit:,} pixels.",
            hint="Raise the limit if the size is real.",
        )


def unsupported(shown: str, what: str) -> EvidenceError:
    return EvidenceError(
        f"{shown} has {what}, which are not supported.", hint="Convert it to 8- or 16-bit grey or RGB first."
    )


def keep(samples: NDArray[Any], found: Found) -> None:
    """Take `(H, W)` or `(H, W, 1..4)` apart into colour and alpha."""
    samples = samples[..., 0] if samples.ndim == 3 and samples.shape[2] == 1 else samples
    alpha = samples.ndim == 3 and samples.shape[2] in (2, 4)
    found.pixels = samples
    if alpha:
        found.alpha = samples[..., -1]
        found.pixels = samples[..., 0] if samples.shape[2] == 2 else samples[..., :3]
