"""docs/verifying.md, carried out as an expert of the other side would: its blocks are run as they stand."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from restore_manifests.canonical import canonical_bytes
from restore_manifests.keys import create_identity
from restore_manifests.pixels import encode_png
from restore_sdk import Restoration, restore

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "tests" / "vectors" / "program" / "tiny.safetensors"
PAGE = (ROOT / "docs" / "verifying.md").read_text(encoding="utf-8")
BLOCKS = re.findall(
    r"<!-- tested: tests/conformance/test_verifying\.py runs this block -->\n```(\w+)\n(.*?)```",
    PAGE,
    re.DOTALL,
)
TAKE_APART, OPENSSL, FILES = (text for _, text in BLOCKS)

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Restoration:
    folder = tmp_path_factory.mktemp("bundle")
    home = folder / "home"
    identity = create_identity(home, name="Test Laboratory", passphrase=None, unprotected=True)
    source = folder / "x.png"
    source.write_bytes(encode_png(np.random.default_rng(5).integers(0, 256, (40, 48, 3), dtype=np.uint8)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESTORE_HOME", str(home))
        (done,) = restore(source, identity=identity, model=MODEL)
    shutil.copy(home / "keys" / "root.pem", folder)
    return done


@pytest.fixture
def desk(bundle: Restoration, tmp_path: Path) -> Path:
    """The expert's own folder with a copy of the bundle; step 1 has been done."""
    desk = tmp_path / "desk"
    shutil.copytree(bundle.manifest.parent, desk, ignore=shutil.ignore_patterns("home"))
    run_python(TAKE_APART, desk)
    return desk


def run_python(code: str, desk: Path) -> str:
    # Their Python is not ours: no package of this project can be imported.
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, "x.manifest.json"],
        cwd=desk,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def openssl(desk: Path) -> list[int]:
    """Exit codes of the lines of the block."""
    return [
        subprocess.run(line.split(), cwd=desk, capture_output=True, check=False).returncode
        for line in OPENSSL.splitlines()
    ]


def test_the_page_has_the_blocks_that_are_tested_here() -> None:
    assert [kind for kind, _ in BLOCKS] == ["python", "bash", "python"]
    for _, text in BLOCKS:
        assert "restore_" not in text, "the page must not need our package"


@needs_openssl
def test_openssl_accepts_the_signatures(desk: Path) -> None:
    assert openssl(desk) == [0] * 5


@needs_openssl
@pytest.mark.parametrize(("changed", "line"), [("body.signed", 3), ("files.signed", 4)])
def test_openssl_refuses_what_was_changed(desk: Path, changed: str, line: int) -> None:
    data = (desk / changed).read_bytes()
    (desk / changed).write_bytes(data.replace(b'"', b"'", 1))
    codes = openssl(desk)
    assert codes[line] != 0
    assert sum(code != 0 for code in codes) == 1


@needs_openssl
def test_openssl_refuses_another_root(desk: Path, tmp_path: Path) -> None:
    other = create_identity(tmp_path / "other", name="Somebody Else", passphrase=None, unprotected=True)
    (desk / "root.pem").write_text(other.root_pem or "")
    assert [code != 0 for code in openssl(desk)] == [False, True, False, False, False]


def test_the_files_are_those_of_the_record(desk: Path) -> None:
    assert "all files" in run_python(FILES, desk)


@pytest.mark.parametrize("name", ["x.png", "x.restored.png", "x.edit.png", "x.confidence.png", "body.signed"])
def test_a_changed_file_is_found(desk: Path, name: str) -> None:
    data = bytearray((desk / name).read_bytes())
    data[-20] ^= 1
    (desk / name).write_bytes(bytes(data))
    with pytest.raises(subprocess.CalledProcessError):
        run_python(FILES, desk)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=500)
@given(JSON)
@example([0.000001, 0.0000001, 1.192092896e-7, 1e20, 1e21, -0.0, 1.0, 123456789012345680000.0, 5e-324])
@example({"\U0001f600": "\u20ac", "\ufb33": "\x7f\x1f\u2028"})
def test_the_page_writes_canonical_json_as_the_package_does(value: Any) -> None:
    names: dict[str, Any] = {}
    exec(TAKE_APART.split("def der")[0], names)  # noqa: S102  (our own page)
    assert names["canonical"](value).encode() == canonical_bytes(value)
