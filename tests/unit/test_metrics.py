"""What is counted arrives where Airflow's ``[metrics]`` says, and its failing is nobody's trouble."""

from __future__ import annotations

import logging
import socket
import sys
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from ml_event_provider import metrics, troubles

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def statsd(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A StatsD server that this process's metrics go to."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_HOST", "127.0.0.1")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(server.getsockname()[1]))
        metrics.start()
        yield server
    monkeypatch.undo()
    metrics.start()


def test_counts_and_gauges_reach_the_configured_server(statsd):
    metrics.count("listener_errors", 2)
    metrics.gauge("events_unmatched", 17)
    received = (statsd.recv(1000) for _ in range(100))
    assert list(islice((one for one in received if b".ml_events." in one), 2)) == [
        b"airflow.ml_events.listener_errors:2|c",
        b"airflow.ml_events.events_unmatched:17|g",
    ]


@pytest.mark.parametrize("use", [metrics.start, lambda: metrics.count("x"), lambda: metrics.gauge("x", 1.0)])
def test_an_airflow_that_keeps_its_metrics_elsewhere_costs_one_line(use, monkeypatch, caplog):
    troubles.forget()
    monkeypatch.setitem(sys.modules, "airflow.observability.stats", None)
    with caplog.at_level(logging.WARNING, metrics.log.name):
        use()
        use()
    (line,) = caplog.messages
    assert line.startswith("ML events: metrics cannot be sent; all else goes on: ")
    assert "airflow.observability.stats" in line


def test_a_backend_that_fails_costs_one_line(monkeypatch, caplog):
    from airflow.observability.stats import Stats

    def broken(*_: object) -> None:
        raise OSError("no route to host")

    troubles.forget()
    monkeypatch.setattr(Stats, "incr", broken, raising=False)
    with caplog.at_level(logging.WARNING, metrics.log.name):
        metrics.count("listener_errors")
        metrics.count("listener_errors")
    assert caplog.messages == ["ML events: metrics cannot be sent; all else goes on: no route to host"]
