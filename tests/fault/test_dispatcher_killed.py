"""Dispatchers are killed at random moments under a stream of events: nothing is lost, nothing gets a second id."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import defaultdict
from datetime import UTC, datetime

import pytest

from ml_event_provider.events.model import Event
from ml_event_provider.store import definitions, events
from ml_event_provider.store.engine import transaction
from tests.fault.dispatchers import fork, unfinished
from tests.peers.receiver import WEBHOOK_SECRET, Receiver

pytestmark = pytest.mark.fault

ROUNDS = 50


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
            "conn_type": "mleventswebhook",
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
