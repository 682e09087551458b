"""Everything about one field: which alternatives a value of it leads to, and which values are alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ml_event_provider.rules.conditions import Alternative, Entry
from ml_event_provider.rules.keys import ANY, Key, number_keys, text_keys
from ml_event_provider.rules.persistent import PersistentMap, Thresholds
from ml_event_provider.rules.values import ABSENT, Plain

if TYPE_CHECKING:
    from ml_event_provider.rules.predicates import Predicate

#: With more predicates than this on one field, each value is a class of its own.
MAX_TOLD_APART: Final = 16
#: How many values of a field are remembered.
MAX_MEMO: Final = 8192

_OTHER: Final = object()


class Table:
    """The index of one field. It does not change once it is published; only its memories of values grow."""

    __slots__ = ("absent", "any", "buckets", "classes", "exponents", "high", "known", "low", "memo", "predicates",
                 "single", "sizes")  # fmt: skip

    def __init__(self) -> None:
        self.buckets: PersistentMap[tuple[Alternative, ...]] = PersistentMap()
        #: Lengths and the like of the keys in use, by kind.
        self.sizes: dict[str, tuple[int, ...]] = {}
        self.exponents: tuple[int, ...] = ()
        self.low: Thresholds[Alternative] = Thresholds()
        self.high: Thresholds[Alternative] = Thresholds()
        self.any: tuple[Alternative, ...] = ()
        #: The values that some condition names.
        self.known: PersistentMap[bool] = PersistentMap()
        #: What conditions ask besides.
        self.predicates: tuple[Predicate, ...] = ()
        #: Whether each value is a class of its own because the field is compared with another.
        self.single = False
        self.forget()

    def forget(self) -> None:
        """Begin without memories, as a change needs."""
        self.memo: dict[Plain, Entry] = {}
        self.classes: dict[object, Entry] = {}
        self.absent = Entry(ABSENT, self.buckets.get(ABSENT) or ())

    def copy(self) -> Table:
        """A table to change before it is published."""
        table: Table = object.__new__(Table)
        for name in Table.__slots__:
            setattr(table, name, getattr(self, name))
        return table

    def entry(self, value: Plain) -> Entry:
        """The class of a value that is not in ``memo``."""
        known = self.memo.get(value)
        if known is not None:
            return known
        if self.single or len(self.predicates) > MAX_TOLD_APART:
            entry = Entry(value, self.candidates(value))
            entry.seen = False
            return self._remember(value, entry)
        named = self.known.get(value)
        told: object = value if named else _OTHER
        if self.predicates:
            told = (told, *[item.test(value) for item in self.predicates])
        entry = self.classes.get(told) or self.classes.setdefault(told, Entry(value, self.candidates(value)))
        return self._remember(value, entry) if named or self.predicates else entry

    def _remember(self, value: Plain, entry: Entry) -> Entry:
        if len(self.memo) >= MAX_MEMO:
            self.memo.clear()
            self.classes.clear()
        self.memo[value] = entry
        return entry

    def candidates(self, value: Plain) -> tuple[Alternative, ...]:
        """All alternatives registered under a key of the value; some may not match it."""
        found: list[Alternative] = list(self.any)
        get = self.buckets.get
        bucket = get(value)
        if bucket:
            found.extend(bucket)
        if isinstance(value, str):
            for key in text_keys(value, self.sizes) if self.sizes else ():
                bucket = get(key)
                if bucket:
                    found.extend(bucket)
        elif isinstance(value, int | float):
            for key in number_keys(value, self.exponents) if self.exponents else ():
                bucket = get(key)
                if bucket:
                    found.extend(bucket)
            found.extend(self.low.up_to(value))
            found.extend(self.high.from_(value))
        return tuple(found)

    def register(self, key: Plain | Key, alternative: Alternative) -> None:
        """Let values with this key lead to the alternative. Only before publishing."""
        if isinstance(key, tuple) and key[0] in (">", "<"):
            self._threshold(key[0] == ">", float(key[1]), alternative, add=True)
        elif key == ANY:
            self.any = (*self.any, alternative)
        else:
            bucket = self.buckets.get(key)
            self.buckets = self.buckets.with_item(key, (*bucket, alternative) if bucket else (alternative,))

    def unregister(self, key: Plain | Key, alternative: Alternative) -> None:
        """Undo ``register``."""
        if isinstance(key, tuple) and key[0] in (">", "<"):
            self._threshold(key[0] == ">", float(key[1]), alternative, add=False)
        elif key == ANY:
            self.any = tuple(other for other in self.any if other is not alternative)
        else:
            rest = tuple(other for other in self.buckets.get(key) or () if other is not alternative)
            self.buckets = self.buckets.with_item(key, rest) if rest else self.buckets.without(key)

    def _threshold(self, low: bool, bound: float, alternative: Alternative, *, add: bool) -> None:
        old = self.low if low else self.high
        new = old.with_item(bound, alternative) if add else old.without(bound, alternative)
        if low:
            self.low = new
        else:
            self.high = new
