"""The pattern language read off its description, one rule and one event at a time."""

from __future__ import annotations

import ipaddress
import itertools
import re
from typing import Any

OPERATORS = {
    "anything-but",
    "cidr",
    "compare-field",
    "equals-ignore-case",
    "exactly",
    "exists",
    "numeric",
    "prefix",
    "suffix",
    "wildcard",
}
Place = dict[int, int]


def matches(pattern: dict[str, Any], event: dict[str, Any]) -> bool:
    """Whether all that is asked outside ``$and`` holds together, and each part of each ``$and`` alone."""
    return any(all(fulfils(group, event) for group in alternative) for alternative in alternatives(pattern, ""))


def alternatives(fields: dict[str, Any], prefix: str) -> list[list[list[tuple[str, Any]]]]:
    """Every choice of ``$or`` branches, as groups of (path, list); the first stands outside any ``$and``."""
    choices: list[list[list[list[tuple[str, Any]]]]] = []
    for name, value in fields.items():
        if name == "$or":
            choices.append([found for branch in value for found in alternatives(branch, prefix)])
        elif name == "$and":
            for part in value:
                if isinstance(part, dict) and not OPERATORS & part.keys():
                    found = alternatives(part, prefix)
                else:
                    found = [[[(prefix[:-1], [part])]]]
                choices.append([[[], *groups] for groups in found])
        elif isinstance(value, dict):
            choices.append(alternatives(value, f"{prefix}{name}."))
        else:
            choices.append([[[(prefix + name, value)]]])
    found = []
    for chosen in itertools.product(*choices):
        first = [leaf for groups in chosen for leaf in groups[0]]
        found.append([first, *[group for groups in chosen for group in groups[1:]]])
    return found


def flatten(value: Any, path: str | None, place: Place, numbers: Any) -> list[tuple[str, Any, Place]]:
    """All plain values of an event with their dotted paths and the array elements that they stand in."""
    if isinstance(value, dict):
        return [
            found
            for name, item in value.items()
            for found in flatten(item, name if path is None else f"{path}.{name}", place, numbers)
        ]
    if isinstance(value, list):
        array = next(numbers)
        return [
            found for index, item in enumerate(value) for found in flatten(item, path, {**place, array: index}, numbers)
        ]
    return [] if path is None else [(path, value, place)]


def agree(one: Place, other: Place) -> bool:
    return all(other.get(array, index) == index for array, index in one.items())


def fulfils(group: list[tuple[str, Any]], event: dict[str, Any]) -> bool:
    """Whether a value, or its absence, can be taken for each field so that all are in the same elements."""
    values = flatten(event, None, {}, itertools.count())
    options: list[list[Any]] = []
    for path, elements in group:
        found: list[Any] = [
            place for name, value, place in values if name == path and any(holds(e, value) for e in elements)
        ]
        for element in elements:
            if isinstance(element, dict) and "compare-field" in element:
                sign, other = element["compare-field"]
                found += [
                    {**place, **there}
                    for name, value, place in values
                    if name == path
                    for second, right, there in values
                    if second == other and agree(place, there) and compares(sign, value, right)
                ]
        if {"exists": False} in elements:
            found.append(path)
        options.append(found)
    for chosen in itertools.product(*options):
        place: Place = {}
        fits = True
        for item in chosen:
            if isinstance(item, dict):
                fits = fits and agree(place, item)
                place = {**place, **item}
        if fits and not any(
            name == path and agree(place, there)
            for path in chosen
            if isinstance(path, str)
            for name, _, there in values
        ):
            return True
    return False


def same(one: Any, other: Any) -> bool:
    """JSON equality."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other
    return type(one) is type(other) and one == other


def ip(text: Any) -> Any:
    if not isinstance(text, str):
        return None
    if re.fullmatch(r"[0-9]+(\.[0-9]+){3}", text, re.ASCII):
        text = ".".join(str(int(part)) for part in text.split("."))
    elif not re.fullmatch(r"[0-9a-fA-F:]*:[0-9a-fA-F:]*", text, re.ASCII):
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def caseless(asked: str) -> str:
    return "".join(f"(?:{re.escape(char.lower())}|{re.escape(char.upper())})" for char in asked)


def star(asked: str) -> str:
    return re.sub(
        r"\\(.)|(\*)|([^\\*])",
        lambda found: "(?:.*)" if found[2] else re.escape(found[1] or found[3]),
        asked,
        flags=re.DOTALL,
    )


def is_text(form: str, value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(form, value, re.DOTALL) is not None


def fold(text: str) -> str:
    return text.upper().casefold()


def compares(sign: str, left: Any, right: Any) -> bool:
    if sign in ("=", "!="):
        return same(left, right) == (sign == "=")
    if any(isinstance(side, bool) or not isinstance(side, int | float) for side in (left, right)):
        return False
    return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[sign]


def holds(element: Any, value: Any) -> bool:
    """Whether one plain value is what one element of a list asks for."""
    if not isinstance(element, dict):
        if ip(element) is not None:
            return ip(element) == ip(value)
        return same(element, value)
    ((name, asked),) = element.items()
    text = value if isinstance(value, str) else None
    if name == "exists":
        return bool(asked)
    if name == "compare-field":
        return False
    if name == "exactly":
        return text == asked
    if name == "equals-ignore-case":
        return is_text(caseless(asked), value)
    if name in ("prefix", "suffix", "wildcard") and isinstance(asked, dict):
        inner = asked["equals-ignore-case"]
        if name == "wildcard":
            return text is not None and is_text(star(fold(inner)), fold(text))
        form = caseless(inner)
        return is_text(f"{form}.*" if name == "prefix" else f".*{form}", value)
    if name == "prefix":
        return text is not None and text[: len(asked)] == asked
    if name == "suffix":
        return text is not None and text[max(0, len(text) - len(asked)) :] == asked
    if name == "wildcard":
        return is_text(star(asked), value)
    if name == "numeric":
        pairs = zip(asked[::2], asked[1::2], strict=True)
        return all(compares(sign, value, bound) for sign, bound in pairs)
    if name == "cidr":
        found = ip(value)
        block = asked.split("/")
        network = ipaddress.ip_network((str(ip(block[0])), int(block[1])), strict=False)
        return found is not None and found.version == network.version and found in network
    assert name == "anything-but"
    if isinstance(asked, dict):
        ((form, inner),) = asked.items()
        parts = inner if isinstance(inner, list) else [inner]
        return not any(holds({form: part}, value) for part in parts)
    return not any(same(part, value) for part in (asked if isinstance(asked, list) else [asked]))
