"""Panels to judge a model by eye: before, after and maps of real pictures, and a detail enlarged.

    python benchmarks/panels.py photographs/*.jpg -o panels [--model ID|FILE] [--mode auto|blind] [--json]

Each picture is restored as `restore run` does it, under a throw-away identity, and `<stem>.panel.png` shows
it whole with its edit map and confidence map; below, the square in which the edit map is strongest, before
and after, enlarged without smoothing. `--at X,Y` names the middle of that square instead. `panels.json` lists
what was estimated, found and flagged. Panels are for eyes: which is better is not measured here.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from restore_manifests.errors import RestoreError, StorageError, UsageError
from restore_manifests.keys import Identity, create_identity
from restore_manifests.pixels import decode_png
from restore_sdk.evidence import open_evidence
from restore_sdk.maps import contact_sheet
from restore_sdk.restoration import Restoration, restore

_LEGEND = ("90 % interval, 8-bit levels", "0", "127.5 or more")


def strongest_square(edit: NDArray[np.uint8], side: int) -> tuple[int, int]:
    """Top and left of the square of `side` pixels, inside the map, whose sum is largest."""
    height, width = edit.shape
    rows, columns = min(side, height), min(side, width)
    sums = cv2.integral(edit).astype(np.int64)
    whole = sums[rows:, columns:] - sums[:-rows, columns:] - sums[rows:, :-columns] + sums[:-rows, :-columns]
    top, left = divmod(int(whole.argmax()), whole.shape[1])
    return top, left


def square_at(size: tuple[int, int], middle: tuple[int, int], side: int) -> tuple[int, int]:
    """Top and left of the square round `middle` (x, y), moved inside a picture of (height, width)."""
    top, left = (
        max(0, min(place - side // 2, length - side))
        for place, length in zip((middle[1], middle[0]), size, strict=True)
    )
    return top, left


def panel(
    before: NDArray[Any],
    after: NDArray[Any],
    edit: NDArray[np.uint8],
    confidence: NDArray[np.uint8] | None,
    title: str,
    *,
    side: int = 180,
    middle: tuple[int, int] | None = None,
) -> Image.Image:
    """The contact sheet of a restoration, and below it a square of `side` pixels before and after.

    `before` and `after` are uint8 or uint16, (height, width[, 3]), and of one size.
    """
    sheet = contact_sheet(before, after, edit, confidence, title, confidence_legend=_LEGEND)
    top, left = square_at(edit.shape, middle, side) if middle else strongest_square(edit, side)
    times = max(2, (sheet.width - 36) // (2 * side))
    details = [_enlarged(samples[top : top + side, left : left + side], times) for samples in (before, after)]
    width = max(sheet.width, 2 * details[0].width + 36)
    whole = Image.new("RGB", (width, sheet.height + details[0].height + 12), (255, 255, 255))
    whole.paste(sheet, (0, 0))
    for index, detail in enumerate(details):
        whole.paste(detail, (12 + index * (details[0].width + 12), sheet.height))
    return whole


def _enlarged(samples: NDArray[Any], times: int) -> Image.Image:
    if samples.dtype == np.uint16:
        samples = ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(samples)).convert("RGB")
    return picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)


def show(
    source: Path,
    folder: Path,
    identity: Identity,
    *,
    model: str | None,
    mode: str,
    side: int,
    middle: tuple[int, int] | None,
) -> dict[str, Any]:
    """Restores one picture into `folder` and writes its panel there; what was said of it."""
    (done,) = restore(source, out=folder, model=model, mode=mode, identity=identity, force=True)
    before = open_evidence(source).pixels
    after, edit = (decode_png(path.read_bytes()) for path in (done.result, done.edit_map))
    confidence = decode_png(done.confidence_map.read_bytes()) if done.confidence_map else None
    used = model_of(done)
    target = folder / f"{source.stem}.panel.png"
    panel(
        before,
        after,
        edit.astype(np.uint8),
        None if confidence is None else confidence.astype(np.uint8),
        f"{source.name}, {used}",
        side=side,
        middle=middle,
    ).save(target)
    return {
        "image": source.name,
        "panel": str(target),
        "model": used,
        "degradation": done.degradation,
        "abstained": done.abstained,
        "findings": done.findings,
        "seconds": round(done.seconds, 2),
    }


def model_of(done: Restoration) -> str:
    """The model that restored, as the plan in the manifest names it; of a route that is the last one."""
    body = json.loads(done.manifest.read_text(encoding="utf-8"))["body"]
    named = [step["parameters"].get("model") for step in body["plan"] if step["operation"] != "enlarge"]
    return str(named[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for bundles and panels")
    parser.add_argument("--model", help="id of an installed model or a model file")
    parser.add_argument("--mode", default="auto", choices=("auto", "blind"))
    parser.add_argument("--side", type=int, default=180, help="side of the enlarged square in pixels")
    parser.add_argument("--at", metavar="X,Y", help="middle of the square; without it where most changed")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    try:
        middle = _place(given.at)
        if given.side < 1:
            raise UsageError(f"A side of {given.side} pixels shows nothing.", hint="Give --side 1 or more.")
        shown = _all(given.images, given.out, given.model, given.mode, given.side, middle)
    except RestoreError as problem:
        print(f"panels: {problem}", file=sys.stderr)
        return problem.exit_code
    if given.json:
        print(json.dumps({"panels": shown}))
    else:
        for one in shown:
            flag = ", outside what the model knows" if one["abstained"] else ""
            print(f"{one['panel']}: {one['model']}, {one['seconds']} s{flag}")
    return 0


def _place(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    try:
        x, y = (int(part) for part in text.split(","))
    except ValueError as problem:
        raise UsageError(
            f"{text!r} is no place.", hint="Give --at as two whole numbers: 120,80."
        ) from problem
    return x, y


def _all(
    images: list[Path], out: Path, model: str | None, mode: str, side: int, middle: tuple[int, int] | None
) -> list[dict[str, Any]]:
    stems = [image.stem for image in images]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise UsageError(
            f"Several pictures are called {twice[0]}.", hint="Make their panels in folders of their own."
        )
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        before = os.environ.get("RESTORE_HOME")
        os.environ["RESTORE_HOME"] = str(home)  # these records belong in nobody's log
        try:
            identity = create_identity(
                home, name="Panels, not for evidence", passphrase=None, unprotected=True
            )
            shown = [
                show(image, out, identity, model=model, mode=mode, side=side, middle=middle)
                for image in images
            ]
        finally:
            if before is None:
                del os.environ["RESTORE_HOME"]
            else:
                os.environ["RESTORE_HOME"] = before
    try:
        (out / "panels.json").write_text(json.dumps(shown, indent=1), encoding="utf-8")
    except OSError as problem:
        raise StorageError(
            f"{out} cannot be written: {problem.strerror}.", hint="Name another folder with -o."
        ) from problem
    return shown


if __name__ == "__main__":
    sys.exit(main())
