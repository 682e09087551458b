"""``airflow ml-events deliveries …``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ml_event_provider.cli.output import command
from ml_event_provider.cli.output import show as show_rows
from ml_event_provider.exceptions import NotFound
from ml_event_provider.store import deliveries
from ml_event_provider.store.engine import transaction

if TYPE_CHECKING:
    from ml_event_provider.store.deliveries import Delivery


@command
def list_deliveries(args: Any) -> None:
    """Print the newest deliveries."""
    with transaction() as connection:
        found = deliveries.latest(connection, state=args.state, rule=args.rule, limit=args.limit)
    columns = ("created_at", "state", "rule", "target", "event", "attempts", "code", "reason", "id")
    show_rows([_row(one) for one in found], columns, args.output, empty="no deliveries")


@command
def show(args: Any) -> None:
    """Print one delivery and its attempts."""
    with transaction() as connection:
        one = deliveries.get(connection, args.id)
        attempts = deliveries.attempts_of(connection, args.id)
    for name, value in _row(one).items():
        print(f"{name + ':':<17} {'-' if value is None else value}")
    columns = ("number", "started_at", "milliseconds", "outcome", "code", "reason")
    show_rows([attempt._asdict() for attempt in attempts], columns, "table", empty="not tried yet")


@command
def retry(args: Any) -> None:
    """Make an ended delivery, or all dead letters, due again."""
    if bool(args.id) == args.all_dead:
        raise NotFound("name one delivery's id, or --all-dead")
    with transaction() as connection:
        count = deliveries.send_again(connection, delivery_id=args.id, all_dead=args.all_dead)
    print(f"{count} to be sent again, each under its old id")


def _row(one: Delivery) -> dict[str, Any]:
    row = {**one._asdict(), "target": one.target}
    recorded = row.pop("recorded")
    row["event"] = f"{recorded.event.type} {recorded.event.subject}" if recorded else "(pruned)"
    row["event_id"] = recorded.event.id if recorded else None
    return row
