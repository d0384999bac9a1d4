"""The fuzzing corpus as tests: every input, and seeded mutations of it, through its target, without atheris.

RESTORE_FUZZ_MUTATIONS says how many mutations of each input (default 25), RESTORE_FUZZ_SEED which.
"""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the harness is a script's folder, no package

from targets import CORPUS, TARGETS

COUNT = int(os.environ.get("RESTORE_FUZZ_MUTATIONS", "25"))
SEED = int(os.environ.get("RESTORE_FUZZ_SEED", "20261125"))
INPUTS = sorted(path for path in CORPUS.rglob("*") if path.is_file())
BYTES = (b"\0", b"\xff", b"\n", b'"', b"{", b"[", b"-", b"\x80", b"9" * 40, b"\xed\xa0\x80", b"\\u0000")


def mutated(data: bytes, others: list[bytes], dice: random.Random) -> bytes:
    """One to four of: a bit, a cut, a repetition, an insertion, a piece of another input."""
    changed = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(changed) + 1)
        to = min(len(changed), at + dice.choice((1, 2, 4, 16, 256)))
        match dice.randrange(6):
            case 0 if at < len(changed):
                changed[at] ^= 1 << dice.randrange(8)
            case 1:
                del changed[at:to]
            case 2:
                changed[at:at] = changed[at:to] * dice.choice((1, 3, 50))
            case 3:
                changed[at:at] = dice.choice(BYTES)
            case 4:
                other = dice.choice(others)
                start = dice.randrange(len(other) + 1)
                changed[at:to] = other[start : start + dice.choice((4, 64, 1024))]
            case _:
                del changed[dice.randrange(len(changed) + 1) :]
    return bytes(changed)


def test_every_parser_has_a_corpus() -> None:
    assert {path.parent.name for path in INPUTS} == set(TARGETS)
    assert all(path.parent.parent == CORPUS for path in INPUTS)


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_nothing_breaks_on_the_corpus_or_near_it(path: Path) -> None:
    run, data = TARGETS[path.parent.name], path.read_bytes()
    dice = random.Random(f"{SEED} {path.parent.name} {path.name}")  # noqa: S311 - chance, not secrecy
    others = [other.read_bytes() for other in INPUTS if other.parent == path.parent]
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # libraries warn of strange input; what counts is what they do with it
        run(data)
        for number in range(COUNT):
            changed = mutated(data, others, dice)
            try:
                run(changed)
            except Exception as error:  # whatever it is, the input is needed to see it again
                raise AssertionError(f"mutation {number} of {path.name}: {changed[:4000]!r}") from error


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="needs atheris, which runs on Linux only"
)
@pytest.mark.parametrize("name", ["strict-json", "log-proof"])
def test_the_harness_searches(name: str, tmp_path: Path) -> None:
    script = Path(__file__).with_name("fuzz.py")
    words = [sys.executable, str(script), name, "--keep", str(tmp_path), "--", "-runs=300"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "DONE" in done.stderr
    assert "cov:" in done.stderr


def test_the_harness_says_what_it_lacks() -> None:
    script = Path(__file__).with_name("fuzz.py")
    listed = subprocess.run(
        [sys.executable, str(script), "--list"], capture_output=True, text=True, check=True
    )
    assert listed.stdout.split() == sorted(TARGETS)
    one = next(path for path in INPUTS if path.parent.name == "strict-json")
    ran = subprocess.run(
        [sys.executable, str(script), "strict-json", str(one)], capture_output=True, check=True
    )
    assert b"nothing to find" in ran.stdout
