"""`evaluate`: a suite of restore_models.evaluation with an installed model, and its report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_manifests.errors import ModelError, UsageError
from restore_sdk.models import models_folder
from restore_sdk.on_demand import OnDemand
from restore_sdk.single_file import check_place, write_file

if TYPE_CHECKING:
    from restore_models.evaluation_routed import CascadeSubject, RoutedSubject
    from restore_models.program import Program
    from restore_models.restorer import TorchRunner

__all__ = ["evaluate"]

_ROUTED_SUITES = ("gaussian", "realistic", "jpeg", "sr", "real", "estimate")


def evaluate(
    suite: str,
    *,
    images: Path,
    model: str | Path | None = None,
    arithmetic: str = "exact",
    report: Path | None = None,
    force: bool = False,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Runs one suite over a folder of clean images (for `real`: of pairs).

    Args:
        suite: one of `restore_models.evaluation.SUITES`.
        images: the folder.
        model: id of an installed model or a model file; None: what `restore run` does, which gives each
            picture the shipped model that its damage calls for; in `calibration` and `hallucination` the
            blind one.
        arithmetic: `exact` or `float`; a model made by others has float only.
        report: where to write a page with tables and plots; None: nowhere.
        force: replace a report that is there.
        progress: called with the finished share, 0 to 1.

    Returns:
        `suite`, `model`, `arithmetic`; `gmacs`, billions of multiply-adds for 256 x 256 pixels (None for a
        model whose architecture is not ours); `rows`: dataset, setting, psnr (dB), ssim, the same of the
        input, the suite's own figures, and the number of images; `notes`: what the figures are and what was
        left out; `texts`: text as it was read, by image and setting; `report`: its path or None.

    Raises:
        UsageError: for an unknown suite or arithmetic, a folder without images, or a report that is there.
        ModelError: for a model that is missing or damaged.
        StorageError: if the report cannot be written.
    """
    if arithmetic not in ("exact", "float"):
        raise UsageError(f"There is no arithmetic {arithmetic!r}.", hint="Use exact or float.")
    if report is not None:  # before the work, which takes long
        check_place(report, force=force)
    from restore_models.evaluation import evaluate_suite  # noqa: PLC0415 -- keeps torch out of light commands
    from restore_models.program import Program  # noqa: PLC0415
    from restore_models.restorer import TorchRunner  # noqa: PLC0415
    from restore_models.zoo import open_any  # noqa: PLC0415

    found, opened = open_any(model, models_folder())
    gmacs = None
    if isinstance(opened, Program):
        gmacs = _gmacs(opened)
        runner = TorchRunner(opened, exact=arithmetic == "exact")
        routed = (
            _routed(runner, exact=arithmetic == "exact")
            if model is None and suite in _ROUTED_SUITES
            else None
        )
        after = _after_others(runner, exact=arithmetic == "exact") if suite == "calibration" else None
        measured = evaluate_suite(suite, images, routed or after or runner, progress)
        if routed:
            measured = replace(measured, notes=[*measured.notes, routed.note()])
    else:
        arithmetic = "float"  # an external model has no other
        measured = evaluate_suite(suite, images, opened, progress)
    document: dict[str, Any] = {
        "suite": suite,
        "model": found.id,
        "arithmetic": arithmetic,
        "gmacs": gmacs,
        "rows": [row.to_json() for row in measured.rows],
        "notes": measured.notes,
        "texts": [asdict(reading) for reading in measured.readings],
        "report": str(report) if report is not None else None,
    }
    if report is not None:
        from restore_sdk.evaluation_report import render_evaluation  # noqa: PLC0415

        page = render_evaluation(document)
        write_file(report, page.encode("utf-8", "backslashreplace"), force=force)
    return document


def _routed(router: TorchRunner, *, exact: bool) -> RoutedSubject:
    """The shipped models behind the rules of `restore run`."""
    from restore_models.evaluation_routed import RoutedSubject  # noqa: PLC0415
    from restore_models.resample import FACTORS  # noqa: PLC0415
    from restore_models.restorer import TorchRunner  # noqa: PLC0415
    from restore_models.routing import shipped_rule  # noqa: PLC0415
    from restore_models.zoo import open_model  # noqa: PLC0415

    rules = {scale: shipped_rule(scale) for scale in FACTORS}

    def executor(name: str) -> TorchRunner:
        if name == rules[1].router:
            return router
        return TorchRunner(open_model(name, models_folder())[1], exact=exact)

    names = (name for rule in rules.values() for name in rule.models())
    return RoutedSubject(OnDemand(names, executor), rules)


def _after_others(runner: TorchRunner, *, exact: bool) -> CascadeSubject | None:
    """A program with the shipped models that restore before it; None for one before which none does."""
    from restore_models.evaluation_routed import CascadeSubject  # noqa: PLC0415
    from restore_models.restorer import TorchRunner  # noqa: PLC0415
    from restore_models.zoo import open_model  # noqa: PLC0415

    return CascadeSubject.of(
        runner, lambda name: TorchRunner(open_model(name, models_folder())[1], exact=exact)
    )


def _gmacs(program: Program) -> float | None:
    from restore_models.architecture import Architecture  # noqa: PLC0415
    from restore_models.cost import multiply_adds  # noqa: PLC0415

    try:
        shape = Architecture.from_dict(program.notes["architecture"])
    except (KeyError, TypeError, ModelError):  # notes of a program that others made
        return None
    return round(program.views * multiply_adds(shape) / 1e9, 2)
