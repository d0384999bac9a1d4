"""The suite `hallucination`: what a restoration adds that is not in the truth.

Pixels: how sparse the edit map is, and where the result is visibly farther from the truth than the input
was. Text, where the extra `ocr` is installed: the unsupported words, which are those that a reader is sure of
in the result and that the truth does not hold, always beside the same figure for the input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab

from restore_models.degradations import FloatImage, blur_kernel, gaussian_noise, jpeg, quantise
from restore_models.evaluation_images import Item
from restore_models.evaluation_protocol import (
    Case,
    Ratio,
    Reading,
    Sample,
    Subject,
    as_float,
    levels_like,
    quality,
)
from restore_models.evaluation_text import Line, Reader, asserted_words, words

__all__ = ["hallucination_cases"]

_JUST_VISIBLE, _NOTICEABLE = 1.0, 2.3
"""CIEDE2000 side by side, and the just noticeable difference, as the manifest's edit map counts them."""


def hallucination_cases(reader: Reader | None) -> list[Case]:
    """Settings: `undamaged`, where every change is an addition; noise, compression, and blur with noise.

    Figures: `unchanged`, the share of pixels that differ from the input by at most 1 CIEDE2000; `changed`, by
    more than 2.3; `made_worse`, whose distance from the truth grew by more than 2.3. With a `reader` and
    text in the pictures also `unsupported` and `unsupported_input`, the share of words read with confidence
    that the truth does not hold, and `words_read` and `words_read_input`, the share of the truth's words that
    were read. The truth is the file beside the picture (`<stem>.gt.txt`), else what is read from the clean
    picture.
    """
    truths: dict[str, str] = {}
    return [_case(setting, make, reader, truths) for setting, make in _DAMAGES]


def _noisy(image: FloatImage) -> FloatImage:
    return quantise(gaussian_noise(image, 25, np.random.default_rng(0)))


def _compressed(image: FloatImage) -> FloatImage:
    return jpeg(image, 20)


def _blurred(image: FloatImage) -> FloatImage:
    rng = np.random.default_rng(0)
    blurred = cv2.filter2D(image, -1, blur_kernel("gaussian", 1.5, rng), borderType=cv2.BORDER_REFLECT)
    return quantise(gaussian_noise(blurred.astype(np.float32), 5, rng))


_DAMAGES: tuple[tuple[str, Callable[[FloatImage], FloatImage]], ...] = (
    ("undamaged", quantise),
    ("sigma 25, 8-bit file", _noisy),
    ("quality 20", _compressed),
    ("blur 1.5 pixels, then sigma 5", _blurred),
)


def _case(
    setting: str,
    make: Callable[[FloatImage], FloatImage],
    reader: Reader | None,
    truths: dict[str, str],
) -> Case:
    def measure(subject: Subject, item: Item, _number: int) -> list[Sample]:
        worse = levels_like(make(as_float(item.clean)), item.clean)
        restored = subject.restore(worse)
        figures: dict[str, Ratio] = _pixels(item.clean, worse, restored)
        reading = None
        if reader is not None:
            if item.name not in truths:
                truths[item.name] = item.text or _text(reader.read(item.clean))
            said = reader.read(worse), reader.read(restored)
            reading = Reading(item.name, setting, truths[item.name], *(_text(lines) for lines in said))
            figures |= _words(truths[item.name], *said)
        return [Sample(setting, quality(item.clean, restored, worse), figures, reading)]

    return measure


def _pixels(clean: NDArray[Any], worse: NDArray[Any], restored: NDArray[Any]) -> dict[str, Ratio]:
    truth, before, after = (_lab(image) for image in (clean, worse, restored))
    change = _difference(before, after)
    grown = _difference(truth, after) - _difference(truth, before)
    return {
        "unchanged": (float(np.mean(change <= _JUST_VISIBLE)), 1),
        "changed": (float(np.mean(change > _NOTICEABLE)), 1),
        "made_worse": (float(np.mean(grown > _NOTICEABLE)), 1),
    }


def _lab(image: NDArray[Any]) -> NDArray[np.float64]:
    rgb = np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image
    found: NDArray[np.float64] = rgb2lab(rgb)
    return found


def _difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = deltaE_ciede2000(one, other)  # type: ignore[no-untyped-call]  # scikit-image has no types
    return found


def _text(lines: list[Line]) -> str:
    return "\n".join(line.text for line in lines)


def _words(truth: str, before: list[Line], after: list[Line]) -> dict[str, Ratio]:
    known = words(truth)
    found: dict[str, Ratio] = {}
    for ending, lines in (("", after), ("_input", before)):
        asserted = asserted_words(lines)
        found[f"unsupported{ending}"] = ((asserted - known).total(), asserted.total())
        found[f"words_read{ending}"] = ((asserted & known).total(), known.total())
    return found
