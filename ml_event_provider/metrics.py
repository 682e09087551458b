"""Counts and gauges in Airflow's metrics, all named ``ml_events.…``.

Airflow moves this part of itself from version to version, and a metric is never worth a lost event: where one cannot
be sent, the log has a line a minute, and everything else goes on.
"""

from __future__ import annotations

import logging
from inspect import signature
from typing import TYPE_CHECKING, Any

from ml_event_provider import troubles

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)


def count(name: str, amount: int = 1) -> None:
    """Count ``ml_events.<name>``."""
    _send(lambda stats: stats.incr(f"ml_events.{name}", amount))


def gauge(name: str, value: float) -> None:
    """Set the gauge ``ml_events.<name>``."""
    _send(lambda stats: stats.gauge(f"ml_events.{name}", value))


def start() -> None:
    """Send this process's metrics where ``[metrics]`` says; Airflow does so in its own components only."""

    def initialize(stats: Any) -> None:
        from airflow.configuration import conf
        from airflow.observability.metrics.stats_utils import get_stats_factory

        # Airflow 3.2 asks for the class and knows of no legacy names.
        make: Callable[..., Any] = get_stats_factory
        factory = make(stats) if signature(make).parameters else make()
        legacy = {"export_legacy_names": conf.getboolean("metrics", "legacy_names_on", fallback=True)}
        takes = signature(stats.initialize).parameters
        stats.initialize(factory=factory, **{name: value for name, value in legacy.items() if name in takes})

    _send(initialize)


def _send(use: Callable[[Any], object]) -> None:
    """Give Airflow's metrics to ``use``."""
    try:
        from airflow.observability.stats import Stats

        use(Stats)
    except Exception as error:  # noqa: BLE001 - a metric is never worth what is counted
        troubles.tell(log, "ML events: metrics cannot be sent; all else goes on", error)
