from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ml_event_provider.exceptions import RegistryError
from ml_event_provider.registries import Approval, ApprovalPolicy, ModelVersion, RegistryRefused
from ml_event_provider.registries.watch import Watch

NOW = datetime(2026, 11, 22, 9, 36, tzinfo=UTC)


class Scripted:
    """A registry that answers what it is told to, in turn; a text is an error's."""

    name = "scripted"

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def get_version(self, connection: Any, model: str, version: str, *, timeout: float) -> ModelVersion:
        self.asked.append(version)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return ModelVersion(model=model, version="7", tags=answer, aliases=("a",), link="http://mlflow/7")

    def approval(self, version: ModelVersion, policy: ApprovalPolicy) -> Approval:
        return policy.status(version)


def watched(*answers: Any, **changes: Any) -> tuple[Watch, Scripted]:
    """A watch that has looked once for each answer, passing through JSON between the looks."""
    registry = Scripted(*answers)
    watch = Watch(**{"model": "churn", "version": "latest", "policy": ApprovalPolicy(), "max_errors": 3, **changes})
    for number in range(len(answers)):
        watch.look(registry, None, timeout=1, now=NOW + timedelta(minutes=number))  # type: ignore[arg-type]
        watch = Watch.from_dict(json.loads(json.dumps(watch.to_json() if number % 2 else watch.to_dict())))
    return watch, registry


def test_the_version_is_resolved_once() -> None:
    watch, registry = watched({}, {}, {"validation_status": "approved"})
    assert registry.asked == ["latest", "7", "7"]
    assert watch.version == "7"


def test_what_was_pending_before_the_decision_is_kept() -> None:
    watch, _ = watched({}, {"validation_status": "in review"}, {"validation_status": "Approved"})
    assert watch.pending is not None
    assert watch.decision is not None
    assert watch.pending.version.tags == {"validation_status": "in review"}
    assert watch.decision.status is Approval.APPROVED
    assert (watch.pending.time, watch.decision.time) == (
        NOW + timedelta(minutes=1),
        NOW + timedelta(minutes=2),
    )


def test_a_first_sight_that_is_decided_has_nothing_before_it() -> None:
    watch, _ = watched({"validation_status": "rejected"})
    assert watch.pending is None
    assert watch.decision is not None
    assert watch.decision.status is Approval.REJECTED


def test_errors_are_counted_in_a_row_only() -> None:
    busy = RegistryError("busy")
    watch, _ = watched(busy, busy, {}, busy, busy)
    assert (watch.errors, watch.last_error) == (2, "busy")
    watch, _ = watched(busy, busy, {})
    assert (watch.errors, watch.last_error) == (0, "")


def test_one_error_too_many_gives_up_in_the_registrys_words() -> None:
    with pytest.raises(RegistryError, match=r"gave up on version latest of model 'churn' after 3 errors .*: busy"):
        watched(*[RegistryError("busy")] * 3)


def test_a_refusal_is_not_waited_out() -> None:
    with pytest.raises(RegistryRefused, match="no such version"):
        watched({}, RegistryRefused("no such version"))


@pytest.mark.parametrize(
    ("answers", "policy", "words"),
    [
        ([], {}, "never"),
        ([{}], {}, "pending (tag 'validation_status' is not set) http://mlflow/7"),
        ([{"qa": "in review"}], {"tag": "qa"}, "pending (tag 'qa' = 'in review') http://mlflow/7"),
        (
            [{}],
            {"alias": "champion"},
            "pending (tag 'validation_status' is not set, aliases a) http://mlflow/7",
        ),
        (
            [{}, {"validation_status": "No"}],
            {"rejected": ("no",)},
            "rejected (tag 'validation_status' = 'No')",
        ),
    ],
)
def test_the_state_is_told_in_words(answers: list[Any], policy: dict[str, Any], words: str) -> None:
    watch, _ = watched(*answers, policy=ApprovalPolicy(**policy))
    assert watch.state().startswith(words)
