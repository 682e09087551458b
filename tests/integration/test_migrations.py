"""``airflow db migrate`` makes our tables as the code says, and Airflow's own stay as they are."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from airflow.utils.db_manager import RunDBManager
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Engine, inspect, select, text

from ml_event_provider.store import definitions, events, schema
from ml_event_provider.store.engine import transaction
from ml_event_provider.store.manager import MlEventDBManager
from tests.conftest import airflow_command
from tests.integration.airflow_rows import orm_session
from tests.integration.recorded import EVENT, recorded

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = "0003"


@pytest.fixture
def manager(airflow_db: Engine) -> Iterator[MlEventDBManager]:
    with orm_session() as session:
        one = MlEventDBManager(session)
        yield one
        session.rollback()
        if one.get_current_revision() != HEAD:
            session.rollback()
            one.upgradedb()


def tables(engine: Engine, *, ours: bool) -> dict[str, Any]:
    """Columns, keys and indexes of the tables, as the database tells them."""
    # SQLite's PRAGMA index_list may answer from the schema that the connection knew.
    engine.dispose()
    inspector = inspect(engine)

    def shown(thing: Any) -> str:
        if isinstance(thing, dict):
            return str(sorted((key, shown(value)) for key, value in thing.items()))
        return str(sorted(map(shown, thing)) if isinstance(thing, list) else thing)

    return {
        name: (
            shown(inspector.get_columns(name)),
            shown(inspector.get_indexes(name)),
            shown(inspector.get_unique_constraints(name)),
            shown(inspector.get_pk_constraint(name)),
        )
        for name in inspector.get_table_names()
        if name.startswith("ml_event_") is ours and name != MlEventDBManager.version_table_name
    }


def differences(engine: Engine) -> list[Any]:
    """What Alembic would change to make the database what ``schema.metadata`` says."""

    def only_ours(_object: object, name: str | None, kind: str, *_: object) -> bool:
        return kind != "table" or str(name) in schema.metadata.tables

    options = {"include_object": only_ours, "compare_type": True}
    with engine.connect() as connection:
        return compare_metadata(MigrationContext.configure(connection, opts=options), schema.metadata)


def test_airflow_finds_the_manager_and_is_at_its_head(manager: MlEventDBManager) -> None:
    found = RunDBManager()
    found.validate()
    assert MlEventDBManager in found._managers
    if hasattr(found, "get_required_table_names"):  # Not before Airflow 3.3.
        assert set(schema.metadata.tables) | {"ml_event_alembic_version"} <= found.get_required_table_names()
    assert manager.get_script_object().get_heads() == [HEAD]
    assert manager.get_current_revision() == HEAD
    assert manager.check_migration()


def test_every_released_version_names_an_existing_revision(manager: MlEventDBManager) -> None:
    revisions = {one.revision for one in manager.get_script_object().walk_revisions()}
    assert set(manager.revision_heads_map.values()) <= revisions
    assert HEAD in manager.revision_heads_map.values()


def test_check_migrations_is_content_until_a_table_is_missing(manager: MlEventDBManager) -> None:
    airflow_command("db", "check-migrations", "-t", "1")
    manager.session.rollback()
    manager.downgrade("base")
    with pytest.raises(TimeoutError, match="unapplied migrations"):
        airflow_command("db", "check-migrations", "-t", "1")


def test_migrations_make_what_the_code_says(manager: MlEventDBManager, airflow_db: Engine) -> None:
    assert differences(airflow_db) == []
    made_by_airflow = tables(airflow_db, ours=True)
    manager.downgrade("base")
    assert tables(airflow_db, ours=True) == {}
    assert manager.get_current_revision() is None
    manager.session.rollback()
    manager.upgradedb(use_migration_files=True)
    assert differences(airflow_db) == []
    assert tables(airflow_db, ours=True) == made_by_airflow


def test_tables_made_by_migrations_work(manager: MlEventDBManager) -> None:
    manager.downgrade("base")
    manager.upgradedb(use_migration_files=True)
    with transaction() as connection:
        events.record(connection, [EVENT])
    assert recorded() == [EVENT]


def test_rules_of_the_first_version_are_kept_both_ways(manager: MlEventDBManager, airflow_db: Engine) -> None:
    manager.downgrade("0001")
    with airflow_db.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO ml_event_rule (workspace, name, version, enabled, managed_by, definition, created_at,"
                " updated_at) VALUES ('fraud', 'old', 3, true, 'file', '{\"workspace\": \"fraud\"}',"
                " '2026-01-01 00:00:00', '2026-01-02 00:00:00')"
            ).execution_options(no_parameters=True)
        )
    manager.session.rollback()
    manager.upgradedb(use_migration_files=True)
    with transaction() as connection:
        (kept,) = definitions.find(connection)
        (version,) = definitions.history(connection, "old", workspace="fraud")
        definitions.put(connection, {"workspace": "fraud", "name": "old", "enabled": False}, managed_by="file")
    assert (kept.name, kept.version, kept.enabled, kept.definition) == ("old", 3, True, {"workspace": "fraud"})
    assert (version.version, version.change, version.definition) == (3, "created", {"workspace": "fraud"})
    manager.session.rollback()
    manager.downgrade("0001")
    with airflow_db.connect() as connection:
        rows = connection.execute(text("SELECT name, version, enabled FROM ml_event_rule")).all()
    assert [tuple(row) for row in rows] == [("old", 4, 0)]


def test_events_are_given_the_dag_that_they_tell_of(manager: MlEventDBManager, airflow_db: Engine) -> None:
    bodies = {
        "run": '{"data": {"dag_id": "train"}}',
        "asset": '{"data": {"source_dag_id": "load"}}',
        "none": '{"data": {"n": 1}}',
        "number": '{"data": {"dag_id": 7}}',
        "nul": '{"data": {"dag_id": "a\\u0000b\\ud800"}}',
        "long": f'{{"data": {{"dag_id": "{"x" * 300}"}}}}',
        "broken": "{",
        "no data": "[]",
        "deep": "[" * 100_000,
        "last": '{"data": {"dag_id": "train"}}',
    }
    manager.downgrade("0002")
    insert = text(
        "INSERT INTO ml_event_event (id, source, type, workspace, origin, time, recorded_at, body)"
        " VALUES (:id, '/s', 't', 'default', 'ingest', '2026-01-01 00:00:00', '2026-01-01 00:00:00', :body)"
    )
    with airflow_db.begin() as connection:
        connection.execute(insert, [{"id": name, "body": body} for name, body in bodies.items()])
        if connection.dialect.name == "sqlite":
            # Which takes any bytes for text.
            connection.execute(text("UPDATE ml_event_event SET body = CAST(x'7bff' AS TEXT) WHERE id = 'broken'"))
    manager.session.rollback()
    manager.upgradedb(use_migration_files=True)
    with transaction() as connection:
        found = {row.id: row.dag_id for row in connection.execute(select(schema.event.c.id, schema.event.c.dag_id))}
    assert found == {
        **dict.fromkeys(bodies),
        "run": "train",
        "asset": "load",
        "nul": "a\ufffdb?",
        "long": "x" * 250,
        "last": "train",
    }


def test_alerts_are_given_their_ids_and_the_dag_of_their_newest_event(
    manager: MlEventDBManager, airflow_db: Engine
) -> None:
    manager.downgrade("0002")
    event = text(
        "INSERT INTO ml_event_event (id, source, type, workspace, origin, time, recorded_at, body)"
        " VALUES ('e', '/s', 't', 'default', 'ingest', '2026-01-01 00:00:00', '2026-01-01 00:00:00',"
        """ '{"data": {"dag_id": "train"}}')"""
    )
    state = text(
        "INSERT INTO ml_event_state (id, workspace, rule, role, key, body, open_since, updated_at)"
        " VALUES (:id, 'default', 'r', 'alert', :id, :body, :since, '2026-01-01 00:00:00')"
    )
    with airflow_db.begin() as connection:
        connection.execute(event.execution_options(no_parameters=True))
        seq = connection.execute(text("SELECT seq FROM ml_event_event")).scalar()
        bodies = {
            "about": f'{{"id": "alert-1", "seq": {seq}, "open": 1.0}}',
            "awaited": '{"id": "alert-2", "seq": null, "open": 1.0}',
            "pruned": '{"id": "alert-3", "seq": 99999, "open": 1.0}',
            "broken": "{",
            "none": '{"form": "x"}',
            "list": "[]",
            "deep": "[" * 100_000,
            "number": '{"id": 7, "open": 1.0}',
            "object": '{"id": {"a": 1}, "open": 1.0}',
            "long": f'{{"id": "{"x" * 300}", "open": 1.0}}',
            "nul": '{"id": "a\\u0000b", "open": 1.0}',
            "place": '{"id": "alert-5", "seq": "no place", "open": 1.0}',
            "far": f'{{"id": "alert-6", "seq": {2**80}, "open": 1.0}}',
        }
        rows = [{"id": name, "body": body, "since": 1.0} for name, body in bodies.items()]
        connection.execute(state, [*rows, {"id": "over", "body": '{"id": "alert-4", "open": null}', "since": None}])
        if connection.dialect.name == "sqlite":
            connection.execute(text("UPDATE ml_event_state SET body = CAST(x'7bff' AS TEXT) WHERE id = 'broken'"))
    manager.session.rollback()
    manager.upgradedb(use_migration_files=True)
    table = schema.state
    with transaction() as connection:
        query = select(table.c.id, table.c.alert_id, table.c.dag_id)
        found = {row.id: (row.alert_id, row.dag_id) for row in connection.execute(query)}
    nothing = (None, None)
    assert found == {
        "about": ("alert-1", "train"),
        "awaited": ("alert-2", None),
        "pruned": ("alert-3", None),
        "broken": nothing,
        **dict.fromkeys(("none", "list", "deep", "number", "object", "long", "nul", "over"), nothing),
        "place": ("alert-5", None),
        "far": ("alert-6", None),
    }


def test_migrating_again_keeps_the_rows(manager: MlEventDBManager) -> None:
    with transaction() as connection:
        events.record(connection, [EVENT])
    airflow_command("db", "migrate")
    assert recorded() == [EVENT]


def test_airflows_own_tables_stay_as_they_are(manager: MlEventDBManager, airflow_db: Engine) -> None:
    def pools() -> list[Any]:
        with airflow_db.connect() as connection:
            return list(connection.execute(text("SELECT pool, slots FROM slot_pool ORDER BY pool")))

    before, rows = tables(airflow_db, ours=False), pools()
    assert {"dag_run", "task_instance"} <= set(before)
    assert rows
    manager.downgrade("base")
    assert (tables(airflow_db, ours=False), pools()) == (before, rows)
    manager.upgradedb(use_migration_files=True)
    assert (tables(airflow_db, ours=False), pools()) == (before, rows)


def test_airflow_drops_our_tables_with_its_own(manager: MlEventDBManager, airflow_db: Engine) -> None:
    manager.session.rollback()
    with airflow_db.begin() as connection:
        manager.session.bind = connection
        manager.drop_tables(connection)
        manager.session.close()
    manager.session.bind = airflow_db
    names = inspect(airflow_db).get_table_names()
    assert not [name for name in names if name.startswith("ml_event_")]
    assert "dag_run" in names


def test_migration_is_shown_as_sql(manager: MlEventDBManager, capsys: pytest.CaptureFixture[str]) -> None:
    manager.upgradedb(to_revision=HEAD, show_sql_only=True)
    up = capsys.readouterr().out
    manager.downgrade("base", from_revision=HEAD, show_sql_only=True)
    down = capsys.readouterr().out
    for name in schema.metadata.tables:
        assert f"CREATE TABLE {name} " in up
        assert f"DROP TABLE {name};" in down
    assert "INSERT INTO ml_event_definition (kind, " in up
    assert "DROP TABLE ml_event_rule;" in up
    assert "UPDATE ml_event_alembic_version" in up or "INSERT INTO ml_event_alembic_version" in up
    with transaction() as connection:
        assert connection.execute(select(schema.event.c.seq)).all() == []


def test_words_of_mysqls_sql_are_quoted(manager: MlEventDBManager) -> None:
    sql = io.StringIO()
    context = MigrationContext.configure(dialect_name="mysql", opts={"as_sql": True, "output_buffer": sql})
    with Operations.context(context):
        for revision in ("0001", "0002", "0003"):
            manager.get_script_object().get_revision(revision).module.upgrade()
    (noted,) = [one for one in sql.getvalue().split(";") if "INSERT INTO ml_event_definition_version" in one]
    assert "version, `change`, author" in noted
    assert "'rule'" in noted
    assert "'created'" in noted
