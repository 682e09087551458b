"""Changes of definitions at once: each waits for the others, none ends in an error, and many take few statements."""

from __future__ import annotations

from threading import Barrier, Thread
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event

from ml_event_provider.dispatch import applying
from ml_event_provider.rules.files import Definitions
from ml_event_provider.rules.model import Rule
from ml_event_provider.store import definitions
from ml_event_provider.store.engine import transaction

if TYPE_CHECKING:
    from sqlalchemy import Engine

ROUNDS = 8
RULES = 12


def wanted(numbers: range, severity: str = "info") -> Definitions:
    rules = [
        Rule.model_validate({"name": f"r{number}", "on": "task failed", "severity": severity, "targets": "ops"})
        for number in numbers
    ]
    return Definitions(rules, [], [], [])


def test_two_applies_in_opposed_orders_both_succeed_again_and_again(airflow_db: Engine) -> None:
    barrier = Barrier(2, timeout=60)
    errors: list[BaseException] = []

    def applies(numbers: range, author: str) -> None:
        try:
            for round_ in range(ROUNDS):
                barrier.wait()
                severity = ("info", "warning", "error", "critical")[(round_ + (author == "b")) % 4]
                with transaction() as connection:
                    applying.apply(connection, wanted(numbers, severity), managed_by="file", author=author)
        except BaseException as error:  # noqa: BLE001  (whatever it is, the test tells it)
            errors.append(error)
            barrier.abort()

    threads = [
        Thread(target=applies, args=(range(RULES), "a")),
        Thread(target=applies, args=(range(RULES - 1, -1, -1), "b")),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert errors == []
    with transaction() as connection:
        histories = [definitions.history(connection, f"r{number}", workspace="default") for number in range(RULES)]
    # One apply is whole before the other begins: the authors come in the same order for each rule.
    assert len({tuple(one.author for one in history) for history in histories}) == 1
    for history in histories:
        assert [one.version for one in history] == list(range(1, len(history) + 1))
        assert {one.author for one in history} == {"a", "b"}


def statements(engine: Engine, count: int, severity: str = "info") -> int:
    said: list[str] = []

    def note(*args: object) -> None:
        said.append(str(args[2]))

    event.listen(engine, "before_cursor_execute", note)
    try:
        with transaction() as connection:
            applying.apply(connection, wanted(range(count), severity), managed_by="file", author="a")
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return len(said)


@pytest.mark.parametrize("severity", ["info", "error"])
def test_an_apply_of_many_rules_takes_as_many_statements_as_one_of_few(airflow_db: Engine, severity: str) -> None:
    # What differs are the pages in which a driver sends the rows of one statement.
    statements(airflow_db, 40)
    few = statements(airflow_db, 2, severity)
    assert statements(airflow_db, 40, severity) <= few + 2


def test_an_apply_validates_what_it_stores_only_once(airflow_db: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    found = wanted(range(5))
    made = []
    validate = Rule.model_validate
    monkeypatch.setattr(Rule, "model_validate", lambda value: made.append(value) or validate(value))  # type: ignore[func-returns-value]
    with transaction() as connection:
        applying.apply(connection, found, managed_by="file", author="a")
        again = applying.apply(connection, found, managed_by="file", author="a")
    assert made == []
    assert {one.what for one in again} == {"unchanged"}
