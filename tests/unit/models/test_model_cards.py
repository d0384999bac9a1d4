"""The cards beside the shipped weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from restore_models.routing import routed_models
from restore_models.zoo import known_models

SHIPPED = [model for model in known_models(Path("none")) if model.path.with_suffix(".md").is_file()]


@pytest.mark.skipif(not SHIPPED, reason="no weights are shipped")
def test_a_card_says_whether_its_model_is_still_chosen(load_benchmark: Callable[[str], ModuleType]) -> None:
    kept = load_benchmark("model_card").KEPT
    says = {
        model.id: kept in model.path.with_suffix(".md").read_text(encoding="utf-8").split("## What it is")[0]
        for model in SHIPPED
    }
    assert says == {name: name not in routed_models() for name in says}
    assert set(routed_models()) <= says.keys()
