"""Coverage-guided fuzzing of the parsers, with atheris (libFuzzer for Python; Linux, CPython 3.11 to 3.13).

    python -m pip install atheris
    python tests/fuzz/fuzz.py --list
    python tests/fuzz/fuzz.py manifest --seconds 1800
    python tests/fuzz/fuzz.py manifest --seconds 1800 --keep /tmp/found -- -jobs=2
    python tests/fuzz/fuzz.py manifest crash-0123...              run one input, with a traceback

What follows `--` goes to libFuzzer. New inputs that reach new code, and those that break something, are kept
in --keep (default: nowhere). Put the interesting ones, and every input that once broke something, into
tests/fuzz/corpus/<target>/: the tests run that corpus, and mutations of it, without atheris.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

MAX_INPUT_BYTES = 1 << 17
MAX_SECONDS_AN_INPUT = 20
MAX_MEGABYTES = 4096


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", nargs="?", help="which parser")
    parser.add_argument("inputs", nargs="*", type=Path, help="inputs to run once each")
    parser.add_argument("--list", action="store_true", help="name the targets")
    parser.add_argument("--seconds", type=int, default=60, help="how long to search (default: 60)")
    parser.add_argument("--keep", type=Path, help="folder for what was found")
    own, _, passed_on = _split(sys.argv[1:])
    options = parser.parse_args(own)
    sys.path.insert(0, str(Path(__file__).parent))
    if options.list or options.target is None or options.inputs:
        from targets import TARGETS  # noqa: PLC0415

        if options.list or options.target is None:
            print("\n".join(sorted(TARGETS)))
            return 0 if options.list else 2
        for path in options.inputs:
            TARGETS[options.target](path.read_bytes())
            print(f"{path}: nothing to find")
        return 0
    return _search(options.target, options.seconds, options.keep, passed_on)


def _search(name: str, seconds: int, keep: Path | None, passed_on: list[str]) -> int:
    try:
        import atheris  # noqa: PLC0415
    except ImportError:
        print("atheris is not installed: python -m pip install atheris", file=sys.stderr)
        return 3
    with atheris.instrument_imports(include=["restore_manifests", "restore_sdk", "restore_models"]):
        from targets import CORPUS, TARGETS  # noqa: PLC0415
    if name not in TARGETS:
        print(f"{name} is none of: {', '.join(sorted(TARGETS))}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        found = keep or Path(scratch)
        found.mkdir(parents=True, exist_ok=True)
        limits = {
            "max_len": MAX_INPUT_BYTES,
            "timeout": MAX_SECONDS_AN_INPUT,
            "rss_limit_mb": MAX_MEGABYTES,
            "max_total_time": seconds,
            "artifact_prefix": f"{found}/",
        }
        arguments = [f"-{key}={value}" for key, value in limits.items()]
        # the first folder receives what is new; libFuzzer ends the process by itself
        atheris.Setup([sys.argv[0], *arguments, *passed_on, str(found), str(CORPUS / name)], TARGETS[name])
        atheris.Fuzz()
    return 0


def _split(arguments: list[str]) -> tuple[list[str], str, list[str]]:
    if "--" not in arguments:
        return arguments, "", []
    at = arguments.index("--")
    return arguments[:at], "--", arguments[at + 1 :]


if __name__ == "__main__":
    sys.exit(main())
