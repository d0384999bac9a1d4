"""The attack corpus: every named forgery is caught by the check it belongs to, with the promised exit code.

docs/attacks.md is written from it: `python tests/conformance/test_attacks.py > docs/attacks.md`.
"""

from __future__ import annotations

import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the corpus lies in a folder that is no package

from attacks import bench, claims, fields, files, forms, insiders, logs, signatures

from restore_manifests.canonical import MAX_VALUES
from restore_manifests.report import Report
from restore_sdk import verification
from restore_sdk.verification import verify

ROOT = Path(__file__).parents[2]
STRANGERS = (
    fields.FIELDS,
    forms.FORMS,
    files.FILES,
    claims.CLAIMS,
    logs.LOGS,
    signatures.SIGNATURES,
    insiders.ANCESTORS,
)
CORPORA = (*STRANGERS, insiders.INSIDERS)
ATTACKS = {attack.name: attack for corpus in CORPORA for attack in corpus.attacks}
VERDICT = {0: "pass", 1: "fail", 3: "unable"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> bench.Scene:
    with pytest.MonkeyPatch.context() as patch:
        return bench.make_scene(
            tmp_path_factory.mktemp("scene"), lambda home: patch.setenv("RESTORE_HOME", str(home))
        )


@pytest.fixture
def scene(made: bench.Scene, tmp_path: Path, restore_home: Path) -> bench.Scene:
    shutil.copytree(made.lab.home / "models", restore_home / "models")
    return bench.copy_scene(made, tmp_path)


def judged(
    scene: bench.Scene, *, recompute: bool = False, pixels: bool = False, log_key: bool = True
) -> Report:
    root = scene.outside / "root.pem"
    root.write_text(scene.lab.identity.root_pem or "", encoding="ascii")
    return verify(
        scene.bundle.result,
        scene.bundle.manifest,
        trust=root,
        recompute=recompute,
        pixels=pixels,
        log_key=scene.lab.log_key if log_key else None,
    )


def said(report: Report) -> str:
    return "\n".join(f"{c.id}: {c.verdict} {c.code} {c.message}" for c in report.checks)


def test_the_bundles_that_are_forged_are_good(scene: bench.Scene) -> None:
    report = judged(scene, recompute=True)
    assert report.exit_code == 0, said(report)


@pytest.mark.parametrize("name", ATTACKS)
def test_forgery_is_caught_by_its_check(
    scene: bench.Scene, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    attack = ATTACKS[name]
    attack.forge(scene)
    report = judged(scene, recompute=attack.recompute)
    found = {check.id: check.verdict.value for check in report.checks}
    assert report.exit_code == attack.exit_code, said(report)
    assert {check: found.get(check) for check in attack.caught_by} == dict.fromkeys(
        attack.caught_by, VERDICT[attack.exit_code]
    ), said(report)
    assert not [check for check in report.checks if check.code == "check-broke"], said(report)
    assert all(check.message.isprintable() for check in report.checks), said(report)
    if not attack.recompute:  # nor does it matter whether pictures of untouched bytes are decoded
        decoded = judged(scene, pixels=True)
        assert {check.id: check.verdict.value for check in decoded.checks} == found, said(decoded)
        monkeypatch.setattr(verification, "_WORTH_HASHING_ALONE", 0)  # as for large pictures
        assert judged(scene) == report


def test_pixels_misstated_by_an_insider_are_not_seen_without_decoding(scene: bench.Scene) -> None:
    """The one thing that --no-recompute leaves open and --pixels does not; both say what they looked at."""
    ATTACKS["insider-pixel-hash"].forge(scene)
    decoded, by_bytes = judged(scene, pixels=True), judged(scene)
    assert {check.id for check in decoded.checks if check.verdict.value == "fail"} == {"result.pixels"}
    assert by_bytes.exit_code == 0
    assert "not decoded" in said(by_bytes)
    assert "neither decoded nor computed again" in by_bytes.praise


def test_the_corpus_is_large_and_each_name_is_used_once() -> None:
    assert sum(len(corpus.attacks) for corpus in CORPORA) == len(ATTACKS)
    assert sum(len(corpus.attacks) for corpus in STRANGERS) >= 60


def test_a_flood_of_values_is_refused_before_each_is_judged(scene: bench.Scene) -> None:
    """Two million wrong values would cost the schema's reader gigabytes."""
    ATTACKS["too-many-values"].forge(scene)
    assert f"more than {MAX_VALUES} values" in said(judged(scene))


@pytest.mark.parametrize("name", ["log-of-the-same-name", "log-tree-of-one"])
def test_without_the_logs_key_another_log_is_not_told_apart(scene: bench.Scene, name: str) -> None:
    """Known and said in the check's sentence: a log is only as good as the key it is checked with."""
    ATTACKS[name].forge(scene)
    report = judged(scene, log_key=False)
    check = next(check for check in report.checks if check.id == "log.checkpoint")
    assert check.verdict.value == "pass"
    assert "no key was given" in check.message


def test_html_in_a_record_stays_text_in_the_report(scene: bench.Scene) -> None:
    """The forger signs with keys of his own and hopes that the auditor opens the report."""
    from restore_sdk.audit_report import render_report  # noqa: PLC0415
    from restore_sdk.audit_tree import audit  # noqa: PLC0415

    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    quoted = "\"' onmouseover=alert(1) x='"

    def change(body: dict[str, Any]) -> None:
        body["models"][0]["id"] = evil + quoted
        body["source"]["decoder"]["name"] = evil
        body["request"]["prompt"] = evil
        body["label"]["statement"] = "{{ 7 * 7 }} {% raw %}" + evil
        body["degradation"] = {evil: {"value": 1.0, "low": 0.0, "high": 2.0, "unit": quoted}}
        body["findings"] = [{"checker": evil, "severity": "info", "message": evil, "details": {evil: evil}}]
        body["abstained"], body["abstentions"] = True, [evil]
        body["ingredients"] = [{"label": evil, "verdict": "fail"}]
        body["source"]["name"] = evil.replace("/", "\u2215") + quoted

    scene.stranger.remake(scene.bundle, change)
    folder = scene.bundle.folder
    if sys.platform != "win32":
        folder = folder.rename(folder.with_name("<b onclick=alert(1)>&quot;" + '"'))
    page = render_report(audit(folder, jobs=1, recompute=False, thumbnails=True))
    assert "&lt;script&gt;alert(1)" in page
    seen = _Tags()
    seen.feed(page)
    assert seen.tags.count("script") == 1
    assert not {"iframe", "object", "embed", "base", "form"} & set(seen.tags)
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    for name, value in seen.attributes:
        assert name not in ("src", "href", "action") or str(value).startswith("data:image/jpeg;base64,")
    assert seen.tags.count("b") == len(re.findall(r"<li[^>]*><b>\d+</b>", page))  # those of the counts


class _Tags(HTMLParser):
    """What a browser would take for tags and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.extend(attrs)


def table() -> str:
    """The page docs/attacks.md."""
    lines = [
        "# Attacks",
        "",
        "Every forgery of the corpus in `tests/conformance/attacks`, what the forger does, and which check",
        "of `restore verify` notices. The verifier is given the laboratory's root (`--trust`) and its log's",
        "key (`--log-key`). Exit code 1 unless another is named. The page is written by",
        "`python tests/conformance/test_attacks.py`, and a test keeps it current.",
    ]
    for corpus in CORPORA:
        lines += ["", f"## {corpus.title}", ""]
        if corpus is insiders.INSIDERS:
            lines += [
                "Whoever holds the laboratory's key can sign anything. Here the verifier also recomputes.",
                "Where nothing notices, the statement rests on the laboratory's word: recomputation cannot",
                "show it. What remains is outside the bundle: the hash of the evidence taken at seizure, a",
                "trusted timestamp, and the log, in which a second record of a source stays visible.",
                "",
            ]
        lines += ["| name | what the forger does | caught by |", "|---|---|---|"]
        lines += [f"| {a.name} | {a.does} | {_caught(a)} |" for a in corpus.attacks]
    lines += [
        "",
        "## What the verifier does not notice",
        "",
        "- Without `--log-key` any log passes that signed its own checkpoint: the proof is not covered by",
        "  the laboratory's signature. The check `log.checkpoint` says so in its sentence.",
        "- The file `.tlog-proof` is a copy for other tools; what counts is the proof in the manifest.",
        "- The claim of an ancestor's ancestor is at best `unable`: the C2PA library leaves its signer out.",
        "- Two logs' proofs, or two states of one log, in one manifest are each checked alone. That a log",
        "  shows different histories is found by comparing its states.",
        "- Whether the signer stated the hash of the pixels rightly is not asked with `--no-recompute`",
        "  alone: a file that is, byte for byte, the one that a trusted signer signed is not decoded then.",
        "  Plain `verify` and `audit` ask it, and so does `--no-recompute --pixels` (`insider-pixel-hash`).",
        "- Without `--trust` a stranger's complete bundle comes out as `unable` (exit code 3), never `pass`.",
        "- Names that look alike in another script are not told apart by eye: trust rests on roots, never on",
        "  names.",
        "",
    ]
    return "\n".join(lines)


def _caught(attack: bench.Attack) -> str:
    if attack.exit_code == 0:
        return "nothing (exit code 0)"
    checks = ", ".join(f"`{check}`" for check in attack.caught_by)
    return checks if attack.exit_code == 1 else f"{checks}: unable (exit code {attack.exit_code})"


def test_the_page_of_attacks_is_current() -> None:
    assert (ROOT / "docs" / "attacks.md").read_text(encoding="utf-8") == table()


if __name__ == "__main__":
    sys.stdout.write(table())
