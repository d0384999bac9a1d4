"""External models: networks made by others, in any architecture that spandrel reads, run as one step.

They compute in floating point, so their results repeat within a tolerance and are never called exact. What
they were trained on and how they err is unknown here. Their files are read as tensors and nothing else:
safetensors, or a pickle through torch's restricted unpickler; code in a file is refused, never run.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError

from restore_manifests.errors import ManifestError, ModelError
from restore_models.resample import enlarge

__all__ = ["NOT_STATED", "SPANDREL_MISSING", "ExternalModel", "Tiling", "load_external"]

SPANDREL_MISSING = (
    "This model is no program of restore, and the extra spandrel, which reads others, is missing."
)
NOT_STATED = "not stated"

_LICENCE_KEYS = ("license", "licence", "modelspec.license")
_SMALLEST_TILE = 64

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Tiling:
    """How an image is cut: `tile` pixels a side of the input (0: not at all), tiles overlapping by `overlap`
    pixels and blended linearly there. It can change pixels, so it belongs to the record of a step.

    Raises:
        ManifestError: if the numbers make no tiling.
    """

    tile: int
    overlap: int

    def __post_init__(self) -> None:
        whole = self.tile == 0 and self.overlap == 0
        if not whole and not (self.tile >= _SMALLEST_TILE and 0 <= self.overlap <= self.tile // 2):
            raise ManifestError(f"Tiles of {self.tile} pixels overlapping by {self.overlap} are not known.")


class ExternalModel:
    """An image-to-image network of spandrel, on the processor, in float32."""

    def __init__(self, descriptor: Any, *, file_sha256: str, licence: str) -> None:
        self._descriptor = descriptor
        self.file_sha256 = file_sha256
        self.licence = licence
        """An SPDX expression or name as the file or whoever imported it states it, else `NOT_STATED`."""
        self.architecture = str(descriptor.architecture.name)
        self.purpose = str(descriptor.purpose)
        self.scale = int(descriptor.scale)
        """How many times it enlarges: 1, 2 or 4."""
        self.tiling = _tiling(descriptor)
        """What this architecture wants where a plan does not say otherwise."""

    @property
    def tiling_discouraged(self) -> bool:
        """Whether the architecture depends on so much of the image that tiles may show."""
        return str(self._descriptor.tiling.name) == "DISCOURAGED"

    def parameters(self) -> int:
        """The number of weights."""
        return sum(int(tensor.numel()) for tensor in self._descriptor.model.parameters())

    def restore(
        self, pixels: NDArray[Any], tiling: Tiling | None = None, progress: Progress | None = None
    ) -> NDArray[Any]:
        """Restores one image.

        Args:
            pixels: uint8 or uint16, (height, width) grey or (height, width, 3) RGB, sRGB-encoded.
            tiling: None: the model's own.
            progress: called with the finished share, 0 to 1.

        Returns:
            The same type, `scale` times larger.

        Raises:
            ModelError: if the network cannot take this image or gives values that are no numbers.
            MemoryError: if there is not enough memory for a tile.
        """
        top = np.iinfo(pixels.dtype).max
        values = self._run(pixels.astype(np.float32) / np.float32(top), tiling or self.tiling, progress)
        result: NDArray[Any] = np.rint(np.clip(values, 0, 1) * top).astype(pixels.dtype)
        return result

    def enlarge(self, small: NDArray[Any], factor: int) -> NDArray[Any]:
        """`small` at `factor` times its size: by a model that enlarges so, else enlarged, then restored."""
        return self.restore(small if self.scale == factor else enlarge(small, factor))

    def restore_unclipped(self, image: NDArray[np.float64]) -> NDArray[np.float64]:
        """A picture nominally in [0, 1] with values outside; the result in whole 8-bit levels."""
        values = self._run(image.astype(np.float32), Tiling(0, 0), None)
        return np.clip(np.rint(values.astype(np.float64) * 255), 0, 255)

    def _run(self, image: NDArray[np.float32], tiling: Tiling, progress: Progress | None) -> NDArray[Any]:
        """(h, w[, 3]) in and out. Colour goes through a one-channel network channel by channel."""
        colours = 1 if image.ndim == 2 else 3
        planes = image[None] if colours == 1 else np.ascontiguousarray(image.transpose(2, 0, 1))
        wants = int(self._descriptor.input_channels)
        if wants == 3 and colours == 1:
            planes = np.repeat(planes, 3, axis=0)
        groups = [planes] if wants == planes.shape[0] else [plane[None] for plane in planes]
        areas = list(_areas(image.shape[:2], tiling))
        done: list[NDArray[np.float32]] = []
        for index, group in enumerate(groups):
            done.append(self._blend(group, areas, tiling, _part(progress, index, len(groups))))
        result = np.concatenate(done)
        if not np.isfinite(result).all():
            raise ModelError(
                f"The {self.architecture} network gave values that are no numbers.",
                hint="The weights may be damaged; try another image or model.",
            )
        return result.mean(axis=0) if colours == 1 else result.transpose(1, 2, 0)

    def _blend(
        self,
        planes: NDArray[np.float32],
        areas: list[tuple[slice, slice]],
        tiling: Tiling,
        progress: Progress | None,
    ) -> NDArray[np.float32]:
        channels, height, width = planes.shape
        scale = self.scale
        total = np.zeros((channels, height * scale, width * scale), np.float32)
        weights = np.zeros((height * scale, width * scale), np.float32)
        for index, (rows, columns) in enumerate(areas):
            part = self._call(planes[:, rows, columns])
            across = _ramp(columns, width, tiling.overlap, scale)
            weight = _ramp(rows, height, tiling.overlap, scale)[:, None] * across[None, :]
            place = tuple(slice(side.start * scale, side.stop * scale) for side in (rows, columns))
            total[:, place[0], place[1]] += part * weight
            weights[place] += weight
            if progress is not None:
                progress((index + 1) / len(areas))
        total /= weights
        return total

    def _call(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            # A copy: some networks work in place.
            output = self._descriptor(torch.from_numpy(planes.copy())[None])
        except RuntimeError as problem:
            if "allocate" in str(problem):
                raise MemoryError from problem
            raise ModelError(
                f"The {self.architecture} network cannot take an image of {planes.shape[2]} x "
                f"{planes.shape[1]} pixels.",
                hint="Try a larger image or another model.",
            ) from problem
        result: NDArray[np.float32] = output[0].float().numpy()
        return result


def _part(progress: Progress | None, index: int, count: int) -> Progress | None:
    return None if progress is None else lambda share: progress((index + share) / count)


def _tiling(descriptor: Any) -> Tiling:
    multiple = int(descriptor.size_requirements.multiple_of)

    def fit(size: int) -> int:
        return -(-size // multiple) * multiple

    match str(descriptor.tiling.name):
        case "INTERNAL":
            return Tiling(0, 0)
        case "DISCOURAGED":
            return Tiling(fit(1024), fit(128))
        case _:
            return Tiling(fit(512 if descriptor.scale == 1 else 256), fit(32))


def _areas(size: tuple[int, ...], tiling: Tiling) -> Iterator[tuple[slice, slice]]:
    spans = []
    for length in size:
        if tiling.tile == 0 or length <= tiling.tile:
            spans.append([slice(0, length)])
            continue
        starts = range(0, length - tiling.overlap, tiling.tile - tiling.overlap)
        spans.append([slice(start, min(start + tiling.tile, length)) for start in starts])
    return ((rows, columns) for rows in spans[0] for columns in spans[1])


def _ramp(part: slice, length: int, overlap: int, scale: int) -> NDArray[np.float32]:
    """Weights along one side of a tile: rising and falling where another tile overlaps."""
    weights = np.ones((part.stop - part.start) * scale, np.float32)
    rise = (np.arange(overlap * scale, dtype=np.float32) + 1) / (overlap * scale + 1)
    if part.start > 0:
        weights[: rise.size] *= rise
    if part.stop < length:
        weights[weights.size - rise.size :] *= rise[::-1]
    return weights


def load_external(data: bytes, name: str, *, licence: str | None = None) -> ExternalModel:
    """A model from the bytes of its file, named `name`; `licence` goes before what the file says.

    Raises:
        ModelError: if spandrel is missing, the file holds more than tensors, no architecture is recognised,
            or the network does not turn one image into one that is 1, 2 or 4 times as large.
    """
    try:
        spandrel = import_module("spandrel")
    except (ImportError, RuntimeError) as problem:  # a torchvision of another torch raises the latter
        raise ModelError(
            SPANDREL_MISSING, hint="Install it with: pip install 'forensic-restore[spandrel]'."
        ) from problem
    state, said = _tensors(data, name)
    try:
        descriptor = spandrel.ModelLoader("cpu").load_from_state_dict(spandrel.canonicalize_state_dict(state))
    except MemoryError:
        raise
    except Exception as problem:  # whatever an architecture's detection trips over
        raise ModelError(
            f"No architecture that spandrel knows fits the weights in {name}.",
            hint="See spandrel's list of supported architectures.",
        ) from problem
    channels = (descriptor.input_channels, descriptor.output_channels)
    if not isinstance(descriptor, spandrel.ImageModelDescriptor) or channels not in ((1, 1), (3, 3)):
        raise ModelError(
            f"The {descriptor.architecture.name} network in {name} does not turn a picture into a picture.",
            hint="Use a restoration or super-resolution model for grey or RGB images.",
        )
    if descriptor.scale not in (1, 2, 4):
        raise ModelError(
            f"The {descriptor.architecture.name} network in {name} enlarges {descriptor.scale} times.",
            hint="Only models that enlarge 1, 2 or 4 times can be run.",
        )
    stated = licence or next((said[key] for key in _LICENCE_KEYS if said.get(key)), NOT_STATED)
    digest = hashlib.sha256(data).hexdigest()
    return ExternalModel(descriptor.eval().float(), file_sha256=digest, licence=stated[:1000])


def _tensors(data: bytes, name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The state dict in a file, and the metadata of a safetensors file."""
    if name.lower().endswith(".safetensors"):
        try:
            state: dict[str, Any] = safetensors.torch.load(data)
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        except (SafetensorError, ValueError) as problem:
            raise ModelError(f"The model file {name} is damaged.", hint="Get it again.") from problem
        return state, dict(header.get("__metadata__", {}))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about the pickle's protocol
            # weights_only: torch's restricted unpickler, which makes tensors and plain containers only.
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError, AttributeError) as problem:
        raise ModelError(
            f"The model file {name} is damaged, or holds more than tensors and is refused for that reason.",
            hint="Use the weights as safetensors, or a state dict saved by torch.save.",
        ) from problem
    if not isinstance(state, dict):
        raise ModelError(f"The model file {name} holds no weights by name.", hint="Use a state dict.")
    return state, {}
