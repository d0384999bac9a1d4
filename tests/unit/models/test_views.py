"""An image looked at in several views, and the programs that ask for it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from restore_manifests.errors import ModelError
from restore_models.program import Program, load_program, save_program
from restore_models.restorer import TorchRunner, restore_pixels
from restore_models.vectors import vector_image
from restore_models.views import in_all_views


class Seen:
    """An executor that answers with the image itself, or with what is given for each view in turn."""

    def __init__(self, program: Program, answers: list[int] | None = None) -> None:
        self.program = program
        self.images: list[NDArray[np.int32]] = []
        self._answers = answers

    def integers(self, image: NDArray[np.int32]) -> dict[str, NDArray[np.int32]]:
        self.images.append(image)
        if self._answers is None:
            return {
                "residual": image,
                "interval": np.concatenate([image, image + 1000]),
                "estimate": image[:1],
            }
        return {"residual": np.full_like(image, self._answers[len(self.images) - 1])}


@pytest.fixture
def eight(program: Program) -> Program:
    return dataclasses.replace(program, views=8)


@pytest.fixture
def reordered(eight: Program) -> Program:
    return dataclasses.replace(eight, channel_orders=(*permutations(range(3)), (1, 2, 0), (2, 0, 1)))


def _image(height: int, width: int) -> NDArray[np.int32]:
    return np.arange(3 * height * width, dtype=np.int32).reshape(3, height, width)


def test_every_view_is_another_and_comes_back_to_where_it_was(eight: Program) -> None:
    executor, image = Seen(eight), _image(4, 6)
    assert (in_all_views(executor, image)["residual"] == image).all()
    assert len({(view.shape, view.tobytes()) for view in executor.images}) == 8


def test_channels_in_other_orders_come_back_to_where_they_were(reordered: Program) -> None:
    executor, image = Seen(reordered), _image(4, 6)
    outputs = in_all_views(executor, image)
    assert (outputs["residual"] == image).all()
    assert (outputs["interval"] == np.concatenate([image, image + 1000])).all()
    for view, order in zip(executor.images[:1] + executor.images[4:5], ((0, 1, 2), (2, 0, 1)), strict=True):
        values = np.sort(view.reshape(3, -1), axis=1)
        assert (values == image[list(order)].reshape(3, -1)).all()


def test_an_estimate_is_of_no_channel(reordered: Program) -> None:
    """Its four numbers are not put into an order: here they are the red of each view, whatever that is."""
    image = _image(4, 6)
    firsts = [order[0] for order in reordered.channel_orders]
    mean = (sum(image[first] for first in firsts) + 4) // 8
    assert (in_all_views(Seen(reordered), image)["estimate"][0] == mean).all()


@pytest.mark.parametrize(
    ("answers", "mean"),
    [([3] * 8, 3), ([1] * 4 + [0] * 4, 1), ([1] * 3 + [0] * 5, 0), ([-1] * 4 + [0] * 4, 0)],
)
def test_the_mean_rounds_half_up(eight: Program, answers: list[int], mean: int) -> None:
    assert (in_all_views(Seen(eight, answers), _image(2, 2))["residual"] == mean).all()


def test_one_view_is_the_program_itself(program: Program) -> None:
    executor, image = Seen(program), _image(4, 6)
    assert (in_all_views(executor, image)["residual"] == image).all()
    assert len(executor.images) == 1


def test_progress_is_told_view_by_view(eight: Program) -> None:
    shares: list[float] = []
    side = eight.multiple
    restore_pixels(TorchRunner(eight), vector_image(side, 2 * side, 3, 8), tile=side, progress=shares.append)
    assert shares == [(view + 1) / 16 for view in range(16)]


def test_a_turned_picture_gives_the_turned_result(eight: Program) -> None:
    """Which the network alone does not do: that is what the views are for."""
    picture = vector_image(2 * eight.multiple, 3 * eight.multiple, 3, 8)
    for program, alike in ((eight, True), (dataclasses.replace(eight, views=1), False)):
        upright, turned = (
            restore_pixels(TorchRunner(program), np.ascontiguousarray(p))
            for p in (picture, np.rot90(picture))
        )
        assert np.array_equal(np.rot90(upright.pixels), turned.pixels) == alike
        assert np.array_equal(np.rot90(upright.interval), turned.interval) == alike


def test_views_are_part_of_what_is_executed(program: Program, eight: Program, tmp_path: Path) -> None:
    save_program(tmp_path / "eight.safetensors", eight)
    assert load_program(tmp_path / "eight.safetensors").views == 8
    assert eight.program_sha256() != program.program_sha256()


def test_orders_of_channels_are_part_of_what_is_executed(
    eight: Program, reordered: Program, tmp_path: Path
) -> None:
    save_program(tmp_path / "reordered.safetensors", reordered)
    assert load_program(tmp_path / "reordered.safetensors").channel_orders == reordered.channel_orders
    assert eight.program_sha256() != reordered.program_sha256()


ORDERS = [[0, 1, 2]] * 8


def _with(change: Callable[[dict[str, Any]], None], source: Path, target: Path) -> Path:
    data = source.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    executed = json.loads(header["__metadata__"]["program"])
    change(executed)
    header["__metadata__"]["program"] = json.dumps(executed)
    text = json.dumps(header).encode()
    target.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    return target


@pytest.mark.parametrize(
    "members",
    [
        {"views": 1},
        {"views": 8},
        {"format": "restore.program/2"},
        {"format": "restore.program/2", "views": 1},
        {"format": "restore.program/2", "views": 4},
        {"format": "restore.program/2", "views": True},
        {"format": "restore.program/2", "views": 8.0},
        {"format": "restore.program/3", "views": 8},
        {"channel_orders": ORDERS},
        {"format": "restore.program/2", "views": 8, "channel_orders": ORDERS},
        {"format": "restore.program/3", "channel_orders": ORDERS},
        {"format": "restore.program/3", "views": 8, "channel_orders": ORDERS[:7]},
        {"format": "restore.program/3", "views": 8, "channel_orders": [*ORDERS[:7], [0, 1, 1]]},
        {"format": "restore.program/3", "views": 8, "channel_orders": [*ORDERS[:7], [0, 1, 2.0]]},
        {"format": "restore.program/3", "views": 8, "channel_orders": [*ORDERS[:7], "012"]},
        {"format": "restore.program/3", "views": 8, "channel_orders": 8},
        {"format": "restore.program/4", "views": 8, "channel_orders": ORDERS},
    ],
)
def test_other_views_are_refused(program: Program, tmp_path: Path, members: dict[str, Any]) -> None:
    save_program(tmp_path / "one.safetensors", program)
    with pytest.raises(ModelError):
        load_program(
            _with(lambda e: e.update(members), tmp_path / "one.safetensors", tmp_path / "two.safetensors")
        )
