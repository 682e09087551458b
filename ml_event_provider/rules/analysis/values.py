"""Whether any value fulfils several demands on one field, and which."""

from __future__ import annotations

import sys
from functools import lru_cache
from itertools import pairwise
from math import ceil, floor, inf, isfinite, nextafter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ml_event_provider.rules.analysis.demands import Demand, block, operator
from ml_event_provider.rules.analysis.texts import TooLarge, find

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

STRING: Final = "text"
NUMBER: Final = "number"
INTEGER: Final = "whole number"
BOOLEAN: Final = "boolean"
NULL: Final = "null"
KINDS: Final = frozenset({STRING, NUMBER, INTEGER, BOOLEAN, NULL})

#: How many values are given at most.
_ENOUGH: Final = 8
#: A number that no range holds: binary64 cannot tell it from its neighbours.
_BEYOND: Final = 2**53 + 1
#: A text that hardly any demand mentions.
_UNLIKELY: Final = "x-0"


class Found(NamedTuple):
    """Some values that fulfil the demands. Without any, ``certain`` says that there are none."""

    values: list[Any]
    certain: bool

    @property
    def possible(self) -> bool:
        """Whether there may be a value."""
        return bool(self.values) or not self.certain


def search(wanted: Iterable[Demand], avoided: Iterable[Demand] = (), kinds: frozenset[str] = KINDS) -> Found:
    """Values of these kinds that fulfil all of ``wanted`` and none of ``avoided``.

    Comparisons with other fields count as never fulfilled: see ``Demand.relaxed``.
    """
    return _search(tuple(dict.fromkeys(wanted)), tuple(avoided), kinds)


@lru_cache(8192)
def _search(wanted: tuple[Demand, ...], avoided: tuple[Demand, ...], kinds: frozenset[str]) -> Found:
    def fits(value: Any) -> bool:
        return all(demand.accepts(value) for demand in wanted) and not any(demand.accepts(value) for demand in avoided)

    fixed = min((values for demand in wanted if (values := demand.fixed()) is not None), key=len, default=None)
    if fixed is not None:
        return Found([value for value in fixed if kind_fits(value, kinds) and fits(value)][:_ENOUGH], True)
    demands = [*wanted, *avoided]
    text, certain = _text(wanted, avoided, fits) if STRING in kinds else (None, True)
    found: list[Any] = [] if text is None else [text]
    if kinds & {NUMBER, INTEGER}:
        tried = _integers(demands) if NUMBER not in kinds else _numbers(demands)
        # By their text: whether a large whole number equals a fraction's is for the demands to say.
        found += [value for value in {repr(value): value for value in tried}.values() if fits(value)][:_ENOUGH]
    found += [value for value in (True, False, None) if kind_fits(value, kinds) and fits(value)]
    return Found(found, certain)


def kind_of(value: Any) -> str:
    """The kind of a plain JSON value."""
    if value is None:
        return NULL
    if isinstance(value, bool):
        return BOOLEAN
    if isinstance(value, str):
        return STRING
    return INTEGER if isinstance(value, int) or value.is_integer() else NUMBER


def kind_fits(value: Any, kinds: frozenset[str]) -> bool:
    """Whether a plain JSON value is of one of these kinds."""
    kind = kind_of(value)
    return kind in kinds or (kind == INTEGER and NUMBER in kinds)


def _text(wanted: Sequence[Demand], avoided: Sequence[Demand], fits: Callable[[str], bool]) -> tuple[str | None, bool]:
    """A text, and whether there is surely none otherwise."""
    blocks = [found for demand in wanted if (found := demand.blocks())]
    for one, other in pairwise(blocks):
        if not any(left.version == right.version and left.overlaps(right) for left in one for right in other):
            return None, True
    # What stands in the demands is often good enough, and spares the automata.
    for text in dict.fromkeys((*_mentioned(wanted), _UNLIKELY, "", *_mentioned(avoided))):
        if fits(text):
            return text, True
    try:
        shortest = find(wanted, avoided)
    except TooLarge:
        return None, False
    return (shortest, True) if shortest is None or fits(shortest) else (None, False)


def _mentioned(demands: Iterable[Demand]) -> Iterator[str]:
    """Texts that stand in the demands, and the first addresses of blocks."""
    for demand in demands:
        for element in demand.plain:
            addresses = block(element)
            if addresses is not None:
                yield str(addresses.network_address)
            _, asked = operator(element)
            if isinstance(asked, dict):
                _, asked = operator(asked)
            if isinstance(asked, str):
                yield asked


def _points(demands: Iterable[Demand]) -> list[Any]:
    """The numbers at which a demand may change its answer, in order."""
    found: set[Any] = set()
    for demand in demands:
        for element in demand.plain:
            name, asked = operator(element)
            listed = asked if isinstance(asked, list) and name in ("numeric", "anything-but") else [asked]
            found.update(item for item in listed if isinstance(item, int | float) and not isinstance(item, bool))
    return sorted(found)


def _numbers(demands: Sequence[Demand]) -> Iterator[Any]:
    """A number for each way in which the demands may be answered, whole ones first."""
    points = _points(demands)
    yield from _integers(demands)
    yield from points
    yield from ((low + high) / 2 for low, high in pairwise(points) if max(abs(low), abs(high)) < 2**1000)
    yield from _neighbours(points)


def _integers(demands: Sequence[Demand]) -> Iterator[Any]:
    points = _points(demands)
    yield from (point for point in points if kind_of(point) == INTEGER)
    if not points:
        yield 1
    for point in points:
        yield from (floor(point), ceil(point), floor(point) + 1, ceil(point) - 1)
    yield from (value for value in _neighbours(points) if abs(value) >= 2**53)
    yield _BEYOND


def _neighbours(points: Iterable[Any]) -> Iterator[float]:
    """The binary64 numbers next to these: one in each range between two of them, if it has any."""
    for point in points:
        if abs(point) <= sys.float_info.max:
            yield from (value for end in (-inf, inf) if isfinite(value := nextafter(point, end)))
