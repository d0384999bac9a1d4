"""The step that an external model makes: how it is planned, run, and described in the record.

Nothing of it is exact, nothing is known of the model's domain, and it says neither estimates nor intervals:
the record says so instead of leaving it open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from restore_manifests.errors import ManifestError, ModelError, UndecidableError, UsageError
from restore_manifests.schema import Body, ModelUse, Step

if TYPE_CHECKING:
    from restore_models.external import ExternalModel

__all__ = [
    "EXTERNAL_DOUBT",
    "OPERATION",
    "external_use",
    "make_external_plan",
    "recorded_external",
    "run_external",
]

OPERATION = "restore_external"
EXTERNAL_DOUBT = (
    "the model is an external one: what it was trained on, how it errs and where it fails are not known here"
)


def make_external_plan(model_id: str, model: ExternalModel, scale: int) -> list[Step]:
    """The steps for one image. A model that enlarges does so whatever `scale` is, unless they contradict.

    Raises:
        UsageError: if a scale was asked for that the model does not give.
    """
    steps = []
    if model.scale == 1 and scale != 1:
        steps.append(Step(operation="enlarge", parameters={"factor": scale, "kernel": "bicubic, a = -0.75"}))
    elif scale not in (1, model.scale):
        raise UsageError(
            f"The model {model_id} enlarges {model.scale} times, not {scale}.",
            hint=f"Leave --scale out, or use --scale {model.scale}.",
        )
    parameters: dict[str, Any] = {
        "model": model_id,
        "file_sha256": model.file_sha256,
        "architecture": model.architecture,
        "factor": model.scale,
        "tile": model.tiling.tile,
        "overlap": model.tiling.overlap,
        "arithmetic": "float",
    }
    return [*steps, Step(operation=OPERATION, parameters=parameters)]


def external_use(model_id: str, model: ExternalModel) -> ModelUse:
    """What the record says of the model."""
    return ModelUse(
        id=model_id,
        file_sha256=model.file_sha256,
        program_sha256=None,
        licence=model.licence,
        arithmetic="tolerance",
    )


def run_external(
    step: Step,
    model: ExternalModel,
    pixels: NDArray[Any],
    progress: Callable[[float], None] | None,
) -> NDArray[Any]:
    """Runs one step on uint8 or uint16 pixels, (height, width[, 3]).

    Raises:
        ManifestError: if the step asks for what no plan of restore says.
        ModelError: if the network cannot take the image.
    """
    from restore_models.external import Tiling  # noqa: PLC0415 -- keeps torch out of light commands

    tile, overlap, factor = (step.parameters.get(name) for name in ("tile", "overlap", "factor"))
    if type(tile) is not int or type(overlap) is not int or factor != model.scale:
        raise ManifestError(
            "The plan runs an external model in a way that this version does not know.",
            hint="Use the version of restore that the manifest names.",
        )
    return model.restore(pixels, Tiling(tile, overlap), progress)


def recorded_external(step: Step, body: Body) -> ExternalModel:
    """The installed external model that a recorded step names: the very file, never one named by a path.

    Raises:
        ModelError: if no such model is installed or spandrel is missing.
        UndecidableError: if the installed model of that name is another file.
        ManifestError: if the record calls it exact, which restore never does.
    """
    from restore_models.zoo import known_external, open_external  # noqa: PLC0415
    from restore_sdk.models import models_folder  # noqa: PLC0415

    name = step.parameters.get("model")
    uses = [use for use in body.models if use.id == name]
    if any(use.arithmetic != "tolerance" for use in uses) or step.parameters.get("arithmetic") != "float":
        raise ManifestError("The record calls an external model exact, which restore never does.")
    found = next((model for model in known_external(models_folder()) if uses and model.id == name), None)
    if found is None:
        raise ModelError(
            f"The external model {str(name)[:200]!r} is not installed on this machine.",
            hint="Import the file that the manifest names by its hash: restore models import FILE.",
        )
    model = open_external(found)
    if model.file_sha256 != step.parameters.get("file_sha256"):
        raise UndecidableError(
            f"The external model {found.id!r} installed here is another file than the one recorded.",
            hint="Import the file whose hash the manifest names.",
        )
    return model
