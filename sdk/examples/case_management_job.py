"""How a case-management system embeds restore: one job takes a folder of images and returns a summary.

    python case_management_job.py CASE_FOLDER RESULTS_FOLDER

The signer's identity is the one in RESTORE_HOME (`restore keys init`), its passphrase is in
RESTORE_PASSPHRASE. One bad image is noted in the summary and does not stop the others.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from restore_sdk import Identity, RestoreError, load_identity, restore, restore_home, verify

SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"}


def process_case(images: Path, out: Path, *, identity: Identity, trust: Path) -> dict[str, Any]:
    """Restore every image in `images` into `out` and verify what was written.

    Returns a summary ready for `json.dumps`: the worst verdict, and for each image its result, manifest,
    estimates and verdict with the checks that do not pass, or the error that kept it from being restored.
    """
    sources = sorted(path for path in images.iterdir() if path.suffix.lower() in SUFFIXES)
    entries = [_process(source, out, identity, trust) for source in sources]
    verdicts = {entry["verdict"] for entry in entries}
    worst = next((verdict for verdict in ("error", "fail", "unable") if verdict in verdicts), "pass")
    return {"verdict": worst if entries else "unable", "images": entries}


def _process(source: Path, out: Path, identity: Identity, trust: Path) -> dict[str, Any]:
    try:
        (done,) = restore(source, out=out, identity=identity)
        report = verify(done.result, done.manifest, source=source, trust=trust)
    except RestoreError as error:
        return {"source": str(source), "verdict": "error", "message": error.message, "hint": error.hint}
    document = report.to_json()
    return {
        "source": str(source),
        "verdict": document["verdict"],
        "open_checks": [check for check in document["checks"] if check["verdict"] != "pass"],
        **done.to_json(),
    }


def main() -> int:
    """Run one job for the folders on the command line and print its summary."""
    case, results = map(Path, sys.argv[1:3])
    home = restore_home()
    identity = load_identity(home, os.environ.get("RESTORE_PASSPHRASE"))
    summary = process_case(case, results, identity=identity, trust=home / "keys" / "root.pem")
    print(json.dumps(summary, indent=2))
    return 0 if summary["verdict"] == "pass" else 1


if __name__ == "__main__":
    sys.exit(main())
