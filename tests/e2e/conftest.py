"""One real bundle, made once: a rendered plate restored by the shipped network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from restore_manifests.keys import create_identity
from restore_manifests.pixels import encode_png


@dataclass(frozen=True)
class Bundle:
    """A folder with source and bundle, and the files that a verifier needs beside them."""

    folder: Path
    home: Path
    root: Path

    @property
    def result(self) -> Path:
        return self.folder / "plate.restored.png"

    @property
    def manifest(self) -> Path:
        return self.folder / "plate.manifest.json"

    @property
    def source(self) -> Path:
        return self.folder / "plate.png"


@pytest.fixture(scope="session")
def made_bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    from restore_sdk.restoration import restore  # noqa: PLC0415 -- imports torch only where it is needed
    from restore_sdk.sample import sample_picture  # noqa: PLC0415

    base = tmp_path_factory.mktemp("made")
    home, folder = base / "home", base / "bundle"
    folder.mkdir()
    _, degraded, _ = sample_picture("plate", 1)
    (folder / "plate.png").write_bytes(encode_png(degraded[:96, :128].copy()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESTORE_HOME", str(home))
        identity = create_identity(home, name="Test Laboratory", passphrase=None, unprotected=True)
        restore(folder / "plate.png", identity=identity)
    root = base / "root.pem"
    root.write_text(identity.root_pem or "")
    yield Bundle(folder, home, root)


@pytest.fixture
def bundle(made_bundle: Bundle, tmp_path: Path) -> Bundle:
    """A copy to damage."""
    folder = tmp_path / "bundle"
    shutil.copytree(made_bundle.folder, folder)
    return Bundle(folder, made_bundle.home, made_bundle.root)
