"""Which events: the two fields ``on`` and ``event_pattern``, wherever a rule file asks for events."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, JsonValue, field_validator

from ml_event_provider.rules.fields import LISTED, Part
from ml_event_provider.rules.patterns.compiler import compile_pattern
from ml_event_provider.rules.patterns.errors import InvalidPattern
from ml_event_provider.rules.presets import wanted


class Matcher(Part):
    """Some events. ``on`` and ``event_pattern`` must both hold where both stand."""

    on: Annotated[tuple[str, ...], LISTED] = Field(
        (),
        max_length=100,
        description="Event types, with * for any characters, or presets like 'task failed'.",
    )
    event_pattern: dict[str, JsonValue] | None = Field(
        None, description="An event pattern in Amazon EventBridge's language, on the CloudEvent as JSON."
    )

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

    @property
    def asks(self) -> bool:
        """Whether it asks for anything; else it would fit every event."""
        return bool(self.on) or self.event_pattern is not None

    def wishes(self) -> list[dict[str, Any]]:
        """The patterns that must all hold."""
        kinds = [wanted(entry) for entry in self.on]
        types = [kind for each in kinds if each.keys() == {"type"} for kind in each["type"]]
        ways = [{"type": types}] if types else []
        ways += [each for each in kinds if each.keys() != {"type"}]
        wishes = [any_of(ways)] if ways else []
        return wishes if self.event_pattern is None else [*wishes, self.event_pattern]


def check_together(pattern: dict[str, Any]) -> None:
    """Refuse a pattern whose parts are right each for itself, but not together.

    :raises ValueError: if they multiply to too much.
    """
    try:
        compile_pattern(pattern)
    except InvalidPattern as error:
        raise ValueError(f"its parts cannot be used together: {error.problem}") from None


def any_of(ways: list[dict[str, Any]]) -> dict[str, Any]:
    """One pattern that fits where any of these does."""
    return ways[0] if len(ways) == 1 else {"$or": ways}


def together(wishes: list[dict[str, Any]]) -> dict[str, Any]:
    """One pattern that fits where all of these do."""
    return wishes[0] if len(wishes) == 1 else {"$and": wishes}


def all_of(workspace: str, wishes: list[dict[str, Any]]) -> dict[str, Any]:
    """One event pattern of a workspace's events that fulfil all wishes."""
    pattern: dict[str, Any] = {"workspace": [workspace]}
    rest: list[dict[str, Any]] = []
    for wish in wishes:
        # Fields that nothing else asks for stand side by side: one place of the index rather than two.
        if wish.keys() & (pattern.keys() | {"$and", "$or"}):
            rest.append(wish)
        else:
            pattern.update(wish)
    if rest:
        pattern["$and"] = rest
    return pattern
