"""The keys under which an alternative can be found by a value, and the values' keys.

A value for which a predicate holds has every key of one of the predicate's *routes*. An exact value is its own key.
Other keys are tuples that begin with their kind:

====== ======================= ==================================================
kind   rest                    asked by
====== ======================= ==================================================
``^``  first characters        prefix, wildcard (``i^``: the same in folded form)
``$``  last characters         suffix, wildcard (``i$``)
``i=`` all, folded             equals-ignore-case
``*``  some characters within  wildcard (``i*``)
``4``  bits, network number    cidr and addresses (``6``)
``~``  exponent, grid cell     numeric ranges with two bounds
``>``  bound                   numeric ranges with a lower bound only (``<`` upper)
``?``                          all others: any value has this key
====== ======================= ==================================================
"""

from __future__ import annotations

from math import floor, frexp, isinf, ldexp
from typing import TYPE_CHECKING, Final

from ml_event_provider.rules.addresses import BITS, address
from ml_event_provider.rules.predicates import IgnoreCase, Network, Prefix, Range, Suffix, Wildcard, fold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ml_event_provider.rules.predicates import Predicate

Key = tuple[str | int, ...] | tuple[str, float]
Route = tuple[Key, ...]

ANY: Final[Key] = ("?",)
#: The sizes of a wildcard's inner pieces that are used as keys, and how many of its pieces are looked at.
PIECE_SIZES: Final = (6, 3, 2, 1)
MAX_PIECES: Final = 8


def routes(predicate: Predicate) -> list[Route]:
    """The ways to find an alternative by this predicate, each a set of keys to register under."""
    if isinstance(predicate, Prefix):
        return [(("^", predicate.text),)] if predicate.text else [(ANY,)]
    if isinstance(predicate, Suffix):
        return [(("$", predicate.text),)] if predicate.text else [(ANY,)]
    if isinstance(predicate, IgnoreCase):
        text = fold(predicate.text)
        return [(("i" + predicate.where, text),)] if text or predicate.where == "=" else [(ANY,)]
    if isinstance(predicate, Wildcard):
        return list(_wildcard_routes(predicate)) or [(ANY,)]
    if isinstance(predicate, Network):
        return [((str(predicate.version), predicate.bits, predicate.number),)]
    if isinstance(predicate, Range):
        return [_range_route(predicate)]
    return [(ANY,)]


def _wildcard_routes(wildcard: Wildcard) -> Iterator[Route]:
    case = "i" if wildcard.folded else ""
    first, *middle, last = wildcard.parts
    if first:
        yield ((case + "^", first),)
    if last:
        yield ((case + "$", last),)
    for part in middle:
        size = next((size for size in PIECE_SIZES if size <= len(part)), 0)
        starts = len(part) - size
        step = max(1, starts // (MAX_PIECES - 1))
        for start in range(0, starts + 1, step) if size else ():
            yield ((case + "*", part[start : start + size]),)


def _range_route(found: Range) -> Route:
    low, high = found.low, found.high
    if low is None:
        return (("<", float(high or 0)),)
    if high is None or isinf(float(high) - float(low)):
        return ((">", float(low)),)
    # The cells are wider than the range, so it touches at most two of them.
    exponent = frexp(float(high) - float(low))[1]
    first, last = cell(low, exponent), cell(high, exponent)
    return tuple(("~", exponent, number) for number in range(first, last + 1))


def cell(number: float, exponent: int) -> int:
    """The grid cell of width 2**exponent that holds the number."""
    return floor(ldexp(number, -exponent))


def text_keys(value: str, sizes: dict[str, tuple[int, ...]]) -> Iterator[Key]:
    """The keys of a string, of the kinds and sizes that are in use."""
    folded = ""
    for kind, used in sizes.items():
        text = value
        what = kind
        if kind[0] == "i":
            text = folded = folded or fold(value)
            what = kind[1:]
        length = len(text)
        if what == "^":
            for size in used:
                if size > length:
                    break
                yield (kind, text[:size])
        elif what == "$":
            for size in used:
                if size > length:
                    break
                yield (kind, text[length - size :])
        elif what == "*":
            for size in used:
                for piece in {text[at : at + size] for at in range(length - size + 1)}:
                    yield (kind, piece)
        elif what == "=":
            yield (kind, text)
        elif what in ("4", "6"):
            found = address(value)
            if found is not None and what == str(found[0]):
                for size in used:
                    yield (kind, size, found[1] >> (BITS[found[0]] - size))


def number_keys(value: float, exponents: tuple[int, ...]) -> Iterator[Key]:
    """The grid keys of a number."""
    # A range that holds the number is at least as wide as the gap to its neighbour in binary64.
    least = frexp(value)[1] - 54
    for exponent in exponents:
        if exponent >= least:
            yield ("~", exponent, cell(value, exponent))


def size_of(key: Key) -> tuple[str, int] | None:
    """Kind and size of a key whose sizes are counted."""
    kind = key[0]
    if not isinstance(kind, str) or kind in ("?", ">", "<"):
        return None
    if kind in ("4", "6", "~"):
        return kind, int(key[1])
    return kind, len(str(key[1]))
