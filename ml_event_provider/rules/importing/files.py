"""Files of other systems as rule files of ours."""

from __future__ import annotations

import json
from collections import Counter
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import yaml
from pydantic import ValidationError

from ml_event_provider.exceptions import InvalidRule
from ml_event_provider.rules.documents import Document, UnreadableError, read_json, read_text, read_yaml
from ml_event_provider.rules.importing.model import Imported, LeftOut
from ml_event_provider.rules.model import Rule
from ml_event_provider.rules.problems import problems_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

#: The systems, and the modules whose ``read`` makes rules of what they write.
SYSTEMS: Final = {
    "eventbridge": "ml_event_provider.rules.importing.eventbridge",
}


def imported(system: str, files: Sequence[Path], targets: Sequence[str]) -> dict[Path, list[Imported]]:
    """What each file's rules are here. Names are unique over all files; each rule passes our own validation.

    :param system: one of ``SYSTEMS``.
    :param targets: the connections that each rule tells.
    :raises InvalidRule: naming file and line, if a file cannot be read or holds nothing that the system writes.
    """
    read = import_module(SYSTEMS[system]).read
    used: Counter[str] = Counter()
    found: dict[Path, list[Imported]] = {}
    for file in files:
        try:
            documents = _documents(file)
            found[file] = [
                _checked(_unique(one, used)) for each in documents for one in read(each.value, file.stem, targets)
            ]
        except UnreadableError as error:
            raise InvalidRule(f"{file}:{error.line}: {error}") from None
        except ValueError as error:
            raise InvalidRule(f"{file}: nothing that {system} writes: {error}") from None
    return found


def as_yaml(rules: Iterable[Imported]) -> str:
    """A rule file; above each rule, as comments, what could not be carried over."""
    above: list[str] = []
    parts: list[str] = []
    for one in rules:
        notes = [f"# {line}" for line in said(one)]
        if one.rule is None:
            above += notes
        else:
            parts.append("\n".join([*notes, yaml.safe_dump([one.rule], sort_keys=False, allow_unicode=True)]))
    body = "rules:\n" + "\n".join(parts) if parts else "rules: []\n"
    return "".join(f"{line}\n" for line in above) + body


def said(one: Imported) -> list[str]:
    """What could not be carried over of a rule, a line each."""
    name = _plain(one.name)
    lines = [f"{name}: left out: {_plain(left.path)}: {_plain(left.why)}" for left in one.left]
    return lines if one.rule is not None or lines else [f"{name}: left out: no rule is made"]


def _documents(file: Path) -> list[Document]:
    text = read_text(file)
    found = [read_json(text)] if file.suffix.lower() == ".json" else list(read_yaml(text))
    return [each for each in found if each.value is not None]


def _unique(one: Imported, used: Counter[str]) -> Imported:
    if one.rule is None:
        return one
    used[one.name] += 1
    if used[one.name] == 1:
        return one
    name = f"{one.name}-{used[one.name]}"
    return _unique(one._replace(name=name, rule=one.rule | {"name": name}), used)


def _checked(one: Imported) -> Imported:
    """The rule, or none where it is not valid here, with why."""
    if one.rule is None:
        return one
    try:
        Rule.model_validate(one.rule)
    except ValidationError as error:
        problems = [each.partition(": ")[2] for each in problems_of(error, Document(one.rule), (), Rule)]
        left = (*one.left, *(LeftOut("the rule", f"{each}: no rule is made") for each in problems))
        return one._replace(rule=None, left=left)
    return one


def _plain(text: Any) -> str:
    """A text on one line, so that nothing of it leaves its comment."""
    line = str(text)
    return line if line.isprintable() else json.dumps(line)
