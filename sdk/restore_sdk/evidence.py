"""Evidence: a source image read once and read-only, with its hashes, its integer pixels and its metadata.

PNG, JPEG, TIFF, WebP and BMP, told apart by content. 8-bit and 16-bit samples stay what they are; 1-, 2- and
4-bit become 8-bit. Whatever of the metadata is not carried to a result is named in `metadata_lost`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from restore_manifests.errors import EvidenceError
from restore_manifests.pixels import pixels_sha256
from restore_sdk.evidence_decoding import decode, quiet, upright
from restore_sdk.evidence_parts import Decoder, ImageFormat, Pixels, damaged, printable_name

__all__ = [
    "DEFAULT_MAX_BYTES",
    "DEFAULT_MAX_PIXELS",
    "Decoder",
    "Evidence",
    "ImageFormat",
    "decode_evidence",
    "open_evidence",
]


DEFAULT_MAX_PIXELS = 200_000_000


DEFAULT_MAX_BYTES = 2 * 1024**3


@dataclass(frozen=True, eq=False)
class Evidence:
    """A source image as opened.

    `pixels` is upright, read-only, uint8 or uint16: `(H, W)` grey or `(H, W, 3)` RGB in the file's colour
    space. `alpha`, `(H, W)` of the same type, stands apart. `pixels_sha256` covers both, alpha as the last
    channel. `orientation` is the EXIF value found, 1 to 8. `exif` begins with its TIFF header; `dpi` is (x,
    y) of the upright picture.
    """

    path: Path | None
    name: str
    data: bytes = field(repr=False)
    format: ImageFormat
    pixels: Pixels = field(repr=False)
    alpha: Pixels | None = field(repr=False)
    pixels_sha256: str
    decoder: Decoder
    orientation: int
    icc: bytes | None = field(repr=False)
    exif: bytes | None = field(repr=False)
    xmp: bytes | None = field(repr=False)
    text: Mapping[str, str] = field(repr=False)
    dpi: tuple[float, float] | None
    metadata_kept: tuple[str, ...]
    metadata_lost: tuple[str, ...]

    @cached_property  # a verification hashes the file by itself
    def file_sha256(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def height(self) -> int:
        """Rows of the upright picture."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns of the upright picture."""
        return int(self.pixels.shape[1])

    @property
    def bits(self) -> Literal[8, 16]:
        """Bits per sample."""
        return 8 if self.pixels.dtype == np.uint8 else 16

    @property
    def channels(self) -> int:
        """Channels of pixels and alpha together, 1 to 4."""
        return (1 if self.pixels.ndim == 2 else 3) + (self.alpha is not None)

    @property
    def mime(self) -> str:
        """Media type of the file."""
        return f"image/{self.format.lower()}"

    @property
    def samples(self) -> Pixels:
        """Pixels with alpha, where there is one, as the last channel."""
        return _with_alpha(self.pixels, self.alpha)


def _with_alpha(pixels: Pixels, alpha: Pixels | None) -> Pixels:
    both: NDArray[Any] = pixels if alpha is None else np.dstack((pixels, alpha))
    return both


def open_evidence(
    path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS, max_bytes: int = DEFAULT_MAX_BYTES
) -> Evidence:
    """Read `path` once, read-only, and decode it.

    Raises EvidenceError, one sentence, for anything but a whole image of a known format within the limits.
    """
    return decode_evidence(_read(path, max_bytes), path.name, max_pixels=max_pixels, path=path)


def decode_evidence(
    data: bytes, name: str, *, max_pixels: int = DEFAULT_MAX_PIXELS, path: Path | None = None
) -> Evidence:
    """Decode bytes already read. `name` is used in messages and in the record; it does not decide the format.

    Raises EvidenceError as `open_evidence` does.
    """
    shown = printable_name(name)
    kind = _sniff(data, shown)
    try:
        with quiet(max_pixels):
            found = decode(data, kind, shown, max_pixels)
            turn = 1 if found.turned else found.orientation
            pixels = upright(found.pixels, turn)
            alpha = None if found.alpha is None else upright(found.alpha, turn)
    except EvidenceError:
        raise
    except Image.DecompressionBombError as error:
        raise EvidenceError(
            f"{shown} claims far more pixels than the limit of {max_pixels:,}.",
            hint="Raise the limit if the size is real.",
        ) from error
    except MemoryError as error:
        raise EvidenceError(
            f"{shown} does not fit into memory.", hint="Use a machine with more memory, or a smaller crop."
        ) from error
    except Exception as error:  # decoders raise whatever they like on damaged input
        raise damaged(shown, kind, printable_name(str(error)) or type(error).__name__) from error
    kept = [
        label
        for label, value in (
            ("ICC profile", found.icc),
            ("EXIF", found.exif),
            ("XMP", found.xmp),
            ("DPI", found.dpi),
        )
        if value
    ]
    return Evidence(
        path=path,
        name=name,
        data=data,
        format=kind,
        pixels=pixels,
        alpha=alpha,
        pixels_sha256=pixels_sha256(_with_alpha(pixels, alpha)),
        decoder=found.decoder,
        orientation=found.orientation,
        icc=found.icc,
        exif=found.exif,
        xmp=found.xmp,
        text=found.text,
        dpi=found.dpi[::-1] if found.dpi and found.orientation >= 5 else found.dpi,
        metadata_kept=(*kept, *(f"text {printable_name(key)}" for key in sorted(found.text)), *found.kept),
        metadata_lost=tuple(dict.fromkeys(found.lost)),
    )


_REASONS = {
    errno.ENOENT: "does not exist",
    errno.ENOTDIR: "does not exist",
    errno.EACCES: "may not be read: permission is denied",
    errno.EPERM: "may not be read: permission is denied",
    errno.ELOOP: "is a symbolic link that leads back to itself",
}


def _read(path: Path, max_bytes: int) -> bytes:
    shown = printable_name(path.name or str(path))
    # without O_NONBLOCK, a FIFO put in place of a file between stat and open would block for ever
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        _require_regular(path.stat().st_mode, shown)  # before opening: opening a device can act on it
        with os.fdopen(os.open(path, flags), "rb") as file:
            status = os.fstat(file.fileno())
            _require_regular(status.st_mode, shown)
            if status.st_size > max_bytes:
                raise EvidenceError(
                    f"{shown} has {status.st_size:,} bytes; the limit is {max_bytes:,}.",
                    hint="Raise the limit if the file is what it should be.",
                )
            data = file.read(status.st_size + 1)
    except (OSError, ValueError) as error:
        number = getattr(error, "errno", None)
        reason = _REASONS.get(
            number or 0, f"cannot be read ({printable_name(getattr(error, 'strerror', '') or str(error))})"
        )
        raise EvidenceError(f"{shown} {reason}.", hint="Check the path and its permissions.") from error
    if len(data) != status.st_size:
        raise EvidenceError(
            f"{shown} changed while it was read.", hint="Wait until it is written, then retry."
        )
    return data


def _require_regular(mode: int, shown: str) -> None:
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
        raise EvidenceError(f"{shown} is {kind}, not an image file.", hint="Name one image file.")


def _sniff(data: bytes, shown: str) -> ImageFormat:
    if not data:
        raise EvidenceError(f"{shown} is empty.", hint="Copy the file again from where it came from.")
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return ImageFormat.PNG
    if data.startswith(b"\xff\xd8\xff"):
        return ImageFormat.JPEG
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return ImageFormat.TIFF
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return ImageFormat.WEBP
    if data.startswith(b"BM"):
        return ImageFormat.BMP
    raise EvidenceError(
        f"{shown} is not a PNG, JPEG, TIFF, WebP or BMP image.",
        hint="Convert it to PNG or TIFF without loss first.",
    )
