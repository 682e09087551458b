"""One odd event, row or result never stops the others."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import update

from ml_event_provider.dispatch.attempt import checked
from ml_event_provider.dispatch.housekeeping import away, record_spooled
from ml_event_provider.events.model import MAX_LENGTH, Event
from ml_event_provider.store import events, schema
from ml_event_provider.store.engine import transaction
from ml_event_provider.store.spool import Spool
from ml_event_provider.targets import Outcome, Result
from tests.integration.recorded import matched_now

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)

pytestmark = pytest.mark.usefixtures("airflow_db")


def made(name: str, data: Any = None) -> Event:
    return Event(id=name, source="/test", type="test.happened", time=NOW, data=data or {})


def nested(depth: int) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for _ in range(depth):
        data = {"a": data}
    return data


def taken() -> list[str]:
    return matched_now(10, NOW)


def test_a_deep_event_is_matched_like_any_other() -> None:
    events.record_now([made("deep", nested(90)), made("flat")])
    assert taken() == ["deep", "flat"]


def test_a_row_that_cannot_be_read_is_passed_over_once() -> None:
    events.record_now([made("spoilt"), made("good")])
    with transaction() as connection:
        connection.execute(update(schema.event).where(schema.event.c.id == "spoilt").values(body="{"))
    assert taken() == ["good"]
    assert taken() == []


def test_one_bad_event_of_a_spooled_batch_does_not_take_the_good_ones_with_it(tmp_path: Any) -> None:
    from ml_event_provider.exceptions import InvalidEvent

    spool = Spool(tmp_path)
    spool.put([made("bad"), made("good")])
    sent: list[str] = []

    def send(batch: list[Event]) -> None:
        if any(event.id == "bad" for event in batch):
            raise InvalidEvent("too large in another way")
        sent.extend(event.id for event in batch)

    spool.drain(send)
    spool.drain(send)
    assert sent == ["good"]
    assert len(list((tmp_path / "rejected").glob("*.events.json"))) == 1


@pytest.mark.parametrize("answer", [None, "ok", {"outcome": "delivered"}])
def test_a_target_that_answers_nonsense_is_an_error_of_its_own(answer: Any) -> None:
    with pytest.raises(TypeError, match="not a Result"):
        checked(answer)


def test_a_result_is_made_fit_to_be_stored() -> None:
    fit = checked(Result(outcome=Outcome.RETRY, code=503, reason="a\0b", retry_after=float("nan")))  # type: ignore[arg-type]
    assert (fit.code, fit.reason, fit.retry_after) == ("503", "ab", None)


def test_what_was_recorded_is_what_is_read() -> None:
    data = {"text": "größe 规则 \u0000", "big": 10**30, "list": [None, True, 1.5]}
    events.record_now([made("one", data)])
    with transaction() as connection:
        (one,) = events.find(connection, "one")
    assert json.loads(json.dumps(one.event.data)) == data


def test_an_event_that_the_database_refuses_is_put_aside_and_the_spooled_go_on(tmp_path: Any) -> None:
    spool = Spool(tmp_path)
    bad = made("bad")
    object.__setattr__(bad, "workspace", "x" * 300 + "\0")
    spool.put([made("first"), bad])
    spool.put([made("newer")])
    (tmp_path / "2.events.json").write_text("[" * 100_000)
    with pytest.MonkeyPatch.context() as patched:
        # A file that an older or foreign writer left: our own reader refuses the character before the database does.
        patched.setattr("ml_event_provider.events.model._FORBIDDEN", re.compile("(?!)"))
        patched.setitem(MAX_LENGTH, "workspace", 1000)
        for _ in range(2):
            spool.drain(record_spooled, away=away)
    # SQLite takes it.
    assert sorted(set(taken()) - {"bad"}) == ["first", "newer"]
    assert spool.waiting() == []


def test_a_callback_with_nul_in_its_run_is_recorded_as_it_was_told(tmp_path: Any) -> None:
    told = Event(
        id="nul",
        source="/test",
        type="airflow.dag_run.failed",
        time=NOW,
        origin="callback",
        data={"dag_id": "d\0", "run_id": "r\0\ud800"},
    )
    spool = Spool(tmp_path)
    spool.put([told])
    spool.put([made("newer")])
    assert spool.drain(record_spooled, away=away) == 2
    assert taken() == ["nul", "newer"]
