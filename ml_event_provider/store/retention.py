"""Prunes what is older than the retention, in small batches, so that nobody waits for a lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, exists, func, select

from ml_event_provider.store import cursors, decisions, lanes, quarantine, schema, states
from ml_event_provider.store.engine import database_now, transaction
from ml_event_provider.store.one_by_one import each, reason_of
from ml_event_provider.store.quarantine import Kind, SetAside
from ml_event_provider.store.schema import DeliveryState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

BATCH = 500


def prune(before: datetime, *, go_on: Callable[[], bool] = lambda: True) -> int:
    """Delete events recorded before a moment, with their notifications, deliveries and attempts.

    An event that is not matched yet, of which there is still something to tell, or whose delivery is on its way, stays.
    The newest event stays, too: SQLite would give its place, from which the ids of messages are made, to another one.
    Decisions go too, unused lanes, and what rules remember of keys of which nothing was heard since. Return how many
    events went.
    """
    pruned = 0
    position = 0
    newest = schema.event.alias("newest")
    with transaction() as connection:
        held = states.seqs_held(connection)
    while go_on():
        with transaction() as connection:
            seqs = list(
                connection.execute(
                    select(schema.event.c.seq)
                    .where(
                        schema.event.c.recorded_at < before,
                        schema.event.c.seq < select(func.max(newest.c.seq)).scalar_subquery(),
                        schema.event.c.seq > position,
                        schema.event.c.matched_at.is_not(None),
                        ~exists(
                            select(schema.delivery.c.id)
                            .join(
                                schema.notification,
                                schema.notification.c.id == schema.delivery.c.notification_id,
                            )
                            .where(
                                schema.notification.c.event_seq == schema.event.c.seq,
                                schema.delivery.c.state.in_(
                                    [DeliveryState.PENDING, DeliveryState.FAILED, DeliveryState.LEASED]
                                ),
                            )
                        ),
                    )
                    .order_by(schema.event.c.seq)
                    .limit(BATCH)
                ).scalars()
            )
            if not seqs:
                break
            position = seqs[-1]
            pruned += _delete(connection, [seq for seq in seqs if seq not in held])
    while go_on():
        with transaction() as connection:
            gone = decisions.forget(connection, before=before, limit=BATCH)
        if gone < BATCH:
            break
    while go_on():
        with transaction() as connection:
            gone = lanes.prune(connection, before=before, now=database_now(connection), limit=BATCH)
        if gone < BATCH:
            break
    with transaction() as connection:
        remembering = states.workspaces(connection)
    for workspace in sorted(remembering):
        if not go_on():
            break
        with transaction() as connection:
            if cursors.lock(connection, states.lock_of(workspace), now=before, wait=False):
                states.forget_idle(connection, workspace, before=before)
    return pruned


def _delete(connection: Connection, seqs: Sequence[int]) -> int:
    """Delete events with all that hangs on them; what cannot be deleted is set aside. Say how many went."""
    spoilt: list[SetAside] = []

    def delete_some(some: Sequence[int]) -> None:
        notifications = select(schema.notification.c.id).where(schema.notification.c.event_seq.in_(some))
        deliveries = select(schema.delivery.c.id).where(schema.delivery.c.notification_id.in_(notifications))
        connection.execute(delete(schema.attempt).where(schema.attempt.c.delivery_id.in_(deliveries)))
        connection.execute(delete(schema.delivery).where(schema.delivery.c.notification_id.in_(notifications)))
        connection.execute(delete(schema.notification).where(schema.notification.c.event_seq.in_(some)))
        connection.execute(delete(schema.event).where(schema.event.c.seq.in_(some)))

    def not_deleted(seq: int, error: Exception) -> None:
        spoilt.append(SetAside(Kind.PRUNE, str(seq), "", f"cannot be deleted: {reason_of(error)}"))

    each(connection, seqs, delete_some, not_deleted)
    quarantine.set_aside(connection, spoilt, now=database_now(connection))
    return len(seqs) - len(spoilt)
