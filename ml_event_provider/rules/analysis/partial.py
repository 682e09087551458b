"""Whether an event of which only some fields are known may match a pattern."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ml_event_provider.rules.analysis.demands import alternatives

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ml_event_provider.rules.analysis.demands import Demand, Group


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"


#: Stands in a partial event for what may be there: any value, array or object, or nothing.
UNKNOWN: Final = _Unknown()

#: How many choices of values are tried; beyond that, the event may match.
MAX_STEPS: Final = 4000

#: The elements of arrays that a value stands in: number of the array, index of the element.
_Place = dict[int, int]


def may_match(pattern: Mapping[str, Any], partial: Mapping[str, Any]) -> bool:
    """``False`` only if no event that is as ``partial`` says matches the pattern.

    ``partial`` is an event as JSON (``Event.to_dict()``). A field that one of its objects does not have is
    unknown, and so is what is ``UNKNOWN``; anything may be there. Arrays, also empty ones, have just the
    elements that they have here.

    :raises InvalidPattern: if the pattern is wrong.
    """
    document = _Document(partial)
    return any(all(document.may_fulfil(group) for group in each) for each in alternatives(pattern))


class _TooManyChoices(Exception):
    pass


class _Spot(NamedTuple):
    """A place where a field has a value, or may have one if it is ``UNKNOWN``."""

    place: _Place
    value: Any


class _Document:
    def __init__(self, partial: Mapping[str, Any]) -> None:
        self.partial = partial
        #: The arrays' numbers, by where they stand.
        self.arrays: dict[tuple[str | int, ...], int] = {}
        self.found: dict[str, list[_Spot]] = {}
        self.steps = 0

    def may_fulfil(self, group: Group) -> bool:
        self.steps = 0
        # Fields with few choices first: these decide soon.
        todo = sorted(group.items(), key=lambda item: (item[1].absent, sum(1 for _ in self._options(*item))))
        try:
            return self._fulfil(todo, {}, [])
        except _TooManyChoices:
            return True

    def _fulfil(self, todo: list[tuple[str, Demand]], place: _Place, missing: list[str]) -> bool:
        """Whether values can be chosen for the rest, in the chosen elements of arrays."""
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise _TooManyChoices
        if not todo:
            return not any(
                spot.value is not UNKNOWN and _together(place, spot.place) is not None
                for path in missing
                for spot in self.spots(path)
            )
        (path, demand), *rest = todo
        chosen = [
            together for option in self._options(path, demand) if (together := _together(place, option)) is not None
        ]
        unique = {tuple(sorted(each.items())): each for each in chosen}
        if any(self._fulfil(rest, each, missing) for each in unique.values()):
            return True
        return demand.absent and self._fulfil(rest, place, [*missing, path])

    def _options(self, path: str, demand: Demand) -> Iterator[_Place]:
        if not demand.plain and not demand.comparisons:
            return
        for spot in self.spots(path):
            if spot.value is UNKNOWN or demand.accepts(spot.value):
                yield spot.place
            for sign, other in demand.comparisons:
                for right in self.spots(other):
                    together = _together(spot.place, right.place)
                    if together is not None and _compares(sign, spot.value, right.value):
                        yield together

    def spots(self, path: str) -> list[_Spot]:
        found = self.found.get(path)
        if found is None:
            found = self.found[path] = list(self._walk(self.partial, path.split("."), {}, ()))
        return found

    def _walk(self, value: Any, names: list[str], place: _Place, where: tuple[str | int, ...]) -> Iterator[_Spot]:
        if value is UNKNOWN:
            yield _Spot(place, UNKNOWN)
        elif isinstance(value, list | tuple):
            array = self.arrays.setdefault(where, len(self.arrays))
            for index, item in enumerate(value):
                yield from self._walk(item, names, {**place, array: index}, (*where, index))
        elif not isinstance(value, Mapping):
            if not names:
                yield _Spot(place, value)
        elif names:
            # A name with dots is the same as nested objects.
            joined = [".".join(names[:count]) for count in range(1, len(names) + 1)]
            spelled = [(count, name) for count, name in enumerate(joined, 1) if name in value]
            for count, name in spelled:
                yield from self._walk(value[name], names[count:], place, (*where, name))
            if not spelled:
                yield _Spot(place, UNKNOWN)


def _together(one: _Place, other: _Place) -> _Place | None:
    """Both choices of elements, or ``None`` if they choose different ones of an array."""
    if any(one.get(array, index) != index for array, index in other.items()):
        return None
    return {**one, **other}


def _compares(sign: str, left: Any, right: Any) -> bool:
    if left is UNKNOWN or right is UNKNOWN:
        return True
    numbers = [side for side in (left, right) if isinstance(side, int | float) and not isinstance(side, bool)]
    if any(abs(number) > 2**53 for number in numbers):
        # These may compare by their text.
        return True
    if sign in ("=", "!="):
        return (left == right and isinstance(left, bool) == isinstance(right, bool)) == (sign == "=")
    if len(numbers) < 2:
        return False
    return bool({"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[sign])
