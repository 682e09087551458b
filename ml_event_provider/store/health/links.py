"""Whether messages can link to this Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ml_event_provider import config
from ml_event_provider.messages.links import web_address
from ml_event_provider.store.health.finding import Finding

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection


def check(_connection: Connection, _moment: datetime) -> Finding:
    """``[api] base_url``, from which links to runs and logs are made."""
    base = config.airflow_base_url()
    if web_address(base):
        return Finding()
    what = "is not set" if not base else f"= {base!r} is no http(s) address"
    return Finding(
        notices=[
            f"[api] base_url {what}, so messages have no links to runs and logs: set it to the address under which"
            " people open this Airflow (https://airflow.example.com) in the schedulers, API servers, workers and"
            " dispatchers"
        ]
    )
