"""The keys under which an alternative can be found by a value, and the values' keys.

A value for which a predicate holds has every key of one of the predicate's *routes*. A key is ``(kind,
size, what)``.

====== ======================================= =============================================
kind   what                                    asked by
====== ======================================= =============================================
``=``  the value                               exact values
``^``  so many first characters                prefix, wildcard (``i^``: in folded form)
``$``  so many last characters                 suffix, wildcard (``i$``)
``i=`` all, folded                             equals-ignore-case
``/``  a piece between two slashes or ends     wildcard (also ``:``, ``-``, …; ``i/``, …)
``*``  so many characters within               wildcard (``i*``)
``4``  so many bits: the network's number      cidr and addresses (``6``)
``~``  so large grid cells: the cell's number  numeric ranges with two bounds
``>``  the bound                               numeric ranges with a lower bound only (``<`` upper)
``?``  nothing                                 all others: any value has this key
====== ======================================= =============================================
"""

from __future__ import annotations

from math import floor, frexp, isinf, ldexp
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.rules.patterns.addresses import BITS, address
from ml_event_provider.rules.patterns.predicates import IgnoreCase, Network, Prefix, Range, Suffix, Wildcard, fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ml_event_provider.rules.patterns.compiler import Leaf
    from ml_event_provider.rules.patterns.predicates import Predicate

Key = tuple[str, int, Any]
Route = tuple[Key, ...]

ANY: Final[Key] = ("?", 0, None)
#: What separates the pieces of a text, the best first.
SEPARATORS: Final = "/:.-_ ,"
#: The sizes of a wildcard's inner characters that are used as keys, and how many of them are looked at.
SIZES: Final = (6, 3, 2, 1)
MAX_PIECES: Final = 8
#: A range that holds a number is at least as wide as the gap to its neighbour in binary64: the number is less than
#: 2**(size of the range's cells + LEAST).
LEAST: Final = 55


def routes(predicate: Predicate) -> list[Route]:
    """The ways to find an alternative by this predicate, each a set of keys to register under."""
    kind = type(predicate)
    if kind is Wildcard:
        return list(_wildcard_routes(predicate)) or [(ANY,)]  # type: ignore[arg-type]
    key = ANY
    if isinstance(predicate, Range):
        return [_range_route(predicate)]
    if isinstance(predicate, Prefix):
        key = _start("^", predicate.text)
    elif isinstance(predicate, Suffix):
        key = _end("$", predicate.text)
    elif isinstance(predicate, IgnoreCase):
        text = fold(predicate.text)
        key = {"=": ("i=", 0, text), "^": _start("i^", text), "$": _end("i$", text)}[predicate.where]
    elif isinstance(predicate, Network):
        return [((str(predicate.version), predicate.bits, predicate.number),)]
    return [(key,)] if key[1] or key[0] == "i=" else [(ANY,)]


def is_sure(leaf: Leaf) -> bool:
    """Whether each value that has one of the leaf's keys is what the leaf asks for."""
    for predicate in leaf.predicates:
        if isinstance(predicate, Prefix | Suffix):
            length = len(predicate.text)
            if not length or _size(length) < length:
                return False
        elif not isinstance(predicate, Network):
            return False
    return True


def _size(length: int) -> int:
    """The greatest size of keys that is at most so long; the longer, the fewer there are."""
    step = 1 << max(0, length.bit_length() - 3)
    return length // step * step


def _start(kind: str, text: str) -> Key:
    size = _size(len(text))
    return kind, size, text[:size]


def _end(kind: str, text: str) -> Key:
    size = _size(len(text))
    return kind, size, text[len(text) - size :]


def _wildcard_routes(wildcard: Wildcard) -> Iterator[Route]:
    case = "i" if wildcard.folded else ""
    if len(wildcard.parts) == 1:
        yield ((case + "=", 0, wildcard.parts[0]),)
        return
    first, *middle, last = wildcard.parts
    if first:
        yield (_start(case + "^", first),)
    if last:
        yield (_end(case + "$", last),)
    pieces = list(_whole_pieces(wildcard.parts))
    for separator, piece in pieces[:MAX_PIECES]:
        yield ((case + separator, 0, piece),)
    if first or last or pieces:
        return
    for part in middle:
        size = next((size for size in SIZES if size <= len(part)), 0)
        starts = len(part) - size
        step = max(1, starts // (MAX_PIECES - 1))
        for start in range(0, starts + 1, step) if size else ():
            yield ((case + "*", size, part[start : start + size]),)


def _whole_pieces(parts: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The pieces that begin and end within a part behind a star, each with its separator."""
    for separator in SEPARATORS:
        for part in parts[1:]:
            if separator in part:
                for piece in part.split(separator)[1:-1]:
                    if piece:
                        yield separator, piece


def _range_route(found: Range) -> Route:
    low, high = found.low, found.high
    if low is None:
        return (("<", 0, float(high or 0)),)
    if high is None or isinf(float(high) - float(low)):
        return ((">", 0, float(low)),)
    # The range is as wide as one cell or wider, but less than two: it touches at most three of them.
    exponent = frexp(float(high) - float(low))[1] - 1
    return tuple(("~", exponent, number) for number in range(cell(low, exponent), cell(high, exponent) + 1))


def cell(number: float, exponent: int) -> int:
    """The grid cell of width 2**exponent that holds the number."""
    return floor(ldexp(number, -exponent))


def least_size(value: float) -> int:
    """The least size of cells of ranges that may hold the number."""
    return frexp(value)[1] - LEAST


def _pieces(separator: str) -> Callable[[str, int], Iterable[str]]:
    return lambda text, size: text.split(separator)


def _network(version: int) -> Callable[[str, int], Iterable[int]]:
    def network(text: str, size: int) -> Iterable[int]:
        found = address(text)
        return () if found is None or found[0] != version else (found[1] >> (BITS[version] - size),)

    return network


def _folded(keys: Callable[[str, int], Iterable[str]]) -> Callable[[str, int], Iterable[str]]:
    return lambda text, size: keys(fold(text), size)


_PLAIN: Final[dict[str, Callable[[str, int], Iterable[str]]]] = {
    "^": lambda text, size: (text[:size],),
    "$": lambda text, size: (text[-size:],),
    "=": lambda text, size: (text,),
    "*": lambda text, size: {text[at : at + size] for at in range(len(text) - size + 1)},
} | {separator: _pieces(separator) for separator in SEPARATORS}

#: What a string has as keys of each kind but ``=``, of one size.
TEXT_KEYS: Final[dict[str, Callable[[str, int], Iterable[Any]]]] = {
    **{kind: keys for kind, keys in _PLAIN.items() if kind != "="},
    **{"i" + kind: _folded(keys) for kind, keys in _PLAIN.items()},
    "4": _network(4),
    "6": _network(6),
}
