"""What must stay light: records are checked, and help is printed, without a deep-learning stack."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "skimage", "scipy", "cv2")

WALK = (
    "import importlib, pkgutil\n"
    "top = importlib.import_module({package!r})\n"
    "for found in pkgutil.walk_packages(top.__path__, top.__name__ + '.'):\n"
    "    importlib.import_module(found.name)\n"
)
BLOCK = (
    "import sys\n"
    "class Missing:\n"
    "    def find_spec(self, name, path=None, target=None):\n"
    "        if name.split('.')[0] in ('torch', 'restore_models'):\n"
    "            raise ModuleNotFoundError(name)\n"
    "sys.meta_path.insert(0, Missing())\n"
)


def loaded_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules, sep='\\n')"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    "module",
    [
        "restore_manifests",
        "restore_manifests.verifier",
        "restore_sdk",
        "restore_cli",
        "restore_cli.app",
        "restore_cli.__main__",
    ],
)
def test_light_modules_load_nothing_heavy(module: str) -> None:
    loaded = loaded_by(f"import {module}")
    assert module.split(".", maxsplit=1)[0] in loaded
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize(
    "module", ["restore_sdk.verification", "restore_sdk.audit_tree", "restore_sdk.restoration"]
)
def test_the_sdk_loads_torch_only_to_compute(module: str) -> None:
    assert "torch" not in loaded_by(f"import {module}")


def test_every_module_of_manifests_works_without_torch_installed() -> None:
    """A court's expert checks records without it: here it cannot be found at all."""
    loaded = loaded_by(BLOCK + WALK.format(package="restore_manifests"))
    assert "restore_manifests" in loaded
    assert not loaded & {"torch", "restore_models", "restore_sdk", "restore_cli"}


def test_every_command_can_be_listed_without_torch() -> None:
    code = BLOCK + "from restore_cli.__main__ import main\nassert main(['--help']) == 0\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "verify" in done.stdout
