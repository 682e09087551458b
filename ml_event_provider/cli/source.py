"""Reads the event that a command names: a recorded one by its id, or a CloudEvents JSON file."""

from __future__ import annotations

from pathlib import Path

from ml_event_provider.events.model import Event
from ml_event_provider.exceptions import InvalidEvent, NotFound
from ml_event_provider.store import events
from ml_event_provider.store.engine import transaction


def event_named(name: str) -> Event:
    """The event of a file's path or a recorded event's id.

    :raises NotFound: if it is neither.
    :raises InvalidEvent: if the file holds no event.
    """
    path = Path(name)
    if path.is_file():
        try:
            return Event.from_json(path.read_bytes())
        except InvalidEvent as error:
            raise InvalidEvent(f"{path}: {error}") from None
    with transaction() as connection:
        found = events.find(connection, name)
    if not found:
        raise NotFound(f"{name!r} is neither a file nor a recorded event's id; see `airflow ml-events events list`")
    return found[-1].event
