"""An event that matches a pattern, made from the pattern."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.rules.analysis.contradiction import conflict
from ml_event_provider.rules.analysis.demands import NUMBERS, Demand, alternatives
from ml_event_provider.rules.analysis.fields import ATTRIBUTES, OWNED, World, worlds
from ml_event_provider.rules.analysis.groups import split
from ml_event_provider.rules.analysis.values import search
from ml_event_provider.rules.patterns.index import PatternIndex

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ml_event_provider.rules.analysis.demands import Alternative, Group

#: How many events are tried, for each alternative.
_TRIES: Final = 24
#: Stands for a field that is left out.
_MISSING: Final = object()
_PRESENT: Final = Demand([{"exists": True}])

#: The attributes of the events that are made, where the pattern does not care.
_DEFAULTS: Final[dict[str, Any]] = {
    "specversion": "1.0",
    "id": "1",
    "source": "/example",
    "type": "com.example.event",
    "time": "2026-01-01T00:00:00Z",
    "datacontenttype": "application/json",
    "workspace": "default",
    "origin": "ingest",
}


def witness(pattern: Mapping[str, Any], *, schemas: bool = True) -> dict[str, Any] | None:
    """An event as JSON that matches the pattern; ``None`` if none is found, which proves nothing.

    With ``schemas`` it has the attributes of a CloudEvent, and the values that the pattern asks for are as
    the catalogue says; ``data`` has no other fields.

    :raises InvalidPattern: if the pattern is wrong.
    """
    return witness_of(alternatives(pattern), [pattern], schemas=schemas)


def witness_of(
    found: Iterable[Alternative], patterns: Sequence[Mapping[str, Any]], *, schemas: bool
) -> dict[str, Any] | None:
    """An event made from one of the alternatives that matches all patterns."""
    index = PatternIndex({str(number): pattern for number, pattern in enumerate(patterns)})
    for alternative in found:
        for world in worlds(alternative, schemas=schemas):
            if conflict(alternative, world) is not None:
                continue
            for event in _events(alternative, world):
                if len(index.match(event)) == len(patterns):
                    return event
    return None


def _events(alternative: Alternative, world: World) -> Iterator[dict[str, Any]]:
    """Events that may well match."""
    groups = split(alternative, world)
    if world.schemas:
        asked = [world.type] if world.type else [{"anything-but": {"prefix": [*OWNED]}}]
        groups.append({"type": Demand(asked)})
    for chosen in islice(_choices(groups, world), _TRIES):
        yield _finished(_built(chosen, world), world)
    # Each group for itself, put together: with arrays of values, then with arrays of objects.
    parts = [next((_built(each, world) for each in _choices([group], world)), None) for group in groups]
    if len(parts) < 2 or None in parts:
        return
    arrays = frozenset(array for group in groups for path in group for array in world.field(path).arrays)
    for objects in (False, True):
        event: dict[str, Any] = {}
        try:
            for part in parts:
                event = _merged(event, part, None, arrays, objects)
        except _NoArray:
            continue
        yield _finished(event, world)


class _NoArray(Exception):
    """Two values are asked of a field that has one."""


def _choices(groups: Sequence[Group], world: World) -> Iterator[dict[str, Any]]:
    """One value for each path, so that all demands on it hold, where that can be."""
    demands: dict[str, list[Demand]] = {}
    for group in groups:
        for path, demand in group.items():
            demands.setdefault(path, []).append(demand)
            for _, other in demand.comparisons:
                demands.setdefault(other, [])
    # Fields that others are compared with come before these; what nobody compares, has its first value.
    order: dict[str, None] = {}

    def put(path: str, waiting: tuple[str, ...]) -> None:
        for _, other in (pair for demand in demands[path] for pair in demand.comparisons):
            if other not in (*waiting, path):
                put(other, (*waiting, path))
        order[path] = None

    for path, asked in demands.items():
        if any(demand.comparisons for demand in asked):
            put(path, ())
    chosen: dict[str, Any] = {}
    for path in [path for path in demands if path not in order]:
        value = next(iter(_options(path, demands[path], world, {})), None)
        if value is None:
            return
        chosen[path] = value[0]
    yield from _chosen([*order], demands, world, chosen)


def _chosen(
    todo: Sequence[str], demands: Mapping[str, Sequence[Demand]], world: World, chosen: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    if not todo:
        yield chosen
        return
    path, *rest = todo
    for (value,) in _options(path, demands[path], world, chosen):
        yield from _chosen(rest, demands, world, {**chosen, path: value})


def _options(path: str, asked: Sequence[Demand], world: World, chosen: Mapping[str, Any]) -> Iterator[tuple[Any]]:
    """Values that fulfil all demands on a field, given those of other fields; or that it is missing."""
    field = world.field(path)
    bound = [_bound(demand, chosen) for demand in asked]
    if asked and field.absent and all(demand.absent for demand in asked):
        yield (_MISSING,)
    for value in search([*(bound or [_PRESENT]), *field.bounds], kinds=field.kinds).values:
        yield (value,)


def _bound(demand: Demand, chosen: Mapping[str, Any]) -> Demand:
    """The demand with the values that its field is compared with, as far as they are chosen."""
    elements = [*demand.plain]
    for sign, other in demand.comparisons:
        value = chosen.get(other, _PRESENT)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if sign in ("=", "!=") and value is _PRESENT:
            elements.append({"exists": True})
        elif value is _PRESENT:
            elements += NUMBERS
        elif value is _MISSING or (number and abs(value) > 2**53):
            continue
        elif sign == "=":
            elements.append({"exactly": value} if isinstance(value, str) else value)
        elif sign == "!=":
            elements.append({"anything-but": [value]} if number or isinstance(value, str) else {"exists": True})
        elif number:
            elements.append({"numeric": [sign, value]})
    return Demand([*elements, *([{"exists": False}] if demand.absent else [])])


def _built(chosen: Mapping[str, Any], world: World) -> dict[str, Any]:
    """The event with these values at their paths."""
    event: dict[str, Any] = {}
    for path, value in chosen.items():
        if value is _MISSING:
            continue
        names = path.split(".")
        place = event
        for count in range(1, len(names)):
            listed = _is_array(".".join(names[:count]), world)
            inner = place.setdefault(names[count - 1], [{}] if listed else {})
            inner = inner[0] if listed else inner
            if not isinstance(inner, dict):
                # Below a value, the rest of the path is one name with dots.
                place[".".join(names[count - 1 :])] = value
                break
            place = inner
        else:
            given = [value] if _is_array(path, world) else value
            place[names[-1]] = [place[names[-1]], value] if names[-1] in place else given
    return event


def _is_array(path: str, world: World) -> bool:
    """Whether the catalogue has an array at the path."""
    field = world.field(path)
    return world.schemas and field.known and path in field.arrays


def _merged(one: Any, other: Any, path: str | None, arrays: frozenset[str], objects: bool) -> Any:
    """Both as one; in an array where they differ, and with ``objects`` where both are objects."""
    if one == other and type(one) is type(other):
        return one
    if not isinstance(one, dict) or not isinstance(other, dict) or (objects and path in arrays):
        if path not in arrays:
            raise _NoArray
        return [*(one if isinstance(one, list) else [one]), *(other if isinstance(other, list) else [other])]
    result = dict(one)
    for name, value in other.items():
        inner = name if path is None else f"{path}.{name}"
        result[name] = _merged(result[name], value, inner, arrays, objects) if name in result else value
    return result


def _finished(event: dict[str, Any], world: World) -> dict[str, Any]:
    if not world.schemas:
        return event
    defaults = {name: _DEFAULTS[name] for name, field in ATTRIBUTES.items() if not field.absent}
    return {**defaults, "data": {}, **event}
