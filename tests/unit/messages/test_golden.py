"""The built-in messages, word for word.

``ML_EVENTS_WRITE_GOLDEN=1 pytest tests/unit/messages`` writes them anew; read the difference.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ml_event_provider.messages.preview import sample_events
from tests.unit.messages.conftest import CHANNELS, render

if TYPE_CHECKING:
    from ml_event_provider.messages import Renderer

GOLDEN = Path(__file__).parent / "golden"
EVENTS = sample_events()
WRITE = os.environ.get("ML_EVENTS_WRITE_GOLDEN") == "1"


def _compare(name: str, text: str) -> None:
    path = GOLDEN / name
    if WRITE:
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("event_type", EVENTS)
def test_built_in_message(built_in: Renderer, event_type: str, channel: str) -> None:
    message = render(built_in, EVENTS[event_type], channel, rule="nightly-failures", severity="warning")

    assert message.problems == ()
    assert "\u2013" not in message.title + message.body, "a field is missing"
    _compare(f"{event_type}.{channel}.txt", f"{message.title}\n\n{message.body}\n")
    assert set(message.parts) == ({"html"} if channel == "email" else set())
    if channel == "email":
        _compare(f"{event_type}.email.html", message.parts["html"] + "\n")


def test_every_golden_file_belongs_to_a_sample_event() -> None:
    names = {f"{event_type}.{channel}.txt" for event_type in EVENTS for channel in CHANNELS}
    names |= {f"{event_type}.email.html" for event_type in EVENTS}
    assert {path.name for path in GOLDEN.iterdir()} == names


@pytest.mark.parametrize("event_type", EVENTS)
@pytest.mark.parametrize("channel", CHANNELS)
def test_message_without_any_data_still_says_what_happened(built_in: Renderer, event_type: str, channel: str) -> None:
    message = render(built_in, EVENTS[event_type].with_data({}), channel)

    assert message.problems == ()
    assert message.title
    assert message.template.startswith(event_type.rpartition(".")[0])


@pytest.mark.parametrize("event_type", EVENTS)
@pytest.mark.parametrize("value", [None, "", "text", 7, 1.5, True, [], ["a"], {}, {"a": None}, [{"b": 1}]])
def test_data_of_another_shape_never_breaks_a_built_in_template(
    built_in: Renderer, event_type: str, value: object
) -> None:
    event = EVENTS[event_type]
    for field in event.data:
        message = render(built_in, event.with_data({**event.data, field: value}), "email")
        assert message.problems == (), field
