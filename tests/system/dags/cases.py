"""One DAG for each way in which a task or a run can end."""

from __future__ import annotations

import os
import signal
from datetime import timedelta

from airflow.sdk import Asset, dag, task
from airflow.sdk.exceptions import AirflowSkipException

FEATURES = Asset("features", uri="file:///features.parquet")


@dag(schedule=None, tags=["ml", "cases"], default_args={"owner": "ada"})
def outcomes():
    """A task that fails, one that is retried, one that is killed, one skipped, one never reached."""

    @task
    def succeeds():
        return 1

    @task
    def fails():
        raise ValueError("no such column: 'größe' <b>")

    @task(retries=1, retry_delay=timedelta(seconds=1))
    def is_retried(ti=None):
        if ti.try_number == 1:
            raise ConnectionError("feature store is away")

    @task
    def is_killed():
        os.kill(os.getpid(), signal.SIGKILL)

    @task
    def is_skipped():
        raise AirflowSkipException("nothing new")

    @task
    def never_reached():
        pass

    fails() >> never_reached()
    succeeds() >> [is_retried(), is_killed(), is_skipped()]


@dag(schedule=None, tags=["ml"])
def mapped():
    """Three mapped tasks, the middle one fails."""

    @task
    def square(number):
        if number == 1:
            raise RuntimeError(f"{number} is bad")
        return number * number

    square.expand(number=[0, 1, 2])


@dag(schedule=None)
def updates_asset():
    """Emits an asset event."""

    @task(outlets=[FEATURES])
    def write():
        pass

    write()


@dag(schedule=None)
def waits():
    """Runs until somebody sets its state."""

    @task
    def sleeps():
        import time

        time.sleep(300)

    sleeps()


@dag(schedule=None)
def flips():
    """Fails the first time it runs and succeeds once its file exists."""

    @task
    def fails_once(ti=None):
        if ti.try_number == 1:
            raise RuntimeError("not yet")

    fails_once()


@dag(schedule=None, tags=["ml-events:off"])
def unseen():
    """Has opted out."""

    @task
    def fails():
        raise ValueError("nobody hears this")

    fails()


outcomes()
mapped()
updates_asset()
waits()
flips()
unseen()
