"""The hashes of a record, made in threads beside the encoder: the same ones, in whatever order they end."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from restore_manifests.errors import UsageError
from restore_manifests.pixels import encode_png, pixels_sha256
from restore_sdk import record
from restore_sdk.record import hashing


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_hashes_are_those_of_one_after_the_other(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    monkeypatch.setattr(record, "thread_count", lambda: threads)
    dice = np.random.default_rng(threads)
    samples = dice.integers(0, 65536, (301, 200, 3), dtype=np.uint16)
    maps = {name: dice.integers(0, 256, (301, 200), dtype=np.uint8) for name in ("edit", "confidence")}
    files = {name: encode_png(one) for name, one in maps.items()}
    with hashing(samples, maps) as hashes:
        assert {name: hashes.of_file(name, data) for name, data in files.items()} == files
    assert hashes.result_pixels() == pixels_sha256(samples)
    for name, one in maps.items():
        assert hashes.map_pixels(name) == pixels_sha256(one)
        assert hashes.map_file(name) == hashlib.sha256(files[name]).hexdigest()


def test_what_cannot_be_hashed_is_said_where_it_is_asked_for() -> None:
    with hashing(np.zeros((2, 2)), {}) as hashes:
        pass
    with pytest.raises(UsageError, match="must be uint8 or uint16"):
        hashes.result_pixels()
