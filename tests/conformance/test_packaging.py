"""What is installed is what was declared: dependencies, hashes, the wheel, and the one test command."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = [ROOT / folder for folder in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]
LOCK = (ROOT / "requirements.txt").read_text(encoding="utf-8")


def declared(*extras: str) -> list[Requirement]:
    lines = list(PROJECT["project"]["dependencies"])
    for extra in extras:
        lines += PROJECT["project"]["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


def locked() -> list[tuple[Requirement, list[str]]]:
    """Each pinned release with its hashes."""
    entries = re.split(r"\n(?=[A-Za-z0-9])", "\n".join(x for x in LOCK.splitlines() if x.strip()[:1] != "#"))
    found = []
    for entry in entries:
        head, *rest = entry.replace("\\\n", "\n").splitlines()
        found.append((Requirement(head.strip()), [line.strip() for line in rest]))
    return found


def test_every_locked_release_is_pinned_and_hashed() -> None:
    entries = locked()
    assert len(entries) > 50
    for requirement, hashes in entries:
        assert [spec.operator for spec in requirement.specifier] == ["=="], requirement
        assert requirement.url is None
        assert hashes, f"{requirement} has no hash"
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", line) for line in hashes), requirement


def test_the_lock_names_no_host() -> None:
    assert "://" not in LOCK
    assert not re.search(r"--(extra-)?index|--find-links|--trusted", LOCK)


@pytest.mark.parametrize("requirement", declared("dev"), ids=lambda requirement: requirement.name)
def test_the_lock_satisfies_what_is_declared(requirement: Requirement) -> None:
    name = canonicalize_name(requirement.name)
    versions = [
        Version(next(iter(found.specifier)).version)
        for found, _ in locked()
        if canonicalize_name(found.name) == name
    ]
    assert versions, f"{name} is not locked: make lock"
    for version in versions:
        assert version in requirement.specifier


def test_every_import_is_declared() -> None:
    """A library that arrives only because another one wants it can go away with the other."""
    own = {folder.name for folder in PACKAGES}
    distributions = packages_distributions()
    extras = PROJECT["project"]["optional-dependencies"].keys() - {"dev"}
    wanted = {canonicalize_name(requirement.name) for requirement in declared(*extras)}
    missing = {}
    for folder in PACKAGES:
        for path in folder.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names = [node.module]
                for top in {name.split(".")[0] for name in names} - own - set(sys.stdlib_module_names):
                    from_ = {canonicalize_name(name) for name in distributions.get(top, [top])}
                    if not from_ & wanted:
                        missing[top] = path.name
    assert not missing


def test_the_wheel_holds_all_of_the_packages(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = next(name.split("/")[0] for name in names if ".dist-info/" in name)
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
    expected = {
        path.relative_to(folder.parent).as_posix()
        for folder in PACKAGES
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".partial"
    }
    assert expected <= names
    for needed in (
        "restore_manifests/manifest.schema.json",
        "restore_sdk/templates/audit_report.html.j2",
        "restore_models/weights/blind-small-1.safetensors",  # records of the last version name it
        "restore_models/weights/blind-small-2.safetensors",
        "restore_models/weights/blind-small-2.vectors.json",
        "restore_models/weights/blind-small-2.md",
    ):
        assert needed in names
    assert {name.split("/")[0] for name in names} == {folder.name for folder in PACKAGES} | {info}
    assert f"{info}/licenses/LICENSE" in names
    assert "restore = restore_cli.__main__:main" in entry_points


def test_the_licence_is_the_declared_one() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert text.lstrip().startswith("Apache License")
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_readme_makefile_and_ci_run_the_same_tests() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (command,) = set(re.findall(r"^(?:\$ )?(python -m pytest.*)$", readme, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (in_make,) = re.findall(r"^\t\$\(BIN\)/(python -m pytest.*)$", makefile, re.MULTILINE)
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    lines = ci.splitlines()
    assert in_make == command
    assert lines[-1] == command
    assert "set -euo pipefail" in lines
    before = lines[: lines.index(command)]
    for step in ("ruff check", "ruff format --check", "lint-imports", "mypy"):
        assert step in before
        assert re.search(rf"^\t\$\(BIN\)/{re.escape(step)}$", makefile, re.MULTILINE)
    assert "apt" not in ci
    install = "-m pip install --quiet --no-deps --no-build-isolation --editable ."
    assert install in ci
    assert install in makefile


def test_the_changelog_tells_of_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[{re.escape(PROJECT['project']['version'])}\]", changelog, re.MULTILINE)
    assert "## [Unreleased]" in changelog
