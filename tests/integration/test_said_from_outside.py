"""What callers say in bodies is not trusted: workspaces, ids of others, options, and words that are special inside."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from ml_event_provider.api import authority
from ml_event_provider.events.model import Event
from ml_event_provider.sources.airflow import event_source
from ml_event_provider.store import definitions, deliveries, events
from ml_event_provider.store.engine import transaction
from tests.integration.airflow_rows import orm_session, start_run, write_teams
from tests.integration.borders import PATH, ROUTES, Owner
from tests.integration.callers import service, user

if TYPE_CHECKING:
    from fastapi.testclient import TestClient
    from httpx import Response
    from sqlalchemy import Engine

EVENT = Event(
    id="e-1", source="/shop", type="shop.failed", time=datetime(2026, 11, 22, 12, tzinfo=UTC), workspace="red"
)


@pytest.fixture(autouse=True)
def _teams(airflow_db: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two teams: the DAG *trains* is of *blue*, and so is the connection *blues*."""
    from airflow.models.connection import Connection

    with orm_session() as session:
        write_teams(session)
        session.add(Connection(conn_id="blues", conn_type="http", host="https://blue.example.com", team_name="blue"))
        session.add(Connection(conn_id="everybodys", conn_type="http", host="https://example.com"))
    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")


def notify(client: TestClient, headers: dict[str, str], event: Event = EVENT, **target: Any) -> Response:
    body = {"event": event.to_dict(), "targets": [{"conn_id": "everybodys", **target}]}
    return client.post(f"{PATH}/notifications", json=body, headers=headers)


def made() -> list[Any]:
    with transaction() as connection:
        return deliveries.latest(connection)


def recorded() -> list[Event]:
    with transaction() as connection:
        return [one.event for one in events.latest(connection)]


RED, BLUE, ADMIN = ("OP", "red"), ("OP", "blue"), ("ADMIN",)


def test_an_event_that_belongs_to_another_team_once_it_is_completed_is_refused(client: TestClient) -> None:
    with orm_session() as session:
        start_run(session, "trains", "run-1")
    told = replace(
        EVENT, type="airflow.dag_run.running", origin="callback", data={"dag_id": "trains", "run_id": "run-1"}
    )
    for path, body in (
        ("events", told.to_dict()),
        ("notifications", {"event": told.to_dict(), "targets": [{"conn_id": "everybodys"}]}),
    ):
        answer = client.post(f"{PATH}/{path}", json=body, headers=user(*RED))
        assert answer.status_code == 403, path
        assert "'blue'" in answer.json()["detail"]
    assert recorded() == []


def test_a_batch_with_one_event_of_another_team_is_refused_as_a_whole(client: TestClient) -> None:
    batch = [EVENT.to_dict(), replace(EVENT, id="e-2", workspace="blue").to_dict()]
    answer = client.post(f"{PATH}/events", json=batch, headers=user(*RED))
    assert answer.status_code == 403
    assert recorded() == []


def test_the_ids_of_another_workspaces_own_events_cannot_be_used_up(client: TestClient) -> None:
    taken = replace(EVENT, source=event_source("blue"))
    answer = client.post(f"{PATH}/events", json=taken.to_dict(), headers=user(*RED))
    assert answer.status_code == 403
    own = replace(EVENT, source=event_source("red"))
    assert client.post(f"{PATH}/events", json=own.to_dict(), headers=user(*RED)).status_code == 202
    assert [one.source for one in recorded()] == [event_source("red")]


def test_another_teams_event_is_not_told_to_who_knows_its_id(client: TestClient) -> None:
    with transaction() as connection:
        events.record(connection, [replace(EVENT, workspace="blue", data={"secret": "plan"})])
    for headers in (user(*RED), service()):
        answer = notify(client, headers)
        assert answer.status_code == 403
        assert "blue" not in answer.text
        assert "plan" not in answer.text
    assert made() == []


def test_another_teams_connection_is_neither_used_nor_named(client: TestClient) -> None:
    rule = {"name": "r", "workspace": "open", "on": ["shop.*"], "targets": ["blues", "everybodys"]}
    with transaction() as connection:
        definitions.put(connection, rule, managed_by="file")
    event = replace(EVENT, workspace="open")
    assert notify(client, user(*RED), event, conn_id="blues").status_code == 403
    assert made() == []

    def named(headers: dict[str, str]) -> list[str]:
        answer = client.post(f"{PATH}/rules/evaluate", json={"event": event.to_dict()}, headers=headers)
        (matched,) = answer.json()["matched"]
        return matched["targets"]

    assert named(user(*RED)) == ["everybodys"]
    assert named(user(*BLUE)) == ["blues", "everybodys"]
    assert named(user(*ADMIN)) == ["blues", "everybodys"]


SHAPING = {
    "endpoint": "admin/users?role=root",
    "method": "DELETE",
    "headers": {"X-Role": "root"},
    "body_template": '{"role": "root"}',
    "anything": 1,
}


@pytest.mark.parametrize("option", SHAPING)
def test_what_shapes_a_request_is_said_by_who_may_edit_the_connection(client: TestClient, option: str) -> None:
    options = {option: SHAPING[option]}
    answer = notify(client, service(), options=options)
    assert answer.status_code == 403
    assert f"give {option} for the connection 'everybodys'" in answer.json()["detail"]
    assert made() == []
    assert notify(client, user(*RED), options=options).status_code == 202
    assert [one.options for one in made()] == [options]


@pytest.mark.parametrize("option", ["to", "channel", "at_mobiles", "at_user_ids", "at_all", "message_type"])
def test_who_gets_a_message_may_be_said_by_who_may_use_the_connection(client: TestClient, option: str) -> None:
    assert notify(client, service(), options={option: "x"}).status_code == 202
    assert [one.options for one in made()] == [{option: "x"}]


def test_what_is_noted_between_two_tries_is_said_by_nobody(client: TestClient) -> None:
    for headers in (service(), user(*RED), user(*ADMIN)):
        answer = notify(client, headers, options={"to": ["ada@example.com"], "skip_recipients": ["ada@example.com"]})
        assert answer.status_code == 400
        assert "skip_recipients" in answer.json()["detail"]
    assert made() == []


@pytest.mark.parametrize("conn_id", ["airflow", "Airflow", "ml_events", "action"])
def test_no_name_of_a_connection_is_an_action(client: TestClient, conn_id: str) -> None:
    options = {"action": {"pause_dag": {"dag_id": "trains"}}, "hops": 0}
    assert notify(client, service(), conn_id=conn_id, options=options).status_code == 403
    assert notify(client, user(*ADMIN), conn_id=conn_id, options=options).status_code == 202
    assert [(one.conn_id, one.action) for one in made()] == [(conn_id, None)]


@pytest.mark.parametrize(
    "more",
    [
        {"action": {"pause_dag": {"dag_id": "trains"}}},
        {"hops": 1},
        {"fallback": {"conn_id": "x"}},
        {"owner": "root"},
        {"workspace": "blue"},
        {"members": 2},
    ],
)
def test_a_target_has_a_name_and_options_and_nothing_else(client: TestClient, more: dict[str, Any]) -> None:
    answer = notify(client, user(*ADMIN), **more)
    assert answer.status_code == 400
    assert f"targets.0.{next(iter(more))}" in answer.json()["detail"]


def test_an_auth_manager_that_cannot_answer_says_no(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.api_fastapi.auth.managers.base_auth_manager import BaseAuthManager
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    assert client.get(f"{PATH}/alerts", headers=user(*RED)).status_code == 200
    monkeypatch.setattr(SimpleAuthManager, "is_authorized_team", BaseAuthManager.is_authorized_team)
    answer = client.post(f"{PATH}/events", json=EVENT.to_dict(), headers=user(*ADMIN))
    assert answer.status_code == 403, "nobody is of a team that nobody knows"
    monkeypatch.setattr(SimpleAuthManager, "is_authorized_view", lambda self, *, access: True)
    assert client.get(f"{PATH}/alerts", headers=user(*ADMIN)).status_code == 403


def test_nobody_waits_for_a_second_connection_while_holding_one(
    client: TestClient, airflow_db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[tuple[str, int]] = []
    ask = authority._asked

    def asked(question: str, **about: Any) -> Any:
        held.append((question, airflow_db.pool.checkedout()))  # type: ignore[attr-defined]
        return ask(question, **about)

    monkeypatch.setattr(authority, "_asked", asked)
    owner = Owner("open")
    owner.make()
    for route, (_, request) in ROUTES.items():
        if route[0] == "DELETE" or "alert_id" in route[1]:
            continue
        assert request(client, owner, user(*ADMIN)).status_code < 400 or "health" in route[1]
    assert {question for question, _ in held} >= {
        "is_authorized_view",
        "get_authorized_teams",
        "get_authorized_dag_ids",
    }
    assert {connections for _, connections in held} == {0}
