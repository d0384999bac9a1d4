"""The executor of a model on this machine, tried before its results are called exact."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restore_manifests.errors import ModelError
from restore_sdk.devices import device_in_use
from restore_sdk.home import restore_home

if TYPE_CHECKING:
    from restore_models.program import Program
    from restore_models.restorer import Executor
    from restore_models.zoo import ModelFile

__all__ = ["make_executor"]


def make_executor(model: ModelFile, program: Program, *, exact: bool) -> Executor:
    """What runs `program`, for `restore` and for `verify` alike.

    An exact one has given the model's known answers here, now or before under the same circumstances; a
    model that came without answers is not tried, and runs on the processor only.

    Raises:
        UsageError: if RESTORE_DEVICE names no device that is there.
        ModelError: if an answer came out wrong: then neither may a result be called exact, nor may a record
            be blamed for what this machine computes.
    """
    from restore_models.restorer import TorchRunner  # noqa: PLC0415 -- keeps torch out of light commands
    from restore_models.standing import standing  # noqa: PLC0415

    device = device_in_use()
    executor = TorchRunner(program, device=device, exact=exact)
    answers = model.path.with_suffix(".vectors.json")
    if exact and device != "cpu" and not answers.is_file():
        raise ModelError(
            f"{model.id} came without known answers, so nothing made on {device} may be called exact.",
            hint="Keep its .vectors.json beside it, or unset RESTORE_DEVICE.",
        )
    if exact and answers.is_file():
        state = standing("torch", device, program, answers, restore_home() / "cache", executor=executor)
        if not state.ok:
            raise ModelError(
                f"This machine computes {model.id} otherwise than it should ({', '.join(state.failed)}), "
                "so nothing made here may be called exact.",
                hint="See restore selftest, or use --arithmetic float for a preview.",
            )
    return executor
