"""The model of one call of `restore`, of either kind, with what the plan and the record need of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from restore_manifests.schema import Degradation, Finding, Label, ModelUse, Request, Step
from restore_sdk.estimates import describe
from restore_sdk.executors import make_executor
from restore_sdk.external_step import EXTERNAL_DOUBT, external_use, make_external_plan
from restore_sdk.models import models_folder
from restore_sdk.plan import make_plan

if TYPE_CHECKING:
    from restore_models.external import ExternalModel
    from restore_models.program import Program
    from restore_models.restorer import Executor

__all__ = ["STATEMENT", "ExternalInUse", "ModelInUse", "ProgramInUse", "open_in_use"]

STATEMENT = (
    "Enhanced image: pixels were estimated by a neural network. Not for identification on its own; "
    "compare it with the original, the edit map and the confidence map."
)
_EXTERNAL_STATEMENT = (
    "Enhanced image: pixels were estimated by a neural network made by others, which may have added what was "
    "not there. Not for identification on its own; compare it with the original and the edit map."
)
_LABEL = Label(digital_source_type="algorithmicallyEnhanced", statement=STATEMENT)
_EXTERNAL_LABEL = Label(
    digital_source_type="compositeWithTrainedAlgorithmicMedia", statement=_EXTERNAL_STATEMENT
)


@dataclass(frozen=True)
class ProgramInUse:
    """An integer program and what runs it here."""

    id: str
    program: Program
    executor: Executor
    doubts: tuple[str, ...] = ()
    label: Label = _LABEL

    def settle(self, request: Request) -> Request:
        """The request as it can be carried out."""
        return request

    def plan(self, request: Request) -> list[Step]:
        """The steps for one image."""
        return make_plan(
            scale=request.scale,
            model_id=self.id,
            program_sha256=self.program.program_sha256(),
            arithmetic=request.arithmetic,
        )

    def runner(self) -> Executor:
        """What `plan.execute` wants for the restoring step."""
        return self.executor

    def use(self, request: Request) -> ModelUse:
        """What the record says of it."""
        standing: Literal["exact", "tolerance"] = "exact" if request.arithmetic == "exact" else "tolerance"
        return ModelUse(
            id=self.id,
            file_sha256=self.program.file_sha256,
            program_sha256=self.program.program_sha256(),
            licence=str(self.program.notes.get("licence", "not stated")),
            arithmetic=standing,
        )

    def degradation(self, estimates: dict[str, int]) -> dict[str, Degradation]:
        """The estimates in units that people use."""
        return describe(estimates, self.program.notes)

    def remarks(self, request: Request, _height: int, _width: int) -> list[Finding]:
        """What the record has to say of how the image was computed."""
        if request.arithmetic == "exact":
            return []
        message = (
            "Preview in floating point: another machine may differ in the last place; do not hand it over."
        )
        return [_warning(message)]


@dataclass(frozen=True)
class ExternalInUse:
    """A model made by others; it may have been trained to invent, so its results get the stronger label."""

    id: str
    model: ExternalModel
    doubts: tuple[str, ...] = (EXTERNAL_DOUBT,)
    """Why the tool abstains whatever the image."""
    label: Label = _EXTERNAL_LABEL

    def settle(self, request: Request) -> Request:
        """With the only arithmetic that there is for such a model."""
        return request.model_copy(update={"arithmetic": "float"})

    def plan(self, request: Request) -> list[Step]:
        """The steps for one image. Raises UsageError for a scale that the model does not give."""
        return make_external_plan(self.id, self.model, request.scale)

    def runner(self) -> ExternalModel:
        """What `plan.execute` wants for the restoring step."""
        return self.model

    def use(self, _request: Request) -> ModelUse:
        """What the record says of it."""
        return external_use(self.id, self.model)

    def degradation(self, _estimates: dict[str, int]) -> dict[str, Degradation]:
        """Nothing: the model does not say what was wrong with the image."""
        return {}

    def remarks(self, _request: Request, height: int, width: int) -> list[Finding]:
        """What the record has to say of how the image was computed."""
        model = self.model
        found = [
            _warning(
                f"Made by the external model {self.id} ({model.architecture}, licence {model.licence}) in "
                "floating point: another machine may differ in the last places."
            )
        ]
        tile = model.tiling.tile
        if model.tiling_discouraged and max(height, width) > tile:
            found.append(
                _warning(
                    f"The image was cut into tiles of {tile} pixels, which the architecture "
                    f"{model.architecture} does not take well: look for seams."
                )
            )
        return found


def _warning(message: str) -> Finding:
    return Finding(checker="arithmetic", severity="warning", message=message, details={})


ModelInUse = ProgramInUse | ExternalInUse


def open_in_use(name: str | Path | None, *, exact: bool) -> ModelInUse:
    """Opens a model by id or file (None: the shipped one), tried here if it is to be exact.

    Raises:
        ModelError: if it is missing, damaged, or its known answers come out wrong.
    """
    from restore_models.program import Program  # noqa: PLC0415 -- keeps torch out of light commands
    from restore_models.zoo import open_any  # noqa: PLC0415

    found, model = open_any(name, models_folder())
    if isinstance(model, Program):
        return ProgramInUse(found.id, model, make_executor(found, model, exact=exact))
    return ExternalInUse(found.id, model)
