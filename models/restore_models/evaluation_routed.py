"""What `restore run` does with an image, as a subject of measurement: routed, then restored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore_models.evaluation_protocol import ProgramSubject
from restore_models.restorer import Executor
from restore_models.routing import Rule, noise_in_sample

__all__ = ["RoutedSubject"]


class RoutedSubject:
    """Several programs behind the `Subject` protocol; the rule's noisy one is the router.

    A picture outside [0, 1] is judged by what an 8-bit file would keep of it, and restored as it is.
    """

    scale = 1

    def __init__(self, executors: Mapping[str, Executor], rule: Rule) -> None:
        self._router = executors[rule.noisy]
        self._subjects = {name: ProgramSubject(executor) for name, executor in executors.items()}
        self._rule = rule
        self.chosen: Counter[str] = Counter()
        """How many pictures each model has restored."""

    def restore(self, pixels: NDArray[Any]) -> NDArray[Any]:
        return self.choose(pixels).restore(pixels)

    def restore_unclipped(self, image: NDArray[np.float64]) -> NDArray[np.float64]:
        levels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
        return self.choose(levels).restore_unclipped(image)

    def choose(self, pixels: NDArray[Any]) -> ProgramSubject:
        """What restores this picture."""
        name = self._rule.choose(noise_in_sample(self._router, pixels))
        self.chosen[name] += 1
        return self._subjects[name]

    def note(self) -> str:
        """One sentence on what was chosen how often."""
        parts = [f"{name} restored {count}" for name, count in sorted(self.chosen.items())]
        return f"Each picture by the model that its noise called for: {', '.join(parts)}."
