"""``airflow ml-events quarantine …``."""

from __future__ import annotations

from typing import Any

from ml_event_provider.cli.output import command, show
from ml_event_provider.dispatch import setting_aside
from ml_event_provider.exceptions import MlEventError
from ml_event_provider.store import quarantine
from ml_event_provider.store.engine import transaction


@command
def list_quarantined(args: Any) -> None:
    """Print what is set aside."""
    with transaction() as connection:
        found = quarantine.find(connection, kind=args.kind, workspace=args.workspace, limit=args.limit)
    columns = ("id", "set_aside_at", "kind", "workspace", "reference", "reason")
    show([one._asdict() for one in found], columns, args.output, empty="nothing is set aside")


@command
def retry(args: Any) -> None:
    """Try again what is set aside."""
    if args.all == bool(args.id):
        raise MlEventError("say which: its number (`airflow ml-events quarantine list`), or --all")
    if not args.all:
        print(f"{args.id}: {setting_aside.retry(args.id)}")
        return
    said = setting_aside.retry_all(workspace=args.workspace)
    for one, became in said:
        print(f"{one.id}: {became}")
    if not said:
        print("nothing is set aside that can be tried again")


@command
def discard(args: Any) -> None:
    """Let what is set aside be."""
    one = setting_aside.discard(args.id)
    print(f"discarded {one.kind} {one.reference} of workspace {one.workspace}")
