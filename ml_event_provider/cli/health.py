"""``airflow ml-events health``."""

from __future__ import annotations

import json
from typing import Any

from ml_event_provider.cli.output import command
from ml_event_provider.store.health import health


@command
def show(args: Any) -> int:
    """Print what is wrong; exit 1 if anything is."""
    found = health()
    if args.output == "json":
        print(json.dumps(found, indent=2, default=str))
    else:
        print(found["status"])
        for problem in found["problems"]:
            print(f"- {problem}")
        for notice in found["notices"]:
            print(f"- (notice) {notice}")
        if {"dispatchers", "unmatched_events"} <= found.keys():
            print(f"{len(found['dispatchers'])} dispatcher(s), {found['unmatched_events']} event(s) to match")
    return 0 if found["status"] == "healthy" else 1
