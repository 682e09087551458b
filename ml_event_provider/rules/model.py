"""The rule: what it waits for, when it fires, and where its notifications go."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from ml_event_provider.rules.calendars import Hours, PositiveDuration
from ml_event_provider.rules.conditions import Condition
from ml_event_provider.rules.fields import LISTED, Line, Name, Options, Part, Paths, Reference, Short, ShortPart
from ml_event_provider.rules.lifecycle import (
    Action,
    Cooldown,
    Fallback,
    Flapping,
    Group,
    Inhibit,
    Resolve,
)
from ml_event_provider.rules.matcher import Matcher, all_of, any_of, check_together
from ml_event_provider.rules.resources import key_from, opposite
from ml_event_provider.rules.scope import Scope

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ml_event_provider.rules.scope import ResourceGroup

Severity = Literal["info", "warning", "error", "critical"]

#: From the least grave.
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error", "critical")
#: The most that a file may hold; how many a workspace allows, its quota says.
MAX_TARGETS = 100


class RuleTarget(ShortPart):
    """Where a rule's notifications go: an Airflow connection.

    ``"my_conn"`` is short for ``{conn_id: my_conn}``.
    """

    short = "conn_id"

    conn_id: Reference = Field(description="The Airflow connection.")
    template: Reference | None = Field(None, description="The template for this target.")
    options: Options = Field(
        default_factory=dict, description="The target's own options: recipients, mobiles to mention, …"
    )
    min_severity: Severity = Field("info", description="Only notifications that are at least so grave.")
    resolved: bool = Field(True, strict=True, description="Whether it is told that an alert is over.")
    active: Hours | None = Field(None, description="The target's own active hours, in place of the rule's.")
    fallback: Fallback | None = Field(None, description="Where a notification goes that this target never took.")


Targets = Annotated[tuple[RuleTarget, ...], LISTED]


class Escalation(Part):
    """Further targets for an alert that nobody acknowledges."""

    after: PositiveDuration = Field(description="How long after the alert began.")
    targets: Targets = Field(min_length=1, max_length=MAX_TARGETS, description="Where it goes then.")


def names_of(targets: Sequence[RuleTarget]) -> list[str]:
    """What tells targets apart: their connections; where one stands again, with a number, as ``"mail 2"``."""
    seen: Counter[str] = Counter()
    found: list[str] = []
    for one in targets:
        seen[one.conn_id] += 1
        found.append(one.conn_id if seen[one.conn_id] == 1 else f"{one.conn_id} {seen[one.conn_id]}")
    return found


def _resolve(value: Any) -> Any:
    """``true`` is a resolve with nothing to say; ``false`` is none."""
    return {} if value is True else None if value is False else value


class Rule(Matcher):
    """One rule. It has ``on``, ``event_pattern`` or both, which must then both hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = Field(1, description="The version of this schema.")
    name: Name = Field(description="Unique in the workspace.")
    description: str = Field("", max_length=10_000, description="What the rule is for.")
    workspace: Short = Field("default", description="The workspace whose events the rule sees.")
    owner: Line = Field("", description="Who looks after the rule.")
    tags: tuple[Short, ...] = Field((), max_length=50, description="Free marks to find rules by.")
    severity: Severity = Field("info", description="How grave the rule's notifications are.")
    enabled: bool = Field(True, strict=True, description="Whether the rule matches anything.")
    scope: Scope = Field(default_factory=Scope, description="Narrows the rule to some owners, DAGs, models, …")
    by: Paths | None = Field(
        None,
        description="The fields that name what an alert is about: each value is judged by itself. By default the"
        " thing that the event is about: its DAG, task instance, model version, dataset, run and metric.",
    )
    condition: Condition | None = Field(None, description="What must have happened over time before the rule fires.")
    resolve: Annotated[Resolve | None, BeforeValidator(_resolve, json_schema_input_type=bool | Resolve | None)] = Field(
        None, description="Whether, and by what, an alert ends with a notification; true is by what undoes it."
    )
    repeat: PositiveDuration | None = Field(None, description="How often to say it again while an alert lasts.")
    cooldown: Cooldown | None = Field(None, description="How long after a firing others are held back.")
    suppress: PositiveDuration | None = Field(
        None, description="How long after a notification others wait, to be told in one."
    )
    flapping: Flapping | None = Field(None, description="Mutes an alert that begins and ends again and again.")
    escalate: Annotated[tuple[Escalation, ...], LISTED] = Field(
        (), max_length=10, description="Further targets for an alert that nobody acknowledges."
    )
    group: Group | None = Field(None, description="One message for many firings.")
    active: Hours | None = Field(None, description="The hours in which notifications go out.")
    inhibit: Annotated[tuple[Inhibit, ...], LISTED] = Field(
        (), max_length=10, description="Other events that make this rule's notifications needless."
    )
    targets: Targets = Field((), min_length=1, max_length=MAX_TARGETS, description="Where the notifications go.")
    actions: Annotated[tuple[Action, ...], LISTED] = Field(
        (), max_length=10, description="What to do in Airflow when the rule fires."
    )
    template: Reference | None = Field(None, description="The template for all targets.")

    @model_validator(mode="after")
    def _makes_sense(self) -> Rule:
        if not self.asks:
            raise ValueError("a rule needs 'on' or 'event_pattern', or it would match every event")
        if not self.targets and not self.actions:
            raise ValueError("a rule needs 'targets' or 'actions', or nobody would hear of it")
        if "me" in self.scope.created_by and not self.owner:
            raise ValueError("scope.created_by has 'me', but the rule has no 'owner': who is that?")
        if self.repeat is not None and self.repeat.total_seconds() < 1:
            raise ValueError("repeat must be at least 1s")
        if self.suppress is not None and self.group is not None:
            raise ValueError("suppress and group cannot stand together: use group.interval")
        for pattern in self.patterns(None).values():
            check_together(pattern)
        return self

    def roles(self) -> dict[str, list[dict[str, Any]]]:
        """What the rule's other events are: what breaks a row, is another of the last, follows in a sequence, or ends
        an alert.

        :raises ValueError: if they are not said and cannot be guessed.
        """
        found = {} if self.condition is None else {role: one.wishes() for role, one in self.condition.others.items()}
        if self.condition is not None and self.condition.undone_by is not None:
            role, field = self.condition.undone_by
            found[role] = found.get(role) or [self._undoing(field)]
        if self.resolve is not None:
            if self.resolve.asks:
                found["resolve"] = self.resolve.wishes()
            elif self.condition is None or not self.condition.ends_by_itself:
                undoing = self._undoing("resolve", needed=self.resolve.after is None)
                found |= {"resolve": [undoing]} if undoing else {}
        found.update({f"inhibit{number}": one.wishes() for number, one in enumerate(self.inhibit)})
        return found

    def _undoing(self, field: str, *, needed: bool = True) -> dict[str, Any]:
        """The events that undo the rule's own; nothing where they are not known and not needed."""
        types = [kind for each in Matcher(on=self.on).wishes() for kind in each.get("type", ())]
        found = opposite(types) if types and all(isinstance(kind, str) for kind in types) else None
        if not found and not needed:
            return {}
        if not found:
            raise ValueError(
                f"{field}: nothing is known to undo {', '.join(self.on) or 'this pattern'}; say which events do"
            )
        return any_of(found)

    @cached_property
    def is_plain(self) -> bool:
        """Whether each matching event is a notification by itself, whatever came before."""
        return not (self.condition or self.has_alerts or self.cooldown or self.grouping or self.inhibit)

    @cached_property
    def has_alerts(self) -> bool:
        """Whether what fires stays open until it ends."""
        return bool(self.condition or self.resolve or self.repeat or self.flapping or self.escalate)

    @cached_property
    def form(self) -> str:
        """Names what an alert's memory depends on: a rule whose form changes begins anew."""
        without = {} if self.condition is None else {"condition": self.condition.formless}
        chosen = self.model_dump_json(include={"by", "condition"}, exclude=without, by_alias=True)
        return sha256(chosen.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    @cached_property
    def look(self) -> str:
        """Names what the rule looks at: an alert may be about what it does not look at any more."""
        chosen = self.model_dump_json(include={"on", "event_pattern", "scope", "owner"})
        return sha256(chosen.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    @cached_property
    def expected(self) -> frozenset[str]:
        """The keys that the rule waits for from the beginning."""
        absence = None if self.condition is None else self.condition.absence
        if absence is None:
            return frozenset()
        return frozenset(key_from(key) for key in absence.expect or (((),) if self.by == () else ()))

    @cached_property
    def ends(self) -> bool:
        """Whether an alert of the rule can end by itself, rather than by being acknowledged."""
        return bool(self.resolve) or (self.condition is not None and self.condition.ends_by_itself)

    @cached_property
    def steps(self) -> tuple[Escalation, ...]:
        """The escalation's steps, the first first."""
        return tuple(sorted(self.escalate, key=lambda step: step.after))

    @cached_property
    def grouping(self) -> Group | None:
        """How firings are gathered, if they are."""
        if self.suppress is not None:
            return Group(by=self.by or (), wait=0, interval=self.suppress, max=1000)
        return self.group

    def patterns(self, groups: Mapping[str, ResourceGroup] | None) -> dict[str, dict[str, Any]]:
        """An event pattern for each role of an event: ``"hit"`` is the rule's own.

        ``None`` for ``groups`` leaves out what the scope asks of them.

        :raises InvalidRule: if the scope names a resource group that is not among ``groups``.
        """
        narrowed = self.scope.narrowed(self.owner, groups)
        found = {"hit": all_of(self.workspace, [*self.wishes(), *narrowed])}
        for role, wishes in self.roles().items():
            # What inhibits or follows may be about other things than the rule's own.
            own = narrowed if role in {"break", "other", "resolve"} else []
            found[role] = all_of(self.workspace, [*wishes, *own])
        return found

    def pattern(self, groups: Mapping[str, ResourceGroup] | None = None) -> dict[str, Any]:
        """The event pattern of the rule's own events: its workspace, ``on``, ``event_pattern`` and scope.

        :raises InvalidRule: if the scope names a resource group that is not among ``groups``.
        """
        return all_of(self.workspace, [*self.wishes(), *self.scope.narrowed(self.owner, groups or {})])


#: What the JSON Schema of a rule says of fields of which one must stand.
NEEDED: Final = {
    "allOf": [
        {"anyOf": [{"required": [name]} for name in names]}
        for names in (("on", "event_pattern"), ("targets", "actions"))
    ]
}


def rule_json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a rule, for editors."""
    schema = Rule.model_json_schema(by_alias=True) | NEEDED
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Rule"}
