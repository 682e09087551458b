"""YAML and JSON files as values that know on which line each part stands."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from sys import float_info
from typing import TYPE_CHECKING, Any, Final

import yaml

from ml_event_provider.events.strict_json import SURROGATE, shown

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator
    from pathlib import Path

MAX_FILE_BYTES: Final = 4 * 1024 * 1024
MAX_NODES: Final = 200_000
MAX_DEPTH: Final = 100

#: Where a part stands in a document: keys and list indices.
Place = tuple[str | int, ...]


class UnreadableError(ValueError):
    """A file that cannot be read; ``line`` counts from 1."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


@dataclass
class Document:
    """One document of a file: its value and the line of each part."""

    value: Any
    lines: dict[Place, int] = field(default_factory=dict)

    def line(self, place: Place) -> int:
        """The line of a part, or of the nearest part around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


def read_text(file: Path) -> str:
    """A file's text.

    :raises UnreadableError: if it cannot be read, is too large, empty, or not UTF-8.
    """
    try:
        size = file.stat().st_size
        if size > MAX_FILE_BYTES:
            raise UnreadableError(1, f"the file has {size} bytes; {MAX_FILE_BYTES} are allowed: split it")
        data = file.read_bytes()
    except OSError as error:
        raise UnreadableError(1, f"cannot be read: {error.strerror}") from None
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise UnreadableError(1, "begins with a byte order mark; save it as UTF-8 without one")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableError(
            line, f"the byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from None
    if not text.strip():
        raise UnreadableError(1, "the file is empty; it should hold a rule")
    return text


# The same reader in C, where PyYAML was built with it.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """Resolves plain scalars by YAML 1.2's core schema: ``on``, ``yes``, ``no`` and dates are strings."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own way


for _tag, _form, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_form})$"), list(_first))


def read_yaml(text: str) -> Iterator[Document]:
    """The documents of a YAML text.

    :raises UnreadableError: if it is no YAML, has a key twice, a tag beyond plain data, aliases that
    never end, or what cannot be stored.
    """
    try:
        _check_depth(text)
        for node in yaml.compose_all(text, Loader=_Loader):
            reader = _NodeReader()
            yield _storable(Document(reader.read(node, ()), reader.lines))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(part for part in (error.context, error.problem) if part)
        tab = "; indent with spaces, not tabs" if "'\\t'" in problem or "tab" in problem else ""
        raise UnreadableError(mark.line + 1 if mark else 1, f"not valid YAML: {problem}{tab}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UnreadableError(line, f"not valid YAML: {error.reason}") from None
    except RecursionError:
        raise UnreadableError(1, f"nested more than {MAX_DEPTH} deep") from None


def _check_depth(text: str) -> None:
    """Refuse what is nested too deep before nodes are made: the reader in C overflows the stack."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                line = event.start_mark.line + 1 if event.start_mark else 1
                raise UnreadableError(line, f"nested more than {MAX_DEPTH} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _NodeReader:
    """Builds values from YAML nodes and notes their lines."""

    def __init__(self) -> None:
        self.lines: dict[Place, int] = {}
        self.count = 0

    def read(self, node: yaml.Node, place: Place) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(place, line)
        self.count += 1
        if self.count > MAX_NODES:
            raise UnreadableError(line, f"more than {MAX_NODES} values, aliases counted each time")
        if len(place) > MAX_DEPTH:
            raise UnreadableError(line, f"nested more than {MAX_DEPTH} deep, or an alias that holds itself")
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return [self.read(item, (*place, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and kind in _SCALARS:
            return _SCALARS[kind](node.value)
        raise UnreadableError(line, f"the tag {node.tag!r} is not allowed: rules are plain data")

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise UnreadableError(line, "a key must be a string")
            # A key is its text, whatever it would be as a value.
            name = key.value
            if name == "<<" and not key.style:
                for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    part = self.read(source, place)
                    if not isinstance(part, dict):
                        raise UnreadableError(line, "<< takes a mapping or a list of mappings")
                    merged = {**part, **merged}
                continue
            if name in found:
                raise UnreadableError(
                    line, f"the key {name!r} stands twice; it is also on line {self.lines[(*place, name)]}"
                )
            self.lines[(*place, name)] = line
            found[name] = self.read(value, (*place, name))
        return {**merged, **found}


def _int(text: str) -> int | str:
    digits = text.lstrip("+-")
    if len(digits) > 1000:
        return text
    return int(text, 0) if digits[:2] in ("0x", "0o") else int(text)


_SCALARS: Final[dict[str, Any]] = {
    "str": str,
    "null": lambda text: None,
    "bool": lambda text: text.lower() == "true",
    "int": _int,
    "float": float,
}

_JSON_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+|\n')


def read_json(text: str) -> Document:
    """The document of a JSON text.

    :raises UnreadableError: if it is no JSON, has a key twice, or holds what cannot be stored.
    """
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise UnreadableError(error.lineno, f"not valid JSON: {error.msg} (column {error.colno})") from None
    except RecursionError:
        raise UnreadableError(1, f"nested more than {MAX_DEPTH} deep") from None
    except ValueError as error:
        raise UnreadableError(1, f"not valid JSON: {error}") from None
    return _storable(Document(value, _json_lines(text)))


def _storable(document: Document) -> Document:
    """The document, all of whose texts and numbers databases and JSON can hold.

    :raises UnreadableError: for the first part that they cannot.
    """
    problems: list[tuple[int, str]] = []
    waiting: list[tuple[Place, Any]] = [((), document.value)]
    while waiting:
        place, value = waiting.pop()
        named: Any = ()
        if isinstance(value, dict):
            named = value.items()
        elif isinstance(value, list):
            named = enumerate(value)
        waiting += [((*place, name), part) for name, part in named]
        key = place[-1] if place else ""
        problems += [(document.line(place), problem) for problem in (_why_not(key), _why_not(value)) if problem]
    if problems:
        raise UnreadableError(*min(problems))
    return document


def _why_not(value: Any) -> str:
    """Why a key or value cannot be stored, or nothing."""
    if isinstance(value, int | float) and not -float_info.max <= value <= float_info.max:
        return "the number is beyond those that JSON's readers share, which end at about 1e308"
    if isinstance(value, str) and "\0" in value:
        return f"{shown(value)} holds the character NUL, which databases do not store; remove it"
    if isinstance(value, str) and SURROGATE.search(value):
        return f"{shown(value)} holds half a surrogate pair, which is no character; write both halves or none"
    return ""


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def _json_lines(text: str) -> dict[Place, int]:
    """The line of each part of a valid JSON text."""
    lines: dict[Place, int] = {}
    # Of each open object or array: the place of its current item, and whether a key comes next.
    open_: list[list[Any]] = []
    line = 1
    for found in _JSON_TOKEN.finditer(text):
        mark = found[0]
        if mark == "\n":
            line += 1
            continue
        place = tuple(step for step, _, _ in open_)
        if mark in "]}":
            open_.pop()
        elif mark == ",":
            top = open_[-1]
            top[0], top[1] = (top[0] + 1, False) if isinstance(top[0], int) else (top[0], True)
        elif mark == ":":
            open_[-1][1] = False
        elif open_ and open_[-1][1]:
            name = json.loads(mark)
            seen: set[Hashable] = open_[-1][2]
            place = (*place[:-1], name)
            if name in seen:
                raise UnreadableError(line, f"the key {name!r} stands twice; it is also on line {lines[place]}")
            seen.add(name)
            open_[-1][0] = name
            lines[place] = line
        else:
            lines.setdefault(place, line)
            if mark == "{":
                open_.append(["", True, set()])
            elif mark == "[":
                open_.append([0, False, set()])
    return lines
