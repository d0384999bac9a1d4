"""Timestamp authorities made with `openssl ts` and served on this machine; records to be stamped."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))  # helpers of several groups of tests lie there

from timestamp_authorities import Authority, make_authority, served


@pytest.fixture(scope="session")
def authority_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl program, which makes the timestamp authority of these tests")
    return tmp_path_factory.mktemp("authorities")


@pytest.fixture(scope="session")
def authority(authority_folder: Path) -> Iterator[Authority]:
    yield from served(make_authority(authority_folder / "first", "First-TSA"))


@pytest.fixture(scope="session")
def second_authority(authority_folder: Path) -> Iterator[Authority]:
    yield from served(make_authority(authority_folder / "second", "Second-TSA"))


@pytest.fixture(scope="session")
def build_authority(authority_folder: Path) -> Callable[..., Authority]:
    """Make an authority that is not served."""

    def make(name: str) -> Authority:
        return make_authority(authority_folder / f"again-{name}", name)

    return make


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """This test may ask the authority on 127.0.0.1."""
    monkeypatch.delenv("RESTORE_OFFLINE")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
