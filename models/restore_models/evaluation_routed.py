"""What `restore run` does with an image, as a subject of measurement: routed, then restored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore_models.evaluation_protocol import ProgramSubject
from restore_models.restorer import Executor
from restore_models.routing import Rule, seen_in_sample

__all__ = ["RoutedSubject"]


class RoutedSubject:
    """Programs behind the `Subject` protocol, with a rule for each scale; the noisy one is the router.

    A picture outside [0, 1] is judged by what an 8-bit file would keep of it, and restored as it is.
    """

    scale = 1

    def __init__(self, executors: Mapping[str, Executor], rules: Mapping[int, Rule]) -> None:
        self._router = executors[rules[1].noisy]
        self._subjects = {name: ProgramSubject(executor) for name, executor in executors.items()}
        self._rules = rules
        self.chosen: Counter[str] = Counter()
        """How many pictures each model has restored."""

    def restore(self, pixels: NDArray[Any]) -> NDArray[Any]:
        return self.choose(pixels).restore(pixels)

    def enlarge(self, small: NDArray[Any], factor: int) -> NDArray[Any]:
        return self.choose(small, factor).enlarge(small, factor)

    def restore_unclipped(self, image: NDArray[np.float64]) -> NDArray[np.float64]:
        levels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
        return self.choose(levels).restore_unclipped(image)

    def choose(self, pixels: NDArray[Any], scale: int = 1) -> ProgramSubject:
        """What restores this picture, enlarged `scale` times."""
        name = self._rules[scale].choose(seen_in_sample(self._router, pixels))
        self.chosen[name] += 1
        return self._subjects[name]

    def note(self) -> str:
        """One sentence on what was chosen how often."""
        parts = [f"{name} restored {count}" for name, count in sorted(self.chosen.items())]
        return f"Each picture by the model that its damage called for: {', '.join(parts)}."
