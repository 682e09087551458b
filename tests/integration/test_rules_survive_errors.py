"""An error of the database in the middle of reading the rules leaves them as they were, or unknown; never empty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import OperationalError

from ml_event_provider.dispatch.matching import match_batch
from ml_event_provider.dispatch.rules import Rules
from ml_event_provider.store import definitions, events, schema, unmatched
from ml_event_provider.store.engine import transaction, utc_now
from tests.integration.failing_statements import before_each, each_failing
from tests.integration.recorded import event

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("airflow_db")

#: It fires once, for what comes on and on.
LASTING: dict[str, Any] = {
    "by": [],
    "condition": {"consecutive": {"count": 1, "broken_by": {"event_pattern": {"type": ["other"]}}}},
    "resolve": True,
}


def put(name: str, **more: Any) -> None:
    one = {"name": name, "workspace": "default", "on": ["tests.*"], "targets": ["inbox"], **more}
    with transaction() as connection:
        definitions.put(connection, one, managed_by="file")


def record(*ids: str) -> None:
    events.record_now([event(one, time=utc_now()) for one in ids])


def told() -> int:
    with transaction() as connection:
        return len(connection.execute(select(schema.notification.c.id)).all())


def states() -> int:
    with transaction() as connection:
        return len(connection.execute(select(schema.state.c.id)).all())


def waiting() -> int:
    with transaction() as connection:
        return unmatched.count(connection)[0]


def turn(rules: Rules) -> Callable[[], object]:
    return lambda: match_batch(rules, limit=10)


def test_whichever_statement_fails_the_next_turn_matches_with_all_rules(airflow_db: Engine) -> None:
    put("one")
    put("lasting", **LASTING)
    record("e-1")
    rules = Rules()
    # The same rules go on after each failure.
    failures = list(each_failing(airflow_db, turn(rules)))
    assert len(failures) > 10
    assert (waiting(), told(), states()) == (0, 2, 1)


def test_whichever_statement_fails_after_a_change_no_state_is_forgotten_and_no_alert_fires_again(
    airflow_db: Engine,
) -> None:
    put("lasting", **LASTING)
    rules = Rules()
    record("e-1")
    match_batch(rules, limit=10)
    assert (told(), states()) == (1, 1)
    put("other", on=["nothing"])
    for number in each_failing(airflow_db, turn(rules)):
        # The next turn, with other rules in mind or the same, has nothing to forget.
        record(f"e-{number}-more")
        match_batch(rules, limit=10)
        put("other", on=["nothing"], severity="error" if number % 2 else "warning")
        assert (told(), states(), waiting()) == (1, 1, 0)


def test_a_backend_that_is_ended_at_the_select_of_the_definitions(airflow_db: Engine) -> None:
    if airflow_db.dialect.name != "postgresql":
        pytest.skip("only a server has backends")
    put("one")
    record(*(f"e-{number}" for number in range(10)))
    ended: list[int] = []

    def end(connection: Any, statement: str) -> None:
        if not ended and "ml_event_definition" in statement and "definition, " in statement:
            ended.append(connection.connection.driver_connection.info.backend_pid)
            with airflow_db.connect() as other:
                other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": ended[0]})

    rules = Rules()
    with before_each(airflow_db, end), pytest.raises(OperationalError):
        match_batch(rules, limit=10)
    assert ended
    assert match_batch(rules, limit=10)[:2] == (10, 10)


def test_states_of_a_rule_that_cannot_be_read_are_kept() -> None:
    put("lasting", **LASTING)
    record("e-1")
    match_batch(Rules(), limit=10)
    with transaction() as connection:
        connection.execute(text("UPDATE ml_event_definition SET definition = '{'"))
    put("other", on=["nothing"])
    match_batch(Rules(), limit=10)
    assert states() == 1


def empty() -> None:
    """As a database is that is restored from before there were rules."""
    with transaction() as connection:
        for table in (schema.definition, schema.definition_version, schema.cursor):
            connection.execute(table.delete())


def test_after_a_restore_whoever_remembers_rules_reads_those_of_the_restored_database() -> None:
    rules = Rules()
    put("former")
    match_batch(rules, limit=10)
    empty()
    with transaction() as connection:
        assert set(rules.of(connection, "default").versions) == set()
    put("new")
    with transaction() as connection:
        assert "default" in rules.to_note(connection)
        assert set(rules.of(connection, "default").versions) == {"new"}


def test_a_restored_count_of_changes_with_other_rules_is_another_fingerprint() -> None:
    rules = Rules()
    put("former")
    match_batch(rules, limit=10)
    with transaction() as connection:
        before = definitions.fingerprint(connection), definitions.changes(connection)
    empty()
    put("new")
    record("e-1")
    match_batch(rules, limit=10)
    with transaction() as connection:
        after = definitions.fingerprint(connection), definitions.changes(connection)
        assert set(rules.of(connection, "default").versions) == {"new"}
        made = set(connection.execute(select(schema.notification.c.rule)).scalars())
    assert made == {"new"}
    assert all(one != other for one, other in zip(before, after, strict=True))
