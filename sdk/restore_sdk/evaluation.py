"""`evaluate`: a suite of restore_models.evaluation with an installed model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from restore_manifests.errors import UsageError
from restore_sdk.models import models_folder

__all__ = ["evaluate"]


def evaluate(
    suite: str,
    *,
    images: Path,
    model: str | Path | None = None,
    arithmetic: str = "exact",
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Runs one suite over a folder of clean images.

    Returns:
        `suite`, `model`, `arithmetic` and `rows`: dataset, setting, psnr (dB), ssim, the same of the input,
        and the number of images.

    Raises:
        UsageError: for an unknown suite or arithmetic, or a folder without images.
        ModelError: for a model that is missing or damaged.
    """
    if arithmetic not in ("exact", "float"):
        raise UsageError(f"There is no arithmetic {arithmetic!r}.", hint="Use exact or float.")
    from restore_models.evaluation import evaluate_suite  # noqa: PLC0415 -- keeps torch out of light commands
    from restore_models.restorer import TorchRunner  # noqa: PLC0415
    from restore_models.zoo import open_model  # noqa: PLC0415

    found, program = open_model(model, models_folder())
    executor = TorchRunner(program, exact=arithmetic == "exact")
    rows = evaluate_suite(suite, images, executor, progress)
    return {
        "suite": suite,
        "model": found.id,
        "arithmetic": arithmetic,
        "rows": [row.to_json() for row in rows],
    }
