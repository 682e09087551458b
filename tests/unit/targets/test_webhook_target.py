from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks.webhooks import Webhook

from ml_event_provider.events.wire import write_binary
from ml_event_provider.targets import Outcome
from ml_event_provider.targets.network import Network
from ml_event_provider.targets.webhook import WebhookTarget, secret_bytes, sign
from tests.peers.receiver import WEBHOOK_SECRET, Behaviour, Receiver, closed_port
from tests.peers.samples import SampleConnection, sample_event, sample_message

OTHER_SECRET = "whsec_" + base64.b64encode(b"another secret of 32 bytes at all").decode()


@pytest.fixture
def target(network: Network) -> WebhookTarget:
    return WebhookTarget(network)


def connection(receiver: Receiver, path: str = "/webhook", **changes: Any) -> SampleConnection:
    fields: dict[str, Any] = {"host": receiver.url(path), "password": WEBHOOK_SECRET}
    return SampleConnection(conn_type="mleventswebhook", **{**fields, **changes})


def test_the_signature_is_that_of_the_standards_example() -> None:
    secret = secret_bytes("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "secret")
    signature = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_standard_message_is_verified_by_the_reference_library(target: WebhookTarget, receiver: Receiver) -> None:
    result = target.send(connection(receiver), sample_message(), timeout=5)
    assert (result.outcome, result.code) == (Outcome.DELIVERED, "HTTP 200")
    (request,) = receiver.requests
    assert request.verified, request.problem
    assert request.headers["webhook-id"] == "delivery-1"
    assert request.headers["content-type"] == "application/json"
    assert request.json() == {
        "type": "airflow.task_instance.failed",
        "timestamp": "2026-11-20T12:00:01.500000Z",
        "data": {
            "event": sample_event().to_dict(),
            "rule": "failures",
            "severity": "error",
            "title": "Task fit of train failed",
            "body": "The task **fit** failed: ValueError größer 大",
            "links": {"run": "https://airflow.example/runs/1", "log": "https://airflow.example/logs/1"},
        },
    }


def test_every_try_has_the_same_id_and_a_fresh_timestamp(network: Network, receiver: Receiver) -> None:
    times = iter([receiver.now() - 120, receiver.now()])
    target = WebhookTarget(network, now=lambda: moment)
    for moment in times:  # noqa: B007 - read by the target's clock
        target.send(connection(receiver), sample_message(), timeout=5)
    first, second = receiver.requests
    assert first.verified
    assert second.verified
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    difference = int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"])
    assert difference in {119, 120, 121}
    assert receiver.duplicates == {"delivery-1": 2}


def test_a_wrong_secret_is_refused_by_the_receiver(target: WebhookTarget, receiver: Receiver) -> None:
    result = target.send(connection(receiver, password=OTHER_SECRET), sample_message(), timeout=5)
    assert (result.outcome, result.code) == (Outcome.REFUSED, "HTTP 401")
    assert result.reason == "No matching signature found"


@pytest.mark.parametrize("known", [WEBHOOK_SECRET, OTHER_SECRET])
def test_while_a_secret_is_rotated_both_old_and_new_verify(
    target: WebhookTarget, receiver: Receiver, known: str
) -> None:
    both = connection(receiver, extra={"previous_secret": OTHER_SECRET})
    target.send(both, sample_message(), timeout=5)
    (request,) = receiver.requests
    assert len(request.headers["webhook-signature"].split(" ")) == 2
    Webhook(known).verify(request.body, dict(request.headers))


def test_without_a_secret_id_and_timestamp_are_sent_all_the_same(target: WebhookTarget, receiver: Receiver) -> None:
    unsigned = connection(receiver, path="/any", password=None)
    assert target.send(unsigned, sample_message(), timeout=5).outcome is Outcome.DELIVERED
    headers = receiver.requests[0].headers
    assert headers["webhook-id"] == "delivery-1"
    assert "webhook-signature" not in headers


@pytest.mark.parametrize("size", [24, 32, 64])
def test_secrets_of_24_to_64_bytes_are_taken_with_and_without_padding(size: int) -> None:
    encoded = base64.b64encode(bytes(range(size))).decode()
    assert secret_bytes(f"whsec_{encoded}", "secret") == bytes(range(size))
    assert secret_bytes(f" whsec_{encoded.rstrip('=')}\n", "secret") == bytes(range(size))
    assert secret_bytes(encoded, "secret") == bytes(range(size))


@pytest.mark.parametrize(
    "secret",
    ["my plain secret", "whsec_###", "whsec_" + "QUJD", base64.b64encode(b"x" * 23).decode(), "QQ" * 60],
)
@pytest.mark.parametrize("field", ["password", "previous_secret"])
@pytest.mark.parametrize("way", ["send", "check"])
def test_an_unusable_secret_is_refused_before_anything_is_sent(
    target: WebhookTarget, receiver: Receiver, secret: str, field: str, way: str
) -> None:
    bad = (
        connection(receiver, password=secret)
        if field == "password"
        else connection(receiver, extra={"previous_secret": secret})
    )
    result = target.check(bad, timeout=5) if way == "check" else target.send(bad, sample_message(), timeout=5)
    assert (result.outcome, result.code) == (Outcome.REFUSED, "unusable")
    assert "whsec_" in result.reason
    assert field in result.reason
    assert secret not in result.reason
    assert receiver.requests == []


def test_structured_cloudevents_are_the_event_itself(target: WebhookTarget, receiver: Receiver) -> None:
    structured = connection(receiver, extra={"format": "cloudevents-structured"})
    target.send(structured, sample_message(), timeout=5)
    (request,) = receiver.requests
    assert request.verified
    assert request.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    parsed = from_http_event(HTTPMessage(headers=dict(request.headers), body=request.body))
    assert parsed.get_id() == sample_event().id
    assert parsed.get_data() == sample_event().data
    assert parsed.get_extension("workspace") == "default"


def test_binary_cloudevents_are_read_by_the_reference_library(target: WebhookTarget, receiver: Receiver) -> None:
    event = sample_event(
        subject='train "größer" 大 50%/😀 a+b',
        extensions={"flag": True, "count": 3, "text": "x y"},
    )
    binary = connection(receiver, extra={"format": "cloudevents-binary"})
    target.send(binary, sample_message(event=event), timeout=5)
    (request,) = receiver.requests
    assert request.verified
    assert request.headers["content-type"] == "application/json"
    assert all(value.isascii() for value in request.headers.values())
    assert "ce-data" not in request.headers
    assert "ce-datacontenttype" not in request.headers
    parsed = from_http_event(HTTPMessage(headers=dict(request.headers), body=request.body))
    assert parsed.get_subject() == event.subject
    assert parsed.get_type() == event.type
    assert parsed.get_time() == event.time
    assert parsed.get_data() == event.data
    assert parsed.get_extension("text") == "x y"


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ("Euro € 😀", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
        ('a "b" 100%', "a%20%22b%22%20100%25"),
        ("train/fit#1?x=y&z", "train/fit#1?x=y&z"),
        ("!#$&'()*+,-./:;<=>?@[\\]^_`{|}~", "!#$&'()*+,-./:;<=>?@[\\]^_`{|}~"),
    ],
)
def test_header_values_are_encoded_as_the_http_binding_says(value: str, encoded: str) -> None:
    assert write_binary(sample_event(subject=value))[0]["ce-subject"] == encoded


@pytest.mark.parametrize(("value", "encoded"), [(True, "true"), (False, "false"), (3, "3")])
def test_extensions_that_are_no_text_are_written_canonically(value: Any, encoded: str) -> None:
    assert write_binary(sample_event(extensions={"x": value}))[0]["ce-x"] == encoded


@pytest.mark.parametrize(
    ("parts", "body", "sent"),
    [
        ({"json": '{"alarm": "größer"}'}, "not used", '{"alarm": "größer"}'),
        ({}, '[1, "大"]', '[1, "大"]'),
    ],
)
def test_custom_json_is_sent_as_it_is_and_signed(
    target: WebhookTarget, receiver: Receiver, parts: dict[str, str], body: str, sent: str
) -> None:
    custom = connection(receiver, extra={"format": "custom"})
    assert target.send(custom, sample_message(parts=parts, body=body), timeout=5).outcome is Outcome.DELIVERED
    assert receiver.requests[0].body == sent.encode()
    assert receiver.requests[0].verified


@pytest.mark.parametrize("body", ["plain text", '{"open": ', "", "{'a': 1}"])
def test_a_custom_body_that_is_not_json_is_refused_with_the_place(
    target: WebhookTarget, receiver: Receiver, body: str
) -> None:
    custom = connection(receiver, extra={"format": "custom"})
    result = target.send(custom, sample_message(body=body), timeout=5)
    assert result.outcome is Outcome.REFUSED
    assert "not JSON" in result.reason
    assert "line 1" in result.reason
    assert receiver.requests == []


def test_an_unknown_format_is_refused_with_the_known_ones(target: WebhookTarget, receiver: Receiver) -> None:
    result = target.send(connection(receiver, extra={"format": "xml"}), sample_message(), timeout=5)
    assert result.outcome is Outcome.REFUSED
    assert "cloudevents-binary" in result.reason


@pytest.mark.parametrize("as_text", [True, False])
def test_own_headers_are_sent_but_never_replace_the_signature(
    target: WebhookTarget, receiver: Receiver, as_text: bool
) -> None:
    headers = {
        "X-Team": "ml",
        "X-Number": 7,
        "Webhook-Id": "forged",
        "webhook-signature": "v1,forged",
        "WEBHOOK-TIMESTAMP": "1",
        "Host": "forged.example",
        "Content-Length": "1",
        "Transfer-Encoding": "chunked",
        "ce-id": "forged",
    }
    own = connection(
        receiver,
        extra={"headers": json.dumps(headers) if as_text else headers, "bearer_token": "bearer-0123456789"},
    )
    assert target.send(own, sample_message(), timeout=5).outcome is Outcome.DELIVERED
    (request,) = receiver.requests
    assert request.verified
    assert request.headers["x-team"] == "ml"
    assert request.headers["x-number"] == "7"
    assert request.headers["authorization"] == "Bearer bearer-0123456789"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert "ce-id" not in request.headers


@pytest.mark.parametrize(
    "headers",
    [
        "{",
        "[1]",
        {"X": "a\r\nEvil: b"},
        {"X\r\nEvil": "b"},
        {"X": ["a"]},
        {"X": "大"},
        {"": "a"},
        {"X": "a\x00"},
    ],
)
def test_headers_that_cannot_be_sent_are_refused(target: WebhookTarget, receiver: Receiver, headers: Any) -> None:
    result = target.send(connection(receiver, extra={"headers": headers}), sample_message(), timeout=5)
    assert (result.outcome, result.code) == (Outcome.REFUSED, "unusable")
    assert receiver.requests == []


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"host": "127.0.0.1", "schema": "http", "port": "PORT"}, "/"),
        ({"host": "127.0.0.1", "port": "PORT"}, "/"),
        ({"host": "http://127.0.0.1", "port": "PORT"}, "/"),
        ({"host": "http://127.0.0.1:PORT/base"}, "/base"),
        ({"host": "http://127.0.0.1/base?a=b", "port": "PORT"}, "/base"),
    ],
)
def test_an_http_connections_url_is_built_as_by_airflows_hook(
    target: WebhookTarget, receiver: Receiver, fields: dict[str, Any], path: str
) -> None:
    port = str(receiver.port)
    fields = {name: value.replace("PORT", port) for name, value in fields.items()}
    if "port" in fields:
        fields["port"] = int(fields["port"])
    result = target.send(SampleConnection(conn_type="http", **fields), sample_message(), timeout=5)
    assert result.outcome is Outcome.DELIVERED, result
    assert receiver.requests[0].path == path


def test_an_http_connection_has_basic_authentication_and_headers_as_extras(
    target: WebhookTarget, receiver: Receiver
) -> None:
    http = SampleConnection(
        conn_type="http",
        host=receiver.url("/"),
        login="me",
        password="pässword",
        extra={"X-Team": "ml", "timeout": 3, "verify": True, "signing_secret": WEBHOOK_SECRET},
    )
    target.send(http, sample_message(options={"endpoint": "/webhook/7"}), timeout=5)
    (request,) = receiver.requests
    assert request.verified
    assert request.path == "/webhook/7"
    assert base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode() == "me:pässword"
    assert request.headers["x-team"] == "ml"
    assert "timeout" not in request.headers
    assert "verify" not in request.headers


@pytest.mark.parametrize("host", [None, "", "ftp://x", "http://", "http://h:port/", "http://[::1/"])
def test_a_connection_without_a_url_is_refused(target: WebhookTarget, host: str | None) -> None:
    result = target.send(SampleConnection(conn_type="http", host=host), sample_message(), timeout=5)
    assert (result.outcome, result.code) == (Outcome.REFUSED, "unusable")
    assert "host" in result.reason


@pytest.mark.parametrize("endpoint", ["@evil.example/x", "//evil.example/x", "evil.example:80/x"])
def test_an_endpoint_never_changes_the_host(target: WebhookTarget, receiver: Receiver, endpoint: str) -> None:
    http = SampleConnection(conn_type="http", host=receiver.url(""))
    target.send(http, sample_message(options={"endpoint": endpoint}), timeout=5)
    assert receiver.requests[0].headers["host"] == f"127.0.0.1:{receiver.port}"


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(raw=b"HTTP/1.1 202 Accepted\r\nContent-Length: 50\r\n\r\nhalf"),
        Behaviour(status=204, body="", headers={"Content-Length": "9"}),
        Behaviour(status=200, body="x" * 100, drip=0.1),
        Behaviour(raw=b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ],
    ids=["broken off", "no body", "slow", "after an interim answer"],
)
def test_the_status_line_decides(target: WebhookTarget, receiver: Receiver, behaviour: Behaviour) -> None:
    receiver.next(behaviour)
    assert target.send(connection(receiver), sample_message(), timeout=0.5).outcome is Outcome.DELIVERED


@pytest.mark.parametrize("status", [400, 410, 500])
def test_the_status_line_decides_for_refusals_too(target: WebhookTarget, receiver: Receiver, status: int) -> None:
    receiver.next(Behaviour(raw=f"HTTP/1.1 {status} No\r\nContent-Length: 50\r\n\r\nhalf".encode()))
    result = target.send(connection(receiver), sample_message(), timeout=5)
    assert (result.code, result.outcome is Outcome.RETRY) == (f"HTTP {status}", status == 500)


@pytest.mark.parametrize("endpoint", ["../admin/users?role=root", "a/%2e%2e/%2e%2e/admin", "http://evil.example/x"])
def test_an_endpoint_that_leads_out_of_the_path_is_refused(
    target: WebhookTarget, receiver: Receiver, endpoint: str
) -> None:
    http = SampleConnection(conn_type="http", host=receiver.url("/hooks"), login="ada", password="secret-password")
    result = target.send(http, sample_message(options={"endpoint": endpoint}), timeout=5)
    assert (result.outcome, receiver.requests) == (Outcome.REFUSED, [])
    assert "the option 'endpoint' is" in result.reason


def test_throttling_keeps_the_wait_that_was_asked_for(target: WebhookTarget, receiver: Receiver) -> None:
    receiver.next(Behaviour(status=429, headers={"Retry-After": "17"}, body="slow down"))
    result = target.send(connection(receiver), sample_message(), timeout=5)
    assert (result.outcome, result.retry_after, result.reason) == (Outcome.RETRY, 17.0, "slow down")


def test_values_that_are_no_json_are_refused(target: WebhookTarget, receiver: Receiver) -> None:
    message = sample_message(event=sample_event(data={"score": float("nan")}))
    result = target.send(connection(receiver), message, timeout=5)
    assert (result.outcome, result.code) == (Outcome.REFUSED, "unusable")


def test_half_a_surrogate_pair_is_sent_as_a_question_mark(target: WebhookTarget, receiver: Receiver) -> None:
    result = target.send(connection(receiver), sample_message(body="a\ud800b"), timeout=5)
    assert result.outcome is Outcome.DELIVERED
    assert receiver.requests[0].json()["data"]["body"] == "a?b"


@pytest.mark.parametrize("kind", ["standard", "cloudevents-structured", "cloudevents-binary", "custom"])
def test_the_check_sends_a_signed_event(target: WebhookTarget, receiver: Receiver, kind: str) -> None:
    result = target.check(connection(receiver, extra={"format": kind}), timeout=5)
    assert (result.outcome, result.code) == (Outcome.DELIVERED, "HTTP 200")
    (request,) = receiver.requests
    assert request.verified
    assert "ml_event_provider.connection.test" in request.body.decode() + str(request.headers)


def test_the_check_of_a_dead_receiver_says_so(target: WebhookTarget) -> None:
    dead = SampleConnection(conn_type="http", host=f"http://127.0.0.1:{closed_port()}")
    assert target.check(dead, timeout=5).code == "connection refused"


def test_internal_addresses_are_refused_unless_allowed(receiver: Receiver) -> None:
    target = WebhookTarget(Network(allowed_hosts=lambda: ()))
    result = target.send(connection(receiver), sample_message(), timeout=5)
    assert (result.outcome, result.code) == (Outcome.REFUSED, "forbidden address")
    assert "allowed_hosts" in result.reason
    assert receiver.connections == 0
