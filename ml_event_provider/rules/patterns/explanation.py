"""Why a pattern matched an event, or did not: each field's demand and what the event has there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ml_event_provider.rules.patterns.compiler import compile_pattern, is_combination
from ml_event_provider.rules.patterns.index import PatternIndex
from ml_event_provider.rules.patterns.values import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterator


class Finding(NamedTuple):
    """One demand of a pattern.

    ``predicate`` is the demand as JSON. ``found`` is the event's value at ``path``, a list if arrays give
    several, or ``ABSENT`` (printed as ``absent``). The findings named ``$or`` and ``(same array element)``
    sum up others.
    """

    path: str
    predicate: str
    found: Any
    passed: bool


def explain(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> list[Finding]:
    """Each demand of the pattern in its order, with what the event (``Event.to_dict()``) has there.

    :raises InvalidPattern: if the pattern is wrong.
    """
    compile_pattern(pattern)
    findings, passed = _object(pattern, event, "")
    if passed and not _matches(pattern, event):
        findings.append(Finding("(same array element)", "all fields in one element of each array", ABSENT, False))
    return findings


def _matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    return bool(PatternIndex({"pattern": pattern}).match(event))


def _object(fields: Mapping[str, Any], event: Mapping[str, Any], prefix: str) -> tuple[list[Finding], bool]:
    findings: list[Finding] = []
    passed = True
    for name, value in fields.items():
        path = prefix + name
        if name == "$or" and is_combination(value, 2):
            branches = [_object(item, event, prefix) for item in value]
            found = [held for _, held in branches]
            for each, _ in branches:
                findings += each
            held = any(found)
            findings.append(Finding(path, f"one of {len(value)} branches", found, held))
        elif name == "$and":
            parts = [
                _object(item, event, prefix) if is_combination(value, 1) else _leaf(prefix[:-1], [item], event)
                for item in value
            ]
            for each, _ in parts:
                findings += each
            held = all(ok for _, ok in parts)
        elif isinstance(value, Mapping):
            more, held = _object(value, event, path + ".")
            findings += more
        else:
            more, held = _leaf(path, value, event)
            findings += more
        passed = passed and held
    return findings, passed


def _leaf(path: str, elements: list[Any], event: Mapping[str, Any]) -> tuple[list[Finding], bool]:
    nested: Any = elements
    held = _matches({path: nested}, event)
    asked = elements[0] if len(elements) == 1 else elements
    values = list(_values(event, path.split(".")))
    found = ABSENT if not values else values[0] if len(values) == 1 else values
    return [Finding(path, json.dumps(asked, ensure_ascii=False), found, held)], held


def _values(value: Any, names: list[str]) -> Iterator[Any]:
    """The plain values at a path, whose names may stand joined by dots in the event."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from _values(item, names)
    elif isinstance(value, Mapping):
        for count in range(1, len(names) + 1):
            name = ".".join(names[:count])
            if name in value:
                yield from _values(value[name], names[count:])
    elif not names:
        yield value
