"""Which models there are: those shipped inside the package and those a user has imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from restore_manifests.errors import ModelError
from restore_models.program import Program, load_program, parse_program
from restore_models.whole_file import write_whole

__all__ = [
    "DEFAULT_MODEL",
    "ModelFile",
    "find_model",
    "import_model",
    "known_models",
    "model_card",
    "open_model",
]

DEFAULT_MODEL = "blind-small-1"
_SUFFIX = ".safetensors"
_SHIPPED = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class ModelFile:
    """A model file by its id, which is its name without the suffix."""

    id: str
    path: Path
    shipped: bool


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


def import_model(path: Path, folder: Path) -> ModelFile:
    """Copies a model file, with its known answers if they lie beside it, into `folder` after checking it.

    Raises:
        ModelError: if it cannot be read, is damaged, or its certificate does not hold.
        StorageError: if the folder cannot be written.
    """
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise ModelError(f"The model file {path} cannot be read: {problem.strerror}.") from problem
    parse_program(data, path.name)
    if any(model.id == path.stem for model in known_models(folder)):
        raise ModelError(
            f"A model called {path.stem!r} is already installed.", hint="Rename the file and import it again."
        )
    target = folder / (path.stem + _SUFFIX)
    answers = path.with_suffix(".vectors.json")
    if answers.is_file():
        write_whole(target.with_suffix(".vectors.json"), answers.read_bytes())
    write_whole(target, data)
    return ModelFile(path.stem, target, False)


def model_card(model: ModelFile) -> str:
    """The text of the card beside a model file; empty if there is none."""
    card = model.path.with_suffix(".md")
    return card.read_text(encoding="utf-8") if card.is_file() else ""
