"""Pixels in and out of PNG exactly, their hash, and files that must be refused."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from restore_manifests import pixels
from restore_manifests.errors import EvidenceError, UsageError
from restore_manifests.pixels import decode_png, encode_png, pixels_sha256, png_chunks

shapes = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda hw: st.sampled_from([hw, (*hw, 2), (*hw, 3), (*hw, 4)])
)
arrays = st.sampled_from([np.uint8, np.uint16]).flatmap(lambda kind: hnp.arrays(kind, shapes))


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(*, width: int = 4, height: int = 3, bits: int = 8, kind: int = 0, body: bytes | None = None) -> bytes:
    """A grey PNG from its parts, right unless an argument makes it wrong."""
    raw = b"".join(b"\0" + bytes(range(row, row + 4)) for row in range(3))
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    image = zlib.compress(raw) if body is None else body
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", image) + chunk(b"IEND", b"")


def insert(data: bytes, name: bytes, body: bytes) -> bytes:
    return data[:33] + chunk(name, body) + data[33:]


@given(arrays)
def test_round_trip_is_exact(array: np.ndarray) -> None:
    found = decode_png(encode_png(array))
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert np.array_equal(found, array)
    assert pixels_sha256(found) == pixels_sha256(array)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_pillow_and_we_agree_on_8_bits(mode: str) -> None:
    channels = len(mode)
    array = np.random.default_rng(1).integers(0, 256, (11, 7, channels), dtype=np.uint8)
    array = array[..., 0] if channels == 1 else array
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_png(array)))), array)
    stream = io.BytesIO()
    Image.fromarray(array, mode=None).save(stream, "PNG")
    assert np.array_equal(decode_png(stream.getvalue()), array)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_opencv_and_we_agree_on_16_bits(channels: int) -> None:
    shape = (11, 7) if channels == 1 else (11, 7, channels)
    array = np.random.default_rng(1).integers(0, 65536, shape, dtype=np.uint16)
    blue_first = array if channels == 1 else array[..., [2, 1, 0, 3][:channels]]
    read = cv2.imdecode(np.frombuffer(encode_png(array), np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(read, blue_first)
    done, written = cv2.imencode(".png", np.ascontiguousarray(blue_first))
    assert done
    assert np.array_equal(decode_png(written.tobytes()), array)


@pytest.mark.parametrize("width", [3, 700])  # short rows and long ones are summed in two ways
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_the_short_way_and_the_general_decoder_agree(width: int, kind: type, channels: int) -> None:
    shape = (9, width) if channels == 1 else (9, width, channels)
    array = np.random.default_rng(5).integers(0, np.iinfo(kind).max, shape, dtype=kind, endpoint=True)
    data = encode_png(array)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixels, "_decode", None)  # not needed for what we wrote ourselves
        short = decode_png(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixels, "_decode_up", lambda *_: None)
        general = decode_png(data)
    assert short.dtype == general.dtype == kind
    assert np.array_equal(short, array)
    assert np.array_equal(general, array)


@pytest.mark.parametrize(
    "change",
    [
        lambda lines, packed: packed[:-1],
        lambda lines, packed: packed[:-2] + b"xx",
        lambda lines, packed: zlib.compress(lines[:-1]),
        lambda lines, packed: zlib.compress(lines[:5] + b"\x05" + lines[6:]),
        lambda lines, packed: b"",
    ],
    ids=["cut short", "wrong sum", "a sample short", "an unknown filter", "nothing"],
)
def test_damaged_rows_of_the_short_way_are_refused(change: Callable[[bytes, bytes], bytes]) -> None:
    lines = b"".join(b"\x02" + bytes(4) for _ in range(3))
    assert np.array_equal(decode_png(png(body=zlib.compress(lines))), np.zeros((3, 4), np.uint8))
    with pytest.raises(EvidenceError):
        decode_png(png(body=change(lines, zlib.compress(lines))))


def test_image_data_in_many_chunks_is_one_stream() -> None:
    array = np.random.default_rng(6).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    parts = [(name, bytes(body)) for _, name, body in png_chunks(encode_png(array))]
    split = []
    for name, body in parts:
        step = 5 if name == b"IDAT" else len(body) + 1
        split += [(name, body[at : at + step]) for at in range(0, len(body) + 1, step)]
    assert np.array_equal(
        decode_png(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, body) for name, body in split)), array
    )


def test_interlaced_files_are_read() -> None:
    array = np.arange(64, dtype=np.uint8).reshape(8, 8)
    passes = [
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ]
    lines = b"".join(
        b"\0" + row.tobytes() for top, left, down, right in passes for row in array[top::down, left::right]
    )
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 1)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines))
    assert np.array_equal(decode_png(data + chunk(b"IEND", b"")), array)


def test_hash_is_over_the_stated_bytes() -> None:
    array = np.array([[[1, 2, 3], [4, 5, 600]]], dtype=np.uint16)
    said = b"restore.pixels/1\n1 2 3 16\n" + bytes.fromhex("000100020003000400050258")
    assert pixels_sha256(array) == hashlib.sha256(said).hexdigest()


def test_hash_depends_on_shape_and_depth_not_on_memory_order() -> None:
    array = np.random.default_rng(3).integers(0, 256, (6, 4), dtype=np.uint8)
    digests = {
        pixels_sha256(array),
        pixels_sha256(array.reshape(4, 6)),
        pixels_sha256(array.reshape(3, 4, 2)),
        pixels_sha256(array.astype(np.uint16)),
    }
    assert len(digests) == 4
    assert pixels_sha256(np.asfortranarray(array)) == pixels_sha256(array)
    swapped = array.astype(np.uint16).astype(">u2")
    assert pixels_sha256(swapped) == pixels_sha256(array.astype(np.uint16))


def test_hash_of_many_bands_is_that_of_one() -> None:
    array = np.random.default_rng(3).integers(0, 65536, (3, 6_000_000), dtype=np.uint16)
    said = b"restore.pixels/1\n3 6000000 1 16\n" + array.astype(">u2").tobytes()
    assert pixels_sha256(array) == hashlib.sha256(said).hexdigest()


def test_metadata_is_carried_and_bytes_repeat() -> None:
    array = np.zeros((4, 4, 3), np.uint8)
    options: dict[str, Any] = {
        "icc": b"an ICC profile " * 9,
        "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0",
        "text": {"XML:com.adobe.xmp": "<x/>", "Comment": "Straße 日本"},
        "dpi": (300, 150),
    }
    data = encode_png(array, **options)
    assert data == encode_png(array, **options)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert image.info["icc_profile"] == options["icc"]
        assert image.info["exif"].removeprefix(b"Exif\0\0") == options["exif"].removeprefix(b"Exif\0\0")
        assert image.info["Comment"] == "Straße 日本"
        assert image.info["xmp"] == b"<x/>"
        assert image.info["dpi"] == pytest.approx((300, 150), abs=0.02)
    assert np.array_equal(decode_png(data), array)


def test_hand_made_file_is_read() -> None:
    assert decode_png(png()).tolist() == [[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5]]


HOSTILE: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "signature only": lambda: png()[:8],
    "jpeg": lambda: b"\xff\xd8\xff\xe0" + bytes(40),
    "text": lambda: b"hello, this is not a picture at all",
    "truncated in header": lambda: png()[:20],
    "truncated in data": lambda: png()[:50],
    "without end": lambda: png()[:-12],
    "trailing bytes": lambda: png() + b"x",
    "trailing chunk": lambda: png() + chunk(b"tEXt", b"a\0b"),
    "check sum": lambda: png()[:-1] + b"\0",
    "huge header": lambda: png(width=2**31 - 1, height=2**31 - 1),
    "header beyond limit": lambda: png(width=1001, height=1000),
    "header beyond data": lambda: png(width=999, height=1000),
    "zero width": lambda: png(width=0),
    "palette": lambda: png(kind=3),
    "four bits": lambda: png(bits=4),
    "unknown colour": lambda: png(kind=5),
    "colour key": lambda: insert(png(), b"tRNS", b"\0\x01"),
    "animation": lambda: insert(png(), b"acTL", bytes(8)),
    "second header": lambda: insert(png(), b"IHDR", png()[16:29]),
    "short image data": lambda: png(body=zlib.compress(b"\0\1\2\3\4")),
    "no image data": lambda: png(body=b""),
    "image data not zlib": lambda: png(body=b"not zlib" * 4),
    "bad filter": lambda: png(body=zlib.compress(b"\x09\1\2\3\4" * 3)),
    "16 bits short": lambda: png(bits=16),
    "16 bits not zlib": lambda: png(bits=16, body=b"not zlib" * 4),
    "length beyond the end": lambda: png()[:33] + struct.pack(">I", 2**32 - 1) + png()[37:],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(name: str) -> None:
    with pytest.raises(EvidenceError) as caught:
        decode_png(HOSTILE[name](), max_pixels=1_000_000)
    assert caught.value.message.startswith("The file is not a PNG image that restore can read")
    assert caught.value.message.endswith(".")


@pytest.mark.parametrize("bits", [8, 16])
def test_data_beyond_the_image_costs_nothing(bits: int) -> None:
    raw = b"".join(b"\0" + bytes(4 * bits // 8) for _ in range(3))
    bomb = png(bits=bits, body=zlib.compress(raw + bytes(300_000_000)))
    assert len(bomb) < 400_000
    assert decode_png(bomb).max() == 0  # the decoder stops where the image ends


def test_compressed_text_never_reaches_a_decoder() -> None:
    bomb = insert(png(), b"zTXt", b"a\0\0" + zlib.compress(bytes(50_000_000)))
    assert decode_png(bomb).shape == (3, 4)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_damage_is_refused_or_harmless(data: st.DataObject) -> None:
    whole = bytearray(encode_png(np.arange(48, dtype=np.uint8).reshape(4, 12), text={"k": "v"}))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = decode_png(bytes(whole), max_pixels=10_000)
    except EvidenceError:
        return
    assert np.array_equal(found, np.arange(48).reshape(4, 12))  # check sums leave nothing else


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 2), np.float32),
        np.zeros((2, 2), np.int16),
        np.zeros((2, 2, 1), np.uint8),
        np.zeros((2, 2, 5), np.uint8),
        np.zeros((2,), np.uint8),
        np.zeros((0, 2), np.uint8),
    ],
)
def test_other_arrays_are_refused(array: Any) -> None:
    with pytest.raises(UsageError):
        pixels_sha256(array)
    with pytest.raises(UsageError):
        encode_png(array)


@pytest.mark.parametrize("keyword", ["", "x" * 80, "a\0b"])
def test_impossible_keywords_are_refused(keyword: str) -> None:
    with pytest.raises(UsageError):
        encode_png(np.zeros((1, 1), np.uint8), text={keyword: "v"})


def test_chunks_say_where_they_are() -> None:
    data = png()
    assert [(start, name) for start, name, _ in png_chunks(data)] == [
        (8, b"IHDR"),
        (33, b"IDAT"),
        (len(data) - 12, b"IEND"),
    ]
