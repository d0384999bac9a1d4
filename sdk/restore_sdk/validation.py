"""The laboratory's validation of this installation: known inputs, expected answers, controls.

Four groups of tests: published examples of the standards that a record rests on; the decoders on the kit's
pictures; the model's known answers; and one whole walk of a picture, which has to verify, while each of a
set of alterations of it has to be found. The walk happens in a process and a home folder of its own: the
laboratory's log and keys are not touched.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_manifests.canonical import sha256_hex
from restore_manifests.errors import ModelError, RestoreError, StorageError
from restore_manifests.validation import KnownAnswer, SheetBody
from restore_sdk.single_file import check_place, write_file
from restore_sdk.validation_standards import standards

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["Progress", "validate", "write_inputs"]

Progress = Callable[[str, float], None]
"""Called with what is being done and the share that is done, 0 to 1."""

_PACKAGES = (
    "c2pa-python",
    "cryptography",
    "numpy",
    "opencv-python-headless",
    "pillow",
    "rfc3161-client",
    "rfc8785",
    "scikit-image",
    "tifffile",
    "torch",
)


def validate(*, model: str | Path | None = None, progress: Progress | None = None) -> SheetBody:
    """Run all tests on this machine; the unsigned body of a result sheet.

    A test that cannot be made is `unable` with the reason in `found`. Raises ModelError for a model or known
    answers that are missing or damaged.
    """
    say = progress or (lambda _text, _share: None)
    say("standards", 0.0)
    tests = list(standards())
    say("decoders", 0.1)
    tests += _decoders()
    say("known answers of the model", 0.2)
    described, answers = _model(model)
    tests += answers
    say("a whole walk, and alterations of it", 0.5)
    tests += _walk(model)
    say("done", 1.0)
    return SheetBody(
        created=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        tool_version=version("forensic-restore"),
        machine={
            "system": platform.platform(),
            "processor": platform.machine(),
            "python": platform.python_version(),
            "device": described.pop("device"),
        },
        packages={name: _version(name) for name in _PACKAGES},
        model=described,
        tests=tests,
    )


def write_inputs(folder: Path, *, force: bool = False) -> list[Path]:
    """Write the kit's pictures, and their hashes as kit.json, into a folder, made if it is not there.

    Raises UsageError if one is there and not `force`, StorageError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be made: {error.strerror or error}.", hint="Name another folder."
        ) from error
    places = {folder / entry.name: entry.read_bytes() for entry in _kit()}
    for path in places:
        check_place(path, force=force)
    for path, data in places.items():
        write_file(path, data, force=force)
    return list(places)


def _decoders() -> Iterator[KnownAnswer]:
    from restore_sdk.evidence import decode_evidence  # noqa: PLC0415

    kit = {entry.name: entry.read_bytes() for entry in _kit()}
    for known in json.loads(kit["kit.json"])["inputs"]:
        name, data = known["file"], kit[known["file"]]
        try:
            evidence = decode_evidence(data, name)
            found = evidence.pixels_sha256
            about = f"{name} decoded by {evidence.decoder.name} {evidence.decoder.version}, upright samples"
        except RestoreError as error:
            found, about = error.message, name
        yield _answer(
            f"decoder.{name.replace('.', '-')}", about, known["pixels_sha256"], found, sha256_hex(data)
        )


def _model(model: str | Path | None) -> tuple[dict[str, str], list[KnownAnswer]]:
    from restore_sdk.models import show_model  # noqa: PLC0415
    from restore_sdk.selftest import selftest  # noqa: PLC0415

    found = selftest(model=model)
    shown = show_model(model)
    described = {name: str(shown[name]) for name in ("id", "file_sha256", "program_sha256")}
    answers = [
        _answer(f"model.{number}", f"{row['name']}, exact", row["expected"], row["found"])
        for number, row in enumerate(found["vectors"])
    ]
    return {**described, "device": str(found["device"])}, answers


def _walk(model: str | Path | None) -> list[KnownAnswer]:
    with tempfile.TemporaryDirectory(prefix="restore-selftest-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        with ProcessPoolExecutor(1, get_context("spawn"), _isolate, (str(home / "home"),)) as pool:
            try:
                rows = pool.submit(_walk_here, home, None if model is None else str(model)).result()
            except BrokenProcessPool:
                rows = [("walk", "One picture restored and verified", "pass", "the process was killed")]
            except RestoreError as error:
                rows = [("walk", "One picture restored and verified", "pass", error.message)]
    return [_answer(*row) for row in rows]


def _isolate(home: str) -> None:
    """In the process of the walk, before anything asks where the home folder is."""
    os.environ["RESTORE_HOME"] = home
    os.environ["RESTORE_OFFLINE"] = "1"


def _walk_here(folder: Path, model: str | None) -> list[tuple[str, str, str, str]]:
    from restore_sdk.validation_walk import controls  # noqa: PLC0415

    return controls(folder, next(e.read_bytes() for e in _kit() if e.name == "colour-8.png"), model)


def _kit() -> Sequence[Traversable]:
    found = sorted((files("restore_sdk") / "kit").iterdir(), key=lambda entry: entry.name)
    kit = [entry for entry in found if entry.is_file() and not entry.name.startswith((".", "_"))]
    if not kit:
        raise ModelError("The pictures of the validation kit are missing.", hint="Reinstall restore.")
    return kit


def _answer(name: str, about: str, expected: str, found: str, input_sha256: str | None = None) -> KnownAnswer:
    verdict: Any = "pass" if expected == found else "fail"
    return KnownAnswer(
        id=name,
        about=about[:1000],
        input_sha256=input_sha256,
        expected=expected,
        found=found[:1000],
        verdict=verdict,
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
