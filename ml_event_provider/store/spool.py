"""A durable folder for events that could not be handed over. Plain files, the standard library only.

A file holds a batch of events as a JSON list. It is written beside, synced and renamed, so that it is whole
or not there. Draining is at least once: two drainers may send the same file, and the store's unique key makes
that harmless.
"""

from __future__ import annotations

import json
import logging
import os
import time
import uuid
from typing import TYPE_CHECKING

from ml_event_provider.events.model import Event
from ml_event_provider.exceptions import EventRejected, InvalidEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

_SUFFIX = ".events.json"


class Spool:
    """The events that wait in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def put(self, events: Sequence[Event]) -> Path:
        """Write a batch durably and return its file.

        :raises OSError: if it cannot be written (disk full, no right).
        :raises InvalidEvent: if an event's data is no JSON.
        """
        text = f"[{','.join(event.to_json() for event in events)}]"
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = f"{time.time_ns():020d}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        beside = self.directory / f"{name}.part"
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        target = self.directory / f"{name}{_SUFFIX}"
        beside.rename(target)
        folder = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return target

    def waiting(self) -> list[Path]:
        """The files that wait, oldest first."""
        try:
            return sorted(path for path in self.directory.iterdir() if path.name.endswith(_SUFFIX))
        except FileNotFoundError:
            return []

    def drain(self, send: Callable[[list[Event]], object], *, go_on: Callable[[], bool] = lambda: True) -> int:
        """Give each waiting batch to ``send`` and remove it; return how many events went.

        What ``send`` raises ends the draining and leaves the rest, except :class:`EventRejected`: what is
        refused, and files that hold no events, are put aside under ``rejected/`` with the reason, so that
        they do not hold up the others. A file that may not be read stays and is skipped.
        """
        sent = 0
        for path in self.waiting():
            if not go_on():
                break
            events: list[Event] = []
            try:
                events = _read(path)
                if events:
                    send(events)
            except _Unreadable as error:
                log.warning("Spooled events in %s wait on: %s", path.name, error)
            except (EventRejected, InvalidEvent) as error:
                self._separate(path, events, str(error))
            else:
                sent += len(events)
                path.unlink(missing_ok=True)
        return sent

    def _separate(self, path: Path, events: list[Event], reason: str) -> None:
        """Split a refused batch, so that one bad event does not take the good ones with it."""
        if len(events) <= 1:
            self._put_aside(path, reason)
            return
        for event in events:
            self.put([event])
        path.unlink(missing_ok=True)

    def _put_aside(self, path: Path, reason: str) -> None:
        aside = self.directory / "rejected"
        aside.mkdir(exist_ok=True, mode=0o700)
        try:
            path.rename(aside / path.name)
        except FileNotFoundError:
            # Another drainer was faster.
            return
        (aside / f"{path.name}.reason").write_text(reason + "\n", encoding="utf-8")
        log.error("Spooled events in %s were refused and put aside in %s: %s", path.name, aside, reason)


class _Unreadable(Exception):
    """A file that another user wrote, or whose disk fails; it stays."""


def _read(path: Path) -> list[Event]:
    try:
        documents = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        # Another drainer was faster.
        return []
    except OSError as error:
        raise _Unreadable(str(error)) from None
    except ValueError as error:
        raise InvalidEvent(f"{path.name} is not a JSON list of events: {error}") from None
    if not isinstance(documents, list) or not all(isinstance(document, dict) for document in documents):
        raise InvalidEvent(f"{path.name} is not a JSON list of events")
    return [Event.from_dict(document) for document in documents]
