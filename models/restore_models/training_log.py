"""What a training run tells while it runs: `log.jsonl`, and curves for TensorBoard where asked for."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path
from typing import Any

from restore_manifests.errors import UsageError
from restore_models.whole_file import write_whole

__all__ = ["TrainingLog"]


class TrainingLog:
    """One line of `out`/log.jsonl for each checkpoint: step, seconds since this start, figures.

    With `curves` the same figures and the learning rate go to event files in that folder, for TensorBoard
    (extra `tensorboard`). What either holds beyond `step`, the step that this start goes on from, belongs to
    steps that are made again, and is dropped.

    Raises:
        UsageError: if curves are asked for and TensorBoard is not installed.
        StorageError: if the folder cannot be written.
    """

    def __init__(self, out: Path, step: int, curves: Path | None) -> None:
        self._path = out / "log.jsonl"
        self._started = time.monotonic()
        self._curves: Any = None
        if curves is not None:
            if importlib.util.find_spec("tensorboard") is None:
                raise UsageError(
                    "Curves need TensorBoard, which is not installed.",
                    hint="Install the extra with pip install 'forensic-restore[tensorboard]'.",
                )
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 -- an extra

            self._curves = SummaryWriter(str(curves), purge_step=step + 1)
        self._forget_after(step)

    def _forget_after(self, step: int) -> None:
        if not self._path.is_file():
            return
        lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if _step(line) <= step]
        if kept != lines:
            write_whole(self._path, "".join(kept).encode())

    def checkpoint(self, step: int, figures: dict[str, float]) -> None:
        """A line of the log."""
        line = json.dumps({"step": step, "seconds": round(time.monotonic() - self._started, 1), **figures})
        with self._path.open("a", encoding="utf-8", newline="\n") as log:
            log.write(line + "\n")

    def curve(self, step: int, figures: dict[str, float]) -> None:
        """A point of each curve, by the name of its figure."""
        if self._curves is not None:
            for name, value in figures.items():
                self._curves.add_scalar(name.replace("_", "/", 1), value, step)

    def close(self) -> None:
        """Everything told is in its file."""
        if self._curves is not None:
            self._curves.close()


def _step(line: str) -> float:
    """The step of a line; beyond all steps, if the line was cut off."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
