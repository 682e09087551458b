"""Patterns that no event can match, names that no event has, and patterns that match everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.rules.analysis import always_matches, never_matches, unknown_names
from ml_event_provider.rules.analysis.contradiction import conflict
from ml_event_provider.rules.analysis.demands import Demand, alternatives
from ml_event_provider.rules.analysis.fields import World

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ml_event_provider.rules.analysis import Problem
    from ml_event_provider.rules.analysis.demands import Alternative
    from ml_event_provider.rules.linting.reading import Reading
    from ml_event_provider.rules.linting.remarks import Level, Remark

_OUTCOMES: Final = {
    "hit": "the rule never fires",
    "break": "no row is ever broken",
    "other": "all of the last are the rule's own",
    "then": "nothing ever follows",
    "resolve": "no alert ends by it",
}
#: Which field of the scope asks for what, the plainest name first.
_SCOPED: Final = {
    "data.dag_id": ("dags", "pipelines"),
    "data.pipeline": ("pipelines",),
    "data.model": ("models",),
    "data.registry": ("registries",),
    "data.project": ("projects",),
    "data.collection": ("collections",),
    "owner": ("created_by",),
}
#: Only this package makes events of Airflow; others anybody may send, and with any data.
_SENT: Final[Alternative] = ({"type": Demand([{"anything-but": {"prefix": "airflow."}}])},)


def check(reading: Reading) -> Iterator[Remark]:
    """What is wrong with the rule's patterns, of all roles."""
    for role, pattern in reading.patterns.items():
        problems = unknown_names(reading.ungrouped[role])
        if not reading.worlds(role):
            yield _never(reading, role, pattern, problems)
            problems = [problem for problem in problems if not problem.certain]
        for problem in problems:
            yield from _unknown(reading, role, problem)
    for role, why in reading.broken.items():
        yield reading.remark("error", "unusable-pattern", reading.place(role), f"{why}; make it smaller")
    hit = reading.patterns.get("hit")
    if hit is not None and not reading.missing and always_matches(hit):
        text = "every event of the workspace matches; say which events are meant, by type or scope"
        yield reading.remark("warning", "always-matches", reading.place("hit"), text)


def level_of_never(pattern: Mapping[str, Any]) -> Level:
    """How grave it is that no event matches which is as the catalogue says: somebody may send others."""
    sent = any(conflict((*each, *_SENT), World(True)) is None for each in alternatives(pattern))
    return "warning" if sent else "error"


def _never(reading: Reading, role: str, pattern: Mapping[str, Any], problems: Sequence[Problem]) -> Remark:
    reason = never_matches(pattern)
    hints = [problem.text.rpartition("; ")[2] for problem in problems if "did you mean" in problem.text]
    hint = f" ({hints[0]})" if hints else ""
    outcome = _OUTCOMES.get(role, "it never mutes anything")
    level = level_of_never(pattern)
    which = "no event" if level == "error" else "no event that is as the catalogue says"
    text = f"{which} can match, so {outcome}: {reason}{hint}; correct it"
    return reading.remark(level, "never-matches", reading.place(role), text)


def _unknown(reading: Reading, role: str, problem: Problem) -> Iterator[Remark]:
    path = problem.path
    sent = path == "type" or (path.startswith("data.") and not reading.ours(role))
    level: Level = "error" if problem.certain and not sent else "warning"
    text = problem.text if path in problem.text else f"{path}: {problem.text}"
    asking = [name for name in _SCOPED.get(path, ()) if getattr(reading.rule.scope, name)]
    if not asking or path in _own_paths(reading, role):
        yield reading.remark(level, "unknown-name", reading.place(role), text)
    elif path == "data.pipeline":
        # A pipeline may as well be named by data.dag_id.
        return
    elif role == "hit":
        yield reading.remark(level, "unknown-name", f"scope.{asking[0]}", text)
    else:
        text += f"; scope.{asking[0]} asks for it here as well"
        yield reading.remark(level, "unknown-name", reading.place(role), text)


def _own_paths(reading: Reading, role: str) -> set[str]:
    """The fields that the rule's own pattern of the role asks for, the scope aside."""
    matcher = reading.matcher(role)
    if matcher is None or matcher.event_pattern is None:
        return set()
    return {path for groups in alternatives(matcher.event_pattern) for group in groups for path in group}
