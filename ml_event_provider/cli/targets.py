"""``airflow ml-events targets …``."""

from __future__ import annotations

from typing import Any

from ml_event_provider.cli.output import command
from ml_event_provider.cli.output import show as show_rows
from ml_event_provider.store import lanes
from ml_event_provider.store.engine import database_now, transaction


@command
def list_targets(args: Any) -> None:
    """Print how things stand with each target."""
    with transaction() as connection:
        found = lanes.standings(connection, now=database_now(connection), workspaces=args.workspace or None)
    rows = [{**one._asdict(), "target": one.target, "state": _state(one)} for one in found]
    columns = ("workspace", "target", "state", "waiting", "due_since", "delivered_at", "failures", "code", "reason")
    show_rows(rows, columns, args.output, empty="nothing was sent to any target yet")


def _state(one: lanes.Standing) -> str:
    if one.is_open:
        return "unreachable"
    return "slow" if one.slow else "failing" if one.failures else "ok"
