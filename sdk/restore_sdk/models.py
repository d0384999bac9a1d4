"""The models on this machine, as the command line lists and shows them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_sdk.home import restore_home

if TYPE_CHECKING:
    from restore_models.calibration import Calibration
    from restore_models.external import ExternalModel
    from restore_models.zoo import ModelFile

__all__ = ["import_model", "list_models", "models_folder", "show_model", "weights_sha256"]


def models_folder() -> Path:
    """Where imported models are kept."""
    return restore_home() / "models"


def list_models() -> list[dict[str, Any]]:
    """Every model: id, path, whether it is shipped or external (made by others), size in bytes."""
    from restore_models.zoo import DEFAULT_MODEL, known_external, known_models  # noqa: PLC0415

    folder = models_folder()
    return [
        {
            "id": model.id,
            "path": str(model.path),
            "shipped": model.shipped,
            "external": model.external,
            "default": model.id == DEFAULT_MODEL,
            "bytes": model.path.stat().st_size,
        }
        for model in (*known_models(folder), *known_external(folder))
    ]


def show_model(name: str | Path | None = None) -> dict[str, Any]:
    """What one model is: digests, instructions, calibration, licence, training record, and its card's text.

    Raises:
        ModelError: if there is none of that name or the file is damaged.
    """
    from restore_models.calibration import calibrations_after, read_calibration  # noqa: PLC0415
    from restore_models.program import Program  # noqa: PLC0415
    from restore_models.zoo import model_card, open_any  # noqa: PLC0415

    model, program = open_any(name, models_folder())
    if not isinstance(program, Program):
        return _show_external(model, program)
    return {
        "id": model.id,
        "path": str(model.path),
        "shipped": model.shipped,
        "file_sha256": program.file_sha256,
        "program_sha256": program.program_sha256(),
        "instructions": len(program.instructions),
        "parameters": int(sum(t.size for name, t in program.tensors.items() if name.endswith(".weight"))),
        "halo": program.halo,
        "views": program.views,
        "channel_orders": [list(order) for order in program.channel_orders],
        "calibration": _guarantee(read_calibration(program)),
        "calibration_after": {
            str(one.small_program_sha256): _guarantee(one) for one in calibrations_after(program)
        },
        "notes": program.notes,
        "card": model_card(model),
    }


def _guarantee(found: Calibration | None) -> str:
    """What the intervals of a confidence map guarantee, in a line."""
    from restore_models.calibration import SCALE_ONE  # noqa: PLC0415

    if found is None:
        return "none"
    scales = ", ".join(
        f"{one.name} {'none' if one.scale_64ths is None else f'{one.scale_64ths / SCALE_ONE:.2f}'}"
        for one in found.classes
    )
    return f"alpha {found.alpha:g}, delta {found.delta:g}, {len(found.images)} images; scale: {scales}"


def _show_external(model: ModelFile, external: ExternalModel) -> dict[str, Any]:
    return {
        "id": model.id,
        "path": str(model.path),
        "shipped": False,
        "file_sha256": external.file_sha256,
        "architecture": external.architecture,
        "purpose": external.purpose,
        "scale": external.scale,
        "parameters": external.parameters(),
        "tile": external.tiling.tile,
        "overlap": external.tiling.overlap,
        "tiling_discouraged": external.tiling_discouraged,
        "licence": external.licence,
        "arithmetic": "float",
    }


def import_model(path: Path, *, licence: str | None = None) -> dict[str, Any]:
    """Checks a model file and copies it into RESTORE_HOME/models.

    Args:
        path: a program made by restore, or a model made by others (extra `spandrel`).
        licence: of a model made by others, an SPDX expression; None: what its file says, if anything.

    Raises:
        UsageError: if a licence is given for a program of restore, which states its own.
        ModelError: if it is missing, damaged, its certificate does not hold, or no architecture fits it.
    """
    from restore_models.zoo import import_model as take  # noqa: PLC0415

    return show_model(take(path, models_folder(), licence=licence).id)


def weights_sha256(name: str) -> str | None:
    """SHA-256 of the file of an installed model, without loading it; None if there is none."""
    import hashlib  # noqa: PLC0415

    from restore_models.zoo import known_external, known_models  # noqa: PLC0415

    folder = models_folder()
    for model in (*known_models(folder), *known_external(folder)):
        if model.id == name:
            return hashlib.sha256(model.path.read_bytes()).hexdigest()
    return None
