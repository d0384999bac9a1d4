"""The models of one call of `restore`, of either kind, with what the plan and the record need of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from restore_manifests.errors import UsageError
from restore_manifests.schema import Degradation, Finding, Label, ModelUse, Request, Step
from restore_sdk.confidence import calibration_sha256
from restore_sdk.estimates import describe, notes_of
from restore_sdk.executors import make_executor
from restore_sdk.external_step import EXTERNAL_DOUBT, external_use, make_external_plan
from restore_sdk.labels import EXTERNAL_LABEL, label_of, training_doubts
from restore_sdk.models import models_folder
from restore_sdk.on_demand import OnDemand
from restore_sdk.plan import make_plan
from restore_sdk.route_step import RESTORE_SMALL, ROUTE, make_route_step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from restore_models.external import ExternalModel
    from restore_models.program import Program
    from restore_models.restorer import Executor
    from restore_models.routing import AnyRule, Seen
    from restore_models.zoo import ModelFile

__all__ = ["ExternalInUse", "ModelInUse", "ProgramInUse", "Routed", "RoutedInUse", "open_in_use"]


@dataclass(frozen=True)
class ProgramInUse:
    """An integer program and what runs it here."""

    id: str
    program: Program
    executor: Executor
    doubts: tuple[str, ...] = ()
    label: Label = field(kw_only=True)
    routed: Routed | None = None
    """How this model was chosen for the image; None: it was named."""
    small: ProgramInUse | None = None
    """What restores the image before it is enlarged, or before this one does, if anything does."""

    @property
    def seen(self) -> Seen | None:
        """What the routing step found, if there was one."""
        return self.routed.seen if self.routed else None

    def settle(self, request: Request) -> Request:
        """The request as it can be carried out."""
        return request

    def plan(self, request: Request) -> list[Step]:
        """The steps for one image. Raises UsageError for a scale that the model is not for."""
        from restore_models.program import made_for_scale  # noqa: PLC0415 -- keeps models out of light commands

        if (made_for := made_for_scale(self.program)) not in (None, request.scale):
            raise UsageError(
                f"The model {self.id} is for images enlarged {made_for} times.",
                hint=f"Use --scale {made_for}, or another model.",
            )
        steps = make_plan(
            scale=request.scale,
            model_id=self.id,
            program_sha256=self.program.program_sha256(),
            arithmetic=request.arithmetic,
            views=self.program.views,
            calibration_sha256=self._calibration(request),
            small=(self.small.id, self.small.program.program_sha256()) if self.small else None,
        )
        return [self.routed.step(request), *steps] if self.routed else steps

    def _calibration(self, request: Request) -> str | None:
        """The digest of what scales the intervals; a preview's are not calibrated: another machine would find
        others."""
        if request.arithmetic != "exact":
            return None
        return calibration_sha256(self.program, self.small.program if self.small else None)

    def for_image(self, pixels: NDArray[Any]) -> ProgramInUse:
        """The model for one image: this one. Raises UsageError for colour if it is for grey images."""
        from restore_models.restorer import refuse_colour  # noqa: PLC0415 -- keeps models out of light commands

        refuse_colour(self.program, pixels, f"The model {self.id}")
        return self

    def runner(self, step: Step) -> Executor:
        """What `plan.execute` wants for a step."""
        if self.routed and step.operation == ROUTE:
            return self.routed.router.executor
        return self.small.executor if self.small and step.operation == RESTORE_SMALL else self.executor

    def uses(self, request: Request) -> list[ModelUse]:
        """What the record says of all models that took part, each once."""
        looked = [self.routed.router, self.routed.softness] if self.routed else []
        once = {model.id: model for model in (self, self.small, *looked) if model is not None}
        return [model._use(request) for model in once.values()]

    def _use(self, request: Request) -> ModelUse:
        standing: Literal["exact", "tolerance"] = "exact" if request.arithmetic == "exact" else "tolerance"
        return ModelUse(
            id=self.id,
            file_sha256=self.program.file_sha256,
            program_sha256=self.program.program_sha256(),
            licence=str(self.program.notes.get("licence", "not stated")),
            arithmetic=standing,
        )

    def degradation(self, estimates: dict[str, int]) -> dict[str, Degradation]:
        """The estimates in units that people use, with the errors of the program that made them."""
        return describe(estimates, notes_of([one.program for one in (self.small, self) if one is not None]))

    def remarks(self, request: Request, _height: int, _width: int) -> list[Finding]:
        """What the record has to say of how the image was computed."""
        if request.arithmetic == "exact":
            return []
        message = (
            "Preview in floating point: another machine may differ in the last place; do not hand it over."
        )
        return [_warning(message)]


@dataclass(frozen=True)
class Routed:
    """How a model was chosen: by what `router` saw in a sample of the image, and by `rule`."""

    router: ProgramInUse
    rule: AnyRule
    seen: Seen
    softness: ProgramInUse | None = None
    """What saw how soft the image is, if that was asked."""

    def step(self, request: Request) -> Step:
        """The routing step of the plan."""
        return make_route_step(
            router=self.router.id,
            program_sha256=self.router.program.program_sha256(),
            arithmetic=request.arithmetic,
            rule=self.rule,
            seen=self.seen,
            soft_program_sha256=self.softness.program.program_sha256() if self.softness else None,
        )


@dataclass(frozen=True)
class RoutedInUse:
    """Several programs, of which each image gets those that `rule` chooses by what its router sees."""

    programs: Mapping[str, ProgramInUse]
    """All that `rule` chooses among, by id."""
    rule: AnyRule

    def settle(self, request: Request) -> Request:
        """The request as it can be carried out."""
        return request

    def for_image(self, pixels: NDArray[Any]) -> ProgramInUse:
        """The model for one image, uint8 or uint16 (height, width[, 3])."""
        from restore_models.routing import look  # noqa: PLC0415 -- torch stays out of light commands

        executors = OnDemand(self.programs, lambda name: self.programs[name].executor)
        seen = look(self.rule, executors, pixels)
        choice = self.rule.choose(seen)
        chosen = self.programs[choice.model]
        small = self.programs[choice.small] if choice.small else None
        asked = self.rule.softness if self.rule.goes_by_softness(seen) else None
        softness = self.programs[asked] if asked else None
        routed = Routed(self.programs[self.rule.router], self.rule, seen, softness)
        if small is None:
            return replace(chosen, routed=routed)
        doubts = tuple(dict.fromkeys((*small.doubts, *chosen.doubts)))
        label = label_of(small.program, chosen.program)
        return replace(chosen, routed=routed, small=small, doubts=doubts, label=label)


@dataclass(frozen=True)
class ExternalInUse:
    """A model made by others; it may have been trained to invent, so its results get the stronger label."""

    id: str
    model: ExternalModel
    doubts: tuple[str, ...] = (EXTERNAL_DOUBT,)
    """Why the tool abstains whatever the image."""
    label: Label = EXTERNAL_LABEL
    seen: None = None
    """No routing step."""

    def settle(self, request: Request) -> Request:
        """With the only arithmetic that there is for such a model."""
        return request.model_copy(update={"arithmetic": "float"})

    def plan(self, request: Request) -> list[Step]:
        """The steps for one image. Raises UsageError for a scale that the model does not give."""
        return make_external_plan(self.id, self.model, request.scale)

    def for_image(self, _pixels: NDArray[Any]) -> ExternalInUse:
        """The model for one image: this one."""
        return self

    def runner(self, _step: Step) -> ExternalModel:
        """What `plan.execute` wants for a step."""
        return self.model

    def uses(self, _request: Request) -> list[ModelUse]:
        """What the record says of it."""
        return [external_use(self.id, self.model)]

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


def open_in_use(
    name: str | Path | None, *, exact: bool, route: bool = False, scale: int = 1
) -> ModelInUse | RoutedInUse:
    """Opens a model by id or file, tried here if it is to be exact; None: the shipped one, or, with `route`,
    all shipped ones that the rule for this scale chooses among, each when an image needs it.

    Raises:
        ModelError: if it is missing, damaged, or its known answers come out wrong.
    """
    from restore_models.program import Program  # noqa: PLC0415 -- keeps torch out of light commands
    from restore_models.zoo import open_any  # noqa: PLC0415

    if name is None and route:
        from restore_models.routing import shipped_rule  # noqa: PLC0415

        rule = shipped_rule(scale)
        return RoutedInUse(OnDemand(rule.models(), partial(_open_program, exact=exact)), rule)
    found, model = open_any(name, models_folder())
    if isinstance(model, Program):
        return _in_use(found, model, exact=exact)
    return ExternalInUse(found.id, model)


def _open_program(name: str, *, exact: bool) -> ProgramInUse:
    from restore_models.zoo import open_model  # noqa: PLC0415 -- as above

    return _in_use(*open_model(name, models_folder()), exact=exact)


def _in_use(found: ModelFile, program: Program, *, exact: bool) -> ProgramInUse:
    executor = make_executor(found, program, exact=exact)
    doubts = tuple(training_doubts(program))
    return ProgramInUse(found.id, program, executor, doubts, label=label_of(program))
