"""The filters that templates have beside Jinja's own: times, durations, tracebacks, numbers.

Each takes what an event may hold and never fails on it: what cannot be understood is shown as it is.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jinja2 import Undefined

from ml_event_provider.messages import plain
from ml_event_provider.messages.dialects import DIALECTS

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_LINES = 12
_FRAME = re.compile(r'\s*File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<name>.+))?\Z')
#: Files that are not the user's code.
_FOREIGN = re.compile(r"[/\\](site-packages|dist-packages|lib[/\\]python3[.\d]*)[/\\]|\A<")
_SECTIONS = re.compile(
    r"\n\n(?:During handling of the above exception, another exception occurred"
    r"|The above exception was the direct cause of the following exception):\n\n"
)
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def duration(seconds: Any) -> Any:
    """Seconds as people say them, in two units: ``0.4 s``, ``12 s``, ``3 min 5 s``, ``2 d 4 h``."""
    number = _number(seconds)
    if number is None:
        return seconds
    if number < 0:
        return f"-{duration(-number)}"
    if number < 9.95:
        return f"{number:.1f} s".replace(".0 s", " s")
    # Rounded to the smaller of the two units first, so that 119.6 s is 2 min and not 1 min 60 s.
    rounded = round(number) if number < 3_600 else round(number / 60) * 60
    if rounded >= 86_400:
        rounded = round(number / 3_600) * 3_600
    parts = []
    for length, unit in _UNITS:
        count, rounded = divmod(rounded, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def when(moment: Any) -> Any:
    """A time (ISO or datetime; without a zone it is UTC) in minutes: ``2026-11-22 09:30 UTC``."""
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", moment.strip()))
        except ValueError:
            return moment
    if not isinstance(moment, datetime):
        return moment
    try:
        aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        return moment.isoformat()
    return aware.strftime("%Y-%m-%d %H:%M UTC")


def lines(text: Any, count: int = MAX_LINES) -> Any:
    """At most ``count`` lines: of more, the first and the last, and between them how many are left out."""
    if not isinstance(text, str):
        return text
    found = plain.clean(text).strip("\n").split("\n")
    if len(found) <= max(count, 3):
        return "\n".join(found)
    head = max(count, 3) // 3
    tail = max(count, 3) - head - 1
    return "\n".join([*found[:head], f"… {len(found) - head - tail} lines …", *found[-tail:]])


def cut(text: Any, limit: int = 300, mark: str = "…") -> Any:
    """Text on one line, within ``limit`` bytes of UTF-8."""
    if isinstance(text, Undefined) or text is None:
        return text
    return plain.cut(plain.one_line(plain.text_of(text)), int(limit), mark)


def number(value: Any, digits: int = 3) -> Any:
    """A number with ``digits`` significant digits, thousands apart: ``0.314``, ``12,480``."""
    found = _number(value)
    if found is None:
        return value
    if found == int(found) and abs(found) < 1e15:
        return f"{int(found):,}"
    return f"{found:,.{min(max(int(digits), 1), 15)}g}" if abs(found) < 10 ** int(digits) else f"{found:,.0f}"


def percent(value: Any) -> Any:
    """A share as a percentage: ``0.4`` is ``40%``."""
    found = _number(value)
    return value if found is None else f"{found * 100:.3g}%"


def listed(value: Any) -> list[Any]:
    """A list as it is; a text or number as a list of it; nothing, or an object, as an empty list."""
    if isinstance(value, list | tuple):
        return list(value)
    return [value] if isinstance(value, str | int | float) and value != "" else []


def failure(exception: Any) -> Any:
    """An exception in one line: ``ValueError: shapes differ``."""
    if isinstance(exception, dict):
        kind = plain.one_line(plain.text_of(exception.get("type"))).rsplit(".", 1)[-1]
        message = plain.cut(plain.one_line(plain.text_of(exception.get("message"))), 600)
        return ": ".join(part for part in (kind, message) if part) or None
    return cut(exception, 600)


def frames(traceback: Any, count: int = MAX_LINES) -> Any:
    """The telling lines of a Python traceback: the user's own frames, and where it was raised.

    A traceback in another form gives its last lines.
    """
    if not isinstance(traceback, str) or not traceback.strip():
        return None
    found = _frames(_SECTIONS.split(plain.clean(traceback))[-1])
    if not found:
        return "\n".join(plain.clean(traceback).strip("\n").split("\n")[-count:])
    own = [frame for frame in found if not _FOREIGN.search(frame[0])]
    most = max(count // 2, 1)
    if not own:
        return _lines(found[-most:], count)
    chosen = own[-most:]
    if found[-1] is not own[-1]:
        # Where it was raised, deep in a library, comes after the user's frames.
        chosen = [*chosen[-(most - 1) :], found[-1]] if most > 1 else chosen
    return _lines(chosen, count)


def _frames(text: str) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    waiting: tuple[str, str] | None = None
    for line in text.split("\n"):
        match = _FRAME.match(line)
        if match:
            if waiting:
                found.append((*waiting, ""))
            name = f" in {match['name']}" if match["name"] else ""
            waiting = (match["file"], f"{_short(match['file'])}:{match['line']}{name}")
        elif waiting:
            found.append((*waiting, line.strip()))
            waiting = None
    if waiting:
        found.append((*waiting, ""))
    return found


def _lines(found: list[tuple[str, str, str]], count: int) -> str:
    text = [line for _, place, code in found for line in (place, f"    {code}" if code else "") if line]
    return "\n".join(text[-count:])


def _short(path: str) -> str:
    parts = re.split(r"[/\\]", path)
    for mark in ("site-packages", "dist-packages", "dags"):
        if mark in parts[:-1]:
            return "/".join(parts[parts.index(mark) + (mark != "dags") :])
    return "/".join(parts[-3:])


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _for_dialect(name: str) -> Callable[[Any], str]:
    def escape(value: Any) -> str:
        return str(DIALECTS[name].inline(value))

    escape.__doc__ = f"A value escaped for the dialect ``{name}``: for text inside another format's text."
    return escape


FILTERS: dict[str, Callable[..., Any]] = {
    "duration": duration,
    "when": when,
    "lines": lines,
    "cut": cut,
    "number": number,
    "percent": percent,
    "listed": listed,
    "failure": failure,
    "frames": frames,
    "markdown": _for_dialect("markdown"),
    "mrkdwn": _for_dialect("mrkdwn"),
    "html": _for_dialect("html"),
}
