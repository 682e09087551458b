"""Which events a rule's action causes, and which rules fire on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ml_event_provider.events.catalogue import EVENT_TYPES
from ml_event_provider.exceptions import InvalidRule
from ml_event_provider.rules.analysis import may_match, relation
from ml_event_provider.rules.analysis.demands import alternatives
from ml_event_provider.rules.analysis.fields import World
from ml_event_provider.rules.analysis.groups import trivial
from ml_event_provider.rules.patterns.index import PatternIndex

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ml_event_provider.rules.analysis.demands import Alternative, Demand
    from ml_event_provider.rules.model import Rule
    from ml_event_provider.rules.scope import ResourceGroup

#: How the ids of all runs begin that rules' actions start.
RUN_PREFIX: Final = "ml_events__"
#: Such a run id. Patterns that leave such runs out break a loop.
RUN_ID: Final = f"{RUN_PREFIX}hop1__00000000-0000-4000-8000-000000000000"

_ASSET_TYPE: Final = "airflow.asset.updated"
#: The types of events that a DAG's run may make, the gravest first.
_RUN_TYPES: Final = sorted(
    (
        name
        for name in EVENT_TYPES
        if name.startswith(("airflow.dag_run.", "airflow.task_instance.", "airflow.deadline."))
    ),
    key=lambda name: (not name.endswith(".failed"), name),
)
#: Only updates by a task have these fields.
_ASSET_SOURCES: Final = ("source_dag_id", "source_task_id", "source_run_id", "source_map_index")


class Cause(NamedTuple):
    """What an action sets going: the runs of a DAG, or an update of an asset.

    ``field`` is ``dag_id``, ``uri`` or ``name``. With ``by_asset`` the action starts the DAG by updating an asset.
    """

    workspace: str
    field: str
    value: str
    by_asset: bool = False

    def events(self) -> Iterator[dict[str, Any]]:
        """The events that come of it, as far as they are known; an empty list is a field that is missing."""
        if self.field != "dag_id":
            yield self._event(_ASSET_TYPE, {name: [] for name in _ASSET_SOURCES})
            return
        for kind in _RUN_TYPES:
            family, _, state = kind.rpartition(".")
            known: dict[str, Any] = {} if self.by_asset else {"run_id": RUN_ID}
            if family != "airflow.deadline":
                known["state"] = state
            if family == "airflow.dag_run":
                known["run_type"] = "asset_triggered" if self.by_asset else "manual"
            yield self._event(kind, known)

    def _event(self, kind: str, known: dict[str, Any]) -> dict[str, Any]:
        return {"type": kind, "workspace": self.workspace, "data": {self.field: self.value, **known}}


class Edge(NamedTuple):
    """How a rule comes to follow another: by which event of which cause, and whether it asks for the very thing."""

    cause: Cause
    type: str
    pinned: bool

    def words(self) -> str:
        """What the first rule does, up to the event."""
        if self.cause.field != "dag_id":
            return f"updates the asset {self.cause.value!r}, whose {self.type}"
        started = "updates an asset that starts" if self.cause.by_asset else "starts"
        return f"{started} DAG {self.cause.value!r}, whose {self.type}"

    def excluded(self) -> dict[str, Any]:
        """A pattern that leaves the event out: where the rule asks for the very thing, what actions cause of it."""
        if self.pinned and self.cause.field != "dag_id":
            return {"data": {"source_dag_id": [{"exists": True}]}}
        if self.pinned and not self.cause.by_asset:
            return {"data": {"run_id": [{"anything-but": {"prefix": RUN_PREFIX}}]}}
        return {"data": {self.cause.field: [{"anything-but": [self.cause.value]}]}}


class _Way(NamedTuple):
    """One alternative of a rule's own pattern, also as a pattern of its own."""

    rule: int
    alternative: Alternative
    pattern: dict[str, Any]


class Followers:
    """The rules that fire on events, by what causes these."""

    def __init__(self, rules: Sequence[Rule], groups: Iterable[ResourceGroup]) -> None:
        named: dict[str, dict[str, ResourceGroup]] = {}
        for group in groups:
            named.setdefault(group.workspace, {})[group.name] = group
        self._ways: list[_Way] = []
        for number, rule in enumerate(rules):
            # The events of an absence end its alert; they do not begin it.
            if rule.condition is None or rule.condition.absence is None:
                self._ways += _ways(number, rule, named.get(rule.workspace, {}))
        #: Which ways to look at, from the little that is known of all events of such causes.
        self._indexes = {field: self._index(field) for field in ("dag_id", "uri", "name")}
        self._found: dict[Cause, dict[int, Edge]] = {}
        self._all: dict[tuple[int, str, bool, str], bool] = {}

    def of(self, cause: Cause) -> dict[int, Edge]:
        """The rules that fire on what the cause leads to, by their number, each with the first such event."""
        found = self._found.get(cause)
        if found is None:
            found = self._found[cause] = {}
            for event in cause.events():
                for name in sorted(self._indexes[cause.field].match(event), key=int):
                    way = self._ways[int(name)]
                    if way.rule not in found:
                        edge = self._edge(int(name), way, cause, event)
                        if edge is not None:
                            found[way.rule] = edge
        return found

    def _edge(self, number: int, way: _Way, cause: Cause, event: dict[str, Any]) -> Edge | None:
        if not may_match(way.pattern, event):
            return None
        kind = str(event["type"])
        path = f"data.{cause.field}"
        asked = [group[path] for group in way.alternative if path in group]
        field = World(True, kind).field(path)
        if any(not trivial(demand, field) for demand in asked):
            return Edge(cause, kind, any(_names(demand, cause.value) for demand in asked))
        # Nothing depends on the value.
        key = number, kind, cause.by_asset, cause.field
        if key not in self._all:
            known = {f"data.{name}": _known(value) for name, value in event["data"].items() if name != cause.field}
            pattern = {"type": [kind], "workspace": [cause.workspace], **known}
            self._all[key] = relation(pattern, way.pattern) in ("equal", "a_in_b")
        return Edge(cause, kind, False) if self._all[key] else None

    def _index(self, field: str) -> PatternIndex:
        always = {"type", "workspace", f"data.{field}"}
        return PatternIndex(
            {
                str(number): _pattern(
                    {path: demand for path, demand in group.items() if path in always and not demand.comparisons}
                    for group in way.alternative
                )
                for number, way in enumerate(self._ways)
            }
        )


def _ways(number: int, rule: Rule, groups: dict[str, ResourceGroup]) -> list[_Way]:
    try:
        found = alternatives(rule.pattern(groups))
    except InvalidRule:
        return []
    return [_Way(number, alternative, _pattern(alternative)) for alternative in found]


def _pattern(groups: Iterable[dict[str, Demand]]) -> dict[str, Any]:
    """The pattern that demands these groups."""
    parts = [{path: [*demand.elements] for path, demand in group.items()} for group in groups if group]
    return {"$and": parts} if parts else {"type": [{"exists": True}]}


def _known(value: Any) -> list[Any]:
    return [{"exists": False}] if value == [] else [value]


def _names(demand: Demand, value: str) -> bool:
    """Whether the demand lists values, with this one among them."""
    return value in (demand.fixed() or ())
