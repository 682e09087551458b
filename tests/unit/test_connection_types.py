"""Our connection types: Airflow writes them as URI and JSON and back without a word, and former names still work."""

from __future__ import annotations

import pytest
from airflow.models.connection import Connection
from airflow.sdk import Connection as SdkConnection

from ml_event_provider import extensions
from ml_event_provider.get_provider_info import FORMER_TYPES, get_provider_info
from ml_event_provider.hooks.webhook import WebhookHook
from tests.peers.receiver import WEBHOOK_SECRET, Receiver

DECLARED = [one["connection-type"] for one in get_provider_info()["connection-types"]]
TYPES = [one for one in DECLARED if one not in FORMER_TYPES]


def test_each_former_name_leads_to_a_type() -> None:
    assert sorted(kind for kind, _ in FORMER_TYPES.values()) == sorted(TYPES)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("model", [Connection, SdkConnection])
def test_a_type_stays_itself_through_uri_and_json_and_nothing_is_warned_of(
    kind: str, model: type, capfd: pytest.CaptureFixture[str]
) -> None:
    connection = model(conn_id="x", conn_type=kind, host="https://example.com/hook", password="p")
    uri = connection.get_uri()
    assert "shall not contain" not in "".join(capfd.readouterr())
    assert Connection(conn_id="x", uri=uri).conn_type == kind
    assert SdkConnection.from_uri(uri, conn_id="x").conn_type == kind
    assert Connection.from_json(f'{{"conn_type": "{kind}"}}').conn_type == kind


@pytest.mark.parametrize("former", FORMER_TYPES)
def test_a_former_name_is_what_airflow_warns_of(former: str, capfd: pytest.CaptureFixture[str]) -> None:
    Connection(conn_id="x", conn_type=former, host="h").get_uri()
    assert "shall not contain '_'" in "".join(capfd.readouterr())


def test_a_target_serves_its_type_under_either_name() -> None:
    for former, (kind, _) in FORMER_TYPES.items():
        assert extensions.targets().get(former) is extensions.targets().get(kind)


@pytest.mark.parametrize("kind", ["mleventswebhook", "ml_events_webhook", "ml-events-webhook"])
def test_a_connection_of_either_name_sends(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__ALLOWED_HOSTS", "127.0.0.1")
    with Receiver() as inbox:
        uri = Connection(conn_id="x", conn_type=kind, host=inbox.url("/webhook"), password=WEBHOOK_SECRET).get_uri()
        monkeypatch.setenv("AIRFLOW_CONN_HOOK", uri)
        assert WebhookHook("hook").test_connection() == (True, "HTTP 200: OK")
        assert [one.verified for one in inbox.requests] == [True]
