"""The web app when something is away: the database, or whoever asked in the middle of a request."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tests.integration.borders import PATH
from tests.integration.callers import service, user
from tests.integration.failing_statements import before_each

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI
    from sqlalchemy import Engine

    Error = Callable[[str], Exception]

EVENT = {"specversion": "1.0", "id": "1", "source": "/tests", "type": "x.y"}


def away(statement: str) -> Exception:
    return OperationalError(statement, {}, RuntimeError("connection to server at 10.9.8.7 failed"))


def exhausted(_: str) -> Exception:
    return PoolTimeout("QueuePool limit of size 5 overflow 10 reached")


@pytest.mark.parametrize("error", [away, exhausted])
def test_a_database_that_is_away_is_503_and_one_line_a_minute(
    app: FastAPI, airflow_db: Engine, error: Error, caplog: pytest.LogCaptureFixture
) -> None:
    from fastapi.testclient import TestClient

    def fail(_: Any, statement: str) -> None:
        raise error(statement)

    # As the API server would, the client raises what the app does not handle.
    with TestClient(app, raise_server_exceptions=True) as client, before_each(airflow_db, fail):
        answers = [
            client.post(f"{PATH}/events", json=EVENT, headers=service()),
            client.post(f"{PATH}/events", json=EVENT, headers=service()),
            client.get(f"{PATH}/alerts", headers=user("ADMIN")),
        ]
    for answer in answers:
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert answer.json() == {"detail": "the database is busy or away; send the same again"}
    told = [one for one in caplog.records if one.name.startswith("ml_event_provider") and one.levelno >= logging.INFO]
    assert len(told) == 1
    assert told[0].exc_info is None
    assert "the database is busy or away" in told[0].getMessage()


def test_a_fault_of_a_statement_is_500_and_has_its_traceback(app: FastAPI, airflow_db: Engine) -> None:
    from fastapi.testclient import TestClient
    from sqlalchemy.exc import ProgrammingError

    def fail(_: Any, statement: str) -> None:
        raise ProgrammingError(statement, {}, RuntimeError("syntax error"))

    with TestClient(app, raise_server_exceptions=False) as client, before_each(airflow_db, fail):
        answer = client.post(f"{PATH}/events", json=EVENT, headers=service())
    assert (answer.status_code, answer.json()) == (500, {"detail": "internal error; see the API server's log"})
    with (
        TestClient(app, raise_server_exceptions=True) as client,
        before_each(airflow_db, fail),
        pytest.raises(ProgrammingError),
    ):
        client.post(f"{PATH}/events", json=EVENT, headers=service())


@pytest.mark.usefixtures("airflow_db")
@pytest.mark.parametrize("path", ["events", "notifications", "rules/evaluate", "silences"])
def test_a_client_that_gives_up_in_the_middle_of_a_body_is_no_fault_of_the_servers(app: FastAPI, path: str) -> None:
    said = [
        {"type": "http.request", "body": b'{"specversion": "1.0",', "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return said.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = {"content-type": "application/json", "content-length": "1000", "host": "airflow", **service()}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": f"{PATH}/{path}",
        "raw_path": f"{PATH}/{path}".encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("airflow", 80),
    }
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 400
