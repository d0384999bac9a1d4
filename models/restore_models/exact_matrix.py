"""The proof by trial of exactness: the same images through every setting that could change a float sum.

What a processor may do is capped by environment variables that libraries read once, so every setting runs in
a process of its own. Each run gives one digest over pixels, confidence map and estimates; an image for which
two runs differ is a failure. `docs/exactness.md` says what is claimed and what this does not cover.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from skimage import data

from restore_manifests.errors import ModelError
from restore_models.data import render_page
from restore_models.onnx_executor import OnnxRunner
from restore_models.program import Program, load_program
from restore_models.restorer import Executor, Integers, TorchRunner, restore_pixels
from restore_models.torch_executor import TorchExecutor
from restore_models.vectors import ReferenceRunner, vector_image
from restore_models.zoo import find_model

__all__ = [
    "CAPS",
    "Run",
    "Setting",
    "differences",
    "main",
    "matrix_images",
    "matrix_settings",
    "run_matrix",
]

CAPS: dict[str, dict[str, str]] = {
    "all": {},
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
    },
    "lowest": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "OPENBLAS_CORETYPE": "Nehalem",
    },
}
"""What each library is told to use at most; on other processors than x86 they have no effect."""

_REFERENCE_PIXELS = 140 * 140
"""The int64 reference takes images up to this size."""
_BATCH_PIXELS = 250 * 250
"""A batch, which is as many times the work, takes images up to this size."""


@dataclass(frozen=True)
class Setting:
    """One process. `tiles`: sides in pixels, 0 for the whole image at once. `batches`: images in one call."""

    executor: str
    caps: str = "all"
    threads: int = 1
    onednn: bool = True
    tiles: tuple[int, ...] = (0,)
    batches: tuple[int, ...] = (1,)


@dataclass(frozen=True)
class Run:
    """One image restored once."""

    setting: Setting
    tile: int
    batch: int
    image: str
    digest: str
    seconds: float
    capability: str
    """What PyTorch says that it uses; of the other executors the name."""


class _BatchRunner:
    """Runs each image as the last of a batch whose others are different images."""

    def __init__(self, program: Program, batch: int, *, exact: bool) -> None:
        self.program = program
        self._executor = TorchExecutor(program, exact=exact)
        self._batch = batch

    def integers(self, image: Integers) -> dict[str, Integers]:
        others = [np.roll(image, 7 * i, axis=2)[:, ::-1] for i in range(1, self._batch)]
        outputs = self._executor.run(torch.from_numpy(np.stack([*others, image]).astype(np.float32)))
        return {name: np.rint(t[-1].numpy()).astype(np.int32) for name, t in outputs.items()}


def _plate() -> NDArray[np.uint8]:
    """A number plate at a slant, small and noisy."""
    plate = Image.new("RGB", (160, 60), (60, 62, 66))
    draw = ImageDraw.Draw(plate)
    draw.polygon([(14, 16), (146, 8), (147, 42), (15, 52)], fill=(228, 226, 205))
    draw.text((26, 12), "RX 41 KLM", font=ImageFont.load_default(size=24), fill=(24, 26, 40))
    noise = np.random.default_rng(41).integers(-18, 19, (60, 160, 3))
    noisy: NDArray[np.uint8] = np.clip(np.asarray(plate, np.int64) + noise, 0, 255).astype(np.uint8)
    return noisy


def matrix_images(*, reduced: bool) -> dict[str, NDArray[Any]]:
    """At least twelve images by name: photograph, document, plate, grey, 16 bit, odd and extreme sizes.

    Made of what the package brings: no file is read but sample photographs of scikit-image. `reduced`: the
    same kinds, smaller.
    """
    rng = np.random.default_rng(3)
    sample: Any = data  # has no types
    side = 61 if reduced else 200
    half = side // 2
    images: dict[str, NDArray[Any]] = {
        "photo": sample.astronaut()[20 : 20 + 2 * side // 3, 150 : 150 + side],
        "photo, dark": sample.coffee()[100 : 100 + half, 200 : 200 + half],
        "photo, noisy": np.clip(
            sample.chelsea()[60 : 60 + half, 90 : 90 + half].astype(np.int64)
            + rng.integers(-60, 61, (half, half, 3)),
            0,
            255,
        ).astype(np.uint8),
        "document": render_page(np.random.default_rng(12), size=64 if reduced else 140),
        "plate": _plate()[:, : 64 if reduced else 160],
        "grey": sample.camera()[200 : 200 + half, 180 : 180 + half],
        "16 bit": vector_image(*(33, 50) if reduced else (131, 97), 3, 16),
        "16 bit grey": vector_image(*(50, 33) if reduced else (75, 140), 1, 16),
        "1x1": vector_image(1, 1, 3, 8),
        "wide": vector_image(1, 100 if reduced else 257, 1, 16),
        "tall": vector_image(*(130, 5) if reduced else (4001, 37), 3, 8),
        "black and white": (rng.integers(0, 2, (64, 64, 3)) * 255).astype(np.uint8),
        "noise": rng.integers(0, 65536, (63, 65, 3)).astype(np.uint16),
    }
    return {name: np.ascontiguousarray(image) for name, image in images.items()}


def matrix_settings(multiple: int, *, reduced: bool) -> list[Setting]:
    """The full grid, or a covering few: every value of every setting at least once.

    `multiple`: the program's, and so the smallest tile.
    """
    tiles = (2 * multiple, 256, 0)
    if reduced:
        return [
            Setting("torch", "all", 2, onednn=True, tiles=(256,), batches=(1, 4)),
            Setting("torch", "avx2", 1, onednn=False, tiles=(0,)),
            Setting("torch", "lowest", 2, onednn=False, tiles=(multiple,)),
            Setting("torch", "lowest", 1, onednn=True, tiles=(0,), batches=(4,)),
            Setting("onnx", threads=2, tiles=(multiple, 0)),
            Setting("reference"),
        ]
    torch_grid = [
        Setting("torch", caps, threads, onednn, tiles, (1, 4))
        for caps in CAPS
        for threads in (1, 2)
        for onednn in (True, False)
    ]
    onnx_grid = [Setting("onnx", threads=threads, tiles=tiles) for threads in (1, 2)]
    return [*torch_grid, *onnx_grid, Setting("reference")]


def run_matrix(
    model: Path, settings: Sequence[Setting], *, reduced: bool, exact: bool = True
) -> Iterable[list[Run]]:
    """Runs one process for each setting and yields its runs. `exact=False`: the float preview in place of the
    exact one, which is expected to differ and so shows that the matrix can fail.

    Raises:
        ModelError: if a process fails.
    """
    for setting in settings:
        order = {"model": str(model), "setting": asdict(setting), "reduced": reduced, "exact": exact}
        count = str(setting.threads)
        environment = {
            **{k: v for k, v in os.environ.items() if k not in CAPS["lowest"]},
            **CAPS[setting.caps],
            "OMP_WAIT_POLICY": "PASSIVE",  # waiting threads sleep: quicker where others compute too
            **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), count),
        }
        done = subprocess.run(  # noqa: S603 - this module again
            [sys.executable, "-m", "restore_models.exact_matrix", "--worker", json.dumps(order)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            last = (done.stderr.strip() or "it said nothing").splitlines()[-1]
            raise ModelError(
                f"The setting {_label(setting)} did not run (exit code {done.returncode}): {last}"
            )
        yield [Run(**{**values, "setting": setting}) for values in json.loads(done.stdout)]


def _work(order: dict[str, Any]) -> list[dict[str, Any]]:
    """What a process does: every image in every tile size and batch of one setting."""
    values = order["setting"]
    setting = Setting(**{**values, "tiles": tuple(values["tiles"]), "batches": tuple(values["batches"])})
    program = load_program(Path(order["model"]))
    images = matrix_images(reduced=order["reduced"])
    capability = torch.backends.cpu.get_cpu_capability() if setting.executor == "torch" else setting.executor
    runs = []
    torch.set_num_threads(setting.threads)
    switch = nullcontext() if setting.onednn else torch.backends.mkldnn.flags(enabled=False)
    with switch:
        for batch in setting.batches:
            executor = _executor(setting, program, batch, exact=order["exact"])
            most = _most_pixels(setting, batch)
            for tile in setting.tiles:
                for name, image in images.items():
                    if image.shape[0] * image.shape[1] > most:
                        continue
                    began = time.perf_counter()
                    digest = _digest(executor, image, tile)
                    run = Run(setting, tile, batch, name, digest, time.perf_counter() - began, capability)
                    runs.append(asdict(run))
    return runs


def _most_pixels(setting: Setting, batch: int) -> float:
    if setting.executor == "reference":
        return _REFERENCE_PIXELS
    return _BATCH_PIXELS if batch > 1 else math.inf


def _executor(setting: Setting, program: Program, batch: int, *, exact: bool) -> Executor:
    if setting.executor == "reference":
        return ReferenceRunner(program)
    if setting.executor == "onnx":
        return OnnxRunner(program, setting.threads)
    return TorchRunner(program, exact=exact) if batch == 1 else _BatchRunner(program, batch, exact=exact)


def _digest(executor: Executor, image: NDArray[Any], tile: int) -> str:
    restored = restore_pixels(executor, image, tile=tile or None)
    digest = hashlib.sha256(f"{restored.pixels.shape} {restored.pixels.dtype.name}\n".encode())
    digest.update(restored.pixels.astype(restored.pixels.dtype.newbyteorder(">")).tobytes())
    digest.update(restored.interval.tobytes())
    digest.update(json.dumps(restored.estimates, sort_keys=True).encode())
    return digest.hexdigest()


def differences(runs: Iterable[Run]) -> dict[str, list[str]]:
    """The digests of each image that has more than one, most frequent first."""
    found: dict[str, list[str]] = {}
    for run in runs:
        found.setdefault(run.image, []).append(run.digest)
    return {
        name: sorted(set(digests), key=lambda digest: (-digests.count(digest), digest))
        for name, digests in found.items()
        if len(set(digests)) > 1
    }


def _label(setting: Setting) -> str:
    parts = [setting.executor, setting.caps, f"{setting.threads} thread{'s' if setting.threads > 1 else ''}"]
    if setting.executor == "torch":
        parts.append("oneDNN on" if setting.onednn else "oneDNN off")
    return ", ".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 0 one digest for each image, 1 a difference."""
    parser = argparse.ArgumentParser(description="One digest for each image over every setting.")
    parser.add_argument("--reduced", action="store_true", help="small images and a covering few settings")
    parser.add_argument("--model", help="a model's id or file; the shipped one if not given")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--float", action="store_true", help="the preview, which is expected to differ")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        print(json.dumps(_work(json.loads(options.worker))))
        return 0
    path = find_model(options.model, Path("none")).path
    settings = matrix_settings(load_program(path).multiple, reduced=options.reduced)
    if options.float:
        settings = [s for s in settings if s.executor == "torch"]
    runs: list[Run] = []
    for found in run_matrix(path, settings, reduced=options.reduced, exact=not options.float):
        runs += found
        if not options.json:
            _progress(found, so_far="different" if differences(runs) else "same")
    return _report(runs, path, as_json=options.json)


def _progress(found: list[Run], *, so_far: str) -> None:
    seconds = sum(run.seconds for run in found)
    setting, capability = _label(found[0].setting), found[0].capability
    print(f"{setting:37}{capability:10}{len(found):4} runs{seconds:8.1f} s  {so_far}", flush=True)


def _report(runs: list[Run], path: Path, *, as_json: bool) -> int:
    differ = differences(runs)
    images = {run.image: run.digest for run in runs}
    if as_json:
        document = {
            "model": path.stem,
            "program_sha256": load_program(path).program_sha256(),
            "versions": {"torch": torch.__version__, "numpy": np.__version__},
            "runs": [asdict(run) for run in runs],
            "images": images,
            "different": differ,
        }
        print(json.dumps(document, indent=1))
    else:
        for name, digest in images.items():
            print(f"{name:16} {' '.join(d[:16] for d in differ.get(name, [digest]))}")
        each = "1 digest each" if not differ else f"{len(differ)} of them with more than one digest"
        print(f"{len(runs)} runs, {len(images)} images, {each}")
    return 1 if differ else 0


if __name__ == "__main__":
    raise SystemExit(main())
