"""A durable folder for events that could not be handed over. Plain files, the standard library only.

A file holds a batch of events as a JSON list. It is written beside, synced and renamed, so that it is whole
or not there. Draining is at least once: two drainers may send the same file, and the store's unique key makes
that harmless.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import time
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from ml_event_provider import troubles
from ml_event_provider.events.model import Event
from ml_event_provider.exceptions import EndpointFailed, EventRejected, HandOverError, InvalidEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

_SUFFIX = ".events.json"
_BESIDE = ".part"
_REJECTED = "rejected"
#: What a small file takes on the disk.
BLOCK = 4096
#: After how many seconds a file that was never renamed belongs to a writer that is gone.
STALE_SECONDS = 3600.0
#: After how many seconds a file that fails where others go is put aside, whatever the failure.
STUBBORN_SECONDS = 600.0
#: How long what was put aside is kept, in seconds.
REJECTED_SECONDS = 30 * 86_400.0


class SpoolFull(OSError):
    """The spool has reached its bound; the events were not written."""


class Waiting(NamedTuple):
    """What a spool holds: files that wait, their bytes, the age of the oldest in seconds, files put aside."""

    files: int = 0
    bytes: int = 0
    oldest_seconds: float = 0.0
    rejected: int = 0


class _Failed(NamedTuple):
    path: Path
    documents: list[dict[str, Any]]
    error: Exception


def _nobody_listens(error: Exception) -> bool:
    return isinstance(error, HandOverError) and not isinstance(error, EndpointFailed)


class Spool:
    """The events that wait in ``directory``: at most ``megabytes`` (MiB) of them. ``clock``: seconds since 1970."""

    def __init__(self, directory: Path, *, megabytes: float = 200.0, clock: Callable[[], float] = time.time) -> None:
        self.directory = directory
        self._max_bytes = int(megabytes * 1024 * 1024)
        self._clock = clock

    def put(self, events: Sequence[Event]) -> Path:
        """Write a batch durably and return its file.

        :raises SpoolFull: if more waits already than may.
        :raises OSError: if it cannot be written (disk full, no right).
        :raises InvalidEvent: if an event's data is no JSON.
        """
        text = f"[{','.join(event.to_json() for event in events)}]"
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        held = self._bytes()
        if held + max(len(text.encode()), BLOCK) > self._max_bytes:
            raise SpoolFull(
                errno.EDQUOT,
                f"{held} bytes wait already and [ml_events] spool_megabytes allows {self._max_bytes}: see why the API"
                " server takes no events",
                str(self.directory),
            )
        return self._write(f"{time.time_ns():020d}-{os.getpid()}-{uuid.uuid4().hex[:8]}", text)

    def _write(self, name: str, text: str) -> Path:
        beside = self.directory / f"{name}{_BESIDE}"
        try:
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            target = self.directory / f"{name}{_SUFFIX}"
            beside.rename(target)
        except OSError:
            beside.unlink(missing_ok=True)
            raise
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

    def look(self) -> Waiting:
        """What waits and what was put aside."""
        files = [(name, status) for name, status in self._files(self.directory) if name.endswith(_SUFFIX)]
        oldest = min((status.st_mtime for _, status in files), default=None)
        return Waiting(
            len(files),
            sum(status.st_size for _, status in files),
            0.0 if oldest is None else max(0.0, self._clock() - oldest),
            sum(name.endswith(_SUFFIX) for name, _ in self._files(self.directory / _REJECTED)),
        )

    def _bytes(self) -> int:
        return sum(max(status.st_size, BLOCK) for _, status in self._files(self.directory))

    def _files(self, folder: Path) -> Iterator[tuple[str, os.stat_result]]:
        try:
            entries = list(os.scandir(folder))
        except FileNotFoundError:
            return
        for entry in entries:
            try:
                if entry.is_file(follow_symlinks=False):
                    yield entry.name, entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue

    def drain(
        self,
        send: Callable[[list[Event]], object],
        *,
        away: Callable[[Exception], bool] = _nobody_listens,
        go_on: Callable[[], bool] = lambda: True,
    ) -> int:
        """Give each waiting batch to ``send`` and remove it; return how many events went.

        An error of which ``away`` says that nobody can take events now is raised, and leaves the rest. What is the
        events' own fault (:class:`EventRejected`, a file that holds none) is put aside under ``rejected/`` with the
        reason. After any other failure the newer files go on; what failed where others went is tried again for some
        minutes, then put aside, too. If nothing went, that failure is raised. A file that may not be read stays.
        """
        sent, failed = 0, []
        for path in self.waiting():
            if not go_on():
                break
            documents: list[dict[str, Any]] = []
            try:
                documents = _read(path)
                events = [Event.from_dict(document) for document in documents]
                if events:
                    send(events)
            except _Unreadable as error:
                troubles.tell(log, "A file of the spool cannot be read and waits on", error)
            except (EventRejected, InvalidEvent) as error:
                self._separate(path, documents, error)
            except Exception as error:
                if away(error):
                    raise
                failed.append(_Failed(path, documents, error))
            else:
                sent += len(events)
                _remove(path)
        self._judge(failed, others_went=sent > 0)
        self._tidy()
        return sent

    def _judge(self, failed: list[_Failed], *, others_went: bool) -> None:
        if failed and not others_went:
            raise failed[0].error
        for path, documents, error in failed:
            if len(documents) > 1 or self._age(path) > STUBBORN_SECONDS:
                self._separate(path, documents, error)
            else:
                troubles.tell(log, "Spooled events fail where others go; they are tried again", error)

    def _age(self, path: Path) -> float:
        try:
            return self._clock() - path.stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def _separate(self, path: Path, documents: list[dict[str, Any]], error: Exception) -> None:
        """Split a batch that fails, so that one bad event does not take the good ones with it."""
        try:
            if len(documents) <= 1:
                self._put_aside(path, str(error) or type(error).__name__)
                return
            written = self._clock() - self._age(path)
            stem = path.name.removesuffix(_SUFFIX)
            for number, document in enumerate(documents):
                one = self._write(f"{stem}-{number:04d}-{uuid.uuid4().hex[:8]}", f"[{json.dumps(document)}]")
                os.utime(one, (written, written))
            path.unlink(missing_ok=True)
        except OSError as problem:
            troubles.tell(log, "Refused events of the spool cannot be put aside and wait on", problem)

    def _put_aside(self, path: Path, reason: str) -> None:
        aside = self.directory / _REJECTED
        aside.mkdir(exist_ok=True, mode=0o700)
        try:
            path.rename(aside / path.name)
        except FileNotFoundError:
            # Another drainer was faster.
            return
        log.error("Spooled events in %s were refused and put aside in %s: %s", path.name, aside, reason)
        os.utime(aside / path.name)
        text = reason.encode(errors="backslashreplace").decode()
        (aside / f"{path.name}.reason").write_text(text + "\n", encoding="utf-8")

    def _tidy(self) -> None:
        """Remove what killed writers left, and what was put aside long ago."""
        now = self._clock()
        for name, status in self._files(self.directory):
            if name.endswith(_BESIDE) and now - status.st_mtime > STALE_SECONDS:
                _remove(self.directory / name)
        aside = self.directory / _REJECTED
        for name, status in self._files(aside):
            if now - status.st_mtime > REJECTED_SECONDS:
                log.warning("Removing %s: it was put aside %.0f days ago", aside / name, REJECTED_SECONDS / 86_400)
                _remove(aside / name)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        troubles.tell(log, "A file of the spool cannot be removed", error)


class _Unreadable(OSError):
    """A file that another user wrote, or whose disk fails; it stays."""


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        documents: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        # Another drainer was faster.
        return []
    except OSError as error:
        raise _Unreadable(str(error)) from None
    except RecursionError:
        raise InvalidEvent(f"{path.name} is nested deeper than any event") from None
    except ValueError as error:
        raise InvalidEvent(f"{path.name} is not a JSON list of events: {error}") from None
    if not isinstance(documents, list) or not all(isinstance(document, dict) for document in documents):
        raise InvalidEvent(f"{path.name} is not a JSON list of events")
    return documents
