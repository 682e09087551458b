from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ml_event_provider import config
from tests.peers.mlflow_relay import relay, running
from tests.peers.mlflow_server import connect, mlflow_server, model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.peers.mlflow_relay import Relay

__all__ = ["connect", "inbox", "mlflow_server", "model", "relay"]

ACCEPTED = (202, {"Content-Type": "application/json"}, b'{"ids": []}')


class Inbox:
    """The ingest endpoint's place: an HTTP server that keeps the CloudEvents it is given."""

    def __init__(self, server: Relay) -> None:
        self.server = server

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for seen in self.server.seen for event in json.loads(seen[3])]


@pytest.fixture
def inbox(connect: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Inbox]:
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__SPOOL_DIRECTORY", str(tmp_path / "spool"))
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__WORKSPACE", "fraud")
    config.forget()
    with running() as server:
        server.otherwise = ACCEPTED
        connect(server.url, "ml_events_default", "ml_events", password="token")
        yield Inbox(server)
    config.forget()
