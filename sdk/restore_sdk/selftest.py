"""`selftest`: does this machine compute what the reference computed?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from restore_sdk.devices import device_in_use
from restore_sdk.models import models_folder

__all__ = ["selftest"]


def selftest(*, model: str | Path | None = None) -> dict[str, Any]:
    """Runs the known-answer vectors of a model on this machine.

    Args:
        model: id of an installed model or a model file; None: every model that `restore run` chooses among.

    Returns:
        `verdict` (pass or fail), `device`, `model` (ids) and `vectors`, each with its name, verdict, expected
        and found SHA-256. A verdict of fail means that results made here must not be called exact.

    Raises:
        UsageError: if RESTORE_DEVICE names no device that is there.
        ModelError: for a model or vectors that are missing or damaged.
    """
    import torch  # noqa: PLC0415 -- keeps torch out of light commands

    from restore_models.routing import routed_models  # noqa: PLC0415

    device = device_in_use()
    kind = torch.backends.cpu.get_cpu_capability() if device == "cpu" else torch.cuda.get_device_name(device)
    names = routed_models() if model is None else [model]
    answers = {str(name): _answers(name, device) for name in names}
    rows = [row for found in answers.values() for row in found]
    return {
        "verdict": "pass" if all(row["verdict"] == "pass" for row in rows) else "fail",
        "device": f"{device}, {kind}, PyTorch {torch.__version__}",
        "model": ", ".join(answers),
        "vectors": rows,
    }


def _answers(model: str | Path, device: str) -> list[dict[str, str]]:
    from restore_models.restorer import TorchRunner  # noqa: PLC0415 -- keeps torch out of light commands
    from restore_models.vectors import load_vectors, run_vector  # noqa: PLC0415
    from restore_models.zoo import open_model  # noqa: PLC0415

    found, program = open_model(model, models_folder())
    executor = TorchRunner(program, device=device)
    rows = []
    for vector in load_vectors(found.path.with_suffix(".vectors.json"), program):
        digest = run_vector(executor, vector)
        size = f"{vector.width}x{vector.height}, {vector.channels} channels, {vector.bits} bits"
        rows.append(
            {
                "name": f"{found.id}: {size}",
                "verdict": "pass" if digest == vector.sha256 else "fail",
                "expected": vector.sha256,
                "found": digest,
            }
        )
    return rows
