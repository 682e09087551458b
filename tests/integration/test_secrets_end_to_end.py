"""No secret of a connection stands in a log, in the database, or in what commands and routes answer."""

from __future__ import annotations

import json
import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Engine, select, update

from ml_event_provider.dispatch.matching import Rotation
from ml_event_provider.dispatch.sending import Sending
from ml_event_provider.dispatch.settings import Settings
from ml_event_provider.store import definitions, events, schema
from ml_event_provider.store.engine import database_now, transaction
from tests.integration.callers import user
from tests.integration.recorded import event
from tests.peers.receiver import Behaviour, Receiver
from tests.peers.secret_connections import SECRETS, connections, spellings
from tests.peers.smtp import MailServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi.testclient import TestClient

    from tests.integration.conftest import Command

#: Each kind, and one whose body template is broken.
NAMES = [*SECRETS, "template"]
FORMS = {name: sorted({form for secret in held for form in spellings(secret)}) for name, held in SECRETS.items()}
FORMS["template"] = FORMS["http"]


def unauthorized(everything: str) -> Behaviour:
    return Behaviour(status=401, body=everything)


def unavailable(everything: str) -> Behaviour:
    return Behaviour(status=503, body=json.dumps({"errcode": 310000, "errmsg": everything}))


def elsewhere(everything: str) -> Behaviour:
    return Behaviour(status=302, headers={"Location": f"http://127.0.0.1/{everything[:500]}"})


def garbage(everything: str) -> Behaviour:
    return Behaviour(raw=f"535 {everything}\r\n\r\n".encode())


def well(everything: str) -> Behaviour:
    return Behaviour(status=200, body=json.dumps({"ok": False, "error": everything}))


#: One with a key in it, and an error.
TEMPLATE = f'{{"routing_key": "{SECRETS["http"][0]}", "x": {{{{ y.z }}'
FIELDS = ("conn_type", "host", "schema", "login", "password", "port")
COMMANDS = ("health", "events list", "deliveries list", "alerts list", "rules list", "targets list", "quarantine list")
ROUTES = ("health", "deliveries", "alerts", "events", "rules", "targets", "notifications")


@pytest.fixture(params=[unauthorized, unavailable, elsewhere, garbage, well])
def echoes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Remotes that repeat all secrets that they know, each behind a connection of Airflow's."""
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__ALLOWED_HOSTS", "127.0.0.1")
    with ExitStack() as stack:
        for name in NAMES:
            everything = " ".join(FORMS[name])
            if name == "email":
                port = stack.enter_context(MailServer(refuse={"ann@x.example": f"550 {everything}"})).port
            else:
                echo = stack.enter_context(Receiver())
                echo.next(*[request.param(everything)] * 100)
                port = echo.port
            kind, extra = ("http", {"body_template": TEMPLATE}) if name == "template" else (name, {})
            _, held = connections(port)[kind]
            if name == "email":
                held.login = None
                held.extra["from_email"] = "ml@x.example"
            stored = {field: getattr(held, field) for field in FIELDS} | {"extra": held.extra | extra}
            monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id(name).upper()}", json.dumps(stored))
        yield


def conn_id(name: str) -> str:
    return f"to_{name.replace(' ', '_')}"


def send_all() -> None:
    """Send what waits, whenever it was due."""
    with transaction() as connection:
        connection.execute(update(schema.lane).values(breaker="closed", failures=0))
        connection.execute(
            update(schema.delivery)
            .where(schema.delivery.c.state.in_(("pending", "failed")))
            .values(next_attempt_at=database_now(connection))
        )
    Sending(Settings.from_config(), dispatcher_id="me").drain_once()


def told(text: str) -> list[str]:
    """Secrets, in any spelling, whole or their beginnings."""
    return [form for forms in FORMS.values() for form in forms if form[:12] in text]


def test_no_secret_is_told_anywhere(
    airflow_db: Engine,
    echoes: None,
    ml_events: Command,
    client: TestClient,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    with transaction() as connection:
        for name in NAMES:
            rule = {"name": conn_id(name), "workspace": "default", "on": ["tests.*"], "targets": [conn_id(name)]}
            definitions.put(connection, rule, managed_by="file")
    events.record_now([event("e-1")])
    Rotation().turn(seconds=60)
    for _ in range(3):
        send_all()
    assert told("".join(capsys.readouterr())) == []

    with transaction() as connection:
        attempts = connection.execute(select(schema.attempt.c.outcome, schema.attempt.c.reason)).all()
        stored = {
            table.name: [repr(row) for row in connection.execute(select(table))]
            for table in schema.metadata.tables.values()
        }
        ids = list(connection.execute(select(schema.delivery.c.id)).scalars())
    assert len(attempts) >= len(NAMES)
    assert len(ids) == len(NAMES)
    assert {table: told(" ".join(rows)) for table, rows in stored.items() if told(" ".join(rows))} == {}
    for command in (*COMMANDS, *(f"deliveries show {one}" for one in ids)):
        said = ml_events(*command.split())
        assert told(said.out + said.err) == [], command
    for route in (*ROUTES, *(f"deliveries/{one}" for one in ids)):
        found = client.get(f"/ml-events/v1/{route}", headers=user("Admin"))
        assert told(found.text) == [], route
    # The mail server of the tests writes down what it is sent.
    logged = [record for record in caplog.records if record.name != "mail.log"]
    assert {record.name: told(record.getMessage()) for record in logged if told(record.getMessage())} == {}
    assert told("".join(record.exc_text or "" for record in logged)) == []
