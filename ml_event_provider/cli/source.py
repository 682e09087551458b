"""Reads the event that a command names: a recorded one by its id, or a CloudEvents JSON file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ml_event_provider import config
from ml_event_provider.events.model import Event
from ml_event_provider.exceptions import InvalidEvent, NotFound
from ml_event_provider.messages.preview import sample_events
from ml_event_provider.store import events
from ml_event_provider.store.engine import transaction

if TYPE_CHECKING:
    from collections.abc import Iterable


def paths_of(names: Iterable[str]) -> list[Path]:
    """The files and folders that ``-f`` names.

    :raises NotFound: for an empty name, as of a shell variable that is not set.
    """
    found = list(names)
    if not all(found):
        raise NotFound("-f is given an empty name: name a file or folder, . for the present one")
    return [Path(name) for name in found]


def event_named(name: str) -> Event:
    """The event of a file's path, a recorded event's id, or an event type (its sample, in our workspace).

    :raises NotFound: if it is neither.
    :raises InvalidEvent: if the file holds no event.
    """
    # Not Path.is_file: it raises for an id that is too long for a file's name.
    if os.path.isfile(name):
        try:
            return Event.from_json(Path(name).read_bytes())
        except InvalidEvent as error:
            raise InvalidEvent(f"{name}: {error}") from None
        except OSError as error:
            raise InvalidEvent(f"{name}: cannot be read: {error.strerror}") from None
    sample = sample_events().get(name)
    if sample is not None:
        return replace(sample, workspace=config.workspace())
    with transaction() as connection:
        found = events.find(connection, name)
    if not found:
        raise NotFound(f"{name!r} is no file, recorded event's id or event type; see `airflow ml-events events list`")
    return found[-1].event
