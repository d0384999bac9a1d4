"""Faults of the machine during `run`: one sentence, the right exit code, nothing half-written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from restore_cli.__main__ import main
from restore_manifests.keys import identity_path
from restore_manifests.log import TransparencyLog
from restore_models import zoo

if TYPE_CHECKING:
    from conftest import Bundle
else:
    Bundle = Any


@pytest.fixture
def home(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the laboratory's home, to damage."""
    copy = tmp_path / "home"
    shutil.copytree(bundle.home, copy)
    monkeypatch.setenv("RESTORE_HOME", str(copy))
    return copy


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the shipped weights, in their place, to damage."""
    copy = tmp_path / "weights"
    shutil.copytree(zoo.find_model(None, tmp_path).path.parent, copy)
    monkeypatch.setattr(zoo, "_SHIPPED", copy)
    return copy


def _run(bundle: Bundle, out: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = main(["run", str(bundle.source), "-o", str(out), "--quiet"])
    return code, capsys.readouterr().err.strip()


def _is_one_sentence(said: str) -> bool:
    return said.startswith("restore: ") and "Traceback" not in said and len(said.splitlines()) == 1


def test_missing_weights(
    bundle: Bundle,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(zoo, "_SHIPPED", tmp_path / "nothing")
    code, said = _run(bundle, tmp_path / "out", capsys)
    assert code == 3
    assert _is_one_sentence(said)
    assert "no model" in said
    assert not list(tmp_path.glob("out/*"))


def test_machine_that_computes_otherwise_is_refused(
    bundle: Bundle, home: Path, shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Known answers that do not come out: no exact result, and a preview still."""
    answers = shipped / f"{zoo.DEFAULT_MODEL}.vectors.json"
    document = json.loads(answers.read_text())
    document["vectors"][0]["sha256"] = "0" * 64
    answers.write_text(json.dumps(document))
    code, said = _run(bundle, tmp_path / "out", capsys)
    assert code == 3
    assert _is_one_sentence(said)
    assert "may be called exact" in said
    preview = ["run", str(bundle.source), "-o", str(tmp_path / "out"), "--arithmetic", "float", "--quiet"]
    assert main(preview) == 0
    # Nor does such a machine blame a good record: it cannot decide.
    record = [str(bundle.result), str(bundle.manifest), "--trust", str(bundle.root), "--json"]
    assert main(["verify", *record]) == 3
    checks = {check["id"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["recompute.pixels"]["verdict"] == "unable"
    assert "otherwise than it should" in checks["recompute.pixels"]["message"]


def test_damaged_weights(
    bundle: Bundle, home: Path, shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = shipped / f"{zoo.DEFAULT_MODEL}.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    code, said = _run(bundle, tmp_path / "out", capsys)
    assert code == 3
    assert _is_one_sentence(said)
    assert "damaged" in said


@pytest.mark.parametrize("damage", ["cut", "junk", "missing"])
def test_damaged_key(
    bundle: Bundle, home: Path, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = identity_path(home)
    path.chmod(0o600)
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:50] if damage == "cut" else b"not a key")
    code, said = _run(bundle, tmp_path / "out", capsys)
    assert code == 2
    assert _is_one_sentence(said)
    assert not list(tmp_path.glob("out/*"))


def test_damaged_log(bundle: Bundle, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = home / "log" / "log.sqlite"
    for leftover in database.parent.glob("log.sqlite-*"):
        leftover.unlink()
    database.write_bytes(b"SQLite format 3\x00" + b"\xff" * 4000)
    code, said = _run(bundle, tmp_path / "out", capsys)
    assert code == 2
    assert _is_one_sentence(said)
    assert "log" in said
    assert not list(tmp_path.glob("out/*"))


def test_refused_run_does_not_enter_the_log(
    bundle: Bundle, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with TransparencyLog.open(home / "log") as log:
        before = log.size
    assert main(["run", str(bundle.source), "--quiet"]) == 2
    assert "already exists" in capsys.readouterr().err
    with TransparencyLog.open(home / "log") as log:
        assert log.size == before


def test_result_folder_is_a_file(
    bundle: Bundle, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file")
    code, said = _run(bundle, blocked, capsys)
    assert code == 2
    assert _is_one_sentence(said)
    assert blocked.read_text() == "a file"


_LIMITED = """
import resource, sys
from restore_cli.__main__ import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the limit that stands for a full disk is a POSIX one")
@pytest.mark.parametrize("limit", [100, 9000])
def test_full_disk(bundle: Bundle, home: Path, tmp_path: Path, limit: int) -> None:
    """A limit on the size of files fails writes as a full disk does: first the log's, then the bundle's."""
    out = tmp_path / "out"
    out.mkdir()
    command = [
        sys.executable,
        "-c",
        _LIMITED,
        str(limit),
        "run",
        str(bundle.source),
        "-o",
        str(out),
        "--quiet",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stderr
    assert _is_one_sentence(done.stderr.strip()), done.stderr
    assert not [path for path in out.rglob("*") if path.is_file() and path.suffix in {".png", ".json"}]
    with TransparencyLog.open(home / "log") as log:
        log.check()
    assert main(["run", str(bundle.source), "-o", str(out), "--quiet"]) == 0
