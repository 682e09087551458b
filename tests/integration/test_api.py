"""The plugin's web app with Airflow's own auth manager, on a real database."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest

from ml_event_provider.events.model import Event
from ml_event_provider.events.wire import write_batch, write_binary, write_structured
from ml_event_provider.store import definitions, deliveries, dispatchers, events
from ml_event_provider.store.engine import transaction, utc_now
from tests.conftest import JWT_SECRET
from tests.integration.borders import routes_of
from tests.integration.callers import service, user


def made(number: int = 1, **more) -> Event:
    return Event(
        id=f"event-{number}",
        source="/test",
        type="shop.order.failed",
        time=datetime(2026, 11, 22, 12, tzinfo=UTC),
        data={"größe": number},
        **more,
    )


def stored() -> list[Event]:
    with transaction() as connection:
        return [one.event for one in reversed(events.latest(connection))]


def post(client, event: Event, headers: dict[str, str]):
    content_type, body = write_structured(event)
    return client.post("/ml-events/v1/events", content=body, headers={"content-type": content_type, **headers})


def test_every_route_needs_a_user(app, client):
    walked = routes_of(app)
    assert walked
    for method, path in walked:
        answer = client.request(method, path)
        assert answer.status_code == 401, f"{method} {path} answered {answer.status_code}"
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "apache-airflow"},
        {"aud": "urn:airflow.apache.org:task"},
        {"sub": "somebody-else"},
        {"exp": datetime.now(UTC) - timedelta(hours=1)},
        {"key": "a-guessed-secret-that-is-long-enough-for-hs512-0123456789abcdef0123456789"},
    ],
    ids=["user audience", "task audience", "subject", "expired", "key"],
)
def test_a_token_that_is_not_quite_a_service_token_is_refused(client, claims):
    now = datetime.now(UTC)
    whole = {
        "sub": "ml-events-service",
        "aud": "ml-events",
        "iat": now,
        "nbf": now,
        "exp": now + timedelta(minutes=1),
        **claims,
    }
    token = jwt.encode(whole, whole.pop("key", JWT_SECRET), algorithm="HS512")
    answer = post(client, made(), {"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    assert stored() == []


@pytest.mark.parametrize(("role", "status"), [("VIEWER", 403), ("USER", 403), ("OP", 202), ("ADMIN", 202)])
def test_publishing_takes_the_right_to_create_asset_events(client, role, status):
    answer = post(client, made(), user(role))
    assert answer.status_code == status
    assert len(stored()) == (status == 202)
    if status == 403:
        assert "right to create asset events" in answer.json()["detail"]


def test_a_service_token_publishes_in_all_three_modes(client):
    headers, body = write_binary(made(1))
    assert client.post("/ml-events/v1/events", content=body, headers={**headers, **service()}).status_code == 202
    assert post(client, made(2), service()).json() == {"ids": ["event-2"]}
    content_type, body = write_batch([made(3), made(4)])
    answer = client.post("/ml-events/v1/events", content=body, headers={"content-type": content_type, **service()})
    assert (answer.status_code, answer.json()) == (202, {"ids": ["event-3", "event-4"]})
    assert stored() == [made(1), made(2), made(3), made(4)]


def test_the_same_event_again_changes_nothing(client):
    for _ in range(2):
        assert post(client, made(), service()).json() == {"ids": ["event-1"]}
    assert stored() == [made()]


def test_a_batch_is_all_or_nothing_and_the_message_says_which_event_is_bad(client):
    good, bad = made(1).to_dict(), made(2).to_dict()
    del bad["source"]
    answer = client.post(
        "/ml-events/v1/events",
        content=json.dumps([good, bad]),
        headers={"content-type": "application/cloudevents-batch+json", **service()},
    )
    assert answer.status_code == 400
    assert "event 2 of 2" in answer.json()["detail"]
    assert "source" in answer.json()["detail"]
    assert stored() == []


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{", "application/cloudevents+json"),
        (b"\xff\xfe", "application/cloudevents+json"),
        (b'{"specversion":"1.0"}', "application/cloudevents+json"),
        (b"[" * 10_000, "application/cloudevents-batch+json"),
        (b"", "application/json"),
        (b"", ""),
    ],
)
def test_a_bad_body_gets_400_with_words(client, body, content_type):
    answer = client.post("/ml-events/v1/events", content=body, headers={"content-type": content_type, **service()})
    assert answer.status_code == 400
    assert answer.json()["detail"]


@pytest.mark.parametrize("path", ["events", "notifications", "rules/evaluate", "silences"])
@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_body_that_does_not_say_that_it_is_json_gets_415(client, path, content_type, streamed):
    body = json.dumps({"event": made().to_dict(), "reason": "r", "everything": True}).encode()
    headers = {"content-type": content_type, **user("OP")}
    answer = client.post(f"/ml-events/v1/{path}", content=iter([body]) if streamed else body, headers=headers)
    assert answer.status_code == 415
    assert "application/json" in answer.json()["detail"]
    assert stored() == []


@pytest.mark.parametrize("streamed", [False, True])
def test_a_body_over_the_limit_gets_413(client, monkeypatch, streamed):
    from ml_event_provider import config

    monkeypatch.setenv("AIRFLOW__ML_EVENTS__MAX_BODY_BYTES", "1000")
    config.forget()
    body = iter([b"x" * 600, b"x" * 600]) if streamed else b"x" * 1200
    answer = client.post(
        "/ml-events/v1/events", content=body, headers={"content-type": "application/json", **service()}
    )
    assert answer.status_code == 413
    assert "1000 bytes" in answer.json()["detail"]


def test_a_large_event_is_cut_and_taken(client):
    event = made(1).with_data({"text": "ü" * 300_000, "short": "kept"})
    content_type, body = write_structured(event)
    answer = client.post("/ml-events/v1/events", content=body, headers={"content-type": content_type, **service()})
    assert answer.status_code == 202, answer.text
    (kept,) = stored()
    assert kept.data["short"] == "kept"
    assert "[cut " in kept.data["text"]


def test_evaluate_names_the_rules_that_match_and_records_nothing(client):
    with transaction() as connection:
        for name, on in (("orders", "shop.order.*"), ("others", "shop.refund.*")):
            definition = {
                "name": name,
                "workspace": "default",
                "on": [on],
                "targets": ["inbox"],
                "severity": "error",
            }
            definitions.put(connection, definition, managed_by="file")
    answer = client.post("/ml-events/v1/rules/evaluate", json={"event": made().to_dict()}, headers=service())
    assert answer.json() == {
        "matched": [{"workspace": "default", "name": "orders", "severity": "error", "targets": ["inbox"]}]
    }
    assert stored() == []


def test_notify_creates_one_delivery_a_target_however_often_it_is_asked(client):
    body = {
        "event": made().to_dict(),
        "targets": [{"conn_id": "slack"}, {"conn_id": "mail", "options": {"to": ["ada@example.com"]}}],
        "severity": "warning",
    }
    first = client.post("/ml-events/v1/notifications", json=body, headers=service())
    again = client.post("/ml-events/v1/notifications", json=body, headers=service())
    assert first.status_code == again.status_code == 202
    assert first.json()["new"] is True
    assert again.json()["new"] is False
    assert first.json()["deliveries"] == again.json()["deliveries"]
    with transaction() as connection:
        found = deliveries.latest(connection)
    assert {(one.conn_id, one.severity, one.state) for one in found} == {
        ("slack", "warning", "pending"),
        ("mail", "warning", "pending"),
    }
    assert client.post("/ml-events/v1/notifications", json=body, headers=user("USER")).status_code == 403


@pytest.mark.parametrize("body", [{}, {"event": {}, "targets": []}, {"event": {}, "targets": [{"conn_id": "x"}]}])
def test_a_bad_notification_is_refused_with_words(client, body):
    answer = client.post("/ml-events/v1/notifications", json=body, headers=service())
    assert answer.status_code in {400, 422}
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "a\0"}, "name"),
        ({"template": "\0"}, "template"),
        ({"targets": [{"conn_id": "a\0b"}]}, "targets.0.conn_id"),
    ],
)
def test_a_notification_with_nul_in_a_name_is_refused(client, changes, field):
    body = {"event": made().to_dict(), "targets": [{"conn_id": "slack"}], **changes}
    answer = client.post("/ml-events/v1/notifications", json=body, headers=service())
    assert answer.status_code == 400
    assert f"{field}: String should match" in answer.json()["detail"]
    assert stored() == []


@pytest.mark.parametrize("field", ["dag_id", "run_id", "state", "message"])
def test_nul_in_a_callbacks_data_is_recorded_as_it_was_told(client, field):
    data = {"dag_id": "train", "run_id": "r", "state": "failed", "message": "m", field: "a\0b"}
    document = {**made().to_dict(), "type": "airflow.dag_run.failed", "origin": "callback", "data": data}
    headers = {"content-type": "application/cloudevents+json", **service()}
    body = json.dumps(document).encode()
    assert b"\\u0000" in body
    assert client.post("/ml-events/v1/events", content=body, headers=headers).status_code == 202
    asked = client.post("/ml-events/v1/rules/evaluate", json={"event": document}, headers=service())
    assert asked.status_code == 200
    assert [one.data[field] for one in stored()] == ["a\0b"]


BORDERS = [
    ("/events", "{event}"),
    ("/events", "[{event}]"),
    ("/rules/evaluate", '{{"event": {event}}}'),
    ("/notifications", '{{"event": {event}, "targets": [{{"conn_id": "slack"}}]}}'),
]


@pytest.mark.parametrize(("route", "form"), BORDERS)
@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("time", '"9999-12-31T23:59:59Z"', "'time' is '9999-12-31T23:59:59Z', out of range: 1970-01-01 to 2999-12-31"),
        ("time", '"0001-01-01T00:00:00Z"', "'time' is '0001-01-01T00:00:00Z', out of range"),
        ("subject", '"a\\u0000"', "'subject' holds a control character"),
        ("subject", '"a\\ud800"', "half a surrogate pair"),
        ("owner", '"\\uffff"', "'owner' holds"),
        ("team", '"\\u0000"', "'team' holds a control character"),
        ("team", "9223372036854775808", "out of range"),
        ("data", '{"a": "\\udc00"}', "half a surrogate pair"),
        ("data", '{"a": NaN}', "no number"),
        ("data", '{"a": 1e400}', "no number"),
        ("data", '{"a": 1' + "0" * 400 + "}", "no number"),
        ("data", '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested deeper than 64"),
        ("data", '{"a": 1, "a": 2}', "key 'a' twice"),
    ],
)
def test_what_cannot_be_read_back_is_refused_with_the_reason_at_every_border(client, route, form, field, value, reason):
    known = {"specversion": '"1.0"', "id": '"1"', "source": '"/test"', "type": '"shop.order.failed"', field: value}
    event = "{" + ",".join(f'"{name}":{text}' for name, text in known.items()) + "}"
    answer = client.post(
        f"/ml-events/v1{route}",
        content=form.format(event=event).encode(),
        headers={"content-type": "application/json", **service()},
    )
    assert answer.status_code == 400
    assert reason in answer.json()["detail"]
    assert stored() == []


def test_a_leap_second_does_not_refuse_its_batch(client):
    batch = [{**made(number).to_dict(), "time": f"2016-12-31T23:59:{second}Z"} for number, second in ((1, 59), (2, 60))]
    headers = {"content-type": "application/cloudevents-batch+json", **service()}
    assert client.post("/ml-events/v1/events", content=json.dumps(batch), headers=headers).status_code == 202
    assert [one.time.isoformat() for one in stored()] == [
        "2016-12-31T23:59:59+00:00",
        "2016-12-31T23:59:59.999999+00:00",
    ]


def test_health_says_what_is_wrong(client):
    answer = client.get("/ml-events/v1/health", headers=user("VIEWER"))
    assert answer.status_code == 503
    assert "no dispatcher is alive" in answer.json()["problems"][0]
    now = utc_now()
    with transaction() as connection:
        dispatchers.beat(connection, dispatchers.Dispatcher("one", "host", 1, True, now, now))
    answer = client.get("/ml-events/v1/health", headers=user("VIEWER"))
    assert (answer.status_code, answer.json()["problems"]) == (200, [])


def test_a_dag_callback_that_knows_only_the_run_id_gives_the_listeners_event(client):
    from airflow.models.dagrun import DagRun
    from airflow.utils.types import DagRunType
    from sqlalchemy import insert

    from ml_event_provider.sources.airflow import dag_run_event

    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    with transaction() as connection:
        connection.execute(
            insert(DagRun.__table__).values(
                dag_id="train",
                run_id="manual",
                run_type=DagRunType.MANUAL.value,
                state="failed",
                run_after=now,
                start_date=now,
                end_date=now + timedelta(minutes=3),
                created_at=now,
                clear_number=2,
                span_status="not_started",
            )
        )
    from types import SimpleNamespace

    told = dag_run_event(
        SimpleNamespace(dag_id="train", run_id="manual", start_date=None, end_date=None),
        state="failed",
        workspace="default",
        origin="callback",
        message="task_failure",
    )
    assert post(client, told, service()).status_code == 202
    request = {"event": told.to_dict(), "targets": [{"conn_id": "slack"}]}
    assert client.post("/ml-events/v1/notifications", json=request, headers=service()).json()["new"] is False
    (kept,) = stored()
    assert kept.data["clear_number"] == 2
    assert kept.data["duration"] == 180.0
    assert kept.data["message"] == "task_failure"
    assert kept.id != told.id
