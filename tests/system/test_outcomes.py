"""What happens in a running Airflow becomes events and deliveries: each exactly once."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.system.expected_documents import expected, normal

pytestmark = pytest.mark.system

EXPECTED_STATES = {
    "run": ["running", "failed"],
    "succeeds": ["running", "success"],
    "fails": ["running", "failed"],
    "never_reached": ["upstream_failed"],
    "is_retried": ["running", "up_for_retry", "running", "success"],
    "is_killed": ["running", "failed"],
    "is_skipped": ["running", "skipped"],
}
EXPECTED_DELIVERIES = Counter(
    {
        ("task failed", "fails"): 1,
        ("task failed", "is_killed"): 1,
        ("task will be retried", "is_retried"): 1,
        ("run ended", None): 1,
    }
)


def check_outcomes(lab) -> None:
    run_id = lab.airflow.trigger("outcomes")
    assert lab.airflow.wait_for_run("outcomes", run_id) == "failed"
    lab.airflow.wait_for(
        lambda: sum(map(len, lab.states_of(run_id).values())) >= sum(map(len, EXPECTED_STATES.values())),
        f"all events of {run_id}, there are {lab.states_of(run_id)}",
        seconds=60,
    )
    assert lab.states_of(run_id) == EXPECTED_STATES

    done = lab.wait_for_deliveries(run_id, 4)
    assert Counter((one["rule"], one["event"]["data"].get("task_id")) for one in done) == EXPECTED_DELIVERIES
    received = Counter(
        request.json()["data"]["event"]["data"].get("task_id", "run")
        for request in lab.inbox.requests
        if request.json()["data"]["event"]["data"].get("run_id") == run_id
    )
    assert received == {"fails": 1, "is_killed": 1, "is_retried": 1, "run": 1}
    assert all(request.verified for request in lab.inbox.requests)

    events = {(event["data"].get("task_id"), event["type"].rsplit(".", 1)[1]): event for event in lab.events_of(run_id)}
    for task_id, name in (("fails", "fails.failed"), ("is_killed", "is_killed.failed"), (None, "run.failed")):
        told = normal(events[task_id, "failed"], run_id=run_id, url=lab.airflow.url)
        assert told == expected(name)
    assert "cases.py" in events["fails", "failed"]["data"]["exception"]["traceback"]
    assert events["never_reached", "upstream_failed"]["origin"] == "reconciler"
    delivered = {one["id"]: one["event"] for one in done}
    for request in lab.inbox.requests:
        if request.headers["webhook-id"] in delivered:
            assert request.json()["data"]["event"] == delivered[request.headers["webhook-id"]]


def test_every_outcome_is_one_event_and_each_rule_sends_one_notification(sqlite_lab):
    check_outcomes(sqlite_lab)


@pytest.mark.postgres
def test_the_same_on_postgresql_with_the_api_server_under_a_sub_path(postgres_lab):
    check_outcomes(postgres_lab)


def test_mapped_tasks_are_events_of_their_own(sqlite_lab):
    run_id = sqlite_lab.airflow.trigger("mapped")
    assert sqlite_lab.airflow.wait_for_run("mapped", run_id) == "failed"
    sqlite_lab.wait_for_deliveries(run_id, 2)
    assert sqlite_lab.states_of(run_id) == {
        "run": ["running", "failed"],
        "square[0]": ["running", "success"],
        "square[1]": ["running", "failed"],
        "square[2]": ["running", "success"],
    }
    assert [
        one["event"]["data"]["map_index"] for one in sqlite_lab.deliveries_of(run_id) if one["rule"] == "task failed"
    ] == [1]


def test_a_cleared_run_is_told_of_again(sqlite_lab):
    run_id = sqlite_lab.airflow.trigger("flips")
    assert sqlite_lab.airflow.wait_for_run("flips", run_id) == "failed"
    sqlite_lab.airflow.api("POST", f"/dags/flips/dagRuns/{run_id}/clear", {"dry_run": False})
    assert sqlite_lab.airflow.wait_for_run("flips", run_id) == "success"
    sqlite_lab.wait_for_deliveries(run_id, 3)
    assert sqlite_lab.states_of(run_id) == {
        "run": ["running", "failed", "running", "success"],
        "fails_once": ["running", "failed", "running", "success"],
    }
    tries = [event["data"]["try_number"] for event in sqlite_lab.events_of(run_id) if "task_id" in event["data"]]
    assert sorted(tries) == [1, 1, 2, 2]


def test_states_set_by_hand_are_events_too(sqlite_lab):
    airflow = sqlite_lab.airflow
    run_id = airflow.trigger("waits")
    airflow.wait_for(lambda: sqlite_lab.states_of(run_id).get("sleeps") == ["running"], "the task to run", seconds=60)
    task = f"/dags/waits/dagRuns/{run_id}/taskInstances/sleeps"
    airflow.api("PATCH", task, {"new_state": "failed"})
    airflow.wait_for_run("waits", run_id)
    airflow.api("PATCH", task, {"new_state": "success"})
    airflow.api("PATCH", task, {"new_state": "failed"})
    airflow.api("PATCH", f"/dags/waits/dagRuns/{run_id}", {"state": "success"})
    sqlite_lab.wait_for_deliveries(run_id, 4)

    states = sqlite_lab.states_of(run_id)
    assert states["sleeps"][0] == "running"
    assert Counter(states["sleeps"][1:]) == {"failed": 2, "success": 1}
    assert states["run"] == ["running", "failed", "success"]
    by_hand = [event for event in sqlite_lab.events_of(run_id) if event["origin"] == "api-server"]
    assert all(event["data"].get("manual") for event in by_hand if "task_id" in event["data"])


def test_asset_events_are_read_from_their_table(sqlite_lab):
    run_id = sqlite_lab.airflow.trigger("updates_asset")
    sqlite_lab.airflow.wait_for_run("updates_asset", run_id)

    def found():
        return [
            event
            for event in sqlite_lab.airflow.events("airflow.asset.updated")
            if event["data"].get("source_run_id") == run_id
        ]

    (event,) = sqlite_lab.airflow.wait_for(found, "the asset event", seconds=30)
    assert event["data"]["name"] == "features"
    assert event["data"]["uri"] == "file:///features.parquet"
    assert event["data"]["source_task_id"] == "write"


def test_a_dag_that_opted_out_is_not_captured(sqlite_lab):
    run_id = sqlite_lab.airflow.trigger("unseen")
    assert sqlite_lab.airflow.wait_for_run("unseen", run_id) == "failed"
    seen = sqlite_lab.airflow.trigger("mapped")
    sqlite_lab.airflow.wait_for_run("mapped", seen)
    sqlite_lab.wait_for_deliveries(seen, 2)
    assert sqlite_lab.states_of(run_id) == {}


def test_no_state_change_was_recorded_twice(sqlite_lab):
    counted = Counter(event["id"] for event in sqlite_lab.airflow.events())
    assert counted
    assert max(counted.values()) == 1
    assert not [one for one in sqlite_lab.airflow.deliveries() if one["state"] == "dead"]


def test_health_says_that_all_is_well(sqlite_lab):
    assert sqlite_lab.airflow.api("GET", "/ml-events/v1/health")["status"] == "healthy"
