"""Airflow's objects become events: the same id whoever saw the change, whatever the task raised."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from ml_event_provider.events.bounds import MAX_EVENT_BYTES, size_of
from ml_event_provider.events.catalogue import validate_data
from ml_event_provider.events.model import Event
from ml_event_provider.sources import airflow as source

TRY = UUID("0197a000-0000-7000-8000-000000000001")
START = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
END = START + timedelta(seconds=90, microseconds=2000)


def dag_run(**changes: Any) -> SimpleNamespace:
    row = {
        "dag_id": "train",
        "run_id": "scheduled__2026-11-22T12:00:00+00:00",
        "run_type": SimpleNamespace(value="scheduled"),
        "clear_number": 2,
        "created_at": START - timedelta(minutes=1),
        "logical_date": START,
        "data_interval_start": START - timedelta(days=1),
        "data_interval_end": START,
        "run_after": START,
        "queued_at": START,
        "start_date": START,
        "end_date": END,
        "triggered_by": SimpleNamespace(value="timetable"),
        "triggering_user_name": "ada",
        "conf": {"password": "hunter2"},
    }
    return SimpleNamespace(**{**row, **changes})


def task_instance(**changes: Any) -> SimpleNamespace:
    row = {
        "id": TRY,
        "dag_id": "train",
        "run_id": "run-1",
        "task_id": "fit",
        "map_index": -1,
        "try_number": 2,
        "max_tries": 3,
        "operator": "PythonOperator",
        "queue": "gpu",
        "pool": "default_pool",
        "hostname": "worker-7",
        "start_date": START,
        "end_date": END,
    }
    return SimpleNamespace(**{**row, **changes})


def task_event(ti: Any = None, state: str = "failed", **more: Any) -> Event:
    return source.task_instance_event(ti or task_instance(), state=state, workspace="fraud", origin="worker", **more)


def run_event(run: Any = None, state: str = "failed", **more: Any) -> Event:
    return source.dag_run_event(run or dag_run(), state=state, workspace="fraud", origin="scheduler", **more)


def test_dag_run_in_full() -> None:
    event = run_event(
        previous_state="running",
        message="boom",
        owner="ada",
        tags={"b", "a"},
        base_url="https://a.example.com/x",
    )
    assert validate_data(event) == []
    assert event.to_dict() == {
        "specversion": "1.0",
        "id": "f3e5f096-44d1-563c-b2da-e44c776d210f",
        "source": "/airflow/fraud",
        "type": "airflow.dag_run.failed",
        "subject": "dags/train/runs/scheduled__2026-11-22T12:00:00+00:00",
        "time": "2026-11-22T12:01:30.002000Z",
        "datacontenttype": "application/json",
        "workspace": "fraud",
        "owner": "ada",
        "origin": "scheduler",
        "data": {
            "dag_id": "train",
            "run_id": "scheduled__2026-11-22T12:00:00+00:00",
            "run_type": "scheduled",
            "state": "failed",
            "previous_state": "running",
            "logical_date": "2026-11-22T12:00:00Z",
            "data_interval_start": "2026-11-21T12:00:00Z",
            "data_interval_end": "2026-11-22T12:00:00Z",
            "run_after": "2026-11-22T12:00:00Z",
            "queued_at": "2026-11-22T12:00:00Z",
            "start_date": "2026-11-22T12:00:00Z",
            "end_date": "2026-11-22T12:01:30.002000Z",
            "duration": 90.002,
            "clear_number": 2,
            "triggered_by": "timetable",
            "triggering_user": "ada",
            "message": "boom",
            "tags": ["a", "b"],
            "url": "https://a.example.com/x/dags/train/runs/scheduled__2026-11-22T12%3A00%3A00%2B00%3A00",
        },
    }


def test_task_instance_in_full() -> None:
    task = SimpleNamespace(owner="ada", task_type="FitOperator", pool="gpus", dag=SimpleNamespace(tags={"b", "a"}))
    event = task_event(
        task_instance(map_index=4),
        previous_state="running",
        error="killed",
        manual=True,
        task=task,
        dag_run=dag_run(),
        base_url="https://a.example.com",
    )
    assert validate_data(event) == []
    assert event.to_dict() == {
        "specversion": "1.0",
        "id": "91fae805-6478-56f8-b98d-a8d71de3c9d1",
        "source": "/airflow/fraud",
        "type": "airflow.task_instance.failed",
        "subject": "dags/train/runs/run-1/tasks/fit/4",
        "time": "2026-11-22T12:01:30.002000Z",
        "datacontenttype": "application/json",
        "workspace": "fraud",
        "owner": "ada",
        "origin": "worker",
        "data": {
            "dag_id": "train",
            "run_id": "run-1",
            "task_id": "fit",
            "map_index": 4,
            "try_number": 2,
            "max_tries": 3,
            "state": "failed",
            "previous_state": "running",
            "operator": "FitOperator",
            "tags": ["a", "b"],
            "queue": "gpu",
            "pool": "gpus",
            "hostname": "worker-7",
            "start_date": "2026-11-22T12:00:00Z",
            "end_date": "2026-11-22T12:01:30.002000Z",
            "duration": 90.002,
            "logical_date": "2026-11-22T12:00:00Z",
            "run_type": "scheduled",
            "exception": {"type": "", "message": "killed"},
            "log_url": "https://a.example.com/dags/train/runs/run-1/tasks/fit/mapped/4?try_number=2",
            "url": "https://a.example.com/dags/train/runs/run-1",
            "try_id": str(TRY),
            "manual": True,
        },
    }


def test_what_is_unknown_is_absent() -> None:
    bare = task_instance(map_index=None, try_number=None, max_tries=None, operator=None, queue=None, pool=None)
    bare.hostname, bare.start_date, bare.end_date = "", None, None
    event = task_event(bare, "upstream_failed")
    assert event.data == {
        "dag_id": "train",
        "run_id": "run-1",
        "task_id": "fit",
        "map_index": -1,
        "try_number": 0,
        "state": "upstream_failed",
        "log_url": "/dags/train/runs/run-1/tasks/fit",
        "url": "/dags/train/runs/run-1",
        "try_id": str(TRY),
    }
    assert validate_data(event) == []
    callback = SimpleNamespace(dag_id="train", run_id="run-1", start_date=None, end_date=None)
    assert validate_data(run_event(callback)) == []


@pytest.mark.parametrize("state", ["running", "success", "failed"])
def test_time_is_the_moment_of_the_change(state: str) -> None:
    assert run_event(state=state).time == task_event(state=state).time == (START if state == "running" else END)


def test_time_without_zone_is_utc_and_other_zones_are_converted() -> None:
    naive = task_event(task_instance(end_date=END.replace(tzinfo=None)))
    tokyo = task_event(task_instance(end_date=END.astimezone(timezone(timedelta(hours=9)))))
    assert naive.time == tokyo.time == END
    assert naive.data["end_date"] == tokyo.data["end_date"] == "2026-11-22T12:01:30.002000Z"


def test_a_runs_configuration_is_never_in_its_event() -> None:
    assert "hunter2" not in run_event().to_json()


@pytest.mark.parametrize(
    "seen",
    [
        {"ti": task_instance(id=str(TRY).upper(), hostname="other", end_date=None)},
        {"ti": task_instance(id=UUID(int=9)), "try_uuid": TRY},
        {"previous_state": "queued", "error": "boom", "manual": True, "base_url": "https://b.example.com"},
        {"task": SimpleNamespace(owner="bob", task_type="X", pool="p", dag=None), "tags": ["x"]},
        {"ti": task_instance(task_id="fit", try_number=9, max_tries=0)},
    ],
)
def test_whoever_saw_the_try_gives_it_the_same_id(seen: dict[str, Any]) -> None:
    seen = dict(seen)
    assert task_event(seen.pop("ti", None), **seen).id == task_event().id


@pytest.mark.parametrize(
    "other",
    [
        task_event(state="success"),
        task_event(task_instance(id=UUID(int=9))),
        task_event(repetition=1),
        source.task_instance_event(task_instance(), state="failed", workspace="churn", origin="worker"),
    ],
)
def test_another_change_of_a_task_has_another_id(other: Event) -> None:
    assert other.id != task_event().id


@pytest.mark.parametrize(
    "changes", [{"clear_number": 3}, {"run_id": "other"}, {"dag_id": "other"}, {"created_at": START}]
)
def test_another_change_of_a_run_has_another_id(changes: dict[str, Any]) -> None:
    assert run_event(dag_run(**changes)).id != run_event().id
    assert run_event(state="success").id != run_event().id


def test_run_seen_with_other_words_has_the_same_id() -> None:
    created = dag_run().created_at.astimezone(timezone(timedelta(hours=-8)))
    seen = run_event(dag_run(created_at=created, end_date=None), message="other", owner="bob", tags=["x"])
    assert seen.id == run_event().id


class Hostile(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


class Odd(Exception):
    def __str__(self) -> str:
        return None  # type: ignore[return-value]  # noqa: PLE0307


class NoRepr(Exception):
    def __repr__(self) -> str:
        raise SystemError


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 - it is the test's own
        return caught


def deep(levels: int) -> None:
    if levels:
        deep(levels - 1)
    raise ValueError("at the bottom")


def too_deep() -> BaseException:
    def endless() -> None:
        endless()

    try:
        endless()
    except RecursionError as error:
        return error
    raise AssertionError


def long_chain() -> BaseException:
    last: BaseException = ValueError("first cause")
    for number in range(3_000):
        following = ValueError(f"after {number}")
        following.__cause__ = last
        last = following
    return raised(last)


def circle() -> BaseException:
    first, second = raised(ValueError("first")), raised(ValueError("second"))
    first.__cause__, second.__cause__ = second, first
    return first


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (raised(ValueError("训练 \x00 failed")), "ValueError", "训练 \x00 failed"),
        (KeyError("missing"), "KeyError", "'missing'"),
        (raised(Hostile()), f"{__name__}.Hostile", "<its text cannot be had: RuntimeError>"),
        (raised(Odd()), f"{__name__}.Odd", "<its text cannot be had: TypeError>"),
        (raised(NoRepr("x")), f"{__name__}.NoRepr", "x"),
        (
            raised(ExceptionGroup("many", [ValueError(str(n)) for n in range(500)])),
            "ExceptionGroup",
            "many (500",
        ),
        (raised(KeyboardInterrupt()), "KeyboardInterrupt", ""),
        (
            raised(UnicodeDecodeError("utf-8", b"\xff" * 50, 0, 1, "bad")),
            "UnicodeDecodeError",
            "'utf-8' codec",
        ),
        (too_deep(), "RecursionError", "maximum recursion depth"),
        (long_chain(), "ValueError", "after 2999"),
        (circle(), "ValueError", "first"),
    ],
)
def test_whatever_a_task_raises_becomes_an_event(error: BaseException, kind: str, message: str) -> None:
    event = task_event(error=error)
    assert validate_data(event) == []
    told = event.data["exception"]
    assert told["type"].removeprefix("tests.unit.sources.") == kind.removeprefix("tests.unit.sources.")
    assert told["message"].startswith(message)
    assert ("traceback" in told) is (error.__traceback__ is not None)
    assert Event.from_json(event.to_json()).data["try_id"] == str(TRY)


def test_half_a_surrogate_pair_does_not_stop_the_event() -> None:
    event = task_event(error=raised(ValueError("a\ud800b")))
    assert Event.from_json(event.to_json()).data["exception"]["message"] == "a\ufffdb"


def test_huge_message_is_cut_and_the_event_stays_small() -> None:
    event = task_event(error=raised(ValueError("长" * 10_000_000)))
    told = event.data["exception"]
    assert told["message"].endswith("… [cut 9996000 characters]")
    assert len(told["traceback"]) < source.MAX_TRACEBACK + 100
    assert size_of(event) < MAX_EVENT_BYTES


def test_traceback_keeps_its_end_where_it_says_what_happened() -> None:
    try:
        deep(500)
    except ValueError as error:
        told = source.exception_data(error)
    assert told["traceback"].rstrip().endswith("ValueError: at the bottom")
    assert told["traceback"].count("in deep") <= 30


def test_secrets_are_masked_in_message_and_traceback() -> None:
    def mask(text: str) -> str:
        return text.replace("hunter2", "***")

    event = task_event(error=raised(ValueError("login ada:hunter2")), redact=mask)
    assert "hunter2" not in event.to_json()
    assert event.data["exception"]["message"] == "login ada:***"
    assert source.exception_data("pw hunter2", mask) == {"type": "", "message": "pw ***"}


def test_secret_at_the_cut_is_masked_before_the_text_is_cut() -> None:
    text = "x" * (source.MAX_MESSAGE - 3) + "hunter2"
    told = source.exception_data(ValueError(text), lambda one: one.replace("hunter2", "***"))
    assert "hun" not in told["message"]


@pytest.mark.parametrize("odd", ["a\nb", "a\x7f", "a\u0085", "a\ufdd0", "训" * 2000])
def test_odd_names_do_not_stop_the_event(odd: str) -> None:
    task = SimpleNamespace(owner=odd, dag=None)
    event = task_event(task_instance(task_id=odd), task=task)
    assert event.data["task_id"] == odd
    assert len(event.subject) <= 1024
    assert len(event.owner) <= 500
    assert run_event(owner=odd).owner == event.owner


def test_workspace_is_quoted_in_the_source() -> None:
    assert source.event_source("部 门/a") == "/airflow/%E9%83%A8%20%E9%97%A8%2Fa"


@pytest.mark.parametrize(
    ("text", "limit", "cut"),
    [("abc", 3, "abc"), ("abcd", 3, "[cut 1 characters] …bcd"), ("", 3, "")],
)
def test_tail_says_what_was_cut(text: str, limit: int, cut: str) -> None:
    assert source.tail(text, limit) == cut


def test_deadline_in_full() -> None:
    context = {
        "dag_run": {"dag_id": "train", "dag_run_id": "run-1", "state": "running"},
        "deadline": {"id": str(UUID(int=7)), "deadline_time": "2026-11-22T12:00:00+00:00"},
    }
    event = source.deadline_missed_event(context, workspace="fraud", origin="callback", name="nightly")
    assert validate_data(event) == []
    assert (event.type, event.subject) == ("airflow.deadline.missed", "dags/train/runs/run-1")
    assert event.data == {
        "dag_id": "train",
        "run_id": "run-1",
        "deadline_id": str(UUID(int=7)),
        "deadline_time": "2026-11-22T12:00:00+00:00",
        "name": "nightly",
        "state": "running",
        "url": "/dags/train/runs/run-1",
    }
    assert event.id == source.deadline_missed_event(context, workspace="fraud", origin="callback").id


def nested(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "extra",
    [
        {"n": float("nan")},
        {"x": object()},
        {str(n): n for n in range(60_000)},
        # What Airflow's own JSON holds, and not every reader of ours.
        {"n": 10**400},
        nested(100),
        nested(100_000),
    ],
    ids=["nan", "object", "many", "huge", "deep", "very deep"],
)
def test_asset_with_an_unusable_extra_is_told_without_it(extra: Any) -> None:
    row = SimpleNamespace(id=1, name="m\n", uri="s3://m", group="", created_at=START, extra=extra)
    event = source.asset_created_event(row, workspace="fraud", origin="reconciler")
    assert validate_data(event) == []
    assert "extra" not in event.data
    assert event.data["extra_left_out"]
    assert event.subject == "assets/m\ufffd"


TIMED_OUT = (
    "Traceback (most recent call last):\n"
    '  File "/opt/dags/slow.py", line {line}, in <module>\n'
    "    {code}\n"
    '  File "/airflow/python_importer.py", line 65, in handle_timeout\n'
    "    raise AirflowTaskTimeout(error_message)\n"
    "airflow.sdk.exceptions.AirflowTaskTimeout: DagBag import timeout for /opt/dags/slow.py after 30.0s.\n"
    "Please take a look at these docs to improve your DAG import time:\n* https://airflow.apache.org\n, PID: {pid}"
)


def import_error(text: str | None, **changes: Any) -> Event:
    row = {"id": 1, "bundle_name": "dags", "filename": "slow.py", "timestamp": START, "stacktrace": text, **changes}
    return source.import_error_event(SimpleNamespace(**row), workspace="default", origin="reconciler")


@pytest.mark.parametrize(
    ("once", "again"),
    [
        # Stopped by Airflow at another place each time, in another process.
        (TIMED_OUT.format(line=3, code="sleep(60)", pid=71), TIMED_OUT.format(line=9, code="load()", pid=4_194_301)),
        (
            "TypeError: <Model object at 0x7f3a1c0b2d10> is no DAG",
            "TypeError: <Model object at 0x7f3a1c0b2e50> is no DAG",
        ),
        ("FileNotFoundError: '/tmp/tmpq1_x9z3a/c.yaml'", "FileNotFoundError: '/tmp/tmpq1_x9z3b/c.yaml'"),
    ],
)
def test_the_same_import_error_parsed_again_is_one_event(once: str, again: str) -> None:
    assert import_error(once).id == import_error(again, timestamp=START + timedelta(seconds=30)).id


@pytest.mark.parametrize(
    "other",
    [
        {"text": "KeyError: 'model_2'"},
        {"id": 2},
        {"filename": "other.py"},
        {"bundle_name": "more"},
        {"text": None},
    ],
)
def test_another_import_error_is_another_event(other: dict[str, Any]) -> None:
    assert import_error(**{"text": "KeyError: 'model_1'", **other}).id != import_error("KeyError: 'model_1'").id


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            TIMED_OUT.format(line=3, code="sleep(60)", pid=71),
            "airflow.sdk.exceptions.AirflowTaskTimeout: DagBag import timeout for /opt/dags/slow.py after 30.0s.",
        ),
        ("Traceback\nSyntaxError: invalid\n", "SyntaxError: invalid"),
        ("KeyError\n", "KeyError"),
        ("the file is no zip\n", "the file is no zip"),
    ],
)
def test_an_import_errors_message_is_the_line_that_says_what_was_raised(text: str, message: str) -> None:
    assert import_error(text).data["message"] == message
