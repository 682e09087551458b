"""A stream in which very much waits costs a round of leasing what it leases, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select, text, update

from ml_event_provider.store import leases, order, schema
from ml_event_provider.store.engine import transaction
from ml_event_provider.store.schema import DeliveryState
from tests.integration.airflow_rows import NOW
from tests.integration.leasing import MINUTE, lease_any
from tests.integration.test_breakers import waiting

if TYPE_CHECKING:
    from sqlalchemy import Engine

pytestmark = pytest.mark.usefixtures("airflow_db")

_TABLE = schema.delivery


def stream(alerts: list[str]) -> int:
    """Deliveries of one stream, by their alerts, ``d-000`` and so on; the id of their lane."""
    names = [f"d-{n:03}" for n in range(len(alerts))]
    lane = waiting(*names)
    with transaction() as connection:
        for n, (name, alert) in enumerate(zip(names, alerts, strict=True)):
            one = update(_TABLE).where(_TABLE.c.id == name)
            connection.execute(one.values(stream="s", ordinal=n, alert_id=alert))
    return lane


def leased() -> list[str]:
    with transaction() as connection:
        return [one.id for one in lease_any(connection, owner="me", now=NOW + MINUTE)]


def in_state(state: DeliveryState) -> int:
    with transaction() as connection:
        return int(connection.execute(select(func.count()).where(_TABLE.c.state == state)).scalar_one())


def test_of_one_alert_the_newest_goes_however_many_it_overtakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "MOST", 4)
    stream(["a"] * 9)
    rounds = []
    while not (one := leased()):
        rounds.append(in_state(DeliveryState.OVERTAKEN))
    assert one == ["d-008"]
    # Three of four in each round, and the rest with the last.
    assert rounds == [3, 6]
    assert in_state(DeliveryState.OVERTAKEN) == 8


def test_of_many_alerts_the_first_goes_and_no_more_than_the_bound_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(order, "MOST", 4)
    stream([f"a{n}" for n in range(10)])
    assert leased() == ["d-000"]
    assert leased() == []


def test_what_is_overtaken_before_another_alert_begins_goes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "MOST", 4)
    stream(["a", "a", "a", "b", "b", "b", "b", "b", "b"])
    assert leased() == ["d-002"]
    assert in_state(DeliveryState.OVERTAKEN) == 2


def test_groups_go_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "MOST", 4)
    stream([""] * 10)
    assert leased() == ["d-000"]
    assert leased() == []


def test_what_is_before_a_delivery_is_one_look_at_the_index(airflow_db: Engine) -> None:
    if airflow_db.dialect.name != "postgresql":
        pytest.skip("PostgreSQL explains")
    lane = stream(["a"])
    copies = (
        "INSERT INTO ml_event_delivery (id, notification_id, workspace, conn_id, lane_id, stream, ordinal, alert_id,"
        " options, state, attempts, next_attempt_at, created_at)"
        " SELECT 'c-' || n, notification_id, workspace, conn_id, lane_id, stream, n, 'a' || n, options, state, 0,"
        " next_attempt_at, created_at FROM ml_event_delivery, generate_series(1, 5000) n"
    )
    with transaction() as connection:
        connection.execute(text(copies))
        connection.execute(text("ANALYZE ml_event_delivery"))
        explain = text(f"EXPLAIN {leases._PICK_POSTGRESQL.text}")
        wanted = {"lanes": [lane], "shares": [10], "now": NOW + MINUTE}
        plan = "\n".join(connection.execute(explain, wanted).scalars())
    assert "Anti Join" not in plan
    assert "Seq Scan on ml_event_delivery" not in plan
    assert "ml_event_delivery_stream" in plan
