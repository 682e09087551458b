"""Counts and gauges in Airflow's metrics, all named ``ml_events.…``.

Airflow moves this part of itself from version to version, and a metric is never worth a lost event: where one cannot
be sent, the first failure of a process is a warning, and everything else goes on.
"""

from __future__ import annotations

import logging
from inspect import signature
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)
_warned = False


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
    global _warned
    try:
        from airflow.observability.stats import Stats

        use(Stats)
    except Exception as error:
        if _warned:
            log.debug("a metric was not sent", exc_info=True)
            return
        _warned = True
        log.warning("Metrics of ML events cannot be sent (%s: %s); all else goes on", type(error).__name__, error)
