"""What `restore run` does with an image, as a subject of measurement: routed, then restored."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore_models.cascade import Cascade
from restore_models.compression_constraint import in_agreement
from restore_models.evaluation_protocol import ProgramSubject
from restore_models.program import made_for_scale
from restore_models.restorer import Executor, restore_pixels
from restore_models.routing import AnyRule, EnlargingRule, look, shipped_rule

__all__ = ["CascadeSubject", "RoutedSubject"]


class CascadeSubject(ProgramSubject):
    """A program with what restores a picture before it: what is to be enlarged and is not clean, or what is
    noisy and soft."""

    def __init__(self, executor: Executor, others: Mapping[str, Executor], rule: AnyRule) -> None:
        """`others` by id: for a program for enlarged images those that restore before enlarging, for the one
        that is `quiet` in the rule its `noisy`."""
        super().__init__(executor)
        self._lookers = others if isinstance(rule, EnlargingRule) else {**others, rule.quiet: executor}
        self._rule = rule
        factor = made_for_scale(executor.program) or 1
        self.cascades = {name: Cascade(executor, factor, one) for name, one in others.items()}
        """By the id of what restores first."""
        self._chosen: dict[tuple[tuple[int, ...], bytes], str | None] = {}

    @classmethod
    def of(cls, executor: Executor, open_executor: Callable[[str], Executor]) -> CascadeSubject | None:
        """With the shipped models, opened by id; None for a program before which nothing restores."""
        rule = shipped_rule(made_for_scale(executor.program) or 1)
        if isinstance(rule, EnlargingRule):
            return cls(executor, {name: open_executor(name) for name in rule.small.models()}, rule)
        if rule.soft_after is None or made_for_scale(executor.program) is not None:
            return None
        if open_executor(rule.quiet).program.program_sha256() != executor.program.program_sha256():
            return None
        return cls(executor, {rule.noisy: open_executor(rule.noisy)}, rule)

    def first(self, shown: NDArray[Any]) -> str | None:
        """The id of what restores this picture before the program, if anything does; looked for once."""
        key = shown.shape, hashlib.sha256(shown.tobytes()).digest()
        if key not in self._chosen:
            self._chosen[key] = self._rule.choose(look(self._rule, self._lookers, shown)).small
        return self._chosen[key]


class RoutedSubject:
    """Programs behind the `Subject` protocol, with a rule for each scale.

    A picture outside [0, 1] is judged by what an 8-bit file would keep of it, and restored as it is.
    """

    scale = 1

    def __init__(self, executors: Mapping[str, Executor], rules: Mapping[int, AnyRule]) -> None:
        self._executors = executors
        self._rules = rules
        self.chosen: Counter[str] = Counter()
        """How many pictures each model has restored, or each pair of models, one after the other."""

    def restore(self, pixels: NDArray[Any]) -> NDArray[Any]:
        cascade = self.cascade(pixels)
        restored = cascade.restore(pixels).pixels
        return restored if cascade.small is not None else in_agreement(pixels, restored)

    def enlarge(self, small: NDArray[Any], factor: int) -> NDArray[Any]:
        return self.cascade(small, factor).restore(small).pixels

    def restore_unclipped(self, image: NDArray[np.float64]) -> NDArray[np.float64]:
        cascade = self.cascade(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8))
        first = ProgramSubject(cascade.small or cascade.executor).restore_unclipped(image)
        if cascade.small is None:
            return first
        return restore_pixels(cascade.executor, first.astype(np.uint8)).pixels

    def cascade(self, pixels: NDArray[Any], factor: int = 1) -> Cascade:
        """What restores a picture that comes so and is to be enlarged by `factor`."""
        rule = self._rules[factor]
        choice = rule.choose(look(rule, self._executors, pixels))
        self.chosen[" then ".join(name for name in (choice.small, choice.model) if name)] += 1
        first = self._executors[choice.small] if choice.small else None
        return Cascade(self._executors[choice.model], factor, first)

    def note(self) -> str:
        """One sentence on what was chosen how often."""
        parts = [f"{name} restored {count}" for name, count in sorted(self.chosen.items())]
        return f"Each picture by the model that its damage called for: {', '.join(parts)}."
