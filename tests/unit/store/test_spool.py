"""The spool loses nothing: not to a crash, a refusal, a bad file or another drainer."""

from __future__ import annotations

import json
import logging
import os
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ml_event_provider.events.model import Event
from ml_event_provider.exceptions import EventRejected, HandOverError, InvalidEvent
from ml_event_provider.store import spool as spool_module
from ml_event_provider.store.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Iterator


def event(event_id: str, **data: object) -> Event:
    return Event(id=event_id, source="/tests", type="tests.thing", time=datetime(2026, 11, 22, tzinfo=UTC), data=data)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "ml_events" / "spool")


class Endpoint:
    """Takes events, and refuses those named."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.taken: list[str] = []

    def __call__(self, events: list[Event]) -> None:
        for one in events:
            if one.id in self.refused:
                raise EventRejected(f"{one.id} is refused: 400")
        self.taken += [one.id for one in events]


def files(spool: Spool, folder: str = ".") -> list[str]:
    return sorted(path.name for path in (spool.directory / folder).iterdir() if path.is_file())


def test_batches_come_back_whole_and_in_order(spool: Spool) -> None:
    first = [event("e-1", text="训练 \u0000 \u2028 🚨"), event("e-2", n=1.5, nested={"a": [None, True]})]
    spool.put(first)
    spool.put([event("e-3")])
    taken: list[list[Event]] = []
    assert spool.drain(taken.append) == 3
    assert taken == [first, [event("e-3")]]
    assert spool.waiting() == []


def test_missing_folder_is_an_empty_spool(spool: Spool) -> None:
    assert spool.waiting() == []
    assert spool.drain(Endpoint()) == 0


def test_only_the_owner_can_read_what_waits(spool: Spool) -> None:
    path = spool.put([event("e-1")])
    assert (path.stat().st_mode & 0o777, spool.directory.stat().st_mode & 0o777) == (0o600, 0o700)


def test_half_a_surrogate_pair_can_wait(spool: Spool) -> None:
    spool.put([event("e-1", text="a\ud800b")])
    taken: list[Event] = []
    spool.drain(taken.extend)
    assert taken[0].data == {"text": "a\ufffdb"}


def test_event_that_is_no_json_is_refused_and_leaves_no_file(spool: Spool) -> None:
    with pytest.raises(InvalidEvent, match="e-2"):
        spool.put([event("e-1"), event("e-2", n=float("nan"))])
    assert spool.waiting() == []


@pytest.mark.parametrize("moment", ["fsync", "rename"])
def test_crash_while_writing_leaves_nothing_to_read(spool: Spool, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        if moment == "fsync":
            patched.setattr(os, "fsync", die)
        else:
            patched.setattr(Path, "rename", die)
        with pytest.raises(Killed):
            spool.put([event("e-1")])
    assert len(files(spool)) == 1
    endpoint = Endpoint()
    assert spool.drain(endpoint) == 0
    assert endpoint.taken == []


def test_full_disk_is_told(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        spool.put([event("e-1")])


def test_unreachable_endpoint_keeps_everything(spool: Spool) -> None:
    for number in range(3):
        spool.put([event(f"e-{number}")])
    calls: list[str] = []

    def gone_after_the_first(events: list[Event]) -> None:
        calls.append(events[0].id)
        if len(calls) > 1:
            raise HandOverError("connection refused")

    with pytest.raises(HandOverError):
        spool.drain(gone_after_the_first)
    assert calls == ["e-0", "e-1"]
    endpoint = Endpoint()
    assert spool.drain(endpoint) == 2
    assert endpoint.taken == ["e-1", "e-2"]


def test_draining_stops_when_told(spool: Spool) -> None:
    for number in range(3):
        spool.put([event(f"e-{number}")])
    endpoint = Endpoint()
    go_on = iter([True, False])
    assert spool.drain(endpoint, go_on=lambda: next(go_on)) == 1
    assert (endpoint.taken, len(spool.waiting())) == (["e-0"], 2)


def test_refused_event_is_put_aside_and_its_batch_goes_on(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    spool.put([event("good-1"), event("bad"), event("good-2")])
    spool.put([event("later")])
    endpoint = Endpoint("bad")
    spool.drain(endpoint)
    with caplog.at_level(logging.ERROR, spool_module.__name__):
        spool.drain(endpoint)
    assert sorted(endpoint.taken) == ["good-1", "good-2", "later"]
    assert spool.waiting() == []
    aside, reason = files(spool, "rejected")
    assert json.loads((spool.directory / "rejected" / aside).read_text())[0]["id"] == "bad"
    assert (spool.directory / "rejected" / reason).read_text() == "bad is refused: 400\n"
    assert "refused and put aside" in caplog.text


def test_an_event_that_cannot_be_read_is_put_aside_and_its_batch_goes_on(spool: Spool) -> None:
    path = spool.put([event("good-1"), event("bad"), event("good-2")])
    documents = json.loads(path.read_text())
    # As another version may have written it.
    documents[1]["time"] = "9999-12-31T23:59:59Z"
    path.write_text(json.dumps(documents))
    endpoint = Endpoint()
    spool.drain(endpoint)
    spool.drain(endpoint)
    assert (endpoint.taken, spool.waiting()) == (["good-1", "good-2"], [])
    aside, reason = files(spool, "rejected")
    assert json.loads((spool.directory / "rejected" / aside).read_text()) == [documents[1]]
    assert "out of range" in (spool.directory / "rejected" / reason).read_text()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'[{"specversion": "1.0", "id": "e-',
        b"\xff\xfe",
        b"{}",
        b"[1]",
        b'[{"specversion": "1.0"}]',
        b'[{"specversion": "0.3", "id": "1", "source": "s", "type": "t"}]',
    ],
)
def test_unreadable_file_is_put_aside_and_holds_up_nobody(spool: Spool, content: bytes) -> None:
    spool.directory.mkdir(parents=True)
    (spool.directory / "0-first.events.json").write_bytes(content)
    spool.put([event("e-1")])
    endpoint = Endpoint()
    assert spool.drain(endpoint) == 1
    assert endpoint.taken == ["e-1"]
    assert files(spool, "rejected") == ["0-first.events.json", "0-first.events.json.reason"]
    assert (spool.directory / "rejected" / "0-first.events.json").read_bytes() == content


def test_foreign_files_are_left_alone(spool: Spool) -> None:
    spool.put([event("e-1")])
    for name in ("notes.txt", "x.part", ".hidden"):
        (spool.directory / name).write_text("?")
    assert spool.drain(Endpoint()) == 1
    assert files(spool) == [".hidden", "notes.txt", "x.part"]


@contextmanager
def somebody_else() -> Iterator[None]:
    """Without root's rights, where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_path(tmp_path: Path) -> None:
    """Everybody may walk down to the test's folder."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)


@pytest.mark.usefixtures("open_path")
def test_folder_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    with somebody_else(), pytest.raises(PermissionError):
        Spool(closed / "spool").put([event("e-1")])


@pytest.mark.usefixtures("open_path")
def test_file_that_may_not_be_read_holds_up_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool(tmp_path / "shared")
    theirs = spool.put([event("theirs")])
    spool.put([event("ours")]).chmod(0o666)
    theirs.chmod(0o000)
    spool.directory.chmod(0o777)
    endpoint = Endpoint()
    with somebody_else(), caplog.at_level(logging.WARNING, spool_module.__name__):
        assert spool.drain(endpoint) == 1
    assert endpoint.taken == ["ours"]
    assert spool.waiting() == [theirs]
    assert theirs.name in caplog.text


def test_file_that_another_drainer_takes_meanwhile_is_no_error(spool: Spool) -> None:
    for number in range(3):
        spool.put([event(f"e-{number}")])
    taken: list[str] = []

    def send(events: list[Event]) -> None:
        taken.extend(one.id for one in events)
        for path in spool.waiting():
            path.unlink()

    assert spool.drain(send) == 1
    assert taken == ["e-0"]


@pytest.mark.parametrize("batch", [["bad"], ["bad", "worse"]])
def test_refused_file_that_another_drainer_takes_meanwhile_is_no_error(spool: Spool, batch: list[str]) -> None:
    spool.put([event(one) for one in batch])
    spool.put([event("good")])
    endpoint = Endpoint("bad")

    def send(events: list[Event]) -> None:
        if events[0].id == "bad":
            spool.waiting()[0].unlink()
        endpoint(events)

    spool.drain(send)
    assert endpoint.taken == ["good"]


def test_concurrent_drainers_lose_nothing(spool: Spool) -> None:
    for number in range(60):
        spool.put([event(f"e-{number}"), event(f"f-{number}")])
    endpoints = [Endpoint("e-7") for _ in range(4)]
    problems: list[BaseException] = []
    start = threading.Barrier(len(endpoints))

    def drain(endpoint: Endpoint) -> None:
        try:
            start.wait(10)
            for _ in range(3):
                spool.drain(endpoint)
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            problems.append(error)

    threads = [threading.Thread(target=drain, args=(endpoint,)) for endpoint in endpoints]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not problems
    taken = {one for endpoint in endpoints for one in endpoint.taken}
    wanted = {f"{letter}-{number}" for letter in "ef" for number in range(60)}
    assert taken == wanted - {"e-7"}
    assert spool.waiting() == []
