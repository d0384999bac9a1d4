"""`run` killed at random moments: the folder holds the old bundle or the new one, and the log goes on.

RESTORE_KILLS says how often; the suite's own number is small.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_manifests.log import TransparencyLog
from restore_manifests.schema import body_bytes, parse_manifest
from restore_sdk.output import leftovers, recover
from restore_sdk.verification import verify

if TYPE_CHECKING:
    from conftest import Bundle
else:
    Bundle = Any

_CHILD = """
import itertools, sys
from pathlib import Path
import restore_models.restorer
from restore_manifests.keys import load_identity
from restore_sdk.restoration import restore
source, out, home = map(Path, sys.argv[1:4])
identity = load_identity(home, None)
print("ready", flush=True)
for turn in itertools.count():
    restore(source, out=out, prompt=f"turn {turn}", force=True, identity=identity)
    print("done", turn, flush=True)
"""


def test_killed_runs_leave_whole_bundles(bundle: Bundle, tmp_path: Path) -> None:
    kills = int(os.environ.get("RESTORE_KILLS", "3"))
    out = tmp_path / "out"
    out.mkdir()
    rng = random.Random(int(os.environ.get("RESTORE_SEED", "7")))  # noqa: S311 -- moments, not secrets
    environment = {**os.environ, "RESTORE_HOME": str(bundle.home), "OMP_NUM_THREADS": "1"}
    finished = 0
    for kill in range(kills):
        command = [sys.executable, "-c", _CHILD, str(bundle.source), str(out), str(bundle.home)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
            assert child.stdout is not None
            assert child.stdout.readline().strip() == "ready"
            if kill == 0:  # so that there is a bundle for the others to replace
                finished += child.stdout.readline().count("done")
            time.sleep(rng.uniform(0.0, 0.7))
            child.kill()
            finished += child.stdout.read().count("done")
        recover(out)
        assert not leftovers(out)
        assert finished
        _check_whole(bundle, out)
    with TransparencyLog.open(bundle.home / "log") as log:
        log.check()
        assert log.size >= finished + 1


def _check_whole(bundle: Bundle, out: Path) -> None:
    """All five files, of one run, valid; and the record is in the log where its proof says."""
    result, manifest = out / "plate.restored.png", out / "plate.manifest.json"
    report = verify(result, manifest, source=bundle.source, trust=bundle.root, recompute=False)
    assert report.verdict == "pass", report.to_json()
    document = parse_manifest(manifest.read_bytes())
    assert (out / "plate.tlog-proof").read_text() == document.anchors[0].proof
    with TransparencyLog.open(bundle.home / "log") as log:
        index = document.anchors[0].index
        assert next(iter(log.entries(index, index + 1))) == body_bytes(document.body)
