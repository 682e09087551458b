"""Names of connections, templates, groups, calendars and DAGs that are not there; and things that nobody names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ml_event_provider.rules.linting.keys import natural
from ml_event_provider.rules.linting.remarks import Remark
from ml_event_provider.rules.presets import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ml_event_provider.rules.linting.reading import Reading
    from ml_event_provider.rules.linting.remarks import Surroundings


def check(reading: Reading, around: Surroundings) -> Iterator[Remark]:
    """What the rule names and is not there."""
    yield from _scope(reading, around)
    yield from _expected(reading, around)
    yield from _twice(reading)
    yield from _targets(reading, around)
    yield from _calendars(reading, around)
    for number, action in enumerate(reading.rule.actions):
        named = action.trigger_dag or action.pause_dag or action.unpause_dag
        if named is not None and around.known_dags is not None and named.dag_id not in around.known_dags:
            text = (
                f"there is no DAG {named.dag_id!r}{nearest(named.dag_id, around.known_dags)}; deploy it or correct it"
            )
            yield reading.remark("error", "no-dag", f"actions[{number}].{action.kind}.dag_id", text)


def fits(name: str, wildcard: str) -> bool:
    """Whether a name is as the other says, where ``*`` stands for any characters."""
    return re.fullmatch(".*".join(map(re.escape, wildcard.split("*"))), name, re.DOTALL) is not None


def _scope(reading: Reading, around: Surroundings) -> Iterator[Remark]:
    for name in reading.missing:
        near = nearest(name, reading.groups)
        text = f"there is no resource group {name!r} in the workspace{near}; make it or correct it"
        yield reading.remark("error", "no-group", "scope.groups", text)
    if around.known_dags is not None:
        for name in reading.rule.scope.dags:
            if name not in around.known_dags and not any(fits(dag, name) for dag in around.known_dags):
                text = f"no DAG fits {name!r}{nearest(name, around.known_dags)}: its events never come"
                yield reading.remark("warning", "no-dag", "scope.dags", text)


def _expected(reading: Reading, around: Surroundings) -> Iterator[Remark]:
    """DAGs that are expected to run and do not exist: an absence would be told for ever."""
    rule, condition = reading.rule, reading.rule.condition
    if around.known_dags is None or condition is None or condition.absence is None:
        return
    keys = [rule.by] if rule.by is not None else natural(reading)
    for key in condition.absence.expect or ():
        for name in dict.fromkeys(
            one for paths in keys for path, one in zip(paths, key, strict=False) if path == "data.dag_id"
        ):
            if isinstance(name, str) and name not in around.known_dags:
                text = f"there is no DAG {name!r}{nearest(name, around.known_dags)}: its events never come; correct it"
                yield reading.remark("warning", "no-dag", "condition.absence.expect", text)


def _twice(reading: Reading) -> Iterator[Remark]:
    """Targets that stand twice in one list, all that they say included."""
    lists = [("targets", reading.rule.targets)]
    lists += [(f"escalate[{step}].targets", each.targets) for step, each in enumerate(reading.rule.escalate)]
    for place, targets in lists:
        for number, target in enumerate(targets):
            if target in targets[:number]:
                text = f"{target.conn_id!r} stands twice, and would be told twice; take one away"
                yield reading.remark("warning", "target-twice", f"{place}[{number}]", text)


def _targets(reading: Reading, around: Surroundings) -> Iterator[Remark]:
    templates = [("template", reading.rule.template)]
    for place, target in reading.targets():
        named = [(place, target.conn_id, target.template)]
        if target.fallback is not None:
            named.append((f"{place}.fallback", target.fallback.conn_id, target.fallback.template))
        for where, conn_id, template in named:
            templates.append((f"{where}.template", template))
            if around.connections is not None and conn_id not in around.connections:
                text = (
                    f"there is no connection {conn_id!r}{nearest(conn_id, around.connections)}; make it or correct it"
                )
                yield reading.remark("error", "no-connection", where, text)
    for where, template in templates:
        if template is not None and around.templates is not None and not around.templates(template):
            text = f"there is no template {template!r}; put it into a folder of [ml_events] template_directories"
            yield reading.remark("error", "no-template", where, text)


def _calendars(reading: Reading, around: Surroundings) -> Iterator[Remark]:
    known = [calendar.name for calendar in around.calendars if calendar.workspace == reading.rule.workspace]
    for place, name in _named_calendars(reading):
        if name not in known:
            text = f"there is no calendar {name!r} in the workspace{nearest(name, known)}; make it or correct it"
            yield reading.remark("error", "no-calendar", f"{place}.calendar", text)


def _named_calendars(reading: Reading) -> Iterator[tuple[str, str]]:
    hours = [
        ("active", reading.rule.active),
        *((f"{place}.active", target.active) for place, target in reading.targets()),
    ]
    for place, each in hours:
        if each is not None and each.calendar is not None:
            yield place, each.calendar


def unused(readings: Sequence[Reading], around: Surroundings) -> Iterator[Remark]:
    """Groups and calendars that no rule names."""
    groups = {(one.rule.workspace, name) for one in readings for name in one.rule.scope.groups}
    calendars = {(one.rule.workspace, name) for one in readings for _, name in _named_calendars(one)}
    yield from _unused("resource group", "groups", around.groups, groups)
    yield from _unused("calendar", "calendars", around.calendars, calendars)


def _unused(what: str, field: str, things: Iterable[object], used: set[tuple[str, str]]) -> Iterator[Remark]:
    for thing in things:
        workspace, name = str(getattr(thing, "workspace", "")), str(getattr(thing, "name", ""))
        if (workspace, name) not in used:
            text = f"no rule names the {what} {name!r}; use it or take it away"
            yield Remark("info", workspace, "", f"{field}.{name}", text, f"unused-{what.rpartition(' ')[2]}")
