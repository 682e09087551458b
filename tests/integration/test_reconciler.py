"""What Airflow's tables show and nobody reported is recorded once, and nothing else."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.utils.state import DagRunState, TaskInstanceState
from sqlalchemy import Engine, delete, select

from ml_event_provider import config
from ml_event_provider.dispatch import reconciler
from ml_event_provider.dispatch.reconciler import Reconciler
from ml_event_provider.events.catalogue import validate_data
from ml_event_provider.listeners import dag_runs, task_instances
from ml_event_provider.store import airflow_tables, cursors, events, retention
from ml_event_provider.store.engine import transaction
from tests.integration.airflow_rows import (
    NOW,
    ago,
    end_run,
    end_try,
    orm_session,
    start_run,
    task_instance,
    write_dag,
)
from tests.integration.recorded import event as an_event
from tests.integration.recorded import matched_now, recorded, recorded_types

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from ml_event_provider.events.model import Event

GRACE = 15.0


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self, _connection: object = None) -> datetime:
        return self.now

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def session(airflow_db: Engine) -> Iterator[Session]:
    with orm_session() as session:
        yield session
        session.rollback()


@pytest.fixture
def one(airflow_db: Engine, clock: Clock) -> Reconciler:
    """A reconciler that was installed two hours ago, when there was no run yet."""
    clock.now = ago(7200)
    made = Reconciler(grace=GRACE, retention=config.retention_days(), now=clock)
    assert made.reconcile_runs() == []
    assert made.read_tables() == []
    clock.now = NOW
    return made


@pytest.fixture
def run(session: Session, one: Reconciler) -> Any:
    write_dag(session, tasks=("fit", "load", "gate"), retries=1, tags={"nightly"}, off={"gate"})
    return start_run(session)


def states(events: list[Event]) -> list[tuple[str, int]]:
    return sorted((event.data["state"], event.data["try_number"]) for event in events)


@pytest.mark.parametrize("state", ["failed", "success", "skipped", "upstream_failed", "removed"])
def test_unreported_task_is_recorded_after_the_grace_and_once(
    session: Session, run: Any, one: Reconciler, clock: Clock, state: str
) -> None:
    ti = task_instance(session, run)
    end_try(ti, TaskInstanceState(state), at=NOW, try_number=2)
    session.commit()
    assert one.reconcile_runs() == []
    clock.later(GRACE)
    assert one.reconcile_runs() == []
    clock.later(0.001)
    (event,) = one.reconcile_runs()
    assert validate_data(event) == []
    assert (event.type, event.origin, event.owner) == (f"airflow.task_instance.{state}", "reconciler", "ada")
    assert (event.time, event.data["try_id"], event.data["tags"]) == (NOW, str(ti.id), ["nightly"])
    assert (event.data["operator"], event.data["run_type"]) == ("EmptyOperator", "manual")
    assert recorded() == [event]
    for _ in range(3):
        clock.later(3600)
        assert one.reconcile_runs() == []


def test_task_that_never_started_is_recorded_by_its_last_change(
    session: Session, run: Any, one: Reconciler, clock: Clock
) -> None:
    ti = task_instance(session, run)
    ti.state, ti.updated_at = TaskInstanceState.UPSTREAM_FAILED, NOW
    session.commit()
    clock.later(60)
    (event,) = one.reconcile_runs()
    assert (event.type, event.time, event.data["try_number"]) == (
        "airflow.task_instance.upstream_failed",
        NOW,
        0,
    )


def test_what_a_listener_reported_is_not_recorded_again(
    session: Session, run: Any, one: Reconciler, clock: Clock
) -> None:
    ti = task_instance(session, run)
    end_try(ti, TaskInstanceState.FAILED, at=NOW, try_number=2)
    task_instances.on_task_instance_failed(previous_state=None, task_instance=ti, error="boom")
    end_run(run, DagRunState.FAILED, at=NOW)
    dag_runs.on_dag_run_failed(dag_run=run, msg="")
    session.commit()
    clock.later(3600)
    assert one.reconcile_runs() == []
    assert len(recorded()) == 2


def test_both_states_of_a_try_are_recorded_where_only_one_was_reported(
    session: Session, run: Any, one: Reconciler, clock: Clock
) -> None:
    ti = task_instance(session, run)
    end_try(ti, TaskInstanceState.SUCCESS, at=NOW)
    task_instances.on_task_instance_success(previous_state=None, task_instance=ti)
    end_try(ti, TaskInstanceState.FAILED, at=NOW + timedelta(seconds=1))
    session.commit()
    clock.later(60)
    assert states(one.reconcile_runs()) == [("failed", 1)]


def retry(session: Session, ti: Any, *, at: datetime) -> Any:
    """Let a running try fail with a retry to come, as the execution API does; returns its UUID."""
    ended = ti.id
    end_try(ti, TaskInstanceState.RUNNING, at=at, try_number=ti.try_number or 1)
    ti.prepare_db_for_next_try(session)
    ti.state = TaskInstanceState.UP_FOR_RETRY
    session.commit()
    return ended


def test_killed_try_that_is_retried_is_recorded_from_the_history(
    session: Session, run: Any, one: Reconciler, clock: Clock
) -> None:
    ti = task_instance(session, run)
    ended = retry(session, ti, at=NOW)
    clock.later(60)
    (event,) = one.reconcile_runs()
    assert (event.type, event.data["try_id"]) == ("airflow.task_instance.up_for_retry", str(ended))
    end_try(ti, TaskInstanceState.FAILED, at=clock.now, try_number=2)
    session.commit()
    clock.later(60)
    (event,) = one.reconcile_runs()
    assert (event.type, event.data["try_id"]) == ("airflow.task_instance.failed", str(ti.id))
    clock.later(60)
    assert one.reconcile_runs() == []


@pytest.mark.parametrize("reported", ["up_for_retry", "failed"])
def test_retried_try_that_was_reported_is_not_recorded_again(
    session: Session, run: Any, one: Reconciler, clock: Clock, reported: str
) -> None:
    ti = task_instance(session, run)
    ended = retry(session, ti, at=NOW)
    with transaction() as connection:
        told = an_event("worker", type=f"airflow.task_instance.{reported}", data={"try_id": str(ended)})
        events.record_one(connection, told)
    clock.later(60)
    assert one.reconcile_runs() == []


def test_cleared_task_keeps_its_earlier_try(session: Session, run: Any, one: Reconciler, clock: Clock) -> None:
    from airflow.models.taskinstance import clear_task_instances

    ti = task_instance(session, run)
    end_try(ti, TaskInstanceState.FAILED, at=NOW, try_number=2)
    end_run(run, DagRunState.FAILED, at=NOW)
    session.commit()
    first = str(ti.id)
    clear_task_instances([ti], session)
    session.commit()
    session.expire_all()
    clock.later(60)
    found = one.reconcile_runs()
    assert [(event.data["state"], event.data["try_id"]) for event in found] == [("failed", first)]
    ti = task_instance(session, run)
    end_try(ti, TaskInstanceState.SUCCESS, at=clock.now, try_number=3)
    session.commit()
    clock.later(60)
    assert states(one.reconcile_runs()) == [("success", 3)]


def test_mapped_task_instances_are_each_recorded(session: Session, run: Any, one: Reconciler, clock: Clock) -> None:
    from airflow.models.taskinstance import TaskInstance

    plain = task_instance(session, run)
    for index in range(3):
        mapped = TaskInstance(plain.task or _task("fit", session), plain.dag_version_id, run.run_id, map_index=index)
        end_try(mapped, TaskInstanceState.FAILED, at=NOW)
        session.add(mapped)
    session.commit()
    clock.later(60)
    found = one.reconcile_runs()
    assert sorted(event.subject for event in found) == [f"dags/train/runs/run-1/tasks/fit/{n}" for n in range(3)]
    assert sorted(event.data["map_index"] for event in found) == [0, 1, 2]


def _task(task_id: str, session: Session) -> Any:
    from airflow.models.serialized_dag import SerializedDagModel

    serialized = SerializedDagModel.get("train", session=session)
    assert serialized is not None
    return serialized.dag.get_task(task_id)


def test_history_before_the_installation_is_not_replayed(airflow_db: Engine, clock: Clock) -> None:
    with orm_session() as session:
        write_dag(session)
        old = start_run(session, run_id="old")
        end_try(task_instance(session, old), TaskInstanceState.FAILED, at=ago(60))
        end_run(old, DagRunState.FAILED, at=ago(60))
        active = start_run(session, run_id="active")
        end_try(task_instance(session, active), TaskInstanceState.FAILED, at=ago(60))
    made = Reconciler(grace=GRACE, now=clock)
    for _ in range(3):
        assert made.reconcile_runs() == []
        clock.later(60)
    with orm_session() as session:
        end_run(session.merge(active), DagRunState.FAILED, at=NOW + timedelta(seconds=1))
    assert [event.type for event in made.reconcile_runs()] == ["airflow.dag_run.failed"]


def test_unreported_run_is_recorded_after_the_grace_and_once(
    session: Session, run: Any, one: Reconciler, clock: Clock
) -> None:
    end_run(run, DagRunState.SUCCESS, at=NOW)
    session.commit()
    assert one.reconcile_runs() == []
    clock.later(GRACE + 0.001)
    (event,) = one.reconcile_runs()
    assert validate_data(event) == []
    assert (event.type, event.time, event.data["tags"]) == ("airflow.dag_run.success", NOW, ["nightly"])
    assert one.reconcile_runs() == []
    assert recorded_types() == ["airflow.dag_run.success"]


def watched() -> list[int]:
    with transaction() as connection:
        return cursors.watched(connection)


def test_run_is_watched_until_it_and_its_tasks_ended(session: Session, run: Any, one: Reconciler, clock: Clock) -> None:
    one.reconcile_runs()
    assert watched() == [run.id]
    ti = task_instance(session, run)
    ti.state = TaskInstanceState.RUNNING
    end_run(run, DagRunState.FAILED, at=NOW)
    session.commit()
    clock.later(60)
    one.reconcile_runs()
    assert watched() == [run.id]
    end_try(ti, TaskInstanceState.FAILED, at=clock.now)
    session.commit()
    clock.later(GRACE + 1)
    assert states(one.reconcile_runs()) == [("failed", 1)]
    assert watched() == [run.id]
    clock.later(GRACE)
    one.reconcile_runs()
    assert watched() == []


def test_deleted_run_is_watched_no_longer(session: Session, run: Any, one: Reconciler) -> None:
    from airflow.models.dagrun import DagRun

    one.reconcile_runs()
    session.execute(delete(DagRun))
    session.commit()
    one.reconcile_runs()
    assert watched() == []


def test_run_cleared_after_it_was_complete_is_watched_again(
    session: Session, run: Any, one: Reconciler, clock: Clock
) -> None:
    end_run(run, DagRunState.SUCCESS, at=NOW)
    session.commit()
    clock.later(3600)
    one.reconcile_runs()
    assert watched() == []
    run.state, run.clear_number, run.end_date = DagRunState.QUEUED, 1, None
    session.commit()
    one.reconcile_runs()
    assert watched() == [run.id]
    end_run(run, DagRunState.SUCCESS, at=clock.now)
    session.commit()
    clock.later(60)
    (event,) = one.reconcile_runs()
    assert event.data["clear_number"] == 1


def test_opted_out_and_excluded_tasks_are_left_alone(
    session: Session, run: Any, one: Reconciler, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__EXCLUDE_TASKS", "train.load")
    for task_id in ("fit", "load", "gate"):
        end_try(task_instance(session, run, task_id), TaskInstanceState.FAILED, at=NOW)
    session.commit()
    clock.later(60)
    assert [event.data["task_id"] for event in one.reconcile_runs()] == ["fit"]


def test_dag_with_the_off_tag_is_left_alone(session: Session, one: Reconciler, clock: Clock) -> None:
    write_dag(session, "quiet", tags={"ml-events:off"})
    run = start_run(session, "quiet")
    end_try(task_instance(session, run), TaskInstanceState.FAILED, at=NOW)
    end_run(run, DagRunState.FAILED, at=NOW)
    session.commit()
    clock.later(60)
    assert one.reconcile_runs() == []


def test_task_that_left_the_dag_is_still_recorded(session: Session, run: Any, one: Reconciler, clock: Clock) -> None:
    end_try(task_instance(session, run, "load"), TaskInstanceState.REMOVED, at=NOW)
    session.commit()
    write_dag(session, tasks=("fit",))
    clock.later(60)
    (event,) = one.reconcile_runs()
    assert (event.type, event.data["task_id"], event.owner) == (
        "airflow.task_instance.removed",
        "load",
        "ada",
    )


def test_runs_of_many_dags_are_read_in_chunks(session: Session, one: Reconciler, clock: Clock) -> None:
    from airflow.models.dagrun import DagRun

    write_dag(session)
    first = start_run(session)
    columns = {c.name: getattr(first, c.key, None) for c in DagRun.__table__.c if c.name not in ("id", "state")}
    columns["state"] = "running"
    session.execute(
        DagRun.__table__.insert(),
        [{**columns, "run_id": f"more-{n}", "logical_date": None} for n in range(650)],
    )
    session.commit()
    end_try(task_instance(session, first), TaskInstanceState.FAILED, at=NOW)
    session.commit()
    clock.later(60)
    assert states(one.reconcile_runs()) == [("failed", 1)]
    assert len(watched()) == 651


def make_asset(session: Session, name: str) -> Any:
    from airflow.models.asset import AssetModel

    asset = AssetModel(name=name, uri="s3://models/1", group="model", extra={"v": 1})
    asset.created_at = asset.updated_at = NOW
    session.add(asset)
    session.commit()
    return asset


def make_asset_event(session: Session, asset: Any, *, number: int | None = None, extra: Any = None) -> None:
    add_asset_event(session, asset, number=number, extra=extra)
    session.commit()


def add_asset_event(session: Session, asset: Any, *, number: int | None = None, extra: Any = None) -> None:
    from airflow.models.asset import AssetEvent

    session.add(
        AssetEvent(
            id=number,
            asset_id=asset.id,
            extra=extra or {},
            source_dag_id="train",
            source_task_id="fit",
            source_run_id="run-1",
            source_map_index=-1,
            timestamp=NOW,
        )
    )


def test_assets_and_their_updates_are_recorded_once(session: Session, one: Reconciler) -> None:
    asset = make_asset(session, "模型")
    make_asset_event(session, asset, extra={"rows": 7})
    created, updated = one.read_tables()
    assert validate_data(created) == validate_data(updated) == []
    assert (created.type, created.subject, created.time) == ("airflow.asset.created", "assets/模型", NOW)
    assert created.data == {
        "asset_id": asset.id,
        "name": "模型",
        "uri": "s3://models/1",
        "group": "model",
        "extra": {"v": 1},
    }
    assert updated.type == "airflow.asset.updated"
    assert updated.data == {
        **created.data,
        "extra": {"rows": 7},
        "source_dag_id": "train",
        "source_task_id": "fit",
        "source_run_id": "run-1",
        "source_map_index": -1,
        "timestamp": "2026-11-22T12:00:00.123456Z",
    }
    assert one.read_tables() == []
    make_asset_event(session, asset)
    assert [event.type for event in one.read_tables()] == ["airflow.asset.updated"]
    assert len(recorded()) == 3


def test_update_whose_number_commits_late_is_still_found(session: Session, one: Reconciler, clock: Clock) -> None:
    if session.get_bind().dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time: numbers commit in order")
    asset = make_asset(session, "model")
    one.read_tables()
    with orm_session() as late:
        add_asset_event(late, asset, number=1_000)
        late.flush()
        for number in range(1_001, 1_301):
            add_asset_event(session, asset, number=number)
        session.commit()
        assert len(one.read_tables()) == 300
        clock.later(86_400)
        assert one.read_tables() == []
    assert [event.type for event in one.read_tables()] == ["airflow.asset.updated"]
    assert one.read_tables() == []


def test_run_whose_number_commits_late_and_that_ended_at_once_is_found(
    session: Session, run: Any, one: Reconciler, clock: Clock
) -> None:
    from airflow.models.dagrun import DagRun

    if session.get_bind().dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time: numbers commit in order")
    one.reconcile_runs()
    columns = {c.name: getattr(run, c.key, None) for c in DagRun.__table__.c if c.name not in ("id", "state")}
    ended = {**columns, "logical_date": None, "state": "failed", "end_date": NOW}
    with orm_session() as late:
        late.execute(DagRun.__table__.insert(), [{**ended, "id": run.id + 1, "run_id": "late"}])
        rows = [{**ended, "id": run.id + 2 + n, "run_id": f"more-{n}"} for n in range(250)]
        session.execute(DagRun.__table__.insert(), rows)
        session.commit()
        clock.later(86_400)
        assert len(one.reconcile_runs()) == 250
    assert [event.data["run_id"] for event in one.reconcile_runs()] == ["late"]


@pytest.mark.parametrize("ahead", [3600.0, 86_400.0])
def test_what_a_clock_ahead_of_the_database_wrote_is_not_waited_for(
    session: Session, run: Any, one: Reconciler, clock: Clock, ahead: float
) -> None:
    moment = NOW + timedelta(seconds=ahead)
    end_try(task_instance(session, run), TaskInstanceState.FAILED, at=moment, try_number=2)
    end_run(run, DagRunState.FAILED, at=moment)
    session.commit()
    assert sorted(event.type for event in one.reconcile_runs()) == [
        "airflow.dag_run.failed",
        "airflow.task_instance.failed",
    ]
    clock.later(3600)
    assert one.reconcile_runs() == []


def test_more_updates_than_one_batch_are_all_found(
    session: Session, one: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "BATCH", 20)
    asset = make_asset(session, "model")
    for number in range(1, 51):
        make_asset_event(session, asset, number=number)
    found = 0
    for _ in range(5):
        found += len(one.read_tables())
    assert found == 51


def test_assets_before_the_installation_are_not_replayed(session: Session, clock: Clock) -> None:
    asset = make_asset(session, "old")
    make_asset_event(session, asset)
    clock.later(60)
    made = Reconciler(grace=GRACE, now=clock)
    assert made.read_tables() == []
    assert made.read_tables() == []


def import_error(session: Session, text: str, *, at: datetime, filename: str = "train.py") -> None:
    """As the DAG processor writes it: the file's row is updated, or made anew."""
    from airflow.models.errors import ParseImportError

    row = session.scalars(select(ParseImportError).where(ParseImportError.filename == filename)).first()
    if row is None:
        row = ParseImportError(filename=filename, bundle_name="tests")
        session.add(row)
    row.stacktrace, row.timestamp = text, at
    session.commit()


def test_import_error_is_one_event_until_it_changes(session: Session, one: Reconciler, clock: Clock) -> None:
    import_error(session, "Traceback\nModuleNotFoundError: sklearn\n", at=NOW)
    (event,) = one.read_tables()
    assert validate_data(event) == []
    assert event.data == {
        "filename": "train.py",
        "bundle_name": "tests",
        "message": "ModuleNotFoundError: sklearn",
        "stacktrace": "Traceback\nModuleNotFoundError: sklearn\n",
    }
    import_error(session, "Traceback\nModuleNotFoundError: sklearn\n", at=NOW + timedelta(seconds=30))
    assert one.read_tables() == []
    import_error(session, "Traceback\nSyntaxError: invalid\n", at=NOW + timedelta(seconds=60))
    assert [event.data["message"] for event in one.read_tables()] == ["SyntaxError: invalid"]
    assert len(recorded()) == 2


def test_import_error_that_names_its_process_is_one_event_however_often_the_file_is_parsed(
    session: Session, one: Reconciler
) -> None:
    for parse in range(3):
        text = f"Timeout: <Client object at 0x7f3a1c0b2d{parse}0> of process {100 + parse}"
        import_error(session, text, at=NOW + timedelta(seconds=30 * parse))
        one.read_tables()
    assert len(recorded()) == 1


def test_error_that_comes_back_after_it_was_fixed_is_an_event_again(session: Session, one: Reconciler) -> None:
    from airflow.models.errors import ParseImportError

    import_error(session, "SyntaxError", at=NOW)
    assert len(one.read_tables()) == 1
    session.execute(delete(ParseImportError))
    session.commit()
    # SQLite gives the highest number again; on PostgreSQL the row is another one.
    import_error(session, "other", at=NOW, filename="other.py")
    import_error(session, "SyntaxError", at=NOW + timedelta(seconds=60))
    assert [event.data["filename"] for event in one.read_tables()] == ["other.py", "train.py"]


def test_import_error_before_the_installation_is_not_replayed(session: Session, clock: Clock) -> None:
    import_error(session, "old", at=ago(60))
    made = Reconciler(grace=GRACE, now=clock)
    assert made.read_tables() == []


@pytest.mark.parametrize("filename", ["a\nb.py", "x" * 1000 + ".py", "训练/列.py", ""])
def test_odd_file_names_do_not_stop_the_others(session: Session, one: Reconciler, filename: str) -> None:
    import_error(session, "", at=NOW, filename=filename)
    import_error(session, "SyntaxError", at=NOW, filename="other.py")
    assert [event.data["filename"] for event in one.read_tables()] == [filename, "other.py"]


def test_workspace_is_the_team_of_the_dags_bundle(session: Session, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.team import Team

    monkeypatch.setenv("AIRFLOW__ML_EVENTS__WORKSPACE", "everyone")
    session.get_one(DagBundleModel, "tests").teams = [Team(name="fraud")]
    session.commit()
    config.forget()
    with transaction() as connection:
        assert airflow_tables.workspaces_of(connection, ["train", "gone"]) == {
            "train": "everyone",
            "gone": "everyone",
        }
        monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")
        assert airflow_tables.workspaces_of(connection, ["train", "gone"]) == {
            "train": "fraud",
            "gone": "everyone",
        }
        assert airflow_tables.workspace_of(connection, "train") == "fraud"


def test_old_tries_whose_events_were_pruned_are_not_replayed_when_their_run_is_cleared(
    session: Session, run: Any, one: Reconciler, clock: Clock
) -> None:
    for task_id in ("fit", "load"):
        ti = task_instance(session, run, task_id)
        end_try(ti, TaskInstanceState.SUCCESS, at=NOW)
        task_instances.on_task_instance_success(previous_state=None, task_instance=ti)
    end_run(run, DagRunState.SUCCESS, at=NOW)
    dag_runs.on_dag_run_success(dag_run=run, msg="")
    session.commit()
    clock.later(100 * 86_400)
    one.reconcile_runs()
    with transaction() as connection:
        events.record(connection, [an_event("newest")], now=clock.now)
    matched_now(100, clock.now)
    assert retention.prune(clock.now - timedelta(days=config.retention_days())) == 3
    run.state, run.clear_number = DagRunState.RUNNING, 1
    session.commit()
    assert one.reconcile_runs() == []


def test_asset_whose_extra_is_too_large_does_not_stop_the_others(session: Session, one: Reconciler) -> None:
    asset = make_asset(session, "model")
    make_asset_event(session, asset, extra={f"k{n}": n for n in range(30_000)})
    make_asset_event(session, asset, extra={"rows": 7})
    _, large, small = one.read_tables()
    assert "extra" not in large.data
    assert re.search(r"has 42826\d bytes", large.data["extra_left_out"])
    assert small.data["extra"] == {"rows": 7}


def test_an_old_run_that_was_cleared_and_ended_between_two_rounds_is_looked_at(
    session: Session, run: Any, one: Reconciler, clock: Clock
) -> None:
    """Neither new nor active when the reconciler looks: only our own events of the run tell of it."""
    end_run(run, DagRunState.SUCCESS, at=NOW)
    dag_runs.on_dag_run_success(dag_run=run, msg="")
    session.commit()
    clock.later(7200)
    assert one.reconcile_runs() == []
    with transaction() as connection:
        assert cursors.watched(connection) == []
    run.clear_number = 1
    end_try(task_instance(session, run, "fit"), TaskInstanceState.FAILED, at=clock.now)
    end_run(run, DagRunState.FAILED, at=clock.now)
    dag_runs.on_dag_run_failed(dag_run=run, msg="")
    session.commit()
    clock.later(60)
    assert [event.type for event in one.reconcile_runs()] == ["airflow.task_instance.failed"]


def test_a_try_that_was_cleared_before_it_started_is_not_told_of(
    session: Session, run: Any, one: Reconciler, clock: Clock
) -> None:
    """Airflow archives whatever is cleared as a failed try, also what never ran."""
    ti = task_instance(session, run, "fit")
    ti.state, ti.try_number, ti.start_date = TaskInstanceState.QUEUED, 1, None
    ti.prepare_db_for_next_try(session)
    ti.state = None
    session.commit()
    clock.later(60)
    assert one.reconcile_runs() == []


def test_a_dag_that_cannot_be_deserialized_does_not_stop_the_others(
    session: Session, run: Any, one: Reconciler, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.models.serialized_dag import SerializedDagModel

    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("its timetable plugin is gone")

    monkeypatch.setattr(SerializedDagModel, "get", broken)
    end_try(task_instance(session, run, "fit"), TaskInstanceState.FAILED, at=NOW)
    session.commit()
    clock.later(60)
    assert [event.type for event in one.reconcile_runs()] == ["airflow.task_instance.failed"]
