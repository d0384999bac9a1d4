"""`restore report`: formats, exit codes, places."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from restore_cli.__main__ import main

MakeBundle = Callable[..., Any]


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    code = main(["report", *map(str, words)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_page_lies_beside_the_manifest_and_the_exit_code_is_the_verdict(
    make_bundle: MakeBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_bundle(tmp_path / "case")
    trusted = ("--trust", bundle.root, "--log-key", bundle.log_key, "--no-recompute")
    code, out, _ = run(capsys, bundle.manifest, *trusted, "--json")
    page = tmp_path / "case" / "plate.report.html"
    assert code == 0
    assert json.loads(out) == {"verdict": "pass", "report": str(page), "discovery": None}
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert run(capsys, bundle.manifest, "--no-recompute")[0] == 2  # it is there
    code, out, _ = run(capsys, bundle.manifest, "--no-recompute", "--force")
    assert code == 3
    assert "signer.trust" in out
    bundle.result.write_bytes(bundle.result.read_bytes() + b"!")
    code, out, _ = run(capsys, bundle.manifest, *trusted, "--force")
    assert code == 1
    assert 'class="banner fail"' in page.read_text(encoding="utf-8")


def test_pdf_and_archive_in_one_go(
    make_bundle: MakeBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_bundle(tmp_path / "case")
    pdf, archive = tmp_path / "r.PDF", tmp_path / "d.zip"
    code, out, _ = run(capsys, bundle.manifest, "--no-recompute", "-o", pdf, "--discovery", archive, "--json")
    assert code == 3
    assert json.loads(out) == {"verdict": "unable", "report": str(pdf), "discovery": str(archive)}
    assert pdf.read_bytes()[:5] == b"%PDF-"
    assert zipfile.is_zipfile(archive)
    assert not (tmp_path / "case" / "plate.report.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "report.docx"], "neither .html nor .pdf"),
        (["-o", "nowhere/report.html"], "no such folder"),
        (["--result", "missing.png"], "does not exist"),
        (["--source", "missing.png"], "does not exist"),
        (["--trust", "missing.pem"], "does not exist"),
    ],
)
def test_wrong_use_is_one_sentence(
    make_bundle: MakeBundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    bundle = make_bundle(tmp_path / "case")
    code, out, err = run(capsys, bundle.manifest, "--no-recompute", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert not list(tmp_path.rglob("*.html"))


def test_a_manifest_that_is_not_there_is_wrong_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, tmp_path / "missing.manifest.json")
    assert code == 2
    assert "does not exist" in err
