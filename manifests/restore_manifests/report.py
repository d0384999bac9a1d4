"""What a verification says: checks, each with a verdict, a code for machines and a sentence for people."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

__all__ = ["SAME_BYTES", "Check", "Report", "Verdict", "equal", "failed", "passed", "short", "unable"]

SAME_BYTES = "same-bytes"
"""Code of a check of pixels that passes because the file is, byte for byte, the one that was signed."""


class Verdict(StrEnum):
    """What a check, or a whole report, comes to."""

    PASS = "pass"  # noqa: S105  (a verdict, not a password)
    FAIL = "fail"
    UNABLE = "unable"


@dataclass(frozen=True)
class Check:
    """One check: its id, its verdict, a code for machines and a sentence for people."""

    id: str
    verdict: Verdict
    code: str
    message: str


@dataclass(frozen=True)
class Report:
    """All checks that apply, in the order of the command contract."""

    checks: tuple[Check, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the checks: fail, then unable, then pass. A report without checks decides nothing."""
        found = {check.verdict for check in self.checks}
        if Verdict.FAIL in found:
            return Verdict.FAIL
        return Verdict.PASS if found == {Verdict.PASS} else Verdict.UNABLE

    @property
    def praise(self) -> str:
        """The one sentence about a report that passes. It never says more than was checked."""
        if any(check.id == "recompute.pixels" for check in self.checks):
            return "Every check was made and holds."
        if any(check.code == SAME_BYTES for check in self.checks):
            return "Every check that was made holds; the pixels were neither decoded nor computed again."
        return "Every check that was made holds; the pixels were not computed again."

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 3 unable."""
        return {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.UNABLE: 3}[self.verdict]

    def to_json(self) -> dict[str, Any]:
        """The document that `restore verify --json` prints."""
        checks = [
            {"id": c.id, "verdict": c.verdict.value, "code": c.code, "message": c.message}
            for c in self.checks
        ]
        return {"verdict": self.verdict.value, "checks": checks}


def passed(name: str, message: str, code: str = "ok") -> Check:
    return Check(name, Verdict.PASS, code, _one_line(message))


def failed(name: str, code: str, message: str) -> Check:
    return Check(name, Verdict.FAIL, code, _one_line(message))


def unable(name: str, code: str, message: str) -> Check:
    return Check(name, Verdict.UNABLE, code, _one_line(message))


def _one_line(message: str) -> str:
    """Messages quote strangers, whose line breaks and direction marks could forge the line of a check."""
    if message.isprintable():
        return message
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in message
    )


def equal(name: str, kind: str, what: str, *, expected: str, found: str) -> Check:
    if expected == found:
        return passed(name, f"{what} exactly as recorded (SHA-256 {short(found)}).")
    message = f"{what} not as recorded: expected SHA-256 {short(expected)} and found {short(found)}"
    return failed(name, f"{kind}-mismatch", message)


def short(digest: str) -> str:
    return f"{digest[:12]}..."
