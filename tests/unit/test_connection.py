"""A connection that is held is the same, read once."""

from __future__ import annotations

import copy
import json
from typing import Any

from ml_event_provider.connection import held
from ml_event_provider.dispatch.connections import Connections
from tests.peers.samples import SampleConnection


class Counted(SampleConnection):
    """Counts how often its extra fields are parsed."""

    parsed = 0

    @property
    def extra_dejson(self) -> dict[str, Any]:
        self.parsed += 1
        return dict(self.extra)

    def get_uri(self) -> str:
        return f"{self.conn_type}://{self.host}"


def test_it_is_parsed_once_and_has_all_that_the_connection_has() -> None:
    connection = Counted(conn_type="http", conn_id="hook", host="h", login="l", password="p", extra={"a": {"b": 1}})
    one: Any = held(connection)
    for _ in range(3):
        assert one.extra_dejson == {"a": {"b": 1}}
    assert connection.parsed == 1
    assert (one.conn_id, one.conn_type, one.host, one.login, one.password) == ("hook", "http", "h", "l", "p")
    assert (one.get_uri(), one.extra) == ("http://h", {"a": {"b": 1}})
    assert copy.copy(one).host == "h"


def test_what_a_target_does_to_its_fields_is_gone_with_the_next_reading() -> None:
    one = held(SampleConnection(conn_type="http", extra={"a": 1}))
    one.extra_dejson.pop("a")
    assert one.extra_dejson == {"a": 1}


def test_the_dispatchers_connections_are_held_until_they_are_looked_up_anew() -> None:
    found = [SampleConnection(conn_type="http", extra={"a": number}) for number in range(2)]
    moment = [0.0]
    connections = Connections(lambda: moment[0], lambda *_: found[int(moment[0] > 30)])
    assert connections.held("inbox", "default") is connections.held("inbox", "default")
    moment[0] = 31.0
    assert json.dumps(connections.held("inbox", "default").extra_dejson) == '{"a": 1}'
