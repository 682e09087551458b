"""The rule: what it waits for, and where its notifications go."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    JsonValue,
    field_validator,
    model_validator,
)

from ml_event_provider.rules.patterns.compiler import compile_pattern
from ml_event_provider.rules.presets import wanted

Severity = Literal["info", "warning", "error", "critical"]

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def _one_line(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError(f"holds a control character: {text!r}; write it in one line")
    if text != text.strip():
        raise ValueError(f"begins or ends with a space: {text!r}")
    return text


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str | dict) else value


#: One line of text, and such texts of limited length.
Line = Annotated[str, Field(max_length=500), AfterValidator(_one_line)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_one_line)]
Short = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_one_line)]
Reference = Annotated[str, Field(min_length=1, max_length=250), AfterValidator(_one_line)]


class RuleTarget(BaseModel):
    """Where a rule's notifications go: an Airflow connection.

    ``"my_conn"`` is short for ``{conn_id: my_conn}``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    conn_id: Reference = Field(description="The Airflow connection.")
    template: Reference | None = Field(None, description="The template for this target.")
    options: dict[str, JsonValue] = Field(
        default_factory=dict, description="The target's own options: recipients, mobiles to mention, …"
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"conn_id": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        full = handler.resolve_ref_schema(handler(schema))
        return {
            "anyOf": [{"type": "string", "minLength": 1}, full],
            "description": full.pop("description", ""),
        }


class Rule(BaseModel):
    """One rule. It has ``on``, ``event_pattern`` or both, which must then both hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name = Field(description="Unique in the workspace.")
    description: str = Field("", max_length=10_000, description="What the rule is for.")
    workspace: Short = Field("default", description="The workspace whose events the rule sees.")
    owner: Line = Field("", description="Who looks after the rule.")
    tags: tuple[Short, ...] = Field((), max_length=50, description="Free marks to find rules by.")
    severity: Severity = Field("info", description="How grave the rule's notifications are.")
    enabled: bool = Field(True, strict=True, description="Whether the rule matches anything.")
    on: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(
        (),
        max_length=100,
        description="Event types, with * for any characters, or presets like 'task failed'.",
    )
    event_pattern: dict[str, JsonValue] | None = Field(
        None, description="An event pattern in Amazon EventBridge's language, on the CloudEvent as JSON."
    )
    targets: Annotated[tuple[RuleTarget, ...], BeforeValidator(_listed)] = Field(
        min_length=1, max_length=100, description="Where the notifications go."
    )
    template: Reference | None = Field(None, description="The template for all targets.")

    @field_validator("on")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            wanted(entry)
        return value

    @field_validator("event_pattern")
    @classmethod
    def _compiles(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is not None:
            compile_pattern(value)
        return value

    @model_validator(mode="after")
    def _waits_for_something(self) -> Rule:
        if not self.on and self.event_pattern is None:
            raise ValueError("a rule needs 'on' or 'event_pattern', or it would match every event")
        return self

    def pattern(self) -> dict[str, Any]:
        """The rule's one event pattern: its workspace, one of ``on``, and ``event_pattern``."""
        pattern: dict[str, Any] = {"workspace": [self.workspace]}
        parts: list[dict[str, Any]] = []
        kinds = [wanted(entry) for entry in self.on]
        types = [kind for each in kinds if each.keys() == {"type"} for kind in each["type"]]
        ways = [{"type": types}] if types else []
        ways += [each for each in kinds if each.keys() != {"type"}]
        if ways:
            parts.append(ways[0] if len(ways) == 1 else {"$or": ways})
        if self.event_pattern is not None:
            if self.event_pattern.keys() & {"workspace", "$and"}:
                parts.append(self.event_pattern)
            else:
                pattern.update(self.event_pattern)
        if parts:
            pattern["$and"] = parts
        return pattern


def rule_json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a rule in a file, for editors."""
    schema = Rule.model_json_schema()
    schema["properties"]["on"] = {"anyOf": [{"type": "string"}, schema["properties"]["on"]]}
    schema["anyOf"] = [{"required": ["on"]}, {"required": ["event_pattern"]}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Rule"}
