"""One odd answer never keeps the others from being recorded, and what was delivered stays so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from ml_event_provider.dispatch.attempt import checked
from ml_event_provider.store import deliveries, schema, settlements
from ml_event_provider.store.breakers import Heard
from ml_event_provider.store.engine import transaction
from ml_event_provider.store.schema import DeliveryState
from ml_event_provider.store.settlements import Settlement
from ml_event_provider.targets import Outcome, Result
from tests.integration.airflow_rows import NOW
from tests.integration.test_leases import lease, told

pytestmark = pytest.mark.usefixtures("airflow_db")

HALF = "\ud83d"


def ended(name: str, state: DeliveryState = DeliveryState.DELIVERED, **more: Any) -> Settlement:
    return Settlement(
        **{
            "delivery_id": name,
            "number": 1,
            "started_at": NOW,
            "milliseconds": 5,
            "outcome": "delivered",
            "code": "HTTP 200",
            "reason": "ok",
            "state": state,
            **more,
        }
    )


@pytest.mark.parametrize(
    "odd",
    [{"reason": HALF}, {"code": HALF}, {"options": {"skip_recipients": [HALF]}}, {"number": 10**30}],
    ids=["reason", "code", "options", "number"],
)
@pytest.mark.parametrize("state", [DeliveryState.DELIVERED, DeliveryState.FAILED])
def test_one_answer_that_cannot_be_stored_ends_its_delivery_and_no_others_wait(
    odd: dict[str, Any], state: DeliveryState
) -> None:
    told("d", many=3)
    lease()
    strange = ended("d-1", state, next_attempt_at=NOW if state == DeliveryState.FAILED else None, **odd)
    with transaction() as connection:
        settlements.settle(connection, [ended("d-0"), strange, ended("d-2")], owner="a", now=NOW)
        found = {one.id: one.state for one in deliveries.latest(connection)}
        set_aside = connection.execute(select(schema.quarantine.c.kind, schema.quarantine.c.reference)).all()
    assert found == {"d-0": "delivered", "d-1": state, "d-2": "delivered"}
    assert set_aside == [("settlement", "d-1")]


def test_what_attempts_tell_of_targets_is_no_reason_to_settle_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    told("d", many=1)
    lease()
    one = replace(ended("d"), heard=Heard(1, False, code=HALF, reason=HALF))
    with transaction() as connection:
        lane = connection.execute(select(schema.lane.c.id)).scalar_one()
        one = replace(one, heard=Heard(lane, False, code=HALF, reason=HALF))
        settlements.settle(connection, [one], owner="a", now=NOW)
    with transaction() as connection:
        assert deliveries.get(connection, "d").state == "delivered"


class Rude:
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("odd", "fit"),
    [
        ({"recipients": None}, {"recipients": {}}),
        ({"recipients": {HALF: "delivered"}}, {"recipients": {"?": "delivered"}}),
        ({"reason": f"a{HALF}b\0"}, {"reason": "a?b"}),
        ({"reason": None}, {"reason": ""}),
        ({"reason": Rude()}, {"reason": "Rude"}),
        ({"code": 503}, {"code": "503"}),
        ({"retry_after": 10**400}, {"retry_after": None}),
        ({"retry_after": float("inf")}, {"retry_after": None}),
        ({"attempted": None}, {"attempted": False}),
        ({"outcome": "delivered"}, {"outcome": Outcome.DELIVERED}),
    ],
)
def test_a_result_is_made_storable_whatever_a_plugins_target_put_into_it(
    odd: dict[str, Any], fit: dict[str, Any]
) -> None:
    result = checked(Result(**{"outcome": Outcome.DELIVERED, **odd}))
    assert {name: getattr(result, name) for name in fit} == fit
