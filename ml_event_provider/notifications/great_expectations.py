"""``MlEventAction``: a Great Expectations checkpoint publishes its result as an event.

Importing this module imports Great Expectations (seconds, and some 230 MB): import it where a checkpoint is
made, not at the top of a DAG file.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

from great_expectations.checkpoint.actions import ActionContext, UpdateDataDocsAction, ValidationAction

from ml_event_provider import config
from ml_event_provider.drift.report import read_report
from ml_event_provider.exceptions import MlEventError
from ml_event_provider.sources.great_expectations import drift_detected, validation_event

if TYPE_CHECKING:
    from great_expectations.checkpoint.checkpoint import CheckpointResult

    from ml_event_provider.events import Event

log = logging.getLogger(__name__)


class MlEventAction(ValidationAction):
    """Publishes ``ml.data_validation.success`` or ``.failed`` after a checkpoint has run.

    Expectations whose ``meta`` marks them as being about drift (``drift_meta()``) also give
    ``ml.dataset.drift_detected``, when half of the columns or a critical one drifted. Works in an Airflow
    task (the event then names DAG, run and task) and outside. It never aborts the checkpoint: what went wrong
    is logged and returned as ``{"published": False, "reason": ...}``.

    ``workspace`` is ``[ml_events] workspace`` if empty; ``on="failure"`` publishes failed validations only
    (drift is published in any case); ``conn_id`` names the connection to the ingest endpoint.
    """

    type: Literal["ml_event"] = "ml_event"
    name: str = "ml_event"
    workspace: str = ""
    owner: str = ""
    on: Literal["all", "failure"] = "all"
    conn_id: str | None = None

    def run(self, checkpoint_result: CheckpointResult, action_context: ActionContext | None = None) -> dict[str, Any]:
        """Publish; returns ``{"published": True, "event_ids": [...]}``, or why not."""
        try:
            events = self._events(checkpoint_result, _data_docs_url(action_context))
            if not events:
                return {"published": False, "reason": "the validation succeeded, and on is 'failure'"}
            from ml_event_provider.hooks.ml_events import MlEventHook

            return {"published": True, "event_ids": MlEventHook(self.conn_id).publish(events)}
        except MlEventError as error:
            log.warning("The events of checkpoint %r were not published: %s", checkpoint_result.name, error)
            return {"published": False, "reason": str(error)}
        except Exception as error:  # a raising action would abort Checkpoint.run
            log.exception("The events of checkpoint %r were not published", checkpoint_result.name)
            return {"published": False, "reason": f"{type(error).__name__}, see the log"}

    def _events(self, result: CheckpointResult, data_docs_url: str) -> list[Event]:
        where = _where_it_runs()
        team = where.pop("team", "")
        where |= {"workspace": self.workspace or team or config.workspace(), "owner": self.owner}
        where["origin"] = "worker" if where.get("task_id") else "ingest"
        events = []
        if self.on == "all" or not result.success:
            events.append(validation_event(result, data_docs_url=data_docs_url, **where))
        report = read_report(result)
        if report is not None and report.drifted:
            assets = [str(item.asset_name) for item in result.run_results.values() if item.asset_name]
            events.append(
                drift_detected(
                    **report.event_fields(),
                    time=result.run_id.run_time,
                    target_dataset_id=", ".join(dict.fromkeys(assets)),
                    **where,
                )
            )
        return events


def _where_it_runs() -> dict[str, Any]:
    """DAG, run and task, inside an Airflow task; nothing outside."""
    from airflow.sdk import get_current_context

    try:
        context = get_current_context()
    except RuntimeError:
        return {}
    task_instance = context["ti"]
    return {
        "dag_id": task_instance.dag_id,
        "run_id": task_instance.run_id,
        "task_id": task_instance.task_id,
        "map_index": -1 if task_instance.map_index is None else task_instance.map_index,
        "team": getattr(context["dag_run"], "team_name", None) or "",
    }


def _data_docs_url(action_context: ActionContext | None) -> str:
    """The first page that an ``UpdateDataDocsAction`` of the same checkpoint built."""
    if action_context is None:
        return ""
    for pages in action_context.filter_results(class_=UpdateDataDocsAction):
        for sites in pages.values():
            for url in sites.values():
                return str(url)
    return ""
