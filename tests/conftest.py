"""What every test shares: a private home folder and the optional measuring data."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def restore_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keys, log and cache of one test only, offline."""
    home = tmp_path / "restore-home"
    monkeypatch.setenv("RESTORE_HOME", str(home))
    monkeypatch.setenv("RESTORE_OFFLINE", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    return home


@pytest.fixture(scope="session")
def load_benchmark() -> Callable[[str], ModuleType]:
    """Gives a script of `benchmarks/` as a module, by its name: they are in no package."""

    def load(name: str) -> ModuleType:
        place = Path(__file__).parents[1] / "benchmarks" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, place)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def shared_data() -> Path:
    """The measuring data that developers keep beside the project; absent on a user's machine."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the measuring data beside the project (../shared/data), which is not shipped")
    return SHARED_DATA
