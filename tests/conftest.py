"""What every test shares: a private home folder and the optional measuring data."""

from __future__ import annotations

from pathlib import Path

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


@pytest.fixture
def shared_data() -> Path:
    """The measuring data that developers keep beside the project; absent on a user's machine."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the measuring data beside the project (../shared/data), which is not shipped")
    return SHARED_DATA
