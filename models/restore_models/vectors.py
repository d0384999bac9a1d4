"""Known-answer vectors: what a program must return on small images, whatever the machine.

The images are made from integers alone. The answers come from the reference executor when a model is
exported, and are stored beside it as `<id>.vectors.json`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore_manifests.errors import ModelError
from restore_models.program import Program
from restore_models.reference import run_reference
from restore_models.restorer import Executor, Integers, restore_pixels
from restore_models.whole_file import write_whole

__all__ = ["ReferenceRunner", "Vector", "load_vectors", "make_vectors", "run_vector", "vector_image"]

_FORMAT = "restore.vectors/1"
_SHAPES = ((64, 64, 3, 8), (1, 1, 1, 8), (37, 90, 1, 8), (50, 70, 3, 16))


@dataclass(frozen=True)
class Vector:
    """An image by its shape, and the SHA-256 of what comes out (pixels, then confidence map)."""

    height: int
    width: int
    channels: int
    bits: int
    sha256: str


class ReferenceRunner:
    """The NumPy reference behind the `Executor` protocol."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def integers(self, image: Integers) -> dict[str, Integers]:
        outputs = run_reference(self.program, image.astype(np.int64))
        return {name: values.astype(np.int32) for name, values in outputs.items()}


def vector_image(height: int, width: int, channels: int, bits: int) -> NDArray[Any]:
    """Ramps, an edge and pseudo-random noise, in integers: uint8 or uint16, (h, w) or (h, w, 3)."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(channels), indexing="ij")
    mixed = (x * 73856093 ^ y * 19349663 ^ (c + 1) * 83492791) & 0xFFFFFFFF
    mixed = (mixed * 1103515245 + 12345) & 0x7FFFFFFF
    levels = np.clip(3 * x + 2 * y + 40 * c + 60 * (x > width // 2) + (mixed >> 20) % 41 - 20, 0, 255)
    image: NDArray[Any]
    if bits == 16:
        image = (levels * 257 + (mixed >> 8) % 257).clip(0, 65535).astype(np.uint16)
    else:
        image = levels.astype(np.uint8)
    return image[:, :, 0] if channels == 1 else image


def run_vector(executor: Executor, vector: Vector) -> str:
    """The digest that an executor gives for a vector's image."""
    image = vector_image(vector.height, vector.width, vector.channels, vector.bits)
    restored = restore_pixels(executor, image)
    digest = hashlib.sha256(restored.pixels.astype(restored.pixels.dtype.newbyteorder(">")).tobytes())
    digest.update(restored.interval.tobytes())
    return digest.hexdigest()


def make_vectors(program: Program, path: Path) -> list[Vector]:
    """Runs the reference on every image and writes the answers to `path`."""
    runner = ReferenceRunner(program)
    vectors = []
    for shape in _SHAPES:
        blank = Vector(*shape, sha256="")
        vectors.append(Vector(*shape, sha256=run_vector(runner, blank)))
    document = {
        "format": _FORMAT,
        "program_sha256": program.program_sha256(),
        "vectors": [
            {"height": v.height, "width": v.width, "channels": v.channels, "bits": v.bits, "sha256": v.sha256}
            for v in vectors
        ],
    }
    write_whole(path, (json.dumps(document, indent=1) + "\n").encode())
    return vectors


def load_vectors(path: Path, program: Program) -> list[Vector]:
    """The stored answers for a program.

    Raises:
        ModelError: if the file is missing, damaged, or made for another program.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != _FORMAT or document["program_sha256"] != program.program_sha256():
            raise ModelError(f"{path.name} holds the answers of another program.", hint="Reinstall restore.")
        return [Vector(**values) for values in document["vectors"]]
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise ModelError(
            f"The known answers {path.name} are missing or damaged.", hint="Reinstall restore."
        ) from problem
