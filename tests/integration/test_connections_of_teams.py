"""The dispatcher finds the connections that a task of the workspace's team would: the team's own, else everybody's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from ml_event_provider.dispatch.connections import look_up
from ml_event_provider.exceptions import LookUpFailed, UnknownTarget
from ml_event_provider.store import airflow_tables
from ml_event_provider.store.engine import transaction
from tests.conftest import configure_airflow
from tests.integration.airflow_rows import orm_session

if TYPE_CHECKING:
    from sqlalchemy import Engine


@pytest.fixture(autouse=True)
def _teams(airflow_db: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.models.connection import Connection
    from airflow.models.team import Team

    with orm_session() as session:
        session.add_all([Team(name="red"), Team(name="blue")])
        session.flush()
        session.add_all(
            [
                Connection(conn_id="reds", conn_type="http", host="red", password="hidden", team_name="red"),
                Connection(conn_id="everybodys", conn_type="http", host="all", extra='{"headers": {"a": "b"}}'),
            ]
        )
    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")
    monkeypatch.setenv("AIRFLOW_CONN__RED___CHAT", "http://red-chat")
    monkeypatch.setenv("AIRFLOW_CONN__BLUE___CHAT", "http://blue-chat")
    monkeypatch.setenv("AIRFLOW_CONN_CHAT", "http://everybodys-chat")


def host(conn_id: str, workspace: str) -> str | None:
    try:
        return look_up(conn_id, workspace).host
    except UnknownTarget:
        return None


def test_a_teams_own_connection_is_found_by_its_workspace_alone() -> None:
    found = look_up("reds", "red")
    assert (found.host, found.password, found.conn_type) == ("red", "hidden", "http")
    assert [host("reds", workspace) for workspace in ("blue", "default")] == [None, None]


def test_everybodys_connection_is_found_by_all() -> None:
    assert [host("everybodys", workspace) for workspace in ("red", "blue", "default")] == ["all"] * 3
    assert look_up("everybodys", "red").extra_dejson == {"headers": {"a": "b"}}


def test_a_teams_own_of_the_environment_goes_before_everybodys() -> None:
    found = [host("chat", workspace) for workspace in ("red", "blue", "default")]
    assert found == ["red-chat", "blue-chat", "everybodys-chat"]


@pytest.mark.parametrize("conn_id", ["_blue___chat", "_BLUE___CHAT", "_red___chat"])
@pytest.mark.parametrize("workspace", ["red", "default", "none"])
def test_no_name_leads_to_another_teams_variable(conn_id: str, workspace: str) -> None:
    assert host(conn_id, workspace) is None


def test_without_teams_a_workspace_is_a_name_and_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "False")
    assert [host("everybodys", workspace) for workspace in ("red", "default")] == ["all", "all"]
    assert [host("chat", workspace) for workspace in ("red", "default")] == ["everybodys-chat"] * 2


def test_rules_are_checked_against_the_names_by_which_teams_find_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_CHAT")
    monkeypatch.setenv("AIRFLOW_CONN___OTHER___CHAT", "http://a-name-that-is-no-teams")
    with transaction() as connection:
        found = airflow_tables.connections(connection)
    assert {name for name in found if name in {"reds", "everybodys"} or "chat" in name} == {
        "reds",
        "everybodys",
        "chat",
        "__other___chat",
    }


def test_what_is_not_there_is_said_with_the_workspace() -> None:
    with pytest.raises(UnknownTarget, match="no Airflow connection 'nowhere' for workspace 'red': create it"):
        look_up("nowhere", "red")


def test_a_database_that_is_away_is_not_a_connection_that_is_not_there(
    airflow_db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    if airflow_db.dialect.name == "sqlite":
        pytest.skip("a file is never away")
    before = airflow_db.url.render_as_string(hide_password=False)
    configure_airflow("postgresql+psycopg2://nobody@127.0.0.1:1/none")
    try:
        for workspace in ("red", "default"):
            for multi_team in ("True", "False"):
                monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", multi_team)
                with pytest.raises(LookUpFailed, match="'everybodys' cannot be looked up at present"):
                    look_up("everybodys", workspace)
    finally:
        configure_airflow(before)
    assert host("everybodys", "red") == "all"
    with airflow_db.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1
