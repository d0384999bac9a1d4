"""Evidence: a source image read once and read-only, with its hashes, its integer pixels and its metadata.

PNG, JPEG, TIFF, WebP and BMP, told apart by content. 8-bit and 16-bit samples stay what they are; 1-, 2- and
4-bit become 8-bit. Whatever of the metadata is not carried to a result is named in `metadata_lost`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import logging
import math
import os
import re
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import PIL
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError, features

from restore_manifests.errors import EvidenceError
from restore_manifests.pixels import decode_png, pixels_sha256

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
    file_sha256: str
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


@dataclass
class _Found:
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
    shown = _shown(name)
    kind = _sniff(data, shown)
    try:
        with _quiet(max_pixels):
            found = _decode(data, kind, shown, max_pixels)
            turn = 1 if found.turned else found.orientation
            pixels = _upright(found.pixels, turn)
            alpha = None if found.alpha is None else _upright(found.alpha, turn)
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
        raise _damaged(shown, kind, _shown(str(error)) or type(error).__name__) from error
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
        file_sha256=hashlib.sha256(data).hexdigest(),
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
        metadata_kept=(*kept, *(f"text {_shown(key)}" for key in sorted(found.text)), *found.kept),
        metadata_lost=tuple(dict.fromkeys(found.lost)),
    )


# ---- reading ---------------------------------------------------------------------------------------------

_REASONS = {
    errno.ENOENT: "does not exist",
    errno.ENOTDIR: "does not exist",
    errno.EACCES: "may not be read: permission is denied",
    errno.EPERM: "may not be read: permission is denied",
    errno.ELOOP: "is a symbolic link that leads back to itself",
}


def _read(path: Path, max_bytes: int) -> bytes:
    shown = _shown(path.name or str(path))
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
            number or 0, f"cannot be read ({_shown(getattr(error, 'strerror', '') or str(error))})"
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


def _shown(text: str) -> str:
    """`text` fit for one line of a message: no control or text-direction characters, bounded length."""
    return "".join(c if c.isprintable() else "?" for c in text)[:120]


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


def _damaged(shown: str, kind: ImageFormat, reason: str) -> EvidenceError:
    return EvidenceError(
        f"{shown} is a damaged or incomplete {kind} image: {reason.rstrip('.')}.",
        hint="Copy the file again from where it came from.",
    )


def _check_size(shown: str, width: int, height: int, limit: int) -> None:
    if width * height > limit:
        raise EvidenceError(
            f"{shown} claims {width} x {height} pixels; the limit is {limit:,} pixels.",
            hint="Raise the limit if the size is real.",
        )


_STATE = threading.RLock()


@contextlib.contextmanager
def _quiet(max_pixels: int) -> Iterator[None]:
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


# ---- decoding --------------------------------------------------------------------------------------------


def _decode(data: bytes, kind: ImageFormat, shown: str, max_pixels: int) -> _Found:
    if kind is ImageFormat.TIFF:
        return _decode_tiff(data, shown, max_pixels)
    found = _Found(_pillow(kind))
    try:
        image = Image.open(io.BytesIO(data), formats=[kind.upper()])
    except UnidentifiedImageError as error:
        raise _damaged(shown, kind, "its header cannot be read") from error
    with image:
        _check_size(shown, *image.size, max_pixels)
        header = b""
        if kind is ImageFormat.PNG:
            header = _check_png(data, shown, found)
        elif kind is ImageFormat.JPEG:
            _check_jpeg(data, shown, image, found)
        elif kind is ImageFormat.WEBP:
            _check_webp(data, shown, found)
        image.load()
        key = image.info.get("transparency")
        if header and header[8:10] in (b"\2\0", b"\4\0") and isinstance(key, int):
            # Pillow stretches 2- and 4-bit grey to 8 bits, but not the grey that stands for transparency
            image.info["transparency"] = key * 255 // ((1 << header[8]) - 1)
        if header and header[8] == 16:
            _wide_png(data, header, max_pixels, found)
        else:
            _pillow_pixels(image, shown, found)
        _pillow_metadata(image, kind, found)
    return found


def _pillow(kind: ImageFormat) -> Decoder:
    library = {"PNG": "zlib", "JPEG": "libjpeg_turbo", "TIFF": "libtiff", "WebP": "webp"}.get(kind, "")
    version = features.version(library) if library else None
    return Decoder("Pillow", f"{PIL.__version__} ({library} {version})" if version else PIL.__version__)


def _pillow_pixels(image: Image.Image, shown: str, found: _Found) -> None:
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
        raise _unsupported(shown, f"samples of kind {mode}")
    _keep(np.asarray(image), found)


def _keep(samples: NDArray[Any], found: _Found) -> None:
    """Take `(H, W)` or `(H, W, 1..4)` apart into colour and alpha."""
    samples = samples[..., 0] if samples.ndim == 3 and samples.shape[2] == 1 else samples
    alpha = samples.ndim == 3 and samples.shape[2] in (2, 4)
    found.pixels = samples
    if alpha:
        found.alpha = samples[..., -1]
        found.pixels = samples[..., 0] if samples.shape[2] == 2 else samples[..., :3]


def _rgb_of_cmyk(image: Image.Image, found: _Found) -> Image.Image:
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


def _unsupported(shown: str, what: str) -> EvidenceError:
    return EvidenceError(
        f"{shown} has {what}, which are not supported.", hint="Convert it to 8- or 16-bit grey or RGB first."
    )


def _upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
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


# ---- structure -------------------------------------------------------------------------------------------


def _check_png(data: bytes, shown: str, found: _Found) -> bytes:
    """Refuse what Pillow lets pass: a missing end, and image data that stops early (it would be black).

    Returns the body of IHDR, followed by that of tRNS.
    """
    at, names, image, header, transparency = 8, set[bytes](), bytearray(), b"", b""
    while b"IEND" not in names:
        length, name = struct.unpack(">I4s", data[at : at + 8].ljust(8, b"\xff"))
        body = data[at + 8 : at + 8 + length]
        check = data[at + 8 + length : at + 12 + length]
        if len(check) < 4:
            raise _damaged(shown, ImageFormat.PNG, "it ends before its IEND chunk")
        if name[0] & 0x20 == 0 and zlib.crc32(body, zlib.crc32(name)) != int.from_bytes(check, "big"):
            raise _damaged(
                shown,
                ImageFormat.PNG,
                f"the check sum of its {_shown(name.decode('latin-1'))} chunk is wrong",
            )
        names.add(name)
        if name == b"IDAT":
            image += body
        elif name == b"IHDR":
            header = body
        elif name == b"tRNS":
            transparency = body
        at += 12 + length
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    pixel_bits = bits * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = [
        (-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in passes if width > x and height > y
    ]
    missing = sum(rows * (1 + (columns * pixel_bits + 7) // 8) for columns, rows in sizes)
    inflate, rest = zlib.decompressobj(), bytes(image)
    while missing > 0 and (rest or not inflate.eof):
        part = inflate.decompress(rest, 1 << 20)
        rest = inflate.unconsumed_tail
        missing -= len(part)
        if not part:
            break
    if missing > 0:
        raise _damaged(shown, ImageFormat.PNG, "its image data stops early")
    known = {
        b"IHDR",
        b"PLTE",
        b"IDAT",
        b"IEND",
        b"tRNS",
        b"iCCP",
        b"eXIf",
        b"tEXt",
        b"zTXt",
        b"iTXt",
        b"pHYs",
    }
    for name in sorted(names - known):
        label = "C2PA manifest" if name == b"caBX" else f"PNG chunk {_shown(name.decode('latin-1'))}"
        found.lost.append(label)
    if at < len(data):
        found.lost.append(f"{len(data) - at} bytes after the end of the image")
    return header + transparency


_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def _wide_png(data: bytes, header: bytes, max_pixels: int, found: _Found) -> None:
    """16-bit PNG, which Pillow would cut to 8 bits; only header and image data reach the decoder."""
    parts, at = [data[:8]], 8
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] in (b"IHDR", b"IDAT", b"IEND"):
            parts.append(data[at:end])
        if data[at + 4 : at + 8] == b"IEND":
            break
        at = end
    samples = decode_png(b"".join(parts), max_pixels=max_pixels)
    found.decoder = Decoder("OpenCV", cv2.__version__)
    _keep(samples, found)
    if (key := np.frombuffer(header[13:], ">u2")).size == (1 if samples.ndim == 2 else 3):
        hit = samples == key if samples.ndim == 2 else (samples == key).all(axis=-1)
        found.alpha = np.where(hit, 0, 65535).astype(np.uint16)


_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd8]")
_SEGMENTS = {
    (0xE0, b"JFIF\0"): "",
    (0xE1, b"Exif\0\0"): "",
    (0xE1, b"http://ns.adobe.com/xap/1.0/\0"): "",
    (0xE1, b"http://ns.adobe.com/xmp/extension/\0"): "extended XMP",
    (0xE2, b"ICC_PROFILE\0"): "",
    (0xE2, b"MPF\0"): "index of further images (MPF)",
    (0xEB, b"JP"): "C2PA manifest (JUMBF boxes)",
    (0xED, b"Photoshop 3.0\0"): "Photoshop resources (IPTC)",
    (0xEE, b"Adobe"): "",
}


def _check_jpeg(data: bytes, shown: str, image: Image.Image, found: _Found) -> None:
    """Refuse a JPEG whose scan stops early, also where someone has closed it with an end marker.

    libjpeg fills what is missing with grey and only warns. Where data are missing, other bytes put before the
    end marker become pixels; where the scan is complete (T.81, F.2.2.5) they do not: two decodings tell.
    """
    at, arithmetic = 2, False
    while match := _MARKER.search(data, at):
        code = data[match.start() + 1]
        if code == 0xD9:
            break
        at = match.end()
        if code == 0x01:
            continue
        body = data[at + 2 : at + int.from_bytes(data[at : at + 2], "big")]
        arithmetic |= code in (0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
        if 0xE0 <= code <= 0xEF:
            known = [v for (c, start), v in _SEGMENTS.items() if c == code and body.startswith(start)]
            found.lost.extend([v for v in known if v] if known else [f"JPEG segment APP{code - 0xE0}"])
        at += max(2, int.from_bytes(data[at : at + 2], "big"))
    if match is None:
        raise _damaged(shown, ImageFormat.JPEG, "it ends before its end marker")
    if len(data) > match.end():
        found.lost.append(f"{len(data) - match.end()} bytes after the end of the image")
    if not arithmetic:  # an arithmetic coder may rightly drop trailing zeros, so there the test says nothing
        filled = data[: match.start()] + bytes(range(1, 65)) + b"\xff\xd9"
        with Image.open(io.BytesIO(filled), formats=["JPEG"]) as other:
            if not np.array_equal(np.asarray(image), np.asarray(other)):
                raise _damaged(shown, ImageFormat.JPEG, "its image data stops early")


def _check_webp(data: bytes, shown: str, found: _Found) -> None:
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise _damaged(shown, ImageFormat.WEBP, f"{end - len(data)} bytes are missing at its end")
    known = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF", b"XMP "}
    at = 12
    while at + 8 <= end:
        if (name := data[at : at + 4]) not in known:
            found.lost.append(
                "C2PA manifest" if name == b"C2PA" else f"WebP chunk {_shown(name.decode('latin-1'))}"
            )
        at += 8 + (int.from_bytes(data[at + 4 : at + 8], "little") + 1) // 2 * 2


# ---- metadata --------------------------------------------------------------------------------------------


def _pillow_metadata(image: Image.Image, kind: ImageFormat, found: _Found) -> None:
    info = image.info
    tags: Mapping[int, Any] = {}
    try:
        tags = image.getexif()
    except Exception:  # damaged tags must not hide good pixels
        found.lost.append("EXIF (damaged)")
    else:
        _take_exif(info.get("exif"), found)
    _take_orientation(tags.get(0x0112), found)
    _take_icc(info.get("icc_profile"), found)
    _take_xmp(info.get("xmp"), found)
    if (
        kind is not ImageFormat.JPEG or "jfif_density" in info or 0x011A in tags
    ):  # else Pillow makes up 72 dpi
        _take_dpi(info.get("dpi"), found)
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
            found.lost.append(f"text {_shown(key)}")
        else:
            found.text[key] = str(value)
    if (frames := getattr(image, "n_frames", 1)) > 1:
        found.lost.append(f"frames 2 to {frames} (only the first is read)")


def _take_orientation(value: object, found: _Found) -> None:
    if isinstance(value, int) and 1 <= value <= 8:
        found.orientation = value


def _take_icc(icc: bytes | None, found: _Found) -> None:
    if not icc or found.recoloured:
        return
    space = b"GRAY" if found.pixels.ndim == 2 else b"RGB "  # ICC.1:2022, 7.2.6
    if icc[16:20] == space:
        found.icc = icc
    else:
        found.lost.append("ICC profile (for another colour space than the pixels)")


def _take_exif(exif: bytes | None, found: _Found) -> None:
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


def _take_xmp(xmp: bytes | str | None, found: _Found) -> None:
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


def _take_dpi(dpi: object, found: _Found) -> None:
    try:
        x, y = (float(value) for value in dpi)  # type: ignore[attr-defined]  # anything may stand in damaged files
    except (TypeError, ValueError, ArithmeticError):
        return
    if all(math.isfinite(value) and 0.01 < value < 1e6 for value in (x, y)):
        found.dpi = (x, y)


# ---- TIFF ------------------------------------------------------------------------------------------------

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


def _decode_tiff(data: bytes, shown: str, max_pixels: int) -> _Found:
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages.first
        _check_size(shown, page.imagewidth, page.imagelength, max_pixels)
        if (
            50706 in page.tags
            or page.photometric in (32803, 34892)
            or (page.subfiletype & 1 and 330 in page.tags)
        ):
            raise _unsupported(shown, "the raw samples of a camera sensor")
        if not page.dataoffsets or 0 in page.databytecounts:
            raise _damaged(shown, ImageFormat.TIFF, "it has no image data")
        end = max(offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True))
        if end > len(data):
            raise _damaged(shown, ImageFormat.TIFF, f"{end - len(data)} bytes are missing at its end")
        found = _Found(_pillow(ImageFormat.TIFF))
        values = {tag.code: tag.value for tag in page.tags}
        _take_orientation(values.get(274), found)
        if page.bitspersample in (1, 2, 4, 8) and page.sampleformat == 1:
            with Image.open(io.BytesIO(data), formats=["TIFF"]) as image:
                _check_size(shown, *image.size, max_pixels)
                _take_orientation(image.getexif().get(0x0112), found)
                image.load()
                found.turned = 0x0112 not in image.getexif()
                _pillow_pixels(image, shown, found)
        elif page.bitspersample == 16 and page.sampleformat == 1:
            _wide_tiff(data, page, shown, found)
        else:
            kind = {2: "signed", 3: "float"}.get(page.sampleformat, "integer")
            raise _unsupported(shown, f"{page.bitspersample}-bit {kind} samples")
        _take_icc(values.get(34675), found)
        _take_xmp(values.get(700), found)
        _take_tiff_tags(data, {tag.code: tag.name for tag in page.tags}, found)
        unit = {2: 1.0, 3: 2.54}.get(values.get(296, 2))
        if unit and 282 in values and 283 in values:
            _take_dpi([unit * values[tag][0] / values[tag][1] for tag in (282, 283)], found)
        with contextlib.suppress(IndexError):
            tiff.pages[1]
            found.lost.append("further frames (only the first is read)")
    return found


def _wide_tiff(data: bytes, page: tifffile.TiffPage, shown: str, found: _Found) -> None:
    """16-bit TIFF, exactly: through tifffile where it has the codec, else through OpenCV's libtiff."""
    extra = tuple(page.extrasamples)
    colours = page.samplesperpixel - len(extra)
    if (
        page.photometric not in (0, 1, 2)
        or colours != (3 if page.photometric == 2 else 1)
        or page.imagedepth != 1
    ):
        raise _unsupported(shown, "16-bit samples other than grey or RGB")
    if 1 in extra[:1]:
        raise _unsupported(shown, "16-bit samples with premultiplied alpha")
    if page.compression in (1, 8, 32946):  # none, and the two numbers of deflate
        samples = page.asarray(maxworkers=1)
        if page.planarconfig == 2 and page.samplesperpixel > 1:
            samples = np.moveaxis(samples, 0, -1)
        found.decoder = Decoder("tifffile", tifffile.__version__)
    else:
        if page.photometric == 0 or page.samplesperpixel not in (1, 3, 4):
            raise _unsupported(shown, "16-bit samples in a rare arrangement with rare compression")
        if tag := page.tags.get(274):  # OpenCV turns pictures by itself, and not when asked for alpha
            order = "<" if data[:2] == b"II" else ">"
            data = data[: tag.valueoffset] + struct.pack(f"{order}H", 1) + data[tag.valueoffset + 2 :]
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if decoded is None:
            raise _damaged(shown, ImageFormat.TIFF, "its image data cannot be decoded")
        samples = decoded
        samples = samples[..., [2, 1, 0, 3][: samples.shape[2]]] if samples.ndim == 3 else samples
        found.decoder = Decoder("OpenCV", cv2.__version__)
    shape = (page.imagelength, page.imagewidth) + (
        (page.samplesperpixel,) if page.samplesperpixel > 1 else ()
    )
    if samples.shape != shape or samples.dtype.itemsize != 2:
        raise _damaged(shown, ImageFormat.TIFF, "its image data do not have the announced size")
    samples = samples.astype(np.uint16).reshape(*shape[:2], -1)
    if page.photometric == 0:
        samples[..., 0] = 65535 - samples[..., 0]
    alpha = 2 in extra[:1]
    if len(extra) > alpha:
        found.lost.append("extra channels of no stated meaning")
    _keep(samples[..., : colours + alpha], found)


def _take_tiff_tags(data: bytes, names: Mapping[int, str], found: _Found) -> None:
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
    lost = [_shown(name) for tag, name in sorted(names.items()) if tag not in _STRUCTURE | _EXIF_TAGS]
    found.lost.extend(f"TIFF tag {name}" for name in lost)
