"""``airflow ml-events alerts …``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ml_event_provider.cli.output import command, show
from ml_event_provider.cli.person import person
from ml_event_provider.dispatch import alerts
from ml_event_provider.store import states
from ml_event_provider.store.engine import transaction


@command
def list_alerts(args: Any) -> None:
    """Print the open alerts."""
    with transaction() as connection:
        found = states.open_alerts(connection, workspace=args.workspace, rule=args.rule)
    rows = [
        {
            **one._asdict(),
            "since": datetime.fromtimestamp(one.since, UTC),
            "acknowledged": f"{one.acknowledged['by']}, {one.acknowledged['at'][:19]}" if one.acknowledged else None,
        }
        for one in found
    ]
    if args.output == "json":
        rows = [{**row, "acknowledged": one.acknowledged} for row, one in zip(rows, found, strict=True)]
    columns = ("since", "workspace", "rule", "key", "repeats", "flapping", "acknowledged", "id")
    show(rows, columns, args.output, empty="no open alerts")


@command
def acknowledge(args: Any) -> None:
    """Look after an alert."""
    handled = alerts.acknowledge(args.id, who=person(args.by), reason=args.reason or "")
    if not handled.first and handled.alert.acknowledged:
        first = handled.alert.acknowledged
        why = f": {first['reason']}" if first.get("reason") else ""
        print(f"{first['by']} looks after it since {first['at'][:19]}{why}")
    _say("acknowledged", handled)


@command
def resolve(args: Any) -> None:
    """End an alert."""
    _say("resolved", alerts.resolve(args.id, who=person(args.by), reason=args.reason or ""))


def _say(what: str, handled: alerts.Handled) -> None:
    alert = handled.alert
    print(f"{what} {alert.workspace}/{alert.rule} {alert.key}" + ("" if handled.lasts else ", which is over"))
