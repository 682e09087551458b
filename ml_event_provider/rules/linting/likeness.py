"""Rules that say the same: copies, and rules whose events are all another's that tells the same people."""

from __future__ import annotations

import json
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.rules.analysis import relation
from ml_event_provider.rules.analysis.demands import alternatives
from ml_event_provider.rules.linting.alerts import told
from ml_event_provider.rules.linting.remarks import Remark

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ml_event_provider.rules.analysis import Relation
    from ml_event_provider.rules.linting.reading import Reading
    from ml_event_provider.rules.model import RuleTarget

#: How many pairs of patterns are looked at, and how many of them are compared thoroughly. Beyond that it is said
#: that some were left out.
MAX_PAIRS: Final = 1_000_000
MAX_COMPARED: Final = 10_000
#: How many other rules a remark names.
_NAMED: Final = 3
#: The targets' options that say where a message goes.
_ROUTES: Final = ("to", "channel", "endpoint")


class _Likely:
    """Rules with the very same pattern, and what tells soon that others have different events."""

    def __init__(self, pattern: Mapping[str, Any]) -> None:
        self.pattern: Final = pattern
        self.members: Final[list[tuple[int, Reading]]] = []
        self.places: Final[set[str]] = set()
        demands = [
            {path: demand for group in groups for path, demand in group.items()} for groups in alternatives(pattern)
        ]
        #: The fields that each alternative asks about.
        self.asked: Final = frozenset.intersection(*(frozenset(each) for each in demands))
        #: Those for which values are listed, with all of these.
        self.listed: Final[dict[str, frozenset[Any]]] = {}
        for path in self.asked:
            values = [each[path].fixed() for each in demands]
            if all(found is not None and not each[path].absent for found, each in zip(values, demands, strict=True)):
                self.listed[path] = frozenset(value for found in values if found is not None for value in found)

    def may_hold(self, other: _Likely) -> bool:
        """Whether all events of the other may be among its own, as far as lists of values tell."""
        return all(
            path in other.asked and (path not in other.listed or other.listed[path] <= values)
            for path, values in self.listed.items()
        )


def check(readings: Sequence[Reading]) -> Iterator[Remark]:
    """What enabled rules say twice. A remark is about the narrower rule, of two equal ones about the second."""
    workspaces: dict[str, dict[str, _Likely]] = {}
    for number, reading in enumerate(readings):
        if not reading.rule.enabled or reading.missing or not reading.worlds():
            continue
        pattern = reading.patterns["hit"]
        found = workspaces.setdefault(reading.rule.workspace, {})
        likely = found.setdefault(json.dumps(pattern, sort_keys=True), _Likely(pattern))
        likely.members.append((number, reading))
        likely.places.update(_places(reading))
    for workspace, patterns in workspaces.items():
        yield from _workspace(workspace, list(patterns.values()))


def _workspace(workspace: str, patterns: Sequence[_Likely]) -> Iterator[Remark]:
    around: list[list[tuple[_Likely, bool]]] = [[(one, True)] for one in patterns]
    pairs = compared = 0
    for (left, one), (right, other) in combinations(enumerate(patterns), 2):
        pairs += 1
        if pairs > MAX_PAIRS or compared > MAX_COMPARED:
            text = (
                f"the workspace has too many rules that are much alike to compare all of them: {compared} pairs were"
                " compared, the rest was left out"
            )
            yield Remark("info", workspace, "", "rules", text, "not-all-compared")
            break
        found = _compared(one, other)
        if found is None:
            continue
        compared += 1
        equal = found == "equal"
        if equal or found == "a_in_b":
            around[left].append((other, equal))
        if equal or found == "b_in_a":
            around[right].append((one, equal))
    for one, others in zip(patterns, around, strict=True):
        for number, reading in one.members:
            yield from _said_twice(number, reading, others)


def _compared(one: _Likely, other: _Likely) -> Relation | None:
    """How the events of two patterns relate, or ``None`` where it is plain that neither holds the other."""
    if one.places.isdisjoint(other.places) or not (one.may_hold(other) or other.may_hold(one)):
        return None
    left, right = one.members[0][1].worlds(), other.members[0][1].worlds()
    return relation(one.pattern, other.pattern) if left <= right or right <= left else None


def _said_twice(number: int, reading: Reading, others: Sequence[tuple[_Likely, bool]]) -> Iterator[Remark]:
    rule, places = reading.rule, _places(reading)
    copied: list[str] = []
    alike: list[tuple[str, bool]] = []
    shared: set[str] = set()
    for likely, equal in others:
        for at, other in likely.members:
            if other is reading or (equal and at > number):
                continue
            same = (rule.condition, rule.by) == (other.rule.condition, other.rule.by)
            if equal and same and places == _places(other):
                copied.append(other.rule.name)
            elif common := places & _places(other):
                alike.append((other.rule.name, same))
                shared |= common
    if copied:
        text = f"does the same as {_named(copied)}: the same events, condition and targets; take one away"
        yield reading.remark("warning", "duplicate", "", text)
    if alike:
        names = sorted({place.partition("\n")[0] for place in shared})
        text = (
            f"every event of this rule is also one of {_named([name for name, _ in alike])}, and both go to"
            f" {', '.join(names)}; narrow the other, or leave the target out of one"
        )
        yield reading.remark("warning" if any(same for _, same in alike) else "info", "overlap", "targets", text)


def _named(names: Sequence[str]) -> str:
    listed = ", ".join(repr(name) for name in names[:_NAMED])
    return f"{listed} and {len(names) - _NAMED} others" if len(names) > _NAMED else listed


def _places(reading: Reading) -> set[str]:
    """Where the rule's notifications go at first."""
    return {_place(target) for target in reading.rule.targets if told(reading.rule, target)}


def _place(target: RuleTarget) -> str:
    route = [target.options.get(name) for name in _ROUTES]
    return f"{target.conn_id}\n{json.dumps(route, sort_keys=True)}"
