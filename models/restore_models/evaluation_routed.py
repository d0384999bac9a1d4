"""What `restore run` does with an image, as a subject of measurement: routed, then restored."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore_models.cascade import Cascade
from restore_models.evaluation_protocol import ProgramSubject
from restore_models.program import made_for_scale
from restore_models.restorer import Executor
from restore_models.routing import AnyRule, EnlargingRule, look, shipped_rule

__all__ = ["EnlargingSubject", "RoutedSubject"]


class EnlargingSubject(ProgramSubject):
    """A program for enlarged images, with what restores those that are not clean before they are enlarged."""

    def __init__(self, executor: Executor, small: Mapping[str, Executor], rule: EnlargingRule) -> None:
        super().__init__(executor)
        self._small = small
        self._rule = rule
        factor = made_for_scale(executor.program) or 1
        self.cascades = {name: Cascade(executor, factor, one) for name, one in small.items()}
        """By the id of what restores first."""
        self._chosen: dict[tuple[tuple[int, ...], bytes], str | None] = {}

    @classmethod
    def of(cls, executor: Executor, open_executor: Callable[[str], Executor]) -> EnlargingSubject | None:
        """With the shipped models, opened by id; None for a program that is for no enlarged images."""
        rule = shipped_rule(made_for_scale(executor.program) or 1)
        if not isinstance(rule, EnlargingRule):
            return None
        return cls(executor, {name: open_executor(name) for name in rule.small.models()}, rule)

    def first(self, shown: NDArray[Any]) -> str | None:
        """The id of what restores this picture before it is enlarged, if anything does; looked for once."""
        key = shown.shape, hashlib.sha256(shown.tobytes()).digest()
        if key not in self._chosen:
            self._chosen[key] = self._rule.choose(look(self._rule, self._small, shown)).small
        return self._chosen[key]


class RoutedSubject:
    """Programs behind the `Subject` protocol, with a rule for each scale.

    A picture outside [0, 1] is judged by what an 8-bit file would keep of it, and restored as it is.
    """

    scale = 1

    def __init__(self, executors: Mapping[str, Executor], rules: Mapping[int, AnyRule]) -> None:
        self._executors = executors
        self._subjects = {name: ProgramSubject(executor) for name, executor in executors.items()}
        self._rules = rules
        self.chosen: Counter[str] = Counter()
        """How many pictures each model has restored, or each pair of models, one before enlarging."""

    def restore(self, pixels: NDArray[Any]) -> NDArray[Any]:
        return self.choose(pixels).restore(pixels)

    def enlarge(self, small: NDArray[Any], factor: int) -> NDArray[Any]:
        rule = self._rules[factor]
        choice = rule.choose(look(rule, self._executors, small))
        self.chosen[" then ".join(name for name in (choice.small, choice.model) if name)] += 1
        first = self._executors[choice.small] if choice.small else None
        return Cascade(self._executors[choice.model], factor, first).restore(small).pixels

    def restore_unclipped(self, image: NDArray[np.float64]) -> NDArray[np.float64]:
        levels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
        return self.choose(levels).restore_unclipped(image)

    def choose(self, pixels: NDArray[Any]) -> ProgramSubject:
        """What restores this picture."""
        name = self._rules[1].choose(look(self._rules[1], self._executors, pixels)).model
        self.chosen[name] += 1
        return self._subjects[name]

    def note(self) -> str:
        """One sentence on what was chosen how often."""
        parts = [f"{name} restored {count}" for name, count in sorted(self.chosen.items())]
        return f"Each picture by the model that its damage called for: {', '.join(parts)}."
