"""Rendered text for training: documents, receipts, number plates and signs, seeded and of no real person.

Every picture is uint8 RGB, `size` pixels square, with text from nine pixels of height, where restoration is
hardest, to large. Words and numbers are drawn at random: nothing in them can be learned by heart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from restore_models.fonts import Font, FontRole

__all__ = ["TextKind", "render_text"]

TextKind = Literal["document", "receipt", "plate", "sign"]

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

_SYLLABLES = ("an", "ber", "co", "da", "el", "fi", "gra", "ho", "in", "ja", "ka", "lo", "mi", "no", "or",
              "pe", "qui", "ra", "se", "ta", "un", "ver", "wa", "xi", "yo", "zu", "sch", "ing")  # fmt: skip
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_PLATES = ("AA 999 AA", "AA-AA 999", "AAA 9999", "9999 AAA", "AA99 AAA", "A 999 AA", "99-AAA-9", "AAA-99-99")
"""Patterns of several countries; A a letter, 9 a digit."""
_GROUNDS: dict[str, tuple[Colour, Colour]] = {
    "white": ((236, 237, 233), (24, 24, 28)),
    "yellow": ((240, 196, 46), (26, 24, 20)),
    "black": ((30, 31, 34), (224, 224, 220)),
    "green": ((24, 102, 62), (238, 240, 236)),
    "blue": ((28, 66, 150), (238, 240, 242)),
    "red": ((176, 32, 38), (242, 240, 238)),
}


def render_text(kind: TextKind, rng: np.random.Generator, fonts: Sequence[Font], size: int = 384) -> Picture:
    """One picture of a kind, in a font out of `fonts` that suits it."""
    return _KINDS[kind](rng, fonts, size)


def _document(rng: np.random.Generator, fonts: Sequence[Font], size: int) -> Picture:
    """A page of print: headings, paragraphs set flush or ragged, now and then a ruled table."""
    paper, ink = int(rng.integers(215, 256)), int(rng.integers(0, 80))
    page, draw = _sheet(size, (paper, paper, max(0, paper - int(rng.integers(0, 18)))))
    font, height = _font(fonts, "text", rng), int(rng.choice([9, 10, 11, 12, 14, 16, 20]))
    colour, y, margin = (ink, ink, ink), 6, int(rng.integers(4, 24))
    while y < size:
        if rng.random() < 0.12:
            large = int(height * rng.uniform(1.3, 2.2))
            draw.text((margin, y), _words(rng, 3).title(), font=font.at(large), fill=colour)
            y += int(large * 1.4)
        elif rng.random() < 0.08:
            y = _table(draw, rng, font, (margin, y), height, size, colour)
        else:
            line = _words(rng, 3 * size // (height * 4))
            draw.text((margin, y), line, font=font.at(height), fill=colour)
            y += int(height * 1.3)
            y += height if rng.random() < 0.12 else 0
    return _turned(np.asarray(page), rng, 1.5)


def _table(
    draw: ImageDraw.ImageDraw,
    rng: np.random.Generator,
    font: Font,
    place: tuple[int, int],
    height: int,
    size: int,
    colour: Colour,
) -> int:
    """Ruled rows of words and figures; the line below it."""
    left, y = place
    columns = [left + index * (size - left) // 3 for index in range(3)]
    step = int(height * 1.6)
    for _ in range(int(rng.integers(2, 6))):
        draw.line([(left, y), (size, y)], fill=colour)
        for x, text in zip(columns, (_words(rng, 1), _digits(rng, 6), _price(rng)), strict=True):
            draw.text((x + 3, y + 2), text, font=font.at(height), fill=colour)
            draw.line([(x, y), (x, y + step)], fill=colour)
        y += step
    draw.line([(left, y), (size, y)], fill=colour)
    return y + height


def _receipt(rng: np.random.Generator, fonts: Sequence[Font], size: int) -> Picture:
    """A slip of a till: monospaced, items and prices, rules of dashes, a total; faded as thermal paper is."""
    paper, ink = int(rng.integers(205, 250)), int(rng.integers(20, 130))
    page, draw = _sheet(size, (paper, paper, paper - int(rng.integers(0, 10))))
    font, height = _font(fonts, "mono", rng), int(rng.choice([9, 10, 11, 12, 14, 18]))
    face = font.at(height)
    columns = max(16, int(size / max(1.0, face.getlength("0"))) - 2)
    y = int(rng.integers(2, 12))
    while y < size:
        shape = rng.random()
        if shape < 0.1:
            text = str(rng.choice(["-", "=", "*"])) * columns
        elif shape < 0.2:
            text = f"TOTAL {_price(rng)}".rjust(columns)
        elif shape < 0.32:
            date = f"{rng.integers(1, 29):02}.{rng.integers(1, 13):02}.20{rng.integers(10, 40)}"
            text = f"{date} {rng.integers(0, 24):02}:{rng.integers(0, 60):02} #{_digits(rng, 4)}"
        else:
            price = _price(rng)
            name = f"{rng.integers(1, 9)}x {_words(rng, 2)}".upper()[: columns - len(price) - 1]
            text = name.ljust(columns - len(price)) + price
        fade = ink + int(rng.integers(0, 25))
        draw.text((4, y), text, font=face, fill=(fade, fade, fade))
        y += int(height * 1.25)
    return _turned(np.asarray(page), rng, 3.0)


def _plate(rng: np.random.Generator, fonts: Sequence[Font], size: int) -> Picture:
    """Number plates on coloured metal, seen a little from the side, characters nine pixels high and up."""
    picture = _shaded(rng, size)
    y = int(rng.integers(0, 8))
    while y < size - 16:
        height = int(rng.choice([14, 18, 22, 28, 36, 52, 76]))
        x = int(rng.integers(-10, 20))
        while x < size:
            plate = _one_plate(rng, fonts, 3 * height)
            width = round(plate.shape[1] / 3)
            _paste(picture, plate, (x, y, width, height), rng)
            x += width + int(rng.integers(8, 30))
        y += height + int(rng.integers(8, 24))
    return picture


def _one_plate(rng: np.random.Generator, fonts: Sequence[Font], height: int) -> Picture:
    ground, ink = _GROUNDS[str(rng.choice(["white", "white", "white", "yellow", "black"]))]
    pattern = str(rng.choice(_PLATES))
    text = "".join(
        _digits(rng, 1) if c == "9" else str(rng.choice(list(_LETTERS))) if c == "A" else c for c in pattern
    )
    font = _font(fonts, "bold", rng).at(round(height * 0.82))
    left, top, right, bottom = font.getbbox(text)
    band = round(height * 0.45) if rng.random() < 0.5 else 0
    width = band + round(right - left) + round(height * 0.4)
    plate = Image.new("RGB", (width, height), ground)
    draw = ImageDraw.Draw(plate)
    if band:
        draw.rectangle([0, 0, band, height], fill=(20, 50, 150))
        state, small = str(rng.choice(list("DFIEPL"))), _font(fonts, "bold", rng).at(band)
        draw.text((band // 4, height // 2), state, font=small, fill=(235, 235, 235))
    place = (band + round(height * 0.2) - left, (height - (bottom - top)) / 2 - top)
    draw.text(place, text, font=font, fill=ink)
    draw.rectangle([0, 0, width - 1, height - 1], outline=ink, width=max(2, height // 22))
    return np.asarray(plate)


def _sign(rng: np.random.Generator, fonts: Sequence[Font], size: int) -> Picture:
    """Signs: a few large words on a strong colour, framed, with an arrow or a disc now and then."""
    picture = _shaded(rng, size)
    y = int(rng.integers(0, 10))
    while y < size - 20:
        height = int(rng.choice([24, 32, 44, 60, 84]))
        x = int(rng.integers(-10, 20))
        while x < size:
            sign = _one_sign(rng, fonts, 3 * height)
            width = round(sign.shape[1] / 3)
            _paste(picture, sign, (x, y, width, height), rng)
            x += width + int(rng.integers(8, 30))
        y += height + int(rng.integers(8, 30))
    return picture


def _one_sign(rng: np.random.Generator, fonts: Sequence[Font], height: int) -> Picture:
    ground, ink = _GROUNDS[str(rng.choice(sorted(_GROUNDS)))]
    text = _words(rng, int(rng.integers(1, 3)))
    text = text.upper() if rng.random() < 0.5 else text.title()
    text += f" {rng.integers(1, 200)}" if rng.random() < 0.4 else ""
    font = _font(fonts, "bold", rng).at(round(height * rng.uniform(0.4, 0.62)))
    left, top, right, bottom = font.getbbox(text)
    mark = height if rng.random() < 0.4 else 0
    width = mark + round(right - left) + height // 2
    sign = Image.new("RGB", (width, height), ground)
    draw = ImageDraw.Draw(sign)
    if mark:
        inner, outer = 0.25 * height, 0.75 * height
        if rng.random() < 0.5:
            draw.ellipse([inner, inner, outer, outer], outline=ink, width=height // 12)
        else:
            draw.line([(inner, height / 2), (outer, height / 2)], fill=ink, width=height // 10)
            draw.polygon([(outer, inner * 1.2), (height * 0.95, height / 2), (outer, outer * 0.93)], fill=ink)
    draw.text((mark + height / 4 - left, (height - (bottom - top)) / 2 - top), text, font=font, fill=ink)
    edge = height // 14
    draw.rectangle([edge, edge, width - 1 - edge, height - 1 - edge], outline=ink, width=max(2, height // 28))
    return np.asarray(sign)


_KINDS: dict[str, Callable[[np.random.Generator, Sequence[Font], int], Picture]] = {
    "document": _document,
    "receipt": _receipt,
    "plate": _plate,
    "sign": _sign,
}


def _sheet(size: int, colour: Colour) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    page = Image.new("RGB", (size, size), colour)
    return page, ImageDraw.Draw(page)


def _font(fonts: Sequence[Font], role: FontRole, rng: np.random.Generator) -> Font:
    fitting = [font for font in fonts if font.has(role)] or list(fonts)
    return fitting[int(rng.integers(len(fitting)))]


def _words(rng: np.random.Generator, count: int) -> str:
    return " ".join("".join(rng.choice(_SYLLABLES, int(rng.integers(1, 5)))) for _ in range(max(1, count)))


def _digits(rng: np.random.Generator, count: int) -> str:
    return "".join(str(digit) for digit in rng.integers(0, 10, count))


def _price(rng: np.random.Generator) -> str:
    return f"{rng.integers(0, 200)}.{rng.integers(0, 100):02}"


def _shaded(rng: np.random.Generator, size: int) -> Picture:
    """A smooth ground of one colour, lighter to one side."""
    colour = rng.uniform(20, 200, 3)
    y, x = np.mgrid[:size, :size] / size - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    slope = (x * np.cos(angle) + y * np.sin(angle)) * rng.uniform(0, 90)
    ground: Picture = np.clip(colour + slope[:, :, None], 0, 255).astype(np.uint8)
    return ground


def _paste(
    picture: Picture, part: Picture, place: tuple[int, int, int, int], rng: np.random.Generator
) -> None:
    """Puts `part` where `place` (left, top, width, height) says, its corners moved as by a slanting view.

    It was drawn three times as large: area averaging first, so that what is written stays sharp.
    """
    left, top, width, height = place
    small = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
    edge = height // 8 + 2
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners + rng.uniform(-0.06, 0.06, (4, 2)) * height + edge
    warp = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    size = (width + 2 * edge, height + 2 * edge)
    inside = cv2.warpPerspective(np.full((height, width), 255, np.uint8), warp, size, flags=cv2.INTER_CUBIC)
    drawn = cv2.warpPerspective(
        small, warp, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    ).astype(np.float32)
    top, left = top - edge, left - edge
    target = picture[max(0, top) : top + size[1], max(0, left) : left + size[0]]
    here = (slice(max(0, -top), None), slice(max(0, -left), None))
    shown = tuple(slice(0, side) for side in target.shape[:2])
    share = inside[here][shown][:, :, None].astype(np.float32) / 255.0
    mixed = target * (1 - share) + drawn[here][shown] * share
    target[:] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def _turned(picture: Picture, rng: np.random.Generator, most: float) -> Picture:
    """Every second one turned by up to `most` degrees, as a scan is."""
    if rng.random() < 0.5:
        return picture
    size = picture.shape[0]
    turn = cv2.getRotationMatrix2D((size / 2, size / 2), rng.uniform(-most, most), 1.0)
    edge = cv2.BORDER_REPLICATE
    turned = cv2.warpAffine(picture, turn, (size, size), flags=cv2.INTER_CUBIC, borderMode=edge)
    return turned.astype(np.uint8, copy=False)
