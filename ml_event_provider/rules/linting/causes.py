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

    from ml_event_provider.rules.analysis.demands import Alternative
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
    """How a rule comes to follow another: by which event of which cause, and by which alternative of its pattern."""

    cause: Cause
    type: str
    alternative: Alternative

    def words(self) -> str:
        """What the first rule does, up to the event."""
        if self.cause.field != "dag_id":
            return f"updates the asset {self.cause.value!r}, whose {self.type}"
        started = "updates an asset that starts" if self.cause.by_asset else "starts"
        return f"{started} DAG {self.cause.value!r}, whose {self.type}"

    def excluded(self) -> dict[str, Any]:
        """A pattern that leaves the event out: where the rule asks for the very thing, what actions cause of it."""
        if self._pinned and self.cause.field != "dag_id":
            return {"data": {"source_dag_id": [{"exists": True}]}}
        if self._pinned and not self.cause.by_asset:
            return {"data": {"run_id": [{"anything-but": {"prefix": RUN_PREFIX}}]}}
        return {"data": {self.cause.field: [{"anything-but": [self.cause.value]}]}}

    @property
    def _pinned(self) -> bool:
        """Whether the rule lists values, with this one among them."""
        path = f"data.{self.cause.field}"
        return any(self.cause.value in (group[path].fixed() or ()) for group in self.alternative if path in group)


class _Way(NamedTuple):
    """One alternative of a rule's own pattern."""

    rule: int
    alternative: Alternative


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
        self._indexes = {field: self._index(field) for field in ("dag_id", "uri", "name")}
        self._found: dict[Cause, dict[int, Edge]] = {}
        self._asks: dict[tuple[int, str, str], bool] = {}
        self._fits_all: dict[tuple[int, str, str, bool], bool] = {}

    def of(self, cause: Cause) -> dict[int, Edge]:
        """The rules that fire on what the cause leads to, by their number, each with the first such event."""
        found = self._found.get(cause)
        if found is None:
            found = self._found[cause] = {}
            for event in cause.events():
                for name in sorted(self._indexes[cause.field].match(event), key=int):
                    way = self._ways[int(name)]
                    if way.rule not in found and self._follows(int(name), cause, event):
                        found[way.rule] = Edge(cause, event["type"], way.alternative)
        return found

    def _index(self, field: str) -> PatternIndex:
        """What is asked of the fields that are known of all events of such causes."""
        return PatternIndex(
            {str(number): _pattern(way.alternative, field, known=True) for number, way in enumerate(self._ways)}
        )

    def _follows(self, number: int, cause: Cause, event: dict[str, Any]) -> bool:
        """Whether an event that the index has found surely concerns the rule, or what the rule asks about."""
        kind, way = event["type"], self._ways[number]
        key = number, kind, cause.field
        asks = self._asks.get(key)
        if asks is None:
            path = f"data.{cause.field}"
            field = World(True, kind).field(path)
            asks = any(path in group and not trivial(group[path], field) for group in way.alternative)
            self._asks[key] = asks
        if asks:
            rest = _pattern(way.alternative, cause.field, known=False)
            return rest == _ANYTHING or may_match(rest, event)
        # The value changes nothing.
        fits = self._fits_all.get((*key, cause.by_asset))
        if fits is None:
            data = {f"data.{name}": _known(value) for name, value in event["data"].items() if name != cause.field}
            own = {"type": [kind], "workspace": [cause.workspace], **data}
            fits = relation(own, _pattern(way.alternative)) in ("equal", "a_in_b")
            self._fits_all[*key, cause.by_asset] = fits
        return fits


def _ways(number: int, rule: Rule, groups: dict[str, ResourceGroup]) -> list[_Way]:
    try:
        found = alternatives(rule.pattern(groups))
    except InvalidRule:
        return []
    return [_Way(number, alternative) for alternative in found]


#: The shortest pattern that every event matches.
_ANYTHING: Final = {"type": [{"exists": True}]}


def _pattern(alternative: Alternative, field: str = "", *, known: bool | None = None) -> dict[str, Any]:
    """The pattern that demands the groups; with ``known``, only of the always known fields, or only of the others."""
    always = {"type", "workspace", f"data.{field}"}
    parts = [
        {
            path: [*demand.elements]
            for path, demand in group.items()
            if known is None or known == (path in always and not demand.comparisons)
        }
        for group in alternative
    ]
    parts = [part for part in parts if part]
    return {"$and": parts} if parts else _ANYTHING


def _known(value: Any) -> list[Any]:
    return [{"exists": False}] if value == [] else [value]
