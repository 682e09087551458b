"""What goes wrong around a command is one line that says what to do, whatever the command."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, text

from ml_event_provider import __version__
from ml_event_provider.store.engine import transaction
from tests.conftest import configure_airflow
from tests.integration.callers import user

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastapi.testclient import TestClient

    from tests.integration.conftest import Command, File, Said

READING = [("events", "list"), ("deliveries", "list"), ("rules", "list"), ("alerts", "list"), ("health",)]
WRITING = [("rules", "apply", "-f", "FILE"), ("deliveries", "retry", "--all-dead"), ("dispatcher", "--once")]


@pytest.fixture
def rules(file: File) -> str:
    return file("rules.yaml", "{name: r, on: x.y, targets: [inbox]}")


def one_line(said: Said) -> str:
    """The error that a command printed, which must be all it said."""
    assert (said.code, said.out) == (1, "")
    (line,) = said.err.splitlines()
    assert line.startswith("error: ")
    assert len(line) < 400
    return line.removeprefix("error: ")


def words(command: tuple[str, ...], rules: str) -> list[str]:
    return [rules if word == "FILE" else word for word in command]


# The tables of another version


@pytest.fixture
def at(airflow_db: Engine) -> Iterator[Any]:
    """Say that the database is at another migration than it is."""

    def claim(version: str) -> None:
        with airflow_db.begin() as connection:
            connection.execute(text("UPDATE ml_event_alembic_version SET version_num = :to"), {"to": version})

    yield claim
    claim("0003")


@pytest.fixture
def older(airflow_db: Engine, at: Any) -> Iterator[None]:
    """Tables as an older version made them: columns are missing."""
    changes = [
        ("ml_event_delivery", "created_at"),
        ("ml_event_delivery", "finished_at"),
        ("ml_event_event", "dag_id"),
        ("ml_event_definition", "managed_by"),
        ("ml_event_state", "alert_id"),
        ("ml_event_dispatcher", "report"),
    ]

    def rename(before: str, after: str) -> None:
        # SQLite renames by the schema that the connection knows, which may be of before the last change.
        airflow_db.dispose()
        with airflow_db.begin() as connection:
            for table, column in changes:
                names = {"": column, "x": f"{column}_x"}
                connection.execute(text(f"ALTER TABLE {table} RENAME COLUMN {names[before]} TO {names[after]}"))

    rename("", "x")
    at("0002")
    yield
    rename("x", "")


OLDER = f"the tables of ML events are at migration 0002, and version {__version__} needs 0003: run `airflow db migrate`"


@pytest.mark.usefixtures("older")
@pytest.mark.parametrize("command", [*READING[:-1], *WRITING], ids=" ".join)
def test_tables_of_an_older_version_are_named_with_what_to_run(
    ml_events: Command, rules: str, command: tuple[str, ...]
) -> None:
    assert one_line(ml_events(*words(command, rules))) == OLDER


@pytest.mark.usefixtures("older")
def test_health_names_the_migration(ml_events: Command) -> None:
    said = ml_events("health")
    assert (said.code, said.out) == (1, f"unhealthy\n- {OLDER}\n")
    assert ml_events("health", "-o", "json").json == {
        "status": "unhealthy",
        "problems": [OLDER],
        "notices": [],
        "migration": "0002",
    }


@pytest.mark.usefixtures("older")
def test_the_api_names_the_migration_too(client: TestClient) -> None:
    answer = client.get("/ml-events/v1/health", headers=user("ADMIN"))
    assert (answer.status_code, answer.json()["problems"]) == (503, [OLDER])
    document = {"specversion": "1.0", "id": "1", "source": "/tests", "type": "x.y"}
    headers = {**user("ADMIN"), "Content-Type": "application/cloudevents+json"}
    answer = client.post("/ml-events/v1/events", json=document, headers=headers)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
    assert "run `airflow db migrate`" in answer.json()["detail"]


def test_health_of_tables_of_a_newer_version_says_so(ml_events: Command, at: Any) -> None:
    at("0099")
    assert f"are at migration 0099, which version {__version__} does not know" in ml_events("health").out


def test_health_tells_the_migration_where_all_is_well(ml_events: Command, airflow_db: Engine) -> None:
    assert ml_events("health", "-o", "json").json["migration"] == "0003"


@pytest.fixture
def elsewhere(airflow_db: Engine) -> Iterator[Any]:
    """Point Airflow at another database for the time of the test."""
    before = airflow_db.url.render_as_string(hide_password=False)
    yield configure_airflow
    configure_airflow(before)


@pytest.mark.parametrize("command", [*READING[:-1], *WRITING], ids=" ".join)
def test_missing_tables_are_said(
    ml_events: Command, rules: str, command: tuple[str, ...], elsewhere: Any, tmp_path: Path
) -> None:
    elsewhere(f"sqlite:///{tmp_path}/empty.db")
    wanted = "the tables of ML events are not in the database: run `airflow db migrate`"
    assert one_line(ml_events(*words(command, rules))) == wanted
    assert f"- {wanted}\n" in ml_events("health").out


# A database that is away, or may not be written


@pytest.mark.parametrize("command", [*READING, *WRITING], ids=" ".join)
def test_a_database_that_is_away_is_said(
    ml_events: Command, rules: str, command: tuple[str, ...], elsewhere: Any, airflow_db: Engine
) -> None:
    away = "sqlite:////nowhere/at/all.db"
    if airflow_db.dialect.name == "postgresql":
        away = airflow_db.url.update_query_dict({"host": "/nowhere"}).render_as_string(hide_password=False)
    elsewhere(away)
    line = one_line(ml_events(*words(command, rules)))
    assert line.startswith("the database cannot be reached (")
    assert line.endswith("): see [database] sql_alchemy_conn, and whether it runs there")


@pytest.fixture
def read_only(airflow_db: Engine, elsewhere: Any) -> Iterator[None]:
    """Airflow's user may read, and not write."""
    url = airflow_db.url
    if airflow_db.dialect.name == "sqlite":
        pytest.skip("SQLite has no users")
    grants = "GRANT USAGE ON SCHEMA public TO onlooker; GRANT SELECT ON ALL TABLES IN SCHEMA public TO onlooker"
    with airflow_db.begin() as connection:
        connection.execute(text(f"CREATE ROLE onlooker LOGIN PASSWORD 'x'; {grants}"))
    elsewhere(url.set(username="onlooker", password="x").render_as_string(hide_password=False))
    yield
    with airflow_db.begin() as connection:
        connection.execute(text("DROP OWNED BY onlooker; DROP ROLE onlooker"))


# A dispatcher with nothing to do writes nothing.
@pytest.mark.usefixtures("read_only")
@pytest.mark.parametrize("command", [one for one in WRITING if one[0] != "dispatcher"], ids=" ".join)
def test_a_user_who_may_only_read_is_said(ml_events: Command, rules: str, command: tuple[str, ...]) -> None:
    line = one_line(ml_events(*words(command, rules)))
    assert line.startswith("the database does not allow it (")
    assert line.endswith("must be able to read and write the ml_event_ tables; no replica will do")


@pytest.mark.usefixtures("read_only")
@pytest.mark.parametrize("command", READING[:-1], ids=" ".join)
def test_a_user_who_may_only_read_reads(ml_events: Command, command: tuple[str, ...]) -> None:
    assert ml_events(*command).code == 0


# Files, numbers, pipes


@pytest.mark.parametrize("name", ["x" * 300, "/proc/self/mem/x", ""], ids=["too long", "no folder", "empty"])
@pytest.mark.parametrize("command", [("rules", "apply"), ("rules", "lint"), ("packs", "show")], ids=" ".join)
def test_a_file_that_cannot_be_is_said(
    ml_events: Command, airflow_db: Engine, command: tuple[str, ...], name: str
) -> None:
    one_line(ml_events(*command, "-f", name))


@pytest.mark.parametrize("number", ["-5", "0", "99999999999999999999", "many"])
def test_a_limit_that_makes_no_sense_is_said(ml_events: Command, airflow_db: Engine, number: str) -> None:
    said = ml_events("events", "list", "-n", number)
    assert said.code == 2
    assert f"argument -n/--limit: {number!r} is no number from 1 to 2147483647" in said.err.splitlines()[-1]


def test_files_add_up_and_prune_keeps_them_all(ml_events: Command, airflow_db: Engine, file: File) -> None:
    a = file("a.yaml", "{name: a, on: x.y, targets: [inbox]}")
    b = file("b.yaml", "{name: b, on: x.y, targets: [inbox]}")
    for _ in range(2):
        ml_events("rules", "apply", "-f", a, "-f", b, "--prune")
        assert {one["name"] for one in ml_events("rules", "list", "-o", "json").json} == {"a", "b"}
    assert ml_events("rules", "apply", "-f", a, b, a, "--prune").out.endswith("2 unchanged\n")
    twice = file("c.yaml", "{name: a, on: x.z, targets: [inbox]}")
    assert "has a rule named 'a' already" in ml_events("rules", "apply", "-f", a, "-f", twice).err
    said = ml_events("rules", "test", "-f", a, "-f", b, "--event", "airflow.task_instance.failed")
    assert [line.split(":")[0] for line in said.out.splitlines() if not line.startswith(" ")] == ["a", "b"]


def test_a_remedy_is_never_cut_off(ml_events: Command, airflow_db: Engine) -> None:
    from tests.integration.test_cancelling import DeliveryState, put_delivery

    remedy = "x" * 200 + " add the address or its network to [ml_events] allowed_hosts"
    put_delivery("d-1", DeliveryState.DEAD, rule="a rule's name " * 8)
    with transaction() as connection:
        connection.execute(text("UPDATE ml_event_delivery SET reason = :words"), {"words": remedy})
    (_, line) = ml_events("deliveries", "list").out.splitlines()
    assert line.endswith(remedy)
    assert "a rule's name " * 7 in line


@pytest.mark.parametrize(
    ("shell", "wanted"),
    [
        ("{} events schema | head -n 1", "{\n"),
        ("{} events types | true", ""),
        ("PYTHONIOENCODING=ascii {} templates render --event airflow.dag_run.failed | tail -n 1", "\n"),
    ],
    ids=["a reader that has enough", "a reader that reads nothing", "a terminal that knows no more than ASCII"],
)
def test_a_pipe_is_no_reason_for_a_traceback(shell: str, wanted: str) -> None:
    line = shell.replace("{} ", f"{sys.executable} -m airflow ml-events ")
    done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=180, check=False)
    assert done.stdout == wanted
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
