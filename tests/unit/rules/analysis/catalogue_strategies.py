"""Hypothesis strategies of events that are as the catalogue says, and of patterns about their fields."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from ml_event_provider.events.catalogue import EVENT_TYPES, json_schema, validate_data
from ml_event_provider.events.model import ORIGINS, Event
from tests.unit.rules.patterns.pattern_strategies import values

WORDS = ["a", "ab", "b", "approved", "pending", "failed", "x"]
UUIDS = ["8c5e7c5e-0000-4000-8000-000000000000", "8c5e7c5e-0000-4000-8000-000000000001"]
TIMES = ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]
NUMBERS = [0, 1, 2, 3]
TYPES = [*EVENT_TYPES, "com.example.done"]
#: Fields that the catalogue does not have; no spelling of one that it has.
FURTHER = ["further", "more.field"]


def of_schema(schema: dict[str, Any], definitions: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a JSON Schema of the catalogue allows."""
    if "anyOf" in schema:
        return st.one_of(*(of_schema(choice, definitions) for choice in schema["anyOf"]))
    if "$ref" in schema:
        return of_schema(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    kind = schema.get("type")
    if kind == "object":
        return of_object(schema, definitions)
    if kind == "array":
        return st.lists(of_schema(schema.get("items", {}), definitions), max_size=3)
    if kind == "string":
        return st.sampled_from({"uuid": UUIDS, "date-time": TIMES}.get(schema.get("format", ""), WORDS))
    scalars: dict[Any, st.SearchStrategy[Any]] = {
        "integer": st.sampled_from(NUMBERS),
        "number": st.sampled_from([*NUMBERS, 0.5, 2.5]),
        "boolean": st.booleans(),
        "null": st.none(),
        None: values,
    }
    return scalars[kind]


def of_object(schema: dict[str, Any], definitions: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "properties" not in schema:
        inner = schema.get("additionalProperties")
        found = of_schema(inner, definitions) if isinstance(inner, dict) else values
        return st.dictionaries(st.sampled_from(WORDS), found, max_size=2)
    required = set(schema.get("required", ()))
    properties = {name: of_schema(value, definitions) for name, value in schema["properties"].items()}
    further = dict.fromkeys(FURTHER, values)
    return st.fixed_dictionaries(
        {name: found for name, found in properties.items() if name in required},
        optional={name: found for name, found in properties.items() if name not in required} | further,
    )


def data_of(event_type: str) -> st.SearchStrategy[Any]:
    if event_type not in EVENT_TYPES:
        return st.dictionaries(st.sampled_from(["state", "status", "tags", "columns"]), values, max_size=3)
    schema = json_schema(event_type)
    return of_object(schema, schema.get("$defs", {}))


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """CloudEvents as JSON, made by ``Event``."""
    event_type = draw(st.sampled_from(TYPES))
    event = Event(
        id=draw(st.sampled_from(WORDS)),
        source=draw(st.sampled_from(WORDS)),
        type=event_type,
        time=datetime(2026, 1, 1, tzinfo=UTC),
        subject=draw(st.sampled_from(["", *WORDS])),
        workspace=draw(st.sampled_from(WORDS)),
        origin=draw(st.sampled_from(sorted(ORIGINS))),
        extensions=draw(
            st.dictionaries(st.just("extra"), st.one_of(st.sampled_from(WORDS), st.integers(0, 3)), max_size=1)
        ),
        data=draw(data_of(event_type)),
    )
    assert validate_data(event) == []
    return event.to_dict()


texts = st.sampled_from([*WORDS, *EVENT_TYPES, *sorted(ORIGINS)])
elements: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([*WORDS, *NUMBERS, True, None]),
    st.builds(lambda text, size: {"prefix": text[:size]}, texts, st.integers(0, 12)),
    st.builds(lambda text, size: {"suffix": text[-size:]}, texts, st.integers(1, 12)),
    st.builds(lambda one, other: {"wildcard": f"{one}*{other}"}, st.sampled_from(WORDS), st.sampled_from(WORDS)),
    st.builds(lambda number, sign: {"numeric": [sign, number]}, st.sampled_from(NUMBERS), st.sampled_from(["<", ">"])),
    st.builds(lambda found: {"anything-but": found}, st.lists(st.sampled_from(WORDS), min_size=1, max_size=2)),
    st.builds(lambda found: {"exists": found}, st.booleans()),
    st.builds(
        lambda sign, path: {"compare-field": [sign, path]},
        st.sampled_from(["=", "!=", "<"]),
        st.sampled_from(["data.state", "data.previous_state", "data.threshold", "data.columns.value"]),
    ),
)


def paths_of(event: dict[str, Any]) -> list[str]:
    """All paths of an event, and some others."""

    def walk(value: Any, path: str) -> list[str]:
        if isinstance(value, dict):
            return [found for name, item in value.items() for found in walk(item, f"{path}.{name}" if path else name)]
        if isinstance(value, list):
            return [path, *(found for item in value for found in walk(item, path))]
        return [path]

    others = [
        "subject",
        "owner",
        "extra",
        "data.state",
        "data.tags",
        "data.status",
        "data.columns.value",
        "data.more.field",
    ]
    return sorted({path for path in walk(event, "") if path} | set(others))


def values_at(value: Any, names: list[str]) -> list[Any]:
    if isinstance(value, list):
        return [found for item in value for found in values_at(item, names)]
    if isinstance(value, dict):
        return [
            found
            for count in range(1, len(names) + 1)
            if ".".join(names[:count]) in value
            for found in values_at(value[".".join(names[:count])], names[count:])
        ]
    return [] if names else [value]


@st.composite
def patterns(draw: st.DrawFn, event: dict[str, Any]) -> dict[str, Any]:
    """Patterns that may well match the event, or contradict themselves on its fields."""
    paths = st.sampled_from(paths_of(event))
    parts = []
    chosen = draw(st.lists(paths, min_size=1, max_size=2))
    for _ in range(draw(st.integers(1, 3))):
        part: dict[str, Any] = {}
        for path in draw(st.lists(st.one_of(st.sampled_from(chosen), st.just("type"), paths), min_size=1, max_size=2)):
            found = [value for value in values_at(event, path.split(".")) if value != ""]
            good = st.lists(st.sampled_from(found), min_size=1, max_size=1) if found else st.just([{"exists": False}])
            asked = draw(st.one_of(good, good, st.lists(elements, min_size=1, max_size=2)))
            part[path] = asked
        parts.append(part)
    if draw(st.integers(0, 4)) == 0:
        return {"$or": [*parts, draw(patterns(event))]}
    return {"$and": parts} if len(parts) > 1 else parts[0]
