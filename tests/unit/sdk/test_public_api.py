"""What other programs import: complete, typed, light; and the example that shows how."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import restore_sdk
from restore_manifests.keys import Identity
from restore_manifests.pixels import encode_png
from restore_sdk.models import list_models

EXAMPLE = Path(__file__).resolve().parents[3] / "sdk" / "examples" / "case_management_job.py"


def _example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("case_management_job", EXAMPLE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_exports_are_sorted_complete_and_there() -> None:
    assert restore_sdk.__all__ == sorted(restore_sdk.__all__)
    assert set(restore_sdk.__all__) == set(restore_sdk._HOME) == set(dir(restore_sdk))
    for name in restore_sdk.__all__:
        assert getattr(restore_sdk, name).__name__ == name
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = restore_sdk.no_such_name


def test_no_module_hides_an_exported_function() -> None:
    """Importing a submodule sets an attribute of its name on the package."""
    folder = Path(restore_sdk.__file__).parent
    assert not {path.stem for path in folder.glob("*.py")} & set(restore_sdk.__all__)


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = {"torch", "numpy", "PIL", "cv2", "pydantic"}
    code = f"import sys, restore_sdk; print(*sorted({heavy} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == ""


def test_the_example_turns_a_bad_image_into_an_entry(tmp_path: Path, signer: Identity) -> None:
    case = tmp_path / "case"
    case.mkdir()
    (case / "notes.txt").write_text("not an image")
    (case / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    summary = _example().process_case(case, tmp_path / "out", identity=signer, trust=tmp_path / "root.pem")
    assert summary["verdict"] == "error"
    (entry,) = summary["images"]
    assert entry["source"].endswith("torn.jpg")
    assert entry["message"]


@pytest.mark.skipif(not any(model["shipped"] for model in list_models()), reason="no weights are shipped")
def test_the_example_restores_and_verifies_a_case(tmp_path: Path, signer: Identity) -> None:
    case = tmp_path / "case"
    case.mkdir()
    noisy = np.random.default_rng(3).integers(90, 160, (48, 64, 3), dtype=np.uint8)
    (case / "scene.png").write_bytes(encode_png(noisy))
    root = tmp_path / "root.pem"
    root.write_text(signer.root_pem or "", encoding="ascii")
    summary = _example().process_case(case, tmp_path / "out", identity=signer, trust=root)
    json.dumps(summary)
    assert summary["verdict"] == "pass", summary["images"][0]["open_checks"]
    assert (tmp_path / "out" / "scene.restored.png").is_file()
    assert (case / "scene.png").read_bytes() == encode_png(noisy)
