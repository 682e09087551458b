"""Event types, attributes, fields and values in a pattern that no event of ours has."""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ml_event_provider.events.catalogue import EVENT_TYPES
from ml_event_provider.rules.analysis.contradiction import conflict
from ml_event_provider.rules.analysis.demands import Demand, alternatives, operator
from ml_event_provider.rules.analysis.fields import ATTRIBUTES, OWNED, World, fields_below, worlds
from ml_event_provider.rules.analysis.values import NULL, search

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ml_event_provider.rules.analysis.demands import Alternative
    from ml_event_provider.rules.analysis.fields import Field

#: What EventBridge's own attributes are here.
_EVENTBRIDGE: Final = {
    "detail": "EventBridge's `detail` is `data` here; `rules import --from eventbridge` converts patterns",
    "detail-type": "EventBridge's `detail-type` is `type` here; `rules import --from eventbridge` converts patterns",
    "resources": "EventBridge's `resources` is `subject` here",
    "version": "EventBridge's `version` is `specversion` here",
    "account": "EventBridge's `account` has no counterpart here; `workspace` says whose the event is",
    "region": "EventBridge's `region` has no counterpart here",
}


class Problem(NamedTuple):
    """A name or value that seems wrong.

    ``certain`` says that what stands at ``path`` has no effect for any event that is as CloudEvents and the
    catalogue say; else there may be such events.
    """

    path: str
    text: str
    certain: bool


def allowed_types(pattern: Mapping[str, Any]) -> set[str] | None:
    """The event types of the catalogue that may match; ``None`` if the pattern allows all types, also others.

    :raises InvalidPattern: if the pattern is wrong.
    """
    found: set[str] = set()
    others = False
    for alternative in alternatives(pattern):
        for world in worlds(alternative, schemas=True):
            if world.type not in found and conflict(alternative, world) is None:
                if world.type is None:
                    others = True
                else:
                    found.add(world.type)
    return None if others and len(found) == len(EVENT_TYPES) else found


def unknown_names(pattern: Mapping[str, Any]) -> list[Problem]:
    """Names and values in the pattern that no event has: misspelt, or another system's.

    Event types are checked if they begin with ``airflow.`` or ``ml.``, data if the pattern allows no types but
    the catalogue's.

    :raises InvalidPattern: if the pattern is wrong.
    """
    found: dict[Problem, None] = {}
    for alternative in alternatives(pattern):
        found.update(dict.fromkeys(_problems(alternative)))
    return list(found)


def _problems(alternative: Alternative) -> Iterator[Problem]:
    possible = worlds(alternative, schemas=True)
    for group in alternative:
        for path, demand in group.items():
            for name in (path, *(other for _, other in demand.comparisons)):
                yield from _name_problems(name, demand, possible)
            if path == "type":
                yield from _type_problems(demand)
            if path != "data":
                yield from _value_problems(path, demand, possible)


def _name_problems(path: str, demand: Demand, possible: Sequence[World]) -> Iterator[Problem]:
    first, *below = path.split(".")
    if first == "data":
        if below:
            yield from _data_problems(path, possible)
        elif not demand.only_absent:
            yield Problem(path, "is an object; write its fields below it", True)
    elif first in ATTRIBUTES:
        if below:
            yield Problem(path, f"{first} is a text and has no fields", True)
    else:
        yield from _attribute_problems(path, first, possible)


def _attribute_problems(path: str, name: str, possible: Sequence[World]) -> Iterator[Problem]:
    # The name alone may be an extension attribute of somebody's events.
    certain = not World(True).field(path).kinds
    hint = _EVENTBRIDGE.get(name)
    types = [world.type for world in possible if world.type]
    if hint is None and any(name in fields_below(each, []) for each in types):
        hint = f"write data.{path}"
    if hint is None:
        near = _nearest(name, [*ATTRIBUTES, "data"])
        hint = near and f"did you mean {near}?"
    if certain or hint:
        yield Problem(path, f"events have no attribute {name!r}{hint and '; '}{hint}", certain)


def _data_problems(path: str, possible: Sequence[World]) -> Iterator[Problem]:
    types = [world.type for world in possible if world.type]
    if not types or len(types) < len(possible):
        return
    names = path.split(".")
    for count in range(2, len(names) + 1):
        here = ".".join(names[:count])
        if any(world.field(here).known for world in possible):
            continue
        above = ".".join(names[: count - 1])
        siblings = {name for each in types for name in fields_below(each, names[1 : count - 1])}
        if count > 2 and not siblings:
            kinds = sorted(set().union(*(world.field(above).kinds - {NULL} for world in possible)))
            yield Problem(path, f"{above} is a {' or '.join(kinds)} and has no fields", False)
        else:
            near = _nearest(names[count - 1], siblings)
            hint = near and f"; did you mean {near}?"
            yield Problem(path, f"{_types(types)} no field {here}{hint}", False)
        return


def _types(types: Sequence[str]) -> str:
    return f"{types[0]} has" if len(types) == 1 else f"the {len(types)} event types allowed here have"


def _value_problems(path: str, demand: Demand, possible: Sequence[World]) -> Iterator[Problem]:
    fields = list(dict.fromkeys(world.field(path) for world in possible or [World(True)]))
    if not any(field.kinds for field in fields):
        if path.startswith("data.") and demand.plain and all(field.known for field in fields):
            yield Problem(path, "has no plain value; write the fields below it", True)
        return
    for element in demand.plain:
        if any(_fits(element, field) for field in fields):
            continue
        listed = {value for field in fields for bound in field.bounds for value in bound.fixed() or ()}
        near = _nearest(element, [value for value in listed if isinstance(value, str)])
        words = " or ".join(dict.fromkeys(field.words() for field in fields if field.kinds))
        text = f"{json.dumps(element, ensure_ascii=False)} never matches; it is {words}"
        yield Problem(path, text + (near and f"; did you mean {near}?"), True)


def _fits(element: Any, field: Field) -> bool:
    return search([Demand([element]), *field.bounds], kinds=field.kinds).possible


def _type_problems(demand: Demand) -> Iterator[Problem]:
    for element in demand.plain:
        name, asked = operator(element)
        if name == "anything-but":
            texts = asked if isinstance(asked, list) else [asked]
            for text in texts:
                if isinstance(text, str) and text.startswith(OWNED) and text not in EVENT_TYPES:
                    yield Problem("type", _no_type(text), False)
            continue
        text = asked["equals-ignore-case"] if name and isinstance(asked, dict) else asked
        if not isinstance(text, str) or any(Demand([element]).accepts(each) for each in EVENT_TYPES):
            continue
        start = text.partition("*")[0] if name == "wildcard" else text
        caseless = isinstance(asked, dict) or name == "equals-ignore-case"
        if name != "suffix" and (start.lower() if caseless else start).startswith(OWNED):
            yield Problem("type", _no_type(text), True)
        elif not name or name == "exactly":
            near = _nearest(text, EVENT_TYPES, 0.85)
            if near:
                yield Problem("type", f"the catalogue has no event type {text!r}; did you mean {near}?", False)


def _no_type(text: str) -> str:
    near = _nearest(text.replace("*", ""), EVENT_TYPES)
    return f"the catalogue has no event type {text!r}{near and f'; did you mean {near}?'}"


def _nearest(text: Any, known: Iterable[str], least: float = 0.6) -> str:
    found = get_close_matches(text.lower(), sorted(known), 1, least) if isinstance(text, str) else []
    return repr(found[0]) if found else ""
