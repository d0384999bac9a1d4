"""Rendered documents, receipts, plates and signs, the fonts they are set in, and what is said of them."""

from __future__ import annotations

import hashlib
import shutil
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ImageFont

from restore_manifests.errors import UsageError
from restore_models import fonts
from restore_models.checkpoint import load_checkpoint
from restore_models.data import PatchSource, render_page
from restore_models.fonts import Font, find_fonts
from restore_models.rendered_text import render_text
from restore_models.training import train_restoration
from restore_models.training_config import TrainingConfig

KINDS = ("document", "receipt", "plate", "sign")


@pytest.fixture
def font_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a system has them, with Pillow's font under names of families that are known."""
    folder = tmp_path / "fonts"
    (folder / "deep").mkdir(parents=True)
    face = ImageFont.load_default(size=10)
    assert isinstance(face, ImageFont.FreeTypeFont)
    data = bytes(face.font_bytes)
    for name in ("DejaVuSansMono.ttf", "deep/LiberationSans-Bold.ttf", "Unknown-Regular.ttf"):
        (folder / name).write_bytes(data)
    (folder / "Roboto-Broken.ttf").write_bytes(b"no font at all")
    monkeypatch.setattr(fonts, "_folders", lambda: [folder, tmp_path / "absent"])
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_seeded_and_full_of_edges(kind: str) -> None:
    built_in = find_fonts("built_in")
    one, again, other = (render_text(kind, np.random.default_rng(seed), built_in, 256) for seed in (3, 3, 4))
    assert one.shape == (256, 256, 3)
    assert one.dtype == np.uint8
    assert (one == again).all()
    assert (one != other).any()
    for picture in (one, other):
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        assert (cv2.Canny(grey, 60, 120) > 0).mean() > 0.02  # strokes, not a blank sheet
        assert grey.std() > 10


def test_known_fonts_are_found_and_described(font_folder: Path) -> None:
    found = find_fonts("found")
    assert [font.name for font in found] == ["DejaVuSansMono.ttf", "LiberationSans-Bold.ttf"]
    digest = hashlib.sha256((font_folder / "DejaVuSansMono.ttf").read_bytes()).hexdigest()
    assert found[0].to_note() == {
        "name": "DejaVuSansMono.ttf", "sha256": digest, "licence": "No Rights Reserved."
    }  # fmt: skip
    assert [font.has("mono") for font in found] == [True, False]
    assert [font.has("bold") for font in found] == [False, True]
    assert not Font("LiberationSans-BoldItalic.ttf", "", "").has("bold")


def test_without_known_fonts_there_is_pillows_own(font_folder: Path) -> None:
    shutil.rmtree(font_folder)
    (only,) = find_fonts("found")
    assert [only] == find_fonts("built_in")
    assert only.path is None
    assert len(only.sha256) == 64
    assert only.licence == "No Rights Reserved."


def test_licence_is_read_from_the_file() -> None:
    def font(*names: tuple[int, int, bytes]) -> bytes:
        strings, records = b"", b""
        for platform, number, text in names:
            records += struct.pack(">6H", platform, 0, 0, number, len(text), len(strings))
            strings += text
        table = struct.pack(">3H", 0, len(names), 6 + len(records)) + records + strings
        head = struct.pack(">4s4H", b"\0\1\0\0", 1, 0, 0, 0)
        return head + struct.pack(">4s3L", b"name", 0, 28, len(table)) + table

    address = "https://example.org/ofl"
    both = font((3, 13, "SIL OFL 1.1\nmore".encode("utf-16-be")), (1, 14, address.encode()))
    assert fonts._described(both)[1] == f"SIL OFL 1.1 ({address})"
    assert fonts._described(font((1, 0, b"(c) Somebody")))[1] == "(c) Somebody"
    for damaged in (b"", both[:9], both[:40], struct.pack(">4sH", b"\0\1\0\0", 9)):
        assert fonts._described(damaged)[1] == "not stated"


def test_letters_stay_the_pages_they_were() -> None:
    pages = PatchSource([_photograph()], seed=5, shares={"none": 1.0}, page_share=0.5, grey_share=0)._pages
    assert len(pages) == 96
    assert (pages[17] == render_page(np.random.default_rng([5, 7, 17]))).all()
    mixed = PatchSource(
        [_photograph()],
        seed=5,
        shares={"none": 1.0},
        page_share=0.5,
        grey_share=0,
        page_kinds={"letters": 0.8, "plate": 0.2},
    )._pages
    same = sum((one == other).all() for one, other in zip(pages, mixed, strict=True))
    assert 60 < same < 90


def _photograph() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (100, 100, 3)).astype(np.uint8)


def test_checkpoint_lists_the_fonts_and_a_run_keeps_to_them(font_folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "photographs"
    data.mkdir()
    for index in range(2):
        cv2.imwrite(str(data / f"{index}.png"), _photograph())
    config = TrainingConfig(
        preset="tiny",
        steps=1,
        batch=1,
        patch=32,
        warmup=1,
        bf16=False,
        page_share=0.5,
        page_kinds={"plate": 1.0},
        fonts="found",
    )
    train_restoration(config, data=data, out=tmp_path / "run", resume=False)
    listed = load_checkpoint(tmp_path / "run" / "average.safetensors").notes["fonts"]
    assert listed == [font.to_note() for font in find_fonts("found")]
    (font_folder / "DejaVuSansMono.ttf").unlink()
    with pytest.raises(UsageError, match=r"other fonts.*DejaVuSansMono\.ttf"):
        train_restoration(config, data=data, out=tmp_path / "run", resume=True)
