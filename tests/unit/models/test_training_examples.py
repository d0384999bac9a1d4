"""The example configurations load, go together, and stand in the table of the documentation."""

from __future__ import annotations

from pathlib import Path

import pytest

from restore_models.architecture import PRESETS
from restore_models.training_config import TrainingConfig, load_config

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "models" / "training" / "examples").glob("*.toml"))
FORMER = sorted((ROOT / "models" / "training").glob("*.toml"))


@pytest.mark.parametrize("path", [*EXAMPLES, *FORMER], ids=lambda path: path.stem)
def test_example_loads_and_goes_together(path: Path) -> None:
    config = load_config(path)
    assert config.preset in PRESETS
    processes = 8 if path.stem.startswith("eight") else 1
    assert config.batch % (config.accumulate * processes) == 0
    assert config != TrainingConfig()


def test_documentation_names_every_example() -> None:
    said = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    assert len(EXAMPLES) >= 5
    for path in EXAMPLES:
        assert f"`{path.name}`" in said
