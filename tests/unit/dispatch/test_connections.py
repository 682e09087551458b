"""Connections are kept for a while, each workspace's by itself, and what replaces one is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ml_event_provider.dispatch.connections import CONNECTION_SECONDS, Connections
from ml_event_provider.exceptions import LookUpFailed, UnknownTarget
from tests.peers.samples import SampleConnection

if TYPE_CHECKING:
    from ml_event_provider.connection import Connection


class Lookup:
    """Airflow's look-up: what it was asked, and what it knows."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.known: dict[tuple[str, str], Any] = {("inbox", "default"): SampleConnection(conn_type="http", host="old")}

    def __call__(self, conn_id: str, workspace: str) -> Connection:
        self.asked.append((conn_id, workspace))
        found = self.known.get((conn_id, workspace), UnknownTarget(f"no {conn_id}"))
        if isinstance(found, Exception):
            raise found
        return found


def test_a_connection_is_looked_up_again_after_a_while() -> None:
    clock, lookup = [0.0], Lookup()
    connections = Connections(lambda: clock[0], lookup)
    assert connections.get("inbox", "default") is connections.get("inbox", "default")
    assert lookup.asked == [("inbox", "default")]
    changed = lookup.known["inbox", "default"] = SampleConnection(conn_type="http", host="new")
    clock[0] = CONNECTION_SECONDS
    assert connections.get("inbox", "default") is changed
    assert len(lookup.asked) == 2


def test_a_connection_that_does_not_exist_is_found_as_soon_as_it_does() -> None:
    lookup = Lookup()
    connections = Connections(lambda: 0.0, lookup)
    with pytest.raises(UnknownTarget, match="no später"):
        connections.get("später", "default")
    made = lookup.known["später", "default"] = SampleConnection(conn_type="http")
    assert connections.get("später", "default") is made


def test_each_workspace_has_its_own() -> None:
    lookup = Lookup()
    theirs = lookup.known["inbox", "fraud"] = SampleConnection(conn_type="http", host="theirs")
    connections = Connections(lambda: 0.0, lookup)
    assert connections.get("inbox", "default").host == "old"
    assert connections.get("inbox", "fraud") is theirs
    with pytest.raises(UnknownTarget):
        connections.get("inbox", "other")


def test_one_that_is_gone_is_forgotten_and_one_that_cannot_be_looked_up_is_found_again() -> None:
    clock, lookup = [0.0], Lookup()
    connections = Connections(lambda: clock[0], lookup)
    first = connections.get("inbox", "default")
    clock[0] = CONNECTION_SECONDS
    lookup.known["inbox", "default"] = LookUpFailed("away")
    with pytest.raises(LookUpFailed):
        connections.get("inbox", "default")
    lookup.known["inbox", "default"] = first
    assert connections.get("inbox", "default") is first
    clock[0] += CONNECTION_SECONDS
    del lookup.known["inbox", "default"]
    with pytest.raises(UnknownTarget):
        connections.get("inbox", "default")
