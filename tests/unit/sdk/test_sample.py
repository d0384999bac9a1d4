"""Demonstration pictures: made offline, the same for the same seed, degraded as said."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest

from restore_manifests.errors import StorageError
from restore_sdk.evidence import open_evidence
from restore_sdk.sample import SampleKind, sample_picture, write_sample

KINDS: dict[SampleKind, tuple[int, int]] = {"photo": (512, 512), "plate": (160, 520), "document": (640, 512)}


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_and_damage(kind: SampleKind, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a sample picture must not need a network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    clean, degraded, description = sample_picture(kind, 0)
    assert clean.shape == degraded.shape == (*KINDS[kind], 3)
    assert clean.dtype == degraded.dtype == np.uint8
    error = np.mean((clean.astype(float) - degraded) ** 2)
    assert 15 < 10 * np.log10(255**2 / error) < 32  # plainly damaged, plainly the same picture
    assert "noise" in description
    assert "JPEG" in description
    assert clean.std() > 10


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_names_one_picture(kind: SampleKind) -> None:
    first, again, other = (sample_picture(kind, seed) for seed in (3, 3, 4))
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert first[2] == again[2]
    assert not np.array_equal(first[1], other[1])


def test_both_photographs_are_in_the_wheel() -> None:
    assert len({sample_picture("photo", seed)[0].tobytes()[:3000] for seed in range(6)}) > 2


def test_written_sample_is_evidence(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "new" / "demo.png")
    evidence = open_evidence(path)
    assert np.array_equal(evidence.pixels, sample_picture("photo", 0)[1])
    assert "made by restore" in evidence.text["Description"]
    assert write_sample(path) == path
    with pytest.raises(StorageError, match="cannot be written"):
        write_sample(path / "below-a-file.png")
