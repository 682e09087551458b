from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_event_provider.targets import Outcome
from ml_event_provider.targets.dingtalk import MAX_BYTES, DingTalkTarget, payload, sign
from ml_event_provider.targets.pace import Pace
from tests.peers.receiver import ROBOT_SECRET, ROBOT_TOKEN, Behaviour, Receiver
from tests.peers.samples import SampleConnection, sample_message

if TYPE_CHECKING:
    from ml_event_provider.targets.network import Network


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def target(network: Network, clock: Clock) -> DingTalkTarget:
    return DingTalkTarget(network, pace=Pace(20, 60.0, clock))


def connection(receiver: Receiver, **extra: Any) -> SampleConnection:
    return SampleConnection(
        conn_type="mleventsdingtalk",
        host=receiver.url("/dingtalk/robot/send"),
        password=ROBOT_TOKEN,
        extra={"secret": ROBOT_SECRET, **extra},
    )


def answering(errcode: Any, errmsg: str = "words") -> Behaviour:
    return Behaviour(body=json.dumps({"errcode": errcode, "errmsg": errmsg}))


@pytest.mark.parametrize(
    ("secret", "timestamp", "signature"),
    [
        ("this is secret", 1577262236757, "hmPWwU+7lVdm3ZZz0r9tSfx0L4Q26jWOZr9+Gs6EZQM="),
        ("SEC1234567890abcdef", 1700000000000, "RqBq3E1RTBDv3n2QBCh4adZ2WHk9mVklyUoDBLxarjI="),
    ],
)
def test_the_signature_is_that_of_the_known_vectors(secret: str, timestamp: int, signature: str) -> None:
    assert sign(secret, timestamp) == signature


def test_the_signature_is_encoded_once(network: Network) -> None:
    """At this moment it holds a plus, a slash or an equals sign, which a second encoding would spoil."""
    with Receiver(now=lambda: 1700000000.0) as receiver:
        target = DingTalkTarget(network, now=lambda: 1700000000.0, pace=Pace(20, 60.0))
        result = target.send(connection(receiver), sample_message(), timeout=5)
        assert result.outcome is Outcome.DELIVERED, result
        assert receiver.requests[0].query["sign"] == "RqBq3E1RTBDv3n2QBCh4adZ2WHk9mVklyUoDBLxarjI="
        assert receiver.requests[0].query["timestamp"] == "1700000000000"


def test_a_markdown_message_is_taken(target: DingTalkTarget, receiver: Receiver) -> None:
    result = target.send(connection(receiver), sample_message(), timeout=5)
    assert (result.outcome, result.code, result.reason) == (Outcome.DELIVERED, "errcode 0", "ok")
    assert receiver.requests[0].json() == {
        "msgtype": "markdown",
        "markdown": {
            "title": "Task fit of train failed",
            "text": "### Task fit of train failed\n\nThe task **fit** failed: ValueError größer 大",
        },
        "at": {"atMobiles": [], "atUserIds": [], "isAtAll": False},
        "msgUuid": "delivery-1",
    }


def test_a_body_that_begins_with_the_title_does_not_repeat_it(target: DingTalkTarget, receiver: Receiver) -> None:
    body = "## **Task fit of train failed**\n\nmore"
    target.send(connection(receiver), sample_message(body=body), timeout=5)
    assert receiver.requests[0].json()["markdown"]["text"] == body


def test_a_text_message_holds_title_and_body(target: DingTalkTarget, receiver: Receiver) -> None:
    target.send(connection(receiver, message_type="text"), sample_message(title="T", body="B"), timeout=5)
    assert receiver.requests[0].json()["text"] == {"content": "T\nB"}


def test_a_card_has_buttons_to_run_and_log(target: DingTalkTarget, receiver: Receiver) -> None:
    result = target.send(connection(receiver, message_type="actionCard"), sample_message(), timeout=5)
    assert result.outcome is Outcome.DELIVERED
    assert receiver.requests[0].json()["actionCard"]["btns"] == [
        {"title": "Run", "actionURL": "https://airflow.example/runs/1"},
        {"title": "Log", "actionURL": "https://airflow.example/logs/1"},
    ]


def test_a_card_without_links_is_sent_as_markdown(target: DingTalkTarget, receiver: Receiver) -> None:
    message = sample_message(run_url="", log_url="")
    assert target.send(connection(receiver, message_type="actionCard"), message, timeout=5).code == "errcode 0"
    assert receiver.requests[0].json()["msgtype"] == "markdown"


@pytest.mark.parametrize("kind", ["text", "markdown", "actionCard"])
def test_mentioned_mobiles_stand_in_the_text(target: DingTalkTarget, receiver: Receiver, kind: str) -> None:
    mentions = connection(
        receiver, message_type=kind, at_mobiles="13800000001, 13800000002", at_user_ids=["u1"], at_all=True
    )
    result = target.send(mentions, sample_message(body="please @13800000001 look"), timeout=5)
    assert result.outcome is Outcome.DELIVERED, result
    document = receiver.requests[0].json()
    assert document["at"] == {
        "atMobiles": ["13800000001", "13800000002"],
        "atUserIds": ["u1"],
        "isAtAll": True,
    }
    text = document[kind].get("content") or document[kind]["text"]
    assert text.count("@13800000001") == 1
    assert "@13800000002" in text
    assert "@u1" in text


def test_a_rules_options_override_the_connections(target: DingTalkTarget, receiver: Receiver) -> None:
    options = {"at_mobiles": ["13900000009"], "at_all": False, "message_type": "text"}
    target.send(
        connection(receiver, at_mobiles="13800000001", at_all=True),
        sample_message(options=options),
        timeout=5,
    )
    document = receiver.requests[0].json()
    assert document["msgtype"] == "text"
    assert document["at"]["atMobiles"] == ["13900000009"]
    assert document["at"]["isAtAll"] is False


@pytest.mark.parametrize("kind", ["text", "markdown", "actionCard"])
@pytest.mark.parametrize(("body", "added"), [("no word of it", True), ("the 告警 stands here", False)])
def test_a_keyword_is_added_where_none_stands_in_the_text(
    target: DingTalkTarget, kind: str, body: str, added: bool
) -> None:
    with Receiver(keywords=("监控", "告警"), robot_secret="") as receiver:
        robot = connection(receiver, secret="", keywords="监控\uff0c告警", message_type=kind)
        result = target.send(robot, sample_message(body=body), timeout=5)
        assert result.outcome is Outcome.DELIVERED, result
        document = receiver.requests[0].json()
        assert "sign" not in receiver.requests[0].query
    text = document[kind].get("content") or document[kind]["text"]
    assert ("监控" in text) is added


def test_a_missing_keyword_is_told_in_the_robots_words(target: DingTalkTarget) -> None:
    with Receiver(keywords=("告警",)) as receiver:
        result = target.send(connection(receiver), sample_message(), timeout=5)
    assert (result.outcome, result.code) == (Outcome.REFUSED, "errcode 310000")
    assert "keywords not in content" in result.reason


def test_a_wrong_secret_is_told_in_the_robots_words(target: DingTalkTarget, receiver: Receiver) -> None:
    result = target.send(connection(receiver, secret="SECwrong0000"), sample_message(), timeout=5)
    assert (result.outcome, result.code) == (Outcome.REFUSED, "errcode 310000")
    assert "sign not match" in result.reason


def test_a_clock_more_than_an_hour_off_is_told(network: Network, receiver: Receiver) -> None:
    target = DingTalkTarget(network, now=lambda: receiver.now() - 3700, pace=Pace(20, 60.0))
    result = target.send(connection(receiver), sample_message(), timeout=5)
    assert (result.outcome, result.code) == (Outcome.REFUSED, "errcode 310000")
    assert "timestamp" in result.reason


def test_a_wrong_token_is_told(target: DingTalkTarget, receiver: Receiver) -> None:
    wrong = connection(receiver)
    wrong.password = "another-token"
    result = target.send(wrong, sample_message(), timeout=5)
    assert (result.outcome, result.code) == (Outcome.REFUSED, "errcode 300005")
    assert "access token" in result.reason


@pytest.mark.parametrize(
    ("errcode", "outcome"),
    [
        (0, Outcome.DELIVERED),
        ("0", Outcome.DELIVERED),
        (-1, Outcome.RETRY),
        ("-1", Outcome.RETRY),
        (310000, Outcome.REFUSED),
        ("310000", Outcome.REFUSED),
        (300001, Outcome.REFUSED),
        (300005, Outcome.REFUSED),
        (400101, Outcome.REFUSED),
        (400013, Outcome.REFUSED),
        (400102, Outcome.REFUSED),
        (400106, Outcome.REFUSED),
        (40035, Outcome.REFUSED),
        (43004, Outcome.REFUSED),
        (400105, Outcome.REFUSED),
        (460101, Outcome.REFUSED),
        (101002, Outcome.REFUSED),
        (130101, Outcome.RETRY),
        ("410100", Outcome.RETRY),
        (999999, Outcome.RETRY),
        ("many", Outcome.RETRY),
        (None, Outcome.RETRY),
        (True, Outcome.RETRY),
        (0.5, Outcome.RETRY),
    ],
)
def test_every_errcode_has_its_outcome(
    target: DingTalkTarget, receiver: Receiver, errcode: Any, outcome: Outcome
) -> None:
    receiver.next(answering(errcode, "the robot's words"))
    result = target.send(connection(receiver), sample_message(), timeout=5)
    assert result.outcome is outcome
    assert "the robot's words" in result.reason


@pytest.mark.parametrize("body", ["", "ok", "[]", "null", "<html>login</html>", '{"success": true}', '"0"', "0"])
def test_an_answer_without_errcode_is_a_failure(target: DingTalkTarget, receiver: Receiver, body: str) -> None:
    receiver.next(Behaviour(body=body))
    result = target.send(connection(receiver), sample_message(), timeout=5)
    assert (result.outcome, result.code) == (Outcome.RETRY, "no errcode")


@pytest.mark.parametrize(("status", "outcome"), [(500, Outcome.RETRY), (404, Outcome.REFUSED), (302, Outcome.REFUSED)])
def test_a_status_that_is_no_success_is_none_whatever_the_body_says(
    target: DingTalkTarget, receiver: Receiver, status: int, outcome: Outcome
) -> None:
    receiver.next(Behaviour(status=status, body='{"errcode":0,"errmsg":"ok"}'))
    assert target.send(connection(receiver), sample_message(), timeout=5).outcome is outcome


@pytest.mark.parametrize(
    ("body", "wait"),
    [
        ('{"errcode":130101,"errmsg":"send too fast"}', 600.0),
        ('{"errcode":"410100","errmsg":"send too fast"}', 600.0),
        ('{"status":1111,"wait":5,"punish":"deny"}', 5.0),
        ('{"status":1111,"wait":"soon","punish":"deny"}', 600.0),
    ],
)
def test_a_throttled_robot_is_left_alone_until_it_is_free_again(
    target: DingTalkTarget, receiver: Receiver, clock: Clock, body: str, wait: float
) -> None:
    receiver.next(Behaviour(body=body))
    robot = connection(receiver)
    throttled = target.send(robot, sample_message(), timeout=5)
    assert (throttled.outcome, throttled.retry_after, throttled.attempted) == (Outcome.RETRY, wait, True)
    held = target.send(robot, sample_message(), timeout=5)
    assert (held.outcome, held.code, held.attempted) == (Outcome.RETRY, "paced", False)
    assert held.retry_after is not None
    assert held.retry_after >= wait
    assert len(receiver.requests) == 1
    clock.time += wait
    assert target.send(robot, sample_message(), timeout=5).outcome is Outcome.DELIVERED


def test_the_twenty_first_message_of_a_minute_is_held_back(
    target: DingTalkTarget, receiver: Receiver, clock: Clock
) -> None:
    robot = connection(receiver)
    results = [target.send(robot, sample_message(), timeout=5) for _ in range(21)]
    assert [result.outcome for result in results] == [Outcome.DELIVERED] * 20 + [Outcome.RETRY]
    assert (results[-1].code, results[-1].attempted, results[-1].retry_after) == ("paced", False, 60.0)
    assert len(receiver.requests) == 20
    clock.time += 60.0
    assert target.send(robot, sample_message(), timeout=5).outcome is Outcome.DELIVERED


def test_several_connections_to_one_robot_share_its_minute(target: DingTalkTarget, receiver: Receiver) -> None:
    first, second = connection(receiver), connection(receiver)
    second.conn_id = "other"
    for robot in [first, second] * 10:
        assert target.send(robot, sample_message(), timeout=5).outcome is Outcome.DELIVERED
    assert target.send(second, sample_message(), timeout=5).code == "paced"


def test_a_share_of_the_minute_can_be_set(target: DingTalkTarget, receiver: Receiver) -> None:
    robot = connection(receiver, messages_per_minute="2")
    codes = [target.send(robot, sample_message(), timeout=5).code for _ in range(3)]
    assert codes == ["errcode 0", "errcode 0", "paced"]


@pytest.mark.parametrize("share", ["0", "21", "-1", "many", "1.5"])
def test_a_share_beyond_the_robots_limit_is_refused(target: DingTalkTarget, receiver: Receiver, share: str) -> None:
    result = target.send(connection(receiver, messages_per_minute=share), sample_message(), timeout=5)
    assert (result.outcome, result.code) == (Outcome.REFUSED, "unusable")


@pytest.mark.parametrize("kind", ["text", "markdown", "actionCard"])
@pytest.mark.parametrize("shift", range(4))
def test_a_body_of_more_than_20000_bytes_is_cut_within_the_limit(
    target: DingTalkTarget, receiver: Receiver, kind: str, shift: int
) -> None:
    with Receiver(keywords=("告警",)) as strict:
        robot = connection(strict, message_type=kind, keywords="告警", at_mobiles="13800000001")
        body = "x" * shift + "大😀\n" * 8000 + "告警 @13800000001"
        result = target.send(robot, sample_message(body=body), timeout=5)
        assert result.outcome is Outcome.DELIVERED, result
        request = strict.requests[0]
    assert MAX_BYTES - 100 < len(request.body) <= MAX_BYTES
    content = request.json()[kind]
    text = content.get("content") or content["text"]
    assert text.endswith("…\n\n@13800000001 告警")


@settings(max_examples=30, deadline=None)
@given(st.text(min_size=1, max_size=300), st.sampled_from(["text", "markdown", "actionCard"]))
def test_any_text_gives_a_body_within_the_limit(unit: str, kind: str) -> None:
    body = unit * (30_000 // len(unit))
    sent = payload(sample_message(body=body, title=unit), {"message_type": kind, "keywords": "告警"})
    assert len(sent) <= MAX_BYTES
    content = json.loads(sent)[kind]
    assert "告警" in (content.get("content") or content["text"])


def test_mentions_that_fill_the_message_are_refused(target: DingTalkTarget, receiver: Receiver) -> None:
    robot = connection(receiver, at_mobiles=[f"138{number:08}" for number in range(1500)])
    result = target.send(robot, sample_message(), timeout=5)
    assert (result.outcome, result.code) == (Outcome.REFUSED, "unusable")
    assert receiver.requests == []


def test_an_unknown_message_type_is_refused(target: DingTalkTarget, receiver: Receiver) -> None:
    result = target.send(connection(receiver, message_type="feedCard"), sample_message(), timeout=5)
    assert result.outcome is Outcome.REFUSED
    assert "actionCard" in result.reason


def test_without_a_token_nothing_is_sent(target: DingTalkTarget, receiver: Receiver) -> None:
    robot = connection(receiver)
    robot.password = None
    result = target.send(robot, sample_message(), timeout=5)
    assert (result.outcome, result.code) == (Outcome.REFUSED, "unusable")
    assert "access token" in result.reason


@pytest.mark.parametrize("field", ["host", "password"])
def test_a_pasted_whole_url_is_understood(target: DingTalkTarget, receiver: Receiver, field: str) -> None:
    robot = connection(receiver)
    whole = receiver.url(f"/dingtalk/robot/send?access_token={ROBOT_TOKEN}")
    robot.password = None
    setattr(robot, field, whole)
    assert target.send(robot, sample_message(), timeout=5).outcome is Outcome.DELIVERED
    assert receiver.requests[0].query["access_token"] == ROBOT_TOKEN


def test_the_check_sends_a_short_text_without_mentions(target: DingTalkTarget, receiver: Receiver) -> None:
    result = target.check(connection(receiver, at_all=True, at_mobiles="13800000001"), timeout=5)
    assert result.outcome is Outcome.DELIVERED
    document = receiver.requests[0].json()
    assert document["text"]["content"].startswith("connection test")
    assert document["at"] == {"atMobiles": [], "atUserIds": [], "isAtAll": False}
