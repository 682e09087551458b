"""Conditions bound to their fields, and whether an event fulfils all conditions of an alternative."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.rules.patterns.budget import spend
from ml_event_provider.rules.patterns.predicates import SameEvent
from ml_event_provider.rules.patterns.reader import Array, Place, places
from ml_event_provider.rules.patterns.values import ABSENT, Constant, Plain, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ml_event_provider.rules.patterns.compiler import Leaf
    from ml_event_provider.rules.patterns.tree import Field

#: Stands for the values of a field that has several, or one in an array.
SEVERAL: Final = Constant("several")
#: What is known about one event: the value at each slot, or ``SEVERAL``; then also, by field, the values with their
#: places, and by condition, whether one of them fulfils it. ``SEVERAL`` is a key if there is such a field.
Known = dict[Any, Any]
_CONTAINERS: Final = (list, tuple, Mapping)


class Condition:
    """A leaf bound to its field; one object for all rules that have it."""

    __slots__ = ("_check", "absent", "field", "leaf", "other", "uses", "values")

    def __init__(self, field: Field, leaf: Leaf, other: Field | None) -> None:
        self.field = field
        self.leaf = leaf
        #: The field that this one is compared with.
        self.other = other
        #: The values that are allowed.
        values = leaf.values
        self.values: frozenset[Plain] | tuple[Plain, ...] = frozenset(values) if len(values) > 4 else values
        #: Whether the field must be missing.
        self.absent = values == (ABSENT,)
        self.uses = 0
        self._check: Check | None = None

    @property
    def check(self) -> Check:
        """What an alternative keeps of it."""
        if self._check is None:
            predicates = self.leaf.predicates
            test = (predicates[0].test if len(predicates) == 1 else self.accepts) if predicates else None
            self._check = self.field.slot, self.values, test, self
        return self._check

    def accepts(self, value: Plain) -> bool:
        """Whether one value fulfils the condition."""
        if value in self.values:
            return True
        return any(predicate.test(value) for predicate in self.leaf.predicates)

    def compares(self, left: Plain, right: Plain) -> bool:
        """Whether the values of two fields of one event fulfil the comparison."""
        asked = self.leaf.predicates[0]
        assert isinstance(asked, SameEvent)
        return asked.compare(left, right)


#: A condition as a match asks for it: the slot of its field, the values that are allowed, the test of others, and
#: the condition.
Check = tuple[int, "frozenset[Plain] | tuple[Plain, ...]", "Callable[[Plain], bool] | None", Condition]


class Alternative:
    """Conditions that must all hold for a rule to match; a rule has one alternative or more."""

    __slots__ = ("checks", "compares", "groups", "name")

    def __init__(self, name: str, groups: tuple[tuple[Condition, ...], ...], asked: Sequence[Condition]) -> None:
        """:param asked: the conditions that are not sure to hold when a value has led here."""
        self.name = name
        #: Each group's fields come from the same array elements.
        self.groups = groups
        #: What to ask of the fields one by one.
        self.checks: tuple[Check, ...] = tuple([item.check for item in asked if item.other is None])
        self.compares = len(self.checks) < len(asked)

    @property
    def conditions(self) -> Iterable[Condition]:
        """All conditions."""
        return (condition for group in self.groups for condition in group)


class Branch:
    """Alternatives that begin with the same check: if it fails, no member needs to be looked at."""

    __slots__ = ("checks", "members")

    def __init__(self, checks: tuple[Check, ...], members: tuple[Alternative | Branch, ...]) -> None:
        self.checks = checks
        self.members = members


Bucket = tuple["Alternative | Branch", ...]


def branched(alternatives: Iterable[Alternative], depth: int = 0) -> Bucket:
    """Alternatives as branches by their checks, as far as many have the same."""
    found: list[Alternative | Branch] = []
    alike: dict[Check | None, list[Alternative]] = {}
    for alternative in alternatives:
        checks = alternative.checks
        alike.setdefault(checks[depth] if len(checks) > depth else None, []).append(alternative)
    for check, members in alike.items():
        if check is None or len(members) < 3:
            found += members
        else:
            found.append(Branch((check,), branched(members, depth + 1)))
    return tuple(found)


def value_at(field: Field, event: Mapping[str, Any], known: Known) -> Plain:
    """The value of a field that is not known yet, or ``SEVERAL``."""
    # Most are plain values in the event or in an object of it.
    document: Any = event
    if field.outer is not None and field.path not in event:
        document = event.get(field.outer)
    elif len(field.steps) > 1:
        document = None
    if type(document) is dict and field.name in document:
        value: Any = document[field.name]
        kind = type(value)
        if kind is str:
            known[field.slot] = value
            return value  # type: ignore[no-any-return]
        if kind is int or kind is float or kind is bool:
            value = known[field.slot] = plain(value)
            return value  # type: ignore[no-any-return]
    value = event
    for at, (name, dotted, _) in enumerate(field.steps):
        if type(value) is not dict:
            value = _found(field, value, at, known) if isinstance(value, _CONTAINERS) else ABSENT
            break
        if dotted:
            for other in dotted:
                if other in value:
                    found = known[field.slot] = _found(field, value, at, known)
                    return found
        value = value.get(name, ABSENT)
    else:
        kind = type(value)
        if kind is dict:
            value = ABSENT
        elif kind is not str and value is not ABSENT:
            value = _found(field, value, len(field.steps), known) if isinstance(value, _CONTAINERS) else plain(value)
    known[field.slot] = value
    return value  # type: ignore[no-any-return]


def _found(field: Field, value: Any, at: int, known: Known) -> Plain:
    """The same for what stands at the first ``at`` names of the path, where arrays or dotted names follow."""
    pairs = places(field, value, at)
    if not pairs:
        return ABSENT
    if len(pairs) == 1 and not pairs[0][1]:
        return pairs[0][0]
    known[SEVERAL] = True
    known[field] = pairs
    return SEVERAL


def one_fulfils(condition: Condition, known: Known) -> bool:
    """Whether one of several values fulfils a condition, or may."""
    verdict: bool | None = known.get(condition)
    if verdict is None:
        verdict = condition.absent
        if not verdict:
            spend(known, len(known[condition.field]))
            values, predicates = condition.values, condition.leaf.predicates
            for value, _ in known[condition.field]:
                if value in values or (predicates and condition.accepts(value)):
                    verdict = True
                    break
        known[condition] = verdict
    return verdict


def hold_together(groups: tuple[tuple[Condition, ...], ...], event: Mapping[str, Any], known: Known) -> bool:
    """Whether conditions that hold each for itself hold in the same array elements."""
    return all(_group_holds(group, event, known) for group in groups)


def _several(field: Field, event: Mapping[str, Any], known: Known) -> bool:
    """Whether a field has several values, or one in an array."""
    value = known.get(field.slot)
    return (value_at(field, event, known) if value is None else value) is SEVERAL


def _pairs(field: Field, event: Mapping[str, Any], known: Known) -> list[tuple[Plain, Place]]:
    """The values of a field with their places."""
    return known[field] if _several(field, event, known) else [(known[field.slot], ())]


def _compared(condition: Condition, event: Mapping[str, Any], known: Known) -> set[Place]:
    """The places of which the values of two fields fulfil a comparison."""
    assert condition.other is not None
    found = set()
    others = _pairs_by_arrays(_pairs(condition.other, event, known))
    for arrays, pairs in _pairs_by_arrays(_pairs(condition.field, event, known)).items():
        for other_arrays, other_pairs in others.items():
            # Only what stands in the same elements of the arrays that both share goes together.
            shared = arrays & other_arrays
            table: dict[Place, list[tuple[Plain, Place]]] = {}
            for pair in other_pairs:
                table.setdefault(_on(pair[1], shared), []).append(pair)
            spend(known, len(other_pairs))
            for left, place in pairs:
                together = table.get(_on(place, shared), ())
                spend(known, 1 + len(together))
                for right, there in together:
                    if condition.compares(left, right) and (merged := _merged(place, there)) is not None:
                        found.add(merged)
    return found


def _pairs_by_arrays(pairs: list[tuple[Plain, Place]]) -> dict[frozenset[Array], list[tuple[Plain, Place]]]:
    found: dict[frozenset[Array], list[tuple[Plain, Place]]] = {}
    for pair in pairs:
        found.setdefault(frozenset(array for array, _ in pair[1]), []).append(pair)
    return found


def _group_holds(group: tuple[Condition, ...], event: Mapping[str, Any], known: Known) -> bool:
    choices: list[set[Place]] = []
    absences: list[set[Place]] = []
    for condition in group:
        if condition.other is not None:
            options = _compared(condition, event, known)
        elif not _several(condition.field, event, known):
            # It holds, and goes with all others.
            continue
        elif condition.absent:
            spend(known, len(known[condition.field]))
            absences.append({place for _, place in known[condition.field]})
            continue
        else:
            spend(known, len(known[condition.field]))
            options = {place for value, place in known[condition.field] if condition.accepts(value)}
        if not options:
            return False
        choices.append(options)
    if not absences:
        # A value outside any array goes with all others.
        choices = [options for options in choices if () not in options]
        if len(choices) < 2:
            return True
    return _consistent(choices, absences, known)


def _merged(one: Place, other: Place) -> Place | None:
    """Both places together, or ``None`` if they differ in an array that they share."""
    if not one or one == other:
        return other
    merged = dict(one)
    for array, index in other:
        if merged.setdefault(array, index) != index:
            return None
    return tuple(sorted(merged.items()))


def _consistent(choices: list[set[Place]], absences: list[set[Place]], known: Known) -> bool:
    """Whether a place of each choice can be taken so that all agree and no absent field has a value there."""
    states: set[Place] = {()}
    for number, options in enumerate(choices):
        # Arrays that nobody asks about later are forgotten, which keeps the states few.
        later = {array for other in (*choices[number + 1 :], *absences) for place in other for array, _ in place}
        states = {tuple(item for item in merged if item[0] in later) for merged in _joined(states, options, known)}
        if not states:
            return False
    for state in states:
        spend(known, 1 + sum(len(places) for places in absences))
        if all(_merged(state, place) is None for places in absences for place in places):
            return True
    return False


def _joined(states: set[Place], options: set[Place], known: Known) -> Iterable[Place]:
    """All states merged with all options that agree: a hash join over the arrays that two groups share."""
    for state_arrays, some_states in _by_arrays(states).items():
        for option_arrays, some_options in _by_arrays(options).items():
            shared = state_arrays & option_arrays
            table: dict[Place, list[Place]] = {}
            for option in some_options:
                table.setdefault(_on(option, shared), []).append(option)
            spend(known, len(some_options))
            for state in some_states:
                together = table.get(_on(state, shared), ())
                spend(known, 1 + len(together))
                for option in together:
                    merged = _merged(state, option)
                    if merged is not None:
                        yield merged


def _by_arrays(places: set[Place]) -> dict[frozenset[Array], list[Place]]:
    found: dict[frozenset[Array], list[Place]] = {}
    for place in places:
        found.setdefault(frozenset(array for array, _ in place), []).append(place)
    return found


def _on(place: Place, arrays: frozenset[Array]) -> Place:
    return tuple(item for item in place if item[0] in arrays)
