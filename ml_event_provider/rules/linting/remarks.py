"""A remark about a rule, and what is around the rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from ml_event_provider.rules.calendars import Calendar
    from ml_event_provider.rules.scope import ResourceGroup
    from ml_event_provider.rules.silences import Silence

#: ``error``: certainly never works, is not there, or exceeds a quota. ``warning``: probably a mistake.
Level = Literal["error", "warning", "info"]


class Remark(NamedTuple):
    """What seems wrong, where, and what to do. ``rule`` is empty where it is about the workspace.

    ``code`` names the kind of the remark and stays the same; ``text`` is for people.
    """

    level: Level
    workspace: str
    rule: str
    field: str
    text: str
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What is around the rules. ``None`` is what cannot be known: nothing is said about it.

    ``connections`` are ids and ``connection_types`` the types by id; ``templates`` says whether a template of that
    name exists; ``quota`` gives a limit (``max_targets``, ``max_contacts``, ``max_rules``) of a workspace;
    ``known_dags`` are DAG ids; ``now`` is aware.
    """

    connections: Collection[str] | None = None
    connection_types: Mapping[str, str] | None = None
    templates: Callable[[str], bool] | None = None
    quota: Callable[[str, str], int] | None = None
    groups: Sequence[ResourceGroup] = ()
    calendars: Sequence[Calendar] = ()
    silences: Sequence[Silence] = ()
    known_dags: Collection[str] | None = None
    now: datetime | None = None
