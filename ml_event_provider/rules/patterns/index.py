"""All rules in one index: the cost of a match depends on the fields that rules look at, not on their number.

Each alternative of a pattern is registered once, under the rarest keys of one of its conditions (``keys``).
A match reads the fields that rules look at (``tree``), takes the class of each value (``table``), and looks
the classes up among the results so far; else it verifies the alternatives to which the values lead. What
``match`` reads never changes: ``add`` and ``remove`` publish a new snapshot that shares all that they did
not touch.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.rules.patterns.compiler import compile_pattern
from ml_event_provider.rules.patterns.reader import ArrayReader, read
from ml_event_provider.rules.patterns.registry import Registry
from ml_event_provider.rules.patterns.tree import Node, build

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ml_event_provider.rules.patterns.alternatives import Entry
    from ml_event_provider.rules.patterns.table import Table

#: How many results a snapshot remembers, and how many rule names in all of them.
MAX_RESULTS: Final = 16_384
MAX_RESULT_NAMES: Final = 500_000
#: Events with more values in arrays than this are matched anew each time.
MAX_REMEMBERED_VALUES: Final = 64

_NONE: Final[frozenset[str]] = frozenset()


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

    __slots__ = ("blank", "fresh", "names", "paths", "results", "tables")

    def __init__(self, paths: Paths, tables: list[Table]) -> None:
        self.paths = paths
        self.tables = tables
        #: The cells of an event that has none of the fields.
        self.blank: list[Entry] = [table.absent for table in tables]
        self.results: dict[tuple[Any, ...], frozenset[str]] = {}
        self.names = 0
        #: The slots whose values may all be new.
        self.fresh = [slot for slot, table in enumerate(tables) if table.fresh]

    def match(self, event: Mapping[str, Any]) -> frozenset[str]:
        """The names of the rules whose pattern the event matches."""
        cells: list[Any] = self.blank.copy()
        readers: list[ArrayReader] = []
        read(self.paths.root, event, self.tables, cells, readers)
        if readers and readers[0].fill(cells, self.blank) > MAX_REMEMBERED_VALUES:
            return self._search(cells)
        signature = tuple(cells)
        found = self.results.get(signature)
        if found is None:
            found = self._search(cells)
            self._remember(signature, found)
        return found

    def _search(self, cells: list[Any]) -> frozenset[str]:
        """Verify the alternatives to which the values lead."""
        names: set[str] = set()
        for cell in cells:
            for entry in dict.fromkeys([entry for entry, _ in cell]) if type(cell) is tuple else (cell,):
                for alternative in entry.candidates:
                    if alternative.name not in names and alternative.holds(cells):
                        names.add(alternative.name)
        return frozenset(names) if names else _NONE

    def _remember(self, signature: tuple[Any, ...], found: frozenset[str]) -> None:
        """Keep a result, unless a value was met for the first time: it may never come again."""
        if self.fresh:
            known = True
            for slot in self.fresh:
                cell = signature[slot]
                for entry in [entry for entry, _ in cell] if type(cell) is tuple else (cell,):
                    if not entry.seen:
                        known = False
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

    ``match`` may be called from any thread at any time and takes no lock; it sees each change either whole
    or not at all. Changes take a lock among themselves.
    """

    def __init__(self, patterns: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """:param patterns: patterns by name to begin with."""
        self._lock = Lock()
        self._registry = Registry()
        self._snapshot = Snapshot(Paths({}), [])
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
