"""`restore export`: forms, names, exit codes, and who signs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from restore_cli.__main__ import main
from restore_cli.commands.export import Form
from restore_manifests.canonical import sha256_hex
from restore_sdk.exports import ENDINGS, ExportForm

MakeBundle = Callable[..., Any]


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    code = main(["export", *map(str, words)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_forms_are_those_of_the_sdk() -> None:
    assert [form.value for form in Form] == [form.value for form in ExportForm] == list(ENDINGS)


@pytest.mark.parametrize("form", list(Form))
def test_each_form_is_written_beside_the_manifest_once(
    make_bundle: MakeBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: Form
) -> None:
    bundle = make_bundle(tmp_path / "case")
    assert main(["keys", "init", "--name", "Exporter", "--unprotected", "--quiet"]) == 0
    code, out, err = run(capsys, bundle.manifest, "--as", form.value, "--json")
    assert (code, err) == (0, "")
    path = tmp_path / "case" / f"plate.{ENDINGS[ExportForm(form.value)]}"
    data = path.read_bytes()
    assert json.loads(out) == {
        "file": str(path),
        "form": form.value,
        "sha256": sha256_hex(data),
        "bytes": len(data),
    }
    assert run(capsys, bundle.manifest, "--as", form.value)[0] == 2
    other = tmp_path / "elsewhere"
    assert run(capsys, bundle.manifest, "--as", form.value, "-o", other)[0] == 0
    assert other.is_file()


def test_without_an_identity_nothing_is_signed_and_nothing_written(
    make_bundle: MakeBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_bundle(tmp_path / "case")
    code, _, err = run(capsys, bundle.manifest, "--as", "in-toto")
    assert code == 2
    assert "restore keys init" in err
    assert not (tmp_path / "case" / "plate.intoto.json").exists()


def test_a_broken_record_is_exit_code_1(
    make_bundle: MakeBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_bundle(tmp_path / "case")
    bundle.result.write_bytes(bundle.result.read_bytes() + b"!")
    code, _, err = run(capsys, bundle.manifest, "--as", "case-uco")
    assert code == 1
    assert "result.file" in err
    assert not list((tmp_path / "case").glob("*.jsonld"))


def test_an_unknown_form_is_wrong_use(
    make_bundle: MakeBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, make_bundle(tmp_path / "case").manifest, "--as", "spdx")[0] == 2
