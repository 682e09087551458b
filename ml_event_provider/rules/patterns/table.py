"""Everything about one field: which alternatives a value of it leads to, and which values are alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.rules.patterns.alternatives import Alternative, Entry
from ml_event_provider.rules.patterns.keys import TEXT_KEYS, Key, number_keys
from ml_event_provider.rules.patterns.persistent import PersistentMap, Thresholds
from ml_event_provider.rules.patterns.values import ABSENT, Constant, Plain

if TYPE_CHECKING:
    from ml_event_provider.rules.patterns.predicates import Predicate

#: With more predicates than this on one field, each value is a class of its own.
MAX_TOLD_APART: Final = 16
#: How many values of a field are remembered.
MAX_MEMO: Final = 8192

#: Stands for all values that no condition names.
_OTHER: Final = Constant("any other value")


class Table:
    """The index of one field. It does not change once it is published; only its memories of values grow."""

    __slots__ = (
        "absent",
        "any",
        "buckets",
        "classes",
        "exponents",
        "high",
        "known",
        "low",
        "memo",
        "other",
        "predicates",
        "single",
        "sizes",
    )

    def __init__(self) -> None:
        #: The values that some condition names, each with the alternatives registered under it.
        self.known: PersistentMap[Entry] = PersistentMap()
        #: The alternatives registered under other keys, by kind and key.
        self.buckets: dict[str, PersistentMap[tuple[Alternative, ...]]] = {}
        #: The sizes of the keys in use, by kind of key; and of numeric ranges.
        self.sizes: dict[str, tuple[int, ...]] = {}
        self.exponents: tuple[int, ...] = ()
        self.low: Thresholds[Alternative] = Thresholds()
        self.high: Thresholds[Alternative] = Thresholds()
        self.any: tuple[Alternative, ...] = ()
        #: What conditions ask besides values.
        self.predicates: tuple[Predicate, ...] = ()
        #: Whether each value is a class of its own because the field is compared with another.
        self.single = False
        self.forget()

    def forget(self) -> None:
        """Begin without memories, as a change needs."""
        self.memo: dict[Plain, Entry] = {}
        self.classes: dict[object, Entry] = {}
        self.other = Entry(_OTHER, ())
        self.absent = self.known.get(ABSENT) or Entry(ABSENT, ())

    def copy(self) -> Table:
        """A table to change before it is published."""
        table: Table = object.__new__(Table)
        for name in Table.__slots__:
            setattr(table, name, getattr(self, name))
        table.buckets = self.buckets.copy()
        return table

    @property
    def fresh(self) -> bool:
        """Whether values are classes of their own, so that most may never come again."""
        return self.single or len(self.predicates) > MAX_TOLD_APART

    def entry(self, value: Plain) -> Entry:
        """The class of a value that is not in ``memo``."""
        known = self.known.get(value)
        if self.predicates or self.any or self.single:
            if self.fresh:
                entry = Entry(value, self.candidates(value))
                entry.seen = False
                return self._remember(value, entry)
            told: object = value if known else _OTHER
            if self.predicates:
                told = (told, *[item.test(value) for item in self.predicates])
            found = self.classes.get(told)
            if found is None:
                found = self.classes.setdefault(told, Entry(value, self.candidates(value)))
            return self._remember(value, found) if known or self.predicates else found
        if known is None:
            return self.other
        if len(self.memo) < MAX_MEMO:
            self.memo[value] = known
        return known

    def _remember(self, value: Plain, entry: Entry) -> Entry:
        if len(self.memo) >= MAX_MEMO:
            self.memo.clear()
            self.classes.clear()
        self.memo[value] = entry
        return entry

    def candidates(self, value: Plain) -> tuple[Alternative, ...]:
        """All alternatives registered under a key of the value; some may not match it."""
        found: list[Alternative] = list(self.any)
        known = self.known.get(value)
        if known is not None:
            found += known.candidates
        if isinstance(value, str):
            for kind, sizes in self.sizes.items():
                for bucket in self.buckets[kind].get_each(TEXT_KEYS[kind](value, sizes)):
                    found += bucket
        elif isinstance(value, int | float):
            if self.exponents:
                for bucket in self.buckets["~"].get_each(number_keys(value, self.exponents)):
                    found += bucket
            if self.low:
                found += self.low.up_to(value)
            if self.high:
                found += self.high.from_(value)
        return tuple(found)

    def name(self, value: Plain, *, named: bool) -> None:
        """A condition names the value, or none does any longer. Only before publishing, as all below."""
        self.known = self.known.with_item(value, Entry(value, ())) if named else self.known.without(value)

    def register(self, key: Key, alternative: Alternative) -> None:
        """Let values with this key lead to the alternative."""
        kind, what = key
        if kind == "=":
            known = self.known.get(what)
            self._lead(what, (*known.candidates, alternative) if known else (alternative,))
        elif kind == "?":
            self.any = (*self.any, alternative)
        elif kind == ">":
            self.low = self.low.with_item(what, alternative)
        elif kind == "<":
            self.high = self.high.with_item(what, alternative)
        else:
            buckets: PersistentMap[tuple[Alternative, ...]] = self.buckets.get(kind) or PersistentMap()
            self.buckets[kind] = buckets.with_item(what, (*(buckets.get(what) or ()), alternative))

    def bucket(self, key: Key) -> tuple[Alternative, ...]:
        """The alternatives registered under a key that is not a bound or the key of any value."""
        kind, what = key
        if kind == "=":
            known = self.known.get(what)
            return known.candidates if known else ()
        return (self.buckets[kind].get(what) or ()) if kind in self.buckets else ()

    def unregister(self, key: Key, alternative: Alternative) -> None:
        """Undo ``register``."""
        kind, what = key
        if kind == "=":
            known = self.known.get(what)
            self._lead(what, _rest(known.candidates if known else (), alternative))
        elif kind == "?":
            self.any = _rest(self.any, alternative)
        elif kind == ">":
            self.low = self.low.without(what, alternative)
        elif kind == "<":
            self.high = self.high.without(what, alternative)
        else:
            buckets = self.buckets[kind]
            rest = _rest(buckets.get(what) or (), alternative)
            self.buckets[kind] = buckets.with_item(what, rest) if rest else buckets.without(what)

    def _lead(self, value: Any, candidates: tuple[Alternative, ...]) -> None:
        self.known = self.known.with_item(value, Entry(value, candidates))


def _rest(bucket: tuple[Alternative, ...], alternative: Alternative) -> tuple[Alternative, ...]:
    return tuple(other for other in bucket if other is not alternative)
