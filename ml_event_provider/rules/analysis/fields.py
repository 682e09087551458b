"""What an event may have at a path: the bounds of CloudEvents and of the catalogue's data models."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, Final, NamedTuple

from ml_event_provider.events.catalogue import EVENT_TYPES, json_schema
from ml_event_provider.events.model import ORIGINS, SPEC_VERSION
from ml_event_provider.rules.analysis.demands import Alternative, Demand
from ml_event_provider.rules.analysis.values import BOOLEAN, INTEGER, KINDS, NULL, NUMBER, STRING, search

#: The beginnings of the event types that the catalogue defines; all others are of users.
OWNED: Final = ("airflow.", "ml.")

_EXTENSION_NAME: Final = re.compile(r"[a-z0-9]{1,64}")
_JSON_KINDS: Final = {"string": STRING, "number": NUMBER, "integer": INTEGER, "boolean": BOOLEAN, "null": NULL}
_NOT_EMPTY: Final = Demand([{"anything-but": [""]}])
_OTHERS_TYPES: Final = Demand([{"anything-but": {"prefix": [*OWNED]}}])


class Field(NamedTuple):
    """What an event may have at a path."""

    #: The kinds of its plain values.
    kinds: frozenset[str] = KINDS
    #: What each of its values fulfils besides.
    demand: Demand | None = None
    #: Whether it may be missing, or no plain value.
    absent: bool = True
    #: The parts of the path, as paths, that may be arrays; without any, it has one value at most.
    arrays: frozenset[str] = frozenset()
    #: Whether CloudEvents or the catalogue define the field.
    known: bool = True

    @property
    def bounds(self) -> list[Demand]:
        """What each value fulfils, as demands."""
        return [] if self.demand is None else [self.demand]

    def words(self) -> str:
        """What its values are, in words."""
        if not self.kinds - {NULL}:
            return "null, an object or an array"
        listed = None if self.demand is None else self.demand.fixed()
        if listed:
            texts = [json.dumps(value, ensure_ascii=False) for value in listed]
            return f"one of {', '.join(texts)}" if len(texts) > 1 else f"always {texts[0]}"
        kinds = [kind for kind in (STRING, NUMBER, INTEGER, BOOLEAN, NULL) if kind in self.kinds]
        return f"a {' or '.join(kinds)}" + (" that is not empty" if self.demand is _NOT_EMPTY else "")


class World(NamedTuple):
    """The events that are looked at.

    With ``schemas`` these are CloudEvents of the given type (``None``: of a type that the catalogue does not
    own), whose data is as the catalogue says; else any JSON objects.
    """

    schemas: bool
    type: str | None = None

    def field(self, path: str) -> Field:
        """What the events may have at a path."""
        return _field(self.schemas, self.type, path)


def worlds(alternative: Alternative, *, schemas: bool) -> list[World]:
    """The events that the demands on ``type`` allow, by catalogue type and all others together."""
    if not schemas:
        return [World(False)]
    return [World(True, name) for name in _types(tuple(group["type"] for group in alternative if "type" in group))]


@lru_cache(4096)
def _types(demands: tuple[Demand, ...]) -> list[str | None]:
    """The types of the catalogue that fulfil the demands, and ``None`` if others do too."""
    wanted = [demand.relaxed() for demand in demands]
    found: list[str | None] = [name for name in EVENT_TYPES if all(demand.accepts(name) for demand in wanted)]
    if search([*wanted, _OTHERS_TYPES, _NOT_EMPTY], kinds=frozenset({STRING})).possible:
        found.append(None)
    return found


@lru_cache(4096)
def _field(schemas: bool, event_type: str | None, path: str) -> Field:
    names = path.split(".")
    if not schemas:
        return Field(arrays=_from(names, 1))
    if names[0] != "data":
        return _attribute(names[0]) if len(names) == 1 else _NOTHING
    if len(names) == 1:
        return _NOTHING
    if event_type is None:
        return Field(arrays=_from(names, 2), known=False)
    schema = _schema(event_type)
    return _below(schema, schema.get("$defs", {}), names, 1)


#: A field that no event has.
_NOTHING: Final = Field(kinds=frozenset())


def _from(names: list[str], first: int) -> frozenset[str]:
    """The paths of the first, …, all of the names."""
    return frozenset(".".join(names[:count]) for count in range(first, len(names) + 1))


_REQUIRED_TEXT: Final = Field(frozenset({STRING}), _NOT_EMPTY, absent=False)
_OPTIONAL_TEXT: Final = Field(frozenset({STRING}), _NOT_EMPTY)
_EXTENSION: Final = Field(frozenset({STRING, INTEGER, BOOLEAN}), known=False)
#: The attributes of every event but ``data``; the bounds are those of ``Event`` and its ``to_dict``.
ATTRIBUTES: Final[dict[str, Field]] = {
    "specversion": Field(frozenset({STRING}), Demand([SPEC_VERSION]), absent=False),
    "id": _REQUIRED_TEXT,
    "source": _REQUIRED_TEXT,
    "type": _REQUIRED_TEXT,
    "time": _REQUIRED_TEXT,
    "datacontenttype": Field(frozenset({STRING}), Demand(["application/json"]), absent=False),
    "workspace": _REQUIRED_TEXT,
    "origin": Field(frozenset({STRING}), Demand(sorted(ORIGINS)), absent=False),
    "subject": _OPTIONAL_TEXT,
    "owner": _OPTIONAL_TEXT,
    "dataschema": _OPTIONAL_TEXT,
}


def _attribute(name: str) -> Field:
    found = ATTRIBUTES.get(name)
    if found is not None:
        return found
    return _EXTENSION if _EXTENSION_NAME.fullmatch(name) else _NOTHING


@lru_cache(256)
def _schema(event_type: str) -> dict[str, Any]:
    return json_schema(event_type)


def fields_below(event_type: str, names: list[str]) -> dict[str, Any]:
    """The fields that the catalogue has below ``data`` and the names, by name."""
    schema = _schema(event_type)
    found = [schema]
    for name in names:
        found = [
            each["properties"][name]
            for schema_ in found
            for each in _objects(schema_, schema.get("$defs", {}))
            if name in each.get("properties", {})
        ]
    return {
        name: value
        for each in found
        for item in _objects(each, schema.get("$defs", {}))
        for name, value in item.get("properties", {}).items()
    }


def _choices(schema: dict[str, Any], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        definitions[choice["$ref"].rpartition("/")[2]] if "$ref" in choice else choice
        for choice in schema.get("anyOf", [schema])
    ]


def _objects(schema: dict[str, Any], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """The objects that a schema allows, in arrays too."""
    found: list[dict[str, Any]] = []
    for choice in _choices(schema, definitions):
        if choice.get("type") == "array":
            found += _objects(choice.get("items", {}), definitions)
        elif choice.get("type") == "object":
            found.append(choice)
    return found


def _below(schema: dict[str, Any], definitions: dict[str, Any], names: list[str], at: int) -> Field:
    """The field at the end of the path, of which ``schema`` describes the first ``at`` names."""
    return _union([_choice(choice, definitions, names, at) for choice in _choices(schema, definitions)])


def _union(fields: list[Field]) -> Field:
    values = [field.demand for field in fields if field.kinds]
    listed = [demand for demand in values if demand is not None]
    return Field(
        frozenset().union(*(field.kinds for field in fields)),
        Demand([item for demand in listed for item in demand.elements]) if values and None not in values else None,
        any(field.absent for field in fields),
        frozenset().union(*(field.arrays for field in fields)),
        any(field.known for field in fields),
    )


def _choice(schema: dict[str, Any], definitions: dict[str, Any], names: list[str], at: int) -> Field:
    kind = schema.get("type")
    if kind == "array":
        inner = _below(schema.get("items", {}), definitions, names, at)
        return inner._replace(absent=True, arrays=inner.arrays | {".".join(names[:at])})
    if kind == "object":
        return _property(schema, definitions, names, at)
    if kind not in _JSON_KINDS and "enum" not in schema and "const" not in schema:
        return Field(arrays=_from(names, at), known=at == len(names))
    if at < len(names):
        return _NOTHING._replace(known=False)
    listed = schema.get("enum", [schema["const"]] if "const" in schema else None)
    kinds = frozenset({_JSON_KINDS[kind]}) if kind in _JSON_KINDS else KINDS
    if kind == "null":
        listed = [None]
    return Field(kinds, None if listed is None else Demand(listed), absent=False)


def _property(schema: dict[str, Any], definitions: dict[str, Any], names: list[str], at: int) -> Field:
    if at == len(names):
        return _NOTHING
    name = names[at]
    if name in schema.get("properties", {}):
        found = _below(schema["properties"][name], definitions, names, at + 1)
        return found if name in schema.get("required", ()) else found._replace(absent=True)
    # A further field. In an object of any fields it is nothing to wonder at.
    return Field(arrays=_from(names, at + 1), known="properties" not in schema)
