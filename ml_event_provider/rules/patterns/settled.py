"""Reads events by functions written for the rules in use, one for each type of event.

A snapshot that many events were matched with is worth it. Most rules name the type of the events (or a source, or
whatever has few values): for each of its values there is a function that looks up only what rules for it ask, with
the tree of fields and the kinds of keys of ``reader.follow`` unrolled and with plain dictionaries.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from math import floor, ldexp
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.rules.patterns.addresses import BITS, address
from ml_event_provider.rules.patterns.alternatives import branched
from ml_event_provider.rules.patterns.keys import LEAST, SEPARATORS, TEXT_KEYS
from ml_event_provider.rules.patterns.predicates import fold
from ml_event_provider.rules.patterns.reader import follow, follow_any
from ml_event_provider.rules.patterns.tree import Node, build

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
    from types import CodeType

    from ml_event_provider.rules.patterns.alternatives import Alternative, Branch, Bucket, Known
    from ml_event_provider.rules.patterns.table import Table

    Read = Callable[[Mapping[str, Any], Known], list[Alternative | Branch]]
    #: By slot, kind and size: the alternatives under each key.
    Maps = dict[int, dict[tuple[str, int], dict[Hashable, Bucket]]]

#: With more fields, kinds and sizes of keys, or deeper fields than this, no function is written.
MAX_FIELDS: Final = 64
MAX_KINDS: Final = 256
MAX_DOTS: Final = 16
#: How many values the field may have by which events are told apart, and how much larger all parts together may be
#: than the whole.
MAX_PARTS: Final = 64
MAX_GROWTH: Final = 4
#: How many times as many keys all parts together may have as the whole; else they share one map.
MAX_COPIES: Final = 1.5
#: For which part of the alternatives another function need not look, to be worth it.
MIN_GAIN: Final = 0.25
#: More field names with dots than this are looked for all at once.
FEW: Final = 2
#: So many alternatives under one key are put into branches.
MANY: Final = 5
#: How the key of a string is written, for kinds that have one key.
_ONE_KEY: Final = {
    "=": "{0}",
    "^": "{0}[:{1}]",
    "$": "{0}[-{1}:]",
    "i=": "({0}.lower() if {0}.isascii() else fold({0}))",
}


def settle(ways: Mapping[str, int], tables: list[Table]) -> Read:
    """The function that gives the alternatives to which an event's values lead; it may note values in ``known``."""
    name, slot, values = _told_apart(ways, tables)
    parts = _parts(ways, tables, slot, values)
    rest = _written(ways, tables, parts.pop(None))
    if not parts:
        return rest
    root = build(ways)
    reads: dict[str, Read] = {}

    def read(event: Mapping[str, Any], known: Known) -> list[Alternative | Branch]:
        if name not in event:
            return rest(event, known)
        value = event[name]
        if type(value) is str:
            known[slot] = value
            part = reads.get(value)
            if part is None:
                if value not in parts:
                    return rest(event, known)
                part = reads[value] = _written(ways, tables, parts[value])
            return part(event, known)
        found: list[Alternative | Branch] = []
        follow(root, event, tables, found)
        return found

    return read


def can_settle(ways: Mapping[str, int], tables: list[Table]) -> bool:
    """Whether the functions would not be too long."""
    return (
        len(ways) <= MAX_FIELDS
        and sum([len(tables[slot].maps) for slot in ways.values()]) <= MAX_KINDS
        and max([path.count(".") for path in ways], default=0) <= MAX_DOTS
    )


def _alternatives(tables: list[Table], ways: Mapping[str, int]) -> Iterator[Alternative]:
    for slot in ways.values():
        for known in tables[slot].maps.values():
            for bucket in known.values():
                yield from bucket


def _told_apart(ways: Mapping[str, int], tables: list[Table]) -> tuple[str, int, frozenset[str]]:
    """The field of few values that most alternatives name: path, slot and values; or no values."""
    alternatives = [*_alternatives(tables, ways)]
    count = len(alternatives)
    named = Counter([item for each in alternatives for _, _, test, item in each.checks if test is None])
    uses: dict[int, int] = {}
    values: dict[int, set[Any]] = {}
    paths: dict[int, str] = {}
    for condition, number in named.items():
        slot = condition.field.slot
        paths[slot] = condition.field.path
        uses[slot] = uses.get(slot, 0) + number
        values.setdefault(slot, set()).update(condition.values)
    best, gain = -1, 0.0
    for slot, used in uses.items():
        parts = len(values[slot])
        if "." not in paths[slot] and parts <= MAX_PARTS and (count - used) * parts + used <= MAX_GROWTH * count:
            saved = used * (1 - 1 / parts)
            if saved > gain and all(type(value) is str for value in values[slot]):
                best, gain = slot, saved
    return (paths[best], best, frozenset(values[best])) if gain > MIN_GAIN * count else ("", -1, frozenset())


def _parts(ways: Mapping[str, int], tables: list[Table], told: int, values: frozenset[str]) -> dict[str | None, Maps]:
    """The alternatives that can hold for each value of the field, and at ``None`` for any other value."""
    parts: dict[str | None, Maps] = {value: {slot: {} for slot in ways.values()} for value in (*values, None)}
    for slot in ways.values():
        for kind, known in tables[slot].maps.items():
            everyones = sum([not _names(bucket[0], told) for bucket in known.values()])
            if everyones * len(parts) <= MAX_COPIES * len(known):
                split = _split(known.items(), told, parts)
                for value, maps in parts.items():
                    maps[slot][kind] = _quick(split[value])
            else:
                # The same for all: what is looked up for each event stays in the processor's caches.
                shared = _quick({key: _bucket(bucket) for key, bucket in known.items()})
                for maps in parts.values():
                    maps[slot][kind] = shared
    return parts


def _split(
    known: Iterable[tuple[Hashable, tuple[Alternative, ...]]], told: int, parts: Iterable[str | None]
) -> dict[str | None, dict[Hashable, Bucket]]:
    """The alternatives under each key that can hold for each value of the field."""
    split: dict[str | None, dict[Hashable, Bucket]] = {value: {} for value in parts}
    for key, bucket in known:
        if len(bucket) == 1:
            for value in _allowed(bucket[0], told, split):
                split[value][key] = bucket
            continue
        found: dict[str | None, list[Alternative]] = {}
        for alternative in bucket:
            for value in _allowed(alternative, told, split):
                found.setdefault(value, []).append(alternative)
        for value, some in found.items():
            split[value][key] = _bucket(some)
    return split


def _quick(known: dict[Hashable, Bucket]) -> dict[Hashable, Bucket]:
    """The same with a key that is no string, by which Python keeps the hashes of all keys side by side: that a key is
    missing is seen without a look at others, which are far apart in memory."""
    return {None: (), **known} if known else known


def _bucket(alternatives: Sequence[Alternative]) -> Bucket:
    """Alternatives under one key as a match takes them."""
    return branched(alternatives) if len(alternatives) >= MANY else tuple(alternatives)


def _names(alternative: Alternative, told: int) -> bool:
    """Whether an alternative names the values that a field may have."""
    return any(slot == told and test is None for slot, _, test, _ in alternative.checks)


def _allowed(alternative: Alternative, told: int, parts: Iterable[str | None]) -> Iterable[Any]:
    """The parts in which an alternative can hold: those of the values that it names, or all, where it names none or
    asks in other ways, too."""
    for slot, values, test, _ in alternative.checks:
        if slot == told and test is None:
            return values
    return parts


def _written(ways: Mapping[str, int], tables: list[Table], maps: Maps) -> Read:
    used = {
        path: slot
        for path, slot in ways.items()
        if tables[slot].any or tables[slot].low or tables[slot].high or any(maps[slot].values())
    }
    writer = _Writer(tables, maps)
    writer.line(0, "def read(event, known):")
    writer.line(1, "found = []")
    writer.object(build(used), "event", 1)
    writer.line(1, "return found")
    # Whatever comes from a rule is in it as a literal or behind a name.
    exec(_compiled("\n".join(writer.lines)), writer.names)  # noqa: S102
    read: Read = writer.names["read"]
    return read


@lru_cache(64)
def _compiled(source: str) -> CodeType:
    return compile(source, "<event reader>", "exec")


class _Writer:
    """Writes the lines of the function; values and names of the event get in by ``repr`` or by ``names`` only."""

    def __init__(self, tables: list[Table], maps: Maps) -> None:
        self.tables = tables
        self.maps = maps
        self.lines: list[str] = []
        self.names: dict[str, Any] = {
            "address": address,
            "floor": floor,
            "fold": fold,
            "ldexp": ldexp,
            "tables": tables,
            "follow_any": follow_any,
        }

    def line(self, level: int, text: str) -> None:
        self.lines.append("    " * level + text)

    def name(self, value: Any) -> str:
        """A name for a value that the function uses."""
        name = f"n{len(self.names)}"
        self.names[name] = value
        return name

    def object(self, node: Node, document: str, level: int) -> None:
        """Read the fields of an object."""
        for name, slot, below in node.fields:
            value = f"v{len(self.lines)}"
            self.line(level, f"if {name!r} in {document}:")
            self.line(level + 1, f"{value} = {document}[{name!r}]")
            self.line(level + 1, f"kind = type({value})")
            branch = "if"
            if slot >= 0:
                self.line(level + 1, "if kind is str:")
                self.text(slot, value, level + 2)
                # Neither an infinity nor NaN, and not too large for the least cells.
                sizes = [size for kind, size in self.maps[slot] if kind == "~"]
                most = ldexp(1.0, min([size + LEAST for size in sizes] + [1023]))
                self.line(level + 1, f"elif kind is float and {-most!r} < {value} < {most!r}:")
                self.number(slot, value, level + 2)
                branch = "elif"
            if below is not None:
                self.line(level + 1, f"{branch} kind is dict:")
                self.object(below, value, level + 2)
            self.line(level + 1, "else:")
            self.line(level + 2, f"follow_any({self.name(node.children[name])}, {value}, tables, found)")
        if len(node.dotted) > FEW:
            self.line(level, f"if not {document}.keys().isdisjoint({tuple(node.dotted)!r}):")
            level += 1
        for name, below in node.dotted.items():
            self.line(level, f"if {name!r} in {document}:")
            self.line(level + 1, "known.clear()")
            self.line(level + 1, f"follow_any({self.name(below)}, {document}[{name!r}], tables, found)")

    def text(self, slot: int, value: str, level: int) -> None:
        """Look up the keys of a string."""
        table = self.tables[slot]
        self.line(level, f"found += {self.name(branched(table.any))}" if table.any else "pass")
        versions = {kind for kind, size in self.maps[slot] if kind in ("4", "6") and self.maps[slot][kind, size]}
        if versions:
            self.line(level, f"ip = address({value})")
        for (kind, size), known in self.maps[slot].items():
            if not known:
                continue
            if kind == "~":
                continue
            if kind in _ONE_KEY:
                self.look_up(level, slot, value, known, _ONE_KEY[kind].format(value, size))
            elif kind in ("4", "6"):
                self.line(level, f"if ip and ip[0] == {kind}:")
                self.look_up(level + 1, slot, value, known, f"ip[1] >> {BITS[int(kind)] - size}")
            else:
                keys = f"{self.name(TEXT_KEYS[kind])}({value}, {size})"
                self.line(level, f"for key in {f'{value}.split({kind!r})' if kind in SEPARATORS else keys}:")
                self.look_up(level + 1, slot, value, known, "key")

    def number(self, slot: int, value: str, level: int) -> None:
        """Look up the keys of a number."""
        table = self.tables[slot]
        self.line(level, f"found += {self.name(branched(table.any))}" if table.any else "pass")
        for (kind, size), known in self.maps[slot].items():
            if not known:
                continue
            if kind == "=":
                self.look_up(level, slot, value, known, value)
            elif kind == "~":
                exact = -1022 <= -size <= 1023
                moved = f"{value} * {2.0**-size!r}" if exact else f"ldexp({value}, {-size})"
                self.look_up(level, slot, value, known, f"floor({moved})")
        if table.low:
            self.line(level, f"found += {self.name(table.low)}.up_to({value})")
        if table.high:
            self.line(level, f"found += {self.name(table.high)}.from_({value})")

    def look_up(self, level: int, slot: int, value: str, known: dict[Hashable, Bucket], key: str) -> None:
        """Look up one key."""
        buckets = self.name(known)
        if not key.isidentifier():
            self.line(level, f"key = {key}")
            key = "key"
        self.line(level, f"if {key} in {buckets}:")
        self.line(level + 1, f"found += {buckets}[{key}]")
        self.line(level + 1, f"known[{slot}] = {value}")
