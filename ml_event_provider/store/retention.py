"""Prunes what is older than the retention, in small batches, so that nobody waits for a lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, exists, select

from ml_event_provider.store import cursors, decisions, schema, states
from ml_event_provider.store.engine import transaction
from ml_event_provider.store.schema import DeliveryState

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

BATCH = 500


def prune(before: datetime, *, go_on: Callable[[], bool] = lambda: True) -> int:
    """Delete events recorded before a moment, with their notifications, deliveries and attempts.

    An event that is not matched yet, of which there is still something to tell, or whose delivery is on its way, stays.
    Decisions go too, and what rules remember of keys of which nothing was heard since. Return how many events went.
    """
    pruned = 0
    position = 0
    with transaction() as connection:
        held = states.seqs_held(connection)
    while go_on():
        with transaction() as connection:
            seqs = list(
                connection.execute(
                    select(schema.event.c.seq)
                    .where(
                        schema.event.c.recorded_at < before,
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
            seqs = [seq for seq in seqs if seq not in held]
            notifications = select(schema.notification.c.id).where(schema.notification.c.event_seq.in_(seqs))
            deliveries = select(schema.delivery.c.id).where(schema.delivery.c.notification_id.in_(notifications))
            connection.execute(delete(schema.attempt).where(schema.attempt.c.delivery_id.in_(deliveries)))
            connection.execute(delete(schema.delivery).where(schema.delivery.c.notification_id.in_(notifications)))
            connection.execute(delete(schema.notification).where(schema.notification.c.event_seq.in_(seqs)))
            connection.execute(delete(schema.event).where(schema.event.c.seq.in_(seqs)))
            pruned += len(seqs)
    while go_on():
        with transaction() as connection:
            gone = decisions.forget(connection, before=before, limit=BATCH)
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
