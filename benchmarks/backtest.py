"""How long a backtest takes: ``python -m benchmarks.backtest [--events N] [--database sqlite|postgresql]``.

A month of events of 200 DAGs with 20 tasks each, about 1.4 kB an event, all in one workspace. Each line is one
`rules backtest`: the rules, how many events had to be read (only those of types that rules ask for are), how many
notifications came of them, and the time from the query to the report.
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
import random, resource, sys, time
from datetime import UTC, datetime, timedelta
from sqlalchemy import insert, text
from ml_event_provider.events.model import Event
from ml_event_provider.rules import Rule, RuleSet
from ml_event_provider.rules.backtest import backtest, types_asked
from ml_event_provider.store import events, schema
from ml_event_provider.store.engine import transaction

count = int(sys.argv[1])
now = datetime.now(UTC)
since = now - timedelta(days=30)
chance = random.Random(1)
PADDING = {"url": "https://airflow.example/dags/" + "x" * 300, "hostname": "worker-" + "7" * 80, "note": "y" * 300}


def rows():
    for number in range(count):
        moment = since + timedelta(days=30) * (number / count)
        dag, task = f"dag_{chance.randrange(200)}", f"task_{chance.randrange(20)}"
        state = chance.choices(["running", "success", "failed", "up_for_retry"], [45, 45, 5, 5])[0]
        kind = f"airflow.{chance.choices(['task_instance', 'dag_run'], [95, 5])[0]}.{state}"
        yield events._row(Event(
            id=f"{number:032x}", source="/airflow/fraud", type=kind, time=moment, workspace="fraud", origin="worker",
            subject=f"dags/{dag}/runs/r{number // 20}/tasks/{task}",
            data={"dag_id": dag, "run_id": f"r{number // 20}", "task_id": task, "map_index": -1, "state": state,
                  "try_number": 1, "operator": "PythonOperator", "duration": chance.random() * 900, **PADDING},
        ), moment) | {"matched_at": moment}


with transaction() as connection:
    batch = []
    for row in rows():
        batch.append(row)
        if len(batch) == 5000:
            connection.execute(insert(schema.event), batch)
            batch = []
    if batch:
        connection.execute(insert(schema.event), batch)
if connection.dialect.name != "sqlite":
    with transaction() as connection:
        connection.execute(text("ANALYZE ml_event_event"))
size = len(next(rows())["body"])
print(f"  {count:,} events of {size} bytes")

BASE = {"workspace": "fraud", "targets": ["inbox"]}
RULES = {
    "one plain rule for one of 8 types": [{"on": "task failed"}],
    "3 failures of a task in a row": [{"on": "task failed", "condition": {"consecutive": {"count": 3}}}],
    "20 failures of a DAG within an hour": [{"on": "task failed", "by": "data.dag_id",
        "condition": {"threshold": {"count": 20, "within": "1h"}}, "resolve": True}],
    "failures, one message for each DAG and hour": [{"on": "task failed",
        "group": {"by": "data.dag_id", "wait": "1m", "interval": "1h"}}],
    "a rule that looks at every event": [{"event_pattern": {"data": {"duration": [{"numeric": [">", 890]}]}},
        "cooldown": "1h"}],
    "no success of a task for 4 h": [{"on": "task completed", "condition": {"absence": {"within": "4h"}}}],
    "200 rules, one for each DAG": [{"on": "task failed", "scope": {"dags": f"dag_{n}"}, "suppress": "1h"}
        for n in range(200)],
}
for name, definitions in RULES.items():
    rules = RuleSet([Rule.model_validate({"name": f"r{n}", **BASE, **one}) for n, one in enumerate(definitions)])
    begin, cpu = time.perf_counter(), time.process_time()
    with transaction() as connection:
        (report,) = backtest(
            [rules],
            events.history(connection, since=since, until=now, types=types_asked(rules.patterns()),
                           workspaces=["fraud"]),
            since=since.timestamp(), until=now.timestamp(),
        )
    took, used = time.perf_counter() - begin, time.process_time() - cpu
    read, told = f"{report.events:,} read", f"{report.notifications:,} told"
    print(f"  {name:<46}{read:>16}{told:>15}{took:>8.1f} s{used:>8.1f} s CPU", flush=True)
print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
"""


def main() -> None:
    """Run it on each database that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append")
    chosen = parser.parse_args()
    for name in chosen.database or ("sqlite", "postgresql"):
        print(f"Backtest, {name}, {os.cpu_count()} cores:", flush=True)
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            url = "" if name == "sqlite" else stack.enter_context(postgres(folder / "postgresql"))
            airflow = Airflow(folder / "airflow", database=url, options={"_AIRFLOW_PROCESS_CONTEXT": "server"})
            airflow.cli("db", "migrate")
            subprocess.run(
                [sys.executable, "-c", WORK, str(chosen.events)],
                env={**airflow.environment, "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING"},
                check=True,
            )


if __name__ == "__main__":
    main()
