"""On which device networks run: the processor, or what RESTORE_DEVICE names.

An exact result is the same on each, so the record does not name it; what matters is that the device has
given the model's known answers (`executors`).
"""

from __future__ import annotations

import os
import re

from restore_manifests.errors import UsageError

__all__ = ["DEVICE_VARIABLE", "device_in_use"]

DEVICE_VARIABLE = "RESTORE_DEVICE"


def device_in_use() -> str:
    """`cpu`, or the CUDA device that the environment names: `cuda` or `cuda:1`.

    Raises:
        UsageError: for another name, or where PyTorch finds no such device.
    """
    name = os.environ.get(DEVICE_VARIABLE, "").strip() or "cpu"
    if name == "cpu":
        return name
    if not re.fullmatch(r"cuda(:\d{1,3})?", name):
        raise UsageError(
            f"{DEVICE_VARIABLE} is {name!r}, which is no device that restore runs on.",
            hint="Set it to cpu, cuda or cuda:N.",
        )
    import torch  # noqa: PLC0415 -- keeps torch out of light commands

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(name.partition(":")[2] or 0) >= count:
        raise UsageError(
            f"{DEVICE_VARIABLE} is {name!r}, but PyTorch finds {count} CUDA devices here.",
            hint="Unset it to use the processor.",
        )
    return name
