"""PSNR against multiply-adds: our rows of `restore evaluate` beside what others published.

    restore evaluate gaussian --images CBSD68 --json > cbsd68.json
    python benchmarks/psnr_against_cost.py cbsd68.json --setting "sigma 25" -o psnr_against_cost.svg [--json]

Ours are measured, from the files given, and their cost is counted (`restore_models.cost`) from the model that
`--model` names. The others are published, not measured here: PSNR from `restore_sdk.published`, and beside
it the multiply-adds that go with it, both at 256 x 256 and with the products of attention; drawn hollow and
said to be so. A set is drawn only where its name and number of pictures are those of the published one. The
plot needs the extra `plots`; its format follows the name after `-o`. With `--json` the points are printed.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from restore_manifests.errors import RestoreError, UsageError
from restore_models.architecture import Architecture
from restore_models.cost import multiply_adds
from restore_models.zoo import open_model
from restore_sdk.published import GMACS, published_for


@dataclass(frozen=True)
class Point:
    """One method on one set of pictures."""

    dataset: str
    method: str
    gmacs: float
    psnr: float
    published: bool


def read_rows(path: Path) -> tuple[str, list[dict[str, Any]]]:
    """Suite and rows of a document of `restore evaluate --json`. Raises UsageError for anything else."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        rows = [
            {
                "dataset": str(row["dataset"]),
                "setting": str(row["setting"]),
                "psnr": float(row["psnr"]),
                "images": int(row["images"]),
            }
            for row in document["rows"]
        ]
        return str(document["suite"]), rows
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise UsageError(
            f"{path} holds no result of restore evaluate.", hint="Make it with restore evaluate ... --json."
        ) from problem


def collect(paths: list[Path], setting: str, model: str | None) -> list[Point]:
    """Ours and the published points of every set that has this setting.

    Raises:
        UsageError: if no row has the setting, or no one published on these sets.
        ModelError: if there is no such model.
    """
    file, program = open_model(model, Path("none"))
    gmacs = program.views * multiply_adds(Architecture.from_dict(dict(program.notes["architecture"]))) / 1e9
    points: list[Point] = []
    for path in paths:
        suite, rows = read_rows(path)
        for row in rows:
            if row["setting"] != setting:
                continue
            peers = published_for(suite, row["dataset"], row["images"])
            told = [
                Point(row["dataset"], peer.method, GMACS[peer.method], peer.psnr[setting], True)
                for peer in peers
                if peer.method in GMACS and setting in peer.psnr
            ]
            if told:
                points += [
                    *told,
                    Point(row["dataset"], file.id, round(gmacs, 2), round(row["psnr"], 3), False),
                ]
    if not points:
        raise UsageError(
            f"No row of {setting!r} is of a set on which others published cost and PSNR.",
            hint="Evaluate CBSD68, Kodak24, McMaster or Urban100, whole, in a folder of that name.",
        )
    return points


def draw(points: list[Point], setting: str, target: Path) -> None:
    """The plot, a panel for each set. Raises UsageError where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 -- an extra
    except ImportError as problem:
        raise UsageError(
            "The plot needs matplotlib, which is not installed.",
            hint="Install the extra with pip install 'forensic-restore[plots]', or use --json without -o.",
        ) from problem
    sets = list(dict.fromkeys(point.dataset for point in points))
    figure = Figure(figsize=(5.2 * len(sets), 4.2), layout="constrained")
    for index, dataset in enumerate(sets):
        axes = figure.add_subplot(1, len(sets), index + 1)
        for published, face, label in (
            (True, "none", "published, not measured here"),
            (False, None, "measured"),
        ):
            chosen = [p for p in points if p.dataset == dataset and p.published == published]
            marks = axes.scatter([p.gmacs for p in chosen], [p.psnr for p in chosen], s=44, label=label)
            marks.set_edgecolor("#667085" if published else "#0b5fd6")
            marks.set_facecolor(face or "#0b5fd6")
            for point in chosen:
                name = axes.annotate(
                    point.method, (point.gmacs, point.psnr), (5, 4), textcoords="offset points", fontsize=8
                )
                name.set_in_layout(False)  # a long name must not squeeze the axes
        axes.set_xscale("log")
        axes.margins(x=0.2, y=0.12)
        axes.set_xlabel("multiply-adds at 256 x 256, billions")
        axes.set_ylabel("PSNR, dB")
        axes.set_title(f"{dataset}, {setting}")
        axes.legend(fontsize=8, loc="best")
    try:
        figure.savefig(target)
    except (OSError, ValueError) as problem:
        raise UsageError(f"The plot cannot be written to {target}: {problem}.") from problem


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", help="documents of restore evaluate gaussian --json")
    parser.add_argument("--setting", default="sigma 25")
    parser.add_argument("--model", help="the model that was measured; without it the default one")
    parser.add_argument("-o", "--out", type=Path, help="the plot: .svg, .png or .pdf")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    try:
        points = collect(given.results, given.setting, given.model)
        if given.out:
            draw(points, given.setting, given.out)
    except RestoreError as problem:
        print(f"psnr_against_cost: {problem}", file=sys.stderr)
        return problem.exit_code
    if given.json:
        print(json.dumps({"setting": given.setting, "points": [asdict(point) for point in points]}))
    else:
        for point in sorted(points, key=lambda p: (p.dataset, p.gmacs)):
            source = "published" if point.published else "measured"
            print(
                f"{point.dataset:10} {point.method:16} {point.gmacs:8.1f} GMAC {point.psnr:7.2f} dB  {source}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
