"""The parameters of a pack: their types, what they allow, and how they are read from a command line."""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Any, Final, Literal

from pydantic import Field, JsonValue, TypeAdapter, ValidationError, model_validator

from ml_event_provider.rules.calendars import Duration, show_duration
from ml_event_provider.rules.fields import Line, Part
from ml_event_provider.rules.model import Targets
from ml_event_provider.rules.presets import nearest

Kind = Literal["text", "number", "integer", "boolean", "duration", "list", "targets"]

_DURATION: Final = TypeAdapter[Any](Duration)
_TARGETS: Final = TypeAdapter[Any](Targets)
_BOOLEANS: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_FORMS: Final[dict[Kind, str]] = {
    "text": "a text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "duration": "a duration like 90s, 15m, 24h or 7d",
    "list": "a list of texts or numbers",
    "targets": "connection ids, or target objects with 'conn_id'",
}
#: Which types each kind of limit has a meaning for.
_LIMITS: Final[dict[str, tuple[Kind, ...]]] = {
    "choices": ("text", "number", "integer", "list"),
    "min": ("number", "integer", "duration", "list"),
    "max": ("number", "integer", "duration", "list"),
    "pattern": ("text", "list"),
}


class Parameter(Part):
    """One parameter. Without ``default`` it must be given; one without a value leaves out what it stands for."""

    type: Kind = Field(description="What it takes.")
    description: Line = Field(min_length=1, description="What it is for.")
    default: JsonValue = Field(None, description="Its value where none is given.")
    optional: bool = Field(False, strict=True, description="Whether it may be null; so is one whose default is null.")
    choices: tuple[JsonValue, ...] | None = Field(None, min_length=1, description="The only values allowed.")
    min: JsonValue = Field(None, description="The smallest value; of a list, the fewest entries.")
    max: JsonValue = Field(None, description="The largest value; of a list, the most entries.")
    pattern: str | None = Field(None, max_length=500, description="A regular expression that texts must fit wholly.")

    @model_validator(mode="after")
    def _makes_sense(self) -> Parameter:
        for name, kinds in _LIMITS.items():
            if getattr(self, name) is not None and self.type not in kinds:
                raise ValueError(f"{name!r} has no meaning for the type {self.type!r}, only for {', '.join(kinds)}")
        if self.pattern is not None:
            try:
                re.compile(self.pattern)
            except re.error as error:
                raise ValueError(f"'pattern' is no regular expression: {error}") from None
        for name in ("min", "max"):
            limit = getattr(self, name)
            if limit is not None:
                try:
                    self._limit(limit)
                except ValueError as error:
                    raise ValueError(f"{name!r}: {error}") from None
        if self.default is not None:
            try:
                self.read(self.default)
            except ValueError as error:
                raise ValueError(f"'default': {error}") from None
        return self

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return "default" not in self.model_fields_set

    @property
    def may_be_none(self) -> bool:
        """Whether it may be without a value."""
        return self.optional or (not self.required and self.default is None)

    @property
    def allowed(self) -> str:
        """What it takes, in words."""
        text = _FORMS[self.type]
        if self.choices is not None:
            many = "any of " if self.type == "list" else "one of "
            text = many + ", ".join(map(str, self.choices))
        for words, limit in (("at least", self.min), ("at most", self.max)):
            if limit is not None:
                unit = "" if self.type != "list" else " entry" if limit == 1 else " entries"
                text += f", {words} {limit}{unit}"
        if self.pattern is not None:
            text += f", in the form {self.pattern}"
        return text + (", or nothing" if self.may_be_none else "")

    def read(self, value: Any) -> Any:
        """The typed value: durations in their shortest form, one text as a list of one.

        :raises ValueError: if it is not allowed; the message says what is.
        """
        if value is None and self.may_be_none:
            return None
        found = self._typed(value)
        if self.min is not None and self._size(found) < self._limit(self.min):
            raise ValueError(f"{value!r} is too little; allowed is {self.allowed}")
        if self.max is not None and self._size(found) > self._limit(self.max):
            raise ValueError(f"{value!r} is too much; allowed is {self.allowed}")
        for one in found if self.type == "list" else [found]:
            if self.choices is not None and one not in self.choices:
                hint = nearest(str(one), map(str, self.choices))
                raise ValueError(f"{one!r} is not allowed{hint}; allowed is {self.allowed}")
            if self.pattern is not None and not re.fullmatch(self.pattern, str(one)):
                raise ValueError(f"{one!r} is not allowed; allowed is {self.allowed}")
        return found

    def parse(self, text: str) -> Any:
        """The typed value of a text from a command line: lists are separated by commas, or are JSON.

        :raises ValueError: if it is not allowed; the message says what is.
        """
        if not text and self.may_be_none:
            return None
        value: Any = text
        match self.type:
            case "number" | "integer":
                try:
                    value = int(text) if self.type == "integer" else float(text)
                except ValueError:
                    pass
            case "boolean":
                value = _BOOLEANS.get(text.strip().lower(), text)
            case "list" | "targets":
                value = _listed(text)
        return self.read(value)

    def _size(self, value: Any) -> Any:
        """What of a value is compared with its limits."""
        return len(value) if self.type == "list" else self._limit(value)

    def _limit(self, value: Any) -> Any:
        """A limit as a number: a duration's in seconds."""
        if self.type == "duration":
            return _duration(value).total_seconds()
        if not _is_number(value):
            raise ValueError(f"{value!r} is no number")
        return value

    def _typed(self, value: Any) -> Any:
        match self.type:
            case "text":
                fits = isinstance(value, str)
            case "number":
                fits = _is_number(value)
            case "integer":
                fits = _is_number(value) and isinstance(value, int)
            case "boolean":
                fits = isinstance(value, bool)
            case "duration":
                return show_duration(_duration(value))
            case "list":
                value = [value] if isinstance(value, str) else value
                fits = isinstance(value, list | tuple) and all(isinstance(v, str) or _is_number(v) for v in value)
                value = list(value) if fits else value
            case "targets":
                return _targets(value, self.allowed)
        if not fits:
            raise ValueError(f"{value!r} is not allowed; allowed is {self.allowed}")
        return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _duration(value: Any) -> Any:
    try:
        return _DURATION.validate_python(value)
    except ValidationError as error:
        raise ValueError(str(error.errors()[0].get("ctx", {}).get("error"))) from None


def _targets(value: Any, allowed: str) -> list[Any]:
    listed = [value] if isinstance(value, str | dict) else value
    if not isinstance(listed, list | tuple) or not listed:
        raise ValueError(f"{value!r} is not allowed; allowed is {allowed}, at least one")
    try:
        _TARGETS.validate_python(listed)
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        raise ValueError(f"target {place}: {first['msg']}; allowed is {allowed}") from None
    return list(listed)


def _listed(text: str) -> Any:
    """JSON, or texts between commas."""
    if text.lstrip().startswith(("[", "{")):
        try:
            return json.loads(text)
        except ValueError as error:
            raise ValueError(f"{text!r} begins like JSON but is none: {error}") from None
    return [part.strip() for part in text.split(",")] if text.strip() else []
