"""Events are handed over in time, or wait on disk; refusals are told; secrets are not."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from lab.ports import free_port
from ml_event_provider import config
from ml_event_provider.events.model import Event
from ml_event_provider.exceptions import EventRejected, HandOverError, InvalidEvent
from ml_event_provider.hooks import ingest
from ml_event_provider.hooks import ml_events as hook_module
from ml_event_provider.hooks.ml_events import MlEventHook
from tests.conftest import JWT_SECRET
from tests.peers.certificates import Authority
from tests.unit.hooks.ingest_peer import PASSWORD, USER, IngestPeer, answer, hang_up

if TYPE_CHECKING:
    from pathlib import Path

Script = Callable[[BaseHTTPRequestHandler], None]


def event(event_id: str = "e-1", **data: object) -> Event:
    return Event(id=event_id, source="/tests", type="tests.thing", time=datetime(2026, 11, 22, tzinfo=UTC), data=data)


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__SPOOL_DIRECTORY", str(tmp_path / "spool"))
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__HAND_OVER_SECONDS", "5")
    config.forget()
    ingest._client.cache_clear()
    ingest._tokens.clear()
    yield
    ingest._client.cache_clear()
    ingest._tokens.clear()


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[IngestPeer]:
    with IngestPeer(secret=JWT_SECRET) as peer:
        monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"{peer.url}/execution/")
        yield peer


def connect(monkeypatch: pytest.MonkeyPatch, name: str = "ml_events_default", **fields: Any) -> None:
    document = {"conn_type": "mlevents", **fields}
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(document))


def waiting() -> list[str]:
    spool = MlEventHook().spool
    return [one["id"] for path in spool.waiting() for one in json.loads(path.read_text())]


def test_without_a_connection_a_short_lived_service_token_is_minted(peer: IngestPeer) -> None:
    assert MlEventHook().publish([event("e-1", text="训练"), event("e-2")]) == ["e-1", "e-2"]
    (asked,) = peer.asked
    assert (asked.path, asked.content_type) == ("/ml-events/v1/events", "application/cloudevents-batch+json")
    assert asked.body == [event("e-1", text="训练").to_dict(), event("e-2").to_dict()]
    assert waiting() == []


def test_minted_token_is_for_this_audience_and_ends_soon() -> None:
    now = time.time()
    claims = jwt.decode(ingest.mint_token(now), JWT_SECRET, algorithms=["HS512"], audience="ml-events")
    assert claims == {
        "sub": "ml-events-service",
        "aud": "ml-events",
        "iat": int(now),
        "nbf": int(now),
        "exp": int(now) + 60,
    }
    with pytest.raises(jwt.ExpiredSignatureError):
        jwt.decode(ingest.mint_token(now - 61), JWT_SECRET, algorithms=["HS512"], audience="ml-events")
    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(ingest.mint_token(), JWT_SECRET, algorithms=["HS512"], audience="urn:airflow.apache.org:task")


def test_issuer_and_algorithm_are_the_deployments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_ISSUER", "https://airflow.example.com, other")
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_ALGORITHM", "HS256")
    claims = jwt.decode(
        ingest.mint_token(),
        JWT_SECRET,
        algorithms=["HS256"],
        audience="ml-events",
        issuer="https://airflow.example.com",
    )
    assert claims["iss"] == "https://airflow.example.com"


def test_deployment_with_a_private_key_signs_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    key = ed25519.Ed25519PrivateKey.generate()
    path = tmp_path / "key.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "")
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH", str(path))
    assert ingest.can_mint()
    claims = jwt.decode(ingest.mint_token(), key.public_key(), algorithms=["EdDSA"], audience="ml-events")
    assert claims["sub"] == "ml-events-service"
    assert claims["exp"] - claims["iat"] == 60


def test_machine_with_neither_key_nor_connection_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "")
    assert not ingest.can_mint()
    with pytest.raises(HandOverError, match=r"\[ml_events\] conn_id"):
        ingest.mint_token()


def test_user_logs_in_once_and_the_token_is_kept(peer: IngestPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, host=peer.url, login=USER, password=PASSWORD)
    for number in range(3):
        MlEventHook().publish([event(f"e-{number}")])
    assert (peer.ids, peer.logins) == (["e-0", "e-1", "e-2"], 1)


def test_expired_session_logs_in_again(peer: IngestPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, host=peer.url, login=USER, password=PASSWORD)
    MlEventHook().publish([event("e-1")])
    peer.valid.clear()
    MlEventHook().publish([event("e-2")])
    assert (peer.ids, peer.logins) == (["e-1", "e-2"], 2)


def test_password_without_user_is_a_token(peer: IngestPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    peer.valid.add("api-token")
    connect(monkeypatch, "other", host=peer.url.removeprefix("http://"), password="api-token")
    MlEventHook("other").publish([event()])
    assert (peer.ids, peer.logins) == (["e-1"], 0)


@pytest.mark.parametrize(
    ("fields", "base_url", "verify"),
    [
        ({"host": "http://airflow:8080/"}, "http://airflow:8080", True),
        ({"host": "https://airflow.example.com/team-a"}, "https://airflow.example.com/team-a", True),
        ({"host": "airflow", "port": 8080}, "http://airflow:8080", True),
        ({"host": "airflow", "schema": "https", "port": 443}, "https://airflow:443", True),
        ({"host": "https://airflow:8443", "port": 8080}, "https://airflow:8443", True),
        ({"host": "https://airflow", "extra": {"verify": False}}, "https://airflow", False),
        ({"host": "https://airflow", "extra": {"verify": "false"}}, "https://airflow", False),
        ({"host": "https://airflow", "extra": {"verify": True}}, "https://airflow", True),
    ],
)
def test_connection_names_the_address(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], base_url: str, verify: bool
) -> None:
    connect(monkeypatch, **fields)
    endpoint = MlEventHook().get_conn()
    assert (endpoint.base_url, endpoint.verify) == (base_url, verify)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [({}, "has no host"), ({"host": "http://ada:hunter2@airflow:8080"}, "has credentials in its host")],
)
def test_unusable_connection_says_what_to_do_and_the_events_wait(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], problem: str
) -> None:
    connect(monkeypatch, **fields)
    with pytest.raises(HandOverError, match=problem) as raised:
        MlEventHook().publish([event()])
    assert "hunter2" not in str(raised.value)
    assert waiting() == ["e-1"]


def test_missing_connection_of_another_name_keeps_the_events() -> None:
    assert not MlEventHook("no_such_connection").hand_over([event()])
    assert waiting() == ["e-1"]


@pytest.mark.parametrize(
    ("base_url", "execution", "endpoint"),
    [
        ("", "http://api:8080/execution/", "http://api:8080"),
        ("", "http://api:8080/sub/execution", "http://api:8080/sub"),
        ("https://airflow.example.com/a/", "", "https://airflow.example.com/a"),
    ],
)
def test_local_endpoint_comes_from_airflows_configuration(
    monkeypatch: pytest.MonkeyPatch, base_url: str, execution: str, endpoint: str
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", execution)
    assert ingest.local_endpoint() == ingest.Endpoint(endpoint)


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_refused_events_raise_and_do_not_wait(peer: IngestPeer, status: int) -> None:
    peer.script.append(answer(status, {"detail": "event 'e-1' breaks a rule"}))
    with pytest.raises(EventRejected, match=f"answered HTTP {status}: event 'e-1' breaks a rule"):
        MlEventHook().publish([event()])
    assert waiting() == []


def test_event_that_is_no_json_is_told_and_does_not_wait(peer: IngestPeer) -> None:
    bad = event("bad", n=float("nan"))
    with pytest.raises(InvalidEvent, match="bad"):
        MlEventHook().publish([event(), bad])
    assert not MlEventHook().hand_over([bad])
    assert (peer.asked, waiting()) == ([], [])


def drip_body(request: BaseHTTPRequestHandler) -> None:
    content = b'{"ids": ["e-1"]}'
    request.send_response(202)
    request.send_header("content-length", str(len(content)))
    request.end_headers()
    for byte in content:
        request.wfile.write(bytes([byte]))
        request.wfile.flush()
        time.sleep(0.06)


def drip_head(request: BaseHTTPRequestHandler) -> None:
    for byte in b'HTTP/1.1 202 OK\r\ncontent-length: 16\r\n\r\n{"ids": ["e-1"]}':
        request.wfile.write(bytes([byte]))
        request.wfile.flush()
        time.sleep(0.03)


def silent(peer: IngestPeer) -> Script:
    def wait(request: BaseHTTPRequestHandler) -> None:
        peer.released.wait(30)
        hang_up(request)

    return wait


@pytest.mark.parametrize(
    "script",
    [
        answer(500, {"detail": "internal error"}),
        answer(503, {"detail": "the database is busy"}),
        answer(404, b"<html>not mounted</html>"),
        answer(302, {}),
        answer(202, b"not JSON"),
        answer(202, []),
        answer(202, {"ids": None}),
        drip_body,
        drip_head,
        silent,
    ],
    ids=[
        "500",
        "503",
        "404",
        "302",
        "no JSON",
        "no ids",
        "null ids",
        "drip of a body",
        "drip of a head",
        "silence",
    ],
)
def test_what_is_not_taken_in_time_waits(peer: IngestPeer, script: Any, caplog: pytest.LogCaptureFixture) -> None:
    peer.script.append(script(peer) if script is silent else script)
    # A dripping peer needs a second for its answer, so that only a limit of the whole call ends it earlier.
    hook = MlEventHook(seconds=0.4 if script in (drip_body, drip_head, silent) else 5)
    with pytest.raises(HandOverError, match=r"1 event\(s\) could not be handed over in .* wait in"):
        hook.publish([event()])
    assert waiting() == ["e-1"]


def test_hand_over_says_no_and_logs_instead_of_raising(peer: IngestPeer, caplog: pytest.LogCaptureFixture) -> None:
    peer.script.append(answer(500, {"detail": "internal error"}))
    with caplog.at_level(logging.WARNING, hook_module.__name__):
        assert not MlEventHook().hand_over([event()])
    assert "HTTP 500: internal error" in caplog.text
    assert MlEventHook().hand_over([event("e-2")])


@pytest.mark.parametrize("problem", ["refused", "hang up", "no such host"])
def test_unreachable_server_keeps_the_events(peer: IngestPeer, monkeypatch: pytest.MonkeyPatch, problem: str) -> None:
    if problem == "hang up":
        peer.script.extend([hang_up, hang_up])
    else:
        host = f"127.0.0.1:{free_port()}" if problem == "refused" else "no-such-host.invalid"
        monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"http://{host}/execution")
    assert not MlEventHook().hand_over([event()])
    assert waiting() == ["e-1"]


def test_kept_connection_that_was_closed_meanwhile_is_no_loss(peer: IngestPeer) -> None:
    peer.script.append(hang_up)
    assert MlEventHook().hand_over([event()])
    assert peer.ids == ["e-1"]


def test_slow_host_name_is_given_up_in_time(peer: IngestPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    resolve = socket.getaddrinfo

    def slow(*arguments: Any, **more: Any) -> Any:
        peer.released.wait(30)
        return resolve(*arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with pytest.raises(HandOverError, match=r"no answer in 0\.\d s"):
        MlEventHook(seconds=0.3).publish([event()])
    assert waiting() == ["e-1"]


def test_next_hand_over_drains_what_waits(peer: IngestPeer) -> None:
    peer.script.extend([answer(500, {}), answer(500, {})])
    assert not MlEventHook().hand_over([event("e-1"), event("e-2")])
    assert not MlEventHook().hand_over([event("e-3")])
    assert MlEventHook().hand_over([event("e-4")])
    assert peer.ids == ["e-4", "e-1", "e-2", "e-3"]
    assert waiting() == []


def test_draining_that_fails_does_not_undo_the_hand_over(peer: IngestPeer, caplog: pytest.LogCaptureFixture) -> None:
    MlEventHook().spool.put([event("old")])

    def taken(request: BaseHTTPRequestHandler) -> None:
        answer(202, {"ids": ["new"]})(request)

    peer.script.extend([taken, answer(503, {"detail": "busy"})])
    with caplog.at_level(logging.WARNING, hook_module.__name__):
        assert MlEventHook().publish([event("new")]) == ["new"]
    assert waiting() == ["old"]
    assert "Spooled events wait on" in caplog.text


def test_time_spent_leaves_the_spool_for_later(peer: IngestPeer) -> None:
    MlEventHook().spool.put([event("old")])
    assert MlEventHook()._drain(MlEventHook().get_conn(), time.monotonic()) is None
    assert (peer.ids, waiting()) == ([], ["old"])


def test_events_lost_on_a_full_disk_are_told_and_nothing_raises(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__SPOOL_DIRECTORY", str(blocked / "spool"))
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"http://127.0.0.1:{free_port()}/execution")
    config.forget()
    with caplog.at_level(logging.ERROR, hook_module.__name__):
        assert not MlEventHook().hand_over([event()])
    assert "Events are lost" in caplog.text


def test_nothing_to_publish_asks_nobody(peer: IngestPeer) -> None:
    assert MlEventHook().publish([]) == []
    assert peer.asked == []


def test_report_without_target_publishes(peer: IngestPeer) -> None:
    MlEventHook().report(event())
    assert peer.ids == ["e-1"]


def test_report_to_targets_asks_for_direct_deliveries(peer: IngestPeer) -> None:
    MlEventHook().report(event(), targets=["slack", "mail"])
    (asked,) = peer.asked
    assert asked.path == "/ml-events/v1/notifications"
    assert asked.body == {
        "event": event().to_dict(),
        "targets": [{"conn_id": "slack"}, {"conn_id": "mail"}],
        "template": None,
        "severity": "info",
        "name": "direct",
    }


@pytest.mark.parametrize(("status", "left"), [(500, ["e-1"]), (400, [])])
def test_report_that_fails_keeps_the_event_unless_it_was_refused(
    peer: IngestPeer, status: int, left: list[str]
) -> None:
    peer.script.append(answer(status, {"detail": "no"}))
    with pytest.raises(HandOverError, match=f"HTTP {status}"):
        MlEventHook().report(event(), targets=["slack"])
    assert waiting() == left


def test_notify_and_evaluate_return_the_answer(peer: IngestPeer) -> None:
    assert MlEventHook().notify(event(), targets=[{"conn_id": "slack"}]) == ["d-1"]
    assert MlEventHook().evaluate(event()) == [{"rule": "r"}]


def test_test_connection_tells_what_the_server_said(peer: IngestPeer) -> None:
    assert MlEventHook().test_connection() == (True, "The ingest endpoint accepts events.")
    peer.script.append(answer(403, {"detail": "user 'ada' may not publish events"}))
    ok, words = MlEventHook().test_connection()
    assert not ok
    assert "may not publish events" in words


@pytest.mark.parametrize("verify", [True, False])
def test_certificate_is_checked_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verify: bool
) -> None:
    context = Authority(tmp_path).server_context("127.0.0.1")
    with IngestPeer(secret=JWT_SECRET, context=context) as peer:
        peer.valid.add("t")
        connect(monkeypatch, host=peer.url, password="t", extra={"verify": verify})
        assert MlEventHook().hand_over([event()]) is not verify
        assert peer.ids == ([] if verify else ["e-1"])
    assert waiting() == (["e-1"] if verify else [])


@pytest.mark.parametrize("script", ["wrong password", "500", "refused", "log-in down"])
def test_secrets_are_in_no_error_log_or_repr(
    peer: IngestPeer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, script: str
) -> None:
    secret = PASSWORD if script == "500" else "hunter2-secret"
    host = f"http://127.0.0.1:{free_port()}" if script == "refused" else peer.url
    peer.script.extend([answer(500, {"detail": "internal"})] * 2)
    login = "" if script == "log-in down" else USER
    connect(monkeypatch, host=host, login=login, password=secret)
    hook = MlEventHook()
    with caplog.at_level(logging.DEBUG):
        with pytest.raises(HandOverError) as raised:
            hook.publish([event()])
        hook.hand_over([event()])
    shown = f"{raised.value!r} {raised.value} {raised.value.__cause__!r} {hook.get_conn()!r} {hook!r}"
    for text in (secret, "session-1", JWT_SECRET):
        assert text not in shown
        assert text not in caplog.text
    spooled = "".join(path.read_text() for path in hook.spool.waiting())
    assert secret not in spooled


def test_a_key_that_the_api_server_does_not_know_falls_back_to_the_connection(
    peer: IngestPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow writes a random ``jwt_secret`` wherever it finds none, so a worker's may be its own."""
    from types import SimpleNamespace

    from ml_event_provider.hooks import ml_events

    monkeypatch.setattr(ml_events, "_foreign_key", False)
    monkeypatch.setattr("ml_event_provider.hooks.ingest.mint_token", lambda: "minted-with-another-key")
    connection = SimpleNamespace(
        host=peer.url, schema=None, port=None, login="", password="t", extra_dejson={}, conn_type="mlevents"
    )
    monkeypatch.setattr(MlEventHook, "get_connection", lambda self, name: connection)
    peer.valid.add("t")
    assert MlEventHook().publish([event()]) == [event().id]
    assert not ml_events.MlEventHook()._mints()
