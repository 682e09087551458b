"""No event for too long, or not when the schedule expects it."""

from __future__ import annotations

from bisect import insort
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

from pydantic import BeforeValidator, Field, JsonValue, model_validator

from ml_event_provider.rules.calendars import CronSchedule, Duration, PositiveDuration
from ml_event_provider.rules.conditions.base import Memory, Observation, Verdict
from ml_event_provider.rules.fields import Part

if TYPE_CHECKING:
    from typing import Any

#: How many missed moments are told one by one at the most.
MOST_AT_ONCE: Final = 100


def _lists(value: Any) -> Any:
    """Each expected key as the list of its values."""
    if not isinstance(value, list | tuple):
        return value
    return [one if isinstance(one, list | tuple) else [one] for one in value]


class Jump(NamedTuple):
    """The last missed moment that was jumped over, when it was judged, and when the next is."""

    slot: float
    judged_at: float
    next_at: float


class Absence(Part):
    """No such event for the time ``within``; with a schedule, none within that time after a moment of the schedule.

    It fires once for each silence that is too long; with a schedule, once for each moment that was missed. The time
    counts from the last event; where there was none yet, from the moment at which the rule was switched on.
    """

    within: PositiveDuration = Field(description="How long it may take.")
    schedule: str | None = Field(None, description="When events are expected, as a cron expression.")
    timezone: str = Field("UTC", description="The schedule's time zone.")
    expect: Annotated[tuple[tuple[JsonValue, ...], ...], BeforeValidator(_lists)] = Field(
        (),
        max_length=1000,
        description="The keys that are expected from the beginning: values of 'by', like DAG ids. Others are"
        " expected once they were seen.",
    )
    wait: Duration = Field(timedelta(minutes=1), description="How much longer to wait for events that come late.")

    @model_validator(mode="after")
    def _scheduled(self) -> Absence:
        if self.schedule is None and self.timezone != "UTC":
            raise ValueError("timezone has no meaning without 'schedule'")
        if self.schedule is not None:
            self.cron  # noqa: B018 - says what is wrong
        return self

    @cached_property
    def cron(self) -> CronSchedule:
        """The schedule, of an absence that has one."""
        return CronSchedule(schedule=str(self.schedule), timezone=self.timezone)

    def begin(self, now: float) -> Memory:
        """From now on events are expected. ``last`` is the last event, ``told`` since when the silence lasts that was
        told of; with a schedule, which of its moments was missed last."""
        memory: Memory = {"last": None, "since": now, "told": None}
        if self.schedule is not None:
            memory |= {"slot": self._next_slot(now), "times": []}
        return memory

    def take(self, memory: Memory, seen: Observation, now: float) -> None:
        """Remember the newest event; with a schedule, all that may have met it."""
        if memory["last"] is None or seen.time > memory["last"]:
            memory["last"] = seen.time
        if self.schedule is not None and seen.time >= memory["slot"]:
            insort(memory["times"], seen.time)
            memory["times"] = _telling(memory["times"], self.within.total_seconds())

    def judge(self, memory: Memory, now: float) -> Verdict:
        """Say whether the silence is too long."""
        within, wait = self.within.total_seconds(), self.wait.total_seconds()
        if self.schedule is not None:
            return self._scheduled_verdict(memory, now)
        since = memory["since"] if memory["last"] is None else memory["last"]
        due = since + within + wait
        facts = {"last": _shown(memory["last"]), "within": within}
        if now < due:
            memory["told"] = None
            return Verdict(False, (), due, facts)
        # A late event may move the beginning of a silence that goes on: it was told.
        fired = () if memory["told"] is not None else (None,)
        memory["told"] = since
        return Verdict(True, fired, None, facts)

    def _scheduled_verdict(self, memory: Memory, now: float) -> Verdict:
        within, wait = self.within.total_seconds(), self.wait.total_seconds()
        fired: list[None] = []
        slot, times = memory["slot"], memory["times"]
        while slot + within + wait <= now:
            if not any(slot <= time <= slot + within for time in times):
                memory["told"] = slot
                fired.append(None)
            slot = self._next_slot(slot)
        memory["slot"], memory["times"] = slot, [time for time in times if time >= slot]
        # After a long standstill, a thousand messages would say no more than these.
        del fired[:-MOST_AT_ONCE]
        last, missed = memory["last"], memory["told"]
        facts = {"last": _shown(last), "missed": _shown(missed), "next": _shown(slot)}
        active = missed is not None and (last is None or last < missed)
        return Verdict(active, tuple(fired), slot + within + wait, facts)

    def jump(self, memory: Memory, until: float, before: float, horizon: float) -> Jump | None:
        """Go on to the last moment of the schedule that is judged by ``until``, and earlier than ``before``, and after
        which another is judged by ``horizon``: all up to it were missed.

        ``None`` where there is none, or where events that came may have met one of them.
        """
        if self.schedule is None or memory["times"]:
            return None
        wait = self.within.total_seconds() + self.wait.total_seconds()
        slot = self._last_slot(min(until, horizon) - wait)
        while slot >= memory["slot"] and (slot + wait >= before or self._next_slot(slot) + wait > horizon):
            slot = self._last_slot(min(slot - 1e-3, before - wait))
        if slot < memory["slot"]:
            return None
        memory["told"], memory["slot"] = slot, self._next_slot(slot)
        return Jump(slot, slot + wait, memory["slot"] + wait)

    def _last_slot(self, at_or_before: float) -> float:
        return self.cron.previous(datetime.fromtimestamp(at_or_before, UTC)).timestamp()

    def _next_slot(self, after: float) -> float:
        return self.cron.next(datetime.fromtimestamp(after, UTC)).timestamp()


def _telling(times: list[float], within: float) -> list[float]:
    """Those of some sorted moments that say as much as all of them: of three within the time, not the middle one."""
    kept: list[float] = []
    for time in times:
        while len(kept) > 1 and time - kept[-2] <= within:
            kept.pop()
        kept.append(time)
    return kept[-1000:]


def _shown(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat()
