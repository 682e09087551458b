"""The reference page of all fields that rule files have, made from the models themselves."""

from __future__ import annotations

import inspect
import re
import sys
from datetime import datetime, timedelta
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ml_event_provider.events.catalogue import EVENT_TYPES
from ml_event_provider.rules.calendars import Calendar, show_duration
from ml_event_provider.rules.calendars.days import Dates, Day
from ml_event_provider.rules.fields import LISTED, ShortPart, listed
from ml_event_provider.rules.model import Rule
from ml_event_provider.rules.resources import natural_paths, opposite
from ml_event_provider.rules.scope import ResourceGroup
from ml_event_provider.rules.silences import Silence

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: What a file may hold, with its heading and the section of a file that it stands in.
DOCUMENTS: Final[tuple[tuple[str, str, type[BaseModel]], ...]] = (
    ("Rule", "rules", Rule),
    ("Resource group", "resource_groups", ResourceGroup),
    ("Calendar", "calendars", Calendar),
    ("Silence", "silences", Silence),
)
_WORDS: Final[dict[Any, str]] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "`true` or `false`",
    timedelta: "duration",
    datetime: "moment",
    dict: "object",
    Day: "day or days, like `mon`, `mon-fri`, `weekdays`",
}


def parts(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """The models that a model's fields are made of, itself included, by the shortest path that leads there.

    They are in the order of the model's own fields.
    """
    found: dict[str, type[BaseModel]] = {"": model}
    waiting = [("", model)]
    while waiting:
        path, around = waiting.pop(0)
        for name, field in around.model_fields.items():
            for inner in _models_in(field.annotation):
                if inner not in found.values():
                    place = f"{path}.{field.alias or name}".lstrip(".")
                    found[place] = inner
                    waiting.append((place, inner))
    order = list(model.model_fields)
    return dict(sorted(found.items(), key=lambda item: order.index(item[0].split(".")[0]) if item[0] else -1))


def fields_markdown() -> str:
    """The reference page ``docs/reference/rules-fields.md``."""
    lines = [
        "# Fields of rules",
        "",
        "Generated from the models by `python -m ml_event_provider.rules.reference`.",
        "",
        "What a rule and the things beside it may have. Fields in **bold** must be there. A duration is `90s`, `15m`,"
        " `1h30m`, `24h`, `7d`, ISO 8601 like `PT15M`, or a number of seconds; at most 366 days. A moment is RFC 3339"
        " with a zone: `2026-03-29T02:30:00+01:00`. Limits of texts count characters, those of lists entries. What it"
        " all means is on the page [Rules](rules.md); an example of each field in [Write rules](../howto/rules.md).",
        "",
    ]
    for title, section, model in DOCUMENTS:
        lines += [f"## {title}", "", f"In a file: an entry of `{section}`.", ""]
        for path, part in parts(model).items():
            if path:
                lines += [f"### `{path}`", ""]
            lines += [_meaning(part), "", *_table(part, parts(model))]
    return "\n".join([*lines, *_keys(), *_opposites()])


def _table(model: type[BaseModel], places: dict[str, type[BaseModel]]) -> Iterator[str]:
    yield "| field | kind | default | meaning |"
    yield "|---|---|---|---|"
    for name, field in model.model_fields.items():
        mark = "**" if field.is_required() else ""
        kind = _kind(field.annotation, field.metadata, places)
        meaning = str(field.description).replace("|", "\\|")
        yield f"| {mark}`{field.alias or name}`{mark} | {kind} | {_default(field)} | {meaning} |"
    yield ""


def _meaning(model: type[BaseModel]) -> str:
    return re.sub(r"\s+", " ", (inspect.getdoc(model) or "").replace("``", "`")).strip()


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def _kind(annotation: Any, metadata: Iterable[Any], places: dict[str, type[BaseModel]]) -> str:
    """A field's type in words, with its limits."""
    rules = [inner for one in metadata for inner in (one.metadata if isinstance(one, FieldInfo) else [one])]
    written = next((one.json_schema_input_type for one in rules if _says_input(one)), None)
    if written is not None:
        return _kind(written, (), places)
    arguments = [one for one in get_args(annotation) if one is not NoneType]
    if annotation in (str, int, float, bool, timedelta, datetime, Day):
        return _WORDS[annotation] + _limits(rules)
    match get_origin(annotation):
        case origin if origin is Annotated:
            return _kind(arguments[0], [*arguments[1:], *rules], places)
        case origin if origin in (Union, UnionType):
            return " or ".join(_kind(one, rules, places) for one in arguments)
        case origin if origin is Literal:
            return ", ".join(f"`{one}`" for one in arguments)
        case origin if origin is tuple:
            return _list_kind(arguments[0], rules, places)
        case origin if origin is dict:
            return _WORDS[dict]
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        place = next(path for path, model in places.items() if model is annotation)
        link = f"[object](#{re.sub(r'[^a-z_-]', '', place.lower())})"
        short = annotation.short if issubclass(annotation, ShortPart) else "on" if annotation is Dates else ""
        field = next((one for name, one in annotation.model_fields.items() if short in (name, one.alias)), None)
        return link if field is None else f"{_kind(field.annotation, field.metadata, places)} or {link}"
    return "any"


def _list_kind(item: Any, rules: list[Any], places: dict[str, type[BaseModel]]) -> str:
    one = _kind(item, (), places)
    if item is Day:
        return one
    alone = any(each is LISTED or getattr(each, "func", None) is listed for each in rules)
    return f"{one}; or a list{_limits(rules)}" if alone else f"list of: {one}{_limits(rules)}"


def _says_input(rule: Any) -> bool:
    return getattr(rule, "json_schema_input_type", Any) not in (Any, PydanticUndefined)


def _limits(rules: Iterable[Any]) -> str:
    """The limits of a number, a text's length or a list's."""
    found = {name: getattr(rule, name) for rule in rules for name in ("ge", "gt", "le") if hasattr(rule, name)}
    lengths = {
        name: getattr(rule, name) for rule in rules for name in ("min_length", "max_length") if hasattr(rule, name)
    }
    said = []
    if "gt" in found:
        said.append(f"more than {found['gt']}")
    if "ge" in found:
        said.append(f"at least {found['ge']}")
    if "le" in found:
        said.append(f"at most {found['le']:,}")
    if lengths.get("max_length"):
        said.append(f"up to {lengths['max_length']:,}")
    if lengths.get("min_length", 0) > 1:
        said.append(f"at least {lengths['min_length']}")
    return f" ({', '.join(said)})" if said else ""


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined or value in (None, "", ()):
        return ""
    if value == get_args(Day):
        return "all days"
    values = value if isinstance(value, tuple) else (value,)
    return ", ".join(f"`{_written(one)}`" for one in values)


def _written(value: Any) -> str:
    if isinstance(value, timedelta):
        return show_duration(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _keys() -> Iterator[str]:
    yield "## What an event is about"
    yield ""
    yield "Without `by`, these fields name what an event is about:"
    yield ""
    yield "| event type | fields |"
    yield "|---|---|"
    found: dict[tuple[str, ...], list[str]] = {}
    for name in EVENT_TYPES:
        family = f"{name.rpartition('.')[0]}.*"
        names = found.setdefault(natural_paths(name), [])
        if family not in names:
            names.append(family)
    others = found.pop(natural_paths(""), [])
    for paths, families in found.items():
        yield f"| {', '.join(f'`{one}`' for one in families)} | {', '.join(f'`{path}`' for path in paths)} |"
    named = ", ".join(f"`{one}`" for one in others)
    yield f"| {named}, and types of your own | {', '.join(f'`{path}`' for path in natural_paths(''))} |"
    yield ""


def _opposites() -> Iterator[str]:
    yield "## What undoes an event"
    yield ""
    yield "`resolve: true`, `condition.consecutive` and `condition.last` wait for these, where the rule names nothing"
    yield "else. For other types say it: `resolve: {on: …}`, `broken_by: {on: …}`, `others: {on: …}`."
    yield ""
    yield "| event type | is undone by |"
    yield "|---|---|"
    for name in EVENT_TYPES:
        for pattern in opposite([name]) or ():
            yield f"| `{name}` | {', '.join(f'`{one}`' for one in pattern['type'])} |"
    yield ""


if __name__ == "__main__":
    sys.stdout.write(fields_markdown())
