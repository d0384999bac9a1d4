"""Whether a PNG, JPEG or WebP file is whole: what decoders let pass is refused here."""

from __future__ import annotations

import io
import re
import struct
import zlib

import cv2
import numpy as np
from PIL import Image

from restore_manifests.pixels import decode_png
from restore_sdk.evidence_parts import Decoder, Found, ImageFormat, damaged, keep, printable_name

__all__ = ["check_jpeg", "check_png", "check_webp", "wide_png"]


_PIECE = 1 << 14
"""Bytes of image data inflated at once: to at most 1032 times as many, which bounds what is held."""
_TOO_MUCH = 1 << 20
"""Bytes inflated beyond the picture, from which on no more are looked at."""
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def check_png(data: bytes, shown: str, found: Found) -> bytes:
    """Refuse what Pillow lets pass: a missing end, and image data that stops early (it would be black).

    Returns the body of IHDR, followed by that of tRNS.
    """
    at, names, image, header, transparency = 8, set[bytes](), list[memoryview](), b"", b""
    view = memoryview(data)
    while b"IEND" not in names:
        length, name = struct.unpack(">I4s", data[at : at + 8].ljust(8, b"\xff"))
        body = view[at + 8 : at + 8 + length]
        check = data[at + 8 + length : at + 12 + length]
        if len(check) < 4:
            raise damaged(shown, ImageFormat.PNG, "it ends before its IEND chunk")
        if name[0] & 0x20 == 0 and zlib.crc32(body, zlib.crc32(name)) != int.from_bytes(check, "big"):
            raise damaged(
                shown,
                ImageFormat.PNG,
                f"the check sum of its {printable_name(name.decode('latin-1'))} chunk is wrong",
            )
        names.add(name)
        if name == b"IDAT":
            image.append(body)
        elif name == b"IHDR":
            header = bytes(body)
        elif name == b"tRNS":
            transparency = bytes(body)
        at += 12 + length
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    pixel_bits = bits * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = [
        (-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in passes if width > x and height > y
    ]
    missing = sum(rows * (1 + (columns * pixel_bits + 7) // 8) for columns, rows in sizes)
    inflate = zlib.decompressobj()
    parts = (body[start : start + _PIECE] for body in image for start in range(0, len(body), _PIECE))
    for part in parts:
        missing -= len(inflate.decompress(part))
        if inflate.eof or missing < -_TOO_MUCH:
            break
    if missing > 0:
        raise damaged(shown, ImageFormat.PNG, "its image data stops early")
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
        label = "C2PA manifest" if name == b"caBX" else f"PNG chunk {printable_name(name.decode('latin-1'))}"
        found.lost.append(label)
    if at < len(data):
        found.lost.append(f"{len(data) - at} bytes after the end of the image")
    return header + transparency


def wide_png(data: bytes, header: bytes, max_pixels: int, found: Found) -> None:
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
    keep(samples, found)
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


def check_jpeg(data: bytes, shown: str, image: Image.Image, found: Found) -> None:
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
        raise damaged(shown, ImageFormat.JPEG, "it ends before its end marker")
    if len(data) > match.end():
        found.lost.append(f"{len(data) - match.end()} bytes after the end of the image")
    if not arithmetic:  # an arithmetic coder may rightly drop trailing zeros, so there the test says nothing
        filled = data[: match.start()] + bytes(range(1, 65)) + b"\xff\xd9"
        with Image.open(io.BytesIO(filled), formats=["JPEG"]) as other:
            if not np.array_equal(np.asarray(image), np.asarray(other)):
                raise damaged(shown, ImageFormat.JPEG, "its image data stops early")


def check_webp(data: bytes, shown: str, found: Found) -> None:
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise damaged(shown, ImageFormat.WEBP, f"{end - len(data)} bytes are missing at its end")
    known = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF", b"XMP "}
    at = 12
    while at + 8 <= end:
        if (name := data[at : at + 4]) not in known:
            found.lost.append(
                "C2PA manifest" if name == b"C2PA" else f"WebP chunk {printable_name(name.decode('latin-1'))}"
            )
        at += 8 + (int.from_bytes(data[at + 4 : at + 8], "little") + 1) // 2 * 2
