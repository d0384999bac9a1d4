"""Values that are made when they are asked for."""

from __future__ import annotations

import pytest

from restore_sdk.on_demand import OnDemand


def test_each_value_is_made_once_and_only_when_asked_for() -> None:
    made: list[str] = []

    def make(name: str) -> str:
        made.append(name)
        return name.upper()

    values = OnDemand(["one", "two", "one", "three"], make)
    assert (list(values), len(values), made) == (["one", "two", "three"], 3, [])
    assert (values["two"], values["two"], values["one"]) == ("TWO", "TWO", "ONE")
    assert made == ["two", "one"]
    with pytest.raises(KeyError):
        values["four"]
    assert "three" in values
    assert "four" not in values
    assert made == ["two", "one"]


def test_what_cannot_be_made_fails_where_it_is_asked_for() -> None:
    def make(name: str) -> int:
        raise ValueError(name)

    values = OnDemand(["one"], make)
    for _ in range(2):
        with pytest.raises(ValueError, match="one"):
            values["one"]
