"""A writer killed at random moments leaves, after recovery, the old bundle or the new one: never a mix.

`RESTORE_KILLS` sets how often; the default keeps the test short.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from restore_sdk.bundle_names import BUNDLE_SUFFIXES
from restore_sdk.output import leftovers, recover

KILLS = int(os.environ.get("RESTORE_KILLS", "8"))

WRITER = """
import sys
from pathlib import Path
from restore_sdk.bundle_names import BUNDLE_SUFFIXES
from restore_sdk.output import write_bundle
where, force, generation = Path(sys.argv[1]), sys.argv[2] == "force", int(sys.argv[3])
print("ready", flush=True)
while True:
    generation += 1
    # an odd generation of a forced bundle has no confidence map: an old one must not stay beside it
    names = [s for s in BUNDLE_SUFFIXES if not (force and generation % 2 and s == ".confidence.png")]
    stem = "photo" if force else f"photo{generation:06}"
    body = (f"{generation}\\n" * (5_000 + generation % 7)).encode()
    write_bundle({stem + s: body for s in names}, where, force=force)
"""


@contextmanager
def writer(where: Path, mode: str, generation: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", WRITER, str(where), mode, str(generation)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


def generation_of(path: Path) -> int:
    """The one generation that wrote the whole of this file."""
    lines = path.read_text().splitlines()
    assert len(set(lines)) == 1
    generation = int(lines[0])
    assert len(lines) == 5_000 + generation % 7
    return generation


def bundles(where: Path) -> dict[str, int]:
    """Stem -> generation of every bundle; fails for whatever is not part of a whole one."""
    files: dict[str, set[str]] = {}
    for path in where.iterdir():
        stem, _, suffix = path.name.partition(".")
        assert stem, f"left behind: {path.name}"
        files.setdefault(stem, set()).add("." + suffix)
    found = {}
    for stem, suffixes in files.items():
        generations = {generation_of(where / (stem + suffix)) for suffix in suffixes}
        assert len(generations) == 1, f"a mix: {generations}"
        found[stem] = generations.pop()
        whole = set(BUNDLE_SUFFIXES)
        if stem == "photo" and found[stem] % 2:
            whole.remove(".confidence.png")
        assert suffixes == whole
    return found


@pytest.mark.parametrize("mode", ["force", "new"])
def test_killed_writers_leave_old_or_new(tmp_path: Path, mode: str) -> None:
    chance = random.Random(mode)  # noqa: S311  (moments, not secrets)
    settled, latest = 0, 0
    for _ in range(KILLS):
        with writer(tmp_path, mode, latest) as process:
            time.sleep(chance.uniform(0, 0.12))
            process.kill()
            process.wait()
        settled += len(leftovers(tmp_path))
        recover(tmp_path)
        found = bundles(tmp_path)
        now = max(found.values(), default=latest if mode == "new" else 0)
        assert now >= latest, "a bundle that was complete has gone"
        if mode == "new":
            assert sorted(found.values()) == list(range(latest + 1, now + 1))
            for path in tmp_path.iterdir():
                path.unlink()
        latest = now
    assert latest > 0
    assert settled > 0, "no kill fell into a write: the test shows nothing"


def test_recovery_does_not_disturb_writers_that_live(tmp_path: Path) -> None:
    with writer(tmp_path, "force", 0) as first, writer(tmp_path, "force", 1_000_000) as second:
        until = time.monotonic() + 0.6
        while time.monotonic() < until:
            done = recover(tmp_path)
            assert done.finished == done.swept == ()
        assert first.poll() is None
        assert second.poll() is None
    recover(tmp_path)
    assert bundles(tmp_path).keys() == {"photo"}
