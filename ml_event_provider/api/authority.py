"""Who may see and do what: the one place where routes ask.

Airflow's auth manager answers; what it cannot answer is no. A *workspace* that bears a team's name belongs to that
team; all others are everybody's. A process with a service token may hand over, notify and evaluate, which is what
tasks need, and see and change nothing.

No connection to the database is held while the auth manager is asked, which takes one of its own: requests that each
hold one and wait for another would wait for each other.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, ConnectionDetails, DagDetails
from fastapi import HTTPException, status

from ml_event_provider import extensions
from ml_event_provider.dispatch.completion import tells_of_run
from ml_event_provider.sources.airflow import event_source
from ml_event_provider.store import airflow_tables, events
from ml_event_provider.store.engine import transaction
from ml_event_provider.store.sight import Sight

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ml_event_provider.api.security import Caller
    from ml_event_provider.events.model import Event

log = logging.getLogger(__name__)

#: Asked for where a right must not depend on the DAG; no DAG is called so, for Airflow allows no such characters.
_ANY_DAG: Final = "~ml-events: any DAG~"
_AIRFLOWS_OWN: Final = event_source("")


def sight(who: Caller) -> Sight:
    """What the caller may see.

    :raises HTTPException: 403 if that is nothing.
    """
    if who.is_service or not _asked("is_authorized_view", access_view=AccessView.CLUSTER_ACTIVITY, user=who.user):
        raise _forbidden(who, "see this: it takes the right to see the cluster's activity")
    with transaction() as connection:
        teams, known = airflow_tables.teams(connection), airflow_tables.all_dag_ids(connection)
    hidden = teams - _teams_of(teams, who)
    permitted = frozenset(_asked("get_authorized_dag_ids", otherwise=(), user=who.user, method="GET"))
    if known <= permitted and _asked("is_authorized_dag", method="GET", user=who.user, details=DagDetails(id=_ANY_DAG)):
        return Sight(hidden)
    return Sight(hidden, permitted)


def sees_everything(who: Caller) -> bool:
    """Whether nothing is hidden from the caller; from a process, which may look whether all is well, all is.

    :raises HTTPException: 403 if the caller may see nothing.
    """
    return not who.is_service and sight(who).everything


def manage(who: Caller, workspace: str) -> None:
    """Whether the caller may change what a workspace has.

    Who may change where messages go may stop them, too.

    :raises HTTPException: 403 if not.
    """
    if who.is_service or not _may_with_connections(who, "PUT", team=_team_of(workspace)):
        raise _forbidden(who, f"change alerts and silences of {workspace!r}: it takes the right to edit connections")


def choose_name(who: Caller) -> None:
    """Whether the caller may name what they add, where names are unique: that one is taken tells of what bears it.

    :raises HTTPException: 403 if something that bears a name may be hidden from the caller.
    """
    if sight(who).dags is not None:
        raise _forbidden(who, "choose a 'name', which takes the right to read every DAG: leave it out, and it gets one")


def publish(who: Caller, told: Iterable[Event]) -> None:
    """Whether the caller may tell of these events, as they are to be recorded.

    :raises HTTPException: 403 if not.
    """
    if who.is_service:
        return
    if not _asked("is_authorized_asset", method="POST", user=who.user):
        raise _forbidden(who, "publish events: it takes the right to create asset events")
    teams = _teams()
    foreign = teams - _teams_of(teams, who)
    for event in told:
        if event.workspace in foreign:
            raise _forbidden(who, f"publish events of the workspace {event.workspace!r}: it takes belonging to it")
        if event.source.startswith(_AIRFLOWS_OWN) and event.source != event_source(event.workspace):
            # Whoever uses the ids of another workspace could have its own events taken for known.
            raise _forbidden(
                who, f"publish events of the workspace {event.workspace!r} with the source {event.source!r}"
            )


def notify(who: Caller, event: Event, targets: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Whether the caller may have this event told to these connections, with these options.

    Where a message goes, and how it is asked for, is the connection's and the rules' to say: options that say it are
    taken from whoever may edit the connection.

    :raises HTTPException: 403 if not.
    """
    publish(who, [event])
    _same_event(who, event)
    if tells_of_run(event) and not _reads_dag(who, event.workspace, dag_id := str(event.data.get("dag_id"))):
        # It is told as Airflow's tables say, and to whom the caller likes.
        raise _forbidden(who, f"tell of runs of the DAG {dag_id!r}: it takes the right to read it")
    for conn_id, team in _teams_of_connections(event.workspace, [one for one, _ in targets]).items():
        if not (who.is_service or _may_with_connections(who, "GET", team=team, conn_id=conn_id)):
            raise _forbidden(who, f"use the connection {conn_id!r}: it takes the right to read it")
        asked = {name for one, options in targets if one == conn_id for name in options}
        shaping = sorted(asked - extensions.caller_options())
        if shaping and (who.is_service or not _may_with_connections(who, "PUT", team=team, conn_id=conn_id)):
            raise _forbidden(
                who,
                f"give {', '.join(shaping)} for the connection {conn_id!r}: say it in the connection or in a rule;"
                " it takes the right to edit the connection",
            )


def readable(who: Caller, workspace: str, conn_ids: Sequence[str]) -> list[str]:
    """Those of a workspace's connections whose names the caller may read."""
    if who.is_service:
        return list(conn_ids)
    of_team = _teams_of_connections(workspace, conn_ids)
    return [one for one in conn_ids if _may_with_connections(who, "GET", team=of_team[one], conn_id=one)]


def _same_event(who: Caller, event: Event) -> None:
    """What was recorded under an event's id and source is what is told: it must be the caller's to tell."""
    with transaction() as connection:
        known = events.belonging_of(connection, event)
    if known is None:
        return
    workspace, dag_id = known
    if workspace != event.workspace or not _reads_dag(who, workspace, dag_id):
        raise _forbidden(who, f"tell of the event {event.id!r} of {event.source!r}: give it an id of your own")


def _reads_dag(who: Caller, workspace: str, dag_id: str | None) -> bool:
    """Whether the caller may read a DAG of a workspace; a process, and where there is none, yes."""
    if who.is_service or dag_id is None:
        return True
    details = DagDetails(id=dag_id, team_name=_team_of(workspace))
    return bool(_asked("is_authorized_dag", method="GET", user=who.user, details=details))


def _teams() -> frozenset[str]:
    """Airflow's teams."""
    with transaction() as connection:
        return airflow_tables.teams(connection)


def _team_of(workspace: str) -> str | None:
    return workspace if workspace in _teams() else None


def _teams_of(teams: frozenset[str], who: Caller) -> frozenset[str]:
    """The teams that a user belongs to, where there are any."""
    return frozenset(_asked("get_authorized_teams", otherwise=(), user=who.user, method="GET")) if teams else teams


def _teams_of_connections(workspace: str, conn_ids: Iterable[str]) -> dict[str, str | None]:
    """Whose each connection is. What is not in Airflow's table is looked up for the workspace's team."""
    ours = dict.fromkeys(conn_ids, _team_of(workspace))
    with transaction() as connection:
        return ours | airflow_tables.connection_teams(connection, ours)


def _may_with_connections(who: Caller, method: str, *, team: str | None, conn_id: str | None = None) -> bool:
    details = ConnectionDetails(conn_id=conn_id, team_name=team)
    return bool(_asked("is_authorized_connection", method=method, user=who.user, details=details))


def _asked(question: str, *, otherwise: Any = False, **about: Any) -> Any:
    """What the auth manager says. One that does not know the question, or not in this form, says no."""
    asked: Callable[..., Any] | None = getattr(get_auth_manager(), question, None)
    try:
        if asked is not None:
            return asked(**about)
    except (NotImplementedError, TypeError) as error:
        log.warning("The auth manager cannot say %s: taken for no: %s", question, error)
        return otherwise
    log.warning("The auth manager knows no %s: taken for no", question)
    return otherwise


def _forbidden(who: Caller, what: str) -> HTTPException:
    return HTTPException(status.HTTP_403_FORBIDDEN, detail=f"user {who.name!r} may not {what}")
