"""What must arrive in the inbox, no more and no less."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from demo.feed import Delivery, Told
    from lab.inbox import Letter

CHANNELS = {"ml_webhook": "webhook", "ml_dingtalk": "dingtalk", "ml_slack": "slack", "smtp_default": "email"}


class Notification(NamedTuple):
    """One message to one target."""

    event_type: str
    about: str
    rule: str
    conn_id: str

    def __str__(self) -> str:
        return f"{self.event_type} of {self.about} by {self.rule} to {self.conn_id}"


def _all(*rows: tuple[str, str, str, str]) -> list[Notification]:
    """One notification for each target; the last field holds them with spaces between."""
    return [Notification(*row[:3], conn_id) for row in rows for conn_id in row[3].split()]


APPROVAL_MISSING = _all(("airflow.deadline.missed", "example_train_churn", "late-runs", "ml_dingtalk"))
APPROVED = _all(
    (
        "ml.model_version.approval_changed",
        "models/churn/versions/1",
        "model-decisions",
        "ml_slack ml_webhook",
    ),
    ("airflow.asset.updated", "assets/approved_churn_model", "released-models", "ml_webhook"),
    ("airflow.dag_run.success", "example_train_churn", "churn-runs", "ml_webhook"),
    ("com.example.model.deployed", "models/churn", "deployments", "ml_webhook"),
    ("ml.notification.requested", "example_deploy_churn.tell_people", "task tell_people", "ml_slack ml_dingtalk"),
    ("airflow.dag_run.success", "example_deploy_churn", "churn-runs", "ml_webhook"),
)
DRIFT = _all(
    ("ml.data_validation.failed", "example_check_drift.compare", "bad-data", "ml_webhook"),
    ("ml.dataset.drift_detected", "example_check_drift.compare", "drift", "ml_slack smtp_default"),
    ("airflow.dag_run.success", "example_check_drift", "churn-runs", "ml_webhook"),
)
BAD_NIGHT = _all(
    ("airflow.task_instance.failed", "example_nightly_features.load_orders", "direct", "ml_webhook"),
    (
        "airflow.task_instance.failed",
        "example_nightly_features.load_orders",
        "broken-tasks",
        "ml_dingtalk smtp_default",
    ),
    ("airflow.task_instance.up_for_retry", "example_nightly_features.load_clicks", "flaky-tasks", "ml_slack"),
    (
        "airflow.task_instance.failed",
        "example_nightly_features.aggregate_sessions",
        "broken-tasks",
        "ml_dingtalk smtp_default",
    ),
    ("airflow.dag_run.failed", "example_nightly_features", "broken-runs", "smtp_default"),
)
ALL = [*APPROVAL_MISSING, *APPROVED, *DRIFT, *BAD_NIGHT]


def arrived(told: Iterable[Told], letters: Iterable[Letter]) -> list[Notification]:
    """The deliveries that the inbox accepted, signature and form included, once for each time."""
    letters = [letter for letter in letters if letter.accepted]
    # Slack's messages carry no id of ours: they are told apart by what they say of themselves.
    slack = Counter(_said(letter.text) for letter in letters if letter.channel == "slack")
    ids = Counter((letter.channel, letter.delivery_id) for letter in letters)
    found: list[Notification] = []
    for one in told:
        for delivery in one.deliveries:
            if CHANNELS[delivery.conn_id] == "slack":
                said = (delivery.rule, one.event["type"])
                times = min(1, slack[said])
                slack[said] -= times
            else:
                times = ids[CHANNELS[delivery.conn_id], delivery.id]
            found += [_notification(one, delivery)] * times
    return found


def surplus(told: Iterable[Told], letters: Iterable[Letter]) -> list[Notification]:
    """What arrived though it should not, or too often."""
    return list((Counter(arrived(told, letters)) - Counter(ALL)).elements())


def problems(told: list[Told], letters: list[Letter], due: Iterable[Notification]) -> list[str]:
    """Which of the notifications that are ``due`` are missing in the inbox, and what should not be there."""
    got = arrived(told, letters)
    stored = {_notification(one, delivery): delivery for one in told for delivery in one.deliveries}
    lines = []
    for missing in (Counter(due) - Counter(got)).elements():
        delivery = stored.get(missing)
        why = f"{delivery.state}: {delivery.code} {delivery.reason}" if delivery else "there is no delivery"
        lines.append(f"did not arrive: {missing} ({why})")
    lines += [f"came without being expected: {one}" for one in surplus(told, letters)]
    if stray := sum(letter.accepted for letter in letters) - len(got):
        lines.append(f"{stray} message(s) came that no delivery tells of")
    refused = [letter for letter in letters if not letter.verified]
    return lines + [f"was refused by the {letter.channel} receiver: {letter.problem}" for letter in refused]


def _notification(told: Told, delivery: Delivery) -> Notification:
    return Notification(told.event["type"], told.about, delivery.rule, delivery.conn_id)


def _said(text: str) -> tuple[str, str]:
    """Rule and event type in the last line of a Slack message."""
    found = re.search(r"rule (.+?) · ([\w.]+) · ", text)
    return (found[1], found[2]) if found else ("", "")
