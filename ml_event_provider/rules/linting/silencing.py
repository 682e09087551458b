"""Silences that mute nothing: over, for rules that are not there, or for events that never come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ml_event_provider.exceptions import InvalidRule
from ml_event_provider.rules.analysis import never_matches, unknown_names
from ml_event_provider.rules.linting.matching import level_of_never
from ml_event_provider.rules.linting.references import fits
from ml_event_provider.rules.linting.remarks import Remark
from ml_event_provider.rules.presets import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ml_event_provider.rules.linting.reading import Reading
    from ml_event_provider.rules.linting.remarks import Level, Surroundings
    from ml_event_provider.rules.silences import Silence


def check(readings: Sequence[Reading], around: Surroundings) -> Iterator[Remark]:
    """What is wrong with the silences."""
    names: dict[str, list[str]] = {}
    for reading in readings:
        names.setdefault(reading.rule.workspace, []).append(reading.rule.name)
    for silence in around.silences:
        for name in silence.rules:
            known = names.get(silence.workspace, [])
            if not any(fits(rule, name) for rule in known):
                text = f"no rule of the workspace fits {name!r}{nearest(name, known)}: it mutes nothing; correct it"
                yield _remark("warning", "silence-without-rule", silence, ".rules", text)
        if around.now is not None and silence.ends_at is not None and silence.ends_at <= around.now:
            text = f"is over since {silence.ends_at.isoformat()}; take it away"
            yield _remark("info", "silence-ended", silence, "", text)
        yield from _events(silence)


def _events(silence: Silence) -> Iterator[Remark]:
    pattern = silence.pattern()
    try:
        why = never_matches(pattern)
        problems = unknown_names(pattern)
    except InvalidRule as error:
        yield _remark("error", "unusable-pattern", silence, "", f"{error}; make it smaller")
        return
    if why is not None:
        text = f"no event can match, so it mutes nothing: {why}"
        yield _remark(level_of_never(pattern), "never-matches", silence, "", text)
    for problem in problems:
        if not (problem.certain and why) and not (problem.path == "data.pipeline" and silence.pipelines):
            text = problem.text if problem.path in problem.text else f"{problem.path}: {problem.text}"
            yield _remark("warning", "unknown-name", silence, "", text)


def _remark(level: Level, code: str, silence: Silence, below: str, text: str) -> Remark:
    return Remark(level, silence.workspace, "", f"silences.{silence.name}{below}", text, code)
