"""Components of a running Airflow are killed: no state change is lost, none is told of twice."""

from __future__ import annotations

import os
import signal
from collections import Counter

import httpx
import pytest

from lab.airflow import session_of

pytestmark = [pytest.mark.fault, pytest.mark.system]


def test_events_of_tasks_that_end_while_the_api_server_is_down_arrive_later(parts):
    """The task outlives the API server; its state change and its event wait for the next one."""
    airflow = parts.airflow
    run_id = airflow.trigger("outlives")
    airflow.wait_for(lambda: parts.states_of(run_id).get("outlives") == ["running"], "the task to run", seconds=180)
    airflow.kill(parts.api_server)
    spool = airflow.home / "ml_events" / "spool"
    seen = airflow.home / "outlived"
    airflow.wait_for(seen.exists, "the task to end while nobody listens", seconds=60)
    waiting = list(spool.glob("*.events.json"))
    parts.api_server = airflow.start("api-server")
    airflow.wait_until_up()
    assert airflow.wait_for_run("outlives", run_id, seconds=300) in {"success", "failed"}
    final = parts.airflow.api("GET", f"/dags/outlives/dagRuns/{run_id}/taskInstances/outlives")["state"]
    parts.airflow.wait_for(
        lambda: final in parts.states_of(run_id).get("outlives", ()), f"the event of {final}", seconds=60
    )
    told = Counter(parts.states_of(run_id)["outlives"])
    # What its process said, and Airflow never learnt, is not told.
    assert {state: count for state, count in told.items() if state != "running"} == {final: 1}
    print(f"task ended as {final}; {len(waiting)} file(s) had been spooled meanwhile")


def test_a_hand_over_that_finds_nobody_is_spooled_and_arrives_once(parts):
    airflow = parts.airflow
    run_id = airflow.trigger("publishes")
    airflow.wait_for(lambda: parts.states_of(run_id).get("publishes") == ["running"], "the task to run", seconds=180)
    airflow.kill(parts.api_server)
    try:
        spool = airflow.home / "ml_events" / "spool"
        airflow.wait_for(lambda: (airflow.home / "published").exists(), "the task to publish", seconds=60)
    finally:
        parts.api_server = airflow.start("api-server")
    airflow.wait_for(
        lambda: [event for event in airflow.events("fault.published") if event["data"]["run"] == run_id],
        "the spooled event",
        seconds=90,
    )
    airflow.wait_until_up()
    airflow.wait_for_run("publishes", run_id, seconds=300)
    assert len([event for event in airflow.events("fault.published") if event["data"]["run"] == run_id]) == 1
    assert not list(spool.glob("rejected/*"))


def test_a_scheduler_killed_between_flush_and_commit_leaves_no_phantom_and_loses_nothing(parts):
    airflow = parts.airflow
    trigger = airflow.home / "kill-the-scheduler"
    trigger.touch()
    run_id = airflow.trigger("updates_asset")
    airflow.wait_for(lambda: parts.scheduler.poll() is not None, "the scheduler to die", seconds=90)
    assert not trigger.exists()
    assert parts.states_of(run_id)["run"] == ["running"], "the event of a change that never committed"
    assert airflow.run_state("updates_asset", run_id) == "running"

    parts.scheduler = airflow.start("scheduler")
    assert airflow.wait_for_run("updates_asset", run_id, seconds=120) == "success"
    parts.wait_for_deliveries(run_id, 1)
    assert parts.states_of(run_id)["run"] == ["running", "success"]
    assert [one["type"] for one in parts.deliveries_of(run_id)] == ["airflow.dag_run.success"]


def test_the_embedded_dispatcher_ends_with_its_scheduler_and_comes_back_when_killed(parts):
    airflow = parts.airflow

    def alive() -> list[dict]:
        return airflow.api("GET", "/ml-events/v1/health")["dispatchers"]

    first = airflow.query("SELECT pid FROM ml_event_dispatcher ORDER BY heartbeat_at DESC")[0][0]
    os.kill(first, signal.SIGKILL)

    def another() -> bool:
        newest = airflow.query("SELECT pid FROM ml_event_dispatcher ORDER BY heartbeat_at DESC")[0][0]
        return newest != first

    airflow.wait_for(another, "the scheduler to start another dispatcher", seconds=60)
    second = airflow.query("SELECT pid FROM ml_event_dispatcher ORDER BY heartbeat_at DESC")[0][0]
    os.kill(parts.scheduler.pid, signal.SIGKILL)
    parts.scheduler.wait()

    def gone() -> bool:
        try:
            os.kill(second, 0)
        except ProcessLookupError:
            return True
        with open(f"/proc/{second}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"

    airflow.wait_for(gone, "the dispatcher to end with its scheduler", seconds=30)
    parts.scheduler = airflow.start("scheduler")
    airflow.wait_for(lambda: any(one["id"].split(":")[1] != str(second) for one in alive()), "a new dispatcher")


@pytest.mark.postgres
def test_a_scheduler_killed_on_postgresql_leaves_its_run_locked_until_its_session_is_ended(parts_on_postgresql):
    """Its LocalExecutor's workers live on and hold its connection; all else goes on."""
    parts = parts_on_postgresql
    airflow, killed = parts.airflow, parts.scheduler
    (airflow.home / "kill-the-scheduler").touch()
    run_id = airflow.trigger("updates_asset")
    airflow.wait_for(lambda: killed.poll() is not None, "the scheduler to die", seconds=180)
    assert session_of(killed.pid)

    parts.scheduler = airflow.start("scheduler")
    other = airflow.trigger("updates_asset")
    assert airflow.wait_for_run("updates_asset", other, seconds=300) == "success"

    def problem() -> str:
        found = httpx.get(f"{airflow.url}/ml-events/v1/health", headers=airflow._credentials(), timeout=60).json()
        return next((one for one in found["problems"] if "pg_terminate_backend" in one), "")

    said = airflow.wait_for(problem, "health to name the session", seconds=120)
    assert "was killed while its children (a LocalExecutor's workers) keep its connection" in said
    parts.wait_for_deliveries(other, 1)
    assert airflow.run_state("updates_asset", run_id) == "running"
    assert parts.states_of(run_id)["run"] == ["running"]
    assert not parts.deliveries_of(run_id)

    assert airflow.query(said[said.index("SELECT pg_terminate_backend") :]) == [(True,)]
    assert airflow.wait_for_run("updates_asset", run_id, seconds=300) == "success"
    parts.wait_for_deliveries(run_id, 1)
    for one in (run_id, other):
        assert parts.states_of(one)["run"] == ["running", "success"]
        assert [sent["type"] for sent in parts.deliveries_of(one)] == ["airflow.dag_run.success"]
    assert not problem()
