"""All rules in one index: the cost of a match depends on the fields that rules look at, not on their number.

Each alternative of a pattern is registered once, under the rarest keys of one of its conditions (``keys``). A match
reads the fields that rules look at (``tree``), takes the class of each value (``table``), and looks the classes up among
the results so far; else it verifies the alternatives to which the values lead. What ``match`` reads never changes:
``add`` and ``remove`` publish a new snapshot that shares all that they did not touch.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.rules.compiler import compile_pattern
from ml_event_provider.rules.registry import Registry
from ml_event_provider.rules.tree import Membership, Node, Reader, build, fields_of
from ml_event_provider.rules.values import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ml_event_provider.rules.conditions import Entry
    from ml_event_provider.rules.table import Table
    from ml_event_provider.rules.values import Plain

#: How many results a snapshot remembers, and how many rule names in all of them.
MAX_RESULTS: Final = 16_384
MAX_RESULT_NAMES: Final = 500_000
#: Events with more values in arrays than this are matched anew each time.
MAX_REMEMBERED_VALUES: Final = 64

_MISSING: Final = object()


class Paths:
    """The paths that rules look at, and their tree, built when it is first needed."""

    __slots__ = ("_root", "slots")

    def __init__(self, slots: Mapping[str, int]) -> None:
        self.slots = slots
        self._root: Node | None = None

    @property
    def root(self) -> Node:
        """The tree."""
        if self._root is None:
            self._root = build(self.slots)
        return self._root


class Snapshot:
    """The index as it was after one change."""

    __slots__ = ("blank", "names", "paths", "results", "tables")

    def __init__(self, paths: Paths, tables: list[Table]) -> None:
        self.paths = paths
        self.tables = tables
        #: The cells of an event that has none of the fields.
        self.blank: list[Entry] = [table.absent for table in tables]
        self.results: dict[tuple[Any, ...], frozenset[str]] = {}
        self.names = 0

    def match(self, event: Mapping[str, Any]) -> frozenset[str]:
        """The names of the rules whose pattern the event matches."""
        cells: list[Any] = self.blank.copy()
        several: dict[int, list[tuple[Entry, Membership]]] = {}
        self._read(self.paths.root, event, cells, several)
        if several:
            return self._match_several(cells, several)
        signature = tuple(cells)
        found = self.results.get(signature)
        if found is None:
            found = frozenset(self._search(cells))
            self._remember(signature, cells, found)
        return found

    def _read(
        self, node: Node, document: Mapping[str, Any], cells: list[Any], several: dict[int, list[tuple[Entry, Membership]]]
    ) -> None:
        """Fill the cells; values in arrays and under dotted names go to ``several``."""
        tables = self.tables
        get = document.get
        for name, slot, child in fields_of(node, document) if len(node.fields) > 8 else node.fields:
            value = get(name, _MISSING)
            kind = type(value)
            if kind is str:
                if slot >= 0:
                    table = tables[slot]
                    cells[slot] = table.memo.get(value) or table.entry(value)
            elif kind is dict:
                if child.fields:
                    self._read(child, value, cells, several)
            elif value is _MISSING:
                continue
            elif kind is int or kind is float or kind is bool or value is None:
                if slot >= 0:
                    known = plain(value)
                    table = tables[slot]
                    cells[slot] = table.memo.get(known) or table.entry(known)
            else:
                self._read_several(child, value, several)
        if node.dotted and not document.keys().isdisjoint(node.dotted):
            for name in sorted(document.keys() & node.dotted.keys()):
                self._read_several(node.dotted[name], document[name], several)

    def _read_several(self, node: Node, value: Any, several: dict[int, list[tuple[Entry, Membership]]]) -> None:
        def emit(slot: int, found: Plain, membership: Membership) -> None:
            several.setdefault(slot, []).append((self.tables[slot].entry(found), membership))

        # Arrays get numbers that no other field's arrays have.
        reader = Reader(emit)
        reader.arrays = sum(map(len, several.values())) << 20 if several else 0
        reader.read(node, value)

    def _match_several(
        self, cells: list[Any], several: dict[int, list[tuple[Entry, Membership]]]
    ) -> frozenset[str]:
        count = 0
        arrays = False
        for slot, pairs in several.items():
            if cells[slot] is not self.blank[slot]:
                pairs.append((cells[slot], ()))
            unique = tuple(dict.fromkeys(pairs))
            if len(unique) == 1 and not unique[0][1]:
                cells[slot] = unique[0][0]
            else:
                cells[slot] = unique
                count += len(unique)
                arrays = True
        if count > MAX_REMEMBERED_VALUES:
            return frozenset(self._search_in_arrays(cells))
        signature = tuple(cells)
        found = self.results.get(signature)
        if found is None:
            found = frozenset(self._search_in_arrays(cells) if arrays else self._search(cells))
            self._remember(signature, cells, found)
        return found

    def _search(self, cells: list[Entry]) -> set[str]:
        names: set[str] = set()
        for cell in cells:
            for alternative in cell.candidates:
                if alternative.name not in names and alternative.holds(cells):
                    names.add(alternative.name)
        return names

    def _search_in_arrays(self, cells: list[Any]) -> set[str]:
        names: set[str] = set()
        for cell in cells:
            for entry in dict.fromkeys(entry for entry, _ in cell) if type(cell) is tuple else (cell,):
                for alternative in entry.candidates:
                    if alternative.name not in names and alternative.holds_in_arrays(cells):
                        names.add(alternative.name)
        return names

    def _remember(self, signature: tuple[Any, ...], cells: list[Any], found: frozenset[str]) -> None:
        """Keep a result, unless a value was met for the first time: it may never come again."""
        known = True
        for cell in cells:
            for entry in (entry for entry, _ in cell) if type(cell) is tuple else (cell,):
                known = known and entry.seen
                entry.seen = True
        if not known:
            return
        if len(self.results) >= MAX_RESULTS or self.names > MAX_RESULT_NAMES:
            self.results = {}
            self.names = 0
        self.names += len(found)
        self.results[signature] = found


class PatternIndex:
    """Named event patterns, and which of them an event matches.

    ``match`` may be called from any thread at any time and takes no lock; it sees each change either whole or not at
    all. Changes take a lock among themselves.
    """

    def __init__(self, patterns: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """:param patterns: patterns by name to begin with."""
        self._lock = Lock()
        self._registry = Registry()
        self._snapshot = Snapshot(Paths({}), [])
        if patterns:
            self.update(patterns)

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
        compiled = [(name, compile_pattern(pattern)) for name, pattern in patterns.items()]
        with self._lock:
            edit = self._registry.edit(self._snapshot.tables)
            for name, alternatives in compiled:
                edit.remove(name)
                edit.add(name, alternatives)
            self._publish(edit.tables, edit.paths_changed)

    def remove(self, name: str) -> None:
        """Remove the pattern of that name.

        :raises KeyError: if there is none.
        """
        self.discard([name], missing_ok=False)

    def discard(self, names: Iterable[str], *, missing_ok: bool = True) -> None:
        """Remove many patterns at once; a match sees all of them or none."""
        with self._lock:
            edit = self._registry.edit(self._snapshot.tables)
            for name in names:
                if not edit.remove(name) and not missing_ok:
                    raise KeyError(name)
            self._publish(edit.tables, edit.paths_changed)

    def _publish(self, tables: list[Table], paths_changed: bool) -> None:
        paths = Paths(dict(self._registry.slots)) if paths_changed else self._snapshot.paths
        self._snapshot = Snapshot(paths, tables)

    def match(self, event: Mapping[str, Any]) -> set[str]:
        """The names of the patterns that the event, a CloudEvent as JSON (``Event.to_dict()``), matches."""
        return set(self._snapshot.match(event))
