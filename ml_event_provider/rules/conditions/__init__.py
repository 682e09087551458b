"""Conditions over time: what must have happened, how often and when, before a rule fires."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field, model_validator

from ml_event_provider.rules.conditions.absence import Absence
from ml_event_provider.rules.conditions.base import Memory, Observation, Tracked, Verdict
from ml_event_provider.rules.conditions.consecutive import Consecutive
from ml_event_provider.rules.conditions.last import Last
from ml_event_provider.rules.conditions.metrics import MetricChange, MetricThreshold, MetricZScore
from ml_event_provider.rules.conditions.sequence import Sequence
from ml_event_provider.rules.conditions.statistic import Statistic
from ml_event_provider.rules.conditions.threshold import Threshold
from ml_event_provider.rules.fields import Part

if TYPE_CHECKING:
    from ml_event_provider.rules.matcher import Matcher

__all__ = ["Condition", "Memory", "Observation", "Tracked", "Verdict"]


#: Fields, and conditions, that came after rules' states were first kept.
_LATER: Final = {"threshold": {"renew"}, "metric_change": {"aggregate"}, "statistic": {"timezone", "against"}}
_LATER_CONDITIONS: Final[frozenset[str]] = frozenset({"last"})


class Condition(Part):
    """A condition over time: exactly one of these. Each key of the rule (``by``) is judged by itself."""

    threshold: Threshold | None = Field(None, description="So many events within a time.")
    consecutive: Consecutive | None = Field(None, description="So many events in a row.")
    last: Last | None = Field(None, description="So many of the last events.")
    absence: Absence | None = Field(None, description="No event for too long, or not when the schedule expects it.")
    sequence: Sequence | None = Field(None, description="Another event after the rule's own, or the lack of it.")
    metric_threshold: MetricThreshold | None = Field(None, description="Newest logged values against a limit.")
    metric_change: MetricChange | None = Field(None, description="Newest logged values against those before.")
    metric_zscore: MetricZScore | None = Field(None, description="The last logged value against what is usual.")
    statistic: Statistic | None = Field(None, description="A statistic of each period against a limit.")

    @model_validator(mode="after")
    def _one(self) -> Condition:
        chosen = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(chosen) != 1:
            raise ValueError(
                f"has {', '.join(chosen) or 'nothing'}; it needs exactly one of {', '.join(type(self).model_fields)}"
            )
        return self

    @cached_property
    def kind(self) -> str:
        """Which of them it is."""
        return next(name for name in type(self).model_fields if getattr(self, name) is not None)

    @cached_property
    def tracked(self) -> Tracked:
        """The one condition."""
        found: Tracked = getattr(self, self.kind)
        return found

    @cached_property
    def value_path(self) -> str | None:
        """The field whose value it looks at, if any."""
        return getattr(self.tracked, "value", None) or getattr(self.tracked, "distinct", None)

    @cached_property
    def formless(self) -> dict[str, Any]:
        """What a key's memory does not depend on, to be left out of a rule's form.

        Keys that are expected may be added without the others beginning anew. A field that came later than states were
        first kept says by its default what was meant without it.
        """
        found: dict[str, Any] = {"absence": {"expect"}} if self.absence else {}
        for kind, later in _LATER.items():
            part: Part | None = getattr(self, kind)
            if part is not None:
                fields = type(part).model_fields
                found[kind] = {field for field in later if getattr(part, field) == fields[field].default}
        return found | dict.fromkeys(_LATER_CONDITIONS - {self.kind}, True)

    def too_late(self, time: float, now: float) -> float | None:
        """How many seconds after its own time an event would have counted, where it comes too late by ``now``."""
        if self.statistic is not None:
            return self.statistic.too_late(time, now)
        lateness = getattr(self.tracked, "lateness", None)
        allowed = None if lateness is None else float(lateness.total_seconds())
        return allowed if allowed is not None and now - time > allowed else None

    @property
    def undone_by(self) -> tuple[str, str] | None:
        """The role of the events that undo the rule's own, and the field that may say which others they are."""
        if self.consecutive is not None:
            return "break", "condition.consecutive.broken_by"
        return ("other", "condition.last.others") if self.last is not None else None

    @property
    def others(self) -> dict[str, Matcher]:
        """The other events that it looks at, by their role, where the rule says which."""
        found: dict[str, Matcher] = {}
        if self.last is not None and self.last.others is not None:
            found["other"] = self.last.others
        if self.consecutive is not None and self.consecutive.broken_by is not None:
            found["break"] = self.consecutive.broken_by
        if self.sequence is not None:
            found["then"] = self.sequence.then
        return found

    @property
    def ends_by_itself(self) -> bool:
        """Whether it becomes untrue without an event that says so; what a sequence tells of has happened."""
        return self.sequence is None
