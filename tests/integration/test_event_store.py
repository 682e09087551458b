"""Recording is idempotent, faithful, and each event is taken by one dispatcher."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from sqlalchemy import select

from ml_event_provider.events.bounds import MAX_EVENT_BYTES, size_of
from ml_event_provider.events.model import Event
from ml_event_provider.exceptions import InvalidEvent
from ml_event_provider.store import events, schema, unmatched
from ml_event_provider.store.engine import transaction
from tests.integration.airflow_rows import NOW
from tests.integration.recorded import EVENT, event, matched_now, recorded

TRY = UUID("0197a000-0000-7000-8000-000000000001")

pytestmark = pytest.mark.usefixtures("airflow_db")


def record(*some: Event, now: datetime = NOW) -> None:
    with transaction() as connection:
        events.record(connection, some, now=now)


def take(limit: int = 100, *, now: datetime = NOW) -> list[str]:
    return matched_now(limit, now)


def test_same_id_and_source_is_one_event_and_the_first_stays() -> None:
    record(EVENT, event("e-2"))
    record(event("e-1", data={"n": 2}), event("e-3"))
    assert [(one.id, one.data) for one in recorded()] == [
        ("e-1", {"n": 1}),
        ("e-2", {"n": 1}),
        ("e-3", {"n": 1}),
    ]


def test_twice_in_one_batch_is_one_event() -> None:
    record(EVENT, EVENT, event("e-2"))
    assert [one.id for one in recorded()] == ["e-1", "e-2"]


def test_record_one_says_whether_the_event_was_new() -> None:
    with transaction() as connection:
        assert events.record_one(connection, EVENT)
        assert not events.record_one(connection, event("e-1", data={"n": 2}))
        assert events.record_one(connection, event("e-1", source="/elsewhere"))


def test_same_id_of_two_sources_is_two_events() -> None:
    record(EVENT, event("e-1", source="/elsewhere"))
    with transaction() as connection:
        assert [one.event.source for one in events.find(connection, "e-1")] == ["/tests", "/elsewhere"]
        assert events.known_ids(connection, ["e-1", "e-9"]) == {"e-1"}


def test_recording_nothing_does_nothing() -> None:
    record()
    assert recorded() == []


@pytest.mark.parametrize(
    "data",
    [
        {"text": "训练失败 🚨 \u0000 \u001f ' \" \\ %s :x {0}"},
        {"训练": {"深": [1, 2.5, None, True, "\u2028"]}},
        {"n": 2**70, "tiny": 5e-324},
        {},
    ],
)
def test_event_is_read_back_as_it_was(data: dict[str, object]) -> None:
    whole = Event(
        id="训练-1",
        source="/airflow/部门",
        type="tests.thing.happened",
        time=datetime(2026, 11, 22, 12, 0, 0, 1, tzinfo=UTC),
        subject="dags/训练/🚀",
        data=data,
        workspace="部门",
        owner="李雷",
        origin="worker",
        dataschema="https://example.com/s",
        extensions={"traceparent": "00-x", "retries": 3, "urgent": True},
    )
    record(whole)
    assert recorded() == [whole]


def test_longest_attributes_fit() -> None:
    longest = Event(
        id="名" * 255,
        source="源" * 512,
        type="t" * 255,
        subject="题" * 1024,
        workspace="w" * 100,
        owner="o" * 500,
        time=NOW,
    )
    record(longest)
    assert recorded() == [longest]


def test_largest_event_is_kept_and_a_larger_one_cut() -> None:
    room = MAX_EVENT_BYTES - size_of(event("e-1", data={"text": ""}))
    record(event("e-1", data={"text": "x" * room}), event("e-2", data={"text": "名" * MAX_EVENT_BYTES}))
    first, second = recorded()
    assert len(first.data["text"]) == room
    assert size_of(second) <= MAX_EVENT_BYTES
    assert "characters]" in second.data["text"]


def test_event_that_is_no_json_is_refused_and_records_nothing() -> None:
    with pytest.raises(InvalidEvent, match="e-2"):
        record(EVENT, event("e-2", data={"n": float("nan")}))
    assert recorded() == []


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 3, 29, 3, 30, 0, 999999, tzinfo=timezone(timedelta(hours=5, minutes=45))),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    ],
)
def test_times_keep_their_moment_to_the_microsecond(moment: datetime) -> None:
    record(event("e-1", time=moment), now=moment)
    with transaction() as connection:
        row = connection.execute(select(schema.event.c.time, schema.event.c.recorded_at)).one()
        (one,) = events.latest(connection)
    assert row.time == row.recorded_at == one.recorded_at == one.event.time == moment
    assert one.recorded_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("data", "dag_id"),
    [
        ({"dag_id": "train"}, "train"),
        ({"source_dag_id": "load"}, "load"),
        ({"dag_id": "", "source_dag_id": None}, None),
        ({"dag_id": ["train"]}, None),
        ({"n": 1}, None),
        ({"dag_id": "x" * 300}, "x" * 250),
        ({"dag_id": "a\x00b\ud800"}, "a\ufffdb\ufffd"),
    ],
)
def test_the_dag_that_an_event_tells_of_stands_beside_it(data: dict[str, object], dag_id: str | None) -> None:
    with transaction() as connection:
        events.record_one(connection, event("e-dag", data=data))
        assert connection.execute(select(schema.event.c.dag_id)).scalar_one() == dag_id


def test_latest_filters_by_type_and_workspace() -> None:
    record(
        event("e-1", type="ml.a_b"),
        event("e-2", type="ml.axb"),
        event("e-3", type="ml.a_b.c", workspace="fraud"),
        event("e-4", type="other"),
    )
    with transaction() as connection:

        def ids(**filters: str) -> list[str]:
            return [one.event.id for one in events.latest(connection, **filters)]

        assert ids() == ["e-4", "e-3", "e-2", "e-1"]
        assert ids(type_prefix="ml.a_b") == ["e-3", "e-1"]
        assert ids(workspace="fraud") == ["e-3"]
        assert [one.event.id for one in events.latest(connection, limit=1)] == ["e-4"]


def test_by_seq_and_known_ids_take_more_than_a_database_takes_parameters() -> None:
    record(*(event(f"e-{n}") for n in range(1_200)))
    with transaction() as connection:
        seqs = [one.seq for one in events.latest(connection, limit=1_200)]
        assert len(events.by_seq(connection, [*seqs, *seqs, 10**9])) == 1_200
        assert len(events.known_ids(connection, [f"e-{n}" for n in range(-5, 1_200)])) == 1_200


def test_state_of_try_follows_its_events() -> None:
    def changed(number: int, state: str, **more: object) -> Event:
        return event(f"t-{number}", type=f"airflow.task_instance.{state}", data={"try_id": str(TRY), **more})

    record(changed(1, "running"), changed(2, "success"), changed(3, "failed"), changed(4, "success"))
    record(event("other", type="ml.thing", data={"try_id": str(TRY)}))
    record(event("odd", type="airflow.task_instance.failed", data={"try_id": "no uuid"}))
    with transaction() as connection:
        assert events.latest_state_of_try(connection, TRY) == (
            "success",
            {"running": 1, "success": 2, "failed": 1},
        )
        assert events.latest_state_of_try(connection, str(UUID(int=7))) == (None, {})


def test_each_event_is_taken_once_and_in_order() -> None:
    record(*(event(f"e-{n}") for n in range(5)))
    # The same moment for both: a clock may stand still between two batches.
    assert take(2) == ["e-0", "e-1"]
    assert take(2) == ["e-2", "e-3"]
    assert take() == ["e-4"]
    assert take() == []


def test_matched_event_says_when() -> None:
    record(EVENT)
    with transaction() as connection:
        assert unmatched.count(connection) == (1, NOW)
    take(now=NOW + timedelta(seconds=1))
    with transaction() as connection:
        assert events.find(connection, "e-1")[0].matched_at == NOW + timedelta(seconds=1)
        assert unmatched.count(connection) == (0, None)
