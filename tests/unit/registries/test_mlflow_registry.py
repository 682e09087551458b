from __future__ import annotations

import gzip
import json
from base64 import b64encode
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from ml_event_provider.exceptions import RegistryError
from ml_event_provider.extensions import registry_named
from ml_event_provider.hooks.mlflow import MLflowHook
from ml_event_provider.registries import RegistryRefused
from ml_event_provider.registries.mlflow import MlflowRegistry
from ml_event_provider.registries.mlflow_rest import MAX_ANSWER_BYTES, base_url, call
from tests.peers.mlflow_relay import BUSY

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.peers.mlflow_relay import Relay
    from tests.peers.mlflow_server import MlflowServer

REGISTRY = MlflowRegistry()
JSON = {"Content-Type": "application/json"}
PASSWORD = "s3cret-pa55"


def connection(host: str | None, **more: Any) -> Any:
    empty = {"schema": None, "login": None, "password": None, "port": None}
    return SimpleNamespace(conn_id="mlflow_default", conn_type="mleventsmlflow", host=host, **{**empty, **more})


@pytest.fixture
def hook(mlflow_server: MlflowServer, connect: Callable[..., str]) -> MLflowHook:
    return MLflowHook(connect(mlflow_server.url))


def read(host: str, model: str, version: str, **more: Any) -> Any:
    return REGISTRY.get_version(connection(host, **more), model, version, timeout=20)


def test_is_found_by_its_name() -> None:
    assert registry_named("mlflow").name == "mlflow"


def test_reads_tags_aliases_run_and_link_of_a_version(
    hook: MLflowHook, mlflow_server: MlflowServer, model: str
) -> None:
    run = hook.create_run("training", run_name="first")
    hook.register_model_version(model, "s3://bucket/m", run_id=run, tags={"size": "é'\""}, description="the first")
    hook.set_alias(model, "Champion", "1")
    found = read(mlflow_server.url, model, "1")
    assert found.model == model
    assert found.version == "1"
    assert found.tags == {"size": "é'\""}
    assert found.aliases == ("Champion",)
    assert found.run_id == run
    assert found.description == "the first"
    assert found.link == f"{mlflow_server.url}/#/models/{quote(model, safe='')}/versions/1"


def test_latest_is_the_highest_number_and_has_its_aliases(
    hook: MLflowHook, mlflow_server: MlflowServer, model: str
) -> None:
    for _ in range(11):
        hook.register_model_version(model, "s3://bucket/m")
    hook.set_alias(model, "newest", "11")
    found = read(mlflow_server.url, model, "latest")
    assert (found.version, found.aliases) == ("11", ("newest",))


@pytest.mark.parametrize("quoted", ["it's {}", 'the "{}"'])
def test_latest_finds_names_with_quotes(hook: MLflowHook, mlflow_server: MlflowServer, model: str, quoted: str) -> None:
    name = quoted.format(model)
    hook.register_model_version(name, "s3://bucket/m")
    assert read(mlflow_server.url, name, "latest").version == "1"


def test_an_alias_names_its_version(hook: MLflowHook, mlflow_server: MlflowServer, model: str) -> None:
    for _ in range(3):
        hook.register_model_version(model, "s3://bucket/m")
    hook.set_alias(model, "champion", "2")
    assert read(mlflow_server.url, model, "@champion").version == "2"


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("7", "RESOURCE_DOES_NOT_EXIST: Model Version"),
        ("seven", "INVALID_PARAMETER_VALUE: Parameter 'version' must be an integer"),
        ("@nobody", "alias nobody not found"),
    ],
)
def test_an_unknown_version_is_refused_in_mlflows_words(
    hook: MLflowHook, mlflow_server: MlflowServer, model: str, version: str, words: str
) -> None:
    hook.register_model_version(model, "s3://bucket/m")
    with pytest.raises(RegistryRefused) as caught:
        read(mlflow_server.url, model, version)
    assert words in str(caught.value)
    assert f"{mlflow_server.url}/api/2.0/mlflow/" in str(caught.value)
    assert "HTTP 4" in str(caught.value)


def test_latest_of_an_unknown_model_is_refused_in_mlflows_words(mlflow_server: MlflowServer, model: str) -> None:
    with pytest.raises(RegistryRefused, match=r"RESOURCE_DOES_NOT_EXIST: Registered Model .* not found"):
        read(mlflow_server.url, model, "latest")


def test_latest_of_a_model_without_versions_is_refused(mlflow_server: MlflowServer, model: str) -> None:
    call(connection(mlflow_server.url), "registered-models/create", body={"name": model}, timeout=20)
    with pytest.raises(RegistryRefused, match="has no version yet"):
        read(mlflow_server.url, model, "latest")


def test_latest_of_a_name_with_both_quotes_is_refused() -> None:
    with pytest.raises(RegistryRefused, match="both kinds of quotes"):
        read("http://127.0.0.1:1", "a'b\"c", "latest")


@pytest.mark.parametrize(
    ("login", "password", "header"),
    [
        (None, None, None),
        (None, PASSWORD, f"Bearer {PASSWORD}"),
        ("ana", PASSWORD, "Basic YW5hOnMzY3JldC1wYTU1"),
        ("ana", "ключ", "Basic YW5hOtC60LvRjtGH"),
    ],
)
def test_credentials_are_sent_as_basic_or_bearer(
    relay: Relay, login: str | None, password: str | None, header: str | None
) -> None:
    relay.script.append((200, JSON, b'{"model_version": {"name": "m", "version": "1"}}'))
    read(relay.url, "m", "1", login=login, password=password)
    assert relay.seen[0][2].get("Authorization") == header


def test_credentials_of_netrc_are_not_sent(relay: Relay, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("NETRC", str(netrc))
    relay.script.extend([(200, JSON, b'{"model_version": {"name": "m", "version": "1"}}')] * 2)
    read(relay.url, "m", "1")
    read(relay.url, "m", "1", password="token")
    assert [seen[2].get("Authorization") for seen in relay.seen] == [None, "Bearer token"]


@pytest.mark.parametrize(
    ("status", "headers", "body", "words"),
    [
        (401, {}, b"You are not authenticated.", r"HTTP 401: You are not authenticated.*login and password"),
        (
            403,
            JSON,
            b'{"error_code": "PERMISSION_DENIED", "message": "Permission denied."}',
            "PERMISSION_DENIED",
        ),
        (403, {}, b"Invalid Host header - possible DNS rebinding attack detected", "Invalid Host header"),
        (302, {"Location": "https://sso.test/login?token=abc"}, b"", r"redirect to 'https://sso.test/login'"),
    ],
)
def test_a_refusal_is_final_and_keeps_the_servers_words(
    relay: Relay, status: int, headers: dict[str, str], body: bytes, words: str
) -> None:
    relay.script.append((status, headers, body))
    with pytest.raises(RegistryRefused, match=words):
        read(relay.url, "m", "1")


@pytest.mark.parametrize(
    ("status", "headers", "body", "words"),
    [
        (*BUSY, "HTTP 503 TEMPORARILY_UNAVAILABLE: busy"),
        (429, JSON, b'{"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "slow down"}', "slow down"),
        (500, JSON, b'{"error_code": "INTERNAL_ERROR", "message": "oops"}', "INTERNAL_ERROR: oops"),
        (
            200,
            {},
            b"<!doctype html><title>Sign\n in</title>",
            r"HTML page titled 'Sign in'.*not MLflow's JSON",
        ),
        (404, {}, b"<html><body>no route</body></html>", r"HTTP 404: an HTML page .*not MLflow's JSON"),
        (502, {}, b"", "HTTP 502: no text"),
        (200, JSON, b"[1, 2]", "not MLflow's JSON"),
        (200, JSON, b"{}", "without a model version"),
        (200, JSON, b'{"model_version": {"name": "m"}}', "without a model version"),
        (
            200,
            JSON,
            b'{"model_version": {"name": "m", "version": "1", "tags": [7]}}',
            "without a model version",
        ),
    ],
)
def test_what_may_pass_is_no_refusal(
    relay: Relay, status: int, headers: dict[str, str], body: bytes, words: str
) -> None:
    relay.script.append((status, headers, body))
    with pytest.raises(RegistryError, match=words) as caught:
        read(relay.url, "m", "1")
    assert not isinstance(caught.value, RegistryRefused)


def test_a_server_that_is_away_is_named_with_the_reason(relay: Relay) -> None:
    with pytest.raises(RegistryError, match=r"127\.0\.0\.1:1/api/.* cannot be reached: .*Connection refused") as caught:
        read("http://127.0.0.1:1", "m", "1", login="ana", password=PASSWORD)
    assert "0x" not in str(caught.value)


def test_a_silent_server_times_out(relay: Relay) -> None:
    import threading

    release = threading.Event()
    relay.before = lambda number: release.wait(20)
    relay.script.append((200, JSON, b"{}"))
    try:
        with pytest.raises(RegistryError, match=r"did not answer within 0\.2 s"):
            REGISTRY.get_version(connection(relay.url), "m", "1", timeout=0.2)
    finally:
        release.set()


@pytest.mark.parametrize("said", [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{"])
def test_a_server_that_drips_is_one_that_does_not_answer(said: bytes) -> None:
    import socket
    import threading

    over = threading.Event()

    def drip(listener: socket.socket) -> None:
        talk, _ = listener.accept()
        with talk:
            talk.sendall(said)
            while not over.wait(0.05):
                talk.sendall(b" ")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=drip, args=(listener,), daemon=True)
        server.start()
        try:
            with pytest.raises(RegistryError, match=r"did not answer within 0\.5 s"):
                REGISTRY.get_version(connection(f"http://127.0.0.1:{listener.getsockname()[1]}"), "m", "1", timeout=0.5)
        finally:
            over.set()
            server.join(10)


@pytest.mark.parametrize("packed", [True, False])
def test_an_answer_that_is_too_long_is_not_read_to_its_end(relay: Relay, packed: bool) -> None:
    content = b"0" * (MAX_ANSWER_BYTES + 1)
    headers = {"Content-Encoding": "gzip"} if packed else {}
    relay.script.append((200, JSON | headers, gzip.compress(content, 1) if packed else content))
    with pytest.raises(RegistryError, match="answers more than 16777216 bytes"):
        read(relay.url, "m", "1")


def test_an_answer_whose_packing_is_broken_is_said_to_be_so(relay: Relay) -> None:
    relay.script.append((200, JSON | {"Content-Encoding": "gzip"}, b"{}"))
    with pytest.raises(RegistryError, match=r"cannot be reached: .*gzip"):
        read(relay.url, "m", "1")


def test_an_answer_that_is_too_deep_is_none_of_mlflows(relay: Relay) -> None:
    relay.script.append((200, JSON, b"[" * 100_000))
    with pytest.raises(RegistryError, match="not MLflow's JSON"):
        read(relay.url, "m", "1")


@pytest.mark.parametrize(
    "answer",
    [
        (401, {}, f"Bearer {PASSWORD} is not known".encode()),
        (400, JSON, f'{{"error_code": "BAD_REQUEST", "message": "who is {PASSWORD}?"}}'.encode()),
        (302, {"Location": f"https://sso.test/{PASSWORD}"}, b""),
        (500, {}, f"<title>{PASSWORD}</title>".encode()),
    ],
)
def test_no_error_repeats_the_password(relay: Relay, answer: tuple[int, dict[str, str], bytes]) -> None:
    relay.script.append(answer)
    with pytest.raises(RegistryError) as caught:
        read(relay.url, "m", "1", password=PASSWORD)
    assert PASSWORD not in str(caught.value)
    assert "***" in str(caught.value)


@pytest.mark.parametrize("form", ["raw", "url", "json", "basic"])
def test_no_error_repeats_the_password_as_it_travels(relay: Relay, form: str) -> None:
    password = 'p4ss "w/rd'
    forms = {
        "raw": password,
        "url": quote(password, safe=""),
        "json": json.dumps(password)[1:-1],
        "basic": b64encode(f"ana:{password}".encode()).decode(),
    }
    relay.script.append((500, {}, f"you sent {forms[form]}".encode()))
    with pytest.raises(RegistryError, match=r"you sent \*\*\*"):
        read(relay.url, "m", "1", login="ana", password=password)


@pytest.mark.parametrize(
    ("host", "more", "url"),
    [
        ("http://mlflow.internal:5000/", {}, "http://mlflow.internal:5000"),
        ("https://mlflow.internal/base/", {}, "https://mlflow.internal/base"),
        ("mlflow.internal", {"port": 5000}, "http://mlflow.internal:5000"),
        ("mlflow.internal", {"port": 443, "schema": "https"}, "https://mlflow.internal:443"),
        ("https://mlflow.internal", {"port": 8443}, "https://mlflow.internal:8443"),
        ("http://[::1]:5000", {}, "http://[::1]:5000"),
    ],
)
def test_the_address_is_read_as_of_http_connections(host: str, more: dict[str, Any], url: str) -> None:
    assert base_url(connection(host, **more)) == url


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (None, "has no host"),
        (" ", "has no host"),
        (f"http://ana:{PASSWORD}@mlflow.internal", "holds credentials"),
        ("ftp://mlflow.internal", "no http or https URL"),
        ("http://mlflow.internal:port", "is no URL"),
        ("http://", "no http or https URL"),
    ],
)
def test_a_useless_address_is_refused(host: str | None, words: str) -> None:
    with pytest.raises(RegistryRefused, match=words) as caught:
        base_url(connection(host))
    assert "'mlflow_default'" in str(caught.value)
    assert PASSWORD not in str(caught.value)
