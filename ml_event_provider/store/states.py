"""What rules remember between events, as the engine's states; and the alerts that are open."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, delete, exists, insert, or_, select, update

from ml_event_provider.events.identity import change_id
from ml_event_provider.exceptions import NotFound
from ml_event_provider.rules.engine.alerts import is_whole
from ml_event_provider.rules.engine.firing import waiting_in
from ml_event_provider.rules.engine.states import MemoryStates, Place
from ml_event_provider.store import schema
from ml_event_provider.store.choice import chosen
from ml_event_provider.store.engine import in_chunks
from ml_event_provider.store.one_by_one import each, readable_rows, reason_of
from ml_event_provider.store.quarantine import Kind, SetAside
from ml_event_provider.store.sight import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Select

    from ml_event_provider.rules.engine.states import Body
    from ml_event_provider.store.choice import Names
    from ml_event_provider.store.sight import Sight

log = logging.getLogger(__name__)

_TABLE = schema.state
#: What changes in a row.
_WRITTEN = ("body", "due_at", "open_since", "alert_id", "dag_id", "updated_at")
#: What the engine needs of a state.
_READ = tuple(_TABLE.c[name] for name in ("id", "workspace", "rule", "role", "key", "body", "due_at"))


def _workspaces(*, due: bool) -> Select[Any]:
    first = select(_TABLE.c.workspace).order_by(_TABLE.c.workspace, _TABLE.c.due_at).limit(1)
    found = select(first.scalar_subquery().label("workspace")).cte("remembered", recursive=True)
    following = first.where(_TABLE.c.workspace > found.c.workspace).correlate(found).scalar_subquery()
    found = found.union_all(select(following).where(found.c.workspace.is_not(None)))
    wanted = select(found.c.workspace).where(found.c.workspace.is_not(None))
    if not due:
        return wanted
    return wanted.where(exists().where(_TABLE.c.workspace == found.c.workspace, _TABLE.c.due_at <= bindparam("due_by")))


# Built once: each round of each workspace asks so.
_WORKSPACES, _WORKSPACES_DUE = _workspaces(due=False), _workspaces(due=True)
_DUE = (
    select(*_READ)
    .where(_TABLE.c.workspace == bindparam("workspace"), _TABLE.c.due_at <= bindparam("until"))
    .order_by(_TABLE.c.due_at, _TABLE.c.id)
    .limit(bindparam("most"))
)
_BY_IDS = select(*_READ).where(_TABLE.c.id.in_(bindparam("ids", expanding=True)))
_REWRITE = update(_TABLE).where(_TABLE.c.id == bindparam("row_id")).values({name: bindparam(name) for name in _WRITTEN})


def lock_of(workspace: str) -> str:
    """What whoever changes a workspace's states, or matches its events, holds meanwhile (``cursors.lock``).

    Rules never cross a workspace, so that each is matched by whoever is free.
    """
    return f"matching:{change_id('workspace', workspace)}"


class StoredStates:
    """A workspace's states as the engine sees them during one transaction: read when needed, written by :meth:`save`.

    What is due by a moment is read at the beginning, the first ``limit`` of it: :attr:`horizon` is the moment up to
    which all that is due is here.
    """

    def __init__(self, connection: Connection, workspace: str, *, until: float, limit: int = 1000) -> None:
        self._connection = connection
        self._moment = until
        #: Those that could not be read: their rules began anew there.
        self.spoilt: list[SetAside] = []
        self._working = MemoryStates()
        #: The ids of the rows that are in the database, and the places that were looked for there.
        self._rows: dict[Place, str] = {}
        self._looked: set[Place] = set()
        self._changed: set[Place] = set()
        rows = connection.execute(_DUE, {"workspace": workspace, "until": until, "most": limit}).all()
        for row in rows:
            self._keep(row)
        self.horizon = until if len(rows) < limit else float(rows[-1].due_at)

    def prefetch(self, places: Iterable[Place]) -> None:
        """Read many states in few statements."""
        wanted = {_id(place): place for place in places if place not in self._looked}
        for chunk in in_chunks(wanted):
            for row in self._connection.execute(_BY_IDS, {"ids": chunk}):
                self._keep(row)
        self._looked.update(wanted.values())

    def get(self, place: Place) -> Body | None:
        """The state there."""
        if place not in self._looked:
            self.prefetch([place])
        return self._working.get(place)

    def put(self, place: Place, body: Body | None, due: float | None = None) -> None:
        """Keep or forget a state."""
        if place not in self._looked:
            self.prefetch([place])
        self._working.put(place, body, due)
        self._changed.add(place)

    def due(self, place: Place) -> float | None:
        """When the state there is due."""
        if place not in self._looked:
            self.prefetch([place])
        return self._working.due(place)

    def pop_due(self, moment: float) -> tuple[float, Place] | None:
        """The state that is due first, if it is due by ``moment``."""
        return self._working.pop_due(moment)

    def save(self, awaited: Callable[[Place], str | None] = lambda _: None) -> None:
        """Write what changed. What cannot be written is forgotten, and its rule begins anew there.

        :param awaited: the DAG of an alert about an event that did not come.
        """
        dags = self._dags()
        each(self._connection, sorted(self._changed), lambda some: self._save(some, dags, awaited), self._not_saved)
        self._changed.clear()

    def _not_saved(self, place: Place, error: Exception) -> None:
        what = f"the {place.role} state of rule {place.rule} for {place.key} cannot be written; it began anew"
        self.spoilt.append(SetAside(Kind.STATE, _id(place), place.workspace, f"{what}: {reason_of(error)}"))
        if place in self._rows:
            self._connection.execute(delete(_TABLE).where(_TABLE.c.id == self._rows[place]))

    def _save(
        self, places: Sequence[Place], dags: Mapping[int, str | None], awaited: Callable[[Place], str | None]
    ) -> None:
        now = datetime.fromtimestamp(self._moment, UTC)
        gone = [self._rows[place] for place in places if self._working.get(place) is None and place in self._rows]
        for chunk in in_chunks(gone):
            self._connection.execute(delete(_TABLE).where(_TABLE.c.id.in_(chunk)))
        new: list[dict[str, Any]] = []
        known: list[dict[str, Any]] = []
        for place in places:
            body = self._working.get(place)
            if body is None:
                continue
            values = {
                "body": json.dumps(body, ensure_ascii=False),
                "due_at": self._working.dues.get(place),
                "open_since": None,
                "alert_id": None,
                "dag_id": None,
                "updated_at": now,
            }
            if place.role == "alert" and body.get("open") is not None:
                seq = body.get("seq")
                dag_id = awaited(place) if seq is None else dags.get(seq)
                values |= {"open_since": body["open"], "alert_id": body["id"], "dag_id": dag_id}
            if place in self._rows:
                known.append({"row_id": self._rows[place], **values})
            else:
                new.append({"id": _id(place), **place._asdict(), **values})
        if new:
            self._connection.execute(insert(_TABLE), new)
        if known:
            self._connection.execute(_REWRITE, known)

    def _dags(self) -> dict[int, str | None]:
        """The DAGs of the events that the changed alerts tell of, by their places."""
        bodies = (self._working.get(place) or {} for place in self._changed if place.role == "alert")
        seqs = {body["seq"] for body in bodies if body.get("open") is not None and body.get("seq") is not None}
        found: dict[int, str | None] = {}
        for chunk in in_chunks(seqs):
            query = select(schema.event.c.seq, schema.event.c.dag_id).where(schema.event.c.seq.in_(chunk))
            found.update((row.seq, row.dag_id) for row in self._connection.execute(query))
        return found

    def _keep(self, row: Any) -> None:
        place = Place(row.workspace, row.rule, row.role, row.key)
        if place in self._looked:
            return
        self._looked.add(place)
        self._rows[place] = row.id
        body = next(_readable([row.body]), None)
        if body is None or (row.role == "alert" and not is_whole(body)):
            # It must not hold up the others; the rule begins anew for this key.
            what = f"the {row.role} state of rule {row.rule} for {row.key} cannot be read; it began anew"
            self.spoilt.append(SetAside(Kind.STATE, row.id, row.workspace, f"{what}. It was: {row.body[:200]}"))
            self._changed.add(place)
        else:
            self._working.put(place, body, row.due_at)


class OpenAlert(NamedTuple):
    """An alert that lasts."""

    id: str
    workspace: str
    rule: str
    key: str
    since: float
    acknowledged: dict[str, str] | None
    facts: dict[str, Any]
    repeats: int
    flapping: bool


def workspaces(connection: Connection, *, due_by: float | None = None) -> set[str]:
    """Where rules remember anything; with a moment, where anything is due by then.

    What it costs depends on how many workspaces there are, not on how many states.
    """
    if due_by is None:
        return set(connection.execute(_WORKSPACES).scalars())
    return set(connection.execute(_WORKSPACES_DUE, {"due_by": due_by}).scalars())


def open_alerts(
    connection: Connection, *, workspace: Names = "", rule: Names = "", limit: int = 1000, sight: Sight = EVERYTHING
) -> list[OpenAlert]:
    """The alerts that last and may be seen, the newest first."""
    query = sight.narrow(_open(), _TABLE).order_by(_TABLE.c.open_since.desc(), _TABLE.c.id).limit(limit)
    query = query.where(chosen(_TABLE.c.workspace, workspace), chosen(_TABLE.c.rule, rule))
    found: list[OpenAlert] = []
    for row in readable_rows(connection, query, _TABLE.c.id, _unreadable):
        try:
            found.append(_alert(row))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            _unreadable(row.id, error)
    return found


def _unreadable(state_id: str, error: Exception) -> None:
    log.error("The state %s of an alert cannot be read: %s", state_id, reason_of(error))


def open_alert(connection: Connection, alert_id: str, *, sight: Sight = EVERYTHING) -> OpenAlert:
    """The alert of that id.

    :raises NotFound: if none that lasts, and may be seen, has it.
    """
    row = connection.execute(sight.narrow(_open(), _TABLE).where(_TABLE.c.alert_id == alert_id)).first()
    if row is None:
        raise NotFound(
            f"no open alert has the id {alert_id!r}: it is over, or never was; see `airflow ml-events alerts list`"
        )
    return _alert(row)


def _open() -> Select[Any]:
    return select(*_READ, _TABLE.c.open_since, _TABLE.c.alert_id).where(_TABLE.c.open_since.is_not(None))


def _alert(row: Any) -> OpenAlert:
    body = json.loads(row.body)
    return OpenAlert(
        id=body["id"],
        workspace=row.workspace,
        rule=row.rule,
        key=row.key,
        since=float(row.open_since),
        acknowledged=body.get("ack"),
        facts=body.get("facts") or {},
        repeats=body.get("repeats", 0),
        flapping=bool(body.get("flapping")),
    )


def of_rule(connection: Connection, workspace: str, rule: str) -> list[tuple[Place, Body, float | None]]:
    """All that a rule remembers, with the moments at which it is due."""
    rows = connection.execute(select(*_READ).where(_TABLE.c.workspace == workspace, _TABLE.c.rule == rule))
    places = [(Place(row.workspace, row.rule, row.role, row.key), row) for row in rows]
    return [(place, body, row.due_at) for place, row in places for body in _readable([row.body])]


def rules(connection: Connection, workspace: str) -> set[str]:
    """The rules of a workspace for which something is remembered."""
    return set(connection.execute(select(_TABLE.c.rule).where(_TABLE.c.workspace == workspace).distinct()).scalars())


def open_places(connection: Connection, workspace: str) -> list[Place]:
    """Where alerts of a workspace last."""
    query = select(_TABLE.c.rule, _TABLE.c.key).where(_TABLE.c.workspace == workspace, _TABLE.c.open_since.is_not(None))
    return [Place(workspace, row.rule, "alert", row.key) for row in connection.execute(query.order_by(_TABLE.c.id))]


def rename_rule(connection: Connection, workspace: str, name: str, new: str) -> None:
    """What is remembered for a rule is that of another one from now on, for which nothing is remembered yet."""
    query = select(_TABLE.c.id, _TABLE.c.role, _TABLE.c.key).where(
        _TABLE.c.workspace == workspace, _TABLE.c.rule == name
    )
    moved = [
        {"row_id": row.id, "new_id": _id(Place(workspace, new, row.role, row.key))} for row in connection.execute(query)
    ]
    if moved:
        renamed = update(_TABLE).where(_TABLE.c.id == bindparam("row_id"))
        connection.execute(renamed.values(id=bindparam("new_id"), rule=new), moved)


def forget_others(connection: Connection, workspace: str, enabled: Collection[str]) -> list[tuple[Place, Body]]:
    """Delete what is remembered for a workspace's rules other than these; return what waited in their groups."""
    known = rules(connection, workspace)
    waiting: list[tuple[Place, Body]] = []
    for rule in sorted(known - set(enabled)):
        gone = (_TABLE.c.workspace == workspace) & (_TABLE.c.rule == rule)
        for row in connection.execute(select(*_READ).where(gone, _TABLE.c.role == "group")):
            place = Place(row.workspace, row.rule, row.role, row.key)
            waiting += [(place, body) for body in _readable([row.body])]
        connection.execute(delete(_TABLE).where(gone))
    return waiting


def seqs_held(connection: Connection) -> set[int]:
    """The events of open alerts, and of what waits in groups: they are still to be told of."""
    rows = connection.execute(
        select(_TABLE.c.body).where(or_(_TABLE.c.open_since.is_not(None), _TABLE.c.role == "group"))
    )
    found: set[int] = set()
    for body in _readable(row.body for row in rows):
        found.update(seq for seq in (body.get("seq"), *(one for one, _ in waiting_in(body))) if seq is not None)
    return found


def _readable(texts: Iterable[str]) -> Iterator[Body]:
    """The bodies that can be read."""
    for text in texts:
        try:
            body = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(body, dict):
            yield body


def forget_idle(connection: Connection, workspace: str, *, before: datetime) -> int:
    """Delete what nobody touched in a workspace since a moment, is not due and no open alert."""
    query = delete(_TABLE).where(
        _TABLE.c.workspace == workspace,
        _TABLE.c.updated_at < before,
        _TABLE.c.due_at.is_(None),
        _TABLE.c.open_since.is_(None),
    )
    return connection.execute(query).rowcount


def _id(place: Place) -> str:
    return change_id("state", *place)
