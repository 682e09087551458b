from __future__ import annotations

import base64
import logging
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from urllib3.exceptions import InsecureRequestWarning

from ml_event_provider.targets import Outcome, Result
from ml_event_provider.targets.deadline import nothing_after
from ml_event_provider.targets.network import MAX_ANSWER_BYTES, Answer, Network, origin, short
from tests.peers.certificates import Authority
from tests.peers.receiver import Behaviour, Receiver, closed_port

if TYPE_CHECKING:
    from pathlib import Path

SECRET_PATH = "/services/T0/B0/s3cr3t-path?token=s3cr3t-query"


def posted(network: Network, url: str, timeout: float = 5.0, **options: Any) -> Result:
    """The result of a post that must get no answer."""
    result = network.post(url, b"{}", {"Content-Type": "application/json"}, timeout=timeout, **options)
    assert isinstance(result, Result), result
    return result


def answered(network: Network, url: str, timeout: float = 5.0, **options: Any) -> Answer:
    answer = network.post(url, b"{}", {"Content-Type": "application/json"}, timeout=timeout, **options)
    assert isinstance(answer, Answer), answer
    return answer


def test_status_headers_and_body_are_answered(network: Network, receiver: Receiver) -> None:
    receiver.next(Behaviour(status=202, body='{"a": "ö"}', headers={"X-Thing": "1"}))
    answer = answered(network, receiver.url("/any"))
    assert (answer.status, answer.headers["x-thing"], answer.json()) == (202, "1", {"a": "ö"})
    assert receiver.requests[0].body == b"{}"
    assert receiver.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (Behaviour(reset=True), "reset"),
        (Behaviour(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf"), "reset"),
        (Behaviour(raw=b"garbage\r\n\r\n"), "protocol"),
        (Behaviour(raw=b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n"), "protocol"),
        (Behaviour(delay=30), "timeout"),
        (Behaviour(body="x" * 100, drip=0.1), "timeout"),
        (Behaviour(head_drip=0.1), "timeout"),
    ],
    ids=["reset", "half a body", "garbage", "endless head", "no answer", "dripping body", "dripping head"],
)
def test_what_the_network_does_is_worth_another_try(
    network: Network, receiver: Receiver, behaviour: Behaviour, code: str
) -> None:
    receiver.next(behaviour)
    result = posted(network, receiver.url(SECRET_PATH), timeout=0.4)
    assert (result.outcome, result.code) == (Outcome.RETRY, code)
    assert "s3cr3t" not in result.reason
    assert receiver.url().rstrip("/") in result.reason


INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"


@pytest.mark.parametrize(
    "interim",
    [
        INTERIM,
        b"HTTP/1.1 102 Processing\r\n\r\n" * 5,
        b"HTTP/1.1 100 Continue\r\n\r\n" + INTERIM + b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 199 X\r\nContent-Length: 5\r\n\r\n",
    ],
    ids=["103", "102", "100 and 103", "199"],
)
def test_the_answer_is_the_final_one(network: Network, receiver: Receiver, interim: bytes) -> None:
    final = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nbusy"
    receiver.next(Behaviour(raw=interim + final))
    answer = answered(network, receiver.url())
    assert (answer.status, answer.headers["retry-after"], answer.body) == (503, "7", b"busy")
    assert "link" not in answer.headers
    assert answered(network, receiver.url()).status == 200


@pytest.mark.parametrize("interim", [INTERIM * 100, INTERIM])
def test_interim_answers_alone_are_no_answer(network: Network, receiver: Receiver, interim: bytes) -> None:
    receiver.next(Behaviour(raw=interim))
    assert posted(network, receiver.url(), timeout=1).outcome is Outcome.RETRY
    assert answered(network, receiver.url()).status == 200


def test_a_protocol_that_nobody_asked_for_is_an_answer(network: Network, receiver: Receiver) -> None:
    receiver.next(Behaviour(raw=b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"))
    assert answered(network, receiver.url()).status == 101


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(raw=b"HTTP/1.1 202 OK\r\nContent-Length: 50\r\n\r\nhalf"),
        Behaviour(raw=b"HTTP/1.1 202 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf"),
        Behaviour(raw=b"HTTP/1.1 202 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot hexadecimal\r\n"),
        Behaviour(status=202, body="x" * 100, drip=0.1),
    ],
    ids=["broken off", "broken chunk", "no chunk", "slow"],
)
def test_where_the_status_says_all_the_rest_may_fail(
    network: Network, receiver: Receiver, behaviour: Behaviour
) -> None:
    receiver.next(behaviour, behaviour)
    assert posted(network, receiver.url(), timeout=0.4).outcome is Outcome.RETRY
    assert answered(network, receiver.url(), timeout=0.4, status_decides=True).status == 202
    # What is left of it is not taken for the next answer.
    assert answered(network, receiver.url()).status == 200


def test_a_connection_that_the_server_closed_meanwhile_is_opened_anew(network: Network, receiver: Receiver) -> None:
    assert answered(network, receiver.url()).status == 200
    receiver.stop()
    receiver.start()
    assert answered(network, receiver.url()).status == 200


def test_nothing_of_a_request_is_logged(network: Network, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        answered(network, receiver.url(SECRET_PATH))
        posted(network, f"http://127.0.0.1:{closed_port()}{SECRET_PATH}")
    assert "s3cr3t" not in caplog.text
    assert not [record for record in caplog.records if record.name.startswith(("urllib3", "http"))]


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("", "/"),
        ("/a b?c=d e&f=%20", "/a%20b?c=d%20e&f=%20"),
        ("/größe", "/gr%C3%B6%C3%9Fe"),
        ('/a"<>#fragment', "/a%22%3C%3E"),
        ("?q=1", "/?q=1"),
    ],
)
def test_a_urls_path_is_encoded_as_it_travels(network: Network, receiver: Receiver, path: str, seen: str) -> None:
    answered(network, receiver.url("").rstrip("/") + path)
    assert receiver.raw_paths == [seen]


def test_a_urls_credentials_are_basic_authentication(network: Network, receiver: Receiver) -> None:
    answered(network, receiver.url("/x", host="user%40x:p%C3%A4ss@127.0.0.1"))
    expected = base64.b64encode("user@x:päss".encode()).decode()
    assert receiver.requests[0].headers["authorization"] == f"Basic {expected}"
    assert receiver.requests[0].headers["host"] == f"127.0.0.1:{receiver.port}"


def test_a_closed_port_is_a_refused_connection(network: Network) -> None:
    result = posted(network, f"http://127.0.0.1:{closed_port()}{SECRET_PATH}")
    assert (result.outcome, result.code) == (Outcome.RETRY, "connection refused")
    assert "s3cr3t" not in result.reason


def test_an_unknown_name_is_a_dns_failure() -> None:
    def unknown(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    result = posted(Network(allowed_hosts=lambda: (), resolver=unknown), "http://nowhere.example/x")
    assert (result.outcome, result.code) == (Outcome.RETRY, "DNS")


def test_what_was_frozen_past_its_lease_before_it_began_to_send_sends_nothing(
    network: Network, receiver: Receiver
) -> None:
    answered(network, receiver.url("/any"))
    with nothing_after(time.monotonic() - 0.01):
        assert posted(network, receiver.url("/any")).code == "timeout"
        assert posted(network, receiver.url("/any")).code == "timeout"
    assert len(receiver.requests) == 1
    answered(network, receiver.url("/any"))


def test_a_connection_survives_after_a_timeout(network: Network, receiver: Receiver) -> None:
    receiver.next(Behaviour(delay=30))
    assert posted(network, receiver.url(), timeout=0.2).code == "timeout"
    assert answered(network, receiver.url()).status == 200


def test_a_little_time_left_for_one_answer_does_not_shorten_the_next(network: Network, receiver: Receiver) -> None:
    receiver.next(Behaviour(delay=0.25), Behaviour(delay=0.25))
    assert answered(network, receiver.url(), timeout=0.45).status == 200
    assert answered(network, receiver.url(), timeout=0.45).status == 200
    assert receiver.connections == 1


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/x",
        "file:///etc/passwd",
        "http://",
        "127.0.0.1/x",
        "http://[::1",
        "http://a:port/",
        "",
    ],
)
def test_urls_that_are_not_http_are_refused(network: Network, url: str) -> None:
    result = posted(network, url)
    assert (result.outcome, result.code) == (Outcome.REFUSED, "URL")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(network: Network, receiver: Receiver, status: int) -> None:
    receiver.next(Behaviour(status=status, headers={"Location": receiver.url("/elsewhere")}))
    assert answered(network, receiver.url("/here")).status == status
    assert [request.path for request in receiver.requests] == ["/here"]


def test_proxies_of_the_environment_are_ignored(
    network: Network, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    assert answered(network, receiver.url()).status == 200


def test_netrc_is_ignored(
    network: Network, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    answered(network, receiver.url())
    assert "authorization" not in receiver.requests[0].headers


def test_cookies_are_not_kept(network: Network, receiver: Receiver) -> None:
    receiver.next(Behaviour(headers={"Set-Cookie": "a=b; Path=/"}))
    answered(network, receiver.url())
    answered(network, receiver.url())
    assert "cookie" not in receiver.requests[1].headers


def test_at_most_64_kib_of_an_answer_are_read(network: Network, receiver: Receiver) -> None:
    receiver.next(Behaviour(body="x" * 1_000_000))
    assert len(answered(network, receiver.url()).body) == MAX_ANSWER_BYTES
    assert answered(network, receiver.url()).status == 200


def test_packed_answers_are_not_unpacked(network: Network, receiver: Receiver) -> None:
    receiver.next(Behaviour(body="not gzip at all", headers={"Content-Encoding": "gzip"}))
    assert answered(network, receiver.url()).body == b"not gzip at all"


def test_a_thread_keeps_its_connection(network: Network, receiver: Receiver) -> None:
    for _ in range(5):
        answered(network, receiver.url())
    assert receiver.connections == 1


def test_each_thread_has_its_own_connection(network: Network, receiver: Receiver) -> None:
    together = threading.Barrier(3)

    def work(_: int) -> int:
        together.wait(5)
        return [answered(network, receiver.url()).status for _ in range(5)][-1]

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(work, range(3))) == [200] * 3
    assert receiver.connections == 3


def test_a_forked_child_does_not_use_its_parents_connection(network: Network, receiver: Receiver) -> None:
    answered(network, receiver.url())
    child = os.fork()
    if child == 0:
        os._exit(0 if isinstance(network.post(receiver.url("/child"), b"", {}, timeout=5), Answer) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert answered(network, receiver.url()).status == 200
    assert receiver.connections == 2


def test_tls_checks_the_name_in_the_url_at_the_checked_address(tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))]

    network = Network(allowed_hosts=lambda: ("127.0.0.1",), resolver=resolve)
    with Receiver(tls=authority.server_context("hooks.example")) as receiver:
        url = receiver.url("/x", host="hooks.example")
        assert answered(network, url, verify=str(authority.path)).status == 200
        assert answered(network, url, verify=str(authority.path)).status == 200
        assert receiver.connections == 1
        wrong_name = posted(network, receiver.url("/x", host="other.example"), verify=str(authority.path))
        unknown_authority = posted(network, url)
        with pytest.warns(InsecureRequestWarning):
            assert answered(network, url, verify=False).status == 200
    for result in (wrong_name, unknown_authority):
        assert (result.outcome, result.code) == (Outcome.RETRY, "TLS")
    assert "other.example" in wrong_name.reason
    assert "unable to get local issuer certificate" in unknown_authority.reason


@pytest.mark.parametrize(
    ("host", "asked", "told"),
    [
        ("straße.example", "xn--strae-oqa.example", "xn--strae-oqa.example"),
        ("Hooks.Example", "hooks.example", "hooks.example"),
        # The dot tells the resolver that no search domain is meant; certificates and servers do not know it.
        ("straße.example.", "xn--strae-oqa.example.", "xn--strae-oqa.example"),
    ],
)
def test_the_host_is_the_one_that_was_written_for_resolver_certificate_and_server(
    tmp_path: Path, host: str, asked: str, told: str
) -> None:
    authority = Authority(tmp_path)
    names: list[str] = []

    def resolve(name: str, port: int, **_: Any) -> list[Any]:
        names.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))]

    network = Network(allowed_hosts=lambda: (host,), resolver=resolve)
    with Receiver(tls=authority.server_context(told)) as receiver:
        assert answered(network, receiver.url("/x", host=host), verify=str(authority.path)).status == 200
        assert receiver.requests[0].headers["host"] == f"{told}:{receiver.port}"
    assert names == [asked]


def test_the_environments_authorities_are_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: Network
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.path))
    with Receiver(tls=authority.server_context("127.0.0.1")) as receiver:
        assert answered(network, receiver.url()).status == 200


def test_tls_against_a_plain_port_is_a_tls_failure(network: Network, receiver: Receiver) -> None:
    result = posted(network, receiver.url().replace("http:", "https:"))
    assert (result.outcome, result.code) == (Outcome.RETRY, "TLS")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pass@h.example:8443/a/b?c=d#e", "https://h.example:8443"),
        ("http://h.example/secret", "http://h.example"),
        ("http://h:x/secret", "the URL"),
    ],
)
def test_only_the_origin_of_a_url_is_shown(url: str, shown: str) -> None:
    assert origin(url) == shown


def test_foreign_text_becomes_one_short_printable_line() -> None:
    assert short("a\r\n b\x00\x1b[31m\u202e") == "a b[31m"
    assert len(short("x" * 5000)) == 500
