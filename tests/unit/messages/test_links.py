"""A link leads to an address on the web, or is none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ml_event_provider.messages import Renderer
from ml_event_provider.messages.dialects import DIALECTS
from ml_event_provider.messages.links import web_address
from ml_event_provider.messages.plain import clean
from ml_event_provider.targets.dingtalk import payload
from ml_event_provider.targets.slack import blocks
from tests.peers.samples import sample_event, sample_message

GOOD = [
    "https://airflow.example.com/dags/a/runs/b",
    "http://localhost:8080/x?y=z#w",
    "HTTPS://EXAMPLE.COM",
    "https://[::1]:8080/",
    "https://user@example.com/größe",
]
BAD = [
    "",
    "/dags/train/runs/manual__1",
    "dags/train",
    "//example.com/x",
    "javascript:alert(1)",
    "JavaScript:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,<script>",
    "s3://bucket/key",
    "file:///etc/passwd",
    "mailto:a@example.com",
    "not a url",
    "https://",
    "https:///path",
    "http://?x",
    "https://:80/",
    "https://example.com:port/",
    "https://[::1/",
    "https://example.com/a b",
    "https://example.com/\u202e",
    " https://example.com",
    "https://example.com\n",
    "xhttps://example.com",
]

#: Dialects leave out what cannot be seen before they look.
SHOWN = [each for each in BAD if clean(each).strip() == each]


@pytest.mark.parametrize("url", GOOD)
def test_a_web_address_is_left_as_it_is(url: str) -> None:
    assert web_address(url) == url


@pytest.mark.parametrize("url", BAD)
def test_what_is_no_web_address_is_no_link(url: str) -> None:
    assert web_address(url) == ""


@pytest.mark.parametrize("url", SHOWN)
@pytest.mark.parametrize("dialect", ["text", "markdown", "mrkdwn", "html"])
def test_no_dialect_makes_a_link_of_it(dialect: str, url: str) -> None:
    assert DIALECTS[dialect].links([("Run", url)]) == ""
    assert DIALECTS[dialect].link("Run", url) == "Run"


@pytest.mark.parametrize("url", BAD)
def test_no_button_leads_there(url: str) -> None:
    message = sample_message(run_url=url, log_url=url)
    assert [block["type"] for block in blocks(message)] == ["header", "section", "context"]
    card = json.loads(payload(message, {"message_type": "actionCard"}))
    assert card["msgtype"] == "markdown"


def test_a_button_that_leads_somewhere_stays_beside_one_that_does_not() -> None:
    message = sample_message(run_url=GOOD[0], log_url="/dags/train")
    (actions,) = [block for block in blocks(message) if block["type"] == "actions"]
    assert [button["url"] for button in actions["elements"]] == [GOOD[0]]
    card = json.loads(payload(message, {"message_type": "actionCard"}))
    assert card["actionCard"]["btns"] == [{"title": "Run", "actionURL": GOOD[0]}]


@pytest.mark.parametrize(
    ("channel", "dialect"), [("slack", "mrkdwn"), ("dingtalk", "markdown"), ("email", "html"), ("webhook", "json")]
)
@pytest.mark.parametrize("url", [each for each in SHOWN if each])
def test_a_message_of_an_event_with_such_urls_has_no_link(channel: str, dialect: str, url: str) -> None:
    data: dict[str, Any] = {"dag_id": "train", "run_id": "r", "task_id": "fit", "url": url, "log_url": url}
    rendered = Renderer().render(
        sample_event(data=data), channel=channel, dialect=dialect, max_title_bytes=500, max_body_bytes=50_000
    )
    said = "\n".join([rendered.title, rendered.body, *rendered.parts.values()])
    assert url not in said
    assert "<a " not in said
    assert "](" not in said
    assert not rendered.problems
