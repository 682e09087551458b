"""Counts and gauges of the dispatcher in Airflow's metrics, all named ``ml_events.…``."""

from __future__ import annotations


def count(name: str, amount: int = 1) -> None:
    """Count ``ml_events.<name>``."""
    from airflow._shared.observability.metrics import stats

    stats.incr(f"ml_events.{name}", amount)


def gauge(name: str, value: float) -> None:
    """Set the gauge ``ml_events.<name>``."""
    from airflow._shared.observability.metrics import stats

    stats.gauge(f"ml_events.{name}", value)
