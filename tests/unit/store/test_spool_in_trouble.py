"""One bad file, a full disk or writers that were killed neither stop the spool nor let it grow without end."""

from __future__ import annotations

import errno
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ml_event_provider.events.model import Event
from ml_event_provider.exceptions import EndpointFailed, HandOverError
from ml_event_provider.store import spool as spool_module
from ml_event_provider.store.spool import (
    BLOCK,
    REJECTED_SECONDS,
    STALE_SECONDS,
    STUBBORN_SECONDS,
    Spool,
    SpoolFull,
    Waiting,
)


def event(event_id: str, **data: object) -> Event:
    return Event(id=event_id, source="/tests", type="tests.thing", time=datetime(2026, 11, 22, tzinfo=UTC), data=data)


class Clock:
    """The time since the files of the test were written, on top of their own."""

    def __init__(self) -> None:
        self.later = 0.0

    def __call__(self) -> float:
        import time

        return time.time() + self.later


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spool(tmp_path: Path, clock: Clock) -> Spool:
    return Spool(tmp_path / "spool", clock=clock)


class Store:
    """Takes events; raises what belongs to an id."""

    def __init__(self, **errors: Exception) -> None:
        self.errors = errors
        self.taken: list[str] = []

    def __call__(self, events: list[Event]) -> None:
        for one in events:
            if one.id in self.errors:
                raise self.errors[one.id]
        self.taken += [one.id for one in events]


def aside(spool: Spool) -> list[str]:
    folder = spool.directory / "rejected"
    return sorted(path.name for path in folder.glob("*.events.json")) if folder.exists() else []


def test_a_file_nested_beyond_all_bounds_holds_up_nobody(spool: Spool) -> None:
    spool.directory.mkdir(parents=True)
    (spool.directory / "0.events.json").write_text("[" * 100_000)
    spool.put([event("good")])
    store = Store()
    assert spool.drain(store) == 1
    assert (store.taken, aside(spool)) == (["good"], ["0.events.json"])


@pytest.mark.parametrize("error", [RuntimeError("a fault of ours"), KeyError("x"), EndpointFailed("answered HTTP 500")])
def test_whatever_one_event_raises_the_newer_go_on_and_it_is_put_aside_in_the_end(
    spool: Spool, clock: Clock, error: Exception
) -> None:
    spool.put([event("bad")])
    spool.put([event("good")])
    store = Store(bad=error)
    assert spool.drain(store) == 1
    assert (store.taken, aside(spool), len(spool.waiting())) == (["good"], [], 1)
    clock.later = STUBBORN_SECONDS + 1
    spool.put([event("later")])
    assert spool.drain(store) == 1
    assert (store.taken, len(aside(spool)), spool.waiting()) == (["good", "later"], 1, [])


def test_a_batch_that_fails_where_others_go_is_split_and_keeps_its_place_and_age(spool: Spool, clock: Clock) -> None:
    spool.put([event("first"), event("bad"), event("last")])
    spool.put([event("good")])
    store = Store(bad=RuntimeError("a fault of ours"))
    spool.drain(store)
    clock.later = STUBBORN_SECONDS + 1
    spool.put([event("later")])
    spool.drain(store)
    assert store.taken == ["good", "first", "last", "later"]
    assert (len(aside(spool)), spool.waiting()) == (1, [])


def test_where_nothing_goes_nothing_is_put_aside(spool: Spool, clock: Clock) -> None:
    """The fault may be the database's: nobody's events are to blame."""
    for number in range(3):
        spool.put([event(f"e-{number}")])
    clock.later = 10 * STUBBORN_SECONDS
    store = Store(**{f"e-{number}": RuntimeError("no permission") for number in range(3)})
    with pytest.raises(RuntimeError, match="no permission"):
        spool.drain(store)
    assert (len(spool.waiting()), aside(spool)) == (3, [])


@pytest.mark.parametrize("error", [HandOverError("connection refused"), OSError("away")])
def test_what_says_that_nobody_listens_ends_the_draining(spool: Spool, error: Exception) -> None:
    spool.put([event("one")])
    spool.put([event("two")])
    store = Store(one=error)
    with pytest.raises(type(error)):
        spool.drain(store, away=lambda one: isinstance(one, HandOverError | OSError))
    assert (store.taken, len(spool.waiting())) == ([], 2)


def test_what_killed_writers_left_goes_after_an_hour(spool: Spool, clock: Clock) -> None:
    spool.directory.mkdir(parents=True)
    (spool.directory / "1.part").write_text("[{")
    spool.drain(Store())
    assert (spool.directory / "1.part").exists()
    clock.later = STALE_SECONDS + 1
    spool.drain(Store())
    assert list(spool.directory.iterdir()) == []


def test_what_was_put_aside_goes_after_a_month_and_is_named(
    spool: Spool, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    spool.directory.mkdir(parents=True)
    (spool.directory / "1.events.json").write_text("{")
    spool.drain(Store())
    assert aside(spool) == ["1.events.json"]
    clock.later = REJECTED_SECONDS + 1
    with caplog.at_level(logging.WARNING, spool_module.__name__):
        spool.drain(Store())
    assert aside(spool) == []
    assert "1.events.json" in caplog.text


def test_a_full_disk_leaves_no_half_written_file(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for _ in range(3):
        with pytest.raises(OSError, match="No space left"):
            spool.put([event("e-1")])
    assert list(spool.directory.iterdir()) == []


def test_a_full_spool_refuses_and_says_how_to_go_on(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", megabytes=3 * BLOCK / 1024**2)
    for number in range(3):
        spool.put([event(f"e-{number}")])
    with pytest.raises(SpoolFull, match="spool_megabytes"):
        spool.put([event("one too many")])
    assert len(spool.waiting()) == 3
    spool.drain(Store())
    spool.put([event("goes again")])


def test_files_that_cannot_be_removed_or_put_aside_hold_up_nobody(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.directory.mkdir(parents=True)
    (spool.directory / "0.events.json").write_text("{")
    spool.put([event("stuck")])
    spool.put([event("good")])

    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    store = Store()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refused)
        patched.setattr(Path, "rename", refused)
        assert spool.drain(store) == 2
    assert store.taken == ["stuck", "good"]


def test_the_spool_tells_what_it_holds(spool: Spool, clock: Clock) -> None:
    assert spool.look() == Waiting()
    path = spool.put([event("one")])
    os.utime(path, (clock() - 90, clock() - 90))
    spool.put([event("two")])
    (spool.directory / "0.events.json").write_text("{")
    spool.drain(Store(), go_on=iter([True, False]).__next__)
    held = spool.look()
    assert (held.files, held.rejected) == (2, 1)
    assert held.bytes == sum(one.stat().st_size for one in spool.waiting())
    assert 89 < held.oldest_seconds < 120
