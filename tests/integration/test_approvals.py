"""One change of a model version's approval is one event, however many sensors saw it, and each change is one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ml_event_provider.dispatch.completion import complete
from ml_event_provider.registries import Approval, ModelVersion
from ml_event_provider.sources.model_registry import approval_changed
from ml_event_provider.store import events
from ml_event_provider.store.engine import transaction
from tests.integration.recorded import recorded

if TYPE_CHECKING:
    from ml_event_provider.events import Event

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)

pytestmark = pytest.mark.usefixtures("airflow_db")


def seen(
    at: int, *, pending_at: int | None = None, status: str = "approved", old: str | None = None, **changes: Any
) -> Event:
    """What a sensor tells that saw the status ``at`` so many minutes, and before that, perhaps, a pending version."""
    return approval_changed(
        **{
            "workspace": "fraud",
            "registry": "mlflow",
            "instance": "mlflow_default",
            "model_version": ModelVersion(model="churn", version="3"),
            "previous": None if pending_at is None else Approval.PENDING,
            "previous_time": None if pending_at is None else NOON + timedelta(minutes=pending_at),
            "status": Approval(status),
            "key": "validation_status",
            "old": old,
            "new": status,
            "time": NOON + timedelta(minutes=at),
            "origin": "worker",
            **changes,
        }
    )


def hand_over(*told: Event) -> None:
    with transaction() as connection:
        events.record(connection, complete(connection, told))


def minutes() -> list[tuple[float, str]]:
    """When, and as what, a change is recorded."""
    return [((one.time - NOON).total_seconds() / 60, str(one.data["status"])) for one in recorded()]


@pytest.mark.parametrize(
    "other",
    [
        seen(11),
        seen(15, pending_at=9),
        # It looked first when the version bore another tag, or bore none.
        seen(15, pending_at=9, old="pending"),
        # It took longer to hand over what it had seen earlier.
        seen(9, pending_at=5),
        seen(9),
    ],
)
def test_a_change_that_two_sensors_saw_is_one_event(other: Event) -> None:
    hand_over(seen(10, pending_at=8))
    hand_over(other)
    assert len(recorded()) == 1


def test_a_version_approved_again_after_somebody_saw_it_pending_is_another_event() -> None:
    hand_over(seen(10, pending_at=8))
    again = seen(30, pending_at=20)
    hand_over(again)
    hand_over(seen(31), seen(31))
    hand_over(again)
    assert minutes() == [(10, "approved"), (30, "approved")]
    hand_over(seen(60, pending_at=50))
    assert len({one.id for one in recorded()}) == 3


def test_a_version_approved_again_after_a_rejection_is_another_event() -> None:
    hand_over(seen(10))
    hand_over(seen(20, status="rejected"))
    hand_over(seen(30))
    assert minutes() == [(10, "approved"), (20, "rejected"), (30, "approved")]


def test_changes_from_one_spool_are_told_apart_like_any_others() -> None:
    hand_over(seen(10, pending_at=8), seen(12), seen(30, pending_at=20))
    assert minutes() == [(10, "approved"), (30, "approved")]


@pytest.mark.parametrize(
    "other",
    [
        {"workspace": "ads"},
        {"instance": "elsewhere"},
        {"model_version": ModelVersion(model="churn", version="4")},
        {"model_version": ModelVersion(model="fraud", version="3")},
    ],
)
def test_another_versions_change_is_another_event(other: dict[str, Any]) -> None:
    hand_over(seen(10))
    hand_over(seen(10, **other))
    assert len(recorded()) == 2


def test_what_another_system_publishes_keeps_its_own_id() -> None:
    hand_over(seen(10))
    published = seen(11, origin="ingest")
    hand_over(published)
    assert [one.id for one in recorded()] == [published.id]
    hand_over(seen(12, origin="ingest", key="webhook"))
    assert len(recorded()) == 2
