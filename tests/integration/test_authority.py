"""Who may see and do what, route by route, with Airflow's own auth managers: teams, roles, one-DAG roles."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.conftest import Databases, configure_airflow, empty_tables
from tests.integration.airflow_rows import orm_session, write_dag
from tests.integration.borders import PATH, ROUTES, Owner, outcome, routes_of, things
from tests.integration.callers import service, user

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI
    from fastapi.testclient import TestClient
    from sqlalchemy import Engine

    Headers = dict[str, str]

RED, BLUE, ALL = Owner("red"), Owner("blue"), Owner("everybodys")
MINE, THEIRS = Owner("default", "mine"), Owner("default", "theirs")

Table = dict[tuple[str, Owner], dict[str, str]]


def table(text: str, owners: dict[str, Owner]) -> Table:
    """A table in words: a line for each kind of question and owner, a column for each caller."""
    head, *lines = (line.split() for line in text.strip().splitlines())
    return {
        (kind, owners[owner]): dict(zip(head[2:], answers, strict=True))
        for kind, of, *answers in lines
        for owner in (owners if of == "*" else [of])
    }


#: ``op`` and those before are of the team *red*, ``other`` is an op of *blue*, ``admin`` is of no team.
TEAMS = table(
    """
    question  of     anonymous  viewer  user    op      admin  other   service
    see       red    401        ok      ok      ok      ok     hidden  403
    see       blue   401        hidden  hidden  hidden  ok     ok      403
    see       all    401        ok      ok      ok      ok     ok      403
    change    red    401        403     403     ok      ok     404     403
    change    blue   401        404     404     404     ok     ok      403
    change    all    401        403     403     ok      ok     ok      403
    add       red    401        403     403     ok      ok     403     403
    add       blue   401        403     403     403     ok     ok      403
    add       all    401        403     403     ok      ok     ok      403
    tell      red    401        403     403     ok      ok     403     ok
    tell      blue   401        403     403     403     ok     ok      ok
    tell      all    401        403     403     ok      ok     ok      ok
    send      red    401        403     403     ok      ok     403     ok
    send      blue   401        403     403     403     ok     ok      ok
    send      all    401        403     403     ok      ok     ok      ok
    health    *      401        hidden  hidden  hidden  ok     hidden  hidden
    """,
    {"red": RED, "blue": BLUE, "all": ALL},
)

#: The same with FAB, which knows no teams: ``one_dag`` sees the DAG *mine*, ``one_dag_op`` may edit connections, too.
FAB = table(
    """
    question  of      anonymous  public  viewer  user  op  admin  one_dag  one_dag_op  service
    see       mine    401        403     ok      ok    ok  ok     ok       ok          403
    see       theirs  401        403     ok      ok    ok  ok     hidden   hidden      403
    see       all     401        403     ok      ok    ok  ok     ok       ok          403
    change    mine    401        403     403     403   ok  ok     403      ok          403
    change    theirs  401        403     403     403   ok  ok     404      404         403
    change    all     401        403     403     403   ok  ok     403      ok          403
    add       *       401        403     403     403   ok  ok     403      ok          403
    tell      *       401        403     403     ok    ok  ok     403      ok          ok
    send      *       401        403     403     403   ok  ok     403      ok          ok
    health    *       401        403     ok      ok    ok  ok     hidden   hidden      hidden
    """,
    {"mine": MINE, "theirs": THEIRS, "all": ALL},
)


def test_every_route_stands_in_the_table(app: FastAPI) -> None:
    assert sorted(routes_of(app)) == sorted(ROUTES), "say in tests/integration/borders.py what the route is"


def check(client: TestClient, expected: Table, callers: dict[str, Headers]) -> None:
    """Each route, asked by each caller about each thing, answers as the table says."""
    wrong: dict[str, str] = {}
    for route, (kind, ask) in ROUTES.items():
        for (asked, owner), answers in expected.items():
            if asked != kind:
                continue
            for who, wanted in answers.items():
                answer = ask(client, owner, callers[who])
                found = outcome(route, answer, owner)
                if found != wanted:
                    wrong[f"{' '.join(route)} {owner.name} asked by {who}"] = f"{found}, not {wanted}: {answer.text}"
                if found == "ok" and kind == "change":
                    owner.make()
    assert wrong == {}


@pytest.fixture
def teams(airflow_db: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.models.team import Team

    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")
    with orm_session() as session:
        session.add_all([Team(name="red"), Team(name="blue")])


@pytest.fixture
def simple() -> dict[str, Headers]:
    """Callers by their words in ``TEAMS``."""
    return {
        "anonymous": {},
        "viewer": user("VIEWER", "red"),
        "user": user("USER", "red"),
        "op": user("OP", "red"),
        "admin": user("ADMIN"),
        "other": user("OP", "blue"),
        "service": service(),
    }


@pytest.mark.usefixtures("teams")
def test_teams_are_borders(client: TestClient, simple: dict[str, Headers]) -> None:
    things(RED, BLUE, ALL)
    check(client, TEAMS, simple)


@pytest.fixture(scope="module")
def fab_app(database_urls: Databases) -> Iterator[tuple[FastAPI, dict[str, Headers]]]:
    """The plugin's app with the FAB auth manager, and callers by their words in ``FAB``."""
    from airflow.api_fastapi import app as airflow_app
    from airflow.api_fastapi.app import create_auth_manager
    from fastapi import FastAPI

    from ml_event_provider.api.app import create_app

    before, url = airflow_app._AuthManagerState.instance, os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    manager = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CORE__AUTH_MANAGER", manager)
        try:
            database_urls.use("sqlite-fab")
            callers = people()
            create_auth_manager().init()
            whole = FastAPI()
            whole.mount("/ml-events", create_app())
            yield whole, callers
        finally:
            airflow_app._AuthManagerState.instance = before
            configure_airflow(url)


def people() -> dict[str, Headers]:
    """Users with FAB's own roles, and with roles for one DAG; their headers."""
    from airflow.api_fastapi.app import create_auth_manager
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    may = {
        "one_dag": [("can_read", "Cluster Activity"), ("can_read", "DAG:mine")],
        "one_dag_op": [
            ("can_read", "Cluster Activity"),
            ("can_read", "DAG:mine"),
            ("can_read", "Connections"),
            ("can_edit", "Connections"),
            ("can_create", "Assets"),
        ],
    }
    headers = {"anonymous": {}, "service": service()}
    with get_application_builder() as builder:
        manager = builder.sm
        for name in ("public", "viewer", "user", "op", "admin", *may):
            role = manager.find_role(name.capitalize()) if name not in may else manager.add_role(name)
            for action, resource in may.get(name, ()):
                manager.add_permission_to_role(role, manager.create_permission(action, resource))
            added = manager.add_user(name, name, name, f"{name}@example.com", role, password="p")
            assert added, name
            token = create_auth_manager().generate_jwt(added)
            headers[name] = {"Authorization": f"Bearer {token}"}
    return headers


def test_dags_are_borders(fab_app: tuple[FastAPI, dict[str, Headers]]) -> None:
    from airflow import settings
    from fastapi.testclient import TestClient

    app, callers = fab_app
    with orm_session() as session:
        write_dag(session, "mine")
        write_dag(session, "theirs")
    try:
        things(MINE, THEIRS, ALL)
        with TestClient(app, raise_server_exceptions=False) as client:
            check(client, FAB, callers)
    finally:
        empty_tables(settings.engine)


def test_no_name_tells_whether_a_hidden_silence_bears_it(fab_app: tuple[FastAPI, dict[str, Headers]]) -> None:
    from airflow import settings
    from fastapi.testclient import TestClient

    app, callers = fab_app
    with orm_session() as session:
        write_dag(session, "mine")
        write_dag(session, "theirs")
    body = {"reason": "r", "everything": True, "ends_at": "2099-01-01T00:00:00Z"}
    try:
        THEIRS.make()
        with TestClient(app, raise_server_exceptions=False) as client:

            def add(who: str, **name: str) -> tuple[int, str]:
                answer = client.post(f"{PATH}/silences", json={**body, **name}, headers=callers[who])
                return answer.status_code, answer.json().get("detail", "")

            taken, free = add("one_dag_op", name=THEIRS.name), add("one_dag_op", name="free")
            assert taken == free
            assert taken == (
                403,
                "user 'one_dag_op' may not choose a 'name', which takes the right to read every DAG: leave it out, and"
                " it gets one",
            )
            assert add("one_dag_op")[0] == 201
            assert add("op", name="free")[0] == 201
            assert add("op", name=THEIRS.name)[0] == 400
    finally:
        empty_tables(settings.engine)
