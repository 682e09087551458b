"""From a task's failure to the receipt of its message, beside an ``on_failure_callback`` of the same tasks.

``python -m benchmarks.latency [--tasks N] [--database sqlite|postgresql]``. A real Airflow runs N mapped tasks that
fail. One message goes the way of listener, event, rule, delivery and webhook; one is posted by the task's own
callback to the same receiver. Both are measured from the moment that Airflow gives as the task's end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path

from lab.airflow import Airflow, running
from lab.postgres import postgres
from tests.peers.receiver import WEBHOOK_SECRET, Receiver

DAG = """
import os

from airflow.sdk import dag, task


def post(context):
    import requests

    ti = context["ti"]
    requests.post(
        os.environ["CALLBACK_URL"], json={"map_index": ti.map_index, "end": ti.end_date.isoformat()}, timeout=10
    )


@dag(schedule=None, max_active_tasks=4)
def bench():
    @task(on_failure_callback=post)
    def fails(number):
        raise RuntimeError(f"number {number}")

    fails.expand(number=list(range(COUNT)))


bench()
"""

RULE = """
name: failed
on: ["airflow.task_instance.failed"]
targets: [inbox]
"""


def measure(folder: Path, tasks: int, database: str) -> dict[str, list[float]]:
    """Seconds from end to receipt, by way."""
    (folder / "dags").mkdir(parents=True)
    (folder / "dags" / "bench.py").write_text(DAG.replace("COUNT", str(tasks)))
    (folder / "rule.yaml").write_text(RULE)
    with Receiver() as inbox:
        airflow = Airflow(
            folder,
            database=database,
            options={
                "CALLBACK_URL": inbox.url("/callback"),
                "AIRFLOW_CONN_INBOX": json.dumps(
                    {
                        "conn_type": "mleventswebhook",
                        "host": inbox.url("/webhook"),
                        "password": WEBHOOK_SECRET,
                    }
                ),
            },
        )
        airflow.cli("db", "migrate")
        airflow.cli("ml-events", "rules", "apply", "-f", str(folder / "rule.yaml"))
        with running(airflow):
            run_id = airflow.trigger("bench")
            airflow.wait_for_run("bench", run_id, seconds=900)
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and len(inbox.requests) < 2 * tasks:
                time.sleep(0.2)
        ways: dict[str, list[float]] = {"event, rule, delivery": [], "on_failure_callback": []}
        for request in inbox.requests:
            document = request.json()
            if request.path == "/callback":
                ways["on_failure_callback"].append(request.at - datetime.fromisoformat(document["end"]).timestamp())
            else:
                ended = document["data"]["event"]["data"]["end_date"]
                ways["event, rule, delivery"].append(request.at - datetime.fromisoformat(ended).timestamp())
    return ways


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, default=60)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append")
    arguments = parser.parse_args()
    print(f"From a task's end to the receipt of its message, {arguments.tasks} failing tasks, in seconds")
    print(f"{'database':<12}{'way':<26}{'p50':>8}{'p99':>8}{'max':>8}{'n':>6}")
    for kind in arguments.database or ("sqlite", "postgresql"):
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            url = "" if kind == "sqlite" else stack.enter_context(postgres(folder / "postgresql"))
            for way, seconds in measure(folder / "airflow", arguments.tasks, url).items():
                ordered = sorted(seconds)
                p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
                print(
                    f"{kind:<12}{way:<26}{statistics.median(ordered):>8.2f}{p99:>8.2f}{ordered[-1]:>8.2f}"
                    f"{len(ordered):>6}"
                )


if __name__ == "__main__":
    main()
