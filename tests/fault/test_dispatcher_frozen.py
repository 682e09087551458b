"""A dispatcher that freezes while it matches holds up nobody for longer than the database allows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from ml_event_provider.dispatch.matching import Rotation
from ml_event_provider.store import definitions, events, schema, unmatched
from ml_event_provider.store.engine import transaction, utc_now
from tests.integration.recorded import EVENT

if TYPE_CHECKING:
    from sqlalchemy import Engine

pytestmark = pytest.mark.fault

ROOT = Path(__file__).parents[2]

#: Stops itself in the middle of its first transaction; when it is woken, it goes on as a dispatcher does.
FROZEN = """
import os, signal, sys
from sqlalchemy import text
from ml_event_provider.dispatch.batch import Batch
from ml_event_provider.dispatch.matching import Rotation
from ml_event_provider.store import engine

engine._BEGIN_POSTGRESQL = text(str(engine._BEGIN_POSTGRESQL).replace(f"'{engine.IDLE_SECONDS}s'", "'1s'"))
write = Batch.write
frozen = []

def freeze(batch):
    if not frozen:
        frozen.append(1)
        print("frozen", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
    return write(batch)

Batch.write = freeze
rotation = Rotation()
for _ in range(100):
    try:
        if not any(rotation.turn()) and frozen:
            break
    except Exception as error:
        print("lost", engine.worth_retrying(error), flush=True)
print("done", flush=True)
"""


def test_another_goes_on_and_the_frozen_one_comes_back_without_loss_or_double(airflow_db: Engine) -> None:
    if airflow_db.dialect.name != "postgresql":
        pytest.skip("SQLite knows no sessions: whoever is frozen in a transaction is ended by hand")
    with transaction() as connection:
        for name in ("frozen", "other"):
            one = {"name": "all", "workspace": name, "on": ["tests.*"], "targets": ["inbox"]}
            definitions.put(connection, one, managed_by="file")
    events.record_now([replace(EVENT, id=f"f-{n}", workspace="frozen", time=utc_now()) for n in range(5)])
    process = subprocess.Popen(
        [sys.executable, "-c", FROZEN],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        while "frozen" not in (line := process.stdout.readline()):
            assert line, "it ended before it froze"
        # It holds its workspace only.
        events.record_now([replace(EVENT, id=f"o-{n}", workspace="other", time=utc_now()) for n in range(5)])
        Rotation().turn(seconds=60)
        with transaction() as connection:
            assert unmatched.workspaces(connection) <= {"frozen"}
        rotation = Rotation()
        for _ in range(200):
            rotation.turn(seconds=60)
            with transaction() as connection:
                if not unmatched.workspaces(connection):
                    break
            time.sleep(0.1)
        with transaction() as connection:
            assert not unmatched.workspaces(connection)
        os.kill(process.pid, signal.SIGCONT)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    # Its connection was lost, which is worth another try; then there was nothing left to do.
    assert said.split("\n")[-2] == "done"
    assert "lost True" in said
    with transaction() as connection:
        told = connection.execute(
            select(schema.event.c.id).join(schema.notification, schema.notification.c.event_seq == schema.event.c.seq)
        ).scalars()
        assert sorted(told) == sorted([f"f-{n}" for n in range(5)] + [f"o-{n}" for n in range(5)])
