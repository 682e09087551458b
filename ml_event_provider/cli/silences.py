"""``airflow ml-events silences …``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from ml_event_provider import config
from ml_event_provider.cli.output import command, show
from ml_event_provider.cli.person import person
from ml_event_provider.cli.source import event_named
from ml_event_provider.dispatch import silences
from ml_event_provider.exceptions import InvalidRule
from ml_event_provider.rules import explain
from ml_event_provider.rules.calendars import Moment, PositiveDuration
from ml_event_provider.rules.documents import UnreadableError, read_json
from ml_event_provider.rules.silences import Silence
from ml_event_provider.store import definitions
from ml_event_provider.store.definitions import Kind
from ml_event_provider.store.engine import database_now, shared_now, transaction

if TYPE_CHECKING:
    from datetime import datetime, timedelta


@command
def add(args: Any) -> None:
    """Mute some notifications for a while."""
    now = shared_now()
    who = person(args.by)
    silence = silences.read(_document(args, now), author=who, now=now)
    with transaction() as connection:
        silences.add(connection, silence, author=who, now=now, managed_by="cli")
    print(f"added {silence.workspace}/{silence.name}: {_when(silence, now)}")


@command
def list_silences(args: Any) -> None:
    """Print the silences, those that have ended only on demand."""
    now = shared_now()
    with transaction() as connection:
        found = silences.listed(connection, args.workspace, now)
    rows = [
        {
            "workspace": one.workspace,
            "name": one.name,
            "state": standing.state,
            "begins": standing.begins,
            "ends": standing.ends,
            "mutes": _mutes(one),
            "reason": one.reason,
            "author": one.author,
            "definition": one.model_dump(mode="json", exclude_defaults=True),
        }
        for one, standing in found
        if args.all or standing.state != "ended"
    ]
    columns = ("workspace", "name", "state", "begins", "ends", "mutes", "reason", "author")
    show(rows, columns, args.output, empty="no silences" if args.all else "no silences, but perhaps ended ones: --all")


@command
def end(args: Any) -> None:
    """Let a silence end now."""
    workspace, who = _workspace(args), person(args.by)
    with transaction() as connection:
        ended = silences.end(connection, args.name, workspace=workspace, author=who, now=database_now(connection))
    print(f"ended {workspace}/{args.name}" if ended else f"{workspace}/{args.name} had ended before")


@command
def delete(args: Any) -> None:
    """Delete a silence; its history stays."""
    workspace = _workspace(args)
    with transaction() as connection:
        definitions.remove(connection, args.name, workspace=workspace, kind=Kind.SILENCE, author=person(args.by))
    print(f"deleted {workspace}/{args.name}")


@command
def test(args: Any) -> int:
    """Say whether a silence would mute the notifications of an event now; exit 1 if not."""
    event = event_named(args.event)
    now = shared_now()
    with transaction() as connection:
        stored = definitions.get(connection, args.name, workspace=_workspace(args), kind=Kind.SILENCE)
    silence = Silence.model_validate(stored.definition)
    explained = explain(silence.pattern(), json.loads(event.to_json()))
    if not explained.matches:
        print(f"{silence.name}: does not fit the event")
        for one in explained.causes:
            print(f"    {one.path}: wants {one.predicate}, found {one.found}")
        return 1
    active = silences.standing(silence, now).state == "active"
    of_rules = f" of the rules {', '.join(silence.rules)}" if silence.rules else ""
    print(f"{silence.name}: {'mutes' if active else 'would mute'} the event's notifications{of_rules}")
    print(f"    {_when(silence, now)}")
    return 0 if active else 1


def _document(args: Any, now: datetime) -> dict[str, Any]:
    """The silence that the options describe.

    :raises InvalidRule: if one cannot be read, or they do not go together.
    """
    starts: datetime | None = _read("--from", Moment, args.start)
    ends: datetime | None = _read("--until", Moment, args.until)
    length: timedelta | None = _read("--for", PositiveDuration, args.length)
    recurring: dict[str, Any] | None = None
    if args.cron:
        if length is None:
            raise InvalidRule("--cron says when it begins; say with --for how long it lasts each time")
        recurring = {"schedule": args.cron, "duration": length, "timezone": args.timezone or "UTC"}
    elif args.timezone:
        raise InvalidRule("--timezone is that of --cron; write the offset into --from and --until")
    elif length is not None:
        if ends is not None:
            raise InvalidRule("--for and --until both say when it ends: leave one out")
        ends = (starts or now) + length
    elif ends is None:
        raise InvalidRule("say how long: --for 2h, --until 2026-03-29T02:30:00Z, or --cron '0 2 * * sun' --for 3h")
    elif ends <= (starts or now):
        raise InvalidRule(f"--until {ends.isoformat()} is over: it must come after --from, or else the present")
    named = {
        "name": args.name,
        "workspace": args.workspace,
        "reason": args.reason,
        "on": args.on,
        "rules": args.rule,
        "dags": args.dag,
        "everything": args.everything,
        "event_pattern": _json("--pattern", args.pattern),
        "starts_at": starts,
        "ends_at": ends,
        "recurring": recurring,
    }
    return {name: value for name, value in named.items() if value}


def _read(option: str, kind: Any, text: str) -> Any:
    if not text:
        return None
    try:
        return TypeAdapter(kind).validate_python(text)
    except ValidationError as error:
        raise InvalidRule(f"{option}: {error.errors()[0].get('ctx', {}).get('error', error)}") from None


def _json(option: str, text: str) -> Any:
    if not text:
        return None
    try:
        return read_json(text).value
    except UnreadableError as error:
        raise InvalidRule(f"{option}: {error}") from None


def _when(silence: Silence, now: datetime) -> str:
    state, begins, ends = silences.standing(silence, now)
    times = [
        f"{word} {moment:%Y-%m-%d %H:%M:%S} UTC"
        for word, moment in (("from", begins if state == "upcoming" else None), ("until", ends))
        if moment is not None
    ]
    again = f"; again and again: {silence.recurring.schedule} {silence.recurring.timezone}" if silence.recurring else ""
    return f"{state} {' '.join(times)}{again}"


def _mutes(silence: Silence) -> str:
    """What it mutes, in short."""
    if silence.everything:
        return "everything"
    fields = silence.model_dump(mode="json", exclude_defaults=True)
    about = {"on", "rules", "event_pattern", "dags", "pipelines", "models", "registries", "projects", "collections"}
    parts = {name: value for name, value in fields.items() if name in about}
    return ", ".join(
        f"{name}: {json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else ' '.join(value)}"
        for name, value in parts.items()
    )


def _workspace(args: Any) -> str:
    return args.workspace or config.workspace()
