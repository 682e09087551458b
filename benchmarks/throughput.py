"""Events and deliveries a second through store and dispatcher, on SQLite and PostgreSQL, with 1 and 2 dispatchers.

``python -m benchmarks.throughput [--events N] [--database sqlite|postgresql]``. Real dispatcher processes, a real HTTP
receiver in a process of its own, one rule with one webhook target (signed), so one delivery an event. The CPU time of
the dispatchers is told beside the rates: it depends less on what else the machine does.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from lab.airflow import Airflow
from lab.ports import free_port
from lab.postgres import postgres

RULE = """
name: everything
on: ["bench.*"]
targets: [sink]
"""

RECORD = """
import sys, time
from datetime import datetime, UTC
from ml_event_provider.events.model import Event
from ml_event_provider.store import events
from ml_event_provider.store.engine import transaction
count, size = int(sys.argv[1]), int(sys.argv[2])
data = {"dag_id": "train", "run_id": "manual__2026-11-22", "task_id": "fit", "text": "x" * 700}
made = [
    Event(id=f"{size}-{n}", source="/bench", type="bench.task.failed", time=datetime.now(UTC), data={**data, "n": n})
    for n in range(count)
]
events.record_now(made[:1]) if size == 0 else None
started = time.perf_counter()
for first in range(0, count, size or 1):
    with transaction() as connection:
        if size:
            events.record(connection, made[first:first + size])
        else:
            events.record_one(connection, made[first])
print(count / (time.perf_counter() - started))
"""


def measure(database: str, count: int, folder: Path) -> list[tuple[str, float]]:
    """The rows of one database's table."""
    rows: list[tuple[str, float]] = []
    port = free_port()
    sink = subprocess.Popen([sys.executable, "-m", "benchmarks.sink", str(port)])
    airflow = Airflow(
        folder,
        database=database,
        options={
            "AIRFLOW_CONN_SINK": json.dumps(
                {
                    "conn_type": "mleventswebhook",
                    "host": f"http://127.0.0.1:{port}/webhook",
                    "password": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                }
            ),
            "AIRFLOW__ML_EVENTS__RECONCILE_SECONDS": "0",
            "_AIRFLOW_PROCESS_CONTEXT": "server",
        },
    )
    try:
        airflow.cli("db", "migrate")
        (folder / "rule.yaml").write_text(RULE)

        def record(many: int, size: int) -> float:
            done = subprocess.run(
                [sys.executable, "-c", RECORD, str(many), str(size)],
                env=airflow.environment,
                capture_output=True,
                text=True,
                check=True,
            )
            return float(done.stdout.split()[-1])

        rows.append(("record, one a transaction (events/s)", record(min(count, 1000), 0)))
        airflow.cli("ml-events", "dispatcher", "--once")
        airflow.cli("ml-events", "rules", "apply", "-f", str(folder / "rule.yaml"))
        for dispatchers in (1, 2):
            rate = record(count, 100 * dispatchers)
            if dispatchers == 1:
                rows.append(("record, 100 a transaction (events/s)", rate))
            processes = [airflow.start("ml-events", "dispatcher").pid for _ in range(dispatchers)]
            rate, cpu = _deliveries(airflow, processes)
            rows.append((f"match and deliver, {dispatchers} dispatcher(s) (deliveries/s)", rate))
            rows.append((f"match and deliver, {dispatchers} dispatcher(s) (CPU ms a delivery)", cpu))
            airflow.stop()
    finally:
        airflow.stop()
        sink.kill()
        sink.wait()
    return rows


def _deliveries(airflow: Airflow, processes: list[int]) -> tuple[float, float]:
    """Deliveries a second between the first and the last attempt's end, and ms of the dispatchers' CPU for each."""
    from sqlalchemy import create_engine, text

    engine = create_engine(airflow.database)
    before: int | None = None
    started = 0.0
    try:
        while True:
            with engine.connect() as connection:
                done = connection.execute(
                    text("SELECT count(*) FROM ml_event_delivery WHERE state = 'delivered'")
                ).scalar_one()
                unmatched = connection.execute(
                    text("SELECT count(*) FROM ml_event_event WHERE matched_at IS NULL")
                ).scalar_one()
                waiting = connection.execute(
                    text("SELECT count(*) FROM ml_event_delivery WHERE state <> 'delivered'")
                ).scalar_one()
            now, cpu = time.perf_counter(), sum(map(_cpu_seconds, processes))
            if before is None:
                before = done
            if not started and done > before:
                started, first, cpu_before = now, done, cpu
            if started and not unmatched and not waiting:
                return (done - first) / (now - started), 1000 * (cpu - cpu_before) / (done - first)
            time.sleep(0.1)
    finally:
        engine.dispose()


def _cpu_seconds(pid: int) -> float:
    """What a process and its children have used of the CPUs."""
    process = psutil.Process(pid)
    used = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return sum(one.user + one.system for one in used)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append")
    arguments = parser.parse_args()
    print(
        f"Throughput: {arguments.events} events of about 1 kB, {os.cpu_count()} cores, Python {sys.version.split()[0]}"
    )
    for kind in arguments.database or ("sqlite", "postgresql"):
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            url = "" if kind == "sqlite" else stack.enter_context(postgres(folder / "postgresql"))
            print(f"\n{kind}")
            for name, value in measure(url, arguments.events, folder / "airflow"):
                print(f"  {name:<60}{value:>10,.{2 if 'CPU' in name else 0}f}", flush=True)


if __name__ == "__main__":
    main()
