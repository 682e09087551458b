"""What one round of the reconciler costs on a large database: a million task instances.

``python -m benchmarks.reconciler [--tries N] [--database sqlite|postgresql]``. A thousand tries a dag run; 50 runs
are active, the others ended before the provider was installed or are complete. Printed for each round: the time, and
how many rows of Airflow's tables it reported.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from lab.airflow import Airflow
from lab.postgres import postgres

WORK = """
import sys, time, uuid
from datetime import UTC, datetime, timedelta
from sqlalchemy import text
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from ml_event_provider.dispatch.reconciler import Reconciler
from ml_event_provider.store import events
from ml_event_provider.store.engine import transaction

tries, active, each = int(sys.argv[1]), 50, 1000
runs = tries // each
installed = datetime.now(UTC)
clock = [installed - timedelta(hours=2)]
reconciler = Reconciler(grace=15, now=lambda _: clock[0])


def insert(first, last, state, ended):
    with transaction() as connection:
        connection.execute(DagRun.__table__.insert(), [
            {"dag_id": f"dag_{n % 20}", "run_id": f"run_{n}", "run_type": "manual", "state": state,
             "run_after": ended, "start_date": ended, "created_at": ended, "clear_number": 0,
             "end_date": ended if state == "success" else None, "span_status": "not_started"}
            for n in range(first, last)
        ])
        for n in range(first, last):
            connection.execute(TaskInstance.__table__.insert(), [
                {"id": uuid.uuid4(), "dag_id": f"dag_{n % 20}", "run_id": f"run_{n}", "task_id": f"task_{m}",
                 "map_index": -1, "try_number": 1, "max_tries": 0, "pool": "default_pool", "pool_slots": 1,
                 "state": "success" if state == "success" or m < each // 2 else None,
                 "start_date": ended, "end_date": ended, "operator": "PythonOperator", "updated_at": ended,
                 "span_status": "not_started", "executor_config": {}}
                for m in range(each)
            ])


def round_(label):
    started = time.perf_counter()
    found = reconciler.reconcile_runs()
    print(f"  {label:<64}{(time.perf_counter() - started) * 1000:>9.0f} ms{len(found):>8} recorded", flush=True)


insert(0, runs - active, "success", installed - timedelta(days=3))
insert(runs - active, runs, "running", installed - timedelta(hours=1))
if len(sys.argv) > 2:
    with transaction() as connection:
        connection.execute(text("ANALYZE"))
round_("first round (installs its cursors)")
clock[0] = installed + timedelta(minutes=1)
round_(f"{active} active runs, half of their tries ended and nobody reported")
clock[0] = installed + timedelta(minutes=2)
round_(f"{active} active runs, all their ended tries recorded")
with transaction() as connection:
    ids = connection.execute(text(
        "SELECT task_id, run_id FROM task_instance WHERE state IS NULL AND run_id = :run"
    ), {"run": f"run_{runs - 1}"}).all()
    connection.execute(text(
        "UPDATE task_instance SET state = 'failed', end_date = :now WHERE state IS NULL AND run_id = :run"
    ), {"now": (installed + timedelta(minutes=3)).replace(tzinfo=None) if connection.dialect.name == "sqlite"
        else installed + timedelta(minutes=3), "run": f"run_{runs - 1}"})
clock[0] = installed + timedelta(minutes=10)
round_(f"{len(ids)} tries of one run ended that nobody reported")
clock[0] = installed + timedelta(minutes=11)
round_("again, all recorded")
started = time.perf_counter()
reconciler.read_tables()
reconciler.read_tables()
print(f"  {'assets, asset events, import errors':<64}{(time.perf_counter() - started) * 500:>9.0f} ms")
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tries", type=int, default=1_000_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append")
    arguments = parser.parse_args()
    print(f"One round of the reconciler, {arguments.tries:,} task instances, {os.cpu_count()} cores")
    for kind in arguments.database or ("sqlite", "postgresql"):
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            url = "" if kind == "sqlite" else stack.enter_context(postgres(folder / "postgresql"))
            airflow = Airflow(folder / "airflow", database=url, options={"_AIRFLOW_PROCESS_CONTEXT": "server"})
            airflow.cli("db", "migrate")
            print(kind, flush=True)
            subprocess.run(
                [
                    sys.executable,
                    "-c",
                    WORK,
                    str(arguments.tries),
                    *(["analyze"] if kind == "postgresql" else []),
                ],
                env={**airflow.environment, "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING"},
                check=True,
            )


if __name__ == "__main__":
    main()
