"""The command line: help, JSON purity, exit codes, and errors that are sentences."""

from __future__ import annotations

import errno
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restore_cli.__main__ import main
from restore_cli.app import command
from restore_cli.commands.demo import change_one_pixel
from restore_cli.terminal import Terminal, printable
from restore_manifests.errors import RestoreError, StorageError, UsageError
from restore_manifests.pixels import decode_png, png_chunks
from restore_sdk.models import list_models

MakeBundle = Callable[..., Any]
ROOT = command()


def _commands(group: Any = ROOT, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, found in group.commands.items():
        if hasattr(found, "commands"):
            yield from _commands(found, (*words, name))
        else:
            yield (*words, name), found


COMMANDS = dict(_commands())
NAMES = [" ".join(words) for words in COMMANDS]


class Outcome(SimpleNamespace):
    """What one command did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    def run(*words: str | Path) -> Outcome:
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Outcome(code=code, out=captured.out, err=captured.err)

    return run


Invoke = Callable[..., Outcome]


def _stub(monkeypatch: pytest.MonkeyPatch, module: str, **names: Any) -> None:
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(**names))


# ---- help ------------------------------------------------------------------------------------------------


def test_every_command_of_the_contract_is_there() -> None:
    contract = ["run", "verify", "audit", "report", "export", "train", "evaluate", "selftest", "demo"]
    contract += [f"keys {verb}" for verb in ("init", "show", "import", "rotate")]
    contract += [f"log {verb}" for verb in ("anchor", "show", "prove", "check", "export", "stamp", "witness")]
    contract += [f"models {verb}" for verb in ("list", "show", "import", "calibrate")]
    assert sorted(NAMES) == sorted(contract)


@pytest.mark.parametrize("name", NAMES)
def test_help_names_the_common_options_and_shows_an_example(invoke: Invoke, name: str) -> None:
    shown = invoke(*name.split(), "--help")
    assert (shown.code, shown.err) == (0, "")
    for option in ("--json", "--quiet", "--verbose", "--help"):
        assert option in shown.out
    assert f"restore {name}" in shown.out.partition("Example:")[2]


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_parse(name: str) -> None:
    lines = COMMANDS[tuple(name.split())].epilog.splitlines()
    examples = [shlex.split(line) for line in lines if line.strip().startswith("restore ")]
    assert examples
    for words in examples:
        assert words[1 : 1 + len(name.split())] == name.split()
        COMMANDS[tuple(name.split())].make_context(name, words[1 + len(name.split()) :])


def test_no_arguments_show_the_help_and_the_version_is_told(invoke: Invoke) -> None:
    assert "Usage: restore" in invoke().out
    assert invoke("--version").out.startswith("restore 0.")


# ---- errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["no-such-command"],
        ["run"],
        ["run", "x.png", "--scale", "3"],
        ["run", "x.png", "--mode", "magic"],
        ["verify", "only-one.png"],
        ["audit", "x", "--jobs", "0"],
        ["keys"],
        ["train", "--phase", "first"],
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_wrong_use_is_one_sentence_and_exit_code_2(invoke: Invoke, words: list[str], as_json: bool) -> None:
    outcome = invoke(*words, *(["--json"] if as_json else []))
    assert outcome.code == 2
    assert outcome.err.startswith("restore: ")
    assert "--help" in outcome.err
    assert "Traceback" not in outcome.err
    if as_json:
        assert set(outcome.document["error"]) == {"message", "hint", "exit_code"}
    else:
        assert outcome.out == ""


class _OddError(RestoreError):
    exit_code = 3


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (UsageError("That is wrong.", hint="Do this."), 2, "That is wrong. Do this."),
        (StorageError("The disk is full."), 4, "The disk is full."),
        (_OddError("Something is missing."), 3, "Something is missing."),
        (KeyboardInterrupt(), 4, "Interrupted."),
        (EOFError(), 4, "Interrupted."),
        (typer.Abort(), 4, "Interrupted."),
        (MemoryError(), 4, "not enough memory"),
        (OSError(errno.ENOSPC, "No space left on device", "x.png"), 4, "disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "x.png"), 4, "Permission denied: x.png"),
        (ZeroDivisionError("by \x1b[31mzero"), 4, "fault: ZeroDivisionError: by \\x1b[31mzero"),
    ],
)
@pytest.mark.parametrize("verbose", [False, True])
def test_whatever_is_raised_becomes_one_sentence(
    invoke: Invoke,
    monkeypatch: pytest.MonkeyPatch,
    raised: BaseException,
    code: int,
    said: str,
    verbose: bool,
) -> None:
    def fail(**_: Any) -> None:
        raise raised

    _stub(monkeypatch, "restore_sdk.selftest", selftest=fail)
    outcome = invoke("selftest", "--json", *(["--verbose"] if verbose else []))
    assert outcome.code == code
    assert said in outcome.err
    assert ("Traceback" in outcome.err) == verbose
    assert "\x1b" not in outcome.err.partition("restore: ")[2]
    assert outcome.document["error"]["exit_code"] == code


def test_a_reader_that_goes_away_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    _stub(monkeypatch, "restore_sdk.selftest", selftest=gone)
    monkeypatch.setattr("restore_cli.__main__.os.dup2", lambda *_: None)
    assert main(["selftest"]) == 4
    assert capsys.readouterr().err == ""


@given(path=st.text(max_size=60))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_path_whatever_makes_verify_or_audit_break(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["verify", "--no-recompute", "--json", "--", path, path],
        ["audit", "--json", "--", path + "\0"],
    ):
        code = main(words)
        captured = capsys.readouterr()
        assert code in (2, 3)
        json.loads(captured.out)
        assert "Traceback" not in captured.err


@given(st.text())
def test_nothing_shown_steers_a_terminal(text: str) -> None:
    assert all(c.isprintable() or c == "\n" for c in printable(text))


def test_text_that_a_code_page_lacks_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="cp1252"))
    _stub(monkeypatch, "restore_sdk.models", list_models=lambda: [{"id": "\u65e5\u672c \U0001f600"}])
    assert main(["models", "list"]) == 0
    assert raw.getvalue().split() == [b"id", b"\\u65e5\\u672c", b"\\U0001f600"]


# ---- commands --------------------------------------------------------------------------------------------


def test_verify_prints_every_check_and_follows_the_verdict(
    invoke: Invoke, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "case")
    words = ["verify", bundle.result, bundle.manifest, "--no-recompute"]
    good = invoke(*words, "--json", "--trust", bundle.root, "--log-key", bundle.log_key)
    assert (good.code, good.document["verdict"]) == (0, "pass")
    assert all(set(check) >= {"id", "verdict", "message"} for check in good.document["checks"])
    key = tmp_path / "log.vkey"
    key.write_text(bundle.log_key, encoding="ascii")
    assert invoke(*words, "--log-key", key, "--trust", bundle.root).code == 0
    assert invoke(*words).code == 3
    bundle.edit.write_bytes(bundle.confidence.read_bytes())
    bad = invoke(*words)
    assert bad.code == 1
    assert [line.split()[:2] for line in bad.out.splitlines() if line.startswith("fail")] == [
        ["fail", "maps.edit"],
        ["fail", "At"],
    ]
    assert "\x1b" not in bad.out
    quiet = invoke(*words, "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (1, "", "")


def test_pixels_are_decoded_without_recomputation_where_that_is_asked_for(
    invoke: Invoke, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "case")
    options = ["--no-recompute", "--trust", bundle.root, "--json"]
    verify = ["verify", bundle.result, bundle.manifest, *options]
    audit = ["audit", tmp_path / "case", "--jobs", "1", *options]

    def codes(document: Any) -> set[str]:
        checks = document["items"][0]["checks"] if "items" in document else document["checks"]
        return {check["code"] for check in checks}

    for words in (verify, audit):
        by_bytes, decoded = invoke(*words), invoke(*words, "--pixels")
        assert (by_bytes.code, decoded.code) == (0, 0)
        assert (codes(by_bytes.document), codes(decoded.document)) == ({"ok", "same-bytes"}, {"ok"})


def test_audit_writes_a_report_and_one_document(
    invoke: Invoke, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "batch")
    report = tmp_path / "audit.html"
    words = ["audit", tmp_path / "batch", "--no-recompute", "--jobs", "1", "--report", report]
    done = invoke(*words, "--json", "--trust", bundle.root)
    assert (done.code, done.document["verdict"]) == (0, "pass")
    assert set(done.document) >= {"verdict", "counts", "items"}
    assert "data:image/jpeg" in report.read_text(encoding="utf-8")
    assert invoke(*words).code == 2  # before any work: the report is there
    shown = invoke(*words, "--force")
    assert shown.code == 3
    assert "plate.manifest.json" in shown.out


def test_keys_are_made_shown_and_imported(
    invoke: Invoke, restore_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert invoke("keys", "show").code == 2
    missing = invoke("keys", "init", "--name", "A. Examiner")
    assert missing.code == 2
    assert "RESTORE_PASSPHRASE" in missing.err
    monkeypatch.setenv("RESTORE_PASSPHRASE", "correct horse")
    made = invoke("keys", "init", "--name", "A. Examiner", "--algorithm", "Ed25519", "--json")
    assert (made.code, made.document["name"], made.document["algorithm"]) == (0, "A. Examiner", "Ed25519")
    again = invoke("keys", "init", "--name", "B")
    assert again.code == 2
    assert "--force" in again.err
    monkeypatch.delenv("RESTORE_PASSPHRASE")
    shown = invoke("keys", "show", "--json")
    assert shown.document == made.document
    assert Path(shown.document["root"]).is_file()
    moved = tmp_path / "lab.p12"
    Path(made.document["identity"]).replace(moved)
    monkeypatch.setenv("RESTORE_PASSPHRASE", "wrong")
    assert invoke("keys", "import", moved).code == 2
    monkeypatch.setenv("RESTORE_PASSPHRASE", "correct horse")
    assert invoke("keys", "import", moved, "--json").document["key_id"] == made.document["key_id"]
    assert invoke("keys", "import", tmp_path / "none.p12").code == 2


def test_run_wants_an_identity_before_anything_else(invoke: Invoke, tmp_path: Path) -> None:
    outcome = invoke("run", tmp_path / "img.png")
    assert outcome.code == 2
    assert "restore keys init" in outcome.err


def test_run_hands_over_what_was_asked_for(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert invoke("keys", "init", "--name", "Test", "--unprotected").code == 0
    calls: list[dict[str, Any]] = []

    def restore(images: list[Path], **options: Any) -> list[Any]:
        calls.append({"images": images, **options})
        options["progress"]("restoring", 0.5)
        finding = {"severity": "warning", "message": "a [bold]finding[/bold]"}
        return [
            SimpleNamespace(
                result=image,
                manifest=image,
                seconds=1.0,
                abstained=True,
                findings=[finding],
                to_json=lambda: {"result": "x"},
            )
            for image in images
        ]

    _stub(monkeypatch, "restore_sdk.restoration", restore=restore)
    weights = tmp_path / "mine.safetensors"
    one = invoke("run", "a.png", "--scale", "2", "--seed", "5", "--model", weights, "--json", "-o", tmp_path)
    assert one.document == {"result": "x"}
    assert calls[0]["identity"].name == "Test"
    assert {
        key: calls[0][key] for key in ("images", "scale", "seed", "model", "out", "mode", "arithmetic")
    } == {
        "images": [Path("a.png")],
        "scale": 2,
        "seed": 5,
        "model": weights,
        "out": tmp_path,
        "mode": "auto",
        "arithmetic": "exact",
    }
    assert "a [bold]finding[/bold]" in one.err
    two = invoke("run", "a.png", "b.png", "--json", "--model", "blind-small-1", "--quiet")
    assert two.document == [{"result": "x"}, {"result": "x"}]
    assert calls[1]["model"] == "blind-small-1"
    assert two.err == ""
    assert "50% restoring" in invoke("run", "a.png", "--verbose").err


def test_the_log_is_shown_proved_checked_and_exported(
    invoke: Invoke, make_bundle: MakeBundle, tmp_path: Path, restore_home: Path
) -> None:
    assert invoke("log", "show").code == 2
    assert not (restore_home / "log").exists()
    first, second = make_bundle(tmp_path / "a"), make_bundle(tmp_path / "b", seed=8)
    shown = invoke("log", "show", "--json").document
    assert (shown["origin"], shown["size"]) == ("test.example/log", 2)
    proved = invoke("log", "prove", second.manifest, "--json").document
    assert proved["index"] == 1
    assert invoke("log", "prove", "1").out.strip() == proved["proof"].strip()
    assert invoke("log", "prove", "7").code == 2
    file = tmp_path / "proof"
    assert invoke("log", "prove", "0", "--out", file).code == 0
    assert invoke("log", "prove", "0", "--out", file).code == 2
    assert invoke("log", "check", "--against", first.proof, "--json").document["verdict"] == "pass"
    assert invoke("log", "check", "--against", file).code == 0
    assert invoke("log", "check", "--against", first.source).code == 2
    assert invoke("log", "export", tmp_path / "log.jsonl", "--json").document["size"] == 2
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[0]["checkpoint"] == shown["checkpoint"]
    assert [line["index"] for line in lines[1:]] == [0, 1]
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize(("verdict", "code"), [("pass", 0), ("fail", 1), ("unable", 3)])
def test_selftest_follows_its_verdict(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, verdict: str, code: int
) -> None:
    found = {
        "verdict": verdict,
        "device": "cpu",
        "vectors": [{"name": "tile", "verdict": verdict, "found": "0f"}],
    }
    _stub(monkeypatch, "restore_sdk.selftest", selftest=lambda: found)
    assert invoke("selftest", "--json").document == found
    assert invoke("selftest").code == code


def test_train_begins_from_all_the_runs_that_are_named(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = []

    def train(_phase: int, **options: Any) -> dict[str, Any]:
        starts.append(list(options["start"]))
        return {"metrics": {}}

    _stub(monkeypatch, "restore_sdk.training", train=train, is_first_process=lambda: True)
    for named in ([], ["--start", "one"], ["--start", "one", "--start", "other"]):
        assert invoke("train", "--phase", "0", *named, "--json").code == 0
    assert starts == [[], [Path("one")], [Path("one"), Path("other")]]


def test_train_and_evaluate_pass_progress_on(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = {"checkpoint": "c", "steps": 3, "metrics": {"loss": 0.5}}

    def train(phase: int, *, progress: Any, **options: Any) -> dict[str, Any]:
        progress(1, 3, {"loss": 0.75})
        assert (phase, options["resume"], options["steps"]) == (0, True, None)
        return trained

    measured = {"suite": "jpeg", "rows": [{"dataset": "d", "setting": "q10", "psnr": 30.126, "ssim": 0.91}]}

    def evaluate(suite: str, *, progress: Any, **options: Any) -> dict[str, Any]:
        progress(0.5)
        return measured

    _stub(monkeypatch, "restore_sdk.training", train=train, is_first_process=lambda: True)
    _stub(monkeypatch, "restore_sdk.evaluation", evaluate=evaluate)
    done = invoke("train", "--phase", "0", "--resume", "--json", "--verbose")
    assert (done.document, "step 1 of 3: loss 0.75" in done.err) == (trained, True)
    _stub(monkeypatch, "restore_sdk.training", train=train, is_first_process=lambda: False)
    other = invoke("train", "--phase", "0", "--resume", "--json", "--verbose")
    assert (other.code, other.out, other.err) == (0, "", "")  # one of several processes speaks
    assert invoke("evaluate", "jpeg", "--images", "d", "--json").document == measured
    assert "30.13  0.9100" in invoke("evaluate", "jpeg", "--images", "d").out


@pytest.mark.skipif(not any(model["shipped"] for model in list_models()), reason="no weights are shipped")
def test_the_demo_passes_and_its_changed_pixel_is_caught(
    invoke: Invoke, tmp_path: Path, restore_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("restore_cli.commands.demo.KINDS", ("plate",))
    done = invoke("demo", tmp_path / "demo", "--json")
    assert done.code == 0, done.err
    (picture,) = done.document["pictures"]
    assert picture["verdict"] == "pass"
    assert Path(picture["contact_sheet"]).is_file()
    tampered = done.document["tampered"]
    assert {check["id"] for check in tampered["checks"] if check["verdict"] == "fail"} == {
        "result.file",
        "result.pixels",
        "c2pa.binding",
    }
    assert not restore_home.exists(), "the demo left traces in the user's own home"
    assert invoke("demo", tmp_path / "demo").code == 2
    shown = invoke("demo", tmp_path / "demo", "--force")
    assert shown.code == 0
    assert "fail  result.pixels" in shown.out


def test_a_changed_pixel_changes_nothing_else(make_bundle: MakeBundle, tmp_path: Path) -> None:
    png = make_bundle(tmp_path / "case").result.read_bytes()
    changed = change_one_pixel(png)
    before, after = decode_png(png).astype(int), decode_png(changed).astype(int)
    assert (before != after).any(axis=2).sum() == 1
    assert abs(before - after).max() == 1
    others = [
        [(kind, body) for _, kind, body in png_chunks(data) if kind != b"IDAT"] for data in (png, changed)
    ]
    assert others[0] == others[1]


def test_the_demo_keeps_out_of_a_folder_in_use(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").write_text("mine")
    assert invoke("demo", tmp_path / "used").code == 2
    assert (tmp_path / "used" / "file").read_text() == "mine"


def test_a_demo_that_fails_takes_its_folder_away_again(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("restore_cli.commands.demo._walk", fail)
    assert invoke("demo", tmp_path / "new").code == 4
    assert not (tmp_path / "new").exists()


def test_on_a_terminal_verdicts_are_coloured_and_hostile_text_is_not_markup(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm")
    screen, errors = Tty(), Tty()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", errors)
    terminal = Terminal(json=False, quiet=False, verbose=False)
    terminal.table([("fail", "x", "[red]a[/red]\x1b[2J")])
    assert "\x1b[1;31mfail" in screen.getvalue()
    assert "[red]a[/red]\\x1b[2J" in screen.getvalue()
    with terminal.progress() as progress:
        progress("[link]name[/link]", 0.5)
    assert "50%" in errors.getvalue()
    assert screen.getvalue().count("\n") == 1


# ---- what is imported, and how fast ----------------------------------------------------------------------


def _modules_after(*words: str | Path) -> tuple[int, set[str]]:
    code = (
        "import sys\nfrom restore_cli.__main__ import main\ncode = main(sys.argv[1:])\n"
        "print(code, *sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=True
    )
    code_text, *modules = done.stderr.splitlines()[-1].split()
    return int(code_text), set(modules)


def test_torch_is_never_imported_where_nothing_is_computed(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "case")
    code, modules = _modules_after("--help")
    assert code == 0
    assert not modules & {"torch", "numpy", "pydantic", "rich", "cryptography", "PIL"}
    for words in (
        ["verify", bundle.result, bundle.manifest, "--no-recompute", "--trust", bundle.root],
        ["audit", tmp_path / "case", "--no-recompute", "--trust", bundle.root, "--jobs", "1"],
        ["keys", "init", "--name", "Test", "--unprotected"],
        ["log", "check"],
    ):
        code, modules = _modules_after(*words)
        assert code == 0, words
        assert "torch" not in modules, words


def test_workers_of_an_audit_do_not_import_torch_either(
    make_bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle(tmp_path / "case")
    (tmp_path / "trap").mkdir()
    (tmp_path / "trap" / "torch.py").write_text("raise SystemExit('torch was imported')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "trap"))
    words = ["audit", tmp_path / "case", "--no-recompute", "--trust", bundle.root, "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "restore_cli", *map(str, words)], capture_output=True, check=False
    )
    assert json.loads(done.stdout)["verdict"] == "pass"


def test_help_imports_nothing_heavy() -> None:
    """That is why it answers at once; how soon: benchmarks/bench_start.py."""
    code = "import sys; from restore_cli.__main__ import main; main(['--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "numpy", "cv2", "c2pa", "PIL", "pydantic", "cryptography", "rich"}
    assert not heavy & set(done.stdout.split())


@pytest.mark.skipif(os.name == "nt", reason="signals are sent differently there")
def test_an_interrupted_audit_says_so_and_leaves_no_report(make_bundle: MakeBundle, tmp_path: Path) -> None:
    make_bundle(tmp_path / "batch" / "first", size=(800, 1000))
    for number in range(63):  # enough that it cannot be over before the signal comes
        shutil.copytree(tmp_path / "batch" / "first", tmp_path / "batch" / str(number))
    words = ["audit", tmp_path / "batch", "--no-recompute", "--verbose", "--report", tmp_path / "audit.html"]
    # A shell starts what runs in its background deaf to this signal, and children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "restore_cli", *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that the signal reaches its workers and not us
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.stderr
    assert process.stderr.readline().endswith(".manifest.json\n")  # the first is done
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (4, "")
    assert err.splitlines()[-1].startswith("restore: Interrupted.")
    assert not [path for path in tmp_path.iterdir() if "audit" in path.name or path.suffix == ".tmp"]


@pytest.mark.skipif(os.name == "nt", reason="pipes are closed differently there")
def test_a_pipe_closed_early_leaves_no_traceback() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "restore_cli", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait() in (0, 4)
    assert said == b""
