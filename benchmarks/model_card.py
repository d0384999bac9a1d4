"""Writes the card of a shipped model beside its weights, from what `restore evaluate` measured.

    restore evaluate gaussian --images DIR/CBSD68 --model ID --json > rows/gaussian.CBSD68.exact.json
    python benchmarks/trained_network.py CHECKPOINT --model FILE --images DIR/CBSD68 \\
        > rows/gaussian.CBSD68.float.json
    python benchmarks/model_card.py rows --model ID

Which files there may be is in `_RUNS`, and none has to be there. What is said by people is in ID.toml.
Figures of published peers are not ours and are marked so.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

from restore_models.calibration import Calibration, calibrations_after, read_calibration
from restore_models.program import Program
from restore_models.routing import routed_models
from restore_models.zoo import DEFAULT_MODEL, ModelFile, known_models, open_model

_RUNS = {
    "gaussian": ("CBSD68", "Urban100_odd", "Set12"),
    "realistic": ("CBSD68", "Urban100_odd", "Set12"),
    "jpeg": ("Classic5",),
    "sr": ("Set5", "Set14"),
    "real": ("Nam",),
}
_PEERS = {
    "gaussian": "CBSD68, sigma 15/25/50: CBM3D 33.52/30.71/27.38 (one run per noise level, told the level), "
    "FFDNet 33.87/31.21/27.96 (told the level), DRUNet 34.30/31.69/28.51 (told the level).",
    "jpeg": "Classic5, quality 10/20/40: DnCNN-3 29.40/31.63/33.77.",
    "sr": "Set5 and Set14, twice enlarged: SwinIR-light 38.14 and 33.86; four times: SAFMN 32.18 and 28.60, "
    "SwinIR-light 32.44 and 28.77.",
}
"""Published figures by suite."""

KEPT = (
    "**Kept for the records made with it:** `restore run` does not choose it any more, whatever is said "
    "above of `--mode auto`; it can still be named with `--model`."
)
"""What the card of a model says that no rule chooses."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("rows", type=Path, help="folder of the files that restore evaluate wrote")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="id of a shipped model")
    given = parser.parse_args()
    model, program = open_model(given.model, Path("none"))
    tables: list[str] = []
    peers: list[str] = []
    for suite, names in _RUNS.items():
        for name in names:
            rows = {kind: _rows(given.rows / f"{suite}.{name}.{kind}.json") for kind in ("exact", "float")}
            if rows["exact"]:
                tables.append(_table(suite, name, rows))
                published = _PEERS.get(suite, "")
                peers += [published] if name in published and published not in peers else []
    if peers:
        said = "Published figures of others under the same protocols, not measured here."
        tables.append("\n".join([said, *peers]))
    card = model.path.with_suffix(".md")
    card.write_text(_card(model, program, tables), encoding="utf-8")
    print(card)
    return 0


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of one measurement; none where it was not made."""
    return list(json.loads(path.read_text(encoding="utf-8"))["rows"]) if path.is_file() else []


def _table(suite: str, name: str, rows: dict[str, list[dict[str, Any]]]) -> str:
    lines = [
        f"### {suite}, {name} ({rows['exact'][0]['images']} images)",
        "",
        "| setting | input PSNR | PSNR | lost to integers | input SSIM | SSIM |",
        "|---|---|---|---|---|---|",
    ]
    trained = {row["setting"]: row["psnr"] for row in rows["float"]}
    for exact in rows["exact"]:
        preview = "not measured"
        if exact["setting"] in trained:
            preview = f"{trained[exact['setting']] - exact['psnr']:.3f}"
        lines.append(
            f"| {exact['setting']} | {exact['psnr_input']:.2f} | **{exact['psnr']:.2f}** | "
            f"{preview} | {exact['ssim_input']:.4f} | {exact['ssim']:.4f} |"
        )
    return "\n".join([*lines, ""])


def _calibration(program: Program) -> list[str]:
    """What the intervals of the confidence map guarantee; nothing where they were not calibrated."""
    found = read_calibration(program)
    if found is None:
        return []
    ids = {open_model(m.id, Path("none"))[1].program_sha256(): m.id for m in known_models(Path("none"))}
    after = [
        f"For what `{ids.get(first, first)}` has restored before, by the estimates of the record:\n\n"
        + _class_table(one)
        for one in calibrations_after(program)
        for first in [str(one.small_program_sha256)]
    ]
    return [
        "## Confidence",
        f"The intervals of the confidence map keep the share of samples outside below {found.alpha:g}, with "
        f"confidence {1 - found.delta:g} for each class, as an average over images like the "
        f"{len(found.images)} photographs of the calibration (crops of {found.side} pixels; their names, "
        "hashes and licences: `restore models show`). Not per pixel, and void under shift.",
        _class_table(found),
        *after,
    ]


def _class_table(found: Calibration) -> str:
    lines = [
        f"| {c.name} | {c.images} | {c.scale_64ths} | {c.risk:.4f} | {c.risk_upper:.4f} |"
        for c in found.classes
        if c.risk is not None and c.risk_upper is not None
    ]
    head = "| class | images | scale, 64ths | outside | upper bound |\n|---|---|---|---|---|"
    return "\n".join([head, *lines])


def _card(model: ModelFile, program: Program, tables: list[str]) -> str:
    said = tomllib.loads(model.path.with_suffix(".toml").read_text(encoding="utf-8"))
    notes = program.notes
    images = notes["training_images"]
    used = Counter(row["name"].partition("__")[0] for row in images)
    weights = sum(t.size for name, t in program.tensors.items() if name.endswith(".weight"))
    parts = [
        f"# {model.id}",
        said["summary"].strip(),
        *([] if model.id in routed_models() else [KEPT]),
        "## What it is",
        f"- {weights:,} weights, {len(program.instructions)} instructions, "
        f"{program.views} view{'s' if program.views > 1 else ''} of the image, licence {notes['licence']}",
        f"- file SHA-256 `{program.file_sha256}`",
        f"- program SHA-256 `{program.program_sha256()}`",
        f"- architecture `{notes['architecture']}`",
        "## How it was trained",
        said["recipe"].strip(),
        f"{notes['training_steps']:,} steps; settings of the last run: `{notes['training_config']}`.",
        "## Figures",
        "Measured by `restore evaluate`, put together by `benchmarks/model_card.py`: the exact program, and "
        "how much more the trained network had in float32 before it became integers "
        "(`benchmarks/trained_network.py`). Protocols: `restore_models/evaluation_protocol.py`. The "
        "network is blind: it is told neither noise level nor quality. PSNR in dB.",
        *tables,
        *_calibration(program),
        "## Known failures",
        "\n".join(f"- {line}" for line in said["failures"]),
        "## Training images",
        "Photographs with the licence stated by their source; pages were rendered from random letters in "
        "Pillow's built-in font (Aileron, CC0). One photograph in sixteen, by the hash of its name, is held "
        "out for validation and calibration.",
        "| source | repository | licence | images |\n|---|---|---|---|\n"
        + "\n".join(
            f"| {k} | {said['sources'][k][0]} | {said['sources'][k][1]} | {n} |" for k, n in used.items()
        ),
        "| file | SHA-256 | use |\n|---|---|---|\n"
        + "\n".join(f"| {row['name']} | `{row['sha256']}` | {row['use']} |" for row in images),
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
