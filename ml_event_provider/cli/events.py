"""``airflow ml-events events …``."""

from __future__ import annotations

import json
from typing import Any

from ml_event_provider.cli.output import command
from ml_event_provider.cli.output import show as show_rows
from ml_event_provider.exceptions import NotFound
from ml_event_provider.store import deliveries, events
from ml_event_provider.store.engine import transaction


@command
def list_events(args: Any) -> None:
    """Print the newest events."""
    with transaction() as connection:
        found = events.latest(connection, type_prefix=args.type, workspace=args.workspace, limit=args.limit)
    rows = [
        {
            "time": one.event.time,
            "type": one.event.type,
            "subject": one.event.subject,
            "origin": one.event.origin,
            "id": one.event.id,
            "workspace": one.event.workspace,
            "matched": one.matched_at is not None,
        }
        for one in found
    ]
    show_rows(rows, ("time", "type", "subject", "origin", "id"), args.output, empty="no events yet")


@command
def show(args: Any) -> None:
    """Print one event as CloudEvents JSON, and its deliveries."""
    with transaction() as connection:
        found = events.find(connection, args.id)
        if not found and events.known_ids(connection, [args.id]):
            raise NotFound(
                f"event {args.id!r} is recorded, but cannot be read: the log line above says why, and"
                " `airflow ml-events quarantine list` what became of it"
            )
        if not found:
            raise NotFound(f"no event {args.id!r} is recorded; see `airflow ml-events events list`")
        made = [one for event in found for one in deliveries.latest(connection, event_seq=event.seq)]
    for one in found:
        print(json.dumps(one.event.to_dict(), indent=2, ensure_ascii=False))
    show_rows(
        [{**one._asdict(), "target": one.target} for one in made],
        ("rule", "target", "state", "attempts", "code", "id"),
        "table",
        empty="no rule matched it" if found[0].matched_at else "not matched yet",
    )


@command
def types(args: Any) -> None:
    """Print the event types."""
    from ml_event_provider.events.catalogue import EVENT_TYPES

    rows = [{"type": name, "meaning": one.meaning} for name, one in EVENT_TYPES.items()]
    show_rows(rows, ("type", "meaning"), args.output, empty="none")


@command
def schema(args: Any) -> None:
    """Print the JSON Schema of one type's data, or of all."""
    from ml_event_provider.events.catalogue import EVENT_TYPES, json_schema

    if args.type and args.type not in EVENT_TYPES:
        raise NotFound(f"no event type {args.type!r}; see `airflow ml-events events types`")
    document = json_schema(args.type) if args.type else {name: json_schema(name) for name in EVENT_TYPES}
    print(json.dumps(document, indent=2, ensure_ascii=False))
