"""Measures the shipped model on the standard test sets and writes its card beside the weights.

    python benchmarks/model_card.py --data DIR [--suite gaussian ...]

DIR holds one folder of clean images per test set. Figures of published peers are not ours and are marked so.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

from restore_models.program import Program
from restore_models.zoo import DEFAULT_MODEL, find_model, open_model
from restore_sdk.evaluation import evaluate

_RUNS = {
    "gaussian": ("CBSD68", "Urban100_odd"),
    "realistic": ("CBSD68", "Urban100_odd"),
    "jpeg": ("Classic5", "CBSD68"),
    "sr": ("Set5", "Set14"),
}
_PEERS = """
Published figures of others under the same protocol, not measured here, CBSD68, sigma 15/25/50:
CBM3D 33.52/30.71/27.38 (one run per noise level, told the level), FFDNet 33.87/31.21/27.96 (told the level),
DRUNet 34.30/31.69/28.51 (told the level). Classic5, quality 10/20/40: DnCNN-3 29.40/31.63/33.77.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--suite", choices=sorted(_RUNS), action="append")
    parser.add_argument("--print", action="store_true", help="print the tables, write nothing")
    given = parser.parse_args()
    model, program = open_model(None, Path("none"))
    tables = []
    for suite in given.suite or _RUNS:
        for index, name in enumerate(_RUNS[suite]):
            # What exactness costs is measured on the first set of each suite.
            kinds = ("exact", "float") if index == 0 else ("exact",)
            by_arithmetic = {
                kind: evaluate(suite, images=given.data / name, arithmetic=kind)["rows"] for kind in kinds
            }
            tables.append(_table(suite, name, by_arithmetic))
            print(tables[-1], file=sys.stderr, flush=True)
    if not given.print:
        card = model.path.with_suffix(".md")
        card.write_text(_card(program, tables), encoding="utf-8")
        print(card)
    return 0


def _table(suite: str, name: str, rows: dict[str, list[dict[str, Any]]]) -> str:
    lines = [
        f"### {suite}, {name} ({rows['exact'][0]['images']} images)",
        "",
        "| setting | input PSNR | PSNR | PSNR of the float preview | input SSIM | SSIM |",
        "|---|---|---|---|---|---|",
    ]
    previews = [f"{row['psnr']:.2f}" for row in rows.get("float", [])] or ["not run"] * len(rows["exact"])
    for exact, preview in zip(rows["exact"], previews, strict=True):
        lines.append(
            f"| {exact['setting']} | {exact['psnr_input']:.2f} | **{exact['psnr']:.2f}** | "
            f"{preview} | {exact['ssim_input']:.4f} | {exact['ssim']:.4f} |"
        )
    return "\n".join([*lines, ""])


def _card(program: Program, tables: list[str]) -> str:
    said = tomllib.loads(find_model(None, Path("none")).path.with_suffix(".toml").read_text(encoding="utf-8"))
    notes = program.notes
    images = notes["training_images"]
    used = Counter(row["name"].partition("__")[0] for row in images)
    weights = sum(t.size for name, t in program.tensors.items() if name.endswith(".weight"))
    parts = [
        f"# {DEFAULT_MODEL}",
        said["summary"].strip(),
        "## What it is",
        f"- {weights:,} weights, {len(program.instructions)} instructions, licence {notes['licence']}",
        f"- file SHA-256 `{program.file_sha256}`",
        f"- program SHA-256 `{program.program_sha256()}`",
        f"- architecture `{notes['architecture']}`",
        "## How it was trained",
        said["recipe"].strip(),
        f"{notes['training_steps']:,} steps; settings of the last run: `{notes['training_config']}`.",
        "## Figures",
        "Made by `python benchmarks/model_card.py --data DIR`, which runs `restore evaluate` with the exact "
        "program and, on the first set of each suite, with the float preview of the same weights. Protocols: "
        "`restore_models/evaluation.py`. The network is blind: it is told neither noise level nor quality. "
        "PSNR in dB.",
        *tables,
        _PEERS.strip(),
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
