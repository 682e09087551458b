"""Plain text: what every value is made of before a dialect escapes it."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from jinja2 import Undefined

#: What stands for a value that is not there.
ABSENT = "\u2013"
#: What stands at the end of a text that was cut.
SHORTENED = "… (shortened)"

_NEWLINES = re.compile("\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
#: Control characters, the marks that turn the direction of text, tag characters, and the byte-order mark.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_ODD = re.compile(f"{_NEWLINES.pattern}|{_INVISIBLE.pattern}|{_SURROGATE.pattern}")
_SPACES = re.compile(r"\s+")
#: Runs of spaces that are more than one plain space.
_GAPS = re.compile(r"[^\S ]\s*| \s+")
#: Joins emoji or shows a character as emoji; belongs to what stands before it.
_JOINED = frozenset("\u200c\u200d\ufe0e\ufe0f\u20e3")


def clean(text: str) -> str:
    """``text`` with ``\\n`` as its only line break, and without what cannot be seen or encoded."""
    # What is printable holds none of them; a search for them takes ten times as long.
    if text.isprintable() or text.replace("\n", "").isprintable() or not _ODD.search(text):
        return text
    return _SURROGATE.sub("\ufffd", _INVISIBLE.sub("", _NEWLINES.sub("\n", text)))


def one_line(text: str) -> str:
    """``text``, cleaned, on one line."""
    if text.isprintable() and text.isascii() and "  " not in text:
        return text.strip()
    return _SPACES.sub(" ", clean(text)).strip()


def inline(text: str) -> str:
    """``text``, cleaned, with every run of spaces and line breaks as one space."""
    if text.isascii() and text.isprintable() and "  " not in text:
        return text
    return _GAPS.sub(" ", clean(text))


def text_of(value: Any) -> str:
    """Any value of an event as text; nothing (``None``, a missing field) is the empty text."""
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, Undefined):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="minutes").replace("+00:00", " UTC")
    if isinstance(value, Mapping | list | tuple):
        return json_of(value)
    return str(value)


def json_of(value: Any, indent: int | None = None) -> str:
    """``value`` as JSON; what JSON cannot hold (NaN, infinity, foreign objects) becomes ``null`` or text."""
    try:
        return _dump(value, indent)
    except ValueError:
        return _dump(_finite(value), indent)


def _dump(value: Any, indent: int | None) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=_foreign, indent=indent)
    return _SURROGATE.sub("\ufffd", text)


def _foreign(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return text_of(value)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def size(text: str) -> int:
    """The length of ``text`` in UTF-8 bytes."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def first_bytes(text: str, limit: int) -> str:
    """The longest start of ``text`` within ``limit`` bytes that ends between two visible characters."""
    if size(text) <= limit:
        return text
    start = text.encode("utf-8", "replace")[: max(limit, 0)].decode("utf-8", "ignore")
    return start[: boundary(text, len(start))]


def boundary(text: str, position: int) -> int:
    """The last position up to ``position`` that is not inside a combining sequence, an emoji or a flag."""
    while 0 < position < len(text) and (
        _continues(text[position]) or text[position - 1] == "\u200d" or _inside_flag(text, position)
    ):
        position -= 1
    return position


def _continues(character: str) -> bool:
    return (
        unicodedata.combining(character) != 0
        or unicodedata.category(character) in {"Mn", "Mc", "Me"}
        or character in _JOINED
        or "\U0001f3fb" <= character <= "\U0001f3ff"
    )


def _inside_flag(text: str, position: int) -> bool:
    letters = 0
    while letters < position and "\U0001f1e6" <= text[position - 1 - letters] <= "\U0001f1ff":
        letters += 1
    return letters % 2 == 1 and "\U0001f1e6" <= text[position] <= "\U0001f1ff"


def cut(text: str, limit: int, mark: str = "…") -> str:
    """``text`` within ``limit`` bytes, with ``mark`` at its end if something is missing."""
    if size(text) <= limit:
        return text
    room = limit - size(mark)
    return first_bytes(text, room).rstrip() + mark if room > 0 else first_bytes(text, limit)
