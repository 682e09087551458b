"""What a good target's messages wait for while other targets, or templates, are bad.

``python -m benchmarks.fairness [--seconds S] [--database sqlite|postgresql] [--case NAME]``. Real dispatchers; a good
target gets five events a second, each measured from its commit to its receipt, alone and beside each kind of trouble.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from lab.airflow import Airflow
from lab.ports import free_port
from lab.postgres import postgres
from tests.peers.receiver import WEBHOOK_SECRET, Receiver

#: Events a second for the good target.
RATE = 5.0
HANGING = 100


class Case(NamedTuple):
    """What goes on beside the good target: targets that hang or answer after a second, events a second for them."""

    hanging: int = 0
    slow: bool = False
    rate: float = 5.0
    spinning_template: bool = False
    dispatchers: int = 1
    #: Whether the good target is new, too: no dispatcher has sent anything to it.
    unknown: bool = False


CASES = {
    "alone": Case(),
    "beside one that hangs": Case(hanging=1),
    "beside one that answers after 1 s, 20/s": Case(slow=True, rate=20),
    "beside a template that runs into its limits": Case(spinning_template=True, rate=2),
    f"beside {HANGING} that hang": Case(hanging=HANGING),
    f"beside {HANGING} that hang, all new": Case(hanging=HANGING, unknown=True),
    "alone, two dispatchers": Case(dispatchers=2),
    f"beside {HANGING} that hang, two dispatchers": Case(hanging=HANGING, dispatchers=2),
}

TEMPLATE = "{% block title %}spin{% endblock %}{% block body %}" + (
    "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}{% endblock %}"
)

#: Records events at given rates, in a process of its own; their own time is the moment before the commit.
FEED = """
import sys, time
from datetime import UTC, datetime
from ml_event_provider.events.model import Event
from ml_event_provider.store import events
seconds, rates = float(sys.argv[1]), {}
for pair in sys.argv[2:]:
    kind, _, rate = pair.partition("=")
    rates[kind] = float(rate)
start = time.time()
due = dict.fromkeys(rates, start)
count = 0
while time.time() < start + seconds:
    kind = min(due, key=due.get)
    time.sleep(max(0.0, due[kind] - time.time()))
    due[kind] += 1 / rates[kind]
    count += 1
    events.record_now([Event(id=f"{start}-{count}", source="/bench", type=kind, time=datetime.now(UTC),
                             data={"at": time.time()})])
"""


def measure(case: Case, folder: Path, database: str, seconds: float) -> tuple[list[float], int]:
    """Seconds from commit to receipt at the good target, and how many did not arrive in time."""
    port = free_port()
    hole = subprocess.Popen([sys.executable, "-m", "benchmarks.hole", str(port), "1" if case.slow else "0"])
    names = [f"bad_{number}" for number in range(max(case.hanging, int(case.slow)))]
    with Receiver() as inbox:
        good = {"conn_type": "ml_events_webhook", "host": inbox.url("/webhook"), "password": WEBHOOK_SECRET}
        bad = {**good, "host": f"http://127.0.0.1:{port}/webhook"}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "templates").mkdir(exist_ok=True)
        (folder / "templates" / "spin.j2").write_text(TEMPLATE)
        airflow = Airflow(
            folder,
            database=database,
            options={
                "AIRFLOW_CONN_GOOD": json.dumps(good),
                **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(bad) for name in names},
                "AIRFLOW__ML_EVENTS__RECONCILE_SECONDS": "0",
                "AIRFLOW__ML_EVENTS__TEMPLATE_DIRECTORIES": str(folder / "templates"),
                "_AIRFLOW_PROCESS_CONTEXT": "server",
            },
        )
        try:
            airflow.cli("db", "migrate")
            _rules(folder, case, names)
            airflow.cli("ml-events", "rules", "apply", "-f", str(folder / "rules"))
            for _ in range(case.dispatchers):
                airflow.start("ml-events", "dispatcher")
            if not case.unknown:
                _feed(airflow, 1, "bench.good=5")
                _wait(lambda: len(inbox.requests) >= 1, 60)
            time.sleep(2)
            first = len(inbox.requests)
            rates = [f"bench.good={RATE}"]
            if names:
                # Each of them is sent each event; hundred of them need no hundredfold rate.
                rates.append(f"bench.bad={case.rate / (5 if case.hanging > 1 else 1)}")
            if case.spinning_template:
                rates.append(f"bench.spin={case.rate}")
            _feed(airflow, seconds, *rates)
            want = int(seconds * RATE)
            _wait(lambda: _good(inbox.requests[first:]) >= want, 30)
        finally:
            airflow.stop()
            hole.kill()
            hole.wait()
        took = [
            request.at - request.json()["data"]["event"]["data"]["at"]
            for request in inbox.requests[first:]
            if request.json()["data"]["event"]["type"] == "bench.good"
        ]
    return took, max(0, want - len(took))


def _good(requests: list[object]) -> int:
    return sum(1 for one in requests if one.json()["data"]["event"]["type"] == "bench.good")  # type: ignore[attr-defined]


def _rules(folder: Path, case: Case, names: list[str]) -> None:
    rules = folder / "rules"
    rules.mkdir(exist_ok=True)
    documents = {"good": {"name": "good", "on": ["bench.good"], "targets": ["good"]}}
    # As many targets as a rule may have.
    for first in range(0, len(names), 5):
        documents[f"bad-{first}"] = {"name": f"bad-{first}", "on": ["bench.bad"], "targets": names[first : first + 5]}
    if case.spinning_template:
        target = {"conn_id": "good", "template": "spin.j2"}
        documents["spin"] = {"name": "spin", "on": ["bench.spin"], "targets": [target]}
    for name, document in documents.items():
        (rules / f"{name}.json").write_text(json.dumps(document))


def _feed(airflow: Airflow, seconds: float, *rates: str) -> None:
    subprocess.run(
        [sys.executable, "-c", FEED, str(seconds), *rates],
        env=airflow.environment,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _wait(true, seconds: float) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while time.monotonic() < end and not true():
        time.sleep(0.1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="postgresql")
    parser.add_argument("--case", choices=CASES, action="append")
    arguments = parser.parse_args()
    print(f"From commit to receipt at a good target, {RATE:g} events a second, {os.cpu_count()} cores, in seconds")
    print(f"{'case':<50}{'p50':>8}{'p99':>8}{'max':>8}{'n':>6}{'late':>6}")
    for name in arguments.case or CASES:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            sqlite = arguments.database == "sqlite"
            url = "" if sqlite else stack.enter_context(postgres(folder / "postgresql"))
            took, late = measure(CASES[name], folder / "airflow", url, arguments.seconds)
        ordered = sorted(took) or [float("nan")]
        p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
        print(
            f"{name:<50}{statistics.median(ordered):>8.2f}{p99:>8.2f}{ordered[-1]:>8.2f}{len(took):>6}{late:>6}",
            flush=True,
        )


if __name__ == "__main__":
    main()
