"""Operators that publish an event, ask the rules, and send a message."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from ml_event_provider import config
from ml_event_provider.events.belonging import by_dag
from ml_event_provider.events.bounds import bounded
from ml_event_provider.events.hops import HOPS_EXTENSION, read_run_id
from ml_event_provider.events.identity import change_id
from ml_event_provider.events.model import Event, attribute_text
from ml_event_provider.hooks.ml_events import MlEventHook
from ml_event_provider.sources.airflow import event_source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context


class _EventOperator(BaseOperator):
    """Describes one event; a retried task describes it again under the same id, a cleared one under another."""

    template_fields: Sequence[str] = ("event_type", "subject", "data", "event_id", "source")
    template_fields_renderers = {"data": "json"}  # noqa: RUF012 - the base class declares a plain dict

    def __init__(
        self,
        *,
        event_type: str,
        data: Mapping[str, Any] | None = None,
        subject: str = "",
        source: str = "",
        event_id: str = "",
        ml_events_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.event_type = event_type
        self.data = data or {}
        self.subject = subject
        self.source = source
        self.event_id = event_id
        self.ml_events_conn_id = ml_events_conn_id

    @property
    def hook(self) -> MlEventHook:
        """The way to the ingest endpoint."""
        return MlEventHook(self.ml_events_conn_id, seconds=max(10.0, config.hand_over_seconds()))

    def describe(self, context: Context) -> Event:
        """The event that this task tells of.

        :raises InvalidEvent: if its parts do not make an event.
        """
        ti = context["ti"]
        map_index = -1 if ti.map_index is None else ti.map_index
        workspace = getattr(context.get("dag_run"), "team_name", None) or config.workspace()
        # An event of a run that an action started counts as one that the action led to, whatever its type.
        led = read_run_id(ti.run_id)
        return bounded(
            Event(
                id=self.event_id or self._id(context, workspace, map_index),
                source=self.source or event_source(workspace),
                type=self.event_type,
                subject=self.subject
                or attribute_text("subject", f"dags/{ti.dag_id}/runs/{ti.run_id}/tasks/{ti.task_id}"),
                time=datetime.now(UTC),
                data=dict(self.data),
                workspace=workspace,
                owner=attribute_text("owner", str(getattr(self, "owner", "") or "")),
                origin="worker",
                extensions=by_dag(ti.dag_id) | ({} if led is None else {HOPS_EXTENSION: led[0]}),
            )
        )

    def _id(self, context: Context, workspace: str, map_index: int) -> str:
        """Over the run and its start, the task and the type; and over the clear where the task was cleared.

        Airflow allows a cleared task as many tries beside those that it had as it has retries.
        """
        ti, run = context["ti"], context.get("dag_run")
        started = getattr(run, "start_date", None)
        parts = (workspace, "task", ti.dag_id, ti.run_id, started, ti.task_id, map_index, self.event_type)
        before = int(getattr(ti, "max_tries", None) or 0) - int(self.retries or 0)
        return change_id(*parts, before) if before > 0 else change_id(*parts)


class PublishEventOperator(_EventOperator):
    """Publishes one event; raises if it cannot, so that Airflow retries the task.

    :param event_type: the CloudEvents type, ``com.example.feature_store.refreshed`` (templated).
    :param data: a JSON object (templated).
    :param subject: what the event is about (templated; default: this task).
    :param source: where it comes from (templated; default: this Airflow).
    :param event_id: its id (templated; default: from dag run, task, map index and type, the same for each try until
        the task is cleared).
    :param ml_events_conn_id: the connection to the ingest endpoint.
    :return: the event's id.
    """

    def execute(self, context: Context) -> str:
        """Publish.

        :raises EventRejected: if the endpoint refused the event.
        :raises HandOverError: if it could not be reached.
        """
        event = self.describe(context)
        self.hook.publish([event])
        self.log.info("Published %s %s", event.type, event.id)
        return event.id


class EvaluateRulesOperator(_EventOperator):
    """Asks which enabled rules match an event now; nothing is recorded or sent.

    :return: a list of ``{workspace, name, severity, targets}``.
    """

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Ask.

        :raises EventRejected: if the endpoint refused the event.
        :raises HandOverError: if it could not be reached.
        """
        matched = self.hook.evaluate(self.describe(context))
        self.log.info("Matched %d rule(s): %s", len(matched), ", ".join(one["name"] for one in matched) or "none")
        return matched


class SendNotificationOperator(_EventOperator):
    """Sends one templated message to given targets, over the same delivery path as the rules' notifications.

    The task ends when the deliveries are recorded; the dispatcher sends and retries them.

    :param targets: connection ids, or ``{"conn_id": …, "options": {…}}`` (templated).
    :param title: the message's title, for the default type ``ml.notification.requested`` (templated).
    :param text: its text (templated).
    :param link: a link to more (templated).
    :param template: a message template instead of the type's own.
    :param severity: ``info``, ``warning``, ``error`` or ``critical``.
    :return: the deliveries' ids.
    """

    template_fields: Sequence[str] = (*_EventOperator.template_fields, "targets", "title", "text", "link")

    def __init__(
        self,
        *,
        targets: Sequence[str | Mapping[str, Any]],
        title: str = "",
        text: str = "",
        link: str = "",
        template: str | None = None,
        severity: str = "info",
        event_type: str = "ml.notification.requested",
        **kwargs: Any,
    ) -> None:
        super().__init__(event_type=event_type, **kwargs)
        self.targets = targets
        self.title = title
        self.text = text
        self.link = link
        self.template = template
        self.severity = severity

    def execute(self, context: Context) -> list[str]:
        """Send.

        :raises EventRejected: if the endpoint refused it.
        :raises HandOverError: if it could not be reached.
        """
        said = {"title": self.title, "text": self.text, "link": self.link}
        self.data = {**self.data, **{key: value for key, value in said.items() if value}}
        return self.hook.notify(
            self.describe(context),
            targets=[{"conn_id": one} if isinstance(one, str) else dict(one) for one in self.targets],
            template=self.template,
            severity=self.severity,
            name=f"task {self.task_id}"[:200],
        )
