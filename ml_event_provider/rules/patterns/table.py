"""To which alternatives a value of one field leads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.rules.patterns.keys import TEXT_KEYS, cell, least_size
from ml_event_provider.rules.patterns.persistent import PersistentMap, Thresholds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ml_event_provider.rules.patterns.alternatives import Alternative
    from ml_event_provider.rules.patterns.values import Plain

_EMPTY: Final[PersistentMap[Any]] = PersistentMap()
_NONE: Final[Thresholds[Any]] = Thresholds()


class Table:
    """The alternatives that are registered for one field.

    It does not change once it is published.
    """

    __slots__ = ("any", "high", "low", "maps")

    def __init__(self) -> None:
        #: The alternatives by kind, size and key.
        self.maps: dict[tuple[str, int], PersistentMap[tuple[Alternative, ...]]] = {}
        self.low: Thresholds[Alternative] = _NONE
        self.high: Thresholds[Alternative] = _NONE
        self.any: tuple[Alternative, ...] = ()

    def of_text(self, text: str) -> tuple[Alternative, ...]:
        """The alternatives registered under a key of a string; some may not match it."""
        found = self.any
        for (kind, size), known in self.maps.items():
            if kind == "=":
                bucket = known.get(text)
            elif kind == "^":
                bucket = known.get(text[:size])
            elif kind == "$":
                bucket = known.get(text[-size:])
            elif kind == "~":
                continue
            else:
                for bucket in known.get_each(TEXT_KEYS[kind](text, size)):
                    found += bucket
                continue
            if bucket:
                found += bucket
        return found

    def of_other(self, value: Plain) -> tuple[Alternative, ...]:
        """The same for a value that is no string."""
        found = self.any
        exact = self.maps.get(("=", 0))
        if exact is not None:
            found += exact.get(value) or ()
        if type(value) is not int and type(value) is not float:
            return found
        least = least_size(value)
        for (kind, size), known in self.maps.items():
            if kind == "~" and size >= least:
                found += known.get(cell(value, size)) or ()
        return (*found, *self.low.up_to(value), *self.high.from_(value))

    def bucket(self, kind: str, size: int, what: Any) -> tuple[Alternative, ...]:
        """The alternatives registered under a key."""
        if kind == "?":
            return self.any
        known = self.low if kind == ">" else self.high if kind == "<" else self.maps.get((kind, size), _EMPTY)
        return known.get(what) or ()

    def changed(self, buckets: Mapping[tuple[str, int], Mapping[Any, Sequence[Alternative]]]) -> Table:
        """This table with other alternatives under some keys, which are given by kind, size and what."""
        table = Table()
        table.maps, table.low, table.high, table.any = self.maps.copy(), self.low, self.high, self.any
        for (kind, size), lists in buckets.items():
            values = {what: tuple(bucket) for what, bucket in lists.items()}
            if kind == "?":
                table.any = values[None]
            elif kind == ">":
                table.low = table.low.changed(values)
            elif kind == "<":
                table.high = table.high.changed(values)
            else:
                known = table.maps[kind, size] = table.maps.get((kind, size), _EMPTY).changed(values)
                if not known:
                    del table.maps[kind, size]
        return table
