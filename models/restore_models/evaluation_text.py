"""Text read from pictures, so that what a restoration adds to it can be counted.

Reading needs the extra `ocr` (rapidocr: PP-OCR detection and recognition, its models inside the package). It
is a measuring instrument with errors of its own: figures of a result mean something only beside those of the
input.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["CONFIDENT", "NO_READER", "Line", "Reader", "asserted_words", "find_reader", "words"]

CONFIDENT = 0.8
"""A line that the reader is less sure of than this asserts nothing."""
NO_READER = "Text was not read: the extra ocr is not installed (pip install 'forensic-restore[ocr]')."

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Line:
    """A line of text as read, and how sure the reader is of it, 0 to 1."""

    text: str
    confidence: float


class Reader(Protocol):
    """Reads the text in a picture."""

    def read(self, pixels: NDArray[Any]) -> list[Line]:
        """The lines of a picture, uint8 (height, width[, 3]) RGB, from top to bottom."""


class _RapidReader:
    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def read(self, pixels: NDArray[Any]) -> list[Line]:
        rgb = np.repeat(pixels[:, :, None], 3, axis=2) if pixels.ndim == 2 else pixels
        found = self._engine(np.ascontiguousarray(rgb[:, :, ::-1]))  # it takes arrays for BGR
        texts, scores = found.txts or (), found.scores or ()
        return [Line(str(text), float(score)) for text, score in zip(texts, scores, strict=True)]


def find_reader() -> Reader | None:
    """The reader of the extra `ocr`; None where that is not installed."""
    try:
        rapidocr = import_module("rapidocr")
    except ImportError:
        return None
    return _RapidReader(rapidocr.RapidOCR(params={"Global.log_level": "error"}))


def words(text: str) -> Counter[str]:
    """The words of a text, without case and punctuation, and how often each stands in it."""
    return Counter(_WORD.findall(text.casefold()))


def asserted_words(lines: list[Line]) -> Counter[str]:
    """The words of those lines that the reader is sure of."""
    return words(" ".join(line.text for line in lines if line.confidence >= CONFIDENT))
