"""A rule's actions do in Airflow what its own API does, once for each delivery, and carry how many lie behind them."""

from __future__ import annotations

import threading
import warnings
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from airflow.models.asset import AssetActive, AssetDagRunQueue, AssetEvent
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.log import Log
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import Engine, delete, event, select, update

from ml_event_provider.dispatch.actions import perform
from ml_event_provider.dispatch.matching import notify_directly
from ml_event_provider.events.hops import run_id_of
from ml_event_provider.sources.airflow import asset_updated_event, dag_run_event
from ml_event_provider.store import airflow_tables, events, notifications
from ml_event_provider.store.airflow_actions import GENERATIONS, hops_of
from ml_event_provider.store.engine import transaction, utc_now
from ml_event_provider.store.notifications import NewDelivery, NewNotification
from ml_event_provider.targets import Outcome, Result
from tests.integration.airflow_rows import BUNDLE, ago, orm_session
from tests.integration.recorded import EVENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ml_event_provider.events.model import Event

pytestmark = pytest.mark.usefixtures("airflow_db")

DELIVERY = "0b6f2a53-6f0f-5a55-9c0a-1c9b2a1d4e5f"
OTHER_DELIVERY = "1b6f2a53-6f0f-5a55-9c0a-1c9b2a1d4e5f"
APPROVED = replace(
    EVENT,
    type="ml.model_version.approved",
    subject="models/churn/versions/7",
    data={"model": "churn", "version": "7", "score": 0.875, "tags": {"team": "risk"}},
)


def act(action: dict[str, Any], *, about: Event = APPROVED, delivery: str = DELIVERY, hops: int = 1) -> Result:
    note(delivery, hops, action)
    return perform(action, event=about, delivery_id=delivery, rule="deploy", workspace="default", hops=hops)


def note(delivery: str, hops: int, action: dict[str, Any] | None = None) -> None:
    """A delivery that is an action, as matching makes it; one that is there stays."""
    made = NewDelivery(id=delivery, action={"action": action or {}, "hops": hops})
    of = NewNotification(
        id=f"n-{delivery[:30]}",
        workspace="default",
        rule="deploy",
        rule_version=1,
        severity="info",
        event_seq=1,
        deliveries=(made,),
    )
    with transaction() as connection:
        notifications.create(connection, [of], now=utc_now())


def write_dag(
    dag_id: str, *, schedule: Any = None, params: dict[str, Any] | None = None, outlets: Iterable[Any] = ()
) -> None:
    """Parse and store an unpaused DAG of one task, with its assets, as the DAG processor does."""
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG
    from airflow.serialization.definitions.dag import SerializedDAG
    from airflow.serialization.serialized_objects import LazyDeserializedDAG

    with DAG(
        dag_id,
        schedule=schedule,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        params=params,
        is_paused_upon_creation=False,
    ) as dag:
        EmptyOperator(task_id="work", outlets=list(outlets))
    with orm_session() as session:
        if session.get(DagBundleModel, BUNDLE) is None:
            session.add(DagBundleModel(name=BUNDLE))
            session.flush()
        parsed = LazyDeserializedDAG.from_dag(dag)
        SerializedDAG.bulk_write_to_db(BUNDLE, None, [parsed], session=session)
        SerializedDagModel.write_dag(parsed, BUNDLE, session=session)


def asset(name: str = "model", uri: str = "s3://models/churn") -> Any:
    from airflow.sdk import Asset

    return Asset(name=name, uri=uri)


def change_dag(dag_id: str, **values: Any) -> None:
    with orm_session() as session:
        session.execute(update(DagModel).where(DagModel.dag_id == dag_id).values(values))


def runs() -> list[DagRun]:
    with orm_session() as session:
        return list(session.scalars(select(DagRun).order_by(DagRun.id)))


def only_conf() -> dict[str, Any]:
    [run] = runs()
    return run.conf or {}


def asset_events() -> list[AssetEvent]:
    with orm_session() as session:
        return list(session.scalars(select(AssetEvent).order_by(AssetEvent.id)))


def queued_dags() -> list[str]:
    with orm_session() as session:
        return list(session.scalars(select(AssetDagRunQueue.target_dag_id).order_by(AssetDagRunQueue.target_dag_id)))


def audit_log() -> list[tuple[str, str | None, str | None]]:
    with orm_session() as session:
        return [(one.event, one.dag_id, one.owner) for one in session.scalars(select(Log).order_by(Log.id))]


class TestTrigger:
    TRIGGER: ClassVar[dict[str, Any]] = {"trigger_dag": {"dag_id": "deploy", "conf": {}, "logical_date": None}}

    def test_a_run_is_queued_with_the_filled_conf_and_what_it_answers(self) -> None:
        write_dag("deploy")
        conf = {
            "model": "{{ data.model }}-v{{ data.version }}",
            "score": "{{ data.score }}",
            "labels": ["{{ data.tags }}", "{{ rule }} in {{ workspace }}", 3, None],
            "note": "{{ data.note | default(none) }}",
        }
        result = act({"trigger_dag": {"dag_id": "deploy", "conf": conf, "logical_date": None}}, hops=2)
        assert (result.outcome, result.code) == (Outcome.DELIVERED, "triggered")
        [run] = runs()
        assert result.reason == run.run_id == f"ml_events__hop2__{DELIVERY}"
        assert (run.dag_id, run.state, run.run_type) == ("deploy", DagRunState.QUEUED, DagRunType.MANUAL)
        assert run.triggered_by is DagRunTriggeredByType.REST_API
        assert run.triggering_user_name == "ml-events rule deploy"
        assert run.logical_date is None
        assert run.conf == {
            "model": "churn-v7",
            "score": 0.875,
            "labels": [{"team": "risk"}, "deploy in default", 3, None],
            "note": None,
            "ml_events": {
                "event_id": "e-1",
                "event_type": "ml.model_version.approved",
                "subject": "models/churn/versions/7",
                "rule": "deploy",
                "workspace": "default",
                "hops": 2,
                "delivery_id": DELIVERY,
                "data": dict(APPROVED.data),
            },
        }
        assert audit_log() == [("ml_events.trigger_dag", "deploy", "ml-events rule deploy")]

    def test_the_run_has_task_instances_so_that_the_scheduler_can_run_it(self) -> None:
        write_dag("deploy")
        act(self.TRIGGER)
        with orm_session() as session:
            run = session.scalars(select(DagRun)).one()
            assert [one.task_id for one in run.get_task_instances(session=session)] == ["work"]

    def test_a_repeated_try_makes_no_second_run(self) -> None:
        write_dag("deploy")
        act(self.TRIGGER)
        again = act(self.TRIGGER)
        assert (again.outcome, again.code) == (Outcome.DELIVERED, "already triggered")
        assert len(runs()) == 1
        assert len(audit_log()) == 1

    def test_a_repeated_try_is_delivered_though_the_dag_is_gone_since(self) -> None:
        write_dag("deploy")
        act(self.TRIGGER)
        change_dag("deploy", is_stale=True)
        assert act(self.TRIGGER).code == "already triggered"

    def test_another_delivery_makes_another_run(self) -> None:
        write_dag("deploy")
        act(self.TRIGGER)
        assert act(self.TRIGGER, delivery=OTHER_DELIVERY).code == "triggered"
        assert len(runs()) == 2

    def test_two_tries_at_the_same_time_make_one_run(self) -> None:
        write_dag("deploy")
        results = at_the_same_time(lambda: act(self.TRIGGER))
        assert len(runs()) == 1
        codes = [one.code if isinstance(one, Result) else type(one).__name__ for one in results]
        # SQLite may be busy: then the try is repeated.
        assert "triggered" in codes
        assert set(codes) <= {"triggered", "already triggered", "OperationalError"}

    def test_a_run_that_another_try_made_meanwhile_is_no_error(self, airflow_db: Engine) -> None:
        write_dag("deploy")
        quicker: list[Result] = []

        def overtake() -> None:
            thread = threading.Thread(target=lambda: quicker.append(act(self.TRIGGER)))
            thread.start()
            thread.join()

        with just_before(airflow_db, "INSERT INTO dag_run ", overtake):
            slower = act(self.TRIGGER)
        assert [quicker[0].code, slower.code] == ["triggered", "already triggered"]
        assert len(runs()) == 1
        assert len(audit_log()) == 1

    def test_a_paused_dag_has_its_run_wait(self) -> None:
        write_dag("deploy")
        change_dag("deploy", is_paused=True)
        result = act(self.TRIGGER)
        assert (result.outcome, result.code) == (Outcome.DELIVERED, "triggered")
        assert result.reason.endswith("; the DAG is paused: the run waits")
        assert len(runs()) == 1

    def test_an_unknown_dag_may_be_deployed_later(self) -> None:
        result = act(self.TRIGGER)
        assert result == Result.retry("no dag", "Dag with dag_id: 'deploy' not found")
        write_dag("deploy")
        assert act(self.TRIGGER).code == "triggered"

    @pytest.mark.parametrize(
        ("state", "words"),
        [({"is_stale": True}, "not found: it is stale"), ({"has_import_errors": True}, "has import errors")],
        ids=["stale", "import errors"],
    )
    def test_a_broken_dag_may_be_mended_later(self, state: dict[str, Any], words: str) -> None:
        write_dag("deploy")
        change_dag("deploy", **state)
        result = act(self.TRIGGER)
        assert (result.outcome, result.code) == (Outcome.RETRY, "no dag")
        assert words in result.reason
        assert runs() == []

    def test_a_dag_that_is_not_serialized_may_be_so_later(self) -> None:
        from airflow.models.serialized_dag import SerializedDagModel

        write_dag("deploy")
        with orm_session() as session:
            session.execute(delete(SerializedDagModel))
        assert act(self.TRIGGER) == Result.retry("no dag", "Dag id deploy not found")

    def test_wrong_params_are_refused_in_airflows_words(self) -> None:
        from airflow.sdk import Param

        write_dag("deploy", params={"replicas": Param(1, type="integer")})
        wrong = act({"trigger_dag": {"dag_id": "deploy", "conf": {"replicas": "{{ data.model }}"}}})
        # Airflow 3.2 has no name of its own for it.
        assert wrong.outcome is Outcome.REFUSED
        assert wrong.code in {"ParamValidationError", "ValueError"}
        assert wrong.reason.startswith("Invalid input for param replicas: 'churn' is not of type 'integer'")
        assert runs() == []
        right = act({"trigger_dag": {"dag_id": "deploy", "conf": {"replicas": "{{ data.version | int }}"}}})
        assert right.code == "triggered"
        assert only_conf()["replicas"] == 7

    def test_a_dag_without_manual_runs_refuses_in_airflows_words(self) -> None:
        write_dag("deploy")
        change_dag("deploy", allowed_run_types=["scheduled"])
        result = act(self.TRIGGER)
        assert result == Result.refused("ValueError", "Dag with dag_id: 'deploy' does not allow manual runs")

    def test_what_the_database_cannot_store_is_replaced(self) -> None:
        write_dag("deploy")
        odd = replace(APPROVED, data={"text": "a\0b\ud800c"})
        act({"trigger_dag": {"dag_id": "deploy", "conf": {"text": "{{ data.text }}!"}}}, about=odd)
        conf = only_conf()
        assert conf["text"] == "a\ufffdb\ufffdc!"
        assert conf["ml_events"]["data"] == {"text": "a\ufffdb\ufffdc"}

    def test_large_data_is_left_out(self) -> None:
        write_dag("deploy")
        act(self.TRIGGER, about=replace(APPROVED, data={"text": "ä" * 9000}))
        told = only_conf()["ml_events"]
        assert told["event_id"] == "e-1"
        assert "data" not in told

    def test_a_database_in_trouble_raises(self, airflow_db: Engine) -> None:
        write_dag("deploy")

        def fail() -> None:
            raise RuntimeError("no disk")

        with just_before(airflow_db, "INSERT INTO dag_run ", fail), pytest.raises(RuntimeError, match="no disk"):
            act(self.TRIGGER)
        assert act(self.TRIGGER).code == "triggered"


class TestAssetEvent:
    CREATE: ClassVar[dict[str, Any]] = {"asset_event": {"uri": "s3://models/churn", "name": None, "extra": {}}}

    def test_it_is_created_and_queues_the_dags_that_wait_for_the_asset(self) -> None:
        write_dag("retrain", schedule=[asset()])
        write_dag("other", schedule=[asset("data", "s3://data/x")])
        result = act({"asset_event": {**self.CREATE["asset_event"], "extra": {"why": "{{ data.model }} drifted"}}})
        assert result == Result.delivered("created", "s3://models/churn")
        [created] = asset_events()
        assert created.extra == {
            "why": "churn drifted",
            "ml_events": {"delivery_id": DELIVERY, "hops": 1, "rule": "deploy", "event_id": "e-1"},
        }
        assert created.source_dag_id is None
        assert queued_dags() == ["retrain"]
        assert audit_log() == [("ml_events.asset_event", None, "ml-events rule deploy")]

    def test_airflows_scheduler_runs_the_dag_that_it_queued(self) -> None:
        write_dag("retrain", schedule=[asset()])
        act(self.CREATE, hops=3)
        [run] = schedule_asset_runs()
        assert (run.dag_id, run.run_type) == ("retrain", DagRunType.ASSET_TRIGGERED)
        assert hops(dag_run_event(run, state="running", workspace="default", origin="scheduler")) == 3

    def test_a_repeated_try_creates_no_second(self) -> None:
        write_dag("retrain", schedule=[asset()])
        recorded_delivery()
        act(self.CREATE)
        assert act(self.CREATE) == Result.delivered("already created", "s3://models/churn")
        assert len(asset_events()) == 1

    def test_a_repeated_try_is_known_though_the_extra_is_not_the_same(self) -> None:
        write_dag("retrain", schedule=[asset()])
        act(self.CREATE)
        changed = {"asset_event": {**self.CREATE["asset_event"], "extra": {"why": OTHER_DELIVERY}}}
        assert act(changed).code == "already created"

    def test_another_delivery_creates_another(self) -> None:
        write_dag("retrain", schedule=[asset()])
        recorded_delivery()
        mentions = {"asset_event": {**self.CREATE["asset_event"], "extra": {"instead of": OTHER_DELIVERY}}}
        act(mentions)
        assert act(self.CREATE, delivery=OTHER_DELIVERY).code == "created"
        assert len(asset_events()) == 2

    def test_two_tries_at_the_same_time_create_one(self) -> None:
        write_dag("retrain", schedule=[asset()])
        recorded_delivery()
        results = at_the_same_time(lambda: act(self.CREATE))
        assert len(asset_events()) == 1
        codes = {one.code if isinstance(one, Result) else type(one).__name__ for one in results}
        assert "created" in codes
        assert codes <= {"created", "already created", "OperationalError"}

    @pytest.mark.parametrize(
        "named",
        [
            {"uri": None, "name": "model"},
            {"uri": "s3://models/churn", "name": "model"},
            {"uri": "S3://models/churn/", "name": None},
        ],
        ids=["by name", "by both", "as the DAG file may write the URI"],
    )
    def test_an_asset_is_found(self, named: dict[str, Any]) -> None:
        write_dag("retrain", schedule=[asset()])
        assert act({"asset_event": {**named, "extra": {}}}).code == "created"
        assert queued_dags() == ["retrain"]

    @pytest.mark.parametrize(
        ("named", "words"),
        [
            ({"uri": "s3://models/x", "name": None}, "Asset with URI 's3://models/x' was not found"),
            ({"uri": None, "name": "x"}, "Asset with name 'x' was not found"),
            ({"uri": "s3://models/churn", "name": "x"}, "Asset with name 'x' and URI 's3://models/churn' was not"),
        ],
    )
    def test_an_unknown_asset_may_be_deployed_later(self, named: dict[str, Any], words: str) -> None:
        write_dag("retrain", schedule=[asset()])
        result = act({"asset_event": {**named, "extra": {}}})
        assert (result.outcome, result.code) == (Outcome.RETRY, "no asset")
        assert result.reason.startswith(words)
        assert asset_events() == []

    def test_an_asset_that_no_dag_declares_any_more_is_as_good_as_unknown(self) -> None:
        write_dag("retrain", schedule=[asset()])
        with orm_session() as session:
            session.execute(delete(AssetActive))
        assert act(self.CREATE).code == "no asset"

    def test_a_paused_dag_is_not_queued_as_with_any_asset_event(self) -> None:
        write_dag("retrain", schedule=[asset()])
        change_dag("retrain", is_paused=True)
        assert act(self.CREATE).code == "created"
        assert queued_dags() == []

    def test_listeners_hear_of_it_after_it_is_committed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from airflow.assets.manager import asset_manager

        if "callback_sink" not in signature(asset_manager.register_asset_change).parameters:
            pytest.skip("this Airflow tells its listeners before it commits")
        heard: list[int] = []
        told = staticmethod(lambda asset: heard.append(len(asset_events())))
        monkeypatch.setattr(type(asset_manager), "notify_asset_changed", told)
        write_dag("retrain", schedule=[asset()])
        act(self.CREATE)
        assert heard == [1]


class TestPause:
    def test_a_dag_is_paused_and_unpaused_once(self) -> None:
        write_dag("deploy")
        steps = [act({kind: {"dag_id": "deploy"}}).code for kind in ("pause_dag", "pause_dag")]
        with orm_session() as session:
            assert session.get(DagModel, "deploy").is_paused  # type: ignore[union-attr]
        steps += [act({kind: {"dag_id": "deploy"}}).code for kind in ("unpause_dag", "unpause_dag")]
        with orm_session() as session:
            assert not session.get(DagModel, "deploy").is_paused  # type: ignore[union-attr]
        assert steps == ["paused", "already paused", "unpaused", "already unpaused"]
        assert [what for what, _, _ in audit_log()] == ["ml_events.pause_dag", "ml_events.unpause_dag"]

    @pytest.mark.parametrize("kind", ["pause_dag", "unpause_dag"])
    def test_an_unknown_dag_may_be_deployed_later(self, kind: str) -> None:
        assert act({kind: {"dag_id": "nope"}}) == Result.retry("no dag", "Dag with dag_id: 'nope' not found")


class TestTeams:
    @pytest.fixture(autouse=True)
    def _teams(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")

    @pytest.mark.parametrize(
        "action",
        [{"trigger_dag": {"dag_id": "deploy", "conf": {}}}, {"pause_dag": {"dag_id": "deploy"}}],
        ids=["trigger", "pause"],
    )
    def test_a_rule_does_not_touch_another_teams_dag(self, action: dict[str, Any]) -> None:
        write_dag("deploy")
        give_bundle_to_team("risk")
        refused = act(action)
        assert (refused.outcome, refused.code) == (Outcome.REFUSED, "not allowed")
        assert "belongs to workspace 'risk'" in refused.reason
        own = perform(action, event=APPROVED, delivery_id=DELIVERY, rule="r", workspace="risk", hops=1)
        assert own.outcome is Outcome.DELIVERED

    def test_an_asset_event_queues_only_the_dags_of_the_rules_team(self) -> None:
        write_dag("retrain", schedule=[asset()])
        give_bundle_to_team("risk")
        create = TestAssetEvent.CREATE
        act(create)
        assert queued_dags() == []
        perform(create, event=APPROVED, delivery_id=OTHER_DELIVERY, rule="r", workspace="risk", hops=1)
        assert queued_dags() == ["retrain"]


class TestHops:
    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"type": "tests.thing"}, 0),
            ({"type": "airflow.dag_run.failed", "data": {"dag_id": "d", "run_id": "manual__2026"}}, 0),
            ({"data": {"dag_id": "d", "run_id": f"x{run_id_of(3, DELIVERY)}"}}, 0),
            ({"data": {"dag_id": "d", "run_id": f"{run_id_of(3, DELIVERY)}x"}}, 0),
            ({"data": {"dag_id": "d", "run_id": "ml_events__hop3__x"}}, 0),
            ({"data": {"dag_id": "d", "run_id": 7}}, 0),
            ({"data": {"dag_id": "d", "run_id": "asset_triggered__\0x"}}, 0),
            ({"data": {"dag_id": "\0", "run_id": "asset_triggered__x"}}, 0),
            (
                {
                    "type": "airflow.asset.updated",
                    "data": {"source_dag_id": "d", "source_run_id": "asset_triggered__\0"},
                },
                0,
            ),
            ({"extensions": {"mleventshops": 4}}, 4),
            ({"extensions": {"mleventshops": -4}}, 0),
            ({"extensions": {"mleventshops": "4"}}, 0),
            ({"extensions": {"mleventshops": True}}, 0),
            ({"type": "airflow.asset.updated", "data": {"extra": {"ml_events": "2"}}}, 0),
            ({"type": "airflow.asset.updated", "data": {"extra": {"ml_events": {"hops": 2}}}}, 0),
            ({"type": "airflow.asset.updated", "data": {"extra": {"ml_events": {"delivery_id": "\0" * 36}}}}, 0),
        ],
    )
    def test_an_event_that_names_no_delivery_costs_no_query(
        self, airflow_db: Engine, changes: dict[str, Any], expected: int
    ) -> None:
        with counting(airflow_db) as statements:
            assert hops(replace(EVENT, **changes)) == expected
        assert statements == []

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"type": "airflow.dag_run.failed", "data": {"dag_id": "d", "run_id": run_id_of(3, DELIVERY)}}, 3),
            ({"type": "airflow.task_instance.failed", "data": {"dag_id": "d", "run_id": run_id_of(3, DELIVERY)}}, 3),
            ({"type": "ml.dataset.drift_detected", "data": {"dag_id": "d", "run_id": run_id_of(3, DELIVERY)}}, 3),
            (
                {
                    "type": "ml.model_version.approved",
                    "data": {"dag_id": "d", "dag_run_id": run_id_of(3, DELIVERY), "run_id": "b1946ac92492d234"},
                },
                3,
            ),
            (
                {
                    "type": "airflow.asset.updated",
                    "data": {"source_dag_id": "d", "source_run_id": run_id_of(3, DELIVERY)},
                },
                3,
            ),
            ({"type": "airflow.asset.updated", "data": {"extra": {"ml_events": {"delivery_id": DELIVERY}}}}, 3),
            ({"extensions": {"mleventshops": 1}, "data": {"dag_id": "d", "run_id": run_id_of(3, DELIVERY)}}, 3),
            ({"extensions": {"mleventshops": 4}, "data": {"dag_id": "d", "run_id": run_id_of(3, DELIVERY)}}, 4),
            # What is said beside the delivery counts nothing, nor does a delivery that nobody made.
            ({"data": {"dag_id": "d", "run_id": run_id_of(999, DELIVERY)}}, 3),
            ({"data": {"dag_id": "d", "run_id": run_id_of(0, DELIVERY)}}, 3),
            (
                {
                    "type": "airflow.asset.updated",
                    "data": {"extra": {"ml_events": {"delivery_id": DELIVERY, "hops": 999}}},
                },
                3,
            ),
            ({"data": {"dag_id": "d", "run_id": run_id_of(999, OTHER_DELIVERY)}}, 0),
            ({"type": "airflow.asset.updated", "data": {"extra": {"ml_events": {"delivery_id": OTHER_DELIVERY}}}}, 0),
        ],
    )
    def test_they_are_those_of_the_delivery_that_the_event_names(
        self, airflow_db: Engine, changes: dict[str, Any], expected: int
    ) -> None:
        note(DELIVERY, 3)
        with counting(airflow_db) as statements:
            assert hops(replace(EVENT, **changes)) == expected
        assert len(statements) == 1

    def test_a_message_to_a_connection_is_no_action(self) -> None:
        with transaction() as connection:
            _, (made,) = notify_directly(
                connection, EVENT, [("slack", {"hops": 9})], template=None, severity="info", name="x"
            )
        assert hops(replace(EVENT, data={"dag_id": "d", "run_id": run_id_of(9, made)})) == 0

    def test_a_run_that_an_action_triggered_has_its_hops(self) -> None:
        write_dag("deploy")
        act(TestTrigger.TRIGGER, hops=2)
        [run] = runs()
        assert hops(run_event(run)) == 2

    def test_a_run_that_assets_triggered_has_the_most_of_its_asset_events(self, airflow_db: Engine) -> None:
        write_dag("retrain", schedule=[asset(), asset("data", "s3://data/x")])
        act({"asset_event": {"name": "data"}}, hops=4)
        act(TestAssetEvent.CREATE, hops=2, delivery=OTHER_DELIVERY)
        [run] = schedule_asset_runs()
        with counting(airflow_db) as statements:
            assert hops(run_event(run)) == 4
        assert len(statements) == 2

    def test_a_run_after_plain_asset_events_has_none(self) -> None:
        write_dag("produce", outlets=[asset()])
        write_dag("retrain", schedule=[asset()])
        emit(asset(), start("produce", "scheduled__1"))
        [run] = schedule_asset_runs()
        assert hops(run_event(run)) == 0

    def test_hops_go_on_through_the_tasks_that_update_assets(self) -> None:
        """Action, run, asset event, run, asset event, run."""
        first, second = asset("a", "s3://a/a"), asset("b", "s3://b/b")
        write_dag("produce", outlets=[first])
        write_dag("refine", schedule=[first], outlets=[second])
        write_dag("publish", schedule=[second])
        act({"trigger_dag": {"dag_id": "produce", "conf": {}}}, hops=3)
        [produced] = runs()
        emit(first, produced)
        [refined] = schedule_asset_runs()
        emit(second, refined)
        [published] = schedule_asset_runs()
        assert [hops(run_event(run)) for run in (produced, refined, published)] == [3, 3, 3]
        assert [hops(one) for one in asset_updates()] == [3, 3]

    def test_a_dag_that_feeds_itself_is_looked_through_for_so_many_generations(self, airflow_db: Engine) -> None:
        write_dag("loop", schedule=[asset()], outlets=[asset()])
        act(TestAssetEvent.CREATE, hops=1)
        found = []
        for _ in range(GENERATIONS + 1):
            [run] = schedule_asset_runs()
            found.append(hops(run_event(run)))
            emit(asset(), run)
        assert found == [1] * GENERATIONS + [0]
        with counting(airflow_db) as statements:
            hops(run_event(run))
        assert len(statements) == GENERATIONS


# What the tests stand on.


def hops(about: Event) -> int:
    with transaction() as connection:
        return hops_of(connection, about)


def run_event(run: DagRun) -> Event:
    return dag_run_event(run, state="running", workspace="default", origin="scheduler")


def asset_updates() -> list[Event]:
    """The asset events as the reconciler records them."""
    with transaction() as connection:
        keys = list(connection.execute(select(airflow_tables.ASSET_EVENT_KEY)).scalars())
        rows = airflow_tables.asset_events_by_id(connection, keys)
    return [asset_updated_event(row, workspace="default", origin="reconciler") for row in rows]


def start(dag_id: str, run_id: str) -> DagRun:
    """A run that nobody's action made."""
    from airflow.models.serialized_dag import SerializedDagModel

    with orm_session() as session:
        serialized = SerializedDagModel.get(dag_id, session=session)
        assert serialized is not None
        return serialized.dag.create_dagrun(
            run_id=run_id,
            run_after=ago(60),
            run_type=DagRunType.SCHEDULED,
            triggered_by=DagRunTriggeredByType.TEST,
            state=DagRunState.RUNNING,
            session=session,
        )


def emit(what: Any, run: DagRun) -> None:
    """The run's task updates an asset, as its success registers it."""
    from airflow.assets.manager import asset_manager
    from airflow.models.taskinstance import TaskInstance

    with orm_session() as session:
        ti = session.scalars(
            select(TaskInstance).where(TaskInstance.dag_id == run.dag_id, TaskInstance.run_id == run.run_id)
        ).one()
        asset_manager.register_asset_change(task_instance=ti, asset=what, session=session)


def schedule_asset_runs() -> list[DagRun]:
    """Let Airflow's scheduler make the runs that asset events call for; the new ones."""
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner

    scheduler = SchedulerJobRunner(job=Job())
    known = {run.id for run in runs()}
    with orm_session() as session, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, _ = DagModel.dags_needing_dagruns(session)
        scheduler._create_dag_runs_asset_triggered(dag_models=list(found.all()), session=session)
    return [run for run in runs() if run.id not in known]


def recorded_delivery() -> None:
    """The delivery's own row, as the dispatcher leased it."""
    with transaction() as connection:
        events.record_one(connection, APPROVED)
        [recorded] = events.find(connection, APPROVED.id)
        notification = NewNotification(
            id="2b6f2a53-6f0f-5a55-9c0a-1c9b2a1d4e5f",
            workspace="default",
            rule="deploy",
            rule_version=1,
            severity="info",
            event_seq=recorded.seq,
            deliveries=tuple(
                NewDelivery(id=one, action={"action": {}, "hops": 1}) for one in (DELIVERY, OTHER_DELIVERY)
            ),
        )
        notifications.create(connection, [notification], now=utc_now())


def give_bundle_to_team(name: str) -> None:
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.team import Team

    with orm_session() as session:
        bundle = session.get(DagBundleModel, BUNDLE)
        assert bundle is not None
        bundle.teams.append(Team(name=name))


def at_the_same_time(work: Callable[[], Result], times: int = 4) -> list[Result | Exception]:
    """What the work gives when several threads do it at once."""
    gate = threading.Barrier(times)
    found: list[Result | Exception] = []

    def one() -> None:
        gate.wait()
        try:
            found.append(work())
        except Exception as error:  # noqa: BLE001 - the caller looks at it
            found.append(error)

    threads = [threading.Thread(target=one) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == times
    return found


@contextmanager
def just_before(engine: Engine, statement: str, do: Callable[[], None]) -> Iterator[None]:
    """Do something before the first execution of a statement that begins like that."""
    waiting = [do]

    def hook(connection: Any, cursor: Any, text: str, *more: Any) -> None:
        if text.startswith(statement) and waiting:
            waiting.pop()()

    event.listen(engine, "before_cursor_execute", hook)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", hook)
    assert not waiting


@contextmanager
def counting(engine: Engine) -> Iterator[list[str]]:
    """The statements that are executed."""
    found: list[str] = []

    def hook(connection: Any, cursor: Any, text: str, *more: Any) -> None:
        # How a transaction begins is no matter of what it asks.
        if "set_config(" not in text:
            found.append(text)

    event.listen(engine, "before_cursor_execute", hook)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", hook)
