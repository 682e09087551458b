"""Dispatchers are killed at random moments under a stream of events: nothing is lost, nothing gets a second id."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ml_event_provider.events.model import Event
from ml_event_provider.store import definitions, events
from ml_event_provider.store.engine import transaction
from tests.peers.receiver import WEBHOOK_SECRET, Receiver

pytestmark = pytest.mark.fault

ROUNDS = 50
ROOT = Path(__file__).parents[2]


@pytest.fixture
def forker():
    """A process that forks dispatchers against the present database."""
    environment = {
        **os.environ,
        "AIRFLOW__ML_EVENTS__LEASE_SECONDS": "2",
        "AIRFLOW__ML_EVENTS__SEND_TIMEOUT_SECONDS": "1",
        "AIRFLOW__ML_EVENTS__POLL_SECONDS": "0.05",
        "AIRFLOW__ML_EVENTS__RETRY_BASE_SECONDS": "0.1",
        "AIRFLOW__ML_EVENTS__RECONCILE_SECONDS": "0",
        "AIRFLOW__ML_EVENTS__ALLOWED_HOSTS": "127.0.0.1",
        "PYTHONPATH": str(ROOT),
    }

    def start(**more: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.fault.forking_dispatcher"],
            env={**environment, **more},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        started.append(process)
        while "ready" not in (line := process.stdout.readline()):
            assert line, "the forking process ended"
        return process

    started: list[subprocess.Popen[str]] = []
    yield start
    for process in started:
        process.stdin.close()
        process.wait(20)


def fork(process: subprocess.Popen[str]) -> int:
    process.stdin.write("go\n")
    process.stdin.flush()
    while not (line := process.stdout.readline().strip()).isdigit():
        assert process.poll() is None
    return int(line)


def test_every_event_arrives_under_one_id_however_often_dispatchers_are_killed(airflow_db, forker):
    chance = random.Random(20261122)
    ids: list[str] = []
    stopping = threading.Event()

    def stream() -> None:
        while not stopping.is_set():
            batch = [
                Event(
                    id=f"event-{len(ids) + n}",
                    source="/fault",
                    type="fault.happened",
                    time=datetime.now(UTC),
                    data={"number": len(ids) + n},
                )
                for n in range(chance.randint(1, 8))
            ]
            events.record_now(batch)
            ids.extend(event.id for event in batch)
            time.sleep(0.05)

    with Receiver() as inbox:
        connection = {
            "conn_type": "ml_events_webhook",
            "host": inbox.url("/webhook"),
            "password": WEBHOOK_SECRET,
        }
        process = forker(AIRFLOW_CONN_INBOX=json.dumps(connection))
        with transaction() as database:
            definitions.put(
                database,
                {"name": "all", "workspace": "default", "on": ["fault.happened"], "targets": ["inbox"]},
                managed_by="file",
            )
        source = threading.Thread(target=stream)
        source.start()
        try:
            for _ in range(ROUNDS):
                child = fork(process)
                time.sleep(chance.uniform(0.02, 0.6))
                os.kill(child, signal.SIGKILL)
        finally:
            stopping.set()
            source.join()
        survivors = [fork(process), fork(process)]
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            arrived = {request.json()["data"]["event"]["id"] for request in inbox.requests if request.verified}
            if len(arrived) == len(ids) and not unfinished():
                break
            time.sleep(0.2)
        for child in survivors:
            os.kill(child, signal.SIGTERM)

        names: dict[str, set[str]] = defaultdict(set)
        for request in inbox.requests:
            assert request.verified, request.problem
            names[request.json()["data"]["event"]["id"]].add(request.headers["webhook-id"])
        print(
            f"{ROUNDS} dispatchers killed, {len(ids)} events, {len(inbox.requests)} requests,"
            f" {len(inbox.duplicates)} sent again under their old id"
        )
        assert len(ids) > ROUNDS
        assert set(names) == set(ids)
        assert {event: len(seen) for event, seen in names.items() if len(seen) != 1} == {}
        assert unfinished() == 0


def unfinished() -> int:
    from sqlalchemy import text

    with transaction() as connection:
        waiting = connection.execute(
            text("SELECT count(*) FROM ml_event_delivery WHERE state <> 'delivered'")
        ).scalar_one()
        unmatched = connection.execute(
            text("SELECT count(*) FROM ml_event_event WHERE matched_at IS NULL")
        ).scalar_one()
    return int(waiting) + int(unmatched)
