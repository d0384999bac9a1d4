"""The models on this machine, as the command line lists and shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from restore_sdk.home import restore_home

__all__ = ["import_model", "list_models", "models_folder", "show_model", "weights_sha256"]


def models_folder() -> Path:
    """Where imported models are kept."""
    return restore_home() / "models"


def list_models() -> list[dict[str, Any]]:
    """Every model: id, path, whether it is shipped, size in bytes."""
    from restore_models.zoo import DEFAULT_MODEL, known_models  # noqa: PLC0415

    return [
        {
            "id": model.id,
            "path": str(model.path),
            "shipped": model.shipped,
            "default": model.id == DEFAULT_MODEL,
            "bytes": model.path.stat().st_size,
        }
        for model in known_models(models_folder())
    ]


def show_model(name: str | Path | None = None) -> dict[str, Any]:
    """What one model is: digests, instructions, licence, training record, and its card's text.

    Raises:
        ModelError: if there is none of that name or the file is damaged.
    """
    from restore_models.zoo import model_card, open_model  # noqa: PLC0415

    model, program = open_model(name, models_folder())
    return {
        "id": model.id,
        "path": str(model.path),
        "shipped": model.shipped,
        "file_sha256": program.file_sha256,
        "program_sha256": program.program_sha256(),
        "instructions": len(program.instructions),
        "parameters": int(sum(t.size for name, t in program.tensors.items() if name.endswith(".weight"))),
        "halo": program.halo,
        "notes": program.notes,
        "card": model_card(model),
    }


def import_model(path: Path) -> dict[str, Any]:
    """Checks a model file and copies it into RESTORE_HOME/models.

    Raises:
        ModelError: if it is missing, damaged, or its certificate does not hold.
    """
    from restore_models.zoo import import_model as take  # noqa: PLC0415

    return show_model(take(path, models_folder()).id)


def weights_sha256(name: str) -> str | None:
    """SHA-256 of the file of an installed model, without loading it; None if there is none."""
    import hashlib  # noqa: PLC0415

    from restore_models.zoo import known_models  # noqa: PLC0415

    for model in known_models(models_folder()):
        if model.id == name:
            return hashlib.sha256(model.path.read_bytes()).hexdigest()
    return None
