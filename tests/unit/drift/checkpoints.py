"""Real Great Expectations checkpoints, data to run them on, and the ingest endpoint's place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from ml_event_provider import config
from tests.peers.receiver import Behaviour, Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ml_event_provider.events import Event

ROWS = 1000


def frame(seed: int = 0, rows: int = ROWS, shift: float = 0.0) -> pd.DataFrame:
    """Two columns of numbers, one of categories, one of flags."""
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "größe": random.normal(shift, 1, rows),
            "amount": random.exponential(100, rows),
            "country": random.choice(["de", "fr", "日本"], rows, p=[0.6, 0.3, 0.1]),
            "returning": random.random(rows) < 0.3,
        }
    )


def run_checkpoint(
    data: pd.DataFrame, expectations: Sequence[Any], actions: Sequence[Any] = (), name: str = "orders"
) -> Any:
    """``Checkpoint.run`` in a context of its own."""
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("orders_asset")
    suite = context.suites.add(gx.ExpectationSuite(name="suite", expectations=list(expectations)))
    validation = context.validation_definitions.add(
        gx.ValidationDefinition(name="validation", data=asset.add_batch_definition_whole_dataframe("all"), suite=suite)
    )
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(name=name, validation_definitions=[validation], actions=list(actions))
    )
    return checkpoint.run(batch_parameters={"dataframe": data})


class Inbox:
    """The ingest endpoint's place: keeps the CloudEvents that it is given."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for request in self.receiver.requests for event in json.loads(request.body)]

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]


def connect(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    connection = {"conn_type": "mlevents", "host": url, "password": "token"}
    monkeypatch.setenv("AIRFLOW_CONN_ML_EVENTS_DEFAULT", json.dumps(connection))


@pytest.fixture
def inbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Inbox]:
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__SPOOL_DIRECTORY", str(tmp_path / "spool"))
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__WORKSPACE", "fraud")
    config.forget()
    with Receiver() as receiver:
        receiver.next(*[Behaviour(status=202, body='{"ids": ["first", "second"]}')] * 5)
        connect(monkeypatch, receiver.url("").rstrip("/"))
        yield Inbox(receiver)


def strictly_json(event: Event) -> dict[str, Any]:
    """The event after a round trip through JSON that knows neither NaN nor infinity."""
    document: dict[str, Any] = json.loads(event.to_json())
    return document
