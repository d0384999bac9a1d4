"""The layout of the house: who imports whom, what is public, how long a module is, what no file may say."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "restore_cli": ROOT / "restore_cli" / "restore_cli",
    "restore_sdk": ROOT / "sdk" / "restore_sdk",
    "restore_models": ROOT / "models" / "restore_models",
    "restore_manifests": ROOT / "manifests" / "restore_manifests",
}
MODULES = sorted(path for folder in PACKAGES.values() for path in folder.rglob("*.py"))
MAX_LINES = 400

# Written in two halves, so that this file does not hold them itself.
FORBIDDEN = [
    "TO" + "DO",
    "FIX" + "ME",
    "X" + "XX",
    "pypi" + ".org",
    "python" + "hosted.org",
    "download.py" + "torch.org",
    "anaconda" + ".org",
    "NotImplemented" + "Error",
]
TEXT = {".py", ".md", ".toml", ".txt", ".j2", ".json", ".yml", ".yaml", ""}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def project_files() -> list[Path]:
    """What git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def test_import_contracts() -> None:
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_typed(package: str) -> None:
    assert (PACKAGES[package] / "py.typed").is_file()
    assert (PACKAGES[package] / "__init__.py").is_file()


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_module_is_short_and_says_what_is_public(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) <= MAX_LINES
    assert ast.get_docstring(tree), "a module says in its docstring what it is about"

    public = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not any("app." in ast.unparse(decorator) for decorator in node.decorator_list)  # a command
    }
    exported = next(
        (
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign)
            and any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)
        ),
        None,
    )
    if exported is None:
        assert not public, f"without __all__: {sorted(public)}"
        return
    assert exported == sorted(exported, key=_order)
    assert len(exported) == len(set(exported))
    assert public <= set(exported), f"public, but not in __all__: {sorted(public - set(exported))}"


def _order(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest: the order that the linter keeps."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("package", PACKAGES)
def test_exported_names_exist(package: str) -> None:
    code = (
        "import importlib, pkgutil, sys\n"
        f"top = importlib.import_module({package!r})\n"
        "names = [top.__name__] + [m.name for m in pkgutil.walk_packages(top.__path__, top.__name__ + '.')]\n"
        "for name in names:\n"
        "    module = importlib.import_module(name)\n"
        "    missing = [n for n in getattr(module, '__all__', []) if not hasattr(module, n)]\n"
        "    assert not missing, (name, missing)\n"
        "print(len(names))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == sum(1 for path in MODULES if PACKAGES[package] in path.parents)


def test_no_file_says_what_it_must_not() -> None:
    found = [
        f"{relative(path)}:{number}: {word}"
        for path in project_files()
        if path.suffix in TEXT and path.name != "LICENSE"
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        for word in FORBIDDEN
        if word in line and not (word == "X" + "XX" and "X" * 4 in line)
    ]
    assert not found


def test_relative_links_lead_somewhere() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "build.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
