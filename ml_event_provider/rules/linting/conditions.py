"""Conditions that can be read and make no sense: values that are no numbers, keys that never come."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.rules.analysis import never_matches, relation
from ml_event_provider.rules.analysis.values import INTEGER, NUMBER
from ml_event_provider.rules.calendars import show_duration
from ml_event_provider.rules.linting.keys import natural

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ml_event_provider.rules.conditions.absence import Absence
    from ml_event_provider.rules.conditions.metrics import MetricChange
    from ml_event_provider.rules.linting.reading import Reading
    from ml_event_provider.rules.linting.remarks import Remark

#: How many of the expected keys that never come are named.
_NAMED: Final = 5
#: From which share on a relative change is probably meant in percent.
_ABSURD: Final = 5


def check(reading: Reading) -> Iterator[Remark]:
    """What is wrong with the rule's condition."""
    condition = reading.rule.condition
    if condition is None:
        return
    if condition.threshold is not None and condition.threshold.count == 1:
        within = show_duration(condition.threshold.within)
        text = (
            f"a threshold of 1 holds for each event; leave the condition out, and have 'cooldown: {within}' if later"
            " ones are to be held back"
        )
        yield reading.remark("warning", "threshold-of-one", "condition.threshold.count", text)
    if condition.threshold is not None and condition.threshold.count > 1:
        yield from _distinct(reading, condition.threshold.distinct)
    if condition.metric_change is not None:
        yield from _share(reading, condition.metric_change)
    if condition.value_path is not None and condition.threshold is None:
        yield from _value(reading, condition.value_path)
    if condition.absence is not None and condition.absence.expect:
        yield from _expected(reading, condition.absence)
    if condition.sequence is not None and _both(reading):
        text = "an event may be both the rule's own and the one that follows it, and so follows itself; narrow one"
        yield reading.remark("warning", "then-is-own", "condition.sequence.then", text)


def _distinct(reading: Reading, path: str | None) -> Iterator[Remark]:
    """Whether all events of one key have the same value."""
    by = reading.rule.by
    keys = [by] if by is not None else natural(reading)
    if path is not None and keys and all(path in paths for paths in keys):
        text = (
            f"each alert is about one {path}, so there are never two values of it to count; count those of another"
            " field, or leave it out of 'by'"
        )
        yield reading.remark("error", "distinct-is-key", "condition.threshold.distinct", text)


def _share(reading: Reading, change: MetricChange) -> Iterator[Remark]:
    """Whether a change was said in percent where a share is meant."""
    if change.compare != "relative":
        return
    place = "condition.metric_change.threshold"
    if change.direction == "decrease" and change.threshold > 1:
        text = (
            f"a fall by {change.threshold:.0%} goes below nothing, which only negative values do: the change is a"
            f" share, so write {change.threshold / 100:g} for {change.threshold:g} %"
        )
        yield reading.remark("warning", "absurd-quantity", place, text)
    elif change.threshold >= _ABSURD:
        text = (
            f"{change.threshold:g} is a change of {change.threshold:.0%}: the change is a share, so write"
            f" {change.threshold / 100:g} for {change.threshold:g} %"
        )
        yield reading.remark("warning", "absurd-quantity", place, text)


def _both(reading: Reading) -> bool:
    """Whether an event may be the rule's own and the one that follows."""
    hit, then = reading.patterns.get("hit"), reading.patterns.get("then")
    return hit is not None and then is not None and relation(hit, then) not in ("disjoint", "unknown")


def _value(reading: Reading, path: str) -> Iterator[Remark]:
    """Whether a number may stand there."""
    worlds = reading.worlds()
    fields = [world.field(path) for world in worlds]
    if not fields or any(field.kinds & {NUMBER, INTEGER} for field in fields):
        return
    if not reading.lacks(path):
        words = " or ".join(sorted({field.words() for field in fields}))
        text = f"{path} is {words}, and the condition needs a number; name a field that holds one"
        place = f"condition.{reading.rule.condition.kind}.value" if reading.rule.condition else "condition"
        yield reading.remark("error" if reading.ours() else "warning", "value-is-no-number", place, text)


def _expected(reading: Reading, absence: Absence) -> Iterator[Remark]:
    """Whether the expected keys are such as the events have."""
    place = "condition.absence.expect"
    by = reading.rule.by
    keys = natural(reading) if by is None else {by}
    wrong = [key for key in absence.expect if all(len(key) != len(paths) for paths in keys)]
    if keys and wrong:
        wanted = " or ".join(", ".join(paths) or "nothing" for paths in sorted(keys))
        whose = "the rule's events are about" if by is None else "'by' names"
        text = (
            f"{json.dumps(wrong[0], ensure_ascii=False)} has {len(wrong[0])} values, but {whose} {wanted}: it never"
            " comes; give one value for each field"
        )
        yield reading.remark("error", "expect-length", place, text)
    hit = reading.patterns.get("hit")
    if hit is None or not reading.worlds():
        return
    never = [(key, why) for key in absence.expect if key not in wrong and (why := _never(hit, keys, key))]
    if never:
        listed = ", ".join(json.dumps(key, ensure_ascii=False) for key, _ in never[:_NAMED])
        more = f" and {len(never) - _NAMED} others" if len(never) > _NAMED else ""
        text = f"no event of the rule is about {listed}{more} ({never[0][1]}); correct it, or widen the rule"
        yield reading.remark("error" if reading.ours() else "warning", "expect-never-comes", place, text)


def _never(pattern: dict[str, Any], keys: set[tuple[str, ...]], values: Sequence[Any]) -> str:
    """Why no event of the pattern has the values, or nothing."""
    why = ""
    for paths in keys:
        if len(paths) != len(values):
            continue
        asked = {
            path: [value] for path, value in zip(paths, values, strict=True) if isinstance(value, str | int | float)
        }
        reason = never_matches({"$and": [pattern, asked]}) if asked else None
        if reason is None:
            return ""
        why = reason
    return why
