"""What the built-in messages must tell, whatever the wording."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from ml_event_provider.events.catalogue import EVENT_TYPES, validate_data
from ml_event_provider.events.model import Event
from ml_event_provider.messages.preview import sample_events
from tests.unit.messages.conftest import render

if TYPE_CHECKING:
    from collections.abc import Callable

    from ml_event_provider.messages import Renderer


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"try_number": 1, "max_tries": 2}, "(try 1 of 3)"),
        ({"try_number": 4, "max_tries": 2}, "(try 4 of 4)"),
        ({"map_index": 7}, "task train[7] failed"),
    ],
)
def test_title_of_a_failed_task(
    built_in: Renderer, changed: Callable[..., Event], fields: dict[str, object], expected: str
) -> None:
    assert expected in render(built_in, changed(**fields)).title


def test_task_without_retries_has_no_try_in_its_title(built_in: Renderer, changed: Callable[..., Event]) -> None:
    assert "try" not in render(built_in, changed(try_number=1, max_tries=0)).title


def test_failure_that_nobody_reported_is_explained(built_in: Renderer, changed: Callable[..., Event]) -> None:
    silent = replace(changed(exception=None), origin="reconciler")
    assert "memory" in render(built_in, silent).body
    assert "memory" not in render(built_in, replace(silent, origin="worker")).body
    assert "memory" not in render(built_in, replace(changed(), origin="reconciler")).body
    assert "memory" not in render(built_in, replace(changed(exception=None, manual=True), origin="reconciler")).body


def test_state_set_by_hand_is_said(built_in: Renderer, changed: Callable[..., Event]) -> None:
    body = render(built_in, changed(exception=None, manual=True)).body
    assert "by hand" in body
    assert "No further try" not in body


def test_error_comes_with_the_users_frames_first(built_in: Renderer, failed_task: Event) -> None:
    body = render(built_in, failed_task).body
    assert body.index("dags/churn/train.py:87") < body.index("dags/churn/model.py:41") < body.index("check_X_y")
    assert "task_runner" not in body


def test_error_that_is_only_a_text_is_shown(built_in: Renderer, changed: Callable[..., Event]) -> None:
    assert "ssh: connection refused" in render(built_in, changed(exception="ssh: connection refused")).body


def test_task_that_never_started_has_no_link_to_a_log(built_in: Renderer) -> None:
    body = render(built_in, sample_events()["airflow.task_instance.upstream_failed"], "dingtalk").body
    assert "Open run" in body
    assert "Open log" not in body


def test_unknown_type_shows_its_data(built_in: Renderer) -> None:
    event = replace(
        sample_events()["ml.notification.requested"],
        type="com.example.job.stopped",
        subject="jobs/7",
        data={
            "reason": "spot instance taken",
            "node": {"name": "gpu-3"},
            "link": "https://jobs.example.com/7",
        },
    )
    message = render(built_in, event)
    assert message.template == "default.j2"
    assert message.title == "🔔 com.example.job.stopped: jobs/7"
    assert "*reason:* spot instance taken" in message.body
    assert '*node:* {"name": "gpu-3"}' in message.body
    assert "<https://jobs.example.com/7|Open>" in message.body


def test_long_lists_are_shortened_with_a_count(built_in: Renderer) -> None:
    event = sample_events()["ml.data_validation.failed"]
    item = event.data["failed_expectations"][0]
    body = render(built_in, event.with_data({**event.data, "failed_expectations": [item] * 25})).body
    assert body.count("• ") == 10
    assert "… and 15 more" in body


def test_critical_severity_is_seen_in_the_title(built_in: Renderer, failed_task: Event) -> None:
    assert render(built_in, failed_task, severity="critical").title.startswith("🚨")


def test_rule_and_links_are_where_the_channel_does_not_show_them_itself(built_in: Renderer, failed_task: Event) -> None:
    for channel in ("dingtalk", "email", "webhook"):
        body = render(built_in, failed_task, channel, rule="nightly", severity="error").body
        assert "Rule nightly in workspace growth, severity error" in body
        assert f"{failed_task.data['log_url']}" in body
        assert f"{failed_task.data['url']}" in body
    assert "nightly" not in render(built_in, failed_task, "slack", rule="nightly").body


def test_there_is_a_sample_of_every_type() -> None:
    assert sample_events().keys() == EVENT_TYPES.keys()


@pytest.mark.parametrize("event_type", sample_events())
def test_sample_has_the_data_of_its_type(event_type: str) -> None:
    assert validate_data(sample_events()[event_type]) == []


@pytest.mark.parametrize("drifted", [2, ["monthly_charge", "contract_type"]])
def test_drifted_columns_are_counted_whether_named_or_not(built_in: Renderer, drifted: object) -> None:
    event = sample_events()["ml.dataset.drift_detected"]
    body = render(built_in, event.with_data({**event.data, "drifted_columns": drifted})).body
    assert "*Drifted columns:* 2 of 5 (40%)" in body


def test_sample_events_survive_their_own_wire_format() -> None:
    for event in sample_events().values():
        assert Event.from_json(event.to_json()) == event
