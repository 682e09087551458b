"""People acknowledge and end alerts, by command and over HTTP: what that stops, and what it does not overtake."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update

from ml_event_provider.dispatch import alerts
from ml_event_provider.dispatch.matching import match_batch
from ml_event_provider.dispatch.rules import Rules
from ml_event_provider.exceptions import NotFound
from ml_event_provider.store import cursors, definitions, events, schema, states
from ml_event_provider.store.engine import transaction, utc_now
from ml_event_provider.store.states import lock_of
from tests.integration.callers import service, user
from tests.integration.recorded import EVENT

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from ml_event_provider.store.states import OpenAlert
    from tests.integration.conftest import Command

pytestmark = pytest.mark.usefixtures("airflow_db")

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
FAILED, SUCCESS = "airflow.dag_run.failed", "airflow.dag_run.success"


def put(name: str = "runs", **more: Any) -> None:
    definition = {
        "name": name,
        "workspace": "default",
        "on": [FAILED],
        "by": ["data.dag_id"],
        "targets": ["inbox"],
        **more,
    }
    with transaction() as connection:
        definitions.put(connection, definition, managed_by="file")


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def record(event_id: str, minutes: float, type: str = FAILED, dag_id: str = "train") -> None:
    """An event that is recorded at its time."""
    event = replace(EVENT, id=event_id, type=type, time=at(minutes), data={"dag_id": dag_id})
    with transaction() as connection:
        events.record(connection, [event])
        connection.execute(update(schema.event).where(schema.event.c.id == event_id).values(recorded_at=at(minutes)))


def match(minutes: float) -> None:
    match_batch(Rules(), limit=100, now=lambda _: at(minutes))


def opened() -> list[OpenAlert]:
    with transaction() as connection:
        return states.open_alerts(connection)


def told() -> list[tuple[str, str]]:
    """Rule and kind of each notification, oldest first."""
    table = schema.notification
    with transaction() as connection:
        rows = connection.execute(select(table.c.rule, table.c.kind).order_by(table.c.created_at, table.c.id))
        return [(row.rule, row.kind) for row in rows]


def begun(**more: Any) -> OpenAlert:
    """An alert that began at START."""
    put(**more)
    record("e-1", 0)
    match(0)
    (alert,) = opened()
    return alert


REMINDED = {"resolve": True, "repeat": "10m", "escalate": [{"after": "15m", "targets": ["boss"]}]}


def test_what_nobody_acknowledges_is_repeated_and_escalated() -> None:
    begun(**REMINDED)
    match(12)
    match(20)
    assert sorted(kind for _, kind in told()) == ["escalated", "fired", "repeated", "repeated"]


def test_after_a_standstill_the_last_repetition_is_told_not_all_that_were_missed() -> None:
    begun(**REMINDED)
    match(2000)
    assert sorted(kind for _, kind in told()) == ["escalated", "fired", "repeated"]


def test_an_acknowledged_alert_is_not_repeated_or_escalated_and_still_resolves() -> None:
    alert = begun(**REMINDED)
    handled = alerts.acknowledge(alert.id, who="ada", now=lambda _: at(5))
    assert handled.lasts
    assert handled.alert.acknowledged == {"by": "ada", "at": at(5).isoformat()}
    (seen,) = opened()
    assert seen == handled.alert
    match(60)
    assert told() == [("runs", "fired")]
    record("e-2", 61, SUCCESS)
    match(61)
    assert opened() == []
    assert told() == [("runs", "fired"), ("runs", "resolved")]


def test_a_second_one_who_acknowledges_learns_who_was_first(ml_events: Command, client: TestClient) -> None:
    alert = begun(resolve=True)
    said = ml_events("alerts", "ack", alert.id, "--by", "ada", "--reason", "I restart it")
    assert "looks after it" not in said.out
    said = ml_events("alerts", "ack", alert.id, "--by", "bob", "--reason", "so do I")
    assert "ada looks after it since " in said.out
    assert said.out.splitlines()[0].endswith(": I restart it")
    answer = client.post(
        f"/ml-events/v1/alerts/{alert.id}/acknowledge", headers=user("Admin"), json={"reason": "I, too"}
    )
    assert answer.status_code == 200
    assert (answer.json()["acknowledged"]["by"], answer.json()["first"]) == ("ada", False)
    (seen,) = opened()
    assert seen.acknowledged is not None
    assert (seen.acknowledged["by"], seen.acknowledged["reason"]) == ("ada", "I restart it")


def test_whoever_heard_of_an_alert_hears_why_somebody_ended_it(client: TestClient) -> None:
    alert = begun(resolve=True)
    path = f"/ml-events/v1/alerts/{alert.id}/resolve"
    assert client.post(path, headers=user("Admin"), json={"reason": 1}).status_code == 400
    assert client.post(path, headers=user("Admin"), json={"because": "x"}).status_code == 400
    odd = user("Admin") | {"Content-Type": "application/json"}
    assert client.post(path, headers=odd, content=b'{"reason": "known \\ud83d"}').status_code == 400
    answer = client.post(path, headers=odd, content=b'{"reason": "known\\u0000"}')
    assert answer.status_code == 200, answer.text
    with transaction() as connection:
        contexts = connection.execute(select(schema.notification.c.context)).scalars().all()
    assert any("resolved by admin: known" in (one or "") for one in contexts)


def test_the_next_alert_of_the_same_key_is_unacknowledged() -> None:
    alert = begun(**REMINDED)
    alerts.acknowledge(alert.id, who="ada", now=lambda _: at(5))
    record("e-2", 6, SUCCESS)
    record("e-3", 7)
    match(30)
    (after,) = opened()
    assert after.id != alert.id
    assert after.acknowledged is None
    assert after.repeats == 2


def test_resolving_ends_an_alert_and_tells_who_was_told() -> None:
    alert = begun(resolve=True)
    assert not alerts.resolve(alert.id, who="ada", now=lambda _: at(5)).lasts
    assert opened() == []
    assert told() == [("runs", "fired"), ("runs", "resolved")]
    record("e-2", 6)
    match(6)
    assert len(opened()) == 1


def test_resolving_a_rule_that_tells_no_end_tells_nothing() -> None:
    alert = begun(repeat="1h")
    assert not alerts.resolve(alert.id, who="ada", now=lambda _: at(5)).lasts
    match(300)
    assert told() == [("runs", "fired")]


def test_acknowledging_ends_what_nothing_else_would_end() -> None:
    alert = begun(repeat="1h")
    assert not alerts.acknowledge(alert.id, who="ada", now=lambda _: at(5)).lasts
    assert opened() == []


def test_an_event_that_waits_is_not_overtaken() -> None:
    """The timer of an absence is due before an event that keeps it quiet is matched."""
    put("silent", on=[SUCCESS], condition={"absence": {"within": "30m"}})
    alert = begun(**REMINDED)
    record("s-1", 0, SUCCESS, dag_id="train2")
    match(0)
    record("s-2", 20, SUCCESS, dag_id="train2")
    alerts.acknowledge(alert.id, who="ada", now=lambda _: at(40))
    match(41)
    assert ("silent", "fired") not in told()
    match(51)
    assert ("silent", "fired") in told()


def test_what_the_alert_itself_is_due_for_still_comes_before_an_event_that_waits() -> None:
    alert = begun(resolve={"after": "30m"}, repeat="1d")
    record("e-2", 35)
    assert alerts.acknowledge(alert.id, who="ada", now=lambda _: at(40)).lasts
    match(41)
    assert sorted(kind for _, kind in told()) == ["fired", "fired", "resolved"]
    (after,) = opened()
    assert (after.since, after.acknowledged) == (at(35).timestamp(), None)


@pytest.mark.parametrize("handle", [alerts.acknowledge, alerts.resolve])
def test_an_alert_that_is_not_open_is_said(handle: Any) -> None:
    alert = begun(resolve=True)
    alerts.resolve(alert.id, who="ada", now=lambda _: at(1))
    for alert_id in (alert.id, "", "%", "nothing"):
        with pytest.raises(NotFound, match="alerts list"):
            handle(alert_id, who="ada", now=lambda _: at(2))


@pytest.mark.parametrize("change", ["deleted", "disabled", "other form"])
@pytest.mark.parametrize("handle", [alerts.acknowledge, alerts.resolve])
def test_an_alert_whose_rule_is_gone_can_be_ended(handle: Any, change: str) -> None:
    alert = begun(resolve=True)
    if change == "deleted":
        with transaction() as connection:
            definitions.remove(connection, "runs", workspace="default")
    else:
        put(resolve=True, **({"enabled": False} if change == "disabled" else {"by": ["subject"]}))
    assert not handle(alert.id, who="ada", now=lambda _: at(5)).lasts
    assert opened() == []
    assert told() == [("runs", "fired")]


def test_only_the_one_alert_changes() -> None:
    alert = begun(**REMINDED)
    record("e-2", 0, dag_id="other")
    match(0)
    alerts.acknowledge(alert.id, who="ada", now=lambda _: at(5))
    assert {(one.key, one.acknowledged is None) for one in opened()} == {('["train"]', False), ('["other"]', True)}


def test_it_waits_for_a_dispatcher_that_matches() -> None:
    alert = begun(**REMINDED)
    done = threading.Event()

    def acknowledge() -> None:
        alerts.acknowledge(alert.id, who="ada", now=lambda _: at(5))
        done.set()

    with transaction() as connection:
        assert cursors.lock(connection, lock_of("default"), now=utc_now(), wait=True)
        thread = threading.Thread(target=acknowledge)
        thread.start()
        assert not done.wait(0.3)
    thread.join(20)
    assert done.is_set()
    assert opened()[0].acknowledged is not None


# Commands


def test_alerts_are_listed_acknowledged_and_resolved_by_command(ml_events: Command) -> None:
    assert ml_events("alerts", "list").out == "no open alerts\n"
    alert = begun(resolve=True)
    lines = ml_events("alerts", "list", "--rule", "runs", "-w", "default").out.splitlines()
    assert lines[0].split() == ["SINCE", "WORKSPACE", "RULE", "KEY", "REPEATS", "FLAPPING", "ACKNOWLEDGED", "ID"]
    assert lines[1].startswith("2026-11-22 12:00:00  default    runs  ")
    assert lines[1].endswith(alert.id)
    assert ml_events("alerts", "list", "--rule", "other").out == "no open alerts\n"
    said = ml_events("alerts", "ack", alert.id, "--by", "Ada Lovelace")
    assert (said.code, said.out) == (0, 'acknowledged default/runs ["train"]\n')
    (shown,) = ml_events("alerts", "list", "-o", "json").json
    assert shown["acknowledged"]["by"] == "Ada Lovelace"
    said = ml_events("alerts", "resolve", alert.id)
    assert (said.code, said.out) == (0, 'resolved default/runs ["train"], which is over\n')
    said = ml_events("alerts", "ack", alert.id)
    assert said.code == 1
    assert said.err.startswith(f"error: no open alert has the id {alert.id!r}")


def test_who_acknowledges_is_the_user_of_the_operating_system(
    ml_events: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "grace")
    alert = begun(**REMINDED)
    ml_events("alerts", "ack", alert.id)
    assert (opened()[0].acknowledged or {})["by"] == "grace"


# HTTP


def test_alerts_are_seen_acknowledged_and_resolved_over_http(client: TestClient) -> None:
    alert = begun(resolve=True)
    answer = client.get("/ml-events/v1/alerts", headers=user("VIEWER"))
    (shown,) = answer.json()["alerts"]
    assert shown == {
        "id": alert.id,
        "workspace": "default",
        "rule": "runs",
        "key": '["train"]',
        "since": START.isoformat(),
        "acknowledged": None,
        "facts": {},
        "repeats": 0,
        "flapping": False,
    }
    for query, count in (("rule=runs", 1), ("rule=x", 0), ("workspace=default", 1), ("workspace=x", 0)):
        found = client.get(f"/ml-events/v1/alerts?{query}", headers=user("VIEWER")).json()["alerts"]
        assert len(found) == count, query
    path = f"/ml-events/v1/alerts/{alert.id}"
    answer = client.post(f"{path}/acknowledge", headers=user("OP"))
    assert (answer.status_code, answer.json()["lasts"]) == (200, True)
    assert opened()[0].acknowledged == answer.json()["acknowledged"]
    assert answer.json()["acknowledged"]["by"] == "op"
    answer = client.post(f"{path}/resolve", headers=user("OP"))
    assert (answer.status_code, answer.json()["lasts"]) == (200, False)
    assert told() == [("runs", "fired"), ("runs", "resolved")]
    answer = client.post(f"{path}/resolve", headers=user("OP"))
    assert (answer.status_code, answer.json()["detail"].split(":")[0]) == (
        404,
        f"no open alert has the id {alert.id!r}",
    )


@pytest.mark.parametrize(("role", "status"), [("VIEWER", 403), ("USER", 403), ("OP", 200), ("ADMIN", 200)])
@pytest.mark.parametrize("action", ["acknowledge", "resolve"])
def test_changing_alerts_takes_the_right_to_edit_connections(
    client: TestClient, role: str, status: int, action: str
) -> None:
    alert = begun(resolve=True)
    answer = client.post(f"/ml-events/v1/alerts/{alert.id}/{action}", headers=user(role))
    assert answer.status_code == status
    if status == 403:
        assert "right to edit connections" in answer.json()["detail"]
        assert opened() == [alert]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "?workspace=%00"),
        ("GET", "?rule=a%00b"),
        ("GET", "?%00=x"),
        ("POST", "/%00/acknowledge"),
        ("POST", "/x%00/resolve"),
    ],
)
def test_nul_in_a_url_is_refused(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, f"/ml-events/v1/alerts{path}", headers=service())
    assert (answer.status_code, answer.json()) == (400, {"detail": "the URL holds the character NUL (%00): remove it"})
    assert client.request(method, f"/ml-events/v1/alerts{path}").status_code == 401


def test_the_web_app_sees_rules_that_changed_since(client: TestClient) -> None:
    alert = begun(resolve=True)
    client.post(f"/ml-events/v1/alerts/{alert.id}/acknowledge", headers=user("OP"))
    with transaction() as connection:
        definitions.remove(connection, "runs", workspace="default")
    answer = client.post(f"/ml-events/v1/alerts/{alert.id}/acknowledge", headers=user("OP"))
    assert answer.json()["lasts"] is False
