"""What pydantic found wrong with a part of a file, in words that name line and field."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from ml_event_provider.rules.patterns.errors import InvalidPattern

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import ValidationError

    from ml_event_provider.rules.documents import Document, Place


def problems_of(error: ValidationError, document: Document, start: Place, model: type[BaseModel]) -> Iterator[str]:
    """Each problem of a part of a document as ``line: field: what is wrong (what is allowed)``."""
    for problem in error.errors(include_url=False):
        place: Place = tuple(problem["loc"])
        cause = problem.get("ctx", {}).get("error")
        text = problem["msg"]
        if isinstance(cause, InvalidPattern):
            place = (*place, *_pattern_place(document, (*start, *place), cause.path))
            text = f"{cause.operator!r} {cause.problem}" if cause.operator else cause.problem
        elif isinstance(cause, ValueError):
            text = str(cause)
        elif problem["type"] == "missing":
            text = "is missing"
        elif problem["type"] == "extra_forbidden":
            text = _unknown_field(place, model)
        elif problem["type"] == "too_short":
            text = "is empty; it needs an entry"
        else:
            text = f"{text[:1].lower()}{text[1:]}, not {_short(problem['input'])}"
        name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
        yield f"{document.line((*start, *place))}: {name or _kind(model)}: {text}"


def _unknown_field(place: Place, model: type[BaseModel]) -> str:
    around = _model_at(model, place[:-1])
    allowed = [field.alias or name for name, field in around.model_fields.items()]
    near = get_close_matches(str(place[-1]).lower(), allowed, 1, 0.6)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"is no field of a {_kind(around)}; {hint}(allowed: {', '.join(allowed)})"


def _kind(model: type[BaseModel]) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", model.__name__).lower().replace("rule target", "target")


def _model_at(model: type[BaseModel], place: Place) -> type[BaseModel]:
    """The model of the part at a place, as far as it can be told."""
    for part in place:
        for name, field in model.model_fields.items():
            if part in {name, field.alias}:
                model = next(_models_in(field.annotation), model)
    return model


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def _pattern_place(document: Document, start: Place, path: str) -> Place:
    """The place of a pattern's path, whose names may stand joined by dots or below ``$or`` and ``$and``."""
    names = path.split(".") if path else []
    for count in range(len(names), 0, -1):
        name = ".".join(names[:count])
        if (*start, name) in document.lines:
            return (name, *_pattern_place(document, (*start, name), ".".join(names[count:])))
    for step in ("$or", "$and") if names else ():
        index = 0
        while (*start, step, index) in document.lines:
            rest = _pattern_place(document, (*start, step, index), path)
            if rest:
                return (step, index, *rest)
            index += 1
    return ()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
