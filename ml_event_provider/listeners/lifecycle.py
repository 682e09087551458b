"""Starts the embedded dispatcher with each scheduler and ends it with it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from typing import Any

from airflow.listeners import hookimpl

from ml_event_provider import config
from ml_event_provider.listeners.guard import guarded

log = logging.getLogger(__name__)

_stopping = threading.Event()
_supervisor: threading.Thread | None = None


@hookimpl
@guarded
def on_starting(component: Any) -> None:
    """A job, or a task process, starts. Only the scheduler gets a dispatcher."""
    global _supervisor
    if not hasattr(component, "_sa_instance_state") or not config.embedded_dispatcher():
        return
    if _supervisor is None or not _supervisor.is_alive():
        _stopping.clear()
        _supervisor = threading.Thread(target=_supervise, args=(component,), name="ml-events-dispatcher", daemon=True)
        _supervisor.start()


@hookimpl
@guarded
def before_stopping(component: Any) -> None:
    """A job ends."""
    _stopping.set()


def _supervise(job: Any) -> None:
    """Keep one dispatcher running while this scheduler does; wait longer each time it dies at once."""
    if not _is_scheduler(job):
        return
    wait = 1.0
    while not _stopping.is_set():
        started = time.monotonic()
        try:
            ended = f"ended with code {_run_dispatcher()}"
        except OSError as error:
            ended = f"cannot be started: {error}"
        if _stopping.is_set():
            return
        wait = 1.0 if time.monotonic() - started > 60 else min(60.0, wait * 2)
        log.error("The embedded dispatcher %s; started again in %g s", ended, wait)
        _stopping.wait(wait)


def _run_dispatcher() -> int:
    """Run a dispatcher until it ends or is to end; return its exit code.

    :raises OSError: if it cannot be started.
    """
    child = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "airflow", "ml-events", "dispatcher", "--parent", str(os.getpid())],
        stdin=subprocess.DEVNULL,
        env={**os.environ, "_AIRFLOW_PROCESS_CONTEXT": "server"},
    )
    while child.poll() is None and not _stopping.is_set():
        _stopping.wait(0.5)
    if _stopping.is_set():
        child.terminate()
    return child.wait()


def _is_scheduler(job: Any) -> bool:
    """Whether ``job`` is the scheduler's. Airflow sets ``job_type`` only after it told the listeners."""
    for _ in range(6_000):
        # Not the attribute: reading it from this thread could make SQLAlchemy refresh the object.
        kind = job.__dict__.get("job_type")
        if kind is not None:
            return str(kind) == "SchedulerJob"
        if _stopping.wait(0.01):
            return False
    log.error("It stays unknown which job this is; no dispatcher is started with it")
    return False
