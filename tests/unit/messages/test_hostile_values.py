"""Values of events are data: whatever they hold, the message keeps the structure of its template."""

from __future__ import annotations

import json
import re
from collections import Counter
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ml_event_provider.messages import Renderer
from ml_event_provider.messages.dialects import DIALECTS
from ml_event_provider.messages.plain import text_of
from ml_event_provider.messages.preview import sample_events
from tests.unit.messages.conftest import render

if TYPE_CHECKING:
    from ml_event_provider.events.model import Event

RENDERER = Renderer()
EVENTS = sample_events()
HOSTILE = [
    "*bold*",
    "**bold**",
    "_it_",
    "__it__",
    "~gone~",
    "~~gone~~",
    "`code`",
    "```\nfence\n```",
    "[text](https://evil.example)",
    "![image](https://evil.example/x.png)",
    "<https://evil.example|click>",
    "<script>alert(1)</script>",
    "</td></tr></table><h1>",
    '" onmouseover="alert(1)',
    "' onmouseover='alert(1)",
    "<!channel>",
    "<!here|here>",
    "<@U12345>",
    "@all",
    "@channel",
    "a\n# heading",
    "# heading",
    "- item",
    "1. item",
    "1) item",
    "> quote",
    "---",
    "===",
    "text\n===",
    "    indented",
    "a  \nb",
    "a\r\n\r\nb",
    "a\u2028b\x85c\x0bd",
    "&lt;b&gt;",
    "&#42;bold&#42;",
    "\\*bold\\*",
    "\\",
    "\\\\[x](https://y.example)",
    "|a|b|",
    "\ud800",
    "\u202egnp.exe",
    "{{ 7 * 7 }}",
    "{% include 'x' %}",
    "\x00\x1b[31m",
    "]]>",
    "--><b>",
    "e\u0301" * 40,
]
_PIECES = [
    *"*_~`[]()<>&|#!@\\-+=.:\"'{}%1a \n\t",
    "\r\n",
    "**",
    "```",
    "&amp;",
    "https://e.example",
    "é",
    "漢",
    "\ud83d",
]
texts = st.one_of(
    st.sampled_from(HOSTILE),
    st.lists(st.sampled_from(_PIECES), max_size=25).map("".join),
    st.text(st.characters(), max_size=40),
)


class _Structure(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Any] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.found.append("/" + tag)

    def handle_comment(self, data: str) -> None:
        self.found.append("comment")


def html_structure(text: str) -> list[Any]:
    parser = _Structure()
    parser.feed(text)
    parser.close()
    return parser.found


def markdown_structure(text: str) -> list[str]:
    found = []
    for token in MarkdownIt("commonmark").parse(text):
        found.append(token.type)
        found += [child.type for child in token.children or () if child.type not in ("text", "text_special")]
    return found


def mrkdwn_structure(text: str) -> Counter[str]:
    """Slack's control sequences and formatting marks outside of fences and code."""
    fences = re.findall(r"```.*?```", text, re.DOTALL)
    assert not any(re.search(r"[<>]|&(?!(amp|lt|gt);)", fence) for fence in fences)
    rest = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    links = re.findall(r"<https?://[^<>|\s]+\|[^<>|\n]*>", rest)
    rest = re.sub(r"<https?://[^<>|\s]+\|[^<>|\n]*>", "", rest)
    assert "<" not in rest
    assert not re.search(r"&(?!(amp|lt|gt);)", rest)
    codes = re.findall(r"`[^`\n]+`", rest)
    rest = re.sub(r"`[^`\n]+`", "", rest)
    marks = Counter(character for character in rest if character in "*~`")
    quotes = sum(1 for line in rest.split("\n") if line.startswith((">", "&gt;")))
    return marks + Counter(links=len(links), fences=len(fences), codes=len(codes), quotes=quotes)


def _filled(event: Event, value: str) -> Event:
    """The event with ``value`` in each text that is no address, time or traceback."""

    def fill(item: Any, name: str = "") -> Any:
        if isinstance(item, dict):
            return {key: fill(inner, key) for key, inner in item.items()}
        if isinstance(item, list):
            return [fill(inner) for inner in item]
        kept = name.endswith(("url", "_date", "Time", "_time", "status", "link")) or name in (
            "traceback",
            "stacktrace",
            "state",
        )
        if name == "message":
            # May have lines of its own.
            return " ".join(value.split())
        return value if isinstance(item, str) and not kept else item

    return event.with_data(fill(dict(event.data)))


STRUCTURE = {"dingtalk": markdown_structure, "slack": mrkdwn_structure}
TYPES = [name for name in EVENTS if name != "ml.notification.requested"]


def _seen(value: str) -> str:
    """A harmless value that is present in the message as much as ``value`` is."""
    return "x" if text_of(value) != "" else ""


@settings(max_examples=60, deadline=None)
@given(event_type=st.sampled_from(TYPES), value=texts)
def test_html_keeps_its_elements(event_type: str, value: str) -> None:
    # A carriage return alone is a text, but no link: the two would differ in that.
    assume(value == "" or value.strip("\r"))
    event = EVENTS[event_type]
    expected = render(RENDERER, _filled(event, _seen(value)), "email").parts["html"]
    found = render(RENDERER, _filled(event, value), "email").parts["html"]
    assert html_structure(found) == html_structure(expected)


@settings(max_examples=60, deadline=None)
@given(
    event_type=st.sampled_from(TYPES),
    value=texts.filter(lambda text: text_of(DIALECTS["text"].inline(text)).strip()),
)
@pytest.mark.parametrize("channel", STRUCTURE)
def test_chat_dialects_keep_their_structure(channel: str, event_type: str, value: str) -> None:
    event = EVENTS[event_type]
    expected = render(RENDERER, _filled(event, "x"), channel).body
    found = render(RENDERER, _filled(event, value), channel).body
    assert STRUCTURE[channel](found) == STRUCTURE[channel](expected)


@settings(max_examples=300, deadline=None)
@given(value=texts)
def test_markdown_value_is_only_text(value: str) -> None:
    escaped = DIALECTS["markdown"].inline(value)
    found = markdown_structure(f"{escaped}\n")
    assert found in ([], ["paragraph_open", "inline", "paragraph_close"])
    assert markdown_structure(f"### {escaped}\n") == ["heading_open", "inline", "heading_close"]


@settings(max_examples=300, deadline=None)
@given(value=texts)
def test_mrkdwn_value_is_only_text(value: str) -> None:
    assert mrkdwn_structure(DIALECTS["mrkdwn"].inline(value)) == Counter()


@pytest.mark.parametrize("dialect", ["markdown", "mrkdwn"])
@pytest.mark.parametrize("value", ["@all", "@channel now", "(@here)", "x @13800000000"])
def test_value_mentions_nobody(dialect: str, value: str) -> None:
    assert not re.search(r"@\w", DIALECTS[dialect].inline(value))


def test_mail_address_stays_as_it_is() -> None:
    assert DIALECTS["mrkdwn"].inline("ana@example.com") == "ana@example.com"


@pytest.mark.parametrize("name", ["my_task_id", "scheduled__2026-11-22T06:00:00+00:00", "a.b-c", "train[3"])
def test_names_of_airflow_stay_readable(name: str) -> None:
    assert DIALECTS["mrkdwn"].inline(name) == name
    assert DIALECTS["markdown"].inline(name).replace("\\[", "[") == name


@pytest.mark.parametrize(
    "address",
    ["javascript:alert(1)", "data:text/html,x", "https://a b", "//evil", "", None, 7, "https://x\n> y"],
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_link_to_no_web_address_is_only_its_text(dialect: str, address: object) -> None:
    assert DIALECTS[dialect].link("Open", address) == "Open"
    assert DIALECTS[dialect].links([("Open", address)]) == ""


@settings(max_examples=200, deadline=None)
@given(path=st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=30), words=texts)
def test_link_is_one_link(path: str, words: str) -> None:
    address = f"https://a.example/{path}"
    label = DIALECTS["text"].inline(words).strip() or "x"
    markdown = DIALECTS["markdown"].link(label, address)
    if address == DIALECTS["text"].address(address):
        assert markdown_structure(markdown)[2:-1] == ["link_open", "link_close"]
        assert mrkdwn_structure(DIALECTS["mrkdwn"].link(label, address)) == Counter(links=1)
        assert html_structure(DIALECTS["html"].link(label, address)) == [("a", ("href", "style")), "/a"]


@settings(max_examples=150, deadline=None)
@given(value=st.one_of(texts, st.none(), st.booleans(), st.integers(), st.floats()))
def test_json_body_stays_json(value: object) -> None:
    event = EVENTS["ml.notification.requested"].with_data({"value": value})
    body = RENDERER.render_json('{"text": "{{ data.value }}", "whole": {{ data.value | tojson }}}', event)
    found = json.loads(body)
    assert isinstance(found["text"], str)
    if isinstance(value, str) and value.isprintable():
        assert found == {"text": value, "whole": value}


@settings(max_examples=60, deadline=None)
@given(event_type=st.sampled_from(sorted(EVENTS)), value=texts)
def test_title_is_one_line_of_text_that_can_be_sent(event_type: str, value: str) -> None:
    title = render(RENDERER, _filled(EVENTS[event_type], value)).title
    assert title
    assert len(title.splitlines()) == 1
    title.encode("utf-8")


def test_template_text_in_a_value_is_not_run() -> None:
    event = EVENTS["ml.notification.requested"].with_data({"title": "{{ 7 * 7 }}", "text": "{% if %}"})
    message = render(RENDERER, event)
    assert "{{ 7 \u2217 7 }}" not in message.title
    assert "{{ 7 * 7 }}" in message.title
    assert "{% if %}" in message.body
