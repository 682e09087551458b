"""Packs from files: the built-in ones of this folder, and those of users."""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ml_event_provider.exceptions import InvalidRule, NotFound
from ml_event_provider.rules.documents import UnreadableError, read_json, read_text, read_yaml
from ml_event_provider.rules.model import Rule
from ml_event_provider.rules.packs.model import Misplaced, Pack
from ml_event_provider.rules.packs.parameters import Parameter
from ml_event_provider.rules.presets import nearest
from ml_event_provider.rules.problems import problems_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ml_event_provider.rules.documents import Document, Place


def packs() -> dict[str, Pack]:
    """The built-in packs by name."""
    return dict(_built_in())


@cache
def _built_in() -> dict[str, Pack]:
    found: dict[str, Pack] = {}
    for entry in sorted(files(__package__).iterdir(), key=lambda one: one.name):
        if entry.name.endswith(".yaml"):
            with as_file(entry) as path:
                pack = load_pack(path)
            found[pack.name] = pack
    return found


def find_pack(name: str) -> Pack:
    """The built-in pack of that name.

    :raises NotFound: if there is none; the message names the nearest and all.
    """
    known = _built_in()
    if name not in known:
        raise NotFound(f"no pack is named {name!r}{nearest(name, known)}; packs are {', '.join(known)}")
    return known[name]


def load_pack(path: Path) -> Pack:
    """The pack of a YAML or JSON file, such as a rule template of one's own.

    Rules whose parameters all have values are checked as rules, too.

    :raises InvalidRule: listing each problem as ``file:line: field: what is wrong``.
    """
    try:
        document = _document(path)
        try:
            pack = Pack.model_validate(document.value)
        except ValidationError as error:
            problems = list(_wrong(error, document))
        else:
            problems = list(_wrong_rules(pack, document))
    except UnreadableError as error:
        raise InvalidRule(f"{path}:{error.line}: {error}") from None
    if problems:
        raise InvalidRule("\n".join(f"{path}:{problem}" for problem in problems))
    return pack


def _document(path: Path) -> Document:
    text = read_text(path)
    found = [read_json(text)] if path.suffix.lower() == ".json" else list(read_yaml(text))
    documents = [one for one in found if one.value is not None]
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        raise UnreadableError(1, "a pack is one mapping with 'name', 'title', 'parameters' and 'rules'")
    return documents[0]


def _wrong(error: ValidationError, document: Document) -> Iterator[str]:
    """Each problem of a pack as ``line: field: what is wrong``."""
    for problem in error.errors(include_url=False):
        place: Place = tuple(problem["loc"])
        cause: Any = problem.get("ctx", {}).get("error")
        found = [(place, problem["msg"])]
        if isinstance(cause, Misplaced):
            found = cause.problems
        elif isinstance(cause, ValueError):
            found = [(place, str(cause))]
        elif problem["type"] == "missing":
            found = [(place, "is missing")]
        elif problem["type"] == "too_short":
            found = [(place, "is empty; it needs an entry")]
        elif problem["type"] == "extra_forbidden":
            found = [(place, _unknown_field(place))]
        for where, text in found:
            yield f"{document.line(where)}: {'.'.join(map(str, where)) or 'pack'}: {text}"


def _unknown_field(place: Place) -> str:
    kind, model = ("parameter", Parameter) if place[0] == "parameters" else ("pack", Pack)
    hint = nearest(str(place[-1]).lower(), model.model_fields)
    return f"is no field of a {kind}{hint} (allowed: {', '.join(model.model_fields)})"


def _wrong_rules(pack: Pack, document: Document) -> Iterator[str]:
    """The problems of the rules that can be made without knowing more."""
    known = {
        name: ["a_connection"] if one.type == "targets" and one.required else one.read(one.default)
        for name, one in pack.parameters.items()
        if one.type == "targets" or not one.required
    }
    for index, one in enumerate(pack.rules):
        if one.uses <= known.keys() and (one.when is None or known[one.when]):
            try:
                Rule.model_validate(pack.definition(one, known, "default", pack.name))
            except ValidationError as error:
                yield from problems_of(error, document, ("rules", index), Rule)
