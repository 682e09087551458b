from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from ml_event_provider.messages import Rendered, Renderer
from ml_event_provider.messages.preview import sample_events

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ml_event_provider.events.model import Event

#: The built-in channels and their dialects.
CHANNELS = {"webhook": "json", "dingtalk": "markdown", "slack": "mrkdwn", "email": "html"}


class Clock:
    """A clock that moves by hand, or by itself at each look."""

    def __init__(self, per_look: float = 0.0) -> None:
        self.now = 1000.0
        self.per_look = per_look

    def __call__(self) -> float:
        self.now += self.per_look
        return self.now


def render(renderer: Renderer, event: Event, channel: str = "slack", **more: Any) -> Rendered:
    sizes = {"max_title_bytes": 200, "max_body_bytes": 16_000}
    return renderer.render(event, channel=channel, **{"dialect": CHANNELS[channel], **sizes, **more})


@pytest.fixture(scope="session")
def built_in() -> Renderer:
    return Renderer()


@pytest.fixture
def failed_task() -> Event:
    return sample_events()["airflow.task_instance.failed"]


@pytest.fixture
def changed(failed_task: Event) -> Callable[..., Event]:
    """The failed task with other fields; ``None`` removes a field."""

    def change(**fields: Any) -> Event:
        data = {**failed_task.data, **fields}
        return replace(failed_task, data={name: value for name, value in data.items() if value is not None})

    return change


@pytest.fixture
def with_template(tmp_path: Path) -> Callable[..., Renderer]:
    """A renderer over a folder with one template."""

    def make(source: str, name: str = "airflow.task_instance.failed.slack.j2", **more: Any) -> Renderer:
        (tmp_path / name).write_text(source, encoding="utf-8")
        return Renderer([tmp_path], **more)

    return make
