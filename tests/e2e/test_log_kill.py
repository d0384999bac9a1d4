"""Appenders killed at random moments: nothing acknowledged is lost, nothing is there twice, one history.

RESTORE_KILLS sets how many are killed (default 12, a few seconds), RESTORE_APPENDS how many entries each of
eight processes has to get into the log in spite of that (default 150). Each appender says on its output which
entry it was told is at which index, and which checkpoint it saw then; only complete lines count.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from restore_manifests.log import TransparencyLog
from restore_manifests.log_proof import verify_inclusion

KILLS = int(os.environ.get("RESTORE_KILLS", "12"))
APPENDS = int(os.environ.get("RESTORE_APPENDS", "150"))
APPENDERS = 8
DEADLINE_SECONDS = 20.0 + KILLS

APPENDER = """
import random, sys
from pathlib import Path
from restore_manifests.log import TransparencyLog

folder, name = Path(sys.argv[1]), sys.argv[2]
dice = random.Random(name)
count = 0
with TransparencyLog.open(folder) as log:
    while True:
        batch = [f"{name}/{count + at}" for at in range(dice.choice([1, 1, 1, 5, 40]))]
        count += len(batch)
        indices = log.append_many([entry.encode() for entry in batch])
        for entry, index in zip(batch, indices, strict=True):
            print(entry, index, flush=False)
        print("checkpoint", log.checkpoint().encode().hex(), flush=True)
"""

WORKER = """
import random, sys
from pathlib import Path
from restore_manifests.log import TransparencyLog

folder, name, wanted, seen = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
dice = random.Random()
with TransparencyLog.open(folder) as log:
    # what was appended and never acknowledged is in the log all the same, behind what was
    mine = [entry for entry in log.entries(seen) if entry.startswith(name.encode() + b"/")]
    count = int(mine[-1].split(b"/")[1]) + 1 if mine else 0
    while count < wanted:
        batch = range(count, min(wanted, count + dice.choice([1, 1, 1, 5, 40])))
        indices = log.append_many([f"{name}/{number}".encode() for number in batch])
        count += len(batch)
        print("entry", indices[-1], flush=True)
print("finished", wanted, flush=True)
"""

CREATOR = """
import sys
from pathlib import Path
from restore_manifests.log import TransparencyLog

print("ready", flush=True)
sys.stdin.readline()
with TransparencyLog.open(Path(sys.argv[1])) as log:
    print(log.vkey, log.append(b"first"), flush=True)
"""


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - chance, not secrecy


@dataclass
class Appender:
    """One process, and the file that its acknowledgements go to."""

    process: subprocess.Popen[bytes]
    output: Path

    @classmethod
    def start(cls, log: Path, reports: Path, name: str) -> Appender:
        output = reports / name
        with output.open("wb") as file, (reports / f"{name}.error").open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-c", APPENDER, str(log), name], stdout=file, stderr=errors
            )
        return cls(process, output)

    def end(self, dice: random.Random) -> None:
        """SIGKILL or SIGTERM (both end a process at once on Windows); Python makes neither orderly."""
        assert self.process.poll() is None, "an appender gave up: " + self.output.with_name(
            f"{self.output.name}.error"
        ).read_text(encoding="utf-8")
        if dice.random() < 0.5:
            self.process.kill()
        else:
            self.process.terminate()
        self.process.wait(timeout=30)

    def lines(self) -> list[tuple[str, str]]:
        whole = self.output.read_text(encoding="utf-8").rpartition("\n")[0]
        return [(left, right) for left, right in (line.split(" ") for line in whole.split("\n") if line)]


def run_appenders(log: Path, reports: Path, dice: random.Random) -> list[Appender]:
    """Eight at a time, until enough were killed; returns all that ever ran."""
    started = 0

    def start() -> Appender:
        nonlocal started
        started += 1
        return Appender.start(log, reports, f"appender-{started}")

    running = [start() for _ in range(APPENDERS)]
    ended: list[Appender] = []
    deadline = time.monotonic() + DEADLINE_SECONDS
    try:
        for _ in range(KILLS):
            time.sleep(dice.uniform(0.0, 0.4))
            assert time.monotonic() < deadline, "the appenders do not get on"
            victim = dice.choice(running)
            running.remove(victim)
            victim.end(dice)
            ended.append(victim)
            running.append(start())
        while not all(appender.lines() for appender in running):  # the last ones get to write too
            assert time.monotonic() < deadline, "the appenders do not get on"
            time.sleep(0.05)
    finally:
        for appender in running:
            appender.process.kill()
            appender.process.wait(timeout=30)
    return ended + running


def test_killed_appenders_lose_and_fork_nothing(tmp_path: Path) -> None:
    folder, reports = tmp_path / "log", tmp_path / "reports"
    reports.mkdir()
    seed = int(os.environ.get("RESTORE_KILL_SEED", time.time_ns()))
    print(f"RESTORE_KILL_SEED={seed}")
    began = time.monotonic()
    appenders = run_appenders(folder, reports, seeded(seed))

    with TransparencyLog.open(folder, create=False) as log:
        head = log.check()
        entries = [entry.decode() for entry in log.entries()]
        assert len(entries) == head.size
        assert len(set(entries)) == len(entries), "an entry is there twice"
        acknowledged = checkpoints = 0
        for appender in appenders:
            for left, right in appender.lines():
                if left == "checkpoint":
                    log.check_extends(bytes.fromhex(right).decode())
                    checkpoints += 1
                else:
                    assert entries[int(right)] == left, "an acknowledged entry is not where it was"
                    acknowledged += 1
        assert acknowledged > 0
        for index in seeded(seed).sample(range(head.size), k=min(50, head.size)):
            proof = log.inclusion_proof_text(index)
            assert verify_inclusion(proof, entries[index].encode(), log.vkey).index == index
        assert log.append(b"and it goes on") == head.size
    print(
        f"{KILLS} kills, {len(appenders)} appenders, {head.size} entries, {acknowledged} acknowledged, "
        f"{checkpoints} checkpoints of one history, {time.monotonic() - began:.1f} s"
    )


def test_all_entries_get_in_once_although_their_appenders_are_killed(tmp_path: Path) -> None:
    """Eight processes with a list each. A killed one is started again and goes on from what the log holds."""
    folder = tmp_path / "log"
    dice = seeded(int(os.environ.get("RESTORE_KILL_SEED", time.time_ns())))
    TransparencyLog.open(folder).close()
    outputs: dict[str, list[Path]] = {f"worker-{number}": [] for number in range(APPENDERS)}
    running: dict[str, subprocess.Popen[bytes]] = {}

    def said(name: str) -> list[list[str]]:
        texts = [path.read_text(encoding="utf-8").rpartition("\n")[0] for path in outputs[name]]
        return [line.split(" ") for text in texts for line in text.split("\n") if line]

    def start(name: str) -> None:
        seen = max([int(number) for what, number in said(name) if what == "entry"], default=0)
        outputs[name].append(tmp_path / f"{name}.{len(outputs[name])}")
        with outputs[name][-1].open("wb") as file:
            command = [sys.executable, "-c", WORKER, str(folder), name, str(APPENDS), str(seen)]
            running[name] = subprocess.Popen(command, stdout=file)

    killed = 0
    began = time.monotonic()
    try:
        for name in outputs:
            start(name)
        while running:
            assert time.monotonic() - began < 60 + KILLS + APPENDS, "the appenders do not get on"
            time.sleep(dice.uniform(0.0, 0.4))
            for name in [name for name, process in running.items() if process.poll() is not None]:
                assert running.pop(name).returncode == 0, "an appender gave up"
                assert said(name)[-1] == ["finished", str(APPENDS)]
            if running and killed < KILLS:
                name = dice.choice(list(running))
                running[name].kill()
                killed += running[name].wait(timeout=30) != 0  # 0: it had just finished
                start(name)
    finally:
        for process in running.values():
            process.kill()
            process.wait(timeout=30)
    with TransparencyLog.open(folder, create=False) as log:
        assert log.check().size == APPENDERS * APPENDS
        entries = [entry.decode() for entry in log.entries()]
    for name in outputs:
        own = [entry for entry in entries if entry.startswith(f"{name}/")]
        assert own == [f"{name}/{number}" for number in range(APPENDS)]
    print(f"{killed} kills, {len(entries)} entries, {time.monotonic() - began:.1f} s")
    assert killed


@pytest.mark.parametrize("attempt", range(max(4, KILLS // 10)))
def test_a_creation_killed_at_any_moment(tmp_path: Path, attempt: int) -> None:
    """Two creators of one log, killed within the milliseconds that a creation takes."""
    folder = tmp_path / "log"
    dice = seeded(attempt)
    creators = [
        subprocess.Popen(
            [sys.executable, "-c", CREATOR, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    acknowledged: list[tuple[str, int]] = []
    for creator in creators:
        assert creator.stdout is not None
        assert creator.stdout.readline() == b"ready\n"
    for creator in creators:
        assert creator.stdin is not None
        creator.stdin.write(b"go\n")
        creator.stdin.flush()
    time.sleep(dice.uniform(0.0, 0.02))
    for creator in creators:
        creator.kill()
        said = creator.communicate(timeout=30)[0].decode()
        if said.endswith("\n"):
            vkey, index = said.split()
            acknowledged.append((vkey, int(index)))
    with TransparencyLog.open(folder) as log:
        size = log.check().size
        assert len(acknowledged) <= size <= 2
        for vkey, index in acknowledged:
            assert vkey == log.vkey
            assert list(log.entries(index, index + 1)) == [b"first"]
        assert log.append(b"second") == size
