"""One attempt: whatever goes wrong on its way is an outcome with words, never an exception."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ml_event_provider import extensions
from ml_event_provider.dispatch.attempt import Sender
from ml_event_provider.dispatch.connections import Connections
from ml_event_provider.dispatch.retry import RetryPolicy
from ml_event_provider.exceptions import LookUpFailed, UnknownTarget
from ml_event_provider.messages import Renderer
from ml_event_provider.store.deliveries import Delivery
from ml_event_provider.store.events import RecordedEvent
from ml_event_provider.store.schema import DeliveryState
from ml_event_provider.targets import Message, Outcome, Result
from ml_event_provider.targets.model import Capabilities
from ml_event_provider.targets.webhook import WebhookTarget
from tests.peers.samples import SampleConnection, sample_event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ml_event_provider.connection import Connection
    from ml_event_provider.targets import Target

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Scripted:
    """A target that answers as told and keeps what it was given."""

    connection_types = ("scripted",)
    channel = "webhook"

    def __init__(self, *results: Result | BaseException, dialect: str = "json") -> None:
        self.results = list(results)
        self.messages: list[Message] = []
        self.timeouts: list[float] = []
        self.capabilities = Capabilities(dialect=dialect)

    def send(self, connection: Connection, message: Message, *, timeout: float) -> Result:
        self.messages.append(message)
        self.timeouts.append(timeout)
        result = self.results.pop(0) if self.results else Result.delivered("HTTP 200")
        if isinstance(result, BaseException):
            raise result
        return result

    def check(self, connection: Connection, *, timeout: float) -> Result:
        return Result.delivered()


class Fixed(Connections):
    """Connections that are given, not looked up."""

    def __init__(self, **known: SampleConnection) -> None:
        super().__init__()
        self.known = known

    def get(self, conn_id: str, workspace: str) -> Connection:
        if conn_id not in self.known:
            raise UnknownTarget(f"there is no Airflow connection {conn_id!r}")
        return self.known[conn_id]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Scripted]:
    """Makes a target the one that serves connections of type ``scripted``."""

    def plug(*results: Result | Exception, dialect: str = "json") -> Scripted:
        target = Scripted(*results, dialect=dialect)
        known: dict[str, Target] = {"scripted": target}
        monkeypatch.setattr(extensions, "targets", lambda: known)
        return target

    return plug


def delivery(**changes: Any) -> Delivery:
    return Delivery(
        **{
            "id": "d-1",
            "notification_id": "n-1",
            "workspace": "default",
            "rule": "失败",
            "rule_version": 1,
            "severity": "error",
            "conn_id": "inbox",
            "template": None,
            "options": {},
            "state": DeliveryState.LEASED,
            "attempts": 0,
            "next_attempt_at": NOW,
            "created_at": NOW,
            "finished_at": None,
            "code": "",
            "reason": "",
            "recorded": RecordedEvent(seq=1, event=sample_event(), recorded_at=NOW, matched_at=NOW),
            **changes,
        }
    )


def sender(renderer: Any = None, *, max_attempts: int = 5, **extra: Any) -> Sender:
    return Sender(
        policy=RetryPolicy(max_attempts=max_attempts, base=8.0, longest=100.0),
        timeout=3.0,
        renderer=renderer or Renderer(),
        connections=Fixed(
            inbox=SampleConnection(conn_type="scripted", conn_id="inbox", extra=extra),
            strange=SampleConnection(conn_type="strange"),
        ),
        random=lambda: 0.5,
        now=lambda: NOW,
    )


def test_a_delivered_message_bears_everything_that_a_target_needs(use: Callable[..., Scripted]) -> None:
    target = use(Result.delivered("HTTP 200", "ok"))
    event = sample_event(data={"dag_id": "train", "url": "https://a/run", "log_url": "https://a/log"})
    recorded = RecordedEvent(seq=1, event=event, recorded_at=NOW, matched_at=NOW)
    settled = sender().attempt(delivery(recorded=recorded, options={"mobiles": ["1"]}, attempts=2))
    assert settled == replace(
        settled,
        delivery_id="d-1",
        number=3,
        started_at=NOW,
        outcome="delivered",
        code="HTTP 200",
        reason="ok",
        state=DeliveryState.DELIVERED,
        next_attempt_at=None,
        options=None,
        attempted=True,
    )
    (message,) = target.messages
    assert (message.delivery_id, message.event, message.rule, message.severity) == ("d-1", event, "失败", "error")
    assert (message.run_url, message.log_url) == ("https://a/run", "https://a/log")
    assert message.options == {"mobiles": ["1"]}
    assert message.title
    assert target.timeouts == [3.0]


@pytest.mark.parametrize(
    ("result", "attempts", "state", "wait"),
    [
        (Result.retry("HTTP 503", "busy"), 0, DeliveryState.FAILED, 8.0),
        (Result.retry("HTTP 503", "busy"), 2, DeliveryState.FAILED, 32.0),
        (Result.retry("HTTP 429", "slow", 60.0), 0, DeliveryState.FAILED, 60.4),
        (Result.retry("HTTP 503", "busy"), 4, DeliveryState.DEAD, None),
        (Result.refused("HTTP 410", "gone"), 0, DeliveryState.DEAD, None),
        (Result.delivered("HTTP 200"), 4, DeliveryState.DELIVERED, None),
    ],
)
def test_what_becomes_of_a_delivery(
    use: Callable[..., Scripted], result: Result, attempts: int, state: DeliveryState, wait: float | None
) -> None:
    use(result)
    settled = sender().attempt(delivery(attempts=attempts))
    assert (settled.state, settled.number) == (state, attempts + 1)
    assert (settled.code, settled.reason) == (result.code, result.reason)
    assert settled.next_attempt_at == (None if wait is None else NOW + timedelta(seconds=wait))


@pytest.mark.parametrize(
    ("conn_id", "reason"),
    [("nowhere", "there is no Airflow connection 'nowhere'"), ("strange", "no target serves connections of type")],
)
def test_a_target_that_does_not_exist_may_exist_some_day(
    use: Callable[..., Scripted], conn_id: str, reason: str
) -> None:
    target = use()
    settled = sender().attempt(delivery(conn_id=conn_id))
    assert (settled.state, settled.code) == (DeliveryState.FAILED, "no target")
    assert settled.reason.startswith(reason)
    assert settled.next_attempt_at == NOW + timedelta(seconds=8)
    assert sender().attempt(delivery(conn_id=conn_id, attempts=4)).state is DeliveryState.DEAD
    assert target.messages == []


def test_a_pruned_event_cannot_be_sent(use: Callable[..., Scripted]) -> None:
    target = use()
    settled = sender().attempt(delivery(recorded=None))
    assert (settled.state, settled.outcome, settled.code) == (DeliveryState.DEAD, "refused", "no event")
    assert target.messages == []


SECRET = "https://user:hunter2@hooks.example.com"


def test_a_connection_that_cannot_be_looked_up_costs_the_target_no_try(
    use: Callable[..., Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(self: Fixed, conn_id: str, workspace: str) -> Connection:
        raise LookUpFailed(f"connection {conn_id!r} cannot be looked up at present: the database is away")

    use()
    monkeypatch.setattr(Fixed, "get", away)
    settled = sender().attempt(delivery(attempts=99))
    assert (settled.state, settled.code, settled.number) == (DeliveryState.FAILED, "look-up", 99)
    assert "the database is away" in settled.reason


def test_a_target_that_raises_is_tried_again_and_its_words_stay_in_the_log(
    use: Callable[..., Scripted], caplog: pytest.LogCaptureFixture
) -> None:
    use(RuntimeError(SECRET))
    settled = sender().attempt(delivery())
    assert (settled.state, settled.outcome, settled.code) == (DeliveryState.FAILED, "retry", "internal")
    assert settled.reason == "RuntimeError while sending; see the dispatcher's log"
    assert "Delivery d-1 to inbox failed" in caplog.text


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()])
def test_a_target_that_would_end_its_process_uses_up_an_attempt_like_any_other(
    use: Callable[..., Scripted], error: BaseException
) -> None:
    use(error)
    settled = sender().attempt(delivery())
    assert (settled.state, settled.number, settled.code) == (DeliveryState.FAILED, 1, "internal")
    assert settled.reason == f"{type(error).__name__} while sending; see the dispatcher's log"


def test_a_renderer_that_raises_is_tried_again(use: Callable[..., Scripted], caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Renderer):
        def render(self, *_: Any, **__: Any) -> Any:
            raise MemoryError

    target = use()
    settled = sender(Broken()).attempt(delivery())
    assert (settled.state, settled.code) == (DeliveryState.FAILED, "internal")
    assert settled.reason.startswith("MemoryError while sending")
    assert target.messages == []


def test_a_template_that_does_not_exist_is_logged_and_the_usual_one_is_sent(
    use: Callable[..., Scripted], caplog: pytest.LogCaptureFixture
) -> None:
    target = use(dialect="markdown")
    with caplog.at_level(logging.WARNING, "ml_event_provider"):
        assert sender().attempt(delivery(template="größe")).state is DeliveryState.DELIVERED
    assert "Delivery d-1: template 'größe' was not used" in caplog.text
    assert "fit" in target.messages[0].body


def test_a_template_that_ran_into_its_limits_is_told_with_the_delivery(
    use: Callable[..., Scripted], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "big.j2").write_text("{{ range(10 ** 9) }}", encoding="utf-8")
    target = use(Result.delivered("HTTP 200", "thanks"), Result.delivered("HTTP 200"), dialect="markdown")
    one = sender(Renderer([tmp_path]))
    with caplog.at_level(logging.WARNING, "ml_event_provider"):
        settled = [one.attempt(delivery(template="big")) for _ in range(2)]
    assert [each.state for each in settled if each] == [DeliveryState.DELIVERED] * 2
    reasons = [each.reason for each in settled if each]
    warning = "template 'big.j2' was not used: line 1: range() of more than 10,000 numbers"
    assert reasons[0].startswith(f"thanks; {warning}")
    assert reasons[1].startswith(warning)
    assert "fit" in target.messages[1].body
    assert caplog.text.count(warning) == 1


class Picky(Scripted):
    """A target that sends some parts only."""

    wanted: frozenset[str] = frozenset()

    def parts(self, connection: Connection, options: Mapping[str, Any]) -> frozenset[str]:
        return self.wanted


@pytest.mark.parametrize("wanted", [set(), {"title"}, {"body"}, {"title", "body"}, {"title", "body", "html", "json"}])
def test_a_target_gets_the_parts_that_it_wants(
    use: Callable[..., Scripted], monkeypatch: pytest.MonkeyPatch, wanted: set[str]
) -> None:
    whole = use()
    sender().attempt(delivery())
    picky = Picky()
    picky.wanted = frozenset(wanted)
    known: dict[str, Target] = {"scripted": picky}
    monkeypatch.setattr(extensions, "targets", lambda: known)
    sender().attempt(delivery())
    (message,) = picky.messages
    expected = whole.messages[0]
    assert (message.title, message.body) == (
        expected.title if "title" in wanted else "",
        expected.body if "body" in wanted else "",
    )


@pytest.mark.parametrize(
    ("kind", "template", "parts"),
    [
        ("", "", {"title", "body", "json"}),
        ("standard", "", {"title", "body", "json"}),
        ("custom", "", {"body", "json"}),
        ("", "{}", {"json"}),
        ("custom", "{}", {"json"}),
        ("cloudevents-structured", "{}", set()),
        ("cloudevents-binary", "", set()),
    ],
)
@pytest.mark.parametrize("place", ["connection", "rule"])
def test_a_webhook_wants_what_its_format_carries(kind: str, template: str, parts: set[str], place: str) -> None:
    extra = {"format": kind, **({"body_template": template} if place == "connection" else {})}
    options = {"body_template": template} if place == "rule" else {}
    connection = SampleConnection(conn_type="ml_events_webhook", extra=extra)
    assert WebhookTarget().parts(connection, options) == parts


BODY = '{"event": {{ event.id | tojson }}, "rule": {{ rule | tojson }}}'


@pytest.mark.parametrize(
    ("options", "extra", "says"),
    [
        ({"body_template": BODY}, {}, "失败"),
        ({}, {"body_template": BODY}, "失败"),
        ({"body_template": BODY.replace("rule |", "'mine' |")}, {"body_template": BODY}, "mine"),
    ],
    ids=["rule's", "connection's", "the rule's goes first"],
)
def test_a_body_template_makes_the_json_body(
    use: Callable[..., Scripted], options: dict[str, Any], extra: dict[str, Any], says: str
) -> None:
    target = use()
    assert sender(**extra).attempt(delivery(options=options)).state is DeliveryState.DELIVERED
    assert json.loads(target.messages[0].parts["json"]) == {"event": sample_event().id, "rule": says}


@pytest.mark.parametrize("source", ["{{ nothing", "no json", "{{ 1 / 0 }}", '{"a": {{ event.__class__ }}}'])
def test_a_broken_body_template_is_refused_and_nothing_is_sent(use: Callable[..., Scripted], source: str) -> None:
    target = use()
    settled = sender(body_template=source).attempt(delivery())
    assert (settled.state, settled.outcome, settled.code) == (DeliveryState.DEAD, "refused", "template")
    assert "JSON template" in settled.reason
    assert target.messages == []


@pytest.mark.parametrize("place", ["connection", "rule"])
@pytest.mark.parametrize("value", ["R0UT1NG", "alphabetic"])
def test_a_key_in_a_broken_body_template_is_not_told(use: Callable[..., Scripted], place: str, value: str) -> None:
    use()
    source = '{"routing_key": "' + value + '", "text": {{ title }}}'
    extra, options = ({"body_template": source}, {}) if place == "connection" else ({}, {"body_template": source})
    settled = sender(**extra).attempt(delivery(options=options))
    assert settled.code == "template"
    assert '"routing_key": "***"' in settled.reason
    assert value not in settled.reason


def test_a_body_template_is_for_json_targets_only(use: Callable[..., Scripted]) -> None:
    target = use(dialect="markdown")
    assert sender(body_template="{{ nothing").attempt(delivery()).state is DeliveryState.DELIVERED
    assert "json" not in target.messages[0].parts


def test_a_message_held_back_does_not_count_as_a_try(use: Callable[..., Scripted]) -> None:
    use(Result.retry("paced", "20 a minute", 12.0, attempted=False))
    settled = sender().attempt(delivery(attempts=3))
    assert (settled.number, settled.attempted, settled.state) == (3, False, DeliveryState.FAILED)
    assert settled.next_attempt_at == NOW + timedelta(seconds=12.2)


def test_a_message_held_back_at_its_last_try_is_not_dead(use: Callable[..., Scripted]) -> None:
    paced = Result.retry("paced", "20 a minute", 12.0, attempted=False)
    use(paced, paced)
    assert sender(max_attempts=5).attempt(delivery(attempts=4)).state is DeliveryState.FAILED
    only = sender(max_attempts=1).attempt(delivery())
    assert (only.state, only.number) == (DeliveryState.FAILED, 0)


@pytest.mark.parametrize(
    ("before", "recipients", "after"),
    [
        ({}, {}, None),
        ({}, {"a@x": "451 later"}, None),
        ({}, {"b@x": "delivered", "a@x": "451 later"}, ["b@x"]),
        ({"skip_recipients": ["c@x"]}, {"b@x": "delivered", "a@x": "451 later"}, ["b@x", "c@x"]),
    ],
)
def test_who_has_the_message_does_not_get_it_again(
    use: Callable[..., Scripted], before: dict[str, Any], recipients: dict[str, str], after: list[str] | None
) -> None:
    use(Result.retry("451", "later", recipients=recipients))
    settled = sender().attempt(delivery(options={"to": ["ä"], **before}))
    assert settled.options == (None if after is None else {"to": ["ä"], "skip_recipients": after})


@pytest.mark.parametrize("answer", [None, True, "delivered", {"outcome": "delivered"}])
def test_a_target_that_answers_no_result_is_tried_again(use: Callable[..., Scripted], answer: Any) -> None:
    target = use()
    target.results = [answer]
    settled = sender().attempt(delivery())
    assert (settled.state, settled.code) == (DeliveryState.FAILED, "internal")


@pytest.mark.parametrize("retry_after", [float("nan"), float("inf"), "60", None])
def test_a_wait_that_is_no_number_of_seconds_is_not_obeyed(use: Callable[..., Scripted], retry_after: Any) -> None:
    use(Result.retry("HTTP 429", "slow", retry_after))
    assert sender().attempt(delivery()).next_attempt_at == NOW + timedelta(seconds=8)


def test_what_no_database_takes_is_left_out_of_code_and_reason(use: Callable[..., Scripted]) -> None:
    use(Result(outcome=Outcome.REFUSED, code="a\0b", reason=None))  # type: ignore[arg-type]
    settled = sender().attempt(delivery())
    assert (settled.code, settled.reason) == ("ab", "")
