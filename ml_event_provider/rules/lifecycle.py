"""What happens between a rule's firing and its notifications: again, resolved, held back, together, escalated."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import ConfigDict, Field, JsonValue, model_validator

from ml_event_provider.rules.calendars import Duration, PositiveDuration
from ml_event_provider.rules.fields import NUMBER, Options, Part, Paths, Reference, ShortPart
from ml_event_provider.rules.matcher import Matcher


class Fallback(ShortPart):
    """Where a notification goes when its target never took it."""

    short = "conn_id"

    conn_id: Reference = Field(description="The Airflow connection.")
    template: Reference | None = Field(None, description="The template for it.")
    options: Options = Field(default_factory=dict, description="Its own options.")


class Resolve(Matcher):
    """What ends an alert: by default the event that undoes the rule's own, or its condition's end."""

    after: PositiveDuration | None = Field(None, description="End an alert also when nothing has fired for so long.")


class Cooldown(ShortPart):
    """Holds back whatever fires again too soon. ``"24h"`` is short for ``{for: 24h}``."""

    short = "for"

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    time: PositiveDuration = Field(alias="for", description="How long after a firing.")
    by: Paths | None = Field(None, description="For each value of these fields; by default the rule's 'by'.")


class Flapping(Part):
    """Mutes an alert that fires and ends again and again, until it is calm."""

    changes: Annotated[int, NUMBER] = Field(6, ge=2, le=1000, description="How many changes make it flap.")
    within: PositiveDuration = Field(timedelta(hours=1), description="In which time.")


class Group(Part):
    """One message for many firings."""

    by: Paths = Field((), description="Firings with equal values of these fields of their event go together.")
    wait: Duration = Field(timedelta(seconds=30), description="How long the first of a group waits for others.")
    interval: Duration = Field(timedelta(minutes=5), description="The shortest time between two messages of a group.")
    max: Annotated[int, NUMBER] = Field(
        100, ge=1, le=1000, description="A message goes at once when so many have gathered."
    )


class Inhibit(Matcher):
    """Mutes the rule's notifications where another event tells the same: a failed DAG run mutes its tasks."""

    equal: Paths = Field(
        ("data.dag_id", "data.run_id"),
        description="Fields that must be equal in both events. An event mutes itself only where 'id' is among them.",
    )
    within: PositiveDuration = Field(
        timedelta(minutes=10), description="How far apart in time the two may be, whichever is first."
    )
    wait: Duration = Field(timedelta(0), description="How long a notification waits for the other event to come.")

    @model_validator(mode="after")
    def _asks(self) -> Inhibit:
        if not self.asks:
            raise ValueError("needs 'on' or 'event_pattern', or every event would mute the rule")
        return self


class TriggerDag(Part):
    """Start a DAG run."""

    dag_id: Reference = Field(description="The DAG.")
    conf: dict[str, JsonValue] = Field(
        default_factory=dict, description="The run's conf; texts in it are templates over event, data and rule."
    )


class AssetEvent(Part):
    """Create an asset event, which starts the DAGs that are scheduled on the asset."""

    uri: Reference | None = Field(None, description="The asset's URI.")
    name: Reference | None = Field(None, description="The asset's name.")
    extra: dict[str, JsonValue] = Field(
        default_factory=dict, description="The asset event's extra; texts are templates."
    )

    @model_validator(mode="after")
    def _named(self) -> AssetEvent:
        if (self.uri is None) == (self.name is None):
            raise ValueError("needs either 'uri' or 'name'")
        return self


class DagNamed(ShortPart):
    """A DAG."""

    short = "dag_id"

    dag_id: Reference = Field(description="The DAG.")


class Action(Part):
    """Something to do in Airflow: exactly one of these."""

    trigger_dag: TriggerDag | None = Field(None, description="Start a DAG run.")
    asset_event: AssetEvent | None = Field(None, description="Create an asset event.")
    pause_dag: DagNamed | None = Field(None, description="Pause a DAG.")
    unpause_dag: DagNamed | None = Field(None, description="Let a paused DAG go on.")

    @model_validator(mode="after")
    def _one(self) -> Action:
        chosen = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(chosen) != 1:
            raise ValueError(
                f"has {', '.join(chosen) or 'nothing'}; it needs exactly one of {', '.join(type(self).model_fields)}"
            )
        return self

    @property
    def kind(self) -> str:
        """Which of them it is."""
        return next(name for name in type(self).model_fields if getattr(self, name) is not None)
