"""Rules, and what stands beside them, from YAML and JSON files, with errors that name file, line and field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic import ValidationError
from pydantic.json_schema import models_json_schema

from ml_event_provider.exceptions import InvalidRule
from ml_event_provider.rules.calendars import Calendar
from ml_event_provider.rules.documents import Document, Place, UnreadableError, read_json, read_text, read_yaml
from ml_event_provider.rules.model import NEEDED, Rule
from ml_event_provider.rules.presets import nearest
from ml_event_provider.rules.problems import problems_of
from ml_event_provider.rules.scope import ResourceGroup
from ml_event_provider.rules.silences import Silence

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SUFFIXES: Final = (".yaml", ".yml", ".json")
#: The sections of a file, with what they hold.
SECTIONS: Final[dict[str, type[Rule | ResourceGroup | Calendar | Silence]]] = {
    "rules": Rule,
    "resource_groups": ResourceGroup,
    "calendars": Calendar,
    "silences": Silence,
}
KINDS: Final = {section: section.removesuffix("s").replace("_", " ") for section in SECTIONS}
_EXAMPLES: Final = {
    "rules": ("name", "on", "targets"),
    "resource_groups": ("name", "members"),
    "calendars": ("name", "days", "closed"),
    "silences": ("name", "reason", "author", "ends_at"),
}


class Definitions(NamedTuple):
    """What rule files hold."""

    rules: list[Rule]
    resource_groups: list[ResourceGroup]
    calendars: list[Calendar]
    silences: list[Silence]


def load_rules(*paths: Path) -> list[Rule]:
    """The rules of files and folders; as :func:`load_definitions`, without what stands beside them."""
    return load_definitions(*paths).rules


def load_definitions(*paths: Path) -> Definitions:
    """What files hold, and all YAML and JSON files in folders and below, sorted by path; each file counts once.

    A file holds one rule, a list of rules, a mapping with any of ``rules``, ``resource_groups``, ``calendars`` and
    ``silences``, or several YAML documents of these.

    :raises InvalidRule: listing each problem of each file as ``file:line: field: what is wrong``.
    """
    found = Definitions([], [], [], [])
    problems: list[str] = []
    places: dict[tuple[str, str, str], str] = {}
    for file in _all_files(paths):
        try:
            for section, document, place, value in _entries(file):
                where = f"{file}:{document.line(place)}"
                try:
                    one = SECTIONS[section].model_validate(value)
                except ValidationError as error:
                    problems += [
                        f"{file}:{problem}" for problem in problems_of(error, document, place, SECTIONS[section])
                    ]
                    continue
                first = places.setdefault((section, one.workspace, one.name), where)
                if first is not where:
                    problems.append(
                        f"{where}: name: workspace {one.workspace!r} has a {KINDS[section]} named {one.name!r} already,"
                        f" at {first}"
                    )
                getattr(found, section).append(one)
        except UnreadableError as error:
            problems.append(f"{file}:{error.line}: {error}")
    if problems:
        raise InvalidRule("\n".join(problems))
    return found


def rule_file_json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a rule file, for editors."""
    models = [(model, "validation") for model in SECTIONS.values()]
    _, schema = models_json_schema(models, by_alias=True)  # type: ignore[arg-type]
    names = {section: {"$ref": f"#/$defs/{model.__name__}"} for section, model in SECTIONS.items()}
    schema["$defs"]["Rule"] |= NEEDED
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Rules and what stands beside them",
        "anyOf": [
            names["rules"],
            {"type": "array", "items": names["rules"], "minItems": 1},
            {
                "type": "object",
                "properties": {section: {"type": "array", "items": name} for section, name in names.items()},
                "additionalProperties": False,
                "minProperties": 1,
            },
        ],
        **schema,
    }


def _all_files(paths: Iterable[Path]) -> list[Path]:
    """The files, each once, however many ways lead to it."""
    found: dict[Path, Path] = {}
    for path in paths:
        for file in _files(path):
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise InvalidRule(f"{path}: there is no such file or folder")
    if path.is_file():
        return [path]
    files = sorted(
        file
        for file in path.rglob("*")
        if file.suffix.lower() in SUFFIXES
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    if not files:
        raise InvalidRule(f"{path}: no file in this folder ends in {', '.join(SUFFIXES)}")
    return files


def _entries(file: Path) -> Iterator[tuple[str, Document, Place, Any]]:
    """Each definition of a file as it stands there, with its section."""
    text = read_text(file)
    documents = [read_json(text)] if file.suffix.lower() == ".json" else list(read_yaml(text))
    found = False
    for document in documents:
        if document.value is None:
            continue
        for section, start, value in _sections(document):
            items = (
                [((*start, index), item) for index, item in enumerate(value)]
                if isinstance(value, list)
                else [(start, value)]
            )
            for place, item in items:
                found = True
                if not isinstance(item, dict):
                    raise UnreadableError(
                        document.line(place),
                        f"a {KINDS[section]} is a mapping of fields like {', '.join(map(repr, _EXAMPLES[section]))}",
                    )
                yield section, document, place, item
    if not found:
        raise UnreadableError(1, "the file holds no rule")


def _sections(document: Document) -> Iterator[tuple[str, Place, Any]]:
    """The parts of a document that hold definitions of one kind."""
    value = document.value
    if not isinstance(value, dict) or "name" in value or not value.keys() & SECTIONS.keys():
        yield "rules", (), value
        return
    for key, part in value.items():
        if key not in SECTIONS:
            raise UnreadableError(
                document.line((str(key),)),
                f"{key!r} cannot stand beside {', '.join(map(repr, value.keys() & SECTIONS.keys()))}"
                f"{nearest(str(key), SECTIONS)}; sections are {', '.join(SECTIONS)}",
            )
        if not isinstance(part, list):
            raise UnreadableError(document.line((key,)), f"{key!r} must be a list of {KINDS[key]}s")
        yield key, (key,), part
