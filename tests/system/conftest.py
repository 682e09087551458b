"""A whole Airflow for the system tests: on SQLite for all of them, once more on PostgreSQL under a sub-path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.airflow import Airflow, running
from lab.postgres import postgres
from tests.peers.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
DAGS = Path(__file__).parent / "dags"

RULES = """
rules:
  - name: task failed
    on: ["airflow.task_instance.failed"]
    severity: error
    targets: [inbox]
  - name: task will be retried
    on: ["airflow.task_instance.up_for_retry"]
    severity: warning
    targets: [inbox]
  - name: run ended
    on: ["airflow.dag_run.success", "airflow.dag_run.failed"]
    targets: [inbox]
  - name: one message for many
    on: task failed
    scope: {dags: many}
    group: {by: [data.dag_id, data.run_id], wait: 20s}
    inhibit: {on: pipeline job failed, equal: [data.task_id]}
    targets: [inbox]
  - name: broken and mended
    on: pipeline job failed
    scope: {dags: comes_and_goes}
    condition: {consecutive: {count: 2}}
    resolve: true
    targets: [inbox]
  - name: nobody came
    on: tests.heartbeat
    by: data.of
    condition: {absence: {within: 2s, wait: 1s}}
    targets: [inbox]
  - name: approved is deployed
    on: tests.model.approved
    actions: {trigger_dag: {dag_id: deploys, conf: {version: "{{ data.version }}"}}}
"""


class Lab:
    """An Airflow with its inbox."""

    def __init__(self, airflow: Airflow, inbox: Receiver) -> None:
        self.airflow = airflow
        self.inbox = inbox

    def events_of(self, run_id: str) -> list[dict]:
        """The events of one dag run."""
        return [event for event in self.airflow.events() if event["data"].get("run_id") == run_id]

    def states_of(self, run_id: str) -> dict[str, list[str]]:
        """``task_id[map_index]`` (or ``run``) → the states that were recorded, in the order of their times."""
        found: dict[str, list[str]] = {}
        for event in sorted(self.events_of(run_id), key=lambda event: event["time"]):
            data = event["data"]
            name = data.get("task_id", "run")
            if data.get("map_index", -1) >= 0:
                name += f"[{data['map_index']}]"
            found.setdefault(name, []).append(event["type"].rsplit(".", 1)[1])
        return found

    def deliveries_of(self, run_id: str) -> list[dict]:
        """The deliveries about one dag run."""
        return [one for one in self.airflow.deliveries() if one["event"]["data"].get("run_id") == run_id]

    def wait_for_deliveries(self, run_id: str, count: int) -> list[dict]:
        """Until so many deliveries about a run are delivered."""
        return self.airflow.wait_for(
            lambda: (
                len(done := [one for one in self.deliveries_of(run_id) if one["state"] == "delivered"]) >= count
                and done
            ),
            f"{count} deliveries about {run_id}",
            seconds=60,
        )


def make_lab(home: Path, inbox: Receiver, *, database: str = "", path: str = "") -> Airflow:
    """An Airflow that sends to ``inbox``, with the rules applied."""
    airflow = Airflow(
        home,
        dags=DAGS,
        database=database,
        path=path,
        options={
            "AIRFLOW_CONN_INBOX": json.dumps(
                {"conn_type": "mleventswebhook", "host": inbox.url("/webhook"), "password": SECRET}
            ),
            "AIRFLOW__ML_EVENTS__RECONCILE_SECONDS": "2",
            "AIRFLOW__ML_EVENTS__RECONCILE_GRACE_SECONDS": "5",
        },
    )
    airflow.cli("db", "migrate")
    (home / "rules.yaml").write_text(RULES)
    airflow.cli("ml-events", "rules", "apply", "-f", str(home / "rules.yaml"))
    return airflow


@pytest.fixture(scope="session")
def sqlite_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Receiver() as inbox, running(make_lab(tmp_path_factory.mktemp("sqlite"), inbox)) as airflow:
        yield Lab(airflow, inbox)


@pytest.fixture(scope="session")
def postgres_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with (
        postgres(tmp_path_factory.mktemp("pg")) as url,
        Receiver() as inbox,
        running(make_lab(tmp_path_factory.mktemp("postgres"), inbox, database=url, path="/team/airflow")) as airflow,
    ):
        yield Lab(airflow, inbox)
