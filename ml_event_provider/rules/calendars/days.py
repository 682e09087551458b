"""Days, hours of a day, and dates, as rule files write them."""

from __future__ import annotations

import re
from datetime import date, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from ml_event_provider.rules.fields import Line, Part, listed

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: Final[tuple[Day, ...]] = get_args(Day)
WHOLE_DAY: Final = 24 * 60

_FULL: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_GROUPS: Final = {"weekdays": DAYS[:5], "weekend": DAYS[5:]}
_NUMBERS: Final[dict[str, int]] = {name: number % 7 for number, name in enumerate((*DAYS, *_FULL))}
_HOURS: Final = re.compile(r"([01]?[0-9]|2[0-4]):([0-5][0-9]) ?- ?([01]?[0-9]|2[0-4]):([0-5][0-9])")
_DATE: Final = re.compile(r"(?:([0-9]{4})-)?([0-9]{2})-([0-9]{2})")


def _day_number(name: str, whole: str) -> int:
    if name not in _NUMBERS:
        near = get_close_matches(name, DAYS if len(name) < 5 else [*_FULL, *_GROUPS], 1, 0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"{whole!r} is no day{hint}; allowed are {', '.join(DAYS)}, ranges like 'mon-fri', 'weekdays' and 'weekend'"
        )
    return _NUMBERS[name]


def _days(value: Any) -> Any:
    """All the days that a text or a list of texts names, each once, in the order of the week."""
    value = listed(value)
    if not isinstance(value, list | tuple):
        raise ValueError(f"days are a list like [mon, 'wed-fri'], not {type(value).__name__}")
    found: set[str] = set()
    for entry in value:
        if not isinstance(entry, str):
            raise ValueError(f"{entry!r} is no day; allowed are {', '.join(DAYS)} and ranges like 'mon-fri'")
        text = entry.strip().lower()
        if text in _GROUPS:
            found.update(_GROUPS[text])
            continue
        first, _, last = text.partition("-")
        begin = _day_number(first.strip(), entry)
        end = _day_number(last.strip(), entry) if "-" in text else begin
        found.update(DAYS[(begin + step) % 7] for step in range((end - begin) % 7 + 1))
    if not found:
        raise ValueError("names no day; leave 'days' out for every day")
    return tuple(day for day in DAYS if day in found)


def _hours(text: str) -> str:
    start, end = minutes_of(text)
    return f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"


def minutes_of(text: str) -> tuple[int, int]:
    """Where ``08:00-18:00`` begins and ends, in minutes since midnight; it crosses midnight if it ends first.

    :raises ValueError: if the text is no such window.
    """
    found = _HOURS.fullmatch(text.strip())
    if found is None:
        raise ValueError(
            f"{text!r} is no window of a day; write it like '08:00-18:00' or, over midnight, '22:00-06:00'"
        )
    numbers = [int(number) for number in found.groups()]
    start, end = numbers[0] * 60 + numbers[1], numbers[2] * 60 + numbers[3]
    if start >= WHOLE_DAY or end > WHOLE_DAY:
        raise ValueError(f"{text!r} is no window of a day; 24:00 is the latest end and 23:59 the latest beginning")
    if start == end:
        raise ValueError(f"{text!r} begins when it ends; the whole day is '00:00-24:00'")
    return start, end


def _dates(text: str) -> str:
    first, dots, last = (part.strip() for part in text.partition(".."))
    begin = _key(first, text)
    if not dots:
        return first
    end = _key(last, text)
    if len(begin) != len(end):
        raise ValueError(f"{text!r} has a year at one end only; give it at both or at none")
    if len(begin) == 3 and end < begin:
        raise ValueError(f"{text!r} ends before it begins")
    return f"{first}..{last}"


def _key(text: str, whole: str) -> tuple[int, ...]:
    """A date as (year, month, day), or (month, day) where it is yearly."""
    found = _DATE.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{whole!r} is no date; write '2026-12-25', a range '2026-12-24..2027-01-02', or '12-25' for every year"
        )
    year, month, day = found.groups()
    try:
        date(int(year or 2000), int(month), int(day))
    except ValueError as error:
        raise ValueError(f"{whole!r} is no date: {error}") from None
    return (int(year), int(month), int(day)) if year else (int(month), int(day))


_DAY_TEXT: Final = rf"(?:{'|'.join(DAYS)})"
_ONE_DATE: Final = r"(?:[0-9]{4}-)?[0-9]{2}-[0-9]{2}"
_DATES_SCHEMA: Final[dict[str, Any]] = {
    "type": "string",
    "pattern": rf"^{_ONE_DATE}(?:\.\.{_ONE_DATE})?$",
    "examples": ["2026-12-25", "2026-12-24..2027-01-02", "12-25"],
}
_HOURS_SCHEMA: Final[dict[str, Any]] = {
    "type": "string",
    "pattern": "^(?:[01]?[0-9]|2[0-4]):[0-5][0-9] ?- ?(?:[01]?[0-9]|2[0-4]):[0-5][0-9]$",
    "examples": ["08:00-18:00", "22:00-06:00"],
}


def _one_or_list(item: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [item, {"type": "array", "items": item, "minItems": 1}]})


#: Days of the week: ``mon`` to ``sun``, ranges like ``fri-mon``, ``weekdays``, ``weekend``, or a list of them.
Days = Annotated[
    tuple[Day, ...],
    BeforeValidator(_days),
    _one_or_list(
        {
            "anyOf": [
                {"enum": [*DAYS, *_GROUPS]},
                {"type": "string", "pattern": f"^{_DAY_TEXT}-{_DAY_TEXT}$", "examples": ["mon-fri"]},
            ]
        }
    ),
]
#: Windows of a day: ``08:00-18:00``, over midnight ``22:00-06:00``, or a list of them.
Windows = Annotated[
    tuple[Annotated[str, AfterValidator(_hours)], ...],
    BeforeValidator(listed),
    Field(min_length=1, max_length=50),
    _one_or_list(_HOURS_SCHEMA),
]


class Dates(Part):
    """One date, a range of dates, or either in every year. ``"12-25"`` is short for ``{on: "12-25"}``."""

    on: str = Field(
        description="2026-12-25, 2026-12-24..2027-01-02 with both ends, or every year 12-25 and 12-24..01-02."
    )
    why: Line = Field("", description="What is on these dates.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if isinstance(value, date) and not isinstance(value, datetime):
            value = value.isoformat()
        return {"on": value} if isinstance(value, str) else value

    @field_validator("on", mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        if isinstance(value, date) and not isinstance(value, datetime):
            return value.isoformat()
        return value

    @field_validator("on")
    @classmethod
    def _readable(cls, value: str) -> str:
        return _dates(value.strip())

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        full = handler.resolve_ref_schema(handler(schema))
        full["properties"]["on"] |= _DATES_SCHEMA
        return {"anyOf": [_DATES_SCHEMA, full], "description": full.pop("description", "")}

    def holds(self, day: date) -> bool:
        """Whether the day is one of these. 02-29 comes in leap years only."""
        first, dots, last = self.on.partition("..")
        begin = _key(first, self.on)
        end = _key(last, self.on) if dots else begin
        key = (day.year, day.month, day.day)[-len(begin) :]
        return begin <= key <= end if begin <= end else key >= begin or key <= end
