"""Messages for targets not known to be quick are made one after the other, and never before the quick ones'."""

from __future__ import annotations

import json
import threading
import time
from typing import Any, NoReturn

import pytest
from sqlalchemy import update

from ml_event_provider.dispatch import attempt
from ml_event_provider.dispatch.lanes import MADE_AT_ONCE
from ml_event_provider.dispatch.matching import Rotation
from ml_event_provider.dispatch.sending import Sending
from ml_event_provider.dispatch.settings import Settings
from ml_event_provider.exceptions import TemplateProblem
from ml_event_provider.store import definitions, events, schema
from ml_event_provider.store.engine import database_now, transaction
from tests.integration.recorded import event

pytestmark = pytest.mark.usefixtures("airflow_db")

TARGETS = [f"target_{number}" for number in range(5)]


class Making:
    """Stands in for what makes messages: each takes a moment, and none is sent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 0
        self.most = 0

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(0.2)
        with self._lock:
            self._now -= 1
        raise TemplateProblem("nothing is to be sent")


@pytest.fixture
def making(monkeypatch: pytest.MonkeyPatch) -> Making:
    for target in TARGETS:
        monkeypatch.setenv(f"AIRFLOW_CONN_{target.upper()}", json.dumps({"conn_type": "http", "host": "127.0.0.1"}))
    with transaction() as connection:
        definitions.put(
            connection,
            {"name": "all", "workspace": "default", "on": ["tests.*"], "targets": TARGETS},
            managed_by="file",
        )
    events.record_now([event("e-1")])
    Rotation().turn(seconds=60)
    made = Making()
    monkeypatch.setattr(attempt, "compose", made)
    return made


def test_one_is_made_after_the_other_for_targets_of_which_nothing_is_known(making: Making) -> None:
    assert Sending(Settings.from_config(), dispatcher_id="me").drain_once() == len(TARGETS)
    assert making.most == MADE_AT_ONCE


def test_those_for_quick_targets_wait_for_none(making: Making) -> None:
    with transaction() as connection:
        connection.execute(update(schema.lane).values(delivered_at=database_now(connection)))
    assert Sending(Settings.from_config(), dispatcher_id="me").drain_once() == len(TARGETS)
    assert making.most == len(TARGETS)
