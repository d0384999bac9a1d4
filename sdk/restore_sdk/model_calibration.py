"""`models calibrate`: intervals with a guarantee for an installed model or a model file."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_manifests.errors import UsageError
from restore_sdk.executors import make_executor
from restore_sdk.models import models_folder
from restore_sdk.single_file import check_place, write_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from restore_models.calibration import Calibration
    from restore_models.zoo import ModelFile

__all__ = ["calibrate_model"]

_ANSWERS = ".vectors.json"


def calibrate_model(
    model: str | Path,
    *,
    images: Path,
    kinds: Collection[str] | None = None,
    alpha: float = 0.1,
    delta: float = 0.05,
    out: Path | None = None,
    force: bool = False,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Calibrates the intervals of a program on clean images, and writes the model file with the calibration.

    What is executed stays the same (`program_sha256`); the file's own hash changes. A program for enlarged
    images is calibrated beside that for what the shipped models have restored before, as `restore run` has
    them do with pictures that are not clean; the shipped one for images without noise for what is noisy and
    soft and the other one has restored before.

    Args:
        model: id of an installed model, or a model file made by restore.
        images: folder of at least some sixty clean 8-bit photographs that the model was not trained on; a
            table SOURCES.csv (name, source, licence) beside them goes into the calibration.
        kinds: of damage that the program is for, some of `restore_models.calibration_images.kinds_for`; None:
            all. What another model has restored before is not narrowed by it.
        alpha: the share of samples that may lie outside their interval, on average over images.
        delta: how often, over draws of the images, that may turn out wrong.
        out: where to write the model; None: the file itself, unless it is shipped with the package.
        force: replace a file that is there at `out`.
        progress: called with the finished share, 0 to 1.

    Returns:
        `model`, `file`, `file_sha256`, `program_sha256`, `alpha`, `delta`, `images` (their number),
        `classes`: for each `name`, `images`, `pictures`, `scale_64ths` (null: no guarantee), `risk`,
        `risk_upper`; and `after`: such classes by the id of a model that restores before this one.

    Raises:
        UsageError: for a share that is none, a kind that is not drawn, images that cannot be used, a shipped
            model without `out`, or a file that is there.
        ModelError: if the model is missing, damaged, not made by restore, or computes wrong here.
        StorageError: if the file cannot be written.
    """
    from restore_models.calibration import NOTE, NOTE_AFTER  # noqa: PLC0415 -- keeps torch out of light commands
    from restore_models.calibration_images import calibrate_program  # noqa: PLC0415
    from restore_models.evaluation_routed import CascadeSubject  # noqa: PLC0415
    from restore_models.program import load_program, save_program  # noqa: PLC0415
    from restore_models.zoo import open_model  # noqa: PLC0415

    found, program = open_model(model, models_folder())
    target = _target(found, out, force=force)
    executor = make_executor(found, program, exact=True)
    routed = CascadeSubject.of(
        executor, lambda name: make_executor(*open_model(name, models_folder()), exact=True)
    )
    cascades = routed.cascades if routed else {}
    parts = 1 + len(cascades)

    def calibrate(part: int, **options: Any) -> Calibration:
        def say(share: float) -> None:
            if progress is not None:
                progress((part + share) / parts)

        return calibrate_program(executor, images, alpha=alpha, delta=delta, progress=say, **options)

    def given(name: str) -> Callable[[NDArray[Any]], bool]:
        return lambda shown: routed is not None and routed.first(shown) == name

    calibration = calibrate(0, kinds=kinds)
    after = {
        name: calibrate(1 + index, small=cascade.small, given_to_small=given(name))
        for index, (name, cascade) in enumerate(cascades.items())
    }
    notes = {**program.notes, NOTE: calibration.to_notes()}
    if after:
        notes[NOTE_AFTER] = {str(one.small_program_sha256): one.to_notes() for one in after.values()}
    answers = found.path.with_suffix(_ANSWERS)
    if target != found.path and answers.is_file():
        write_file(target.with_suffix(_ANSWERS), answers.read_bytes(), force=True)
    save_program(target, replace(program, notes=notes))
    written = load_program(target)
    return {
        "model": found.id,
        "file": str(target),
        "file_sha256": written.file_sha256,
        "program_sha256": written.program_sha256(),
        "alpha": alpha,
        "delta": delta,
        "images": len(calibration.images),
        "classes": _rows(calibration),
        "after": {name: _rows(one) for name, one in after.items()},
    }


def _rows(calibration: Calibration) -> list[dict[str, Any]]:
    fields = {"name", "images", "pictures", "scale_64ths", "risk", "risk_upper"}
    return [one.model_dump(include=fields) for one in calibration.classes]


def _target(model: ModelFile, out: Path | None, *, force: bool) -> Path:
    """Where the calibrated model goes; settled before the work, which takes long."""
    if out is None:
        if model.shipped:
            raise UsageError(
                f"The model {model.id} belongs to the package and is not changed in its place.",
                hint="Name a file for the calibrated one with --out; restore models import installs it.",
            )
        return model.path
    if out.suffix != ".safetensors":
        raise UsageError(f"{out} is no name of a model file.", hint="End it with .safetensors.")
    check_place(out, force=force or out.resolve() == model.path.resolve())
    return out
