"""The kinds of texts, lists and paths of which rules and their companions are made."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    model_validator,
)
from pydantic_core.core_schema import no_info_before_validator_function

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Options that the dispatcher gives a target between two tries, and nobody else.
INNER_OPTIONS: Final = frozenset({"skip_recipients"})
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
#: Code points that are no characters and never will be (Unicode 16.0, section 23.7); CloudEvents forbids them.
_NONCHARACTER: Final = re.compile(
    "[\ufdd0-\ufdef" + "".join(chr(plane << 16 | 0xFFFE) + chr(plane << 16 | 0xFFFF) for plane in range(17)) + "]"
)


def _one_line(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError(f"holds a control character: {text!r}; write it in one line")
    if _NONCHARACTER.search(text):
        raise ValueError(f"holds a code point that is no character: {text!a}; remove it")
    if text != text.strip():
        raise ValueError(f"begins or ends with a space: {text!r}")
    return text


def _dotted(text: str) -> str:
    if not all(text.split(".")):
        raise ValueError(f"{text!r} is no path; write names joined by dots, like data.dag_id")
    return text


def _said_by_people(options: dict[str, Any]) -> dict[str, Any]:
    inner = sorted(INNER_OPTIONS & options.keys())
    if inner:
        raise ValueError(f"{', '.join(inner)} is noted between two tries and cannot be said: leave it out")
    return options


def _no_number(value: Any) -> Any:
    """Refuse what pydantic would take for a number: true, and texts."""
    if isinstance(value, bool | str):
        text = str(value).lower() if isinstance(value, bool) else repr(value)
        raise ValueError(f"must be a number, not {text}; write it as a number, without quotes")
    return value


#: Marks a field that takes numbers only, neither ``true`` nor ``"3"``.
NUMBER: Final = BeforeValidator(_no_number)


def listed(value: Any) -> Any:
    """One text or mapping as a list of one."""
    return [value] if isinstance(value, str | dict) else value


class _Listed:
    """Marks a list that may be written as its only entry."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return no_info_before_validator_function(listed, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        full = handler(schema)
        return {"anyOf": [full["items"], full]}


LISTED: Final = _Listed()


#: One line of text, and such texts of limited length.
Line = Annotated[str, Field(max_length=500), AfterValidator(_one_line)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_one_line)]
Short = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_one_line)]
Reference = Annotated[str, Field(min_length=1, max_length=250), AfterValidator(_one_line)]
#: A field of the event as JSON, like ``data.dag_id`` or ``subject``.
Path = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_one_line), AfterValidator(_dotted)]
Paths = Annotated[tuple[Path, ...], LISTED, Field(max_length=10)]
#: What a target is told of one delivery beside the message.
Options = Annotated[dict[str, JsonValue], AfterValidator(_said_by_people)]
#: Names, where ``*`` stands for any characters; one alone may stand without the list.
Names = Annotated[tuple[Reference, ...], LISTED, Field(max_length=1000)]


class Part(BaseModel):
    """A part of a rule file: unknown fields are refused, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ShortPart(Part):
    """A part that may be written as the value of its one required field, ``short``."""

    short: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return value if isinstance(value, dict | Part) else {cls.short: value}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        full = handler.resolve_ref_schema(handler(schema))
        return {"anyOf": [full["properties"][cls.short], full], "description": full.pop("description", "")}


@lru_cache(maxsize=4096)
def _names(path: str) -> list[str]:
    return path.split(".")


def value_at(document: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path of an event as JSON; ``None`` where there is none."""
    value: Any = document
    for name in _names(path):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value
