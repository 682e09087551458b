"""Why a pattern matched an event, or did not: each field's demand and what the event has there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ml_event_provider.rules.patterns.compiler import is_combination
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
    #: Whether something else holds in its place: another branch of a ``$or``.
    replaced: bool = False

    @property
    def is_cause(self) -> bool:
        """Whether the pattern does not match because of it."""
        return not self.passed and not self.replaced


class Explained(NamedTuple):
    """Whether a pattern matches an event, as the index says, and why."""

    matches: bool
    #: Each demand of the pattern, in its order.
    findings: list[Finding]

    @property
    def causes(self) -> list[Finding]:
        """Why it does not match: none where it does, and those of each branch where no branch of a ``$or`` holds."""
        return [one for one in self.findings if one.is_cause]


def explain(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> Explained:
    """Whether the pattern matches the event (``Event.to_dict()``), and each demand with what the event has there.

    :raises InvalidPattern: if the pattern is wrong.
    :raises TooCostly: if the event takes more steps than a match may.
    """
    matches = _matches(pattern, event)
    findings, passed = _object(pattern, event, "")
    if passed and not matches:
        findings.append(_TOGETHER)
    return Explained(matches, findings)


_TOGETHER: Final = Finding("(same array element)", "all fields in one element of each array", ABSENT, False)


def _matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    return bool(PatternIndex({"pattern": pattern}).match(event))


def _object(fields: Mapping[str, Any], event: Mapping[str, Any], prefix: str) -> tuple[list[Finding], bool]:
    findings: list[Finding] = []
    passed = True
    for name, value in fields.items():
        path = prefix + name
        if name == "$or" and is_combination(value, 2):
            more, held = _one_of(path, value, event, prefix)
        elif name == "$and":
            parts = [
                _object(item, event, prefix) if is_combination(value, 1) else _leaf(prefix[:-1], [item], event)
                for item in value
            ]
            more, held = [one for each, _ in parts for one in each], all(ok for _, ok in parts)
        elif isinstance(value, Mapping):
            more, held = _object(value, event, path + ".")
        else:
            more, held = _leaf(path, value, event)
        findings += more
        passed = passed and held
    return findings, passed


def _one_of(
    path: str, branches: list[Mapping[str, Any]], event: Mapping[str, Any], prefix: str
) -> tuple[list[Finding], bool]:
    findings: list[Finding] = []
    found = []
    for branch in branches:
        more, held = _object(branch, event, prefix)
        if held and not _matches(_inside(prefix, branch), event):
            more, held = [*more, _TOGETHER], False
        findings += more
        found.append(held)
    held = any(found)
    if held:
        findings = [one._replace(replaced=not one.passed) for one in findings]
    return [*findings, Finding(path, f"one of {len(branches)} branches", found, held)], held


def _inside(prefix: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in reversed(prefix.split(".")[:-1]):
        fields = {name: fields}
    return fields


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
