"""What goes wrong again and again is told once a minute, on a line."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy.exc import OperationalError, ProgrammingError

from ml_event_provider.troubles import MOST, Troubles, expected

log = logging.getLogger("tests.troubles")


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lost() -> OperationalError:
    return OperationalError("SELECT 1", {}, Exception("could not connect to server\nIs it running?"))


def test_a_lost_database_is_a_line_a_minute_and_no_traceback(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    troubles = Troubles(clock=clock)
    with caplog.at_level(logging.DEBUG, log.name):
        for _ in range(180):
            troubles.tell(log, "spool failed", lost())
            clock.now += 1
    assert [record.getMessage() for record in caplog.records] == [
        "spool failed: (builtins.Exception) could not connect to server",
        "spool failed (59 more times in 60 s): (builtins.Exception) could not connect to server",
        "spool failed (59 more times in 60 s): (builtins.Exception) could not connect to server",
    ]
    assert all(record.exc_info is None and record.levelname == "WARNING" for record in caplog.records)


def test_a_fault_of_the_code_has_its_traceback_once(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    troubles = Troubles(clock=clock)
    with caplog.at_level(logging.DEBUG, log.name):
        for _ in range(3):
            troubles.tell(log, "prune failed", KeyError("dag_id"))
            clock.now += 61
    first, *others = caplog.records
    assert first.exc_info is not None
    assert first.getMessage() == "prune failed: KeyError: 'dag_id'"
    assert [one.exc_info for one in others] == [None, None]
    assert {one.levelname for one in caplog.records} == {"ERROR"}


def test_different_troubles_are_told_each(clock: Clock) -> None:
    troubles = Troubles(clock=clock)
    assert troubles.tell(log, "spool failed", lost())
    assert troubles.tell(log, "prune failed", lost())
    assert troubles.tell(log, "spool failed", OSError(28, "No space left on device"))
    assert not troubles.tell(log, "spool failed", lost())


def test_what_is_remembered_is_bounded(clock: Clock) -> None:
    troubles = Troubles(clock=clock)
    for number in range(3 * MOST):
        troubles.tell(log, f"{number}", lost())
    assert len(troubles._told) <= MOST


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (OSError(28, "No space left on device"), True),
        (ConnectionRefusedError(), True),
        (lost(), True),
        (ProgrammingError("SELECT", {}, Exception("no such column")), False),
        (ProgrammingError("SELECT", {}, Exception("gone"), connection_invalidated=True), True),
        (ValueError("x"), False),
    ],
)
def test_trouble_of_the_machine_is_told_from_faults(error: BaseException, wanted: bool) -> None:
    assert expected(error) is wanted
