"""Whole rules drawn at random, and streams of events for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from ml_event_provider.rules.model import Rule
from ml_event_provider.rules.silences import Silence
from tests.unit.rules.conditions.condition_strategies import CASES, Case
from tests.unit.rules.engine.driving import FAILED, SUCCESS, TICK, arrival

if TYPE_CHECKING:
    from ml_event_provider.rules.engine import Arrival

TASK_FAILED = "airflow.task_instance.failed"


def durations(smallest: int, largest: int) -> st.SearchStrategy[int]:
    """Seconds, in whole ticks."""
    return st.integers(smallest, largest).map(lambda ticks: ticks * TICK)


fields = st.sampled_from(["data.key", "data.run"])
hours = st.fixed_dictionaries(
    {"hours": st.sampled_from(["00:02-00:05", "00:00-00:03"]), "outside": st.sampled_from(["hold", "mute"])}
)
targets = st.fixed_dictionaries(
    {"conn_id": st.sampled_from(["one", "two"])},
    optional={
        "min_severity": st.sampled_from(["info", "error"]),
        "resolved": st.booleans(),
        "active": hours,
        "fallback": st.just("other"),
    },
)
inhibits = st.fixed_dictionaries(
    {
        "on": st.sampled_from([TASK_FAILED, SUCCESS, FAILED]),
        "equal": st.sampled_from(["data.key", "data.run"]),
        "within": durations(1, 8),
        "wait": durations(0, 4),
    }
)
gatherings = st.one_of(
    st.just({}),
    st.just({}),
    st.fixed_dictionaries({"suppress": durations(1, 12)}),
    st.fixed_dictionaries(
        {
            "group": st.fixed_dictionaries(
                {"wait": durations(0, 4), "interval": durations(0, 8), "max": st.integers(1, 4)},
                optional={"by": fields},
            )
        }
    ),
)
resolves = st.one_of(
    st.just(True),
    st.just({"on": TASK_FAILED}),
    st.fixed_dictionaries({"after": durations(1, 8)}, optional={"on": st.just(SUCCESS)}),
)
optional_parts: dict[str, st.SearchStrategy[Any]] = {
    "repeat": durations(1, 8),
    "cooldown": st.one_of(durations(1, 12), st.fixed_dictionaries({"for": durations(1, 12)}, optional={"by": fields})),
    "flapping": st.fixed_dictionaries({"changes": st.integers(2, 3), "within": durations(6, 30)}),
    "escalate": st.lists(
        st.fixed_dictionaries({"after": durations(1, 12), "targets": st.just("boss")}), min_size=1, max_size=2
    ),
    "inhibit": st.lists(inhibits, min_size=1, max_size=2),
    "active": hours,
    "actions": st.just({"pause_dag": "dag"}),
    "severity": st.sampled_from(["info", "critical"]),
}


@st.composite
def rules(draw: st.DrawFn, name: str = "rule") -> dict[str, Any]:
    """A rule as a file has it."""
    rule: dict[str, Any] = {"name": name, "on": FAILED, "targets": draw(st.lists(targets, min_size=1, max_size=2))}
    by = draw(st.sampled_from([None, "data.key", "data.key", [], ["data.key", "data.run"]]))
    if by is not None:
        rule["by"] = by
    if draw(st.sampled_from([False, True, True])):
        case: Case = draw(st.one_of(*CASES.values()))
        rule["condition"] = case.condition
        if case.expected:
            rule["by"] = "data.key"
    chosen = draw(st.lists(st.sampled_from(sorted(optional_parts)), max_size=4, unique=True))
    rule |= {part: draw(optional_parts[part]) for part in chosen} | draw(gatherings)
    if "flapping" in chosen or draw(st.booleans()):
        rule["resolve"] = draw(resolves)
    Rule.model_validate(rule)
    return rule


silences = st.sampled_from(
    [
        [],
        [],
        [Silence(name="all", author="me", reason="work", everything=True, ends_at="2026-01-01T00:04:00Z")],
        [
            Silence(
                name="some",
                author="me",
                reason="work",
                event_pattern={"data": {"run": ["1"]}},
                starts_at="2026-01-01T00:02:00Z",
                ends_at="2026-01-01T00:08:00Z",
            )
        ],
    ]
)

_raw = st.tuples(
    st.sampled_from([0, 0, 1, 1, 1, 2, 3, 5, 9]),
    st.sampled_from([-1, 0, 0, 0, 0, 1, 2, 4, 8, 12]),
    st.sampled_from([FAILED, FAILED, FAILED, SUCCESS, SUCCESS, TASK_FAILED]),
    st.sampled_from("aaab"),
    st.sampled_from("12"),
    st.integers(-2, 4),
)


def _arrivals(raw: list[tuple[int, int, str, str, str, int]]) -> list[Arrival]:
    now, found = 0, []
    for seq, (gap, late, type, key, run, value) in enumerate(raw):
        now += gap
        found.append(arrival(seq, now, type, late=late, key=key, dag_id=key, task_id=key, run=run, value=value))
    return found


_many = st.lists(_raw, min_size=10, max_size=30)
streams = st.one_of(st.lists(_raw, max_size=6), _many, _many).map(_arrivals)
