"""Fields by which events are told apart or brought together: that events have them, on both sides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ml_event_provider.rules.resources import natural_paths

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ml_event_provider.rules.linting.reading import Reading
    from ml_event_provider.rules.linting.remarks import Remark

#: An event type that the catalogue does not have.
_FOREIGN: Final = "example"
#: What does not happen to an alert where the events of that role are never about the same thing.
_OUTCOMES: Final = {
    "break": "break a row",
    "other": "count among its last",
    "then": "follow",
    "resolve": "end an alert",
}


def check(reading: Reading) -> Iterator[Remark]:
    """Fields that no event of the rule has."""
    rule = reading.rule
    named = [
        ("by", rule.by or ()),
        ("cooldown.by", (rule.cooldown.by or ()) if rule.cooldown else ()),
        ("group.by", rule.group.by if rule.group else ()),
    ]
    for place, paths in named:
        yield from _unknown(reading, place, paths)
    if rule.condition is not None and rule.condition.value_path is not None:
        field = "distinct" if rule.condition.threshold is not None else "value"
        yield from _unknown(reading, f"condition.{rule.condition.kind}.{field}", [rule.condition.value_path])
    for role in reading.patterns:
        if role in _OUTCOMES:
            yield from _apart(reading, role)
    for number, inhibit in enumerate(rule.inhibit):
        for path in inhibit.equal:
            missing = [why for role in ("hit", f"inhibit{number}") if (why := reading.lacks(path, role))]
            if missing:
                text = f"{missing[0]}: the two are never equal; name fields that both events have"
                yield reading.remark("warning", "inhibit-lacks-field", f"inhibit[{number}].equal", text)


def natural(reading: Reading, role: str = "hit") -> set[tuple[str, ...]]:
    """The fields that name what the events of a role are about, where ``by`` does not say."""
    return {natural_paths(world.type or _FOREIGN) for world in reading.worlds(role)}


def _unknown(reading: Reading, place: str, paths: Iterable[str]) -> Iterator[Remark]:
    for path in paths:
        why = reading.lacks(path)
        if why:
            yield reading.remark("warning", "unknown-field", place, f"{why}; name a field that the rule's events have")


def _apart(reading: Reading, role: str) -> Iterator[Remark]:
    """Events of the role whose key is never that of the rule's own."""
    rule, worlds = reading.rule, reading.worlds(role)
    if not worlds or not reading.worlds():
        return
    if rule.by is None:
        own, others = natural(reading), natural(reading, role)
        if not own & others:
            # Keys of different length cannot be equal, whatever stands in them.
            certain = not {len(paths) for paths in own} & {len(paths) for paths in others}
            text = (
                f"these events are about {_listed(others)}, the rule's own about {_listed(own)}: they never"
                f" {_OUTCOMES[role]}; name fields that both have in 'by'"
            )
            yield reading.remark("error" if certain else "warning", "never-the-same", reading.place(role), text)
        return
    for path in rule.by:
        why = reading.lacks(path, role)
        if why and not reading.lacks(path):
            text = f"{why}, but 'by' asks for it: they never {_OUTCOMES[role]}; leave it out of 'by'"
            yield reading.remark("warning", "never-the-same", reading.place(role), text)


def _listed(keys: set[tuple[str, ...]]) -> str:
    return " or ".join("/".join(paths) for paths in sorted(keys))
