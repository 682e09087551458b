"""To which alternatives a value of one field leads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.rules.patterns.keys import TEXT_KEYS, Key, cell, least_size
from ml_event_provider.rules.patterns.persistent import PersistentMap, Thresholds

if TYPE_CHECKING:
    from ml_event_provider.rules.patterns.alternatives import Alternative
    from ml_event_provider.rules.patterns.values import Plain

_EMPTY: Final[PersistentMap[Any]] = PersistentMap()


class Table:
    """The alternatives that are registered for one field.

    It does not change once it is published.
    """

    __slots__ = ("any", "high", "low", "maps")

    def __init__(self) -> None:
        #: The alternatives by kind, size and key.
        self.maps: dict[tuple[str, int], PersistentMap[tuple[Alternative, ...]]] = {}
        self.low: Thresholds[Alternative] = Thresholds()
        self.high: Thresholds[Alternative] = Thresholds()
        self.any: tuple[Alternative, ...] = ()

    def copy(self) -> Table:
        """A table to change before it is published."""
        table: Table = object.__new__(Table)
        table.maps, table.any = self.maps.copy(), self.any
        table.low, table.high = self.low, self.high
        return table

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

    def bucket(self, key: Key) -> tuple[Alternative, ...]:
        """The alternatives registered under a key that is not a bound or the key of any value."""
        kind, size, what = key
        return self.maps.get((kind, size), _EMPTY).get(what) or ()

    def register(self, key: Key, alternative: Alternative) -> None:
        """Let values with this key lead to the alternative. Only before publishing, as ``unregister``."""
        kind, size, what = key
        if kind == "?":
            self.any = (*self.any, alternative)
        elif kind == ">":
            self.low = self.low.with_item(what, alternative)
        elif kind == "<":
            self.high = self.high.with_item(what, alternative)
        else:
            self._lead(kind, size, what, (*self.bucket(key), alternative))

    def unregister(self, key: Key, alternative: Alternative) -> None:
        """Undo ``register``."""
        kind, size, what = key
        if kind == "?":
            self.any = _without(self.any, alternative)
        elif kind == ">":
            self.low = self.low.without(what, alternative)
        elif kind == "<":
            self.high = self.high.without(what, alternative)
        else:
            self._lead(kind, size, what, _without(self.bucket(key), alternative))

    def _lead(self, kind: str, size: int, what: Any, bucket: tuple[Alternative, ...]) -> None:
        known = self.maps.get((kind, size), _EMPTY)
        known = known.with_item(what, bucket) if bucket else known.without(what)
        if known:
            self.maps[kind, size] = known
        else:
            del self.maps[kind, size]


def _without(bucket: tuple[Alternative, ...], alternative: Alternative) -> tuple[Alternative, ...]:
    return tuple(other for other in bucket if other is not alternative)
