"""A dispatcher that was frozen in the middle of its attempts blames no target for the time that it stood still."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update

from ml_event_provider.dispatch.sending import Sending
from ml_event_provider.dispatch.settings import Settings
from ml_event_provider.store import schema
from ml_event_provider.store.engine import database_now, transaction
from tests.integration.test_breakers import waiting

pytestmark = pytest.mark.usefixtures("airflow_db")


@pytest.mark.parametrize(("frozen", "failures"), [(True, 0), (False, 1)])
def test_only_what_failed_within_its_lease_counts(
    monkeypatch: pytest.MonkeyPatch, *, frozen: bool, failures: int
) -> None:
    lane = waiting("d-1")
    with transaction() as connection:
        connection.execute(update(schema.delivery).values(next_attempt_at=database_now(connection)))
    sending = Sending(Settings.from_config(), dispatcher_id="me")
    attempt = sending._sender.attempt

    def thaws(*arguments: Any) -> Any:
        # There is no such connection, which counts as a target that is not reached.
        settlement = attempt(*arguments)
        assert settlement is not None
        assert settlement.heard is not None
        assert settlement.heard.reached is False
        if frozen:
            monkeypatch.setattr(sending._held, "left", lambda _: -1.0)
        return settlement

    monkeypatch.setattr(sending._sender, "attempt", thaws)
    sending.drain_once()
    with transaction() as connection:
        found = connection.execute(select(schema.lane.c.failures).where(schema.lane.c.id == lane)).scalar_one()
    assert found == failures
