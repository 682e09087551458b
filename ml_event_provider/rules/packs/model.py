"""A pack: rule templates and their parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field, JsonValue, ValidationError, model_validator

from ml_event_provider.exceptions import InvalidRule
from ml_event_provider.rules.documents import Document
from ml_event_provider.rules.fields import Line, Name, Part
from ml_event_provider.rules.model import Rule
from ml_event_provider.rules.packs.parameters import Parameter
from ml_event_provider.rules.packs.placeholders import filled, names_in, placeholders
from ml_event_provider.rules.presets import nearest
from ml_event_provider.rules.problems import problems_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ml_event_provider.rules.documents import Place

#: What each pack has that does not say otherwise.
_TARGETS: Final = {"type": "targets", "description": "Where the notifications go: connection ids."}


class Misplaced(ValueError):
    """What is wrong in a pack, each with its place."""

    def __init__(self, problems: list[tuple[Place, str]]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, place))}: {text}" for place, text in problems))
        self.problems = problems


class RuleTemplate(Part):
    """A rule in whose texts parameters stand as ``${name}``. It is written as a rule, perhaps with ``when``."""

    when: str | None = Field(None, description="A parameter: while it is false, 0 or empty, the rule is left out.")
    name: Name = Field(description="The rule's name, without the pack's.")
    rule: dict[str, JsonValue] = Field(description="The rule's fields as they are written.")

    @model_validator(mode="before")
    @classmethod
    def _as_written(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("a rule is a mapping of fields like 'name' and 'on'")
        rule = {key: item for key, item in value.items() if key != "when"}
        found = {"rule": rule, **{key: value[key] for key in ("name", "when") if key in value}}
        # A rule that says nothing about whom to tell or what to do tells the pack's targets.
        if not rule.keys() & {"targets", "actions"}:
            rule["targets"] = "${targets}"
        return found

    @property
    def uses(self) -> set[str]:
        """The parameters on which it depends."""
        return names_in(self.rule) | ({self.when} if self.when else set())


class Pack(Part):
    """Rules that are switched on together, with parameters.

    A rule without ``targets`` and ``actions`` tells the parameter ``targets``, which such a pack has by itself.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=50)] = Field(
        description="What it is switched on by."
    )
    title: Line = Field(min_length=1, description="What it is, in one line.")
    description: str = Field("", max_length=10_000, description="What it is for, and what it needs.")
    parameters: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], Parameter] = Field(
        default_factory=dict, description="Its parameters by name."
    )
    rules: tuple[RuleTemplate, ...] = Field(min_length=1, max_length=1000, description="Its rules.")

    @model_validator(mode="before")
    @classmethod
    def _with_targets(cls, value: Any) -> Any:
        if not isinstance(value, dict) or not isinstance(value.get("rules"), list | tuple):
            return value
        known = value.get("parameters", {})
        needed = any(isinstance(one, dict) and not one.keys() & {"targets", "actions"} for one in value["rules"])
        if not needed or not isinstance(known, dict) or "targets" in known:
            return value
        return {**value, "parameters": {"targets": _TARGETS, **known}}

    @model_validator(mode="after")
    def _makes_sense(self) -> Pack:
        found = list(self._wrong())
        if found:
            raise Misplaced(found)
        return self

    def _wrong(self) -> Iterator[tuple[Place, str]]:
        seen: set[str] = set()
        for index, one in enumerate(self.rules):
            place: Place = ("rules", index)
            if one.name in seen:
                yield (*place, "name"), f"the pack has a rule named {one.name!r} already"
            seen.add(one.name)
            for field in one.rule:
                if field not in Rule.model_fields:
                    hint = nearest(field, Rule.model_fields)
                    yield (
                        (*place, field),
                        f"is no field of a rule{hint} (allowed: when, {', '.join(Rule.model_fields)})",
                    )
            if "workspace" in one.rule:
                yield (*place, "workspace"), "cannot stand in a pack: it is said where the pack is switched on"
            if one.when is not None and one.when not in self.parameters:
                yield (*place, "when"), self.unknown(one.when)
            for where, name in placeholders(one.rule):
                if name is None:
                    yield (*place, *where), "'${' begins a parameter but is not closed; write '$${' for the characters"
                elif name not in self.parameters:
                    yield (*place, *where), self.unknown(name)
        used = {name for one in self.rules for name in one.uses}
        for name in self.parameters:
            if name not in used:
                yield ("parameters", name), "no rule uses it"

    def unknown(self, name: str) -> str:
        """What is wrong with the name of a parameter that the pack does not have."""
        known = f"parameters are {', '.join(self.parameters)}" if self.parameters else "it has none"
        return f"the pack {self.name!r} has no parameter {name!r}{nearest(name, self.parameters)}; {known}"

    def values(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The value of each parameter, with defaults for what is not given.

        :raises InvalidRule: listing each that is unknown, missing or not allowed.
        """
        problems = [self.unknown(name) for name in parameters if name not in self.parameters]
        found: dict[str, Any] = {}
        for name, one in self.parameters.items():
            where = f"pack {self.name!r}, parameter {name!r}"
            if one.required and name not in parameters:
                problems.append(f"{where}: is missing: {one.description} It takes {one.allowed}")
                continue
            try:
                found[name] = one.read(parameters.get(name, one.default))
            except ValueError as error:
                problems.append(f"{where}: {error}")
        if problems:
            raise InvalidRule("\n".join(problems))
        return found

    def expand(self, parameters: Mapping[str, Any], *, workspace: str, name: str = "") -> list[Rule]:
        """The pack's rules for these parameters, named ``<pack>: <rule>`` and tagged ``pack:<pack>``.

        :param name: what to call the pack in names and tags, where it is switched on more than once.
        :raises InvalidRule: listing what is wrong with parameters or, because of them, with rules.
        """
        values = self.values(parameters)
        rules: list[Rule] = []
        problems: list[str] = []
        for one in self.rules:
            if one.when is not None and not values[one.when]:
                continue
            try:
                rules.append(Rule.model_validate(self.definition(one, values, workspace, name or self.name)))
            except ValidationError as error:
                problems += [f"pack {self.name!r}, rule {one.name!r}: {text}" for text in _told(one, error)]
        if problems:
            raise InvalidRule("\n".join(problems))
        if not rules:
            raise InvalidRule(f"pack {self.name!r}: these parameters leave out all of its rules")
        return rules

    @staticmethod
    def definition(one: RuleTemplate, values: Mapping[str, Any], workspace: str, label: str) -> dict[str, Any]:
        """One of the rules as it would stand in a file, for values of all parameters that it uses."""
        definition: dict[str, Any] = filled(one.rule, values)
        tags = definition.get("tags", [])
        return {
            **definition,
            "name": f"{label}: {definition['name']}",
            "workspace": workspace,
            "tags": [*tags, f"pack:{label}"] if isinstance(tags, list) else tags,
        }


def _told(one: RuleTemplate, error: ValidationError) -> Iterator[str]:
    """Each problem of an expanded rule, with the parameters that its field is made of."""
    for problem in problems_of(error, Document(one.rule), (), Rule):
        text = problem.partition(": ")[2]
        names = sorted(names_in(one.rule.get(text.partition(":")[0].partition(".")[0].partition("[")[0])))
        yield f"{text} (from {', '.join(map(repr, names))})" if names else text


def parse_parameters(pack: Pack, pairs: Iterable[str]) -> dict[str, Any]:
    """The parameters of a command line: ``name=value``, the value by the parameter's type.

    Lists are texts between commas, or JSON; an empty value is none, where there may be none.

    :raises InvalidRule: listing each that is unknown, stands twice or is not allowed.
    """
    found: dict[str, Any] = {}
    problems: list[str] = []
    for pair in pairs:
        name, equals, text = pair.partition("=")
        name = name.strip()
        if not equals:
            problems.append(f"{pair!r} is no parameter; write name=value")
        elif name not in pack.parameters:
            problems.append(pack.unknown(name))
        elif name in found:
            problems.append(f"pack {pack.name!r}, parameter {name!r}: stands twice; separate values by commas")
        else:
            try:
                found[name] = pack.parameters[name].parse(text)
            except ValueError as error:
                problems.append(f"pack {pack.name!r}, parameter {name!r}: {error}")
    if problems:
        raise InvalidRule("\n".join(problems))
    return found
