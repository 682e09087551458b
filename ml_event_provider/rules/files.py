"""Rules from YAML and JSON files, with errors that name file, line and field."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from ml_event_provider.exceptions import InvalidRule
from ml_event_provider.rules.documents import Document, Place, UnreadableError, read_json, read_yaml
from ml_event_provider.rules.model import Rule, RuleTarget
from ml_event_provider.rules.patterns.errors import InvalidPattern

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUFFIXES: Final = (".yaml", ".yml", ".json")
MAX_FILE_BYTES: Final = 4 * 1024 * 1024


def load_rules(path: Path) -> list[Rule]:
    """The rules of one file, or of all YAML and JSON files in a folder and below, sorted by path.

    A file holds one rule, a list of rules, a mapping with a ``rules`` list, or several YAML documents.

    :raises InvalidRule: listing each problem of each file as ``file:line: field: what is wrong``.
    """
    problems: list[str] = []
    rules: list[Rule] = []
    places: dict[tuple[str, str], str] = {}
    for file in _files(path):
        try:
            for document, place, value in _entries(file):
                where = f"{file}:{document.line(place)}"
                try:
                    rule = Rule.model_validate(value)
                except ValidationError as error:
                    problems += [f"{file}:{problem}" for problem in _problems(error, document, place)]
                    continue
                first = places.setdefault((rule.workspace, rule.name), where)
                if first is not where:
                    problems.append(
                        f"{where}: name: workspace {rule.workspace!r} has a rule named {rule.name!r} already,"
                        f" at {first}"
                    )
                rules.append(rule)
        except UnreadableError as error:
            problems.append(f"{file}:{error.line}: {error}")
    if problems:
        raise InvalidRule("\n".join(problems))
    return rules


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


def _text(file: Path) -> str:
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


def _entries(file: Path) -> Iterator[tuple[Document, Place, Any]]:
    """Each rule of a file as it stands there."""
    text = _text(file)
    documents = [read_json(text)] if file.suffix.lower() == ".json" else list(read_yaml(text))
    found = False
    for document in documents:
        value = document.value
        start: Place = ()
        if value is None:
            continue
        if isinstance(value, dict) and "rules" in value and "name" not in value:
            others = [str(key) for key in value if key != "rules"]
            if others:
                raise UnreadableError(document.line((others[0],)), f"{others[0]!r} cannot stand beside 'rules'")
            value, start = value["rules"], ("rules",)
            if not isinstance(value, list):
                raise UnreadableError(document.line(start), "'rules' must be a list of rules")
        items = (
            [((*start, index), item) for index, item in enumerate(value)]
            if isinstance(value, list)
            else [(start, value)]
        )
        for place, item in items:
            found = True
            if not isinstance(item, dict):
                raise UnreadableError(
                    document.line(place), "a rule is a mapping of fields like 'name', 'on' and 'targets'"
                )
            yield document, place, item
    if not found:
        raise UnreadableError(1, "the file holds no rule")


def _problems(error: ValidationError, document: Document, start: Place) -> Iterator[str]:
    """Each problem as ``line: field: what is wrong (what is allowed)``."""
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
            text = _unknown_field(place)
        elif problem["type"] == "too_short":
            text = "is empty; it needs an entry"
        else:
            text = f"{text[:1].lower()}{text[1:]}, not {_short(problem['input'])}"
        name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
        yield f"{document.line((*start, *place))}: {name or 'rule'}: {text}"


def _unknown_field(place: Place) -> str:
    model = RuleTarget if place[0] == "targets" else Rule
    allowed = list(model.model_fields)
    near = get_close_matches(str(place[-1]).lower(), allowed, 1, 0.6)
    hint = f"did you mean {near[0]!r}? " if near else ""
    kind = "target" if model is RuleTarget else "rule"
    return f"is no field of a {kind}; {hint}(allowed: {', '.join(allowed)})"


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
