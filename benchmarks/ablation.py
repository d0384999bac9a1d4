"""Ablations at small scale: one configuration a row, all trained alike, one table.

    python benchmarks/ablation.py plan.toml --data photographs --out runs/ablation

The plan names what all runs share and, for each run, what is different:

    [base]
    preset = "tiny"
    steps = 400
    [[run]]
    name = "baseline"
    [[run]]
    name = "ssim 0.1"
    ssim_weight = 0.1
    [[run]]
    name = "window 4"
    architecture = { window = 4 }

A run's settings are those of `restore_models.training_config.TrainingConfig`; `architecture` changes fields
of the preset (`restore_models.architecture.Architecture`). Every run has the seed of the base, so the same
patches in the same order. A finished run is not repeated and a broken one goes on (its seconds are then those
of the last leg). PSNR is on the held-out crops of training: good for telling configurations apart, no figure
to publish. Without a plan, `PLAN` below is run.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from restore_manifests.errors import ModelError, RestoreError, UsageError
from restore_models.architecture import PRESETS, Architecture
from restore_models.cost import multiply_adds, weight_count
from restore_models.training import train_restoration
from restore_models.training_config import TrainingConfig
from restore_models.whole_file import write_whole

PLAN = """
[base]
preset = "tiny"
steps = 300
batch = 8
patch = 64
warmup = 50
optimiser = "adamw"
learning_rate = 2e-3
clip = 1.0
[[run]]
name = "baseline"
[[run]]
name = "l1"
loss = "l1"
[[run]]
name = "l2"
loss = "l2"
[[run]]
name = "psnr"
loss = "psnr"
[[run]]
name = "with ssim 0.1"
ssim_weight = 0.1
[[run]]
name = "with frequency 0.05"
frequency_weight = 0.05
[[run]]
name = "deeper"
architecture = { blocks = [2, 4] }
[[run]]
name = "window 4"
architecture = { window = 4 }
[[run]]
name = "no attention"
architecture = { attention_levels = 0 }
[[run]]
name = "skips projected"
architecture = { skip = "project" }
[[run]]
name = "no skips"
architecture = { skip = "none" }
[[run]]
name = "residual scale 1"
residual_scale = 1.0
[[run]]
name = "on the pixels"
architecture = { fold = 1 }
[[run]]
name = "perceptron x1"
architecture = { mlp_ratio = 1 }
"""


@dataclass(frozen=True)
class Run:
    """One configuration."""

    name: str
    config: TrainingConfig
    architecture: Architecture


def read_plan(text: str) -> list[Run]:
    """The runs of a plan. Raises UsageError for what is no plan."""
    try:
        plan = tomllib.loads(text)
        base, rows = dict(plan.pop("base", {})), list(plan.pop("run"))
        if plan:
            raise UsageError(f"The plan holds what it cannot: {', '.join(sorted(plan))}.")
        runs = [_run({**base, **row}) for row in rows]
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, ModelError) as problem:
        first = problem.errors()[0] if isinstance(problem, ValidationError) else None
        said = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else str(problem)
        raise UsageError(f"The plan cannot be run: {said}.", hint="See the head of this script.") from problem
    if len({_folder(run) for run in runs}) < len(runs) or not runs:
        raise UsageError("The plan needs at least one run, and each a name of its own.")
    return runs


def _run(values: dict[str, Any]) -> Run:
    name, changes = str(values.pop("name")), dict(values.pop("architecture", {}))
    preset = values.get("preset", "tiny")
    if preset not in PRESETS:
        raise ValueError(f"there is no preset {preset!r}")
    plain = {key: tuple(value) if isinstance(value, list) else value for key, value in changes.items()}
    return Run(name, TrainingConfig.model_validate(values), replace(PRESETS[preset], **plain))


def _folder(run: Run) -> str:
    return re.sub(r"[^a-z0-9]+", "-", run.name.lower()).strip("-")


def train_one(run: Run, data: Path, out: Path) -> dict[str, Any]:
    """Trains one configuration, or reads what a finished run left; the figures of its row."""
    folder = out / _folder(run)
    settings = {"config": run.config.model_dump(mode="json"), "architecture": run.architecture.to_dict()}
    done = folder / "row.json"
    if done.is_file():
        row: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        if row["settings"] == settings:
            return row
        raise UsageError(f"{folder} holds a run with other settings.", hint="Name another --out.")
    preset = f"ablation: {run.name}"
    PRESETS[preset] = run.architecture  # for this process only; the row keeps the architecture itself
    try:
        started = time.monotonic()
        result = train_restoration(
            run.config.model_copy(update={"preset": preset}),
            data=data,
            out=folder,
            resume=(folder / "latest.safetensors").exists(),
        )
        seconds = time.monotonic() - started
    finally:
        del PRESETS[preset]
    row = {
        "name": run.name,
        "weights": weight_count(run.architecture),
        "gmacs": round(multiply_adds(run.architecture) / 1e9, 2),
        "seconds": round(seconds, 1),
        "steps": result.steps,
        **result.metrics,
        "settings": settings,
    }
    write_whole(done, (json.dumps(row, indent=1) + "\n").encode())
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown, PSNR in dB with the difference to the first row."""
    names = [name for name in rows[0] if name.startswith("psnr_")]
    heads = [
        "run",
        "weights",
        "GMAC at 256",
        "seconds",
        *(name.removeprefix("psnr_") for name in names),
        "mean",
    ]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    base = [rows[0][name] for name in names]
    for row in rows:
        figures = [row[name] for name in names]
        differences = [
            f"{value:.2f} ({value - other:+.2f})" for value, other in zip(figures, base, strict=True)
        ]
        mean = sum(figures) / len(figures) - sum(base) / len(base)
        cells = [row["name"], f"{row['weights']:,}", f"{row['gmacs']}", f"{row['seconds']}", *differences]
        lines.append(f"| {' | '.join([*cells, f'{mean:+.2f}'])} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("plan", type=Path, nargs="?", help="TOML; without it the one in this script")
    parser.add_argument("--data", type=Path, required=True, help="folder of clean photographs")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the runs, gone on with if it is there"
    )
    given = parser.parse_args()
    try:
        runs = read_plan(given.plan.read_text(encoding="utf-8") if given.plan else PLAN)
        rows = []
        for run in runs:
            rows.append(train_one(run, given.data, given.out))
            print(f"{run.name}: done", file=sys.stderr)
        text = table(rows)
        write_whole(given.out / "table.md", (text + "\n").encode())
        print(text)
    except RestoreError as problem:
        print(f"ablation: {problem}", file=sys.stderr)
        return problem.exit_code
    except OSError as problem:
        print(f"ablation: {problem.strerror}: {problem.filename}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
