"""The keys under which an alternative can be found by a value, and the values' keys.

A value for which a predicate holds has every key of one of the predicate's *routes*. A key is ``(kind,
what)``; an exact value is its own key, of kind ``=``.

====== ========================= ==================================================
kind   what                      asked by
====== ========================= ==================================================
``=``  the value                 exact values, ``exists: false`` (``ABSENT``)
``^``  first characters          prefix, wildcard (``i^``: the same in folded form)
``$``  last characters           suffix, wildcard (``i$``)
``i=`` all, folded               equals-ignore-case
``w``  a whole word within       wildcard (``iw``)
``*``  some characters within    wildcard (``i*``)
``4``  (bits, network number)    cidr and addresses (``6``)
``~``  (exponent, grid cell)     numeric ranges with two bounds
``>``  the bound                 numeric ranges with a lower bound only (``<`` upper)
``?``  nothing                   all others: any value has this key
====== ========================= ==================================================
"""

from __future__ import annotations

import re
from math import floor, frexp, isinf, ldexp
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.rules.patterns.addresses import BITS, address
from ml_event_provider.rules.patterns.predicates import IgnoreCase, Network, Prefix, Range, Suffix, Wildcard, fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ml_event_provider.rules.patterns.predicates import Predicate

Key = tuple[str, Any]
Route = tuple[Key, ...]

ANY: Final[Key] = ("?", None)
#: The sizes of a wildcard's inner pieces that are used as keys, and how many pieces or words are looked at.
PIECE_SIZES: Final = (6, 3, 2, 1)
MAX_PIECES: Final = 8

#: Kinds whose keys are found without knowing their sizes.
_SIZELESS: Final = ("w", "iw", "i=")
_WORD: Final = re.compile(r"[^\W_]+")


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
        return [((str(predicate.version), (predicate.bits, predicate.number)),)]
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
    words = [word for part in wildcard.parts for word in _whole_words(part)]
    for word in words[-MAX_PIECES:]:
        yield ((case + "w", word),)
    if first or last or words:
        return
    for part in middle:
        size = next((size for size in PIECE_SIZES if size <= len(part)), 0)
        starts = len(part) - size
        step = max(1, starts // (MAX_PIECES - 1))
        for start in range(0, starts + 1, step) if size else ():
            yield ((case + "*", part[start : start + size]),)


def _whole_words(part: str) -> list[str]:
    """The words of a piece that end within it: those at its ends may go on."""
    return [found[0] for found in _WORD.finditer(part) if found.start() > 0 and found.end() < len(part)]


def _range_route(found: Range) -> Route:
    low, high = found.low, found.high
    if low is None:
        return (("<", float(high or 0)),)
    if high is None or isinf(float(high) - float(low)):
        return ((">", float(low)),)
    # The cells are wider than the range, so it touches at most two of them.
    exponent = frexp(float(high) - float(low))[1]
    first, last = cell(low, exponent), cell(high, exponent)
    return tuple(("~", (exponent, number)) for number in range(first, last + 1))


def cell(number: float, exponent: int) -> int:
    """The grid cell of width 2**exponent that holds the number."""
    return floor(ldexp(number, -exponent))


def number_keys(value: float, exponents: tuple[int, ...]) -> list[tuple[int, int]]:
    """The grid cells of a number."""
    # A range that holds the number is at least as wide as the gap to its neighbour in binary64.
    least = frexp(value)[1] - 54
    return [(exponent, cell(value, exponent)) for exponent in exponents if exponent >= least]


def _starts(text: str, sizes: tuple[int, ...]) -> Iterable[str]:
    length = len(text)
    return [text[:size] for size in sizes if size <= length]


def _ends(text: str, sizes: tuple[int, ...]) -> Iterable[str]:
    length = len(text)
    return [text[length - size :] for size in sizes if size <= length]


def _pieces(text: str, sizes: tuple[int, ...]) -> Iterable[str]:
    length = len(text)
    return {text[at : at + size] for size in sizes for at in range(length - size + 1)}


def _words(text: str, sizes: tuple[int, ...]) -> Iterable[str]:
    return set(_WORD.findall(text))


def _whole(text: str, sizes: tuple[int, ...]) -> Iterable[str]:
    return (text,)


def _networks(version: int) -> Callable[[str, tuple[int, ...]], Iterable[tuple[int, int]]]:
    def networks(text: str, sizes: tuple[int, ...]) -> Iterable[tuple[int, int]]:
        found = address(text)
        if found is None or found[0] != version:
            return ()
        return [(size, found[1] >> (BITS[version] - size)) for size in sizes]

    return networks


_PLAIN: Final[dict[str, Callable[[str, tuple[int, ...]], Iterable[Any]]]] = {
    "^": _starts,
    "$": _ends,
    "w": _words,
    "*": _pieces,
    "=": _whole,
    "4": _networks(4),
    "6": _networks(6),
}


def _folded(
    keys: Callable[[str, tuple[int, ...]], Iterable[Any]],
) -> Callable[[str, tuple[int, ...]], Iterable[Any]]:
    return lambda text, sizes: keys(fold(text), sizes)


#: What a string has as keys of each kind, of the sizes that are in use.
TEXT_KEYS: Final = {kind: keys for kind, keys in _PLAIN.items() if kind != "="} | {
    "i" + kind: _folded(keys) for kind, keys in _PLAIN.items() if kind not in ("4", "6")
}


def size_of(key: Key) -> int:
    """The size of a key, for the kinds whose keys are found by their size; else 0."""
    kind, what = key
    if kind in ("4", "6", "~"):
        return int(what[0])
    return len(what) if isinstance(what, str) and kind not in _SIZELESS else 0
