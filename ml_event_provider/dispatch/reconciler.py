"""Makes capture complete: records what Airflow's tables show and nobody reported.

Three kinds of change reach no listener that could record them safely, and are read from the tables instead:

- task tries that ended without a listener (killed, stuck in queued, skipped or failed by the scheduler);
- dag runs whose listener failed;
- assets, asset events and import errors: Airflow tells listeners of these before the transaction commits and gives
  them neither its session nor the row's id, so that only the table knows what happened. Their primary keys are read
  forward, and what commits late is waited for (``store.forward``).

One dispatcher at a time does this. It looks only at runs that are active, are new (primary-key range) or were seen
active and have ended since: never at the whole of ``task_instance``.

The present moment is the database's. The ends of runs and tries are the schedulers' and workers' own moments: one that
lies further ahead than the grace period is a wrong clock's, and is not waited for.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ml_event_provider import capture, config
from ml_event_provider.dispatch.rows import Rows
from ml_event_provider.redaction import redact
from ml_event_provider.sources import airflow as source
from ml_event_provider.store import airflow_tables, cursors, events, forward, unreported
from ml_event_provider.store.engine import database_now, in_chunks, transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from ml_event_provider.events.model import Event

log = logging.getLogger(__name__)

#: How many rows are read in one go.
BATCH = 2_000
#: How many pages of our own events are read in one go, at the most.
PAGES = 10


class Reconciler:
    """Compares Airflow's tables with the recorded events.

    ``grace`` in seconds; ``retention`` in days: what is older was pruned and is not missing.
    """

    def __init__(self, *, grace: float, retention: float = 0.0, now: Callable[[Any], datetime] = database_now) -> None:
        self._grace = timedelta(seconds=grace)
        self._retention = timedelta(days=retention)
        self._now = now

    def reconcile_runs(self) -> list[Event]:
        """Record unreported changes of dag runs and task tries; return them."""
        with transaction() as connection:
            now = self._now(connection)
            new = forward.keys_after(connection, "dag_run", airflow_tables.RUN_KEY, now=now, limit=BATCH)
            since = self._since(connection, "dag_run", now)
            told = self._told_of(connection, now)
            cursors.watch(connection, [*new, *told, *airflow_tables.active_runs(connection)], now=now)
        with transaction() as connection:
            watched = cursors.watched(connection)
            rows = Rows(connection, now=now)
            runs = rows.read("dag_run", watched, lambda ids: airflow_tables.runs_by_id(connection, ids))
            missing = rows.record(self._unreported_runs(rows, connection, runs, since, now))
        for chunk in in_chunks(watched, 200):
            for past in (False, True):
                missing += self._record_tries(chunk, past, since, now)
        with transaction() as connection:
            cursors.unwatch(connection, self._complete(connection, watched, runs, now))
        for event in missing:
            log.info("Recorded unreported %s of %s", event.type, event.subject)
        return missing

    def _since(self, connection: Any, name: str, now: datetime) -> datetime:
        """Since when the table is read: what happened before is not ours to tell, or was pruned."""
        found = cursors.read(connection, name)
        since = now if found is None else found[1]
        return max(since, now - self._retention) if self._retention else since

    def _told_of(self, connection: Any, now: datetime) -> list[int]:
        """The runs of which our own events tell since the last time: an old one may have been cleared and ended."""
        named: set[tuple[str, str]] = set()
        for _ in range(PAGES):
            seqs = forward.keys_after(connection, "dag_run_event", events.KEY, now=now, limit=BATCH)
            named |= events.dag_runs_of(connection, seqs)
            if len(seqs) < BATCH:
                break
        return airflow_tables.runs_named(connection, named)

    def _unreported_runs(
        self, rows: Rows, connection: Any, runs: list[Any], since: datetime, now: datetime
    ) -> list[Event]:
        ended = [
            run
            for run in runs
            if run.state in airflow_tables.TERMINAL_RUN_STATES
            and run.end_date is not None
            and since < run.end_date
            and not now - self._grace <= run.end_date <= now + self._grace
        ]
        dag_ids = {run.dag_id for run in ended}
        workspaces = airflow_tables.workspaces_of(connection, dag_ids)
        tags = airflow_tables.tags_of(connection, dag_ids)
        owners = airflow_tables.owners_of(connection, dag_ids)

        def event_of(run: Any) -> Event:
            return source.dag_run_event(
                run,
                state=run.state,
                workspace=workspaces[run.dag_id],
                origin="reconciler",
                base_url=config.airflow_base_url(),
                owner=owners.get(run.dag_id, ""),
                tags=tags[run.dag_id],
            )

        captured = [run for run in ended if capture.dag_is_captured(run.dag_id, tags[run.dag_id])]
        described = rows.describe("dag_run", captured, event_of)
        known = events.known_ids(connection, [event.id for event in described])
        return [event for event in described if event.id not in known]

    def _record_tries(self, run_ids: list[int], past: bool, since: datetime, now: datetime) -> list[Event]:
        """Record unreported tries page by page, each in a transaction of its own."""
        recorded: list[Event] = []
        after = UUID(int=0)
        while True:
            with transaction() as connection:
                young = (now - self._grace, now + self._grace)
                ids = unreported.unreported_ids(
                    connection, run_ids, past=past, since=since, young=young, after=after, limit=BATCH
                )
                rows = Rows(connection, now=now)
                tries = rows.read("task try", ids, lambda some: unreported.tries_by_id(connection, some, past=past))
                recorded += rows.record(self._tries(rows, connection, tries))
            if len(ids) < BATCH:
                return recorded
            after = ids[-1]

    def _tries(self, rows: Rows, connection: Any, tries: list[Any]) -> list[Event]:
        dag_ids = {row.dag_id for row in tries}
        workspaces = airflow_tables.workspaces_of(connection, dag_ids)
        tags = airflow_tables.tags_of(connection, dag_ids)
        owners = airflow_tables.owners_of(connection, dag_ids)
        captured = [row for row in tries if capture.task_is_captured(row.dag_id, row.task_id, tags=tags[row.dag_id])]
        tasks = airflow_tables.tasks_of(connection, {(row.dag_id, row.task_id) for row in captured})

        def described(row: Any) -> Event:
            task = tasks[row.dag_id, row.task_id]
            return source.task_instance_event(
                row,
                state=state_of(row),
                workspace=workspaces[row.dag_id],
                origin="reconciler",
                base_url=config.airflow_base_url(),
                task=task,
                dag_run=row,
                tags=tags[row.dag_id],
                owner=str(getattr(task, "owner", "") or owners.get(row.dag_id, "")),
            )

        wanted = [row for row in captured if not capture.opted_out(tasks[row.dag_id, row.task_id])]
        return rows.describe("task try", wanted, described)

    def _complete(self, connection: Any, watched: list[int], runs: list[Any], now: datetime) -> list[int]:
        """The watched runs that ended longer ago than the grace period with all their tasks, or are gone."""
        young = (now - 2 * self._grace, now + 2 * self._grace)
        quiet = [
            run.id
            for run in runs
            if run.state in airflow_tables.TERMINAL_RUN_STATES
            and not young[0] <= (run.end_date or run.updated_at or now) <= young[1]
        ]
        busy = unreported.unfinished_tasks(connection, quiet, young=young)
        present = airflow_tables.runs_present(connection, watched)
        return [run_id for run_id in quiet if run_id not in busy] + [
            run_id for run_id in watched if run_id not in present
        ]

    def read_tables(self) -> list[Event]:
        """Record new assets, asset events and import errors; return those that were new."""
        workspace = config.workspace()
        with transaction() as connection:
            now = self._now(connection)
            rows = Rows(connection, now=now)
            described = [
                *self._assets(rows, connection, workspace, now),
                *self._asset_events(rows, connection, workspace, now),
                *self._import_errors(rows, connection, workspace, now),
            ]
            known = events.known_ids(connection, [event.id for event in described])
            return rows.record([event for event in described if event.id not in known])

    def _assets(self, rows: Rows, connection: Any, workspace: str, now: datetime) -> list[Event]:
        keys = forward.keys_after(connection, "asset", airflow_tables.ASSET_KEY, now=now, limit=BATCH)
        since = self._since(connection, "asset", now)
        found = rows.read("asset", keys, lambda some: airflow_tables.assets_by_id(connection, some))
        return rows.describe(
            "asset",
            [row for row in found if row.created_at > since],
            lambda row: source.asset_created_event(row, workspace=workspace, origin="reconciler"),
        )

    def _asset_events(self, rows: Rows, connection: Any, workspace: str, now: datetime) -> list[Event]:
        keys = forward.keys_after(connection, "asset_event", airflow_tables.ASSET_EVENT_KEY, now=now, limit=BATCH)
        since = self._since(connection, "asset_event", now)
        found = rows.read("asset_event", keys, lambda some: airflow_tables.asset_events_by_id(connection, some))
        return rows.describe(
            "asset_event",
            [row for row in found if row.timestamp > since],
            lambda row: source.asset_updated_event(row, workspace=workspace, origin="reconciler"),
            key="event_id",
        )

    def _import_errors(self, rows: Rows, connection: Any, workspace: str, now: datetime) -> list[Event]:
        found = cursors.read(connection, "import_error")
        if found is None:
            found = cursors.start(connection, "import_error", 0, now=now)
        ids = airflow_tables.import_error_ids(connection)
        errors = rows.read("import_error", ids, lambda some: airflow_tables.import_errors(connection, some))
        return rows.describe(
            "import_error",
            [row for row in errors if row.timestamp is None or row.timestamp > found[1]],
            lambda row: source.import_error_event(
                SimpleNamespace(**row._mapping), workspace=workspace, origin="reconciler", redact=redact
            ),
        )


def state_of(row: Any) -> str:
    """The state of a try. Airflow's history calls a try ``failed`` also when a retry follows."""
    if row.past and row.state == "failed" and row.try_number <= (row.max_tries or 0):
        return "up_for_retry"
    return str(row.state)
