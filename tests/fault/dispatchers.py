"""Real dispatcher processes against the tests' database, forked quickly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

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
            text=True,
            start_new_session=True,
        )
        started.append(process)
        while "ready" not in (line := process.stdout.readline()):
            assert line, "the forking process ended"
        return process

    started: list[subprocess.Popen[str]] = []
    yield start
    for process in started:
        process.stdin.close()
        # A dispatcher that outlived a failed test would work on in those that follow.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)


def fork(process: subprocess.Popen[str]) -> int:
    process.stdin.write("go\n")
    process.stdin.flush()
    while not (line := process.stdout.readline().strip()).isdigit():
        assert process.poll() is None
    return int(line)


def wait_until(true, seconds=60.0):
    """Wait for something; say whether it came."""
    deadline = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def is_alive(pid):
    """Whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def unfinished() -> int:
    from sqlalchemy import text

    from ml_event_provider.store.engine import transaction

    with transaction() as connection:
        waiting = connection.execute(
            text("SELECT count(*) FROM ml_event_delivery WHERE state <> 'delivered'")
        ).scalar_one()
        unmatched = connection.execute(
            text("SELECT count(*) FROM ml_event_event WHERE matched_at IS NULL")
        ).scalar_one()
    return int(waiting) + int(unmatched)
