from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_event_provider.messages import Renderer
from ml_event_provider.messages.plain import SHORTENED, first_bytes, size
from ml_event_provider.messages.preview import sample_events
from ml_event_provider.messages.shortening import shorten, shorten_line
from tests.unit.messages.conftest import CHANNELS, render
from tests.unit.messages.test_hostile_values import html_structure, markdown_structure

EVENTS = sample_events()
RENDERER = Renderer()
VOID = {"meta", "br"}


def _balanced(text: str) -> bool:
    stack: list[str] = []
    for item in html_structure(text):
        if isinstance(item, tuple):
            if item[0] not in VOID:
                stack.append(item[0])
        elif not stack or "/" + stack.pop() != item:
            return False
    return not stack


@settings(max_examples=150, deadline=None)
@given(
    event_type=st.sampled_from(sorted(EVENTS)),
    channel=st.sampled_from(sorted(CHANNELS)),
    limit=st.integers(0, 3000),
)
def test_message_keeps_its_limits(event_type: str, channel: str, limit: int) -> None:
    message = render(RENDERER, EVENTS[event_type], channel, max_body_bytes=limit, max_title_bytes=limit // 10)
    assert size(message.title) <= limit // 10
    assert size(message.body) <= limit
    assert all(size(part) <= limit for part in message.parts.values())


@settings(max_examples=150, deadline=None)
@given(event_type=st.sampled_from(sorted(EVENTS)), limit=st.integers(20, 6000))
def test_shortened_html_is_whole(event_type: str, limit: int) -> None:
    html = render(RENDERER, EVENTS[event_type], "email").parts["html"]
    short = shorten(html, limit, "html")
    assert size(short) <= limit
    assert _balanced(short)
    assert not re.search(r"&(?!#?\w+;)", short)
    assert (short == html) == (size(html) <= limit)
    assert (SHORTENED in short) == (short != html)


@settings(max_examples=150, deadline=None)
@given(
    body=st.lists(
        st.sampled_from(
            [
                "<b>",
                "</b>",
                "<td>",
                "</td>",
                "<br>",
                "&amp;",
                "<i class='a>b'>",
                "</i>",
                "<table>",
                "é",
                "x y",
                "<",
                '<p title="&lt;">',
                "</p>",
            ]
        ),
        max_size=60,
    ).map("".join),
    limit=st.integers(0, 300),
)
def test_any_html_is_cut_between_its_pieces(body: str, limit: int) -> None:
    short = shorten(body, limit, "html")
    assert size(short) <= limit
    if size(body) > limit >= 60:
        kept, _, closers = short.partition(SHORTENED)
        assert SHORTENED in short
        assert re.fullmatch(r"(</\w+>)*", closers)
        assert body.startswith(re.sub(r"(</\w+>)*\Z", "", kept))


def test_mark_does_not_stand_between_rows_of_a_table() -> None:
    html = "<table>" + "<tr><td>value</td></tr>" * 50 + "</table>"
    for limit in range(60, 200):
        short = shorten(html, limit, "html")
        before = short.partition(SHORTENED)[0]
        assert before.endswith(("</table>", "<td>")) or re.search(r"<td>\w+\Z", before), short


@settings(max_examples=200, deadline=None)
@given(
    text=st.lists(
        st.sampled_from(
            [
                "<https://a.example|text>",
                "&amp;",
                "```\n",
                "code line\n",
                "*bold* ",
                "word ",
                "\n",
                "漢字",
                "_it_ ",
            ]
        ),
        min_size=1,
        max_size=80,
    ).map("".join),
    limit=st.integers(40, 400),
)
def test_mrkdwn_is_cut_between_links_entities_and_fences(text: str, limit: int) -> None:
    short = shorten(text, limit, "mrkdwn")
    assert size(short) <= limit
    if short == text:
        return
    assert short.endswith(SHORTENED)
    assert not re.search(r"<[^>]*\Z", short)
    assert not re.search(r"&(?!amp;)", short)
    assert short.count("```") % 2 == 0


@pytest.mark.parametrize("limit", range(60, 400, 7))
def test_shortened_markdown_has_the_structure_of_its_start(limit: int) -> None:
    body = render(RENDERER, EVENTS["airflow.task_instance.failed"], "dingtalk").body
    short = shorten(body, limit, "markdown")
    assert size(short) <= limit
    assert short.count("**") % 2 == 0
    assert not re.search(r"\[[^\]]*\]\([^)]*\Z", short)
    whole, found = markdown_structure(body), markdown_structure(short)
    assert set(found) <= set(whole)


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        (
            "*bold words that are long* and more text behind it, much more of it",
            52,
            f"*bold words that are*\n\n{SHORTENED}",
        ),
        ("**bold", 3, SHORTENED[:1]),
        ("```\n" + "line\n" * 30 + "```\nafter", 52, f"```\nline\nline\nline\n```\n\n{SHORTENED}"),
        ("word " * 30, 50, f"word word word word\n\n{SHORTENED}"),
    ],
)
def test_open_marks_are_closed(text: str, limit: int, expected: str) -> None:
    assert shorten(text, limit, "mrkdwn") == expected


@pytest.mark.parametrize("piece", ["e\u0301", "👩\u200d🔬", "🇨🇳", "👍🏽", "⚠\ufe0f", "नि", "漢", "🧪"])
@pytest.mark.parametrize("limit", range(30))
def test_visible_characters_are_never_cut(piece: str, limit: int) -> None:
    start = first_bytes(piece * 20, limit)
    assert start == piece * (limit // size(piece))


def test_title_is_cut_with_a_mark() -> None:
    assert shorten_line("word " * 100, 100).endswith(SHORTENED)
    assert shorten_line("a\nb  c", 100) == "a b c"
    assert shorten_line("word " * 100, 10) == "word wo…"
    assert shorten_line("word", 0) == ""


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=200), limit=st.integers(0, 120))
@pytest.mark.parametrize("dialect", ["text", "markdown", "mrkdwn", "html"])
def test_any_text_is_within_the_limit_and_whole_if_it_fits(text: str, limit: int, dialect: str) -> None:
    short = shorten(text, limit, dialect)
    assert size(short) <= limit
    if size(text) <= limit:
        assert short == text
