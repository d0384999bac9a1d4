"""Fonts for rendered training pictures: open ones that this machine has, else Pillow's own.

Only families known to be open are used, as Debian packages them (fonts-dejavu, fonts-liberation,
fonts-roboto-unhinted, fonts-noto-core, fonts-noto-mono); each file goes into the checkpoint's notes with its
hash and what it says of its licence. Which fonts are found depends on the machine: a run that must give the
same patches elsewhere uses Pillow's own.
"""

from __future__ import annotations

import functools
import hashlib
import os
import struct
import sys
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

from PIL import ImageFont

__all__ = ["Font", "FontRole", "FontSource", "find_fonts"]

FontSource = Literal["built_in", "found"]
FontRole = Literal["text", "bold", "mono"]

_FAMILIES = ("DejaVuSans", "DejaVuSerif", "Liberation", "Roboto", "NotoSans-", "NotoSansMono-", "NotoSerif-")
_LICENCE, _LICENCE_ADDRESS, _COPYRIGHT = 13, 14, 0
"""Numbers of names in a font (OpenType specification, "name" table)."""


@dataclass(frozen=True, slots=True)
class Font:
    """A font file, or, without `path`, the one inside Pillow."""

    name: str
    sha256: str
    licence: str
    """In the file's own words, with the address that it names."""
    path: Path | None = None

    def has(self, role: FontRole) -> bool:
        """Whether it suits running text, signs and plates (bold), or receipts (monospaced)."""
        mono, slanted = "Mono" in self.name, "Italic" in self.name or "Oblique" in self.name
        return {"text": not mono, "bold": "Bold" in self.name and not (mono or slanted), "mono": mono}[role]

    def at(self, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        """The font at `size` pixels; glyphs are placed by Pillow itself, the same on every machine."""
        return _loaded(self.path, size)

    def to_note(self) -> dict[str, str]:
        """What the checkpoint says of it."""
        return {"name": self.name, "sha256": self.sha256, "licence": self.licence}


def find_fonts(source: FontSource) -> list[Font]:
    """The fonts of one source, sorted by name; never none."""
    found: dict[str, Font] = {}
    for folder in _folders() if source == "found" else []:
        for path in sorted(folder.rglob("*.ttf")) if folder.is_dir() else []:
            if path.name.startswith(_FAMILIES) and path.name not in found:
                data = path.read_bytes()
                if _opens(data):
                    found[path.name] = Font(path.name, *_described(data), path)
    return [found[name] for name in sorted(found)] or [_built_in()]


def _built_in() -> Font:
    """Aileron, whose bytes are part of Pillow."""
    face = _loaded(None, 12)
    data = face.font_bytes if isinstance(face, ImageFont.FreeTypeFont) else b""
    return Font("Aileron (part of Pillow)", *_described(data))


def _opens(data: bytes) -> bool:
    try:
        ImageFont.truetype(BytesIO(data), 12, layout_engine=ImageFont.Layout.BASIC)
    except OSError:
        return False
    return True


def _described(data: bytes) -> tuple[str, str]:
    """SHA-256, and the licence in the font's own words: its first line, or its copyright, and its address."""
    try:
        names = _names(data)
    except (struct.error, IndexError):
        names = {}
    said = (names.get(_LICENCE) or names.get(_COPYRIGHT) or "not stated").splitlines()[0][:200]
    address = names.get(_LICENCE_ADDRESS, "")
    return hashlib.sha256(data).hexdigest(), said if address in said else f"{said} ({address[:200]})"


def _names(data: bytes) -> dict[int, str]:
    """The strings of a font's "name" table by their numbers; the first of each."""
    names: dict[int, str] = {}
    (tables,) = struct.unpack_from(">H", data, 4)
    for table in range(tables):
        tag, _, start, _ = struct.unpack_from(">4s3L", data, 12 + 16 * table)
        if tag != b"name":
            continue
        _, count, strings = struct.unpack_from(">3H", data, start)
        for record in range(count):
            platform, _, _, number, length, offset = struct.unpack_from(">6H", data, start + 6 + 12 * record)
            raw = data[start + strings + offset :][:length]
            text = raw.decode("latin-1" if platform == 1 else "utf-16-be", "replace").strip()
            if text:
                names.setdefault(number, text)
    return names


def _folders() -> list[Path]:
    """Where fonts are kept on Linux, macOS and Windows."""
    if sys.platform == "win32":
        return [Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts"]
    if sys.platform == "darwin":
        return [Path("/Library/Fonts"), Path.home() / "Library" / "Fonts"]
    return [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path.home() / ".local/share/fonts"]


@functools.lru_cache(maxsize=512)
def _loaded(path: Path | None, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    if path is None:
        return ImageFont.load_default(size=size)
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
