"""Reads JSON strictly, so that every reader of an event agrees on what it says (RFC 7493, I-JSON)."""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Any, Final

from ml_event_provider.exceptions import InvalidEvent

#: The deepest that JSON may be nested: enough for any event, and far from Python's recursion limit.
MAX_DEPTH: Final = 64
#: Half a surrogate pair: JSON can escape it, UTF-8 and databases cannot hold it.
SURROGATE: Final = re.compile("[\ud800-\udfff]")
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


def parse_json(text: str | bytes) -> Any:
    """Read one JSON document.

    :raises InvalidEvent: if it is no JSON in UTF-8, or has a byte order mark, a key twice in an object, a
        number beyond a double's range, half a surrogate pair, or more than ``MAX_DEPTH`` levels.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        if text.startswith("\ufeff"):
            raise ValueError("it starts with a byte order mark; send it without")
        document = _DECODER.decode(text)
        _check_levels(document)
    except RecursionError:
        raise InvalidEvent(f"not valid JSON: nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise InvalidEvent(f"not valid JSON: {error}") from None
    return document


def encodable(text: str) -> str:
    """``text`` with U+FFFD for each half surrogate pair."""
    return SURROGATE.sub("\ufffd", text) if _has_surrogates(text) else text


def storable(document: Any) -> Any:
    """A JSON value with U+FFFD for NUL and half surrogate pairs in its texts; itself where there are none.

    For documents that databases keep as such: PostgreSQL's hold no NUL, however it is written.
    """
    level = [document]
    while level:
        below: list[Any] = []
        for value in level:
            if isinstance(value, str):
                if "\0" in value or _has_surrogates(value):
                    return _replaced(document)
            elif isinstance(value, dict):
                below += value
                below += value.values()
            elif isinstance(value, list):
                below += value
        level = below
    return document


def _has_surrogates(text: str) -> bool:
    # Encoding is many times as quick as a search by pattern.
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return True
    return False


def _replaced(value: Any) -> Any:
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_replaced(key): _replaced(item) for key, item in value.items()}
    return [_replaced(item) for item in value] if isinstance(value, list) else value


def shown(value: object) -> str:
    """A value as an error message shows it: at most about 100 characters."""
    text = repr(value)
    return text if len(text) <= 100 else text[:100] + "…"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"an object has the key {shown(twice)} twice")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"{shown(text)} is no number that JSON readers share")
    return number


def _whole(text: str) -> int:
    _finite(text)
    return int(text)


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_int=_whole, parse_constant=_finite)


def _check_levels(document: Any) -> None:
    level = [document]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += value
                below += value.values()
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str) and _has_surrogates(value):
                raise ValueError(f"{shown(value)} holds half a surrogate pair")
        if not below:
            return
        level = below
    raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
