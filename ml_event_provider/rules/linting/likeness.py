"""Rules that say the same: copies, and rules whose events are all another's that tells the same people."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ml_event_provider.rules.analysis import relation, witness
from ml_event_provider.rules.analysis.demands import Demand, alternatives
from ml_event_provider.rules.analysis.values import search
from ml_event_provider.rules.linting.alerts import told
from ml_event_provider.rules.linting.remarks import Remark
from ml_event_provider.rules.patterns.index import PatternIndex

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ml_event_provider.rules.analysis.fields import World
    from ml_event_provider.rules.linting.reading import Reading
    from ml_event_provider.rules.model import Rule, RuleTarget

#: How many pairs of patterns are looked at, and how many of them are compared thoroughly. Beyond that it is said
#: that some were left out.
MAX_PAIRS: Final = 1_000_000
MAX_COMPARED: Final = 2000
#: How many other rules a remark names.
_NAMED: Final = 3
#: The targets' options that say where a message goes.
_ROUTES: Final = ("to", "channel", "endpoint")

#: The rule's fields that say when it fires on its events, how gravely, and what becomes of that.
_MANNERS: Final = (
    *("condition", "by", "severity", "resolve", "repeat", "cooldown", "suppress", "flapping", "escalate", "group"),
    *("active", "inhibit", "actions"),
)


class _Member(NamedTuple):
    number: int
    reading: Reading
    places: frozenset[str]


class _Likely:
    """Rules with the very same pattern, and what tells soon that others have different events."""

    def __init__(self, pattern: Mapping[str, Any], possible: frozenset[World]) -> None:
        self.pattern: Final = pattern
        self.worlds: Final = possible
        self.members: Final[list[_Member]] = []
        self.places: Final[set[str]] = set()
        #: The demands on each field that is asked about once in every alternative.
        self.demands: Final[dict[str, list[Demand]]] = {}
        found = alternatives(pattern)
        for path in frozenset.intersection(*(frozenset().union(*groups) for groups in found)):
            asked = [[group[path] for group in groups if path in group] for groups in found]
            if all(len(each) == 1 and not each[0].comparisons for each in asked):
                self.demands[path] = [each[0] for each in asked]

    @cached_property
    def samples(self) -> dict[str, list[Any]]:
        """A value for each element of the demands on a field."""
        return {
            path: [
                value
                for demand in dict.fromkeys(demands)
                for element in demand.plain
                for value in search([Demand([element])]).values[:1]
            ]
            for path, demands in self.demands.items()
        }

    def may_hold(self, other: _Likely) -> bool:
        """Whether all events of the other may be among its own, as far as samples tell."""
        return other.worlds <= self.worlds and all(
            any(demand.accepts(value) for demand in dict.fromkeys(demands))
            for path, demands in self.demands.items()
            for value in other.samples.get(path, ())
        )


def check(readings: Sequence[Reading]) -> Iterator[Remark]:
    """What enabled rules say twice. A remark is about the narrower rule, of two equal ones about the second."""
    workspaces: dict[str, dict[str, _Likely]] = {}
    for number, reading in enumerate(readings):
        if not reading.rule.enabled or reading.missing or not reading.worlds():
            continue
        found = workspaces.setdefault(reading.rule.workspace, {})
        pattern = reading.patterns["hit"]
        text = json.dumps(pattern, sort_keys=True)
        if text not in found:
            found[text] = _Likely(pattern, reading.worlds())
        member = _Member(number, reading, _places(reading))
        found[text].members.append(member)
        found[text].places.update(member.places)
    for workspace, patterns in workspaces.items():
        yield from _workspace(workspace, list(patterns.values()))


def _workspace(workspace: str, patterns: Sequence[_Likely]) -> Iterator[Remark]:
    around: list[dict[int, bool]] = [{number: True} for number in range(len(patterns))]
    compared: set[frozenset[int]] = set()
    for looked, (one, other) in enumerate(_candidates(patterns)):
        if looked >= MAX_PAIRS or len(compared) >= MAX_COMPARED:
            text = (
                f"the workspace has too many rules that are much alike to compare all of them: {len(compared)} pairs"
                " were compared, the rest was left out"
            )
            yield Remark("info", workspace, "", "rules", text, "not-all-compared")
            break
        if frozenset((one, other)) in compared:
            continue
        compared.add(frozenset((one, other)))
        found = relation(patterns[one].pattern, patterns[other].pattern)
        if found in ("equal", "a_in_b"):
            around[one][other] = found == "equal"
        if found in ("equal", "b_in_a"):
            around[other][one] = found == "equal"
    for pattern, others in zip(patterns, around, strict=True):
        wider = [(patterns[number], equal) for number, equal in others.items()]
        for member in pattern.members:
            yield from _said_twice(member, wider)


def _candidates(patterns: Sequence[_Likely]) -> Iterator[tuple[int, int]]:
    """Pairs of patterns that share a target, where all events of the first may be of the second."""
    index = PatternIndex({str(number): one.pattern for number, one in enumerate(patterns)})
    for number, one in enumerate(patterns):
        event = witness(one.pattern)
        names = range(len(patterns)) if event is None else sorted(map(int, index.match(event)))
        for name in names:
            other = patterns[name]
            if name != number and not one.places.isdisjoint(other.places) and other.may_hold(one):
                yield number, name


def _said_twice(member: _Member, others: Sequence[tuple[_Likely, bool]]) -> Iterator[Remark]:
    reading, rule = member.reading, member.reading.rule
    copied: list[str] = []
    alike: list[tuple[str, bool]] = []
    shared: set[str] = set()
    for likely, equal in others:
        for other in likely.members:
            if equal and other.number >= member.number:
                continue
            same = _manner(rule) == _manner(other.reading.rule)
            if equal and same and member.places == other.places:
                copied.append(other.reading.rule.name)
            elif common := member.places & other.places:
                alike.append((other.reading.rule.name, same))
                shared |= common
    if copied:
        text = f"does the same as {_named(copied)}: the same events, condition, severity and targets; take one away"
        yield reading.remark("warning", "duplicate", "", text)
    if alike:
        names = sorted({place.partition("\n")[0] for place in shared})
        text = (
            f"every event of this rule is also one of {_named([name for name, _ in alike])}, and both go to"
            f" {', '.join(names)}; narrow the other, or leave the target out of one"
        )
        yield reading.remark("warning" if any(same for _, same in alike) else "info", "overlap", "targets", text)


def _manner(rule: Rule) -> tuple[Any, ...]:
    """When the rule fires on its events, how gravely, and what becomes of that."""
    return tuple(getattr(rule, name) for name in _MANNERS)


def _named(names: Sequence[str]) -> str:
    listed = ", ".join(repr(name) for name in names[:_NAMED])
    return f"{listed} and {len(names) - _NAMED} others" if len(names) > _NAMED else listed


def _places(reading: Reading) -> frozenset[str]:
    """Where the rule's notifications go at first."""
    return frozenset(_place(target) for target in reading.rule.targets if told(reading.rule, target))


def _place(target: RuleTarget) -> str:
    route = [target.options.get(name) for name in _ROUTES]
    return f"{target.conn_id}\n{json.dumps(route, sort_keys=True)}"
