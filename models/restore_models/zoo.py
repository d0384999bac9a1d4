"""Which models there are: those shipped inside the package and those a user has imported.

A user's models are programs made by restore, in the folder of models, or external models (`external`), in its
folder `external`, each beside a note of its licence.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_manifests.errors import ModelError, UsageError
from restore_models.calibration import read_calibration
from restore_models.program import Program, load_program, parse_program
from restore_models.whole_file import write_whole

if TYPE_CHECKING:
    from restore_models.external import ExternalModel

__all__ = [
    "DEFAULT_MODEL",
    "ENLARGING_MODELS",
    "EXTERNAL_SUFFIXES",
    "GREY_JPEG_MODEL",
    "GREY_MODEL",
    "NOISE_MODEL",
    "QUIET_MODEL",
    "SMALL_GREY_JPEG_MODEL",
    "SMALL_GREY_MODEL",
    "SMALL_NOISE_MODEL",
    "SMALL_STRONG_NOISE_MODEL",
    "STRONG_NOISE_MODEL",
    "ModelFile",
    "find_model",
    "import_model",
    "known_external",
    "known_models",
    "model_card",
    "open_any",
    "open_external",
    "open_model",
]

DEFAULT_MODEL = "blind-fine-1"
"""For every kind of damage."""
QUIET_MODEL = "quiet-fine-3"
"""For images without noise: compressed, reduced, soft; see `routing`."""
NOISE_MODEL = "noise-fine-7"
"""For noise and nothing else, in colour."""
SMALL_NOISE_MODEL: str | None = "noise-fine-8"
"""The same in eight views, half of them with red and blue exchanged, for images that are not large."""
STRONG_NOISE_MODEL: str | None = "noise-large-1"
"""For strong noise and nothing else, in colour: three times the multiply-adds of `NOISE_MODEL`."""
SMALL_STRONG_NOISE_MODEL: str | None = "noise-large-2"
"""The same in eight views as `SMALL_NOISE_MODEL`, for images that are not large."""
GREY_MODEL: str | None = "grey-fine-1"
"""For grey images, whatever their damage."""
SMALL_GREY_MODEL: str | None = "grey-fine-2"
"""The same in eight views, for images that are not large."""
GREY_JPEG_MODEL: str | None = "grey-jpeg-3"
"""For grey images that were compressed, and have little noise."""
SMALL_GREY_JPEG_MODEL: str | None = "grey-jpeg-4"
"""The same in eight views, for images that are not large."""
ENLARGING_MODELS = {2: "enlarge2-2", 4: "enlarge4-4"}
"""By scale, for images without noise that `restore run --scale` has enlarged."""
EXTERNAL_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")
"""What files of external models may end in; pickles are read as tensors only."""
_SUFFIX = ".safetensors"
_SHIPPED = Path(__file__).parent / "weights"
_EXTERNAL = "external"
_LICENCE_SUFFIX = ".licence.json"


@dataclass(frozen=True)
class ModelFile:
    """A model file by its id, which is its name without the suffix."""

    id: str
    path: Path
    shipped: bool
    external: bool = False


def known_models(folder: Path) -> list[ModelFile]:
    """The shipped models, then those in `folder`; a user's file never hides a shipped one."""
    shipped = [ModelFile(p.stem, p, True) for p in sorted(_SHIPPED.glob("*" + _SUFFIX))]
    taken = {model.id for model in shipped}
    own = [ModelFile(p.stem, p, False) for p in sorted(folder.glob("*" + _SUFFIX)) if p.stem not in taken]
    return shipped + own


def find_model(name: str | Path | None, folder: Path) -> ModelFile:
    """The model of an id, or a file; None: the shipped default.

    Raises:
        ModelError: if there is none.
    """
    wanted = DEFAULT_MODEL if name is None else str(name)
    for model in known_models(folder):
        if model.id == wanted:
            return model
    path = Path(wanted)
    if path.suffix == _SUFFIX and path.is_file():
        return ModelFile(path.stem, path, False)
    raise ModelError(
        f"There is no model {wanted!r} on this machine.",
        hint="See restore models list, or name a .safetensors file made by restore.",
    )


def open_model(name: str | Path | None, folder: Path) -> tuple[ModelFile, Program]:
    """Finds, reads and checks a model."""
    found = find_model(name, folder)
    return found, load_program(found.path)


def known_external(folder: Path) -> list[ModelFile]:
    """The external models that a user has imported."""
    paths = sorted((folder / _EXTERNAL).glob("*"))
    return [
        ModelFile(path.stem, path, False, True) for path in paths if path.suffix.lower() in EXTERNAL_SUFFIXES
    ]


def open_any(name: str | Path | None, folder: Path) -> tuple[ModelFile, Program | ExternalModel]:
    """Finds, reads and checks a model of either kind, by id or file; None: the shipped default.

    Raises:
        ModelError: if there is none, it is damaged, or it is external and spandrel is missing.
    """
    wanted = DEFAULT_MODEL if name is None else str(name)
    if any(model.id == wanted for model in known_models(folder)):
        return open_model(wanted, folder)
    for model in known_external(folder):
        if model.id == wanted:
            return model, open_external(model)
    path = Path(wanted)
    if path.suffix.lower() in EXTERNAL_SUFFIXES and path.is_file() and not _holds_program(path):
        found = ModelFile(path.stem, path, False, True)
        return found, open_external(found)
    return open_model(name, folder)


def open_external(model: ModelFile) -> ExternalModel:
    """Reads an external model, with the licence noted beside it.

    Raises:
        ModelError: if it cannot be read, no architecture fits it, or spandrel is missing.
    """
    from restore_models.external import load_external  # noqa: PLC0415 -- only where one is used

    return load_external(_read(model.path), model.path.name, licence=_noted_licence(model.path))


def import_model(path: Path, folder: Path, *, licence: str | None = None) -> ModelFile:
    """Copies a model file into `folder` after checking it: a program, with its known answers if they lie
    beside it, or an external model, with `licence` noted beside it.

    Raises:
        UsageError: if a licence is given for a program.
        ModelError: if it cannot be read, is damaged, its certificate does not hold, or no architecture that
            spandrel knows fits it.
        StorageError: if the folder cannot be written.
    """
    data = _read(path)
    external = path.suffix.lower() in EXTERNAL_SUFFIXES and not _holds_program(path)
    taken = {model.id for model in (*known_models(folder), *known_external(folder))}
    if path.stem in taken:
        raise ModelError(
            f"A model called {path.stem!r} is already installed.", hint="Rename the file and import it again."
        )
    if external:
        return _import_external(path, data, folder / _EXTERNAL, licence)
    if licence is not None:
        raise UsageError(
            f"{path.name} is a program of restore, which states its licence itself.",
            hint="Import it without --licence.",
        )
    read_calibration(parse_program(data, path.name))  # refused here, not at the first image
    target = folder / (path.stem + _SUFFIX)
    answers = path.with_suffix(".vectors.json")
    if answers.is_file():
        write_whole(target.with_suffix(".vectors.json"), answers.read_bytes())
    write_whole(target, data)
    return ModelFile(path.stem, target, False)


def _import_external(path: Path, data: bytes, folder: Path, licence: str | None) -> ModelFile:
    from restore_models.external import load_external  # noqa: PLC0415 -- only where one is used

    model = load_external(data, path.name, licence=licence)
    target = folder / (path.stem + path.suffix.lower())
    note = {"licence": model.licence, "architecture": model.architecture, "file_sha256": model.file_sha256}
    write_whole(target.with_suffix(_LICENCE_SUFFIX), (json.dumps(note, indent=2) + "\n").encode())
    write_whole(target, data)
    return ModelFile(path.stem, target, False, True)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise ModelError(f"The model file {path} cannot be read: {problem.strerror}.") from problem


def _holds_program(path: Path) -> bool:
    """Whether a safetensors file says that it is a program of restore; damaged ones go to its reader."""
    if path.suffix.lower() != _SUFFIX:
        return False
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header: Any = json.loads(stream.read(min(length, 100_000_000)))
        return "program" in header.get("__metadata__", {})
    except (OSError, ValueError, AttributeError):
        return True


def _noted_licence(path: Path) -> str | None:
    try:
        noted = json.loads(path.with_suffix(_LICENCE_SUFFIX).read_text(encoding="utf-8"))
        return str(noted["licence"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def model_card(model: ModelFile) -> str:
    """The text of the card beside a model file; empty if there is none."""
    card = model.path.with_suffix(".md")
    return card.read_text(encoding="utf-8") if card.is_file() else ""
