"""Pixels as integers: their hash, and the one PNG form that results and maps are written in and read from.

Arrays are uint8 or uint16, `(H, W)` grey or `(H, W, C)` with C of 2 (grey, alpha), 3 (RGB) or 4 (RGBA), in
the colour space of the file; nothing here converts colours. Clauses are of PNG, Third Edition (W3C, 2025).
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from restore_manifests.errors import EvidenceError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8] | NDArray[np.uint16]

__all__ = ["MAX_PIXELS", "decode_png", "encode_png", "pixels_sha256", "png_chunks"]

MAX_PIXELS = 200_000_000
"""Default limit of `decode_png`: above every camera in use, below what exhausts a workstation."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 4: 2, 2: 3, 6: 4}  # colour type -> channels (clause 11.2.1); 3 is palette
_COLOUR_TYPE = {channels: kind for kind, channels in _CHANNELS.items()}


def pixels_sha256(array: Pixels) -> str:
    """SHA-256 of the decoded samples, independent of how a file stores them.

    Hashed are the line `restore.pixels/1`, the line `height width channels bits`, then the samples row by
    row, channels interleaved, 16-bit samples high byte first. Raises UsageError for other arrays.
    """
    import hashlib  # noqa: PLC0415

    height, width, channels, bits = _shape(array)
    digest = hashlib.sha256(f"restore.pixels/1\n{height} {width} {channels} {bits}\n".encode())
    rows = max(1, (1 << 24) // (width * channels))  # bands bound the memory of the byte-swapped copy
    for top in range(0, height, rows):
        digest.update(_big_endian(array[top : top + rows]))
    return digest.hexdigest()


def encode_png(
    array: Pixels,
    *,
    icc: bytes | None = None,
    exif: bytes | None = None,
    text: Mapping[str, str] | None = None,
    dpi: tuple[float, float] | None = None,
    level: int = 1,
) -> bytes:
    """A PNG file of `array`; the same arguments and the same zlib give the same bytes.

    `icc` is a whole ICC profile, `exif` a TIFF-headed block with or without its `Exif` prefix, `text` goes
    into one UTF-8 iTXt chunk per keyword (XMP has the keyword `XML:com.adobe.xmp`), `dpi` is (x, y) in dots
    per inch. `level` is zlib's effort, 1 (fast) to 9. Raises UsageError for arrays or keywords PNG cannot
    carry.
    """
    import numpy as np  # noqa: PLC0415

    height, width, channels, bits = _shape(array)
    rows = np.frombuffer(_big_endian(array), np.uint8).reshape(height, -1)
    lines = np.empty((height, rows.shape[1] + 1), np.uint8)
    lines[:, 0] = 2  # filter type Up (clause 9.2): one vector operation, within 2 % of the adaptive choice
    lines[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=lines[1:, 1:])
    parts = [
        _SIGNATURE,
        _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, _COLOUR_TYPE[channels], 0, 0, 0)),
    ]
    if icc:
        parts.append(_chunk(b"iCCP", b"icc\0\0" + zlib.compress(icc, 9)))
    if dpi and all(math.isfinite(d) and 0 < d < 1e6 for d in dpi):
        parts.append(_chunk(b"pHYs", struct.pack(">IIB", *(round(d / 0.0254) for d in dpi), 1)))
    if exif:
        parts.append(_chunk(b"eXIf", exif.removeprefix(b"Exif\0\0")))
    parts.extend(_chunk(b"iTXt", _itxt(keyword, value)) for keyword, value in sorted((text or {}).items()))
    parts.extend((_chunk(b"IDAT", zlib.compress(lines.data, level)), _chunk(b"IEND", b"")))
    return b"".join(parts)


def decode_png(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """The samples of a PNG of 8 or 16 bits, exactly: grey `(H, W)`, grey+alpha, RGB or RGBA `(H, W, C)`.

    Structure, sizes and check sums are read first; a decoder sees only header and image data, so that no
    other chunk can colour, animate or inflate anything. Raises EvidenceError for whatever is not such a
    file: other types, palette, tRNS transparency, animation, truncation, trailing bytes, more than
    `max_pixels`.
    """
    chunks = list(png_chunks(data))
    kinds = [name for _, name, _ in chunks]
    if not chunks or kinds[0] != b"IHDR" or len(chunks[0][2]) != 13:
        _refuse("it does not start with a header")
    width, height, bits, kind, compression, filtering, interlace = struct.unpack(">IIBBBBB", chunks[0][2])
    if bits not in (8, 16) or kind not in _CHANNELS or compression or filtering or interlace > 1:
        _refuse(f"colour type {kind} with {bits} bits is not one that restore writes")
    if not width or not height:
        _refuse("its width or height is zero")
    if width * height > max_pixels:
        _refuse(f"it claims {width} x {height} pixels, more than the {max_pixels} allowed")
    if foreign := {b"tRNS", b"acTL", b"fdAT", b"PLTE"}.intersection(kinds):
        _refuse(f"it has a chunk that changes what is seen ({min(foreign).decode()})")
    if kinds.count(b"IHDR") != 1 or kinds.count(b"IEND") != 1 or kinds[-1] != b"IEND":
        _refuse("its header or its end appears twice or is missing")
    view = memoryview(data)
    kept = [
        view[start : start + 12 + len(body)]
        for start, name, body in chunks
        if name in (b"IHDR", b"IDAT", b"IEND")
    ]
    # deflate shrinks at most 1032-fold: a header that claims more is refused before memory is taken
    if sum(map(len, kept)) * 1032 < height * (width * _CHANNELS[kind] * bits // 8):
        _refuse("it holds too little image data for its size")
    shape = (height, width, _CHANNELS[kind], bits)
    if not interlace:
        bodies = [body for _, name, body in chunks if name == b"IDAT"]
        pixels = _decode_up(bodies, shape)
        if pixels is not None:
            return pixels
    return _decode(b"".join((_SIGNATURE, *kept)), shape)


def _decode_up(bodies: list[memoryview], shape: tuple[int, int, int, int]) -> Pixels | None:
    """The samples, if every row has filter type Up, as `encode_png` writes; None for all else.

    Half the time of the general decoder. What is odd in any way is left to that one, and to its refusals.
    """
    import numpy as np  # noqa: PLC0415

    height, width, channels, bits = shape
    line = 1 + width * channels * bits // 8
    inflate = zlib.decompressobj()
    parts: list[bytes] = []
    room = height * line + 1  # one byte more than there may be shows that there are too many
    try:
        for body in bodies:
            parts.append(inflate.decompress(body, room))
            room -= len(parts[-1])
            if room <= 0 or inflate.unconsumed_tail:
                return None
    except zlib.error:
        return None
    if not inflate.eof or inflate.unused_data or room != 1:
        return None
    raw = parts[0] if len(parts) == 1 else b"".join(parts)
    lines = np.frombuffer(raw, np.uint8).reshape(height, line)
    if lines[0, 0] not in (0, 2) or (lines[1:, 0] != 2).any():  # above the first row is nothing: None is Up
        return None
    if line < 1024:
        rows = np.add.accumulate(lines[:, 1:], axis=0, dtype=np.uint8)
    else:  # the same row by row, which is faster for long rows
        rows = np.empty((height, line - 1), np.uint8)
        rows[0] = lines[0, 1:]
        for at in range(1, height):
            np.add(lines[at, 1:], rows[at - 1], out=rows[at])
    wanted = (height, width) if channels == 1 else (height, width, channels)
    if bits == 8:
        return rows.reshape(wanted)
    return rows.view(">u2").reshape(wanted).astype(np.uint16)


def _decode(bare: bytes, shape: tuple[int, int, int, int]) -> Pixels:
    import cv2  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    # OpenCV rather than Pillow: the latter reduces 16-bit colour to 8 bits and fills up missing rows silently
    height, width, channels, bits = shape
    array: Any
    try:
        array = cv2.imdecode(np.frombuffer(bare, np.uint8), cv2.IMREAD_UNCHANGED)
        if array is None:
            _refuse("the image data is truncated or damaged")
        if channels == 2:  # read as blue, green, red and alpha, the first three alike
            array = np.ascontiguousarray(array[..., ::3])
        elif channels > 2:
            array = cv2.cvtColor(array, cv2.COLOR_BGR2RGB if channels == 3 else cv2.COLOR_BGRA2RGBA)
    except cv2.error as error:
        _refuse(str(error))
    wanted = (height, width) if channels == 1 else (height, width, channels)
    if array.shape != wanted or array.dtype.itemsize * 8 != bits:
        _refuse(f"its samples were read as {array.dtype} {array.shape}")
    pixels: Pixels = array
    return pixels


def _refuse(reason: str) -> NoReturn:
    raise EvidenceError(
        f"The file is not a PNG image that restore can read: {reason}.",
        hint="Use the file exactly as restore wrote it.",
    )


def _shape(array: Pixels) -> tuple[int, int, int, int]:
    channels = array.shape[2] if array.ndim == 3 else 1
    if (
        array.ndim not in (2, 3)
        or channels not in _COLOUR_TYPE
        or array.dtype.name not in ("uint8", "uint16")
    ):
        raise UsageError(
            f"Pixels must be uint8 or uint16 of 1 to 4 channels, not {array.dtype} {array.shape}."
        )
    if array.ndim == 3 and channels == 1:
        raise UsageError("Grey pixels have two axes, height and width.")
    height, width = array.shape[:2]
    if not 0 < height < 2**31 or not 0 < width < 2**31:
        raise UsageError(f"An image of {width} x {height} pixels cannot be written.")
    return height, width, channels, array.dtype.itemsize * 8


def _big_endian(array: Pixels) -> memoryview:
    import numpy as np  # noqa: PLC0415

    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder(">")).data.cast("B")


def _chunk(name: bytes, body: bytes) -> bytes:
    return b"".join(
        (struct.pack(">I", len(body)), name, body, struct.pack(">I", zlib.crc32(body, zlib.crc32(name))))
    )


def png_chunks(data: bytes, *, check_sums: bool = True) -> Iterator[tuple[int, bytes, memoryview]]:
    """The chunks of a PNG in order: offset of the chunk, its type, its body (12 bytes less than the chunk).

    Raises EvidenceError at the first that is truncated or, with `check_sums`, whose check sum is wrong.
    """
    if not data.startswith(_SIGNATURE):
        _refuse("it does not begin with the PNG signature" if data else "it is empty")
    at = len(_SIGNATURE)
    view = memoryview(data)
    while at < len(data):
        if at + 12 > len(data):
            _refuse("it is truncated, or bytes follow its end")
        length = int.from_bytes(view[at : at + 4], "big")
        name, end = data[at + 4 : at + 8], at + 12 + length
        if length > 0x7FFFFFFF or end > len(data):
            _refuse("it is truncated")
        if check_sums and zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            _refuse(f"the check sum of its {name!r} chunk is wrong")
        yield at, name, view[at + 8 : end - 4]
        at = end


def _itxt(keyword: str, value: str) -> bytes:
    name = keyword.encode("latin-1", "replace")
    if not 0 < len(name) < 80 or b"\0" in name or "\0" in value:
        raise UsageError(f"The text keyword {keyword[:80]!a} cannot be stored in a PNG file.")
    return name + b"\0\0\0\0\0" + value.encode("utf-8", "replace")
