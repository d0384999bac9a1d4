"""Records made by earlier releases verify, pixels and maps made again: one folder of goldens a release.

A release adds its own: a small bundle with its source, and the root of a signer made for it alone
(`restore keys init`, valid for a hundred years). Nothing in these folders is ever made again.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from restore_sdk.verification import verify

GOLDENS = Path(__file__).parents[1] / "goldens"
RELEASES = sorted(folder.name for folder in GOLDENS.iterdir())


def test_there_are_releases() -> None:
    assert {
        "0.1.0",
        "0.2.0",
        "0.3.0",
        "0.4.0",
        "0.5.0",
        "0.6.0",
        "0.7.0",
        "0.8.0",
        "0.9.0",
        "0.10.0",
        "0.11.0",
        "0.12.0",
        "0.13.0",
        "0.14.0",
        "0.15.0",
        "0.16.0",
        "0.17.0",
    } <= set(RELEASES)


@pytest.mark.parametrize("release", RELEASES)
def test_every_check_passes(release: str) -> None:
    folder = GOLDENS / release
    (manifest,) = folder.glob("*.manifest.json")
    stem = manifest.name.removesuffix(".manifest.json")
    report = verify(folder / f"{stem}.restored.png", manifest, trust=folder / "root.pem")
    found = {check.id: (str(check.verdict), check.message) for check in report.checks}
    assert json.loads(manifest.read_text(encoding="utf-8"))["body"]["tool"]["version"] == release
    assert {verdict for verdict, _ in found.values()} == {"pass"}, found
    assert {"recompute.pixels", "maps.edit", "maps.confidence", "model.weights", "log.inclusion"} <= set(
        found
    )
