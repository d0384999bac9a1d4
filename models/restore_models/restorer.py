"""Runs a program over a whole image, tile by tile: integer pixels in, integer pixels and map out.

A tile is extended by the program's halo, the true reach of one result pixel, and tiles are aligned to the
attention windows; so the pixels do not depend on the size of the tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from restore_manifests.errors import UsageError
from restore_models.architecture import ESTIMATES
from restore_models.calibration import HALF_LEVELS_ADDED, SCALE_ONE
from restore_models.program import Program, made_for_grey
from restore_models.torch_executor import TorchExecutor
from restore_models.views import in_all_views

__all__ = [
    "DEFAULT_TILE",
    "Executor",
    "Restored",
    "TorchRunner",
    "cell_size",
    "interval_unit",
    "is_grey",
    "refuse_colour",
    "restore_pixels",
]

DEFAULT_TILE = 1536
"""Side of a tile in pixels before the halo; memory grows with its square."""

INTERVAL_UNITS = 2
"""The confidence map counts half 8-bit levels."""

Integers = NDArray[np.int32]


class Executor(Protocol):
    """Anything that runs a program on one image of integers."""

    program: Program

    def integers(self, image: Integers) -> dict[str, Integers]:
        """(3, height, width) in; `residual`, `interval` and `estimate` out, without a batch axis."""


class TorchRunner:
    """`TorchExecutor` behind the `Executor` protocol."""

    def __init__(self, program: Program, *, device: str = "cpu", exact: bool = True) -> None:
        self.program = program
        self._executor = TorchExecutor(program, device=device, exact=exact)

    def integers(self, image: Integers) -> dict[str, Integers]:
        outputs = self._executor.run(torch.from_numpy(image[None].astype(np.float32)))
        return {name: np.rint(t[0].cpu().numpy()).astype(np.int32) for name, t in outputs.items()}


@dataclass(frozen=True)
class Restored:
    """`pixels`: as the input, restored. `interval`: uint8 (height, width), mean width over the channels of
    the learned 5 % to 95 % interval in half 8-bit levels, clipped at 255; with a scale, of the interval that
    `calibration` describes. `estimates`: see `architecture.ESTIMATES`, in thousandths of the estimate head's
    units, averaged over the image."""

    pixels: NDArray[Any]
    interval: NDArray[np.uint8]
    estimates: dict[str, int]


def restore_pixels(
    executor: Executor,
    pixels: NDArray[Any],
    *,
    tile: int | None = DEFAULT_TILE,
    interval_scale: Callable[[Mapping[str, int]], int | None] | None = None,
    added: Callable[[slice, slice], Integers] | None = None,
    watch: Callable[[slice, slice, Integers], None] | None = None,
    progress: Callable[[float], None] | None = None,
) -> Restored:
    """Restores one image.

    Args:
        executor: what runs the program.
        pixels: uint8 or uint16, (height, width) grey or (height, width, 3) RGB, sRGB-encoded.
        tile: side of a tile, a multiple of the program's `multiple`; None: the whole image at once.
        interval_scale: gives, from the estimates, what the learned interval is multiplied by, in 64ths, as
            `calibration.Calibration.scale` does; None, or where it gives None: the interval as learned.
        added: gives for the rows and columns of a tile what is added to the program's interval there, as
            `watch` is told it, each value at most 2^24.
        watch: called for each tile with its rows, its columns and the interval there, (6, height, width),
            three channels below and three above in units of 1 / `interval_unit` 8-bit levels.
        progress: called with the finished share, 0 to 1.

    Raises:
        UsageError: if the tile size is not such a multiple.
    """
    program = executor.program
    if tile is not None and (tile <= 0 or tile % program.multiple):
        raise UsageError(
            f"A tile of {tile} pixels does not fit the model.", hint=f"Use a multiple of {program.multiple}."
        )
    height, width = pixels.shape[:2]
    result = np.empty_like(pixels)
    reach = np.empty((height, width), np.int32)
    sums = np.zeros(len(ESTIMATES), np.int64)
    cells = 0
    areas = list(_tiles(height, width, tile or -(-max(height, width) // program.multiple) * program.multiple))
    for index, (rows, columns) in enumerate(areas):
        done = _share_of(progress, index, len(areas))
        outputs, inner = _run_tile(executor, pixels, rows, columns, done)
        part = pixels[rows, columns]
        residual = _crop(outputs["residual"], inner, part.shape[:2])
        result[rows, columns] = _apply(part, residual, program)
        interval = _crop(outputs["interval"], inner, part.shape[:2])
        if added is not None:
            interval = interval + added(rows, columns)
        reach[rows, columns] = interval.sum(axis=0)  # six or twelve values, none above 2^24
        if watch is not None:
            watch(rows, columns, interval)
        said = _cells(outputs["estimate"], program, inner, part.shape[:2])
        sums += said.reshape(len(ESTIMATES), -1).sum(axis=1, dtype=np.int64)
        cells += said[0].size
    unit = cells << program.instruction_exponent(program.outputs["estimate"])
    estimates = {
        name: (2000 * int(total) + unit) // (2 * unit) for name, total in zip(ESTIMATES, sums, strict=True)
    }
    scale = interval_scale(estimates) if interval_scale is not None else None
    return Restored(result, _widths(reach, program, scale), estimates)


def _tiles(height: int, width: int, tile: int) -> Iterator[tuple[slice, slice]]:
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            yield slice(top, min(top + tile, height)), slice(left, min(left + tile, width))


def _share_of(
    progress: Callable[[float], None] | None, index: int, count: int
) -> Callable[[float], None] | None:
    """Progress of one tile of `count` as a share of all."""
    return None if progress is None else lambda share: progress((index + share) / count)


def _run_tile(
    executor: Executor,
    pixels: NDArray[Any],
    rows: slice,
    columns: slice,
    progress: Callable[[float], None] | None,
) -> tuple[dict[str, Integers], tuple[int, int]]:
    """The outputs over the extended tile, and where in it the tile begins."""
    program = executor.program
    spans = []
    for part, size in ((rows, pixels.shape[0]), (columns, pixels.shape[1])):
        padded = -(-size // program.multiple) * program.multiple
        stop = -(-part.stop // program.multiple) * program.multiple
        spans.append((max(0, part.start - program.halo), min(padded, stop + program.halo)))
    (top, bottom), (left, right) = spans
    y = _mirrored(np.arange(top, bottom), pixels.shape[0])
    x = _mirrored(np.arange(left, right), pixels.shape[1])
    outputs = in_all_views(executor, _network_integers(pixels[y[:, None], x[None, :]]), progress)
    return outputs, (rows.start - top, columns.start - left)


def is_grey(pixels: NDArray[Any]) -> bool:
    """Whether the channels of (height, width[, 3]) samples are alike in every pixel."""
    return pixels.ndim == 2 or bool((pixels == pixels[:, :, :1]).all())


def refuse_colour(program: Program, pixels: NDArray[Any], name: str) -> None:
    """Raises UsageError where a program for grey images, called `name`, is given one with colour."""
    if made_for_grey(program) and not is_grey(pixels):
        raise UsageError(
            f"{name} is for grey images, and this one has colour.", hint="Use another model, or name none."
        )


def _mirrored(places: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Indices past the end run back from the edge, the edge repeated, as often as needed."""
    places = places % (2 * size)
    return np.minimum(places, 2 * size - 1 - places)


def _network_integers(pixels: NDArray[Any]) -> Integers:
    """(h, w[, 3]) samples to (3, h, w) network integers, 4 x - 510 for 8-bit x; grey goes to all three."""
    whole = pixels.astype(np.int64)
    whole = 4 * whole if pixels.dtype == np.uint8 else (1020 * whole + 32767) // 65535
    whole = np.repeat(whole[:, :, None], 3, axis=2) if whole.ndim == 2 else whole
    return np.ascontiguousarray((whole - 510).transpose(2, 0, 1)).astype(np.int32)


def _crop(values: Integers, start: tuple[int, int], size: tuple[int, ...]) -> Integers:
    return values[:, start[0] : start[0] + size[0], start[1] : start[1] + size[1]]


def _cells(values: Integers, program: Program, start: tuple[int, int], size: tuple[int, ...]) -> Integers:
    """The estimate's cells whose first pixel lies in the tile and the image."""
    cell = cell_size(program)
    shape = (-(-size[0] // cell), -(-size[1] // cell))
    return _crop(values, (start[0] // cell, start[1] // cell), shape)


def cell_size(program: Program) -> int:
    """How many pixels of the image one position of the estimate stands for, along a side."""
    size = 1
    for step in program.instructions:
        if step.name == program.outputs["estimate"]:
            return size
        if step.op.value == "space_to_depth":
            size *= step.block
        elif step.kernel == 2:
            size *= 2
    return size


def _apply(pixels: NDArray[Any], residual: Integers, program: Program) -> NDArray[Any]:
    """Adds the residual, rounded half up to the sample type."""
    bits = program.instruction_exponent(program.outputs["residual"]) - program.input_exponent + 2
    change = residual.transpose(1, 2, 0).astype(np.int64)
    if pixels.ndim == 2:
        change = (2 * change.sum(axis=2) + 3) // 6
    change *= 1 if pixels.dtype == np.uint8 else 257
    total = (pixels.astype(np.int64) << bits) + change + (1 << (bits - 1))
    result: NDArray[Any] = np.clip(total >> bits, 0, np.iinfo(pixels.dtype).max).astype(pixels.dtype)
    return result


def interval_unit(program: Program) -> int:
    """How many steps of the program's interval make one 8-bit level."""
    return 1 << (program.instruction_exponent(program.outputs["interval"]) - program.input_exponent + 2)


def _widths(reach: Integers, program: Program, scale: int | None) -> NDArray[np.uint8]:
    """The confidence map of the sum over the channels of what lies below and above, row by row."""
    unit = 3 * interval_unit(program)
    times, added = (SCALE_ONE, 0) if scale is None else (scale, HALF_LEVELS_ADDED)
    result = np.empty(reach.shape, np.uint8)
    for row, values in enumerate(reach):  # in int64 the whole map would take eight times its size
        total = values.astype(np.int64) * (INTERVAL_UNITS * times)
        result[row] = np.minimum((2 * total + SCALE_ONE * unit) // (2 * SCALE_ONE * unit) + added, 255)
    return result
