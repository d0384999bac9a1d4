"""Demonstration pictures that the package makes itself: a photograph, a number plate and a document page.

The photographs are those inside scikit-image's wheel (astronaut: NASA, public domain; coffee: R. Michaud,
CC0); plate and page are drawn with Pillow's built-in font. Degradations are seeded, so that a seed names
one picture.
"""

from __future__ import annotations

import importlib
import io
from pathlib import Path
from typing import Any, Literal, assert_never

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from restore_manifests.errors import StorageError
from restore_manifests.pixels import encode_png

__all__ = ["SampleKind", "sample_picture", "write_sample"]

SampleKind = Literal["photo", "plate", "document"]
Picture = NDArray[np.uint8]

_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"
_SENTENCES = (
    "The parcel was handed over at the north gate shortly after nine.",
    "Two witnesses describe a grey van with a broken rear light.",
    "The driver paid in cash and signed the receipt as M. Keller.",
    "No invoice was found for the items listed under 4 and 7.",
    "The recording begins at 20:14 and ends without interruption.",
    "Copies of both letters are kept with the file of the case.",
    "The serial number on the frame ends in 4471 or 4477.",
    "Payment of 1,250.00 was confirmed on the following day.",
)


def sample_picture(kind: SampleKind, seed: int) -> tuple[Picture, Picture, str]:
    """A clean picture, the same degraded, and one sentence that says what was done to it.

    Both are uint8 `(H, W, 3)` sRGB of equal size: photo 512 x 512, plate 160 x 520, document 640 x 512.
    """
    generator = np.random.default_rng([seed, ("photo", "plate", "document").index(kind)])
    match kind:
        case "photo":
            clean = _photo(generator)
            degraded, done = _degrade(clean, generator, noise=16, blur=0.0, quality=60)
        case "plate":
            clean = _plate(generator)
            degraded, done = _degrade(clean, generator, noise=14, blur=1.4, quality=50)
        case "document":
            clean = _document(generator)
            degraded, done = _degrade(clean, generator, noise=20, blur=0.7, quality=45)
        case _:
            assert_never(kind)
    return clean, degraded, done


def write_sample(path: Path, kind: SampleKind = "photo", seed: int = 0) -> Path:
    """Write the degraded picture of `sample_picture` to `path` as PNG, whatever is there, and return `path`.

    Missing folders are made. Raises StorageError where the file cannot be written.
    """
    _, degraded, description = sample_picture(kind, seed)
    data = encode_png(degraded, text={"Description": f"A sample picture made by restore. {description}"})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise StorageError(
            f"The sample picture cannot be written to {path}: {error.strerror or error}.",
            hint="Choose another folder.",
        ) from error
    return path


def _photo(generator: np.random.Generator) -> Picture:
    data: Any = importlib.import_module("skimage.data")  # untyped, and slow to import
    if generator.integers(2):
        picture = data.coffee()  # 400 x 600
        left = int(generator.integers(0, 201))
        square = picture[:, left : left + 400]
        return np.ascontiguousarray(cv2.resize(square, (512, 512), interpolation=cv2.INTER_CUBIC), np.uint8)
    return np.ascontiguousarray(data.astronaut(), np.uint8)


def _plate(generator: np.random.Generator) -> Picture:
    """A plate of no country: nobody's number."""
    letters = [_LETTERS[int(index)] for index in generator.integers(0, len(_LETTERS), 4)]
    digits = "".join(str(int(digit)) for digit in generator.integers(0, 10, 3))
    number = f"{letters[0]}{letters[1]} {digits} {letters[2]}{letters[3]}"
    paint = int(generator.integers(60, 120))
    sheet = Image.new("RGB", (520, 160), (paint, paint + 6, paint + 14))
    draw = ImageDraw.Draw(sheet)
    draw.rounded_rectangle((24, 26, 496, 134), 10, (244, 243, 236), (20, 20, 22), 4)
    draw.rounded_rectangle((28, 30, 66, 130), 6, (28, 62, 150))
    draw.text((47, 104), "X", (240, 240, 240), ImageFont.load_default(26), anchor="mm")
    draw.text((282, 80), number, (18, 18, 20), ImageFont.load_default(82), anchor="mm", stroke_width=1)
    return np.asarray(sheet).copy()


def _document(generator: np.random.Generator) -> Picture:
    sheet = Image.new("RGB", (512, 640), (250, 249, 244))
    draw = ImageDraw.Draw(sheet)
    ink = (34, 34, 40)
    draw.text((36, 34), "Statement", ink, ImageFont.load_default(30))
    case = f"Case {int(generator.integers(100, 999))}/{int(generator.integers(10, 99))}, page 1"
    draw.text((36, 76), case, ink, ImageFont.load_default(15))
    draw.line((36, 104, 476, 104), ink, 1)
    font, line = ImageFont.load_default(16), 122
    for index in generator.permutation(len(_SENTENCES)):
        words = f"{_SENTENCES[int(index)]}".split()
        text = ""
        for word in [*words, ""]:
            if not word or font.getlength(f"{text} {word}") > 440:
                draw.text((36, line), text, ink, font)
                line += 24
                text = ""
            text = f"{text} {word}".strip()
        line += 8
    draw.line((300, 600, 470, 600), ink, 1)
    curve = [(310 + x, 588 - 12 * np.sin(x / 9) * np.cos(x / 23)) for x in range(150)]
    draw.line([(x, float(y)) for x, y in curve], (40, 50, 130), 2)
    return np.asarray(sheet).copy()


def _degrade(
    clean: Picture, generator: np.random.Generator, *, noise: float, blur: float, quality: int
) -> tuple[Picture, str]:
    """Blur, then Gaussian noise, then JPEG: the order in which a camera does them."""
    picture: NDArray[Any] = clean
    steps = []
    if blur:
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
        steps.append(f"blurred (Gaussian, sigma {blur:g} pixels)")
    noisy = picture + generator.normal(0, noise, picture.shape)
    picture = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    steps.append(f"covered with noise (Gaussian, sigma {noise:g} of 255)")
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    steps.append(f"compressed (JPEG, quality {quality})")
    with Image.open(buffer) as image:
        return np.asarray(image).copy(), f"It was {', '.join(steps)}."
