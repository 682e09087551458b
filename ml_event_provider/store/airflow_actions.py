"""What rules do in Airflow: run a DAG, create an asset event, pause a DAG; and how many actions lie behind an event.

Actions go through Airflow's own functions and are written into Airflow's audit log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from inspect import signature
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.exceptions import DagNotFound, DagRunAlreadyExists
from airflow.models.asset import AssetEvent, AssetModel, DagScheduleAssetReference
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.log import Log
from airflow.utils.session import create_session
from airflow.utils.types import DagRunTriggeredByType
from sqlalchemy import String, and_, cast, or_, select
from sqlalchemy.exc import IntegrityError

from ml_event_provider.events.hops import HOPS_EXTENSION, read_run_id
from ml_event_provider.exceptions import InvalidRule, NotFound
from ml_event_provider.store import schema
from ml_event_provider.store.airflow_tables import workspace_of
from ml_event_provider.store.engine import become_writer, in_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import Connection, Row
    from sqlalchemy.orm import Session

    from ml_event_provider.events.model import Event

#: The key of our own in a run's configuration and in an asset event's extra.
MARK = "ml_events"
#: How many runs that assets triggered one after the other are looked through for an action before them.
GENERATIONS = 10
#: By how much two dispatchers' clocks may differ.
_CLOCKS = timedelta(hours=1)


class Triggered(NamedTuple):
    """A run that an action asked for: whether this call made it, and whether its DAG is paused."""

    new: bool
    paused: bool


def trigger_dag(dag_id: str, *, run_id: str, conf: dict[str, Any], rule: str, workspace: str) -> Triggered:
    """Create a run of a DAG unless it exists, as Airflow's API does.

    :raises NotFound: if the DAG does not exist, is stale or has import errors.
    :raises InvalidRule: if the DAG is another team's.
    :raises ValueError: in Airflow's words, if the DAG does not take the configuration or manual runs.
    """
    from airflow.api.common.trigger_dag import trigger_dag as trigger

    try:
        # Airflow looks for the run in the thread's session; with this one being it, a trigger takes one connection.
        with create_session() as session:
            if _run_exists(session, dag_id, run_id):
                return Triggered(new=False, paused=False)
            dag = _dag(session, dag_id, workspace)
            if dag.is_stale:
                raise NotFound(f"Dag with dag_id: '{dag_id}' not found: it is stale, its file does not have it")
            if dag.has_import_errors:
                raise NotFound(f"Dag with dag_id: '{dag_id}' has import errors and cannot be triggered")
            paused = bool(dag.is_paused)
            trigger(
                dag_id,
                triggered_by=DagRunTriggeredByType.REST_API,
                triggering_user_name=_actor(rule),
                run_id=run_id,
                conf=conf,
                session=session,
            )
            _audit(session, "trigger_dag", rule, dag_id=dag_id, run_id=run_id)
    except DagNotFound as error:
        raise NotFound(str(error)) from None
    except DagRunAlreadyExists:
        return Triggered(new=False, paused=False)
    except IntegrityError:
        with create_session() as session:
            if not _run_exists(session, dag_id, run_id):
                raise
        return Triggered(new=False, paused=False)
    return Triggered(new=True, paused=paused)


def create_asset_event(
    *, uri: str | None, name: str | None, extra: dict[str, Any], delivery_id: str, rule: str, workspace: str
) -> bool:
    """Create an event of an active asset, as Airflow's API does; say whether it is new.

    ``extra[MARK]["delivery_id"]`` must be ``delivery_id``, a UUID: by it the event is known again.

    :raises NotFound: if there is no such asset, or no DAG in use declares it.
    """
    from airflow.assets.manager import asset_manager

    tell: list[Callable[[], None]] = []
    with create_session(scoped=False) as session:
        asset, new = _asset_of(session, uri, name, delivery_id)
        if not new:
            return False
        if "api_user_teams" not in signature(asset_manager.register_asset_change).parameters:
            _stays_in(session, asset, workspace)
        asset_manager.register_asset_change(
            asset=asset,
            extra=extra,
            source_is_api=True,
            api_user_teams=_teams(session, workspace),
            callback_sink=tell,
            session=session,
        )
        _audit(session, "asset_event", rule, asset=asset.name, uri=asset.uri, delivery_id=delivery_id)
    for listener in tell:
        listener()
    return True


def pause_dag(dag_id: str, *, paused: bool, rule: str, workspace: str) -> bool:
    """Pause a DAG, or end its pause; say whether that changed anything.

    :raises NotFound: if the DAG does not exist.
    :raises InvalidRule: if the DAG is another team's.
    """
    with create_session() as session:
        dag = _dag(session, dag_id, workspace)
        if bool(dag.is_paused) == paused:
            return False
        dag.is_paused = paused
        _audit(session, "pause_dag" if paused else "unpause_dag", rule, dag_id=dag_id)
    return True


def hops_of(connection: Connection, event: Event) -> int:
    """How many actions of rules lie behind an event: 0 for an ordinary one.

    Its run, and the runs and asset events that led to it, name the deliveries whose actions made them; how many
    actions those were is what we noted of the delivery, for anybody may give a run or an asset event such a name.
    ``HOPS_EXTENSION`` can but add to it. Only events of runs that assets triggered cost a query for each generation of
    such runs, and only those with a delivery behind them one more.
    """
    data = event.data
    named: set[str] = set()
    if event.type.startswith("airflow.asset."):
        named |= _marked(data.get("extra"))
        run = (data.get("source_dag_id"), data.get("source_run_id"))
    else:
        run = (data.get("dag_id"), data.get("dag_run_id") or data.get("run_id"))
    named |= _behind(connection, [run])
    return max(_count(event.extensions.get(HOPS_EXTENSION)), _noted(connection, named))


def _behind(connection: Connection, runs: Iterable[tuple[Any, Any]]) -> set[str]:
    """The deliveries whose actions led to one of these runs."""
    named: set[str] = set()
    for generation in range(GENERATIONS + 1):
        by_assets = set()
        for dag_id, run_id in runs:
            # No run has NUL in its names: databases refuse it, even in a question.
            if not isinstance(run_id, str) or "\0" in run_id or "\0" in str(dag_id):
                continue
            if mark := read_run_id(run_id):
                named.add(mark[1])
            elif run_id.startswith("asset_triggered__") and isinstance(dag_id, str):
                by_assets.add((dag_id, run_id))
        if not by_assets or generation == GENERATIONS:
            break
        consumed = _consumed(connection, by_assets)
        named = named.union(*(_marked(row.extra) for row in consumed))
        runs = {(row.source_dag_id, row.source_run_id) for row in consumed}
    return named


def _noted(connection: Connection, delivery_ids: Iterable[str]) -> int:
    """The most hops of deliveries that are actions; what is no delivery of ours counts nothing."""
    table = schema.delivery
    hops = 0
    for chunk in in_chunks(sorted(delivery_ids)):
        query = select(table.c.action).where(table.c.id.in_(chunk), table.c.action.is_not(None))
        hops = max([hops, *(_count(json.loads(action).get("hops")) for action in connection.execute(query).scalars())])
    return hops


def _consumed(connection: Connection, runs: Iterable[tuple[str, str]]) -> list[Row[Any]]:
    """The asset events that led to runs."""
    found: list[Row[Any]] = []
    for chunk in in_chunks(sorted(runs), 100):
        wanted = or_(*(and_(DagRun.dag_id == dag_id, DagRun.run_id == run_id) for dag_id, run_id in chunk))
        query = select(AssetEvent.extra, AssetEvent.source_dag_id, AssetEvent.source_run_id)
        found.extend(connection.execute(query.join(AssetEvent.created_dagruns).where(wanted)))
    return found


def _marked(extra: Any) -> set[str]:
    """The delivery that the extra of an asset event names."""
    delivery_id = _delivery_in(extra)
    return (
        {delivery_id} if isinstance(delivery_id, str) and len(delivery_id) == 36 and "\0" not in delivery_id else set()
    )


def _count(value: Any) -> int:
    return max(0, value) if isinstance(value, int) and not isinstance(value, bool) else 0


def _run_exists(session: Session, dag_id: str, run_id: str) -> bool:
    return session.scalar(select(DagRun.id).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)) is not None


def _dag(session: Session, dag_id: str, workspace: str) -> DagModel:
    """The DAG, which must be the workspace's where Airflow has teams."""
    dag = session.get(DagModel, dag_id)
    if dag is None:
        raise NotFound(f"Dag with dag_id: '{dag_id}' not found")
    if _multi_team():
        team = workspace_of(session.connection(), dag_id)
        if team != workspace:
            raise InvalidRule(f"DAG {dag_id!r} belongs to workspace {team!r}: a rule of {workspace!r} may not touch it")
    return dag


def _teams(session: Session, workspace: str) -> set[str]:
    """The team that an asset event comes from, where Airflow has teams."""
    if not _multi_team():
        return set()
    from airflow.models.team import Team

    return set(session.scalars(select(Team.name).where(Team.name == workspace)))


def _stays_in(session: Session, asset: AssetModel, workspace: str) -> None:
    """See that the asset starts no other team's DAG: Airflow 3.2 takes no team and starts them all.

    :raises InvalidRule: if it does.
    """
    if not _multi_team():
        return
    consumers = select(DagScheduleAssetReference.dag_id).where(DagScheduleAssetReference.asset_id == asset.id)
    for dag_id in session.scalars(consumers):
        _dag(session, dag_id, workspace)


def _multi_team() -> bool:
    from airflow.configuration import conf

    return bool(conf.getboolean("core", "multi_team", fallback=False))


def _asset_of(session: Session, uri: str | None, name: str | None, delivery_id: str) -> tuple[AssetModel, bool]:
    """The asset, and whether it has no event of this delivery; no other try of the delivery can add one meanwhile."""
    from airflow.sdk import Asset

    become_writer(session.connection())
    # Whoever tries the same delivery at the same time waits here.
    delivery = schema.delivery
    since = session.scalar(select(delivery.c.created_at).where(delivery.c.id == delivery_id).with_for_update())
    query = select(AssetModel).join(AssetModel.active)
    if name is not None:
        query = query.where(AssetModel.name == name)
    if uri is not None:
        # Airflow stores the URI as its Asset writes it, which need not be as the DAG file has it.
        query = query.where(AssetModel.uri.in_({uri, Asset(uri=uri).uri}))
    asset = session.scalars(query).first()
    if asset is None:
        wanted = " and ".join(f"{what} {text!r}" for what, text in (("name", name), ("URI", uri)) if text is not None)
        raise NotFound(f"Asset with {wanted} was not found: no DAG in use declares it")
    found = select(AssetEvent.extra).where(
        AssetEvent.asset_id == asset.id, cast(AssetEvent.extra, String).contains(delivery_id, autoescape=True)
    )
    if since is not None:
        found = found.where(AssetEvent.timestamp > since - _CLOCKS)
    return asset, not any(_delivery_in(extra) == delivery_id for extra in session.scalars(found))


def _delivery_in(extra: Any) -> Any:
    mark = extra.get(MARK) if isinstance(extra, Mapping) else None
    return mark.get("delivery_id") if isinstance(mark, Mapping) else None


def _actor(rule: str) -> str:
    return f"ml-events rule {rule}"


def _audit(session: Session, what: str, rule: str, *, dag_id: str | None = None, **more: str) -> None:
    """Say in Airflow's audit log who did it."""
    session.add(
        Log(
            event=f"ml_events.{what}",
            owner=_actor(rule),
            dag_id=dag_id,
            run_id=more.get("run_id"),
            extra=json.dumps(more) if more else None,
        )
    )
