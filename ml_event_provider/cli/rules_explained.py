"""``airflow ml-events rules test|explain|backtest|lint``: what rules do, did, would do, and may not do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from ml_event_provider import config
from ml_event_provider.cli.output import command
from ml_event_provider.cli.source import event_named, paths_of
from ml_event_provider.dispatch import applying
from ml_event_provider.dispatch.explaining import explain_event, roles_of
from ml_event_provider.exceptions import InvalidRule, NotFound
from ml_event_provider.rules import RuleSet, explain
from ml_event_provider.rules.backtest import backtest as run_backtest
from ml_event_provider.rules.backtest import types_asked
from ml_event_provider.rules.calendars import PositiveDuration
from ml_event_provider.rules.files import Definitions, load_definitions
from ml_event_provider.rules.patterns.budget import TooCostly
from ml_event_provider.store import events
from ml_event_provider.store.engine import shared_now, transaction

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from ml_event_provider.rules import Rule
    from ml_event_provider.rules.backtest import Report

_SIGNS = {True: "✓", False: "✗", None: "·"}


@command
def test(args: Any) -> int:
    """Say for each rule whether it matches an event, and if not, what failed; exit 1 if none matches."""
    event = event_named(args.event)
    found = _with_stored(args)
    rules = _compiled(found)
    matched = {(rule.workspace, rule.name) for rule in rules.match(event)}
    document = json.loads(event.to_json())
    for rule in found.rules:
        matches = (rule.workspace, rule.name) in matched
        print(f"{rule.name}: {'matches' if matches else 'does not match' if rule.enabled else 'disabled'}")
        for line in _why(rule, document, rules, matches=matches):
            print(f"    {line}")
    return 0 if matched else 1


@command
def explain_rules(args: Any) -> None:
    """Say for every rule of an event's workspace why it fired, or why not, from what was recorded."""
    with transaction() as connection:
        recorded = events.find(connection, args.event)
        if not recorded:
            raise NotFound(f"no event {args.event!r} is recorded; see `airflow ml-events events list`")
        found = [one for each in recorded for one in explain_event(connection, each)]
    if args.rule:
        found = [one for one in found if one.rule in args.rule]
    if args.output == "json":
        print(json.dumps([one.to_dict() for one in found], indent=2, ensure_ascii=False))
        return
    for one in found:
        print(f"{one.rule} (version {one.version}): {one.outcome}")
        for reason in one.reasons:
            print(f"    {_SIGNS[reason.passed]} {reason.step}: {reason.text}")
    if not found:
        print("no rule was there when the event was matched")


@command
def backtest(args: Any) -> None:
    """Say what rules would have told of the recorded past, beside what the stored ones of the same names would."""
    until = shared_now()
    since = until - _duration(args.since)
    with transaction() as connection:
        stored = applying.read(connection)
        wanted = applying.in_workspaces(load_definitions(*paths_of(args.file))) if args.file else stored
        if args.rule:
            wanted = wanted._replace(rules=[rule for rule in wanted.rules if rule.name in args.rule])
        if not wanted.rules:
            raise InvalidRule("there is no rule to be tested; name a file with -f, or a stored rule with --rule")
        places = {(rule.workspace, rule.name) for rule in wanted.rules}
        present = stored._replace(rules=[rule for rule in stored.rules if (rule.workspace, rule.name) in places])
        merged = _merged(stored, wanted)
        sets = [_checked(merged)]
        if args.file and present.rules:
            sets.append(_compiled(present))
        history = events.history(
            connection,
            since=since,
            until=until,
            types=types_asked(pattern for rules in sets for pattern in rules.patterns()),
            workspaces=sorted({rule.workspace for rule in wanted.rules}),
        )
        reports = run_backtest(
            sets,
            history,
            since=since.timestamp(),
            until=until.timestamp(),
            hourly_limit=lambda workspace: config.quota("notifications_per_hour", workspace),
            keep=args.limit,
        )
    names = ("file", "stored") if args.file else ("stored",)
    if args.output == "json":
        found = {name: report.to_dict() for name, report in zip(names, reports, strict=False)}
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    print(f"{reports[0].events} event(s) recorded since {since:%Y-%m-%d %H:%M} UTC were looked at")
    for name, report in zip(names, reports, strict=False):
        _print_report("as in the file" if name == "file" else "as stored", report)


@command
def lint(args: Any) -> int:
    """Say what is wrong with rules, or may be; exit 1 if anything is wrong."""
    from ml_event_provider.dispatch.linting import lint_definitions

    found = _with_stored(args)
    with transaction() as connection:
        remarks = lint_definitions(connection, found)
    for one in remarks:
        print(
            f"{one.level}: {one.workspace}/{one.rule}: {one.field + ': ' if one.field else ''}{one.text} [{one.code}]"
        )
    errors = sum(1 for one in remarks if one.level == "error")
    print(f"{len(found.rules)} rule(s): {errors} error(s), {len(remarks) - errors} other remark(s)")
    return 1 if errors else 0


def _why(rule: Rule, document: dict[str, Any], rules: RuleSet, *, matches: bool) -> Iterator[str]:
    """What fails, where a rule does not match an event, and what else the event is to it."""
    try:
        patterns = rule.patterns(rules.groups(rule.workspace))
        causes = [] if matches else explain(patterns["hit"], document).causes
        roles = roles_of(patterns, document)
    except (InvalidRule, TooCostly) as error:
        yield f"cannot be used: {rules.broken.get(rule.name) or error or 'the event is too costly to match'}"
        return
    for one in causes:
        yield f"{one.path}: wants {one.predicate}, found {_shown(one.found)}"
    for role in roles:
        yield f"the event {role}"


def _print_report(title: str, report: Report) -> None:
    kinds = ", ".join(f"{count} {kind}" for kind, count in report.by_kind.most_common())
    print(f"\n{title}: {report.notifications} notification(s)" + (f" ({kinds})" if kinds else ""))
    for heading, counter in (
        ("by rule", report.by_rule),
        ("messages to", report.sent),
        ("muted", report.muted),
        ("looked at without a notification", report.outcomes),
    ):
        if counter:
            print(f"  {heading}: " + ", ".join(f"{name} {count}" for name, count in counter.most_common(20)))
    for one in report.told:
        targets = [*one.sent, *(f"{name} (held)" for name in one.held), *(f"{name} (muted)" for name in one.muted)]
        many = f", {one.events} firings" if one.events > 1 else ""
        about = f" {one.about}" if one.about not in {"", "[]"} else ""
        print(f"  {one.at:%Y-%m-%d %H:%M:%S}  {one.kind:<9} {one.rule}{about}{many} → {', '.join(targets) or '-'}")
    if report.notifications > len(report.told):
        print(f"  … and {report.notifications - len(report.told)} more")


def _with_stored(args: Any) -> Definitions:
    """The rules of files with what is stored beside them, or the stored ones."""
    workspace = getattr(args, "workspace", "")
    problems: list[str] = []
    with transaction() as connection:
        stored = applying.read(connection, workspace=workspace, problems=problems)
    if not args.file:
        # One that cannot be used is said and left out, as the dispatcher does.
        print("".join(f"{problem}\n" for problem in problems), end="")
        return stored
    return _merged(stored, applying.in_workspaces(load_definitions(*paths_of(args.file))))


def _merged(stored: Definitions, wanted: Definitions) -> Definitions:
    """What is wanted, with the stored groups, calendars and silences that it does not replace."""

    def both(old: list[Any], new: list[Any]) -> list[Any]:
        return list({(one.workspace, one.name): one for one in [*old, *new]}.values())

    return Definitions(
        wanted.rules,
        both(stored.resource_groups, wanted.resource_groups),
        both(stored.calendars, wanted.calendars),
        both(stored.silences, wanted.silences),
    )


def _compiled(found: Definitions) -> RuleSet:
    return RuleSet(found.rules, **applying.settings(found))


def _checked(found: Definitions) -> RuleSet:
    rules = _compiled(found)
    if rules.broken:
        raise InvalidRule("\n".join(f"{name}: {problem}" for name, problem in rules.broken.items()))
    return rules


def _duration(text: str) -> timedelta:
    try:
        found: timedelta = TypeAdapter(PositiveDuration).validate_python(text)
    except ValidationError as error:
        raise InvalidRule(f"--since {text!r}: {error.errors()[0]['msg']}") from None
    return found


def _shown(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError:
        return str(value)
