"""Every command that the documents show is run, in order, or parsed by the program that it names."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from restore_cli.__main__ import main
from restore_cli.app import command
from restore_manifests.pixels import encode_png

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ["README.md", "CONTRIBUTING.md", "docs/training.md"]

# What a test does not run: training takes hours, and the demo has its own test.
ONLY_PARSED = {"train", "demo"}
PLACEHOLDER = {"signer.p12"}


def shown(text: str) -> list[str]:
    """The commands in fenced blocks, without their prompts."""
    blocks = re.findall(r"^```(?:console|bash)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.strip()]


def inline(text: str) -> list[str]:
    return re.findall(r"`(restore (?:[a-z]+)[^`]*)`", text)


def parse(words: list[str]) -> Any:
    """The innermost command, its options read; raises what the command line would."""
    root = command()
    with root.make_context("restore", list(words)) as context:
        where, inner = context, root
        while hasattr(inner, "resolve_command"):
            rest = [*where._protected_args, *where.args]
            name, inner, rest = inner.resolve_command(where, rest)
            assert inner is not None
            where = inner.make_context(name, rest, parent=where)
        return where


@pytest.mark.parametrize(
    "line",
    sorted({line for page in PAGES for line in shown((ROOT / page).read_text(encoding="utf-8"))}),
)
def test_every_command_exists(line: str) -> None:
    words = shlex.split(line)
    match words[0]:
        case "restore":
            assert parse(words[1:]).command_path.startswith(f"restore {words[1]}")
        case "make":
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            assert re.search(rf"^{words[1]}: .*##", makefile, re.MULTILINE)
        case "python3" | ".venv/bin/python" | "python":
            assert words[1:3] in (["-m", "venv"], ["-m", "pip"], ["-m", "pytest"])
            assert all((ROOT / word).is_file() for word in words if word.endswith(".txt"))
        case "torchrun":
            module = words.index("-m")
            assert words[module + 1] == "restore_cli"
            assert parse(words[module + 2 :]).command_path == "restore train"
        case other:
            pytest.fail(f"the documents show {other!r}, which nothing here checks")


@pytest.mark.parametrize("page", [*PAGES, "docs/limits.md", "docs/log.md", "docs/verifying.md"])
def test_commands_in_running_text_exist(page: str) -> None:
    for line in inline((ROOT / page).read_text(encoding="utf-8")):
        words = [word for word in shlex.split(line)[1:] if not word.isupper()]
        root = command()
        for word in words:  # groups and commands by name; what follows are arguments
            if not hasattr(root, "commands"):
                break
            if word.startswith("-"):
                continue
            assert word in root.commands, line
            root = root.commands[word]


def test_an_unknown_option_would_be_noticed() -> None:
    with pytest.raises(Exception, match=r"(?i)no such option"):
        parse(["run", "img.png", "--no-such-option"])


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the pictures that the README speaks of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RESTORE_PASSPHRASE", "a passphrase for this test")
    rng = np.random.default_rng(6)
    for name in ("img.png", "batch/one.png", "batch/two.png", "clean-pictures/a.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        ramp = np.linspace(60, 190, 48)[:, None, None] + np.zeros((48, 40, 3))
        path.write_bytes(encode_png(np.clip(ramp + rng.normal(0, 12, ramp.shape), 0, 255).astype(np.uint8)))
    return tmp_path


def test_the_readme_works_from_top_to_bottom(
    workplace: Path, restore_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [shlex.split(line) for line in shown(README) if line.startswith("restore ")]
    lines = [words[1:] for words in lines if words[1] not in ONLY_PARSED and not PLACEHOLDER & set(words)]
    # The two commands that stand first need the identity that the third block makes.
    lines.sort(key=lambda words: words[0] != "keys")
    seen = set()
    for words in lines:
        code = main(words)
        said = capsys.readouterr()
        assert code == 0, f"restore {shlex.join(words)}\n{said.out}\n{said.err}"
        seen.add(words[0])
        if words[:2] == ["keys", "init"]:
            shutil.copy(restore_home / "keys" / "root.pem", workplace)
    assert seen >= {"run", "verify", "audit", "keys", "log", "models", "selftest", "evaluate"}
    assert (workplace / "audit.html").stat().st_size > 1000
    assert sorted(path.name for path in (workplace / "enlarged").iterdir() if path.name[0] != ".") == [
        "img.confidence.png",
        "img.edit.png",
        "img.manifest.json",
        "img.restored.png",
        "img.tlog-proof",
    ]

    (block,) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    exec(compile(block, "README.md", "exec"), {})  # noqa: S102  (our own page)
    assert capsys.readouterr().out == "pass []\n"

    (workplace / "img.restored.png").write_bytes((workplace / "batch" / "one.restored.png").read_bytes())
    assert main(["verify", "img.restored.png", "img.manifest.json", "--no-recompute"]) == 1
    assert main(["verify", "missing.png", "img.manifest.json"]) == 2
    capsys.readouterr()
    shutil.copy(workplace / "enlarged" / "img.restored.png", workplace / "img.restored.png")
    code = main(["verify", "enlarged/img.restored.png", "enlarged/img.manifest.json", "--no-recompute"])
    assert code == 3


def test_exit_codes_are_those_of_the_errors() -> None:
    """The README's table names exactly the codes that the program can return."""
    from restore_manifests import errors  # noqa: PLC0415

    table = {int(code) for code in re.findall(r"^\| (\d) \|", README, re.MULTILINE)}
    raised = {kind.exit_code for name in errors.__all__ if (kind := getattr(errors, name))}
    assert raised <= table == {0, 1, 2, 3, 4}


def test_the_five_lines_say_what_it_is() -> None:
    opening = README.split("```", 1)[0].strip().splitlines()
    assert opening[0] == "# restore"
    assert len([line for line in opening[1:] if line]) == 5
    first, second = shown(README)[:2]
    assert first.startswith("restore run img.png --prompt")
    assert second.startswith("restore verify img.restored.png img.manifest.json")
