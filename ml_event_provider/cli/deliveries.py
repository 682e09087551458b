"""``airflow ml-events deliveries …``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ml_event_provider.cli.output import command
from ml_event_provider.cli.output import show as show_rows
from ml_event_provider.cli.person import person
from ml_event_provider.dispatch import cancelling
from ml_event_provider.exceptions import NotFound
from ml_event_provider.store import deliveries
from ml_event_provider.store.engine import database_now, transaction

if TYPE_CHECKING:
    from ml_event_provider.store.deliveries import Delivery


@command
def list_deliveries(args: Any) -> None:
    """Print the newest deliveries."""
    with transaction() as connection:
        found = deliveries.latest(connection, state=args.state, rule=args.rule, limit=args.limit)
    columns = ("created_at", "state", "rule", "target", "event", "attempts", "code", "id", "reason")
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
    """Make ended deliveries, or all dead letters, due again."""
    if bool(args.id) == args.all_dead:
        raise NotFound("name deliveries by their ids, or --all-dead")
    with transaction() as connection:
        if args.all_dead:
            count = deliveries.send_again(connection, all_dead=True)
        else:
            count = sum(deliveries.send_again(connection, delivery_id=one) for one in dict.fromkeys(args.id))
    print(f"{count} to be sent again, each under its old id")


@command
def cancel(args: Any) -> None:
    """Call off deliveries that are still to go out."""
    kinds = bool(args.rule or args.target or args.workspace)
    if bool(args.id) == kinds:
        raise NotFound("name deliveries by their ids, or all of some kind by --rule, --target and --workspace")
    who = person(args.by)
    with transaction() as connection:
        now = database_now(connection)
        if args.id:
            count = cancelling.cancel(connection, list(dict.fromkeys(args.id)), who=who, now=now)
        else:
            count = cancelling.cancel_all(
                connection, workspaces=args.workspace, rules=args.rule, conn_ids=args.target, who=who, now=now
            )
    print(f"{count} cancelled; `airflow ml-events deliveries retry ID` sends one all the same")


def _row(one: Delivery) -> dict[str, Any]:
    row = {**one._asdict(), "target": one.target}
    recorded = row.pop("recorded")
    row["event"] = f"{recorded.event.type} {recorded.event.subject}" if recorded else "(pruned)"
    row["event_id"] = recorded.event.id if recorded else None
    return row
