"""Reads ascending keys forward, and misses none that commits late.

Keys are given out in order, and commit in any. What is missing between the keys that were read is remembered as
ranges (``ml_event_gap``) and looked for until its transactions cannot be alive any more.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, delete, func, or_, select, text

from ml_event_provider.store import cursors, schema
from ml_event_provider.store.engine import in_chunks, insert_new

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

_GAP = schema.gap
#: How many ranges are remembered for one cursor: beyond that, neighbours become one, with what was read between them.
MOST_RANGES = 2_000
#: PostgreSQL: how long after its key a transaction has its own number at the latest.
SETTLED = timedelta(seconds=5)
#: Where the database does not say which transactions are alive: how long one may last.
LONGEST_TRANSACTION = timedelta(hours=1)


class Gap(NamedTuple):
    """The keys from ``position`` to ``upto``, both included, were missing when seen.

    ``horizon`` is PostgreSQL's: all transactions that may commit one of them have a lower number.
    """

    position: int
    upto: int
    seen_at: datetime
    horizon: int | None


def keys_after(connection: Connection, name: str, key: Any, *, now: datetime, limit: int) -> list[int]:
    """The keys of the column ``key`` that were committed since the last time: at most ``limit`` new and old ones each.

    The cursor ``name`` moves on; a new one begins behind what is there. A key may be given again: after a rollback,
    or where ranges were joined.
    """
    found = cursors.read(connection, name)
    if found is None:
        cursors.start(connection, name, _newest(connection, key), now=now)
        return []
    position, _ = found
    late = _late_keys(connection, name, key, now=now, limit=limit)
    fresh = list(connection.execute(select(key).where(key > position).order_by(key).limit(limit)).scalars())
    if fresh:
        _remember(connection, name, list(_missing(position, fresh)), now=now)
        cursors.move(connection, name, fresh[-1])
    elif _newest(connection, key) < position:
        # The newest rows were deleted, or the database is an older one that was restored: keys may come again.
        cursors.move(connection, name, _newest(connection, key))
    return late + fresh


def gaps(connection: Connection, name: str) -> list[Gap]:
    """The ranges that are looked for, in order."""
    query = select(_GAP.c.position, _GAP.c.upto, _GAP.c.seen_at, _GAP.c.horizon).where(_GAP.c.name == name)
    return [Gap(*row) for row in connection.execute(query.order_by(_GAP.c.position))]


def _newest(connection: Connection, key: Any) -> int:
    return int(connection.execute(select(func.max(key))).scalar() or 0)


def _missing(position: int, keys: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The ranges between ``position`` and the ascending ``keys``."""
    for key in keys:
        if key > position + 1:
            yield position + 1, key - 1
        position = key


def _late_keys(connection: Connection, name: str, key: Any, *, now: datetime, limit: int) -> list[int]:
    """The keys within the gaps that are there now; the gaps become what is still missing."""
    # First who is alive, then what is there: what had ended by then shows.
    alive = _oldest_alive(connection)
    known = gaps(connection, name)
    found: list[int] = []
    for chunk in in_chunks(known, 100):
        within = or_(*(and_(key >= gap.position, key <= gap.upto) for gap in chunk))
        query = select(key).where(within).order_by(key).limit(limit - len(found))
        found += connection.execute(query).scalars()
        if len(found) >= limit:
            break
    left: list[Gap] = []
    full = len(found) >= limit
    for gap in known:
        if full or not _is_dead(gap, alive, now):
            inside = [one for one in found if gap.position <= one <= gap.upto]
            left += [
                gap._replace(position=first, upto=last)
                for first, last in _missing(gap.position - 1, [*inside, gap.upto + 1])
            ]
    _keep(connection, name, known, left)
    return found


def _remember(connection: Connection, name: str, ranges: Sequence[tuple[int, int]], *, now: datetime) -> None:
    # SQLite has one writer at a time: when a key is there, who took a lower one has ended.
    if not ranges or connection.dialect.name == "sqlite":
        return
    horizon = None
    if connection.dialect.name == "postgresql":
        horizon = int(connection.execute(text("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")).scalar_one())
    known = gaps(connection, name)
    _keep(connection, name, known, known + [Gap(first, last, now, horizon) for first, last in ranges])


def _keep(connection: Connection, name: str, known: list[Gap], wanted: list[Gap]) -> None:
    """Write what changed."""
    wanted = _bounded(wanted)
    gone, new = set(known) - set(wanted), set(wanted) - set(known)
    for chunk in in_chunks(sorted(gap.position for gap in gone)):
        connection.execute(delete(_GAP).where(_GAP.c.name == name, _GAP.c.position.in_(chunk)))
    insert_new(connection, _GAP, [{"name": name, **gap._asdict()} for gap in sorted(new)])


def _bounded(wanted: list[Gap]) -> list[Gap]:
    ranges = sorted(wanted)
    while len(ranges) > MOST_RANGES:
        joined = [_joined(*ranges[at : at + 2]) for at in range(0, len(ranges) - 1, 2)]
        ranges = joined + ranges[2 * len(joined) :]
    return ranges


def _joined(one: Gap, other: Gap) -> Gap:
    horizons = [gap.horizon for gap in (one, other) if gap.horizon is not None]
    return Gap(one.position, other.upto, max(one.seen_at, other.seen_at), max(horizons, default=None))


def _oldest_alive(connection: Connection) -> int | None:
    """PostgreSQL's number of the oldest transaction that may still write; the other databases do not say."""
    if connection.dialect.name != "postgresql":
        return None
    return int(connection.execute(text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")).scalar_one())


def _is_dead(gap: Gap, alive: int | None, now: datetime) -> bool:
    age = now - gap.seen_at
    if alive is None or gap.horizon is None:
        return age > LONGEST_TRANSACTION
    return alive >= gap.horizon and age > SETTLED
