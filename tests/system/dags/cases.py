"""One DAG for each way in which a task or a run can end."""

from __future__ import annotations

import os
import signal
import time
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
        time.sleep(1)
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
def many():
    """Twenty mapped tasks that all fail."""

    @task
    def fails(number):
        raise RuntimeError(f"{number} is bad")

    fails.expand(number=list(range(20)))


@dag(schedule=None)
def comes_and_goes():
    """Fails if it is told to."""

    @task
    def obeys(dag_run=None):
        if dag_run.conf.get("fail"):
            raise RuntimeError("told to")

    obeys()


@dag(schedule=None)
def deploys():
    """Deploys the version that it is told."""

    @task
    def deploy(dag_run=None):
        assert dag_run.conf["version"] == 7
        assert dag_run.conf["ml_events"]["hops"] == 1

    deploy()


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


@dag(schedule=None)
def outlives():
    """A task that ends while the API server is away."""

    @task
    def outlives():
        from pathlib import Path

        time.sleep(6)
        (Path(os.environ["AIRFLOW_HOME"]) / "outlived").touch()

    outlives()


@dag(schedule=None)
def publishes():
    """A task that publishes by itself while the API server is away."""

    @task
    def publishes(run_id=None):
        from datetime import UTC, datetime
        from pathlib import Path

        from ml_event_provider.events import Event
        from ml_event_provider.hooks.ml_events import MlEventHook

        time.sleep(6)
        event = Event(
            id=f"published-{run_id}",
            source="/cases",
            type="fault.published",
            time=datetime.now(UTC),
            data={"run": run_id},
        )
        assert MlEventHook().hand_over([event]) is False
        (Path(os.environ["AIRFLOW_HOME"]) / "published").touch()

    publishes()


outcomes()
mapped()
many()
comes_and_goes()
deploys()
outlives()
publishes()
updates_asset()
waits()
flips()
unseen()
