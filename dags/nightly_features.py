"""Computes features at night, and it is a bad night: one source fails, one is retried, one task is killed.

Connection: ``ml_webhook`` (type ``mleventswebhook``).
"""

from __future__ import annotations

import os
import signal
from datetime import timedelta

from airflow.sdk import dag, task

from ml_event_provider import callbacks
from ml_event_provider.notifications.ml_events import MlEventNotifier


@dag(
    "example_nightly_features",
    doc_md=__doc__,
    schedule=None,
    tags=["ml", "features"],
    default_args={
        "owner": "ada",
        # Sends to a target at once, without a rule. The listener saw the same: it is one event.
        "on_failure_callback": callbacks.on_failure_callback(targets=["ml_webhook"]),
    },
    # The same as a notifier, for the whole run; the rules decide who hears of it.
    on_failure_callback=MlEventNotifier(),
)
def nightly_features():
    @task
    def load_orders():
        """Fails: somebody renamed a column."""
        raise KeyError("orders.csv has no column 'amount'; it has: id, customer, amount_eur")

    @task(retries=2, retry_delay=timedelta(seconds=1))
    def load_clicks(ti=None):
        """Fails at first, like a source that is away for a moment."""
        if ti.try_number == 1:
            raise ConnectionError("clickstream.example.com:9092 refused the connection")

    @task
    def aggregate_sessions():
        """Is killed, as the kernel does when memory runs out: no code of the task runs after that."""
        os.kill(os.getpid(), signal.SIGKILL)

    @task
    def write_features():
        """Is never reached."""

    [load_orders(), load_clicks(), aggregate_sessions()] >> write_features()


nightly_features()
