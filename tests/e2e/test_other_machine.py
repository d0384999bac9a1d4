"""A picture restored as one processor would do it is verified as another would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from restore_models.exact_matrix import CAPS

if TYPE_CHECKING:
    from conftest import Bundle
else:
    Bundle = Any


def _restore_command(home: Path, caps: str, threads: int, *arguments: str) -> tuple[int, str]:
    """Exit code and standard output of the command line in a process of its own, capped before it starts."""
    count = str(threads)
    environment = {
        **os.environ,
        **CAPS[caps],
        "RESTORE_HOME": str(home),
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), count),
    }
    command = [sys.executable, "-m", "restore_cli", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode < 2, done.stderr
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("made", "checked"), [(("lowest", 1), ("all", 2)), (("all", 2), ("avx2", 1))], ids=["up", "down"]
)
def test_restored_under_one_instruction_set_verified_under_another(
    bundle: Bundle, tmp_path: Path, made: tuple[str, int], checked: tuple[str, int]
) -> None:
    out = tmp_path / "out"
    code, said = _restore_command(bundle.home, *made, "run", str(bundle.source), "-o", str(out), "--json")
    assert code == 0
    files = json.loads(said)
    code, said = _restore_command(
        tmp_path / "another-home",
        *checked,
        "verify",
        files["result"],
        files["manifest"],
        "--source",
        str(bundle.source),
        "--trust",
        str(bundle.root),
        "--json",
    )
    verdicts = {check["id"]: check["verdict"] for check in json.loads(said)["checks"]}
    assert verdicts["recompute.pixels"] == "pass"
    assert code == 0, verdicts
