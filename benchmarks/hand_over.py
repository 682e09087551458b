"""What our listener adds to a task, beside OpenLineage's listener and a Slack webhook callback, in the same runs.

``python -m benchmarks.hand_over [--runs N]``. A real Airflow runs a trivial task N times. In each task process the
whole of each listener and callback call is timed from inside: our hand-over of ``running`` and of ``success`` to the
ingest endpoint, OpenLineage's two events to an HTTP transport, ``SlackWebhookNotifier`` as ``on_success_callback`` to
a local receiver. Each POST goes to a server on this machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from lab.airflow import Airflow, running
from lab.ports import free_port

DAG = """
from airflow.providers.slack.notifications.slack_webhook import SlackWebhookNotifier
from airflow.sdk import dag, task

notifier = SlackWebhookNotifier(slack_webhook_conn_id="slack", text="{{ ti.task_id }} succeeded")


@dag(schedule=None, max_active_runs=1)
def bench():
    @task(on_success_callback=lambda context: timed("SlackWebhookNotifier", "callback", notifier, context))
    def trivial():
        pass

    trivial()


def timed(*arguments):
    from ml_events_bench import timed

    timed(*arguments)


bench()
"""

CLOCK = """
import functools
import json
import os
import time
from pathlib import Path

OUT = Path(os.environ["AIRFLOW_HOME"]) / "timings.jsonl"


def note(who, what, seconds):
    with OUT.open("a") as file:
        file.write(json.dumps([who, what, seconds * 1000]) + "\\\\n")


def timed(who, what, call, *arguments, **more):
    started = time.perf_counter()
    try:
        return call(*arguments, **more)
    finally:
        note(who, what, time.perf_counter() - started)
"""

# A plugin that wraps the listeners of both providers with the clock.
WRAP = """
import functools
import time

from airflow.plugins_manager import AirflowPlugin
from ml_events_bench import note


def wrap(module, name, who, what):
    original = getattr(module, name)
    if getattr(original, "clocked", False):
        return

    @functools.wraps(original)
    def clocked(*args, **kwargs):
        started = time.perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            note(who, what, time.perf_counter() - started)

    clocked.clocked = True
    setattr(module, name, clocked)


from ml_event_provider.listeners import task_instances

for state in ("running", "success"):
    wrap(task_instances, f"on_task_instance_{state}", "ml_event_provider", state)

from airflow.providers.openlineage.plugins.listener import OpenLineageListener

for state in ("running", "success"):
    wrap(OpenLineageListener, f"on_task_instance_{state}", "OpenLineage", state)


class ClockPlugin(AirflowPlugin):
    name = "clock"
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=15)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for name in ("dags", "plugins", "lib"):
            (home / name).mkdir()
        (home / "dags" / "bench.py").write_text(DAG)
        (home / "lib" / "ml_events_bench.py").write_text(CLOCK.replace("\\\\n", "\\n"))
        (home / "plugins" / "clock.py").write_text(WRAP)
        port = free_port()
        sink = subprocess.Popen([sys.executable, "-m", "benchmarks.sink", str(port)])
        airflow = Airflow(
            home,
            options={
                "PYTHONPATH": str(home / "lib"),
                "AIRFLOW_CONN_SLACK": json.dumps(
                    {"conn_type": "slackwebhook", "host": f"http://127.0.0.1:{port}", "password": "T/B/x"}
                ),
                "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps({"type": "http", "url": f"http://127.0.0.1:{port}"}),
            },
        )
        try:
            with running(airflow):
                for _ in range(arguments.runs):
                    run_id = airflow.trigger("bench")
                    airflow.wait_for_run("bench", run_id)
                time.sleep(3)
        finally:
            sink.kill()
            sink.wait()
        timings: dict[tuple[str, str], list[float]] = defaultdict(list)
        for line in (home / "timings.jsonl").read_text().splitlines():
            who, what, milliseconds = json.loads(line)
            timings[who, what].append(milliseconds)
    print(f"Time added to a task process, {arguments.runs} tasks, in ms")
    print(f"{'who':<22}{'call':<12}{'median':>10}{'p90':>10}{'max':>10}{'n':>6}")
    for (who, what), values in sorted(timings.items()):
        ordered = sorted(values)
        p90 = ordered[int(0.9 * (len(ordered) - 1))]
        print(f"{who:<22}{what:<12}{statistics.median(values):>10.1f}{p90:>10.1f}{ordered[-1]:>10.1f}{len(values):>6}")


if __name__ == "__main__":
    main()
