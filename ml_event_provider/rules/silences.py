"""Silences: notifications that nobody wants for a while, from and until, or again and again."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field, model_validator

from ml_event_provider.rules.calendars import Moment, Recurrence
from ml_event_provider.rules.fields import Line, Name, Names, Short
from ml_event_provider.rules.matcher import all_of, check_together
from ml_event_provider.rules.scope import Resources

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

#: The subject of an event of Airflow's.
_SUBJECT: Final = re.compile(r"dags/([^/]+)")


class Silence(Resources):
    """Mutes the notifications about some events, of some rules, or of a whole workspace, for some time."""

    name: Name = Field(description="Unique in the workspace.")
    workspace: Short = Field("default", description="The workspace whose notifications it mutes.")
    reason: Line = Field(min_length=1, description="Why.")
    author: Line = Field(min_length=1, description="Who wants it.")
    rules: Names = Field((), description="Only notifications of these rules, with * for any characters.")
    everything: bool = Field(False, strict=True, description="All notifications of the workspace.")
    starts_at: Moment | None = Field(None, description="From this moment on; by default from the beginning.")
    ends_at: Moment | None = Field(None, description="Until this moment.")
    recurring: Recurrence | None = Field(None, description="Again and again: a maintenance window.")
    mutes_ends: bool = Field(
        False, strict=True, description="Mutes also that an alert is over of which somebody heard before."
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Silence:
        if self.everything == bool(self.wishes() or self.rules):
            raise ValueError("needs events, things or 'rules' that it mutes; or 'everything: true' and none of them")
        if self.ends_at is None and self.recurring is None:
            raise ValueError("needs 'ends_at' or 'recurring': a silence without an end is a rule to be disabled")
        if self.starts_at is not None and self.ends_at is not None and self.ends_at <= self.starts_at:
            raise ValueError("ends_at must come after starts_at")
        check_together(self.pattern())
        return self

    def pattern(self) -> dict[str, Any]:
        """The event pattern of the events whose notifications it mutes."""
        return all_of(self.workspace, self.wishes())

    def dags_named(self) -> set[str]:
        """The DAGs whose events it asks for. What is no plain name is given as JSON, which is no DAG's name."""
        return set(_dags_in(self.pattern()))

    def concerns(self, rule: str) -> bool:
        """Whether it mutes the rule of that name."""
        return not self.rules or any(fnmatchcase(rule, _as_glob(name)) for name in self.rules)

    def covers(self, moment: datetime) -> bool:
        """Whether it mutes at that moment."""
        if self.starts_at is not None and moment < self.starts_at:
            return False
        if self.ends_at is not None and moment >= self.ends_at:
            return False
        return self.recurring is None or self.recurring.covers(moment)

    def until(self, moment: datetime) -> datetime | None:
        """When it does not mute any more, or may not, of a moment at which it does."""
        window = None if self.recurring is None else self.recurring.window_at(moment)
        ends = [one for one in (self.ends_at, window[1] if window else None) if one is not None]
        return min(ends, default=None)


def _as_glob(name: str) -> str:
    """Only ``*`` is special in a name."""
    return name.replace("[", "[[]").replace("?", "[?]")


def _dags_in(pattern: Mapping[str, Any]) -> Iterator[str]:
    for name, wanted in pattern.items():
        if isinstance(wanted, dict):
            yield from _dags_in(wanted)
        elif name in {"$or", "$and"}:
            for each in wanted:
                yield from _dags_in(each)
        elif name in {"dag_id", "source_dag_id"}:
            yield from (one if isinstance(one, str) else json.dumps(one) for one in wanted)
        elif name == "subject":
            for one in wanted:
                if isinstance(one, str) and (plain := _SUBJECT.match(one)):
                    yield plain[1]
                elif not isinstance(one, str):
                    yield json.dumps(one)
