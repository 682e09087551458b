"""All rules in one index: the cost of a match depends on the fields that rules look at, not on their number.

1. A pattern is one alternative or more, each a set of conditions on fields (``compiler``, ``alternatives``).
2. Each alternative is registered once: for the field and under the keys of the one condition by which the
   fewest rules are found (``keys``, ``usage``). That is most often a name, hardly ever a type.
3. A match reads only the fields under which something is registered (``tree``, ``reader``). Each value leads to a
   few alternatives or to none (``table``).
4. The other conditions of these alternatives are asked, and only then are their fields read (``alternatives``).
5. After some matches without a change, step 3 is done by functions written for the rules, one for each type of
   event, that look up only what rules for that type ask (``settled``).

What ``match`` reads never changes: ``add`` and ``remove`` publish a new snapshot that shares all that they did
not touch (``registry``, ``persistent``).
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.rules.patterns.alternatives import (
    SEVERAL,
    Alternative,
    Branch,
    hold_together,
    one_fulfils,
    value_at,
)
from ml_event_provider.rules.patterns.budget import TooCostly, begin
from ml_event_provider.rules.patterns.compiler import compile_pattern
from ml_event_provider.rules.patterns.garbage import search_paused
from ml_event_provider.rules.patterns.reader import follow
from ml_event_provider.rules.patterns.registry import Registry
from ml_event_provider.rules.patterns.settled import can_settle, settle
from ml_event_provider.rules.patterns.tree import Node, build

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ml_event_provider.rules.patterns.alternatives import Known
    from ml_event_provider.rules.patterns.registry import Edit
    from ml_event_provider.rules.patterns.settled import Read
    from ml_event_provider.rules.patterns.table import Table

#: Of so many alternatives some may be the same.
_FEW: Final = 8
#: After how many matches, more for many rules, a snapshot's events are read by a function of their own.
SETTLES_AFTER: Final = 128


class Snapshot:
    """The index as it was after one change."""

    __slots__ = ("everywhere", "matches", "read", "root", "tables", "ways")

    def __init__(self, ways: dict[str, int], tables: list[Table], everywhere: tuple[Alternative, ...]) -> None:
        #: The paths under which alternatives are registered, with their slots.
        self.ways = ways
        #: What is registered, by slot.
        self.tables = tables
        #: The alternatives to look at for each event.
        self.everywhere = everywhere
        self.root: Node | None = None
        #: How many matches there were before ``read`` was written.
        self.matches = 0
        self.read: Read | None = None

    def first_read(self, event: Mapping[str, Any], rules: int) -> list[Alternative | Branch]:
        """The alternatives to which an event's values lead."""
        root = self.root
        if root is None:
            root = self.root = build(self.ways)
        self.matches += 1
        if self.matches > SETTLES_AFTER + rules // 16 and can_settle(self.ways, self.tables):
            with search_paused(rules):
                self.read = settle(self.ways, self.tables)
        found: list[Alternative | Branch] = []
        follow(root, event, self.tables, found)
        return found


class PatternIndex:
    """Named event patterns, and which of them an event matches.

    ``match`` may be called from any thread at any time and takes no lock; it sees each change either whole
    or not at all. Changes take a lock among themselves.
    """

    def __init__(self, patterns: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """:param patterns: patterns by name to begin with."""
        self._lock = Lock()
        self._registry = Registry()
        self._snapshot = Snapshot({}, [], ())
        if patterns:
            self.update(patterns)

    @staticmethod
    def check(pattern: Mapping[str, Any]) -> None:
        """Say whether a pattern can be used.

        :raises InvalidPattern: if it cannot.
        """
        compile_pattern(pattern)

    def __len__(self) -> int:
        return len(self._registry.rules)

    def __contains__(self, name: object) -> bool:
        return name in self._registry.rules

    def names(self) -> list[str]:
        """The names of all patterns, sorted."""
        return sorted(self._registry.rules)

    def add(self, name: str, pattern: Mapping[str, Any]) -> None:
        """Add a pattern, or put it in the place of the one of that name.

        :raises InvalidPattern: if the pattern is wrong; the index is as before then.
        """
        self.update({name: pattern})

    def update(self, patterns: Mapping[str, Mapping[str, Any]]) -> None:
        """Add many patterns at once; a match sees all of them or none.

        :raises InvalidPattern: if one is wrong; the index is as before then.
        """
        # All that is not kept must be gone before garbage is searched for again.
        with search_paused(len(patterns)):
            self._update(patterns)

    def _update(self, patterns: Mapping[str, Mapping[str, Any]]) -> None:
        compiled = [(name, compile_pattern(pattern)) for name, pattern in patterns.items()]
        with self._lock:
            edit = self._registry.edit(self._snapshot.tables, self._snapshot.everywhere)
            for name, alternatives in compiled:
                edit.remove(name)
                edit.add(name, alternatives)
            self._publish(edit)

    def remove(self, name: str) -> None:
        """Remove the pattern of that name.

        :raises KeyError: if there is none.
        """
        self.discard([name], missing_ok=False)

    def discard(self, names: Iterable[str], *, missing_ok: bool = True) -> None:
        """Remove many patterns at once; a match sees all of them or none."""
        with self._lock:
            edit = self._registry.edit(self._snapshot.tables, self._snapshot.everywhere)
            for name in names:
                if not edit.remove(name) and not missing_ok:
                    raise KeyError(name)
            self._publish(edit)

    def _publish(self, edit: Edit) -> None:
        edit.finish()
        old = self._snapshot
        slots, usages = self._registry.slots, self._registry.usages
        new = Snapshot(old.ways, edit.tables, tuple(edit.everywhere))
        if edit.ways_changed:
            new.ways = {path: slot for path, slot in slots.items() if usages[slot].registered}
        else:
            new.root = old.root
        self._snapshot = new

    def match(self, event: Mapping[str, Any], too_costly: set[str] | None = None) -> set[str]:
        """The names of the patterns that the event, a CloudEvent as JSON (``Event.to_dict()``), matches.

        :param too_costly: where those are noted that would take more steps for this event than they may (``budget``).
        :raises TooCostly: if there is one, and nowhere to note it.
        """
        snapshot = self._snapshot
        read = snapshot.read
        known: Known = {}
        found = read(event, known) if read else snapshot.first_read(event, len(self._registry.rules))
        if snapshot.everywhere:
            found += snapshot.everywhere
        if len(found) > _FEW:
            # Each element of an array may lead to the same ones.
            found = list(dict.fromkeys(found))
        names: set[str] = set()
        # A branch whose checks hold adds its members, which are looked at after all others.
        for alternative in found:
            try:
                for slot, values, test, condition in alternative.checks:
                    value = known.get(slot)
                    if value is None:
                        value = value_at(condition.field, event, known)
                    if value in values:
                        continue
                    if value is SEVERAL:
                        begin(known)
                        if not one_fulfils(condition, known):
                            break
                    elif test is None or not test(value):
                        break
                else:
                    if isinstance(alternative, Branch):
                        found += alternative.members
                        continue
                    if SEVERAL in known or alternative.compares:
                        begin(known)
                        if not hold_together(alternative.groups, event, known):
                            continue
                    names.add(alternative.name)
            except TooCostly:
                if too_costly is None:
                    raise
                too_costly.update(_names(alternative))
        return names


def _names(alternative: Alternative | Branch) -> Iterable[str]:
    """The patterns of an alternative, or of all members of a branch."""
    if isinstance(alternative, Alternative):
        return (alternative.name,)
    return (name for member in alternative.members for name in _names(member))
