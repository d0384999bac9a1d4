"""What a command shows: one JSON document, or text for people; progress always on stderr.

Names and metadata come from strangers' files: everything shown goes through `printable`, so that no control
or direction character of theirs reaches the terminal, and nothing of it is read as markup.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Progress", "Terminal", "printable"]

Progress = Callable[[str, float], None]
"""Called with what is being done and the share that is done, 0 to 1."""

_STYLES = {"pass": "green", "fail": "bold red", "unable": "yellow"}


def printable(text: str) -> str:
    """`text` with everything that is not a visible character or a line break written as an escape."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in text
    )


@dataclass(frozen=True)
class Terminal:
    """One command's way of speaking: with `json` only the document on stdout, with `quiet` nothing."""

    json: bool
    quiet: bool
    verbose: bool

    def document(self, value: Any) -> None:
        """The command's result as one JSON document, if JSON was asked for."""
        if self.json:
            # One line for programs, which read the last one; spread out for eyes.
            print(json.dumps(value, indent=2 if sys.stdout.isatty() else None, allow_nan=False))

    def say(self, text: str = "") -> None:
        """A line of the result for people."""
        if not self.json and not self.quiet:
            print(printable(text))

    def note(self, text: str) -> None:
        """A remark on stderr."""
        if not self.quiet:
            print(printable(text), file=sys.stderr)

    def detail(self, text: str) -> None:
        """A remark for --verbose."""
        if self.verbose:
            print(printable(text), file=sys.stderr)

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Rows of text; on a terminal verdicts are coloured and the last column is wrapped in its place."""
        if self.json or self.quiet or not rows:
            return
        cells = [[printable(cell) for cell in row] for row in rows]
        if not sys.stdout.isatty():
            widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
            for row in cells:
                print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
            return
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        grid = Table.grid(padding=(0, 2))
        for row in cells:
            grid.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
        Console().print(grid)

    def verdict(self, verdict: str, text: str) -> None:
        """The closing line of a check."""
        self.table([[verdict, text]])

    @contextlib.contextmanager
    def progress(self) -> Iterator[Progress]:
        """A bar on stderr where that is a terminal; with `verbose`, elsewhere, a line per step."""
        if self.quiet or not sys.stderr.isatty():
            last = ""

            def tell(text: str, share: float) -> None:
                nonlocal last
                if text != last:
                    last = text
                    self.detail(f"{share:4.0%} {text}")

            yield tell
            return
        from rich.console import Console  # noqa: PLC0415
        from rich.markup import escape  # noqa: PLC0415
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415
        from rich.progress import Progress as Bars  # noqa: PLC0415

        columns = (BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
        with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task("", total=1.0)

            def show(text: str, share: float) -> None:
                bars.update(task, description=escape(printable(text)), completed=share)

            yield show
