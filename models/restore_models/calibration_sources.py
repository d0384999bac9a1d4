"""The images that a calibration rests on, and where they are from."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

from restore_manifests.errors import UsageError
from restore_models.calibration import CalibrationImage
from restore_models.evaluation_images import Image8, read_items

__all__ = ["SOURCES_NAME", "calibration_images"]

SOURCES_NAME = "SOURCES.csv"
"""Beside the images: a table with the columns name, source and licence."""


def calibration_images(folder: Path) -> list[tuple[CalibrationImage, Image8]]:
    """The 8-bit images of a folder, each with its name, hash, source and licence.

    Raises:
        UsageError: if there is none, two are the same, or the table of sources cannot be read.
    """
    sources = _sources(folder / SOURCES_NAME)
    found: list[tuple[CalibrationImage, Image8]] = []
    seen: dict[str, str] = {}
    for item in read_items(folder):
        digest = hashlib.sha256((folder / item.name).read_bytes()).hexdigest()
        if digest in seen:
            raise UsageError(
                f"The images {seen[digest]} and {item.name} are the same file.",
                hint="Remove one: the guarantee rests on images that were chosen independently.",
            )
        seen[digest] = item.name
        source, licence = sources.get(item.name, ("not stated", "not stated"))
        image = CalibrationImage(
            name=item.name[:255], sha256=digest, source=source[:500], licence=licence[:200]
        )
        found.append((image, item.clean))
    return found


def _sources(path: Path) -> dict[str, tuple[str, str]]:
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return {row["name"]: (row["source"], row["licence"]) for row in csv.DictReader(stream)}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError) as problem:
        raise UsageError(
            f"The table {path.name} cannot be read.",
            hint="It is UTF-8 text with commas, and its first line is: name,source,licence.",
        ) from problem
