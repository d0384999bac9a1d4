"""Before, after, edit map and confidence map of one bundle in one picture."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from restore_manifests.pixels import decode_png
from restore_sdk.audit_thumbnails import map_colours, shrink
from restore_sdk.evidence import open_evidence

__all__ = ["contact_sheet"]

_SIDE = 560
_MARGIN = 24
_LINE = 30


def contact_sheet(
    source: Path, result: Path, edit: Path, confidence: Path, captions: list[str]
) -> Image.Image:
    """An RGB picture of 2 x 2 panels of at most 560 pixels a side, `captions` as lines of text below.

    The maps are shown in colours: black for none, yellow for a CIEDE2000 of 10 or an interval of 40 of 255
    levels. Raises EvidenceError for a file that cannot be decoded.
    """
    edit_map, confidence_map = (
        shrink(decode_png(path.read_bytes()), _SIDE)[..., 0] for path in (edit, confidence)
    )
    panels = [
        ("before", shrink(open_evidence(source).pixels, _SIDE)),
        ("after", shrink(decode_png(result.read_bytes()), _SIDE)),
        (
            "edit map: black unchanged, yellow a colour difference of 10 or more",
            map_colours(edit_map, "edit"),
        ),
        (
            "confidence map: black sure, yellow an interval of 40 levels or more",
            map_colours(confidence_map, "confidence"),
        ),
    ]
    width = max(pixels.shape[1] for _, pixels in panels)
    height = max(pixels.shape[0] for _, pixels in panels)
    cell_width, cell_height = width + _MARGIN, height + _LINE + _MARGIN
    sheet = Image.new(
        "RGB", (2 * cell_width + _MARGIN, 2 * cell_height + _MARGIN + _LINE * len(captions)), "white"
    )
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=15)
    for place, (caption, pixels) in enumerate(panels):
        left, top = _MARGIN + place % 2 * cell_width, _MARGIN + place // 2 * cell_height
        draw.text((left, top), caption, fill="black", font=font)
        sheet.paste(Image.fromarray(pixels), (left, top + _LINE))
    for line, caption in enumerate(captions):
        draw.text((_MARGIN, 2 * cell_height + _MARGIN + line * _LINE), caption, fill="black", font=font)
    return sheet
