"""Evidence: every format and kind of sample, orientation, metadata, and the ways in which a file is bad."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import piexif
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile, PngImagePlugin

from restore_manifests.errors import EvidenceError
from restore_manifests.pixels import pixels_sha256
from restore_sdk.evidence import ImageFormat, decode_evidence, open_evidence

RNG = np.random.default_rng(7)
RGB = RNG.integers(0, 256, (11, 17, 3), dtype=np.uint8)
GREY = RGB[..., 0].copy()
WIDE = RNG.integers(0, 65536, (11, 17, 4), dtype=np.uint16)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SMOOTH = np.stack([np.add.outer(np.arange(64), np.arange(80)).astype(np.uint8)] * 3, axis=-1)


def saved(image: Image.Image | np.ndarray[Any, Any], kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(array: np.ndarray[Any, Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(size: tuple[int, int], bits: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(extra)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def rows16(array: np.ndarray[Any, Any]) -> bytes:
    return b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)


@pytest.mark.parametrize(
    ("kind", "options", "format_"),
    [
        ("PNG", {}, ImageFormat.PNG),
        ("TIFF", {}, ImageFormat.TIFF),
        ("TIFF", {"compression": "tiff_lzw"}, ImageFormat.TIFF),
        ("WEBP", {"lossless": True}, ImageFormat.WEBP),
        ("BMP", {}, ImageFormat.BMP),
    ],
)
def test_lossless_formats_give_the_very_samples(
    kind: str, options: dict[str, Any], format_: ImageFormat
) -> None:
    evidence = decode_evidence(saved(RGB, kind, **options), "any.name")
    assert evidence.format is format_
    assert np.array_equal(evidence.pixels, RGB)
    assert evidence.alpha is None
    assert (evidence.height, evidence.width, evidence.channels, evidence.bits) == (11, 17, 3, 8)
    assert evidence.pixels_sha256 == pixels_sha256(RGB)
    assert evidence.mime == f"image/{kind.lower()}"
    assert evidence.metadata_lost == ()
    assert not evidence.pixels.flags.writeable


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_grey_stays_grey(kind: str) -> None:
    assert np.array_equal(decode_evidence(saved(GREY, kind), "g").pixels, GREY)


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})]
)
def test_alpha_stands_apart_and_is_hashed_last(kind: str, options: dict[str, Any]) -> None:
    both = np.dstack((RGB, GREY))
    evidence = decode_evidence(saved(both, kind, **options), "a")
    assert evidence.alpha is not None
    assert np.array_equal(evidence.pixels, RGB)
    assert np.array_equal(evidence.alpha, GREY)
    assert evidence.channels == 4
    assert evidence.pixels_sha256 == pixels_sha256(both)
    assert np.array_equal(evidence.samples, both)


def test_grey_with_alpha() -> None:
    evidence = decode_evidence(saved(np.dstack((GREY, GREY[::-1])), "PNG"), "la")
    assert evidence.pixels.ndim == 2
    assert evidence.alpha is not None
    assert np.array_equal(evidence.alpha, GREY[::-1])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_is_exact(channels: int) -> None:
    array = WIDE[..., :channels]
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    text = PngImagePlugin.PngInfo()
    text.add_text("Case", "17")
    body = png((17, 11), 16, colour, rows16(array), *(chunk(name, data) for name, data, *_ in text.chunks))
    evidence = decode_evidence(body, "w.png")
    assert evidence.bits == 16
    assert np.array_equal(evidence.samples.reshape(array.shape), array)
    assert evidence.decoder.name == "OpenCV"
    assert evidence.text == {"Case": "17"}


@pytest.mark.parametrize("colour", [0, 2])
def test_16_bit_png_with_a_transparent_colour(colour: int) -> None:
    array = WIDE[..., :1] if colour == 0 else WIDE[..., :3]
    key = array[3, 5].astype(">u2").tobytes()
    evidence = decode_evidence(png((17, 11), 16, colour, rows16(array), chunk(b"tRNS", key)), "t.png")
    assert evidence.alpha is not None
    assert evidence.alpha[3, 5] == 0
    assert (evidence.alpha == 65535).sum() == 17 * 11 - 1


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize(
    ("array", "options"),
    [
        (WIDE[..., 0], {"photometric": "minisblack"}),
        (
            WIDE[..., :2],
            {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unassalpha"]},
        ),
        (WIDE[..., :3], {"photometric": "rgb"}),
        (WIDE, {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
    ],
)
def test_16_bit_tiff_is_exact(
    array: np.ndarray[Any, Any], options: dict[str, Any], compression: str | None, order: Any
) -> None:
    data = tiff(array, compression=compression, byteorder=order, rowsperstrip=4, **options)
    evidence = decode_evidence(data, "w.tif")
    assert np.array_equal(evidence.samples, array)
    assert evidence.decoder.name == "tifffile"


@pytest.mark.parametrize("array", [WIDE[..., 0], WIDE[..., :3]])
def test_16_bit_tiff_planes_and_lzw(array: np.ndarray[Any, Any]) -> None:
    swapped = array if array.ndim == 2 else np.ascontiguousarray(array[..., ::-1])
    ok, lzw = cv2.imencode(".tiff", swapped, [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    assert ok
    evidence = decode_evidence(lzw.tobytes(), "lzw.tif")
    assert np.array_equal(evidence.pixels, array)
    assert evidence.decoder.name == "OpenCV"
    if array.ndim == 3:
        planes = tiff(np.moveaxis(array, -1, 0), photometric="rgb", planarconfig="separate")
        assert np.array_equal(decode_evidence(planes, "p.tif").pixels, array)


def test_16_bit_white_is_zero_is_turned_round() -> None:
    data = tiff(WIDE[..., 0], photometric="miniswhite")
    assert np.array_equal(decode_evidence(data, "w.tif").pixels, 65535 - WIDE[..., 0])


def test_palette_bits_and_transparent_colours() -> None:
    palette = Image.fromarray(RGB).quantize(16)
    evidence = decode_evidence(saved(palette, "PNG"), "p.png")
    assert np.array_equal(evidence.pixels, np.asarray(palette.convert("RGB")))
    assert "palette (pixels stored as RGB)" in evidence.metadata_lost

    clear = decode_evidence(saved(palette, "PNG", transparency=3), "p.png")
    assert clear.alpha is not None
    assert np.array_equal(clear.alpha == 0, np.asarray(palette) == 3)

    bits = Image.fromarray(GREY).convert("1")
    one = decode_evidence(saved(bits, "PNG"), "b.png")
    assert np.array_equal(one.pixels, np.asarray(bits).astype(np.uint8) * 255)
    assert one.metadata_lost == ("1-bit depth (stored as 0 and 255)",)
    assert np.array_equal(decode_evidence(saved(bits, "TIFF", compression="group4"), "b").pixels, one.pixels)

    # two-bit grey 0 1 2 3 of which 2 is transparent: the key is scaled with the samples
    two = decode_evidence(png((4, 1), 2, 0, b"\0\x1b", chunk(b"tRNS", b"\0\2")), "2.png")
    assert two.pixels.tolist() == [[0, 85, 170, 255]]
    assert two.alpha is not None
    assert two.alpha.tolist() == [[255, 255, 0, 255]]


def test_cmyk_by_the_plain_formula() -> None:
    ink = np.dstack((RGB, GREY // 2))
    for kind in ("TIFF", "JPEG"):
        image = Image.frombytes("CMYK", (17, 11), ink.tobytes())
        data = saved(image, kind, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}))
        with Image.open(io.BytesIO(data)) as reopened:
            stored = np.asarray(reopened).astype(int)
        evidence = decode_evidence(data, "c")
        formula = (255 - stored[..., :3]) * (255 - stored[..., 3:]) / 255
        assert np.abs(evidence.pixels - formula).max() <= 1
        assert any("plain formula" in lost for lost in evidence.metadata_lost)


def test_cmyk_through_its_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """No CMYK profile may be shipped, so the colour engine's answer is put in place of one."""
    image = Image.frombytes("CMYK", (17, 11), np.dstack((RGB, GREY)).tobytes())
    data = saved(image, "TIFF", icc_profile=SRGB)
    evidence = decode_evidence(data, "c")  # an RGB profile does not fit
    assert "ICC profile (does not fit CMYK pixels)" in evidence.metadata_lost
    assert evidence.icc is None

    def engine(*_: object, **__: object) -> Image.Image:
        return Image.fromarray(RGB)

    monkeypatch.setattr(ImageCms, "profileToProfile", engine)
    evidence = decode_evidence(data, "c")
    assert np.array_equal(evidence.pixels, RGB)
    assert "littlecms2" in evidence.decoder.version
    assert any("through the embedded ICC profile" in lost for lost in evidence.metadata_lost)
    assert evidence.icc is None


UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.swapaxes(a, 0, 1)[::-1, ::-1],
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_recorded(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    tag = [(274, "H", 1, orientation, True)]
    lzw = saved(RGB, "TIFF", compression="tiff_lzw", tiffinfo={274: orientation})
    for data, stored in (
        (saved(RGB, "PNG", exif=exif), RGB),
        (saved(RGB, "WEBP", lossless=True, exif=exif.tobytes()), RGB),
        (tiff(RGB, photometric="rgb", extratags=tag), RGB),
        (lzw, RGB),
        (tiff(WIDE[..., :3], photometric="rgb", extratags=tag), WIDE[..., :3]),
    ):
        evidence = decode_evidence(data, "o")
        assert evidence.orientation == orientation
        assert np.array_equal(evidence.pixels, UPRIGHT[orientation](stored))
    jpeg = saved(SMOOTH, "JPEG", quality=95, exif=exif, dpi=(100, 200))
    evidence = decode_evidence(jpeg, "o")
    with Image.open(io.BytesIO(jpeg)) as image:
        assert np.array_equal(evidence.pixels, UPRIGHT[orientation](np.asarray(image)))
    assert evidence.dpi == ((200, 100) if orientation >= 5 else (100, 200))


def test_orientation_in_16_bit_lzw_is_applied_once() -> None:
    data = saved(RGB, "TIFF", compression="tiff_lzw", tiffinfo={274: 6})
    ok, encoded = cv2.imencode(".tiff", WIDE[..., 0], [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    assert ok
    raw = bytearray(encoded.tobytes())
    with tifffile.TiffFile(io.BytesIO(bytes(raw))) as file:
        tag = file.pages.first.tags.get(274)
    if tag is None:  # OpenCV's writer leaves the tag out: take a tag of the same kind that says nothing here
        with tifffile.TiffFile(io.BytesIO(bytes(raw))) as file:
            tag = next(t for t in file.pages.first.tags if t.code in (284, 296, 305, 317) and t.dtype == 3)
        struct.pack_into("<H", raw, tag.offset, 274)
    struct.pack_into("<H", raw, tag.valueoffset, 6)
    evidence = decode_evidence(bytes(raw), "o.tif")
    assert evidence.orientation == 6
    assert np.array_equal(evidence.pixels, np.rot90(WIDE[..., 0], -1))
    assert np.array_equal(decode_evidence(data, "o").pixels, np.rot90(RGB, -1))


XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>caf\xc3\xa9</x:xmpmeta>"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_metadata_is_carried(kind: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    options: dict[str, Any] = {"icc_profile": SRGB, "dpi": (300, 300)}
    if kind == "TIFF":
        options["tiffinfo"] = {271: "Maker", 700: XMP}
    else:
        options |= {"exif": exif, "xmp": XMP}
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("Author", "Ada")
        text.add_itxt("XML:com.adobe.xmp", XMP.decode())
        options["pnginfo"] = text
    evidence = decode_evidence(saved(RGB, kind, **options), "m")
    assert evidence.icc == SRGB
    assert evidence.xmp == XMP
    assert evidence.exif is not None
    assert piexif.load(b"Exif\0\0" + evidence.exif)["0th"][0x010F] == b"Maker"
    assert {"ICC profile", "EXIF", "XMP"} <= set(evidence.metadata_kept)
    assert evidence.metadata_lost == ()
    if kind != "WEBP":  # which has no resolution
        assert evidence.dpi == pytest.approx((300, 300), abs=0.01)
    if kind == "PNG":
        assert evidence.text == {"Author": "Ada"}
        assert "text Author" in evidence.metadata_kept


def test_what_is_lost_is_named() -> None:
    grey_profile = SRGB[:16] + b"GRAY" + SRGB[20:]
    cases = {
        saved(RGB, "PNG", icc_profile=grey_profile): "ICC profile (for another colour space than the pixels)",
        png((1, 1), 8, 0, b"\0\7", chunk(b"gAMA", b"\0\0\xb1\x8f")): "PNG chunk gAMA",
        png((1, 1), 8, 0, b"\0\7", chunk(b"caBX", b"x")): "C2PA manifest",
        saved(RGB, "PNG") + b"tail": "4 bytes after the end of the image",
        saved(SMOOTH, "JPEG") + b"tail": "4 bytes after the end of the image",
        saved(SMOOTH, "JPEG", exif=b"Exif\0\0nonsense"): "EXIF (damaged)",
        saved(
            RGB, "WEBP", save_all=True, append_images=[Image.fromarray(RGB[::-1])]
        ): "frames 2 to 2 (only the first is read)",
        saved(
            RGB, "TIFF", save_all=True, append_images=[Image.fromarray(GREY)]
        ): "further frames (only the first is read)",
        tiff(RGB, photometric="rgb", extratags=[(65000, "H", 1, 5, True)]): "TIFF tag 65000",
        tiff(WIDE, photometric="rgb", extrasamples=["unspecified"]): "extra channels of no stated meaning",
    }
    for data, lost in cases.items():
        assert lost in decode_evidence(data, "l").metadata_lost
    app = b"\xff\xed" + struct.pack(">H", 16) + b"Photoshop 3.0\0"
    jpeg = saved(SMOOTH, "JPEG", comment=b"seen")
    evidence = decode_evidence(jpeg[:2] + app + jpeg[2:], "p.jpg")
    assert evidence.metadata_lost == ("Photoshop resources (IPTC)",)
    assert evidence.text == {"Comment": "seen"}


def test_tiff_tags_become_exif() -> None:
    options: dict[str, Any] = {
        "tiffinfo": {271: "Maker", 34665: {36867: "2024:01:02 03:04:05"}},
        "description": "d",
    }
    evidence = decode_evidence(saved(RGB, "TIFF", **options), "t.tif")
    assert evidence.exif is not None
    parts = piexif.load(b"Exif\0\0" + evidence.exif)
    assert (parts["0th"][271], parts["0th"][270]) == (b"Maker", b"d")
    assert parts["Exif"][36867] == b"2024:01:02 03:04:05"
    assert evidence.metadata_lost == ()
    large = decode_evidence(saved(RGB, "TIFF", big_tiff=True, **options), "big.tif")
    assert large.exif is None
    assert large.metadata_lost == ("TIFF tags that describe the picture (not transferable to EXIF)",)


def test_thumbnail_of_the_source_is_named_lost() -> None:
    block = piexif.dump({"0th": {271: b"Maker"}, "1st": {259: 6}, "thumbnail": saved(SMOOTH[:8, :8], "JPEG")})
    evidence = decode_evidence(saved(SMOOTH, "JPEG", exif=block), "t.jpg")
    assert evidence.metadata_lost == ("EXIF thumbnail (it shows the source, not the result)",)


def test_jpeg_names_its_decoder_and_its_pixels_are_the_decoders() -> None:
    data = saved(SMOOTH, "JPEG", quality=90, progressive=True)
    evidence = decode_evidence(data, "j.jpg")
    assert evidence.decoder.name == "Pillow"
    assert "libjpeg_turbo" in evidence.decoder.version
    assert evidence.dpi is None
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(evidence.pixels, np.asarray(image))


def test_multi_picture_jpeg_gives_its_first_picture() -> None:
    data = saved(SMOOTH, "MPO", save_all=True, append_images=[Image.fromarray(SMOOTH[::-1])])
    evidence = decode_evidence(data, "phone.jpg")
    assert evidence.format is ImageFormat.JPEG
    assert "frames 2 to 2 (only the first is read)" in evidence.metadata_lost
    assert np.abs(evidence.pixels.astype(int) - SMOOTH).max() < 12


def test_the_file_is_hashed_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "wrong-ending.jpg"
    data = saved(RGB, "PNG")
    path.write_bytes(data)
    path.chmod(0o444)
    before = path.stat()
    evidence = open_evidence(path)
    assert evidence.format is ImageFormat.PNG
    assert evidence.path == path
    assert evidence.name == "wrong-ending.jpg"
    assert evidence.data == data
    assert evidence.file_sha256 == hashlib.sha256(data).hexdigest()
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_a_decode_leaves_the_globals_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        ImageFile, "LOAD_TRUNCATED_IMAGES", True
    )  # as some programs do: must not soften the check
    before = (Image.MAX_IMAGE_PIXELS, logging.getLogger("tifffile").disabled, cv2.utils.logging.getLogLevel())
    with pytest.raises(EvidenceError):
        decode_evidence(saved(SMOOTH, "TIFF")[:400], "t")
    assert ImageFile.LOAD_TRUNCATED_IMAGES
    assert (
        Image.MAX_IMAGE_PIXELS,
        logging.getLogger("tifffile").disabled,
        cv2.utils.logging.getLogLevel(),
    ) == before


# ---- bad input ------------------------------------------------------------

VALID: dict[str, bytes] = {
    "png": saved(SMOOTH, "PNG"),
    "png16": png((17, 11), 16, 2, rows16(WIDE[..., :3])),
    "jpeg": saved(SMOOTH, "JPEG", quality=90),
    "progressive": saved(SMOOTH, "JPEG", quality=90, progressive=True),
    "tiff": saved(SMOOTH, "TIFF"),
    "lzw": saved(SMOOTH, "TIFF", compression="tiff_lzw"),
    "tiff16": tiff(WIDE[..., :3], photometric="rgb"),
    "deflate16": tiff(WIDE[..., :3], photometric="rgb", compression="zlib"),
    "webp": saved(SMOOTH, "WEBP"),
    "webp_lossless": saved(SMOOTH, "WEBP", lossless=True, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"),
    "bmp": saved(SMOOTH, "BMP"),
}


@pytest.mark.parametrize("kind", VALID)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_truncated(kind: str, share: float) -> None:
    data = VALID[kind][: int(len(VALID[kind]) * share)]
    with pytest.raises(EvidenceError) as caught:
        decode_evidence(data, "cut.img")
    assert caught.value.exit_code == 2
    assert "cut.img" in caught.value.message
    assert caught.value.message.count("\n") == 0


@pytest.mark.parametrize("share", [0.4, 0.7, 0.95])
@pytest.mark.parametrize("kind", ["jpeg", "progressive"])
def test_truncated_jpeg_that_was_closed_again_is_not_silently_grey(kind: str, share: float) -> None:
    data = saved(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8), "JPEG", progressive=kind == "progressive")
    closed = data[: int(len(data) * share)] + b"\xff\xd9"
    with Image.open(io.BytesIO(closed)) as image:
        image.load()  # what the decoder says about it: nothing
    with pytest.raises(EvidenceError, match="stops early"):
        decode_evidence(closed, "closed.jpg")


def test_png_whose_image_data_stop_early_is_not_silently_black() -> None:
    short = png((100, 100), 8, 0, (b"\0" + b"\xc8" * 100) * 50)
    with Image.open(io.BytesIO(short)) as image:
        image.load()
    with pytest.raises(EvidenceError, match="stops early"):
        decode_evidence(short, "short.png")


def test_interlaced_png() -> None:
    # one pixel, Adam7: a single pass of one row
    body = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 1)) + chunk(
        b"IDAT", zlib.compress(b"\0\x2a")
    )
    evidence = decode_evidence(b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b""), "i.png")
    assert evidence.pixels.tolist() == [[42]]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"not an image at all", "is not a PNG, JPEG, TIFF, WebP or BMP image"),
        (b"%PDF-1.7", "is not a PNG, JPEG, TIFF, WebP or BMP image"),
        (b"GIF89a", "is not a PNG, JPEG, TIFF, WebP or BMP image"),
        (png((60000, 60000), 8, 2, b""), "claims far more pixels than the limit of 200,000,000"),
        (png((15000, 15000), 8, 2, b""), "claims 15000 x 15000 pixels"),
        (tiff(np.zeros((4, 4), np.float32)), "32-bit float samples"),
        (tiff(np.zeros((4, 4), np.uint32)), "32-bit integer samples"),
        (tiff(np.zeros((4, 4), np.int16)), "16-bit signed samples"),
        (saved(Image.new("LAB", (4, 4)), "TIFF"), "samples of kind LAB"),
        (tiff(WIDE, photometric="separated"), "16-bit samples other than grey or RGB"),
        (tiff(WIDE, photometric="rgb", extrasamples=["assocalpha"]), "premultiplied alpha"),
        (tiff(RGB, photometric="rgb", extratags=[(50706, "B", 4, (1, 4, 0, 0), True)]), "camera sensor"),
    ],
)
def test_refused_with_one_sentence(data: bytes, says: str) -> None:
    with pytest.raises(EvidenceError) as caught:
        decode_evidence(data, "bad.img")
    assert says in caught.value.message
    assert caught.value.message.startswith("bad.img")
    assert caught.value.hint


@pytest.mark.parametrize("kind", VALID)
def test_the_limit_of_pixels_is_the_callers(kind: str) -> None:
    limit = decode_evidence(VALID[kind], "x").pixels[..., 0].size
    assert decode_evidence(VALID[kind], "x", max_pixels=limit)
    with pytest.raises(EvidenceError, match="pixels"):
        decode_evidence(VALID[kind], "x", max_pixels=limit - 1)
    with pytest.raises(EvidenceError, match="pixels"):
        decode_evidence(VALID[kind], "x", max_pixels=10)


def test_too_many_bytes(tmp_path: Path) -> None:
    path = tmp_path / "big.png"
    path.write_bytes(VALID["png"])
    with pytest.raises(EvidenceError, match="the limit is 100"):
        open_evidence(path, max_bytes=100)


def test_paths_that_are_no_images(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="is a folder"):
        open_evidence(tmp_path)
    with pytest.raises(EvidenceError, match="does not exist"):
        open_evidence(tmp_path / "none.png")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(EvidenceError, match="does not exist"):
        open_evidence(tmp_path / "file" / "inside.png")
    with pytest.raises(EvidenceError, match="cannot be read"):
        open_evidence(tmp_path / "nul\0.png")
    with pytest.raises(EvidenceError, match="cannot be read"):
        open_evidence(tmp_path / ("long" * 200))


@pytest.mark.skipif(os.name == "nt", reason="symbolic links and pipes of POSIX")
def test_links_pipes_and_devices(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(EvidenceError, match="leads back to itself"):
        open_evidence(tmp_path / "a")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(EvidenceError, match="a device, pipe or socket"):
        open_evidence(tmp_path / "pipe")
    with pytest.raises(EvidenceError, match="a device, pipe or socket"):
        open_evidence(Path("/dev/zero"))
    (tmp_path / "real.png").write_bytes(VALID["png"])
    (tmp_path / "link.png").symlink_to(tmp_path / "real.png")
    assert open_evidence(tmp_path / "link.png").format is ImageFormat.PNG


def test_unreadable_and_changing_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(VALID["png"])

    def denied(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", denied)
        with pytest.raises(EvidenceError, match="permission is denied"):
            open_evidence(path)

    true_fstat = os.fstat

    def before_it_grew(descriptor: int) -> os.stat_result:
        real = list(true_fstat(descriptor))
        real[6] -= 10
        return os.stat_result(real)

    monkeypatch.setattr(os, "fstat", before_it_grew)
    with pytest.raises(EvidenceError, match="changed while it was read"):
        open_evidence(path)


def test_names_cannot_forge_messages(tmp_path: Path) -> None:
    path = tmp_path / "a\u202egnp.\x1b[31m"
    path.write_bytes(b"")
    with pytest.raises(EvidenceError) as caught:
        open_evidence(path)
    assert caught.value.message == "a?gnp.?[31m is empty."


def within_a_second(data: bytes) -> None:
    began = time.perf_counter()
    try:
        evidence = decode_evidence(data, "fuzz", max_pixels=100_000)
    except EvidenceError as error:
        assert error.message.startswith("fuzz")
        assert "\n" not in error.message
    else:
        assert evidence.pixels.size <= 300_000
    assert time.perf_counter() - began < 60


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(
        [
            b"",
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8\xff",
            b"II*\0",
            b"MM\0*",
            b"II+\0",
            b"RIFF\x40\0\0\0WEBP",
            b"BM",
        ]
    ),
    st.binary(max_size=400),
)
def test_random_bytes_are_refused(start: bytes, rest: bytes) -> None:
    within_a_second(start + rest)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(sorted(VALID)),
    st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=6)),
        min_size=1,
        max_size=6,
    ),
    st.booleans(),
)
def test_mutated_files_are_read_or_refused(kind: str, edits: list[tuple[float, bytes]], early: bool) -> None:
    data = bytearray(VALID[kind])
    for where, new in edits:
        at = int(where * (min(len(data), 300) if early else len(data)))  # headers matter more than pixels
        data[at : at + len(new)] = new
    within_a_second(bytes(data))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(
        [b"IHDR", b"eXIf", b"iCCP", b"tEXt", b"iTXt", b"zTXt", b"pHYs", b"tRNS", b"PLTE", b"acTL", b"IDAT"]
    ),
    st.binary(max_size=60),
)
def test_any_png_chunk_is_read_or_refused(name: bytes, body: bytes) -> None:
    data = VALID["png"]
    within_a_second(data[:33] + chunk(name, body) + data[33:])


@settings(max_examples=150, deadline=None)
@given(
    st.tuples(
        st.integers(250, 350) | st.sampled_from([700, 34665, 34675, 34853, 50706]),
        st.integers(0, 18),
        st.integers(0, 2**32 - 1) | st.integers(0, 4),
        st.integers(0, 2**32 - 1),
    ),
    st.sampled_from(["tiff", "lzw", "tiff16", "deflate16"]),
    st.integers(0, 12),
)
def test_any_tiff_tag_is_read_or_refused(entry: tuple[int, int, int, int], kind: str, slot: int) -> None:
    data = bytearray(VALID[kind])
    (start,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, start)
    struct.pack_into("<HHII", data, start + 2 + 12 * (slot % entries), *entry)
    within_a_second(bytes(data))
