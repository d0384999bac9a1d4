"""The transparency log beside pymerkle's SqliteTree, in the same run: appends, proofs, opening, checking.

    python benchmarks/bench_log.py --entries 100000 --folder /path/on/the/disk/to/measure

Prints one JSON document; `ratio` is ours over theirs, so that above 1 we are faster. Not alike, and to be
read with it: ours signs and publishes a checkpoint with every append and takes a write lock that processes
share; pymerkle (7.0) does neither, keeps leaf hashes only, and caches subtrees in memory.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pymerkle import SqliteTree

from restore_manifests.log import TransparencyLog
from restore_manifests.log_proof import verify_inclusion

ENTRY_BYTES = 600  # a short manifest body
SINGLES = 200
BATCHES = 50
PROOFS = 1_000
FILL = 10_000  # entries a batch while the log is filled


def entry(number: int) -> bytes:
    return f"{number:020d}".encode() * (ENTRY_BYTES // 20)


def rate(count: int, work: Callable[[], object]) -> float:
    """How many a second."""
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def milliseconds(calls: list[Callable[[], object]]) -> dict[str, float]:
    """By the clock, and the processor's time, which other work on the machine does not reach."""
    times, busy = [], []
    for call in calls:
        began, was_busy = time.perf_counter(), time.process_time()
        call()
        busy.append((time.process_time() - was_busy) * 1000)
        times.append((time.perf_counter() - began) * 1000)
    times.sort()
    busy.sort()
    return {
        "median": round(statistics.median(times), 3),
        "p99": round(times[int(len(times) * 0.99)], 3),
        "max": round(times[-1], 3),
        "processor_median": round(statistics.median(busy), 3),
        "processor_p99": round(busy[int(len(busy) * 0.99)], 3),
    }


def measure(folder: Path, entries: int) -> dict[str, object]:
    dice = random.Random(0)  # noqa: S311 - chance, not secrecy
    log = TransparencyLog.open(folder / "ours")
    theirs = SqliteTree(str(folder / "theirs.sqlite"))
    result: dict[str, object] = {"entries": entries, "entry_bytes": ENTRY_BYTES}
    try:
        singles = [entry(at) for at in range(SINGLES)]
        batches = [[entry(at * 100 + more) for more in range(100)] for at in range(BATCHES)]
        ours_single = rate(SINGLES, lambda: [log.append(data) for data in singles])
        theirs_single = rate(SINGLES, lambda: [theirs.append_entry(data) for data in singles])
        ours_batch = rate(BATCHES * 100, lambda: [log.append_many(batch) for batch in batches])
        theirs_batch = rate(BATCHES * 100, lambda: [theirs.append_entries(batch) for batch in batches])
        filling: list[tuple[int, float]] = []  # entries, seconds: the whole way up, ours only
        for first in range(SINGLES + BATCHES * 100, entries, FILL):
            fill = [entry(at) for at in range(first, min(first + FILL, entries))]
            began = time.perf_counter()
            log.append_many(fill)
            filling.append((len(fill), time.perf_counter() - began))
            theirs.append_entries(fill)
        more = [[entry(entries + at * 100 + one) for one in range(100)] for at in range(BATCHES)]
        ours_late = rate(BATCHES * 100, lambda: [log.append_many(batch) for batch in more])
        theirs_late = rate(BATCHES * 100, lambda: [theirs.append_entries(batch) for batch in more])
        size = log.size
        wanted = [dice.randrange(size) for _ in range(PROOFS)]
        ours_proof = milliseconds([lambda at=at: log.inclusion_proof_text(at) for at in wanted])
        first_proof = milliseconds([lambda: theirs.prove_inclusion(wanted[0] + 1)])  # fills its cache
        theirs_proof = milliseconds([lambda at=at: theirs.prove_inclusion(at + 1) for at in wanted])
        vkey = log.vkey
        given = [(log.inclusion_proof_text(at), next(log.entries(at, at + 1))) for at in wanted]
        rng = range(1, size, max(1, size // PROOFS))
        consistency = milliseconds([lambda old=old: log.consistency_proof(old, size) for old in rng])
        result |= {
            "size": size,
            "appends_per_second_single": {
                "ours": round(ours_single),
                "pymerkle": round(theirs_single),
                "ratio": round(ours_single / theirs_single, 2),
            },
            "appends_per_second_batches_of_100": {
                "ours": round(ours_batch),
                "pymerkle": round(theirs_batch),
                "ratio": round(ours_batch / theirs_batch, 2),
            },
            "appends_per_second_batches_of_100_at_the_end": {
                "ours": round(ours_late),
                "pymerkle": round(theirs_late),
                "ratio": round(ours_late / theirs_late, 2),
            },
            "appends_per_second_filling": {
                "batch": FILL,
                "mean": round(sum(count for count, _ in filling) / sum(took for _, took in filling)),
                "slowest_batch": round(min(count / took for count, took in filling)),
            }
            if filling
            else None,
            "proof_ms": {
                "ours": ours_proof,
                "pymerkle": theirs_proof,
                "pymerkle_first": first_proof["median"],
                "ratio": round(theirs_proof["median"] / ours_proof["median"], 2),
            },
            "consistency_proof_ms": consistency,
            "verify_ms": milliseconds(
                [lambda text=text, data=data: verify_inclusion(text, data, vkey) for text, data in given]
            ),
        }
    finally:
        log.close()
        theirs.close()
    result["open_ms"] = milliseconds([lambda: TransparencyLog.open(folder / "ours").close()] * 20)
    with TransparencyLog.open(folder / "ours") as log:
        result["full_check_seconds"] = round(milliseconds([log.check])["max"] / 1000, 2)
    result["bytes_per_entry"] = {
        "ours": round((folder / "ours" / "log.sqlite").stat().st_size / size),
        "pymerkle": round((folder / "theirs.sqlite").stat().st_size / size),
    }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entries", type=int, default=20_000, help="size of the log when proofs are timed")
    parser.add_argument(
        "--folder", type=Path, default=None, help="where to put it (default: temporary folder)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        print(json.dumps(measure(Path(folder), options.entries), indent=2))


if __name__ == "__main__":
    main()
