"""Commands, files and the web app for all tests on a real database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ml_event_provider import config
from tests.conftest import airflow_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fastapi import FastAPI
    from fastapi.testclient import TestClient
    from sqlalchemy import Engine

    Command = Callable[..., "Said"]
    File = Callable[[str, str], str]


class Said:
    """What a command printed, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def _no_dispatcher_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test that makes an Airflow job must not start a dispatcher beside those of the tests."""
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__EMBEDDED_DISPATCHER", "False")
    config.forget()
    yield
    config.forget()


@pytest.fixture
def ml_events(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs ``airflow ml-events``. An error that is no exit ends the test: users would see a traceback."""

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        code = 0
        try:
            airflow_command("ml-events", *arguments)
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 0
        said = capsys.readouterr()
        assert "Traceback (most" not in said.out + said.err
        return Said(code, said.out, said.err)

    return run


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str, str], str]:
    def write(name: str, text: str) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return str(path)

    return write


@pytest.fixture(scope="module")
def app() -> FastAPI:
    """Airflow's API server as far as it concerns us: the plugin's app with Airflow's own auth manager."""
    from airflow.api_fastapi.app import create_auth_manager
    from fastapi import FastAPI

    from ml_event_provider.api.app import create_app

    create_auth_manager().init()
    whole = FastAPI()
    whole.mount("/ml-events", create_app())
    return whole


@pytest.fixture
def client(app: FastAPI, airflow_db: Engine) -> Iterator[TestClient]:
    """Asks the app; what it cannot answer is an answer, too."""
    from fastapi.testclient import TestClient

    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
