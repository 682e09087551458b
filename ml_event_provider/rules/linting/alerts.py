"""What happens between a firing and its notifications: what ends an alert, how grave it is, and when it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ml_event_provider.exceptions import InvalidRule
from ml_event_provider.rules.analysis import relation
from ml_event_provider.rules.calendars import show_duration
from ml_event_provider.rules.model import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ml_event_provider.rules.linting.reading import Reading
    from ml_event_provider.rules.linting.remarks import Remark, Surroundings
    from ml_event_provider.rules.model import Rule, RuleTarget


def check(reading: Reading, around: Surroundings) -> Iterator[Remark]:
    """What is wrong with the rule's alerts and when they are told."""
    yield from _endings(reading)
    yield from _times(reading.rule, reading)
    yield from _severities(reading)
    yield from _hours(reading, around)


def told(rule: Rule, target: RuleTarget) -> bool:
    """Whether the rule is grave enough for the target."""
    return SEVERITIES.index(target.min_severity) <= SEVERITIES.index(rule.severity)


def _endings(reading: Reading) -> Iterator[Remark]:
    """Events that would end what they begin."""
    patterns, condition = reading.patterns, reading.rule.condition
    for role, outcome in (("break", "breaks no row"), ("other", "is no other"), ("resolve", "ends no alert")):
        if not {"hit", role} <= patterns.keys() or not reading.worlds(role):
            continue
        found = relation(patterns[role], patterns["hit"])
        if role == "resolve" and condition is not None:
            if found not in ("disjoint", "unknown"):
                text = "an event of the rule's own may end the alert that it begins; narrow one of the two"
                yield reading.remark("warning", "resolve-is-own", "resolve", text)
        elif role == "break" and found == "b_in_a":
            text = (
                "the rule's own events are among these; they count first, and never break the row: narrow the one that"
                " breaks it"
            )
            yield reading.remark("warning", "break-is-own", reading.place(role), text)
        elif found in ("equal", "a_in_b"):
            text = f"each of these events is one of the rule's own, which counts first, and so {outcome}; name others"
            yield reading.remark("error", f"{role}-is-own", reading.place(role), text)


def _times(rule: Rule, reading: Reading) -> Iterator[Remark]:
    if rule.repeat is not None and rule.cooldown is not None and rule.cooldown.time > rule.repeat:
        text = (
            f"an alert is repeated every {show_duration(rule.repeat)} although firings are held back for"
            f" {show_duration(rule.cooldown.time)}; repeat it less often, or have a shorter cooldown"
        )
        yield reading.remark("warning", "cooldown-over-repeat", "cooldown", text)
    after = None if rule.resolve is None else rule.resolve.after
    if rule.cooldown is not None and after is not None and rule.cooldown.time > after:
        text = (
            f"an alert ends {show_duration(after)} after the last firing, while others are held back for"
            f" {show_duration(rule.cooldown.time)}; have a cooldown that is not longer"
        )
        yield reading.remark("warning", "cooldown-over-resolve", "cooldown", text)
    within = None if rule.condition is None or rule.condition.threshold is None else rule.condition.threshold.within
    if after is not None and within is not None and after < within:
        text = (
            f"an alert ends {show_duration(after)} after it fired, although its events count for"
            f" {show_duration(within)}; leave 'after' out: the condition ends by itself"
        )
        yield reading.remark("warning", "resolve-before-condition", "resolve.after", text)
    for number, inhibit in enumerate(rule.inhibit):
        if inhibit.wait > inhibit.within:
            text = (
                f"a notification waits {show_duration(inhibit.wait)} for an event that counts only within"
                f" {show_duration(inhibit.within)}; wait no longer than 'within'"
            )
            yield reading.remark("warning", "wait-over-within", f"inhibit[{number}].wait", text)
    if rule.ends:
        return
    advice = "say what ends it in 'resolve'"
    if rule.repeat is not None:
        text = f"an alert is repeated until somebody acknowledges it, for nothing ends it; {advice}"
        yield reading.remark("warning", "never-ends", "repeat", text)
    if rule.flapping is not None:
        text = f"an alert that does not end by itself hardly begins again and again; {advice}"
        yield reading.remark("warning", "never-ends", "flapping", text)


def _severities(reading: Reading) -> Iterator[Remark]:
    rule = reading.rule
    targets = list(reading.targets())
    mute = [(place, target) for place, target in targets if not told(rule, target)]
    nothing = len(mute) == len(targets) and not rule.actions
    for place, target in mute:
        text = (
            f"the rule's severity is {rule.severity!r}, and {target.conn_id!r} takes {target.min_severity!r} and graver"
            f" only: it never gets anything{', nor does any other target' if nothing and len(mute) > 1 else ''}; make"
            " the rule graver or the target take more"
        )
        yield reading.remark("error" if nothing else "warning", "target-never-told", f"{place}.min_severity", text)


def _hours(reading: Reading, around: Surroundings) -> Iterator[Remark]:
    """Hours that do not open for a year."""
    if around.now is None:
        return
    calendars = {one.name: one for one in around.calendars if one.workspace == reading.rule.workspace}
    hours = [("active", reading.rule.active), *((f"{place}.active", one.active) for place, one in reading.targets())]
    for place, each in hours:
        try:
            if each is None or each.next_opening(around.now, calendars) is not None:
                continue
        except InvalidRule:
            # The calendar does not exist, which is said elsewhere.
            continue
        calendar = f" and the calendar {each.calendar!r}" if each.calendar else ""
        text = f"these hours{calendar} do not open within a year: nothing is told; correct the days, hours or dates"
        yield reading.remark("error", "never-open", place, text)
