"""Rules that remember and act, in a running Airflow."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

pytestmark = pytest.mark.system


def publish(lab, event_id: str, kind: str, **data) -> None:
    lab.airflow.publish(
        {
            "specversion": "1.0",
            "id": event_id,
            "source": "/tests",
            "type": kind,
            "time": datetime.now(UTC).isoformat(),
            "workspace": "default",
            "data": data,
        }
    )


def received(lab, rule: str, count: int) -> list[dict]:
    """What came to the inbox from a rule, once it is so many messages."""

    def found() -> list[dict]:
        messages = [request.json()["data"] for request in lab.inbox.requests]
        return [message for message in messages if message["rule"] == rule]

    lab.airflow.wait_for(lambda: len(found()) >= count, f"{count} message(s) of rule {rule}", seconds=60)
    return found()


def check_one_message_for_many(lab) -> None:
    run_id = lab.airflow.trigger("many")
    assert lab.airflow.wait_for_run("many", run_id) == "failed"
    messages = received(lab, "one message for many", 1)
    told = sum(message["alert"]["members"] for message in messages)
    # A slow machine may need longer for the twenty than the group waits.
    lab.airflow.wait_for(
        lambda: sum(one["alert"]["members"] for one in received(lab, "one message for many", 1)) == 20,
        f"all twenty to be told, {told} were",
        seconds=330,
    )
    messages = received(lab, "one message for many", 1)
    assert len(messages) <= 2
    assert len(messages[0]["alert"]["others"]) == min(messages[0]["alert"]["members"] - 1, 20)


def check_broken_and_mended(lab) -> None:
    for fail in (True, True, True, False):
        run_id = lab.airflow.trigger("comes_and_goes", conf={"fail": fail})
        assert lab.airflow.wait_for_run("comes_and_goes", run_id) == ("failed" if fail else "success")
    messages = received(lab, "broken and mended", 2)
    assert [message["alert"]["kind"] for message in messages] == ["fired", "resolved"]
    assert messages[0]["alert"]["facts"]["count"] == 2
    assert messages[0]["alert"]["alert"] == messages[1]["alert"]["alert"]


def check_approved_is_deployed(lab) -> None:
    lab.airflow.trigger("deploys", run_id="makes_it_known", conf={"version": 0})
    for _ in range(2):
        publish(lab, "approved-7", "tests.model.approved", version=7)

    def started() -> list[dict]:
        runs = lab.airflow.api("GET", "/dags/deploys/dagRuns")["dag_runs"]
        return [run for run in runs if run["dag_run_id"].startswith("ml_events__")]

    (run,) = lab.airflow.wait_for(started, "the deployment", seconds=60)
    assert lab.airflow.wait_for_run("deploys", run["dag_run_id"]) == "success"
    assert run["conf"]["version"] == 7
    assert run["conf"]["ml_events"]["rule"] == "approved is deployed"
    assert len(started()) == 1
    (done,) = [one for one in lab.airflow.deliveries() if one["rule"] == "approved is deployed"]
    # What it does is done in Airflow itself, by no connection.
    assert (done["conn_id"], done["state"]) == ("", "delivered")


def check_nobody_came(lab) -> None:
    publish(lab, "beat-1", "tests.heartbeat", of="scorer")
    (message,) = received(lab, "nobody came", 1)
    assert message["event"]["type"] == "ml.event.absent"
    assert message["event"]["data"]["key"] == ["scorer"]
    said = lab.airflow.cli("ml-events", "rules", "explain", "--event", "beat-1", "--rule", "nobody came").stdout
    assert "nobody came (version 1): no notification" in said
    assert "waiting" in said


CHECKS = [check_one_message_for_many, check_broken_and_mended, check_approved_is_deployed, check_nobody_came]


@pytest.mark.parametrize("check", CHECKS)
def test_on_sqlite(sqlite_lab, check):
    check(sqlite_lab)


@pytest.mark.postgres
@pytest.mark.parametrize("check", CHECKS)
def test_on_postgresql(postgres_lab, check):
    check(postgres_lab)
