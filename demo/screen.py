"""Prints for people: sections, lines and tables that read well with and without colour, in 100 columns."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_COLOURS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


class Screen:
    """Standard output."""

    def __init__(self) -> None:
        self._colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self.width = max(60, min(100, shutil.get_terminal_size((100, 24)).columns))
        self._started = time.monotonic()
        self._sections = 0

    def paint(self, text: str, *styles: str) -> str:
        """The text in these styles, where there is colour."""
        if not self._colours or not styles:
            return text
        return f"\033[{';'.join(_COLOURS[style] for style in styles)}m{text}\033[0m"

    def line(self, text: str = "", *styles: str) -> None:
        """One line, cut to the width."""
        if len(text) > self.width:
            text = text[: self.width - 1] + "…"
        print(self.paint(text, *styles), flush=True)

    def section(self, title: str) -> None:
        """A numbered heading with the time since the start."""
        self._sections += 1
        title = f"━━ {self._sections}  {title} "
        since = f" {time.monotonic() - self._started:.0f} s ━━"
        self.line()
        self.line(title + "━" * max(0, self.width - len(title) - len(since)) + since, "bold", "cyan")

    def say(self, text: str, *styles: str) -> None:
        """A paragraph of the narrator."""
        for line in textwrap.wrap(text, self.width - 2, break_long_words=False, break_on_hyphens=False):
            self.line(f"  {line}", *styles)

    def table(self, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Rows in columns, the last one cut where the width ends."""
        texts = [[str(cell) for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(header, *texts, strict=True)]
        self.line("  " + "  ".join(map(str.ljust, header, widths)).rstrip(), "dim")
        for row in texts:
            self.line("  " + "  ".join(map(str.ljust, row, widths)).rstrip())

    def framed(self, title: str, text: str, *, most: int = 24) -> None:
        """A text as somebody got it, at most ``most`` lines of it."""
        lines = [
            part
            for line in text.strip().splitlines()
            for part in (textwrap.wrap(line, self.width - 4, break_long_words=False, break_on_hyphens=False) or [""])
        ]
        self.line()
        self.line(f"  ┌─ {title} " + "─" * max(0, self.width - len(title) - 6), "bold")
        for line in lines[:most]:
            # Not cut: it may be an address that somebody wants to copy.
            print(f"  │ {line}".rstrip(), flush=True)
        if len(lines) > most:
            self.line(f"  │ … {len(lines) - most} more lines", "dim")
        self.line("  └" + "─" * (self.width - 3))
