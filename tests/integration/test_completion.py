"""What the API server knows of events that processes without a database tell of: their team, their run."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from ml_event_provider.dispatch.completion import complete
from ml_event_provider.events.belonging import by_dag
from ml_event_provider.events.model import Event
from ml_event_provider.sources.airflow import deadline_missed_event, event_source, task_instance_event
from ml_event_provider.store import deliveries, events
from ml_event_provider.store.engine import transaction
from tests.integration.airflow_rows import orm_session, start_run, write_teams
from tests.integration.borders import PATH
from tests.integration.callers import service, user

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi.testclient import TestClient
    from sqlalchemy import Engine

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
TRY = uuid4()


@pytest.fixture(autouse=True)
def _teams(airflow_db: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two teams; the DAG *trains* is of *blue*."""

    with orm_session() as session:
        write_teams(session)
    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")


def a_try(workspace: str) -> Event:
    """A task's end as its own process tells of it: on Airflow 3.2 it does not know its team."""
    names = {"dag_id": "trains", "run_id": "run-1", "task_id": "fit", "map_index": -1, "try_number": 1}
    row = SimpleNamespace(id=TRY, start_date=START, end_date=START, **names)
    return task_instance_event(row, state="failed", workspace=workspace, origin="worker")


def a_deadline(workspace: str) -> Event:
    context = {
        "dag_run": {"dag_id": "trains", "dag_run_id": "run-1"},
        "deadline": {"id": str(TRY), "deadline_time": "2026-11-22T12:00:00Z"},
    }
    return replace(deadline_missed_event(context, workspace=workspace, origin="callback"), time=START)


def an_operators(workspace: str) -> Event:
    return Event(
        id="of-the-operator",
        source=event_source(workspace),
        type="shop.refreshed",
        time=START,
        workspace=workspace,
        origin="worker",
        extensions=by_dag("trains"),
    )


def completed(event: Event) -> Event:
    with transaction() as connection:
        (found,) = complete(connection, [event])
    return found


@pytest.mark.parametrize("made", [a_try, a_deadline, an_operators])
def test_what_a_process_of_a_teams_dag_tells_is_the_teams(made: Callable[[str], Event]) -> None:
    assert completed(made("default")) == made("blue")
    assert completed(made("blue")) == made("blue")


def test_an_id_of_somebodys_own_stays() -> None:
    moved = completed(replace(a_try("default"), id="mine"))
    assert (moved.id, moved.workspace) == ("mine", "blue")
    moved = completed(replace(a_try("default"), data={"dag_id": "trains", "try_id": "none"}, id="mine"))
    assert (moved.id, moved.workspace) == ("mine", "blue")


def test_a_source_of_somebodys_own_stays() -> None:
    moved = completed(replace(an_operators("default"), source="/shop"))
    assert (moved.source, moved.workspace) == ("/shop", "blue")


@pytest.mark.parametrize(
    "changes",
    [
        {"origin": "ingest"},
        {"workspace": "shared", "source": event_source("shared")},
        {"extensions": by_dag("unknown")},
        {"extensions": {}},
    ],
)
def test_what_others_say_of_their_workspace_stands(changes: dict[str, Any]) -> None:
    event = replace(an_operators("default"), **changes)
    assert completed(event) == event


def test_without_teams_nothing_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "False")
    assert completed(a_try("default")) == a_try("default")


def test_a_task_that_does_not_know_its_team_is_not_told_of_to_everybody(client: TestClient) -> None:
    answer = client.post(f"{PATH}/events", json=a_deadline("default").to_dict(), headers=service())
    assert answer.json() == {"ids": [a_deadline("default").id]}
    with transaction() as connection:
        (found,) = events.latest(connection)
    assert (found.event.id, found.event.workspace) == (a_deadline("blue").id, "blue")


def test_a_user_of_another_team_moves_nothing_there(client: TestClient) -> None:
    answer = client.post(f"{PATH}/events", json=a_try("default").to_dict(), headers=user("OP", "red"))
    assert answer.status_code == 403
    with transaction() as connection:
        assert events.latest(connection) == []


@pytest.mark.parametrize("run_id", ["run-1", "there-is-none"])
@pytest.mark.parametrize("extensions", [{}, by_dag("mine")])
def test_who_may_not_read_a_dag_has_nobody_told_what_the_tables_say_of_its_runs(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, run_id: str, extensions: dict[str, str]
) -> None:
    from airflow.api_fastapi.app import get_auth_manager

    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "False")
    with orm_session() as session:
        start_run(session, "trains", "run-1")
    monkeypatch.setattr(
        get_auth_manager(), "is_authorized_dag", lambda **about: about["details"].id != "trains", raising=True
    )
    data = {"dag_id": "trains", "run_id": run_id}
    told = (
        Event(id="x", source="/x", type="airflow.dag_run.running", time=START, origin="callback", data=data).to_dict()
        | extensions
    )
    body = {"event": told, "targets": [{"conn_id": "mine"}]}
    answer = client.post(f"{PATH}/notifications", json=body, headers=user("OP"))
    assert answer.status_code == 403
    assert answer.json()["detail"].endswith("tell of runs of the DAG 'trains': it takes the right to read it")
    with transaction() as connection:
        assert deliveries.latest(connection) == []
    assert client.post(f"{PATH}/notifications", json=body, headers=service()).status_code == 202
