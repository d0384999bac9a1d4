"""Whether this machine may call its results exact: the known answers, tried before the first exact run.

An executor that gives a wrong answer is refused the label; what it gave is in nobody's record. A pass is
remembered for the device, the versions and the settings under which it was found.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from restore_manifests.errors import UsageError
from restore_models.onnx_executor import OnnxRunner
from restore_models.program import Program
from restore_models.restorer import Executor, TorchRunner
from restore_models.vectors import ReferenceRunner, load_vectors, run_vector

__all__ = ["Standing", "make_executor", "standing"]

_FORMAT = "restore.standing/1"
_SWITCHES = ("ATEN_CPU_CAPABILITY", "DNNL_", "MKL_", "NVIDIA_TF32_OVERRIDE", "ONEDNN_", "OPENBLAS_")
"""Environment variables, by their beginning, that change which arithmetic the libraries choose."""
_CPU_FACTS = ("CPU implementer", "CPU part", "Features", "flags", "model name")


@dataclass(frozen=True)
class Standing:
    """`failed`: the vectors, as height x width x channels x bits, that came out wrong."""

    ok: bool
    failed: list[str]


def make_executor(name: str, device: str, program: Program) -> Executor:
    """The executor `torch`, `onnx` or `reference` of a program; only `torch` knows devices beside `cpu`.

    Raises:
        UsageError: if there is no such executor.
        ModelError: if a package it needs is missing.
    """
    match name:
        case "torch":
            return TorchRunner(program, device=device)
        case "onnx" if device == "cpu":
            return OnnxRunner(program)
        case "reference" if device == "cpu":
            return ReferenceRunner(program)
    raise UsageError(
        f"There is no executor {name!r} for the device {device!r}.",
        hint="Use torch, or onnx or reference on the cpu.",
    )


def standing(
    executor_name: str,
    device: str,
    program: Program,
    vectors_path: Path,
    cache_dir: Path,
    *,
    executor: Executor | None = None,
) -> Standing:
    """Tries the known answers of a program, unless they passed here before under the same circumstances.

    Circumstances are the device, its capability, the versions, the environment's and PyTorch's arithmetic
    settings, the program and its answers. Only a pass is remembered, so that a repair is noticed at once.
    A cache that is damaged or cannot be written is as good as none.

    Args:
        executor_name: see `make_executor`.
        device: as PyTorch names it.
        program: what is run.
        vectors_path: its known answers, see `vectors`.
        cache_dir: made if it does not exist.
        executor: the very executor that will be used, if it exists already; else one is made where needed.

    Raises:
        ModelError: if the answers are missing, damaged or another program's, or a package is missing.
    """
    vectors = load_vectors(vectors_path, program)
    facts = _circumstances(executor_name, device, program, vectors_path)
    text = json.dumps(facts, sort_keys=True, indent=1) + "\n"
    path = cache_dir / f"standing-{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
    if _remembered(path, text):
        return Standing(True, [])
    runner = executor or make_executor(executor_name, device, program)
    failed = [
        f"{v.height}x{v.width}x{v.channels}x{v.bits}" for v in vectors if run_vector(runner, v) != v.sha256
    ]
    if not failed:
        _remember(path, text)
    return Standing(not failed, failed)


def _circumstances(executor: str, device: str, program: Program, vectors_path: Path) -> dict[str, Any]:
    """Whatever may change a sum, and what is summed."""
    backends: Any = torch.backends  # its settings have no types
    packages = {"torch": ("torch",), "onnx": ("onnxruntime", "onnx"), "reference": ("numpy",)}
    return {
        "format": _FORMAT,
        "executor": executor,
        "device": _device_name(device),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "versions": {name: _version(name) for name in ("forensic-restore", *packages.get(executor, ()))},
        "program_sha256": program.program_sha256(),
        "vectors_sha256": hashlib.sha256(vectors_path.read_bytes()).hexdigest(),
        "environment": {k: v for k, v in sorted(os.environ.items()) if k.startswith(_SWITCHES)},
        "torch": {
            "mkldnn": backends.mkldnn.enabled,
            "products": [
                part.fp32_precision
                for part in (
                    backends.mkldnn.conv,
                    backends.mkldnn.matmul,
                    backends.cudnn.conv,
                    backends.cuda.matmul,
                )
            ],
        },
    }


def _device_name(device: str) -> str:
    """The model of the device; under Linux also what the processor can do, which a name does not tell."""
    if device.startswith("cuda"):
        return f"{device}: {torch.cuda.get_device_name(device)}"
    name = f"{device}: {platform.machine()} {platform.processor()}"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return name
    known = {key: value for key, _, value in (line.partition(":") for line in reversed(lines))}
    said = [value.strip() for key, value in sorted(known.items()) if key.strip() in _CPU_FACTS]
    return f"{name}: {hashlib.sha256(repr(said).encode()).hexdigest()[:16]}"


def _version(package: str) -> str:
    return torch.__version__ if package == "torch" else version(package)


def _remembered(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except (OSError, ValueError):
        return False


def _remember(path: Path, text: str) -> None:
    """Whole or not at all; a cache that cannot be written costs a second at the next run, no more."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".partial")
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        Path(name).replace(path)
    except OSError:
        return
