"""No result of any target holds a secret of its connection, whatever the remote says."""

from __future__ import annotations

import base64
import json
import string
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_event_provider.targets import Outcome, Result
from ml_event_provider.targets.dingtalk import DingTalkTarget
from ml_event_provider.targets.network import Network
from ml_event_provider.targets.pace import Pace
from ml_event_provider.targets.secrets import MASK, SHOWN, Mask
from tests.peers.receiver import Behaviour, Receiver, closed_port
from tests.peers.samples import SampleConnection, sample_message
from tests.peers.secret_connections import MAIL_PASSWORD, SECRETS, TOKEN, connections, spellings
from tests.peers.smtp import MailServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ml_event_provider.targets import Target

BEHAVIOURS = {
    "reset": {"reset": True},
    "garbage": {"raw": b"garbage\r\n\r\n"},
    "slow": {"delay": 30.0},
    "redirect": {"status": 302},
    **{str(status): {"status": status} for status in (200, 400, 401, 403, 404, 410, 429, 500, 503)},
}


def told_secrets(name: str, result: Result) -> list[str]:
    """Secrets, whole or their beginnings, in anything that the result says."""
    return [form for secret in SECRETS[name] for form in spellings(secret) if form[:12] in repr(result)]


NAMES = list(connections(0))
HTTP_NAMES = [name for name in NAMES if name != "email"]


@pytest.fixture(scope="module")
def echo() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def target_and_connection(name: str, port: int) -> tuple[Target, SampleConnection]:
    kind, connection = connections(port)[name]
    network = Network(allowed_hosts=lambda: ("127.0.0.1",))
    more = {"pace": Pace(20, 60.0)} if kind is DingTalkTarget else {}
    return kind(network, **more), connection


@pytest.mark.parametrize("behaviour", BEHAVIOURS.values(), ids=BEHAVIOURS.keys())
@pytest.mark.parametrize("name", HTTP_NAMES)
def test_a_remote_that_repeats_everything_gives_no_secret_away(
    echo: Receiver, name: str, behaviour: dict[str, Any]
) -> None:
    everything = " ".join(form for secret in SECRETS[name] for form in spellings(secret))
    bodies = [
        everything,
        everything[:700],
        json.dumps({"errcode": 310000, "errmsg": everything}),
        json.dumps({"errcode": 0, "errmsg": everything}),
        json.dumps({"ok": False, "error": everything, "response_metadata": {"messages": [everything]}}),
        json.dumps({"status": 1111, "wait": everything}),
        *("x" * (490 + shift) + everything for shift in range(0, 12, 3)),
    ]
    for body in bodies:
        location = f"http://{TOKEN}:{TOKEN}@127.0.0.1/{TOKEN}"
        echo.clear()
        echo.next(Behaviour(**behaviour, body=body, headers={"Location": location, "Retry-After": TOKEN}))
        target, connection = target_and_connection(name, echo.port)
        result = target.send(connection, sample_message(), timeout=0.1 if "delay" in behaviour else 5)
        assert told_secrets(name, result) == [], result
        if "delay" in behaviour:
            break


@pytest.mark.parametrize("way", ["send", "check"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("allowed", [("127.0.0.1",), ()])
def test_a_dead_or_forbidden_remote_gives_no_secret_away(name: str, way: str, allowed: tuple[str, ...]) -> None:
    kind, connection = connections(closed_port())[name]
    network = Network(allowed_hosts=lambda: allowed)
    target: Target = kind(network)
    if way == "send":
        result = target.send(connection, sample_message(), timeout=5)
    else:
        result = target.check(connection, timeout=5)
    assert result.outcome is not Outcome.DELIVERED
    assert told_secrets(name, result) == [], result


@pytest.mark.parametrize(
    "change",
    [
        {"host": "ftp://x/" + TOKEN},
        {"host": "http://[" + TOKEN},
        {"host": "http://h:" + TOKEN + "/"},
        {"password": TOKEN + "\r\nX: y"},
        {"extra": {"headers": '{"X-Secret": "' + TOKEN + "\n"}},
        {"extra": {"headers": {"X-Secret": TOKEN + "\r\nEvil: 1"}}},
        {"extra": {"format": "custom"}},
    ],
)
@pytest.mark.parametrize("name", HTTP_NAMES)
def test_an_unusable_connection_gives_no_secret_away(name: str, change: dict[str, Any]) -> None:
    target, connection = target_and_connection(name, closed_port())
    for field, value in change.items():
        setattr(connection, field, value)
    result = target.send(connection, sample_message(body="{not json"), timeout=5)
    assert result.outcome is not Outcome.DELIVERED
    assert told_secrets(name, result) == [], result


def test_a_mail_server_that_repeats_the_password_gives_no_secret_away() -> None:
    with MailServer(refuse={"ann@x.example": f"550 {MAIL_PASSWORD} {TOKEN}"}) as server:
        target, connection = target_and_connection("email", server.port)
        connection.login = None
        connection.extra["from_email"] = "ml@x.example"
        result = target.send(connection, sample_message(), timeout=5)
    assert result.outcome is Outcome.REFUSED
    assert result.recipients == {"ann@x.example": f"550 {MASK} {MASK}"}
    assert told_secrets("email", result) == []


SECRET_TEXT = st.text(alphabet=string.ascii_letters + string.digits + '+/=-_%&" ü', min_size=5, max_size=60)


@settings(max_examples=200, deadline=None)
@given(SECRET_TEXT, SECRET_TEXT, st.text(max_size=30), st.text(max_size=30))
def test_every_spelling_of_any_secret_is_masked(password: str, token: str, before: str, after: str) -> None:
    mask = Mask(SampleConnection(conn_type="http", login="me", password=password, extra={"api_token": token}))
    for secret in (password, token):
        for form in spellings(secret):
            assert form not in mask(f"{before}{form}{after}").replace(before, "", 1) or form in MASK + after
    pair = base64.b64encode(f"me:{password}".encode()).decode()
    assert pair not in mask(f"Basic {pair}")


@settings(max_examples=100, deadline=None)
@given(st.integers(min_value=5, max_value=24))
def test_a_secret_that_was_cut_in_the_middle_is_masked(length: int) -> None:
    secret = "abcdefghijklmnopqrstuvwxyz"
    mask = Mask(SampleConnection(conn_type="http", password=secret))
    assert mask("x" * 500 + " " + secret[:length]) == "x" * 500 + " " + MASK


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_the_fields_that_errors_must_name_are_shown(name: str) -> None:
    mask = Mask(SampleConnection(conn_type="http", extra={name: "some-value"}))
    assert mask("it is some-value.") == "it is some-value."


@pytest.mark.parametrize(
    ("extra", "secret"),
    [
        ({"api_token": "some-value"}, "some-value"),
        # Nothing in its name says that it is one.
        ({"X-Team": "some-value"}, "some-value"),
        ({"headers": {"X-Route": "some-value"}}, "some-value"),
        ({"headers": '{"X-Route": "some-value"}'}, "some-value"),
        ({"headers": '{"X-Route": "some-value"'}, "some-value"),
        ({"nested": {"list": [{"deep": "some-value"}]}}, "some-value"),
        ({"pin": 123456}, "123456"),
        ({"X-Auth": "Bearer some-value"}, "some-value"),
        ({"base_url": "https://me:some-value@h.example/v1"}, "some-value"),
        ({"base_url": "https://h.example/T01/some-value"}, "some-value"),
        ({"body_template": '{"routing_key": "a1b2c"}'}, "a1b2c"),
        ({"body_template": '{"routing_key":"secretword"}'}, "secretword"),
        ({"body_template": '{"a": ["x9-k3y"], "text": {{ title | tojson }}}'}, "x9-k3y"),
    ],
)
def test_what_a_connection_holds_is_secret_wherever_it_stands(extra: dict[str, Any], secret: str) -> None:
    mask = Mask(SampleConnection(conn_type="http", extra=extra))
    assert mask(f"it is {secret}.") == f"it is {MASK}."
    assert mask(f"IT IS {secret.upper()}!") == f"IT IS {MASK}!"


@pytest.mark.parametrize(
    ("host", "secret"),
    [
        ("https://h.example/hooks/k3y7", None),
        ("https://h.example/hooks/k3y78", "k3y78"),
        ("https://h.example/hooks/abcde", "abcde"),
        ("h.example/hooks/k3y78", "k3y78"),
        ("https://h.example/?a=k3y78", "k3y78"),
        ("https://h.example/#k3y78", "k3y78"),
        ("https://k3y78@h.example/", "k3y78"),
        ("https://me:k3y%2078@h.example/", "k3y 78"),
        ("https://h.example/webhook/events", None),
    ],
)
def test_each_part_of_a_url_but_its_host_and_plain_words_is_secret(host: str, secret: str | None) -> None:
    mask = Mask(SampleConnection(conn_type="http", host=host))
    said = f"h.example: the webhook {secret or 'k3y7'} of events hooks is gone"
    assert mask(said) == (said.replace(secret, MASK) if secret else said)


def test_a_key_in_the_place_of_a_user_is_secret_and_a_mailbox_is_not() -> None:
    assert Mask(SampleConnection(conn_type="http", login="k3y78"))("no user k3y78") == f"no user {MASK}"
    mail = SampleConnection(conn_type="smtp", login="me@x.example")
    assert Mask(mail)("535 me@x.example may not") == "535 me@x.example may not"


def test_words_of_a_template_stay_readable_and_the_rules_own_template_is_masked_too() -> None:
    template = '{"msgtype": "markdown", "api_key": "alphabetic", "to": "C0123456", "say": "{{ title }}"}'
    mask = Mask(SampleConnection(conn_type="http"), template)
    assert mask('line 1: "msgtype": "markdown", "api_key": "alphabetic", "to": "C0123456"') == (
        f'line 1: "msgtype": "markdown", "api_key": "{MASK}", "to": "{MASK}"'
    )


@pytest.mark.parametrize("end", ["", "...", "…"])
def test_a_secret_that_the_remote_cut_is_masked(end: str) -> None:
    mask = Mask(SampleConnection(conn_type="http", password="abcdefghijklmnopqrstuvwxyz"))
    assert mask(f"invalid token abcdefgh{end}") == f"invalid token {MASK}{end}"
    assert mask(f"see abcd{end}") == f"see abcd{end}"


def test_short_words_are_not_taken_for_secrets() -> None:
    mask = Mask(SampleConnection(conn_type="http", password="ok", extra={"format": "standard"}))
    assert mask("ok, standard") == "ok, standard"
