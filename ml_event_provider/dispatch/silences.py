"""What people do with silences: begin, end and delete them, and see how they stand."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import ValidationError

from ml_event_provider import config
from ml_event_provider.exceptions import InvalidRule
from ml_event_provider.rules.documents import Document
from ml_event_provider.rules.problems import problems_of
from ml_event_provider.rules.silences import Silence
from ml_event_provider.store import definitions
from ml_event_provider.store.definitions import Kind
from ml_event_provider.store.sight import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ml_event_provider.store.choice import Names
    from ml_event_provider.store.sight import Sight

log = logging.getLogger(__name__)

State = Literal["active", "upcoming", "ended"]


class Standing(NamedTuple):
    """How a silence stands at a moment: ``begins`` is when it does next, ``ends`` when it is no longer active."""

    state: State
    begins: datetime | None
    ends: datetime | None


def read(document: Mapping[str, Any], *, author: str, now: datetime) -> Silence:
    """The silence of a document; one without a name, a workspace or an author gets them.

    :raises InvalidRule: listing what is wrong, each with its field.
    """
    whole = {
        "name": f"silence-{now:%Y%m%d-%H%M%S-%f}"[:-3],
        "workspace": config.workspace(),
        "author": author,
        **document,
    }
    try:
        return Silence.model_validate(whole)
    except ValidationError as error:
        problems = (text.partition(": ")[2] for text in problems_of(error, Document(whole), (), Silence))
        raise InvalidRule("; ".join(text.removeprefix("silence: ") for text in problems)) from None


def add(connection: Any, silence: Silence, *, author: str, now: datetime, managed_by: str) -> None:
    """Keep a silence; it counts from the dispatcher's next batch on.

    :raises InvalidRule: if another of that name has not ended.
    """
    known = {one.name: one for one in of(connection, silence.workspace)}.get(silence.name)
    if known is not None and standing(known, now).state != "ended":
        raise InvalidRule(
            f"workspace {silence.workspace!r} has a silence {silence.name!r} that has not ended: choose another name,"
            f" or end it with `airflow ml-events silences end`"
        )
    _put(connection, silence, author=author, managed_by=managed_by)


def end(connection: Any, name: str, *, workspace: str, author: str, now: datetime) -> bool:
    """Let a silence end now; say whether it had not ended before.

    :raises NotFound: if there is none of that name.
    :raises InvalidRule: if it has not begun.
    """
    stored = definitions.get(connection, name, workspace=workspace, kind=Kind.SILENCE)
    silence = Silence.model_validate(stored.definition)
    if silence.ends_at is not None and silence.ends_at <= now:
        return False
    if silence.starts_at is not None and silence.starts_at >= now:
        raise InvalidRule(
            f"silence {name!r} begins at {silence.starts_at.isoformat()}: there is nothing to end; delete it"
        )
    ended = silence.model_copy(update={"ends_at": now})
    _put(connection, ended, author=author, managed_by=stored.managed_by, change="ended")
    return True


def of(connection: Any, workspace: Names = "") -> list[Silence]:
    """All silences that can be read, by workspace and name."""
    found: list[Silence] = []
    for one in definitions.find(connection, Kind.SILENCE, workspace=workspace):
        try:
            found.append(Silence.model_validate(one.definition))
        except ValidationError as error:
            log.error("Silence %s of workspace %s cannot be used: %s", one.name, one.workspace, error)
    return found


def shown_to(sight: Sight, silence: Silence) -> bool:
    """Whether a reader may see a silence: one of a workspace that they see, which names no DAG hidden from them."""
    return sight.shows(silence.workspace, silence.dags_named())


def check_shown_to(sight: Sight, connection: Any, name: str, *, workspace: str) -> None:
    """Whether there is a silence of that name for a reader; one that cannot be read may name any DAG.

    :raises NotFound: if there is none, or none that they may see.
    """
    stored = definitions.get(connection, name, workspace=workspace, kind=Kind.SILENCE)
    try:
        shown = shown_to(sight, Silence.model_validate(stored.definition))
    except ValidationError:
        shown = workspace not in sight.hidden and sight.dags is None
    if not shown:
        raise definitions.missing(name, workspace=workspace, kind=Kind.SILENCE)


def listed(
    connection: Any, workspace: Names, now: datetime, *, sight: Sight = EVERYTHING
) -> list[tuple[Silence, Standing]]:
    """The silences that may be seen, with how they stand; one of which that cannot be told is logged and left out."""
    found: list[tuple[Silence, Standing]] = []
    for one in of(connection, workspace):
        if not shown_to(sight, one):
            continue
        try:
            found.append((one, standing(one, now)))
        except Exception:
            log.exception("How silence %s of workspace %s stands cannot be told", one.name, one.workspace)
    return found


def standing(silence: Silence, moment: datetime) -> Standing:
    """How a silence stands. A recurring one is upcoming between its windows."""
    if silence.ends_at is not None and silence.ends_at <= moment:
        return Standing("ended", None, silence.ends_at)
    early = silence.starts_at is not None and moment < silence.starts_at
    begins = silence.starts_at if early else moment
    ends = silence.ends_at
    if silence.recurring is not None and begins is not None:
        window = silence.recurring.window_at(begins)
        if window is None:
            begins = silence.recurring.next_start(begins)
            window = begins, begins + silence.recurring.duration
        if silence.ends_at is not None and begins >= silence.ends_at:
            # No window comes before its end.
            return Standing("ended", None, silence.ends_at)
        ends = window[1] if ends is None else min(window[1], ends)
    if begins == moment:
        return Standing("active", silence.starts_at, ends)
    return Standing("upcoming", begins, ends)


def _put(connection: Any, silence: Silence, *, author: str, managed_by: str, change: str = "") -> None:
    written = silence.model_dump(mode="json", exclude_defaults=True)
    whole = {"name": silence.name, "workspace": silence.workspace, **written}
    definitions.put(connection, whole, managed_by=managed_by, kind=Kind.SILENCE, author=author, change=change)
