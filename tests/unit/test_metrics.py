"""What is counted arrives where Airflow's ``[metrics]`` says, and its failing is nobody's trouble."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING

import pytest

from ml_event_provider import metrics

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
    assert [statsd.recv(1000) for _ in range(2)] == [
        b"airflow.ml_events.listener_errors:2|c",
        b"airflow.ml_events.events_unmatched:17|g",
    ]


@pytest.mark.parametrize("use", [metrics.start, lambda: metrics.count("x"), lambda: metrics.gauge("x", 1.0)])
@pytest.mark.parametrize("missing", ["airflow.observability.stats", "airflow.observability.metrics.stats_utils"])
def test_an_airflow_that_keeps_its_metrics_elsewhere_costs_one_warning(use, missing, monkeypatch, caplog):
    monkeypatch.setitem(__import__("sys").modules, missing, None)
    monkeypatch.setattr(metrics, "_warned", False)
    with caplog.at_level(logging.WARNING, metrics.log.name):
        use()
        use()
    assert len(caplog.records) <= 1
    if use is metrics.start:
        assert caplog.messages[0].startswith("Metrics of ML events cannot be sent (ModuleNotFoundError")


def test_a_backend_that_fails_costs_one_warning(monkeypatch, caplog):
    from airflow.observability.stats import Stats

    def broken(*_: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(Stats, "incr", broken, raising=False)
    monkeypatch.setattr(metrics, "_warned", False)
    with caplog.at_level(logging.WARNING, metrics.log.name):
        metrics.count("listener_errors")
        metrics.count("listener_errors")
    assert caplog.messages == ["Metrics of ML events cannot be sent (OSError: no route to host); all else goes on"]
