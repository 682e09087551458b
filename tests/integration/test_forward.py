"""A forward reader finds each row, however late it commits, and forgets what cannot come any more."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import BigInteger, Column, Engine, MetaData, Table, delete, insert, text

from ml_event_provider.store import cursors, forward
from ml_event_provider.store.engine import transaction
from tests.integration.airflow_rows import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator

THING = Table("a_thing", MetaData(), Column("id", BigInteger, primary_key=True, autoincrement=False))
KEY = THING.c.id


@pytest.fixture
def engine(airflow_db: Engine) -> Iterator[Engine]:
    """With a table whose keys the test gives out, read up to key 100."""
    THING.create(airflow_db)
    put(airflow_db, 100)
    assert read() == []
    yield airflow_db
    THING.drop(airflow_db)


def put(engine: Engine, *keys: int) -> None:
    with engine.begin() as connection:
        connection.execute(insert(THING), [{"id": key} for key in keys])


def read(*, later: float = 0.0, limit: int = 500) -> list[int]:
    with transaction() as connection:
        return forward.keys_after(connection, "thing", KEY, now=NOW + timedelta(seconds=later), limit=limit)


def gaps() -> list[tuple[int, int]]:
    with transaction() as connection:
        return [(gap.position, gap.upto) for gap in forward.gaps(connection, "thing")]


def test_each_key_is_given_once_in_order_page_by_page(engine: Engine) -> None:
    put(engine, *range(101, 112))
    assert [read(limit=4) for _ in range(4)] == [
        [101, 102, 103, 104],
        [105, 106, 107, 108],
        [109, 110, 111],
        [],
    ]
    assert gaps() == []


def test_keys_that_come_again_after_a_restore_are_read(engine: Engine) -> None:
    put(engine, 101, 102)
    read()
    with engine.begin() as connection:
        connection.execute(delete(THING).where(KEY > 50))
    assert read() == []
    put(engine, 51)
    assert read() == [51]


class Late:
    """A transaction that took its keys and has not committed."""

    def __init__(self, engine: Engine, *keys: int) -> None:
        self._connection = engine.connect()
        self._connection.execute(insert(THING), [{"id": key} for key in keys])

    def commit(self) -> None:
        self._connection.commit()
        self._connection.close()

    def roll_back(self) -> None:
        self._connection.rollback()
        self._connection.close()


@pytest.fixture
def server(engine: Engine) -> Engine:
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time: keys commit in order")
    return engine


@pytest.mark.parametrize("higher", [1, 199, 200, 201, 1000])
@pytest.mark.parametrize("limit", [64, 5_000])
def test_a_key_that_commits_after_higher_ones_is_found(server: Engine, higher: int, limit: int) -> None:
    late = Late(server, 101)
    put(server, *range(102, 102 + higher))
    found: list[int] = []
    for _ in range(20):
        found += read(limit=limit)
    assert found == list(range(102, 102 + higher))
    # However long it lasts.
    assert read(later=10 * 86_400) == []
    late.commit()
    assert read(later=10 * 86_400 + 1) == [101]
    assert read(later=10 * 86_400 + 2) == []
    assert gaps() == []


def test_late_keys_within_a_page_and_over_its_edge_are_found(server: Engine) -> None:
    one, two = Late(server, 101, 104, 105), Late(server, 103, 108)
    put(server, 102, 106, 107, 109)
    assert read(limit=2) == [102, 106]
    assert gaps() == [(101, 101), (103, 105)]
    two.commit()
    assert read() == [103, 107, 108, 109]
    assert gaps() == [(101, 101), (104, 105)]
    one.commit()
    assert read() == [101, 104, 105]
    assert gaps() == []


def test_more_late_keys_than_a_page_are_all_found(server: Engine) -> None:
    late = Late(server, *range(101, 151))
    put(server, 151)
    assert read(limit=20) == [151]
    late.commit()
    assert [len(read(limit=20, later=60)) for _ in range(4)] == [20, 20, 10, 0]
    assert gaps() == []


def test_keys_that_were_rolled_back_are_forgotten_and_those_of_the_living_are_not(server: Engine) -> None:
    undone, alive = Late(server, 101), Late(server, 103)
    put(server, 102, 104)
    read()
    undone.roll_back()
    read(later=60)
    # As long as an older transaction lives, nobody can tell whose key it was.
    assert gaps() == [(101, 101), (103, 103)]
    alive.commit()
    assert read(later=60) == [103]
    assert gaps() == []


def test_a_transaction_that_took_its_number_just_after_its_key_is_waited_for(server: Engine) -> None:
    """A sequence gives a key a moment before the row's transaction is numbered."""
    put(server, 102)
    assert read() == [102]
    assert read(later=1) == []
    put(server, 101)
    assert read(later=2) == [101]


def test_a_hole_of_a_billion_keys_is_one_range(server: Engine) -> None:
    with server.connect() as older:
        older.execute(text("SELECT pg_current_xact_id()"))
        put(server, 1_000_000_000)
        assert read() == [1_000_000_000]
        assert read(later=3600) == []
        assert gaps() == [(101, 999_999_999)]
    assert read(later=3600) == []
    assert gaps() == []


def test_ranges_are_bounded_and_joined_ones_lose_nothing(server: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "MOST_RANGES", 4)
    late = Late(server, *range(101, 141, 2))
    put(server, *range(102, 142, 2))
    assert read() == list(range(102, 142, 2))
    assert len(gaps()) <= 4
    late.commit()
    assert set(range(101, 141, 2)) <= set(read())
    read(later=60)
    assert gaps() == []


def test_rolled_back_cursor_and_gaps_are_as_before(server: Engine) -> None:
    late = Late(server, 101)
    put(server, 102)
    with server.connect() as connection:
        assert forward.keys_after(connection, "thing", KEY, now=NOW, limit=10) == [102]
        connection.rollback()
    with transaction() as connection:
        assert cursors.read(connection, "thing") == (100, NOW)
    assert gaps() == []
    assert read() == [102]
    late.commit()
    assert read() == [101]
