"""The pictures that a suite measures on: clean ones, or pairs of a degraded picture and its reference."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restore_manifests.errors import UsageError

__all__ = ["Image8", "Item", "divisible", "luma8", "middle", "read_images", "read_items", "read_pairs"]

Image8 = NDArray[np.uint8]
"""(height, width) where grey, else (height, width, 3) RGB, sRGB-encoded."""

_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"}
_REFERENCE = {"gt", "clean", "mean", "reference", "ref", "truth", "target", "hr", "sharp", "original"}
_DEGRADED = {"noise", "noisy", "real", "lq", "lr", "input", "degraded", "blur", "blurry", "compressed"}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_TRUTH_ENDINGS = (".gt.txt", ".gold.txt")


@dataclass(frozen=True)
class Item:
    """One picture of a set: the clean one, for pairs the degraded one beside it, and the text in it where a
    file beside the picture says it (`<stem>.gt.txt` or `<stem>.gold.txt`)."""

    name: str
    clean: Image8
    degraded: Image8 | None = None
    text: str | None = None


def read_images(folder: Path) -> list[tuple[str, Image8]]:
    """The 8-bit images of a folder, by name: (height, width) where the file is grey, else RGB.

    Raises:
        UsageError: if there is none.
    """
    return [(item.name, item.clean) for item in read_items(folder)]


def read_items(folder: Path) -> list[Item]:
    """As `read_images`, with the text that a file beside each picture says is in it.

    Raises:
        UsageError: if there is no image.
    """
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    items = [
        Item(path.name, image, text=_truth(path)) for path in paths if (image := _decode(path)) is not None
    ]
    if not items:
        raise UsageError(
            f"There is no 8-bit image in {folder}.", hint="Name a folder of images with --images."
        )
    return items


def read_pairs(folder: Path) -> list[Item]:
    """Pairs of a degraded picture and its reference, anywhere below `folder`.

    A picture is a reference if its name or the name of a folder below `folder` has a word that says so (gt,
    clean, mean, reference, hr, ...): `01_gt.png` beside `01_noise.png`, `GT/7.png` beside `noisy/7.png`. The
    rest of the names must agree. Several degraded pictures may share a reference.

    Raises:
        UsageError: if there is no pair, a picture without its reference, or a pair of two sizes.
    """
    found = [(path, image) for path in _below(folder) if (image := _decode(path)) is not None]
    references = [(path, image) for path, image in found if _is_reference(path.relative_to(folder))]
    plain = {_stem_key(path) for path, _ in references}
    # Names alone decide, unless two references have one name: then their folders have to agree as well.
    make_key = _stem_key if len(plain) == len(references) else lambda path: _path_key(path, folder)
    truths = {make_key(path): image for path, image in references}
    chosen = {path for path, _ in references}
    items = []
    for path, image in found:
        if path in chosen:
            continue
        truth = truths.get(make_key(path))
        name = path.relative_to(folder).as_posix()
        if truth is None:
            raise UsageError(
                f"{name} in {folder} has no reference.",
                hint="Name references and degraded pictures alike but for a word, as 01_gt.png and "
                "01_noise.png.",
            )
        if truth.shape[:2] != image.shape[:2]:
            raise UsageError(
                f"{name} in {folder} has another size than its reference.",
                hint="The suite real compares pixel by pixel; for reduced pictures use the suite sr.",
            )
        items.append(Item(name, *_alike(truth, image)))
    if not items:
        raise UsageError(
            f"There is no pair of a picture and its reference below {folder}.",
            hint="Name references and degraded pictures alike but for a word, as 01_gt.png and 01_noise.png.",
        )
    return items


def _below(folder: Path) -> Iterator[Path]:
    yield from sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else ()


def _decode(path: Path) -> Image8 | None:
    """None for what is no image of 8 bits. Colour that is grey in every pixel becomes grey."""
    data = path.read_bytes() if path.suffix.lower() in _SUFFIXES and path.is_file() else b""
    if not data:
        return None
    decoded: NDArray[Any] | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint8:
        return None
    if decoded.ndim == 3 and decoded.shape[2] < 3:
        decoded = decoded[:, :, 0]
    elif decoded.ndim == 3:
        decoded = decoded[:, :, 2::-1]
        if (decoded[:, :, 0] == decoded[:, :, 1]).all() and (decoded[:, :, 1] == decoded[:, :, 2]).all():
            decoded = decoded[:, :, 0]
    return np.ascontiguousarray(decoded).astype(np.uint8, copy=False)


def _alike(one: Image8, other: Image8) -> tuple[Image8, Image8]:
    """Both grey or both RGB."""
    if one.ndim == other.ndim:
        return one, other
    first, second = (
        np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image for image in (one, other)
    )
    return first, second


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def _is_reference(path: Path) -> bool:
    own = set(_words(path.stem))
    if own & (_REFERENCE | _DEGRADED):
        return bool(own & _REFERENCE)
    return bool({word for part in path.parts[:-1] for word in _words(part)} & _REFERENCE)


def _bare(name: str) -> tuple[str, ...]:
    return tuple(word for word in _words(name) if word not in _REFERENCE | _DEGRADED)


def _stem_key(path: Path) -> tuple[tuple[str, ...], ...]:
    return (_bare(path.stem),)


def _path_key(path: Path, folder: Path) -> tuple[tuple[str, ...], ...]:
    """The words of the folders and the name; a folder that only says which side it is on does not count."""
    parts = (*path.relative_to(folder).parts[:-1], path.stem)
    return tuple(bare for part in parts if (bare := _bare(part)))


def _truth(path: Path) -> str | None:
    for ending in _TRUTH_ENDINGS:
        file = path.with_name(path.stem + ending)
        if file.is_file():
            return file.read_text(encoding="utf-8", errors="replace")
    return None


def divisible(clean: Image8, factor: int) -> Image8:
    """As much of an image, from its corner, as can be divided by `factor`."""
    height, width = (size // factor * factor for size in clean.shape[:2])
    return clean[:height, :width]


def middle(clean: Image8, side: int) -> Image8:
    """The middle of an image, at most `side` pixels square."""
    top, left = (max(0, (size - side) // 2) for size in clean.shape[:2])
    return np.ascontiguousarray(clean[top : top + side, left : left + side])


def luma8(image: Image8) -> Image8:
    """The luma of BT.601, (height, width), of RGB; grey as it is."""
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)
