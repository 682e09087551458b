"""What is told of which DAG: the rows by which lists are narrowed, and the narrowing in the database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from ml_event_provider.dispatch import alerts
from ml_event_provider.dispatch.matching import Rules, match_batch
from ml_event_provider.events.belonging import by_dag
from ml_event_provider.exceptions import NotFound
from ml_event_provider.store import definitions, events, schema, states
from ml_event_provider.store.engine import transaction
from ml_event_provider.store.sight import EVERYTHING, Sight
from tests.integration.recorded import EVENT

pytestmark = pytest.mark.usefixtures("airflow_db")

START = datetime(2026, 11, 22, 12, tzinfo=UTC)


def put(name: str, **more: Any) -> None:
    rule = {"name": name, "workspace": "default", "on": ["shop.*"], "by": ["data.dag_id"], "targets": ["inbox"], **more}
    with transaction() as connection:
        definitions.put(connection, rule, managed_by="file")


def match(minutes: float, *told: dict[str, Any]) -> None:
    moment = START + timedelta(minutes=minutes)
    found = [
        replace(EVENT, id=f"e-{minutes}-{n}", type="shop.failed", time=moment, data=data) for n, data in enumerate(told)
    ]
    with transaction() as connection:
        events.record(connection, found, now=moment)
    match_batch(Rules(), limit=100, now=lambda _: moment)


def rows() -> dict[str, tuple[bool, str | None]]:
    """Of each alert's row, whether it bears an id, and the DAG."""
    table = schema.state
    with transaction() as connection:
        found = connection.execute(select(table).where(table.c.role == "alert"))
        return {row.key: (row.alert_id is not None, row.dag_id) for row in found}


def test_an_alert_bears_its_id_and_the_dag_of_its_newest_event() -> None:
    put("all", by=[], repeat="1d")
    match(0, {"dag_id": "a"})
    assert list(rows().values()) == [(True, "a")]
    match(1, {"dag_id": "b"})
    assert list(rows().values()) == [(True, "b")]
    match(2, {"model": "churn"})
    assert list(rows().values()) == [(True, None)]


def test_an_alert_about_an_event_that_did_not_come_bears_the_dag_of_its_key() -> None:
    put("silent", condition={"absence": {"within": "10m", "expect": ["train"]}}, resolve={"on": ["com.example.mended"]})
    match(0)
    match(20)
    assert rows() == {'["train"]': (True, "train")}


def test_an_alert_that_is_over_bears_neither() -> None:
    put("runs", repeat="1d", resolve={"on": ["com.example.mended"]})
    match(0, {"dag_id": "a"})
    with transaction() as connection:
        (alert,) = states.open_alerts(connection)
    alerts.resolve(alert.id, who="ada", now=lambda _: START + timedelta(minutes=1))
    assert set(rows().values()) <= {(False, None)}
    with transaction() as connection, pytest.raises(NotFound):
        states.open_alert(connection, alert.id)


def test_an_alert_about_what_a_task_told_is_hidden_from_who_may_not_read_its_dag() -> None:
    put("told", by=["subject"], repeat="1d")
    moment = START + timedelta(minutes=1)
    told = replace(EVENT, id="told", type="shop.failed", time=moment, extensions=by_dag("theirs"))
    with transaction() as connection:
        events.record(connection, [told], now=moment)
    match_batch(Rules(), limit=100, now=lambda _: moment)
    with transaction() as connection:
        assert [one.rule for one in states.open_alerts(connection, sight=Sight(dags=frozenset({"theirs"})))] == ["told"]
        assert states.open_alerts(connection, sight=Sight(dags=frozenset({"mine"}))) == []


@pytest.mark.parametrize(
    ("sight", "expected"),
    [
        (EVERYTHING, {"a", "b", None}),
        (Sight(dags=frozenset({"a"})), {"a", None}),
        (Sight(dags=frozenset()), {None}),
        (Sight(frozenset({"other"})), {"a", "b", None}),
        (Sight(frozenset({"default", "other"})), set()),
        (Sight(dags=frozenset({"a", *(f"dag-{n}" for n in range(10_000))})), {"a", None}),
    ],
)
def test_a_list_is_narrowed_before_it_is_cut(sight: Sight, expected: set[str | None]) -> None:
    put("runs", repeat="1d")
    match(0, {"model": "churn"})
    match(1, {"dag_id": "a"})
    for minute in range(2, 6):
        match(minute, {"dag_id": "b"})
    with transaction() as connection:
        found = states.open_alerts(connection, sight=sight, limit=3)
        everything = states.open_alerts(connection)
    keys = {'["a"]': "a", '["b"]': "b"}
    assert {keys.get(one.key) for one in found} == expected
    for alert in everything:
        with transaction() as connection:
            if alert in found:
                assert states.open_alert(connection, alert.id, sight=sight) == alert
                continue
            with pytest.raises(NotFound, match="no open alert has the id"):
                states.open_alert(connection, alert.id, sight=sight)
