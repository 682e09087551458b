"""Conditions bound to their fields, and whether an event fulfils all conditions of an alternative."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.rules.patterns.predicates import SameEvent
from ml_event_provider.rules.patterns.values import ABSENT, Plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ml_event_provider.rules.patterns.compiler import Leaf

#: Where a value stands: pairs (array, index of the element). Values that agree on all arrays they share
#: combine.
Membership = tuple[tuple[int, int], ...]
#: What an event has in one slot: one entry, or several with their places in arrays.
Cell = "Entry | tuple[tuple[Entry, Membership], ...]"


class Entry:
    """A class of values of one field that no condition on it tells apart, by one of them."""

    __slots__ = ("candidates", "seen", "value", "verdicts")

    def __init__(self, value: Plain, candidates: tuple[Alternative, ...]) -> None:
        self.value = value
        #: The alternatives that are registered under one of the value's keys.
        self.candidates = candidates
        self.verdicts: dict[Condition, bool] | None = None
        #: Whether a result with this entry is worth keeping.
        self.seen = True


class Condition:
    """A leaf bound to the slot of its field; one object for all rules that have it."""

    __slots__ = ("absent", "leaf", "other", "slot", "uses", "values")

    def __init__(self, slot: int, leaf: Leaf, other: int = -1) -> None:
        self.slot = slot
        self.leaf = leaf
        #: The slot of the field that this one is compared with, or -1.
        self.other = other
        self.absent: Final = leaf.values == (ABSENT,)
        #: The values that are allowed, if nothing but values are.
        self.values: frozenset[Plain] | tuple[Plain, ...] | None = None
        if not leaf.predicates:
            self.values = leaf.values if len(leaf.values) <= 4 else frozenset(leaf.values)
        self.uses = 0

    def accepts(self, entry: Entry) -> bool:
        """Whether the values of an entry fulfil the condition."""
        if self.values is not None:
            return entry.value in self.values
        verdicts = entry.verdicts
        if verdicts is None:
            verdicts = entry.verdicts = {}
        verdict = verdicts.get(self)
        if verdict is None:
            value = entry.value
            verdict = value in self.leaf.values
            if not verdict:
                for item in self.leaf.predicates:
                    if item.test(value):
                        verdict = True
                        break
            verdicts[self] = verdict
        return verdict

    def compares(self, left: Entry, right: Entry) -> bool:
        """Whether the values of two fields of one event fulfil the comparison."""
        asked = self.leaf.predicates[0]
        assert isinstance(asked, SameEvent)
        return asked.compare(left.value, right.value)


class Alternative:
    """Conditions that must all hold for a rule to match; a rule has one alternative or more."""

    __slots__ = ("conditions", "groups", "name")

    def __init__(self, name: str, groups: tuple[tuple[Condition, ...], ...]) -> None:
        self.name = name
        #: Each group's fields come from the same array elements.
        self.groups = groups
        self.conditions = groups[0] if len(groups) == 1 else tuple(item for group in groups for item in group)

    def holds(self, cells: Sequence[Any]) -> bool:
        """Whether all conditions hold for an event; ``cells`` has an entry, or several, for each slot."""
        arrays = False
        for condition in self.conditions:
            cell = cells[condition.slot]
            if type(cell) is tuple:
                arrays = True
                continue
            values = condition.values
            if values is not None:
                if cell.value not in values:
                    return False
            elif condition.other >= 0:
                other = cells[condition.other]
                if type(other) is tuple:
                    arrays = True
                elif not condition.compares(cell, other):
                    return False
            elif not condition.accepts(cell):
                return False
        return not arrays or all(_group_holds(group, cells) for group in self.groups)


def _pairs(cell: Entry | tuple[tuple[Entry, Membership], ...]) -> Iterable[tuple[Entry, Membership]]:
    return cell if isinstance(cell, tuple) else ((cell, ()),)


def _group_holds(group: tuple[Condition, ...], cells: Sequence[Entry | tuple[tuple[Entry, Membership], ...]]) -> bool:
    choices: list[set[Membership]] = []
    absences: list[set[Membership]] = []
    for condition in group:
        cell = cells[condition.slot]
        if condition.other >= 0:
            options = _compared(condition, cell, cells[condition.other])
        elif not isinstance(cell, tuple):
            if not condition.accepts(cell):
                return False
            continue
        elif condition.absent:
            absences.append({membership for _, membership in cell})
            continue
        else:
            options = {membership for entry, membership in cell if condition.accepts(entry)}
        if not options:
            return False
        choices.append(options)
    if not absences:
        # A value outside any array goes with all others.
        choices = [options for options in choices if () not in options]
        if len(choices) < 2:
            return True
    return _consistent(choices, absences)


def _compared(
    condition: Condition,
    left: Entry | tuple[tuple[Entry, Membership], ...],
    right: Entry | tuple[tuple[Entry, Membership], ...],
) -> set[Membership]:
    found = set()
    for entry, membership in _pairs(left):
        for other, place in _pairs(right):
            merged = _merged(membership, place)
            if merged is not None and condition.compares(entry, other):
                found.add(merged)
    return found


def _merged(one: Membership, other: Membership) -> Membership | None:
    """Both places together, or ``None`` if they differ in an array that they share."""
    if not one or one == other:
        return other
    merged = dict(one)
    for array, index in other:
        if merged.setdefault(array, index) != index:
            return None
    return tuple(sorted(merged.items()))


def _consistent(choices: list[set[Membership]], absences: list[set[Membership]]) -> bool:
    """Whether a place of each choice can be taken so that all agree and no absent field has a value there."""
    states: set[Membership] = {()}
    for number, options in enumerate(choices):
        # Arrays that nobody asks about later are forgotten, which keeps the states few.
        later = {array for other in (*choices[number + 1 :], *absences) for place in other for array, _ in place}
        states = {tuple(item for item in merged if item[0] in later) for merged in _joined(states, options)}
        if not states:
            return False
    return any(all(_merged(state, place) is None for places in absences for place in places) for state in states)


def _joined(states: set[Membership], options: set[Membership]) -> Iterable[Membership]:
    """All states merged with all options that agree: a hash join over the arrays that two groups share."""
    for state_arrays, some_states in _by_arrays(states).items():
        for option_arrays, some_options in _by_arrays(options).items():
            shared = state_arrays & option_arrays
            table: dict[Membership, list[Membership]] = {}
            for option in some_options:
                table.setdefault(_on(option, shared), []).append(option)
            for state in some_states:
                for option in table.get(_on(state, shared), ()):
                    merged = _merged(state, option)
                    if merged is not None:
                        yield merged


def _by_arrays(places: set[Membership]) -> dict[frozenset[int], list[Membership]]:
    found: dict[frozenset[int], list[Membership]] = {}
    for place in places:
        found.setdefault(frozenset(array for array, _ in place), []).append(place)
    return found


def _on(place: Membership, arrays: frozenset[int]) -> Membership:
    return tuple(item for item in place if item[0] in arrays)
