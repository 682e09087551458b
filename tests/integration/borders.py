"""The routes, each with how it is asked about a thing of one owner; and things of several owners to ask about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ml_event_provider.dispatch.matching import Rules, match_batch
from ml_event_provider.events.model import Event
from ml_event_provider.store import definitions, events, states
from ml_event_provider.store.definitions import Kind
from ml_event_provider.store.engine import transaction
from tests.peers import routes

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI
    from fastapi.testclient import TestClient
    from httpx import Response

PATH = "/ml-events/v1"
START = datetime(2026, 11, 22, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Owner:
    """Whose a thing is: it is in a workspace and, perhaps, tells of a DAG."""

    workspace: str
    dag_id: str | None = None

    @property
    def name(self) -> str:
        """What its rule and its silence are called."""
        return f"of {self.workspace} {self.dag_id}"

    @property
    def data(self) -> dict[str, Any]:
        return {} if self.dag_id is None else {"dag_id": self.dag_id}

    def event(self) -> Event:
        """A new event of the owner's."""
        return Event(
            id=str(uuid4()), source="/shop", type="shop.failed", time=START, data=self.data, workspace=self.workspace
        )

    def make(self) -> None:
        """An open alert and a silence of the owner's."""
        event = self.event()
        rule = {
            "name": self.name,
            "workspace": self.workspace,
            "on": ["shop.failed"],
            "event_pattern": {"data": {"dag_id": [self.dag_id if self.dag_id else {"exists": False}]}},
            "targets": ["inbox"],
            "resolve": {"on": ["shop.mended"]},
        }
        muted = {"dags": [self.dag_id]} if self.dag_id else {"rules": ["x"]}
        silence = {
            "name": self.name,
            "workspace": self.workspace,
            "reason": "r",
            "author": "ada",
            "ends_at": "2099-01-01T00:00:00Z",
            **muted,
        }
        with transaction() as connection:
            definitions.put(connection, rule, managed_by="file")
            definitions.put(connection, silence, managed_by="file", kind=Kind.SILENCE)
            events.record(connection, [event], now=START)
        match_batch(Rules(), limit=100, now=lambda _: START + timedelta(minutes=1))

    def alert(self) -> str:
        """The id of its open alert."""
        with transaction() as connection:
            (found,) = (one for one in states.open_alerts(connection) if one.rule == self.name)
        return found.id


def _alerts(client: TestClient, owner: Owner, headers: dict[str, str]) -> Response:
    return client.get(f"{PATH}/alerts", headers=headers)


def _handle(what: str) -> Callable[..., Response]:
    def ask(client: TestClient, owner: Owner, headers: dict[str, str]) -> Response:
        return client.post(f"{PATH}/alerts/{owner.alert()}/{what}", headers=headers)

    return ask


def _silences(client: TestClient, owner: Owner, headers: dict[str, str]) -> Response:
    return client.get(f"{PATH}/silences", headers=headers)


def _add_silence(client: TestClient, owner: Owner, headers: dict[str, str]) -> Response:
    body = {"workspace": owner.workspace, "reason": "r", "everything": True, "ends_at": "2099-01-01T00:00:00Z"}
    return client.post(f"{PATH}/silences", json=body, headers=headers)


def _end_silence(client: TestClient, owner: Owner, headers: dict[str, str]) -> Response:
    return client.post(f"{PATH}/silences/{owner.name}/end?workspace={owner.workspace}", headers=headers)


def _delete_silence(client: TestClient, owner: Owner, headers: dict[str, str]) -> Response:
    return client.delete(f"{PATH}/silences/{owner.name}?workspace={owner.workspace}", headers=headers)


def _publish(client: TestClient, owner: Owner, headers: dict[str, str]) -> Response:
    return client.post(f"{PATH}/events", json=owner.event().to_dict(), headers=headers)


def _notify(client: TestClient, owner: Owner, headers: dict[str, str]) -> Response:
    body = {"event": owner.event().to_dict(), "targets": [{"conn_id": "inbox"}]}
    return client.post(f"{PATH}/notifications", json=body, headers=headers)


def _evaluate(client: TestClient, owner: Owner, headers: dict[str, str]) -> Response:
    return client.post(f"{PATH}/rules/evaluate", json={"event": owner.event().to_dict()}, headers=headers)


def _health(client: TestClient, owner: Owner, headers: dict[str, str]) -> Response:
    return client.get(f"{PATH}/health", headers=headers)


#: Every route: what kind of question it is, and how it is asked about a thing of one owner.
ROUTES: dict[tuple[str, str], tuple[str, Callable[..., Response]]] = {
    ("GET", f"{PATH}/alerts"): ("see", _alerts),
    ("POST", f"{PATH}/alerts/{{alert_id}}/acknowledge"): ("change", _handle("acknowledge")),
    ("POST", f"{PATH}/alerts/{{alert_id}}/resolve"): ("change", _handle("resolve")),
    ("GET", f"{PATH}/silences"): ("see", _silences),
    ("POST", f"{PATH}/silences"): ("add", _add_silence),
    ("POST", f"{PATH}/silences/{{name:path}}/end"): ("change", _end_silence),
    ("DELETE", f"{PATH}/silences/{{name:path}}"): ("change", _delete_silence),
    ("POST", f"{PATH}/events"): ("tell", _publish),
    ("POST", f"{PATH}/notifications"): ("send", _notify),
    ("POST", f"{PATH}/rules/evaluate"): ("tell", _evaluate),
    ("GET", f"{PATH}/health"): ("health", _health),
}


def routes_of(app: FastAPI) -> list[tuple[str, str]]:
    """Method and path of each route of ours."""
    (mounted,) = (route.app for route in app.routes if route.path == "/ml-events")
    return [
        (method, f"/ml-events{route.path}") for route in routes.routes_of(mounted) for method in sorted(route.methods)
    ]


def outcome(route: tuple[str, str], answer: Response, owner: Owner) -> str:
    """What an answer came to: ``ok``, ``hidden`` where a list or health leaves the owner's things out, or the code."""
    kind, _ = ROUTES[route]
    if kind == "see" and answer.status_code == 200:
        (found,) = answer.json().values()
        named = {one.get("rule") or one.get("name") for one in found}
        return "ok" if owner.name in named else "hidden"
    if kind == "health" and answer.status_code in {200, 503}:
        return "ok" if "dispatchers" in answer.json() else "hidden"
    return "ok" if answer.status_code < 300 else str(answer.status_code)


def things(*owners: Owner) -> None:
    """Things of several owners."""
    for owner in owners:
        owner.make()
