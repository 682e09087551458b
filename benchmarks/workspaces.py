"""What a flood of events in one workspace costs the others: 50 workspaces on PostgreSQL, with 1 and 2 dispatchers.

``python -m benchmarks.workspaces [--seconds N] [--flood N]``. Each workspace has 20 rules and an event now and then;
with the flood, one of them gets so many a second. Printed is, for the others, the time from the commit of an event to
that of its notification. Real processes that match; nothing is sent, so that matching alone is measured.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from lab.airflow import Airflow
from lab.postgres import postgres

WORKSPACES = 50

#: Matches until it is killed; says by a file that it has compiled all rules.
MATCH = """
import sys
from pathlib import Path
from ml_event_provider.dispatch.loop import Signals
from ml_event_provider.dispatch.rounds import Rounds
rounds = Rounds()
while rounds.round():
    pass
Path(sys.argv[1]).touch()
rounds.run(Signals(), poll=0.05)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--flood", type=int, default=1000, help="events a second in one workspace")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, postgres(Path(name) / "pg") as url:
        airflow = Airflow(Path(name) / "home", database=url, options={"_AIRFLOW_PROCESS_CONTEXT": "server"})
        airflow.cli("db", "migrate")
        os.environ.update(airflow.environment)
        _rules()
        print("| dispatchers | flood (events/s) | others p50 | p99 | max | of the flood matched (events/s) |")
        print("|---|---|---|---|---|---|")
        for dispatchers in (1, 2):
            for flood in (0, arguments.flood):
                print(_row(airflow, dispatchers, flood, arguments.seconds), flush=True)


def _rules() -> None:
    from ml_event_provider.store import definitions
    from ml_event_provider.store.engine import transaction

    with transaction() as connection:
        for workspace in range(WORKSPACES):
            for number in range(20):
                rule = {
                    "name": f"rule {number}",
                    "workspace": f"ws-{workspace}",
                    "event_pattern": {"type": ["bench.happened"], "data": {"number": [number % 5]}},
                    "resolve": {"after": "1h"},
                    "by": ["data.key"],
                    "targets": ["sink"],
                }
                if number:
                    rule["event_pattern"] = {"type": ["bench.other"], "data": {"number": [number]}}
                definitions.put(connection, rule, managed_by="file")


def _row(airflow: Airflow, dispatchers: int, flood: int, seconds: float) -> str:
    from sqlalchemy import text

    from ml_event_provider.store.engine import engine

    with engine().begin() as connection:
        for table in ("event", "notification", "delivery", "decision", "state"):
            connection.execute(text(f"TRUNCATE ml_event_{table}"))
    signs = [Path(airflow.environment["AIRFLOW_HOME"]) / f"ready-{os.urandom(4).hex()}" for _ in range(dispatchers)]
    processes = [
        subprocess.Popen([sys.executable, "-c", MATCH, str(sign)], env=airflow.environment, stdout=subprocess.DEVNULL)
        for sign in signs
    ]
    stopping = threading.Event()
    try:
        while not all(sign.exists() for sign in signs):
            time.sleep(0.1)
        flooding = threading.Thread(target=_flood, args=(flood, stopping))
        flooding.start()
        found = _latencies(seconds, stopping)
        stopping.set()
        flooding.join()
        with engine().connect() as connection:
            query = text("SELECT count(*) FROM ml_event_event WHERE workspace = 'ws-0' AND matched_at IS NOT NULL")
            matched = connection.execute(query).scalar_one()
    finally:
        stopping.set()
        for process in processes:
            process.kill()
            process.wait()
    found.sort()
    p50, p99 = found[len(found) // 2], found[int(len(found) * 0.99)]
    rate = f"{matched / seconds:.0f}" if flood else "-"
    return f"| {dispatchers} | {flood or 'none'} | {p50:.2f} s | {p99:.2f} s | {found[-1]:.2f} s | {rate} |"


def _events(workspace: str, count: int) -> list[object]:
    from ml_event_provider.events.model import Event

    now = datetime.now(UTC)
    return [
        Event(
            id=os.urandom(8).hex(),
            source="/bench",
            type="bench.happened",
            time=now,
            workspace=workspace,
            data={"number": 0, "key": random.randrange(1000), "text": "x" * 500},
        )
        for _ in range(count)
    ]


def _flood(rate: int, stopping: threading.Event) -> None:
    from ml_event_provider.store import events

    due = time.monotonic()
    while rate and not stopping.is_set():
        events.record_now(_events("ws-0", rate // 10))
        due += 0.1
        stopping.wait(max(0.0, due - time.monotonic()))


def _latencies(seconds: float, stopping: threading.Event) -> list[float]:
    """Record an event in another workspace every 50 ms; the seconds until each one's notification can be seen."""
    from sqlalchemy import text

    from ml_event_provider.store import events
    from ml_event_provider.store.engine import engine

    waiting: dict[str, float] = {}
    found: list[float] = []
    end = time.monotonic() + seconds
    query = text(
        "SELECT e.id FROM ml_event_notification n JOIN ml_event_event e ON e.seq = n.event_seq WHERE e.id = ANY(:ids)"
    )
    while time.monotonic() < end or (waiting and time.monotonic() < end + 30):
        if time.monotonic() < end:
            (one,) = _events(f"ws-{random.randrange(1, WORKSPACES)}", 1)
            events.record_now([one])  # type: ignore[list-item]
            waiting[one.id] = time.monotonic()  # type: ignore[attr-defined]
        for _ in range(3):
            with engine().connect() as connection:
                seen = connection.execute(query, {"ids": list(waiting)}).scalars().all()
            now = time.monotonic()
            found += [now - waiting.pop(name) for name in seen]
            stopping.wait(0.015)
    return found + [float("inf")] * len(waiting)


if __name__ == "__main__":
    main()
