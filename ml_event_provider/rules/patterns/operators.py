"""The operators of a pattern's list elements: JSON in, predicate out."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.rules.patterns.addresses import BITS, address
from ml_event_provider.rules.patterns.errors import InvalidPattern, nearest, shown
from ml_event_provider.rules.patterns.predicates import (
    AnythingBut,
    Equal,
    Expression,
    IgnoreCase,
    Network,
    Predicate,
    Prefix,
    Present,
    Range,
    SameEvent,
    Suffix,
    Wildcard,
    fold,
)
from ml_event_provider.rules.patterns.values import ABSENT, Plain, is_number, plain

if TYPE_CHECKING:
    from collections.abc import Callable

COMPARISONS: Final = ("=", "!=", "<", "<=", ">", ">=")


def predicate(path: str, element: Any) -> Predicate:
    """The predicate for one element of a field's list.

    ``{"exists": false}`` becomes ``Equal(ABSENT)``.

    :raises InvalidPattern: if it is none.
    """
    if isinstance(element, dict):
        return _expression(path, element)
    if isinstance(element, list):
        raise InvalidPattern(path, f"a list stands inside the list: {shown(element)}; write its elements instead")
    value = plain(element)
    if isinstance(value, tuple) and (value[0] == "?" or value[1] == "nan"):
        raise InvalidPattern(path, f"{shown(element)} is no JSON value")
    if isinstance(value, str):
        found = address(value)
        if found is not None:
            return Network(found[0], BITS[found[0]], found[1])
    return Equal(value)


def _expression(path: str, element: dict[Any, Any]) -> Predicate:
    if not element:
        raise InvalidPattern(path, f"an operator is missing in {{}}; allowed are {_names(OPERATORS)}")
    name = next(iter(element))
    if len(element) > 1 or name not in OPERATORS:
        _check_operators(path, element)
    return OPERATORS[name](path, name, element[name])


def _check_operators(path: str, element: dict[Any, Any]) -> None:
    unknown = [name for name in element if name not in OPERATORS]
    if unknown:
        name = str(unknown[0])
        raise InvalidPattern(
            path, f"is no operator{nearest(name, OPERATORS)}; allowed are {_names(OPERATORS)}", operator=name
        )
    name, other, *_ = element
    raise InvalidPattern(path, f"and {other!r} stand in one object; write one object for each operator", operator=name)


def _names(names: Any) -> str:
    return ", ".join(sorted(names))


def _text(path: str, operator: str, value: Any, also: str = "") -> str:
    if not isinstance(value, str):
        raise InvalidPattern(path, f"wants a string{also}, not {shown(value)}", operator=operator)
    return value


def _exactly(path: str, operator: str, value: Any) -> Predicate:
    return Equal(_text(path, operator, value))


def _ignore_case(path: str, operator: str, value: Any) -> Predicate:
    return IgnoreCase(_text(path, operator, value), "=")


def _case_option(path: str, operator: str, value: Any) -> tuple[str, bool]:
    """The text of ``"text"`` or of ``{"equals-ignore-case": "text"}``, and whether it was the latter."""
    if not isinstance(value, dict):
        return _text(path, operator, value, ' or {"equals-ignore-case": string}'), False
    if list(value) != ["equals-ignore-case"]:
        wrong = next((str(name) for name in value if name != "equals-ignore-case"), "")
        raise InvalidPattern(
            path,
            f"takes only 'equals-ignore-case' inside, not {wrong!r}{nearest(wrong, ['equals-ignore-case'])}",
            operator=operator,
        )
    return _text(path, f"{operator}.equals-ignore-case", value["equals-ignore-case"]), True


def _prefix(path: str, operator: str, value: Any) -> Predicate:
    text, caseless = _case_option(path, operator, value)
    return IgnoreCase(text, "^") if caseless else Prefix(text)


def _suffix(path: str, operator: str, value: Any) -> Predicate:
    text, caseless = _case_option(path, operator, value)
    return IgnoreCase(text, "$") if caseless else Suffix(text)


def _wildcard(path: str, operator: str, value: Any) -> Predicate:
    text, caseless = _case_option(path, operator, value)
    parts = _wildcard_parts(path, operator, text)
    if caseless:
        return Wildcard((*map(fold, parts),), folded=True)
    if len(parts) == 1:
        return Equal(parts[0])
    if len(parts) == 2 and not parts[1]:
        return Prefix(parts[0])
    if len(parts) == 2 and not parts[0]:
        return Suffix(parts[1])
    return Wildcard(parts)


def _wildcard_parts(path: str, operator: str, text: str) -> tuple[str, ...]:
    if "\\" not in text and "**" not in text:
        return (*text.split("*"),)
    parts, part, at = [], "", 0
    while at < len(text):
        char = text[at]
        if char == "\\":
            at += 1
            if text[at : at + 1] not in ("*", "\\"):
                raise InvalidPattern(
                    path,
                    f"has a lone backslash at position {at - 1} of {shown(text)}; \\* and \\\\ are escapes",
                    operator=operator,
                )
            part += text[at]
        elif char == "*":
            if text[at + 1 : at + 2] == "*":
                raise InvalidPattern(path, f"has ** in {shown(text)}; write a single *", operator=operator)
            parts.append(part)
            part = ""
        else:
            part += char
        at += 1
    return (*parts, part)


def _number(path: str, operator: str, value: Any) -> float:
    number = plain(value)
    if not isinstance(number, int | float) or not is_number(number):
        why = ", which binary64 cannot tell from its neighbours" if isinstance(number, tuple) else ""
        raise InvalidPattern(path, f"wants a number, not {shown(value)}{why}", operator=operator)
    return number


def _numeric(path: str, operator: str, value: Any) -> Predicate:
    form = 'a list like [">", 0] or [">=", 0, "<", 10]'
    if not isinstance(value, list) or not value:
        raise InvalidPattern(path, f"wants {form}, not {shown(value)}", operator=operator)
    if len(value) not in (2, 4):
        raise InvalidPattern(path, f"wants {form}; {shown(value)} has {len(value)} elements", operator=operator)
    sign = value[0]
    if sign not in ("=", "<", "<=", ">", ">="):
        raise InvalidPattern(path, f"knows =, <, <=, >, >= and not {shown(sign)}", operator=operator)
    first = _number(path, operator, value[1])
    if len(value) == 2:
        if sign == "=":
            return Equal(first)
        if sign.startswith(">"):
            return Range(low=first, low_open=sign == ">")
        return Range(high=first, high_open=sign == "<")
    upper = value[2]
    if not sign.startswith(">") or upper not in ("<", "<="):
        raise InvalidPattern(
            path,
            f"wants the lower bound first (> or >=), then the upper (< or <=), not {shown(value)}",
            operator=operator,
        )
    second = _number(path, operator, value[3])
    if first >= second:
        raise InvalidPattern(path, f"has a lower bound that is not below the upper: {shown(value)}", operator=operator)
    return Range(first, second, sign == ">", upper == "<")


def _exists(path: str, operator: str, value: Any) -> Predicate:
    if not isinstance(value, bool):
        raise InvalidPattern(path, f"wants true or false, not {shown(value)}", operator=operator)
    return Present() if value else Equal(ABSENT)


def _cidr(path: str, operator: str, value: Any) -> Predicate:
    text = _text(path, operator, value)
    start, slash, bits = text.partition("/")
    found = address(start)
    if not slash or found is None:
        raise InvalidPattern(
            path,
            f"wants an address block like 10.0.0.0/8 or 2001:db8::/32, not {shown(text)}",
            operator=operator,
        )
    size = BITS[found[0]]
    if not (bits.isascii() and bits.isdigit() and len(bits) <= 3 and int(bits) <= size):
        raise InvalidPattern(
            path,
            f"wants 0 to {size} bits after the slash for IPv{found[0]}, not {shown(bits)}",
            operator=operator,
        )
    return Network(found[0], int(bits), found[1] >> (size - int(bits)))


_BUT_FORMS: Final = ("prefix", "suffix", "equals-ignore-case", "wildcard")


def _anything_but(path: str, operator: str, value: Any) -> Predicate:
    if isinstance(value, dict):
        return _anything_but_form(path, operator, value)
    values = value if isinstance(value, list) else [value]
    if not values or any(isinstance(item, bool) or not isinstance(item, str | int | float) for item in values):
        raise InvalidPattern(
            path,
            "wants a string, a number, a list of one of them, or an object with one of"
            f" {', '.join(_BUT_FORMS)}; not {shown(value)}",
            operator=operator,
        )
    if len({isinstance(item, str) for item in values}) > 1:
        raise InvalidPattern(
            path, f"wants all strings or all numbers in its list, not {shown(value)}", operator=operator
        )
    return AnythingBut(frozenset(item if isinstance(item, str) else _number(path, operator, item) for item in values))


def _anything_but_form(path: str, operator: str, value: dict[Any, Any]) -> Predicate:
    name = next((str(name) for name in value if name not in _BUT_FORMS), next(iter(value), ""))
    if len(value) != 1 or name not in _BUT_FORMS:
        raise InvalidPattern(
            path,
            f"wants an object with one of {', '.join(_BUT_FORMS)}, not {shown(value)}{nearest(name, _BUT_FORMS)}",
            operator=operator,
        )
    inner = f"{operator}.{name}"
    texts = value[name] if isinstance(value[name], list) else [value[name]]
    if not texts:
        raise InvalidPattern(path, "wants a string or a list of strings, not an empty list", operator=inner)
    found: list[Predicate] = []
    for text in texts:
        _text(path, inner, text, " or a list of strings")
        if not text and name in ("prefix", "suffix"):
            raise InvalidPattern(path, "wants a text that is not empty: no value would be left", operator=inner)
        found.append(OPERATORS[name](path, inner, text))
    values = frozenset(item.value for item in found if isinstance(item, Equal))
    return AnythingBut(values, tuple(item for item in found if not isinstance(item, Equal)))


def _compare_field(path: str, operator: str, value: Any) -> Predicate:
    if not (isinstance(value, list) and len(value) == 2 and value[0] in COMPARISONS and isinstance(value[1], str)):
        raise InvalidPattern(
            path,
            f'wants [sign, path] like [">", "data.threshold"], with a sign of {" ".join(COMPARISONS)};'
            f" not {shown(value)}",
            operator=operator,
        )
    return SameEvent(value[0], value[1])


def _regex(path: str, operator: str, value: Any) -> Predicate:
    if find_spec("re2") is None:
        raise InvalidPattern(
            path,
            "is not available: Python's own engine can take exponential time on one event, and google-re2,"
            " which is linear, is not installed; use wildcard, prefix or suffix, or install google-re2",
            operator=operator,
        )
    import re2  # type: ignore[import-not-found, unused-ignore]

    text = _text(path, operator, value)
    try:
        return Expression(text, re2.compile(text).search)
    except re2.error as error:
        raise InvalidPattern(path, f"is no RE2 expression: {error}", operator=operator) from None


#: All operators. The names may not stand as fields in an object of ``$or`` or ``$and``.
OPERATORS: Final[dict[str, Callable[[str, str, Any], Predicate]]] = {
    "anything-but": _anything_but,
    "cidr": _cidr,
    "compare-field": _compare_field,
    "equals-ignore-case": _ignore_case,
    "exactly": _exactly,
    "exists": _exists,
    "numeric": _numeric,
    "prefix": _prefix,
    "regex": _regex,
    "suffix": _suffix,
    "wildcard": _wildcard,
}

#: Field names that the language keeps for itself inside ``$or`` and ``$and`` (event-ruler's ``Constants``).
RESERVED: Final = frozenset(OPERATORS) | {
    "=", "<", "<=", ">", ">=", "not-wildcard", "not-equals-ignore-case", "date-after", "date-on-or-after",
    "date-before", "date-on-or-before", "in-date-range", "ip-address-in-range", "ip-address-not-in-range",
}  # fmt: skip

__all__ = ["COMPARISONS", "OPERATORS", "RESERVED", "Plain", "predicate"]
