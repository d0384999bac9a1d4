"""A mapping whose values are made when they are first asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

__all__ = ["OnDemand"]

_Value = TypeVar("_Value")


class OnDemand(Mapping[str, _Value]):
    """For each of `names` what `make` gives, made once, whichever thread asks; errors of `make` come out
    where a value is asked for."""

    def __init__(self, names: Iterable[str], make: Callable[[str], _Value]) -> None:
        self._names = tuple(dict.fromkeys(names))
        self._make = make
        self._made: dict[str, _Value] = {}
        self._making = threading.RLock()

    def __getitem__(self, name: str) -> _Value:
        if name not in self._names:
            raise KeyError(name)
        with self._making:
            if name not in self._made:
                self._made[name] = self._make(name)
            return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
