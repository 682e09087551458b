"""``DriftCheckOperator``: compares current data with reference data and publishes what it found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from ml_event_provider import config
from ml_event_provider.drift.check import MIN_ROWS, THRESHOLD
from ml_event_provider.drift.report import DRIFTED_SHARE
from ml_event_provider.sources.great_expectations import drift_detected, validation_event

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from airflow.sdk import Context
    from jinja2 import Environment

    from ml_event_provider.drift.check import Coefficient
    from ml_event_provider.drift.datasets import Dataset
    from ml_event_provider.drift.report import DriftReport
    from ml_event_provider.events import Event


class DriftCheckOperator(BaseOperator):
    """Compares current data with reference data, column by column, by means of Great Expectations.

    Publishes ``ml.data_validation.success`` or ``.failed`` and, when the dataset drifts,
    ``ml.dataset.drift_detected``. Returns the report as JSON: ``status`` is ``"drift"``, ``"no_drift"``,
    ``"too_few_rows"`` (nothing could be told from chance) or ``"not_judged"``. Events that cannot be handed
    over are a warning, never a failed task. Needs ``airflow-provider-ml-events[great-expectations]``.

    :param name: the check's name; with the workspace it identifies the drift monitor. (templated)
    :param reference: the data to compare with: a path or URI of a CSV or Parquet file, a pandas DataFrame, a
        callable that returns one, or another task's output that is one of these. (templated)
    :param current: the data to check, given in the same ways. (templated)
    :param columns: the columns to compare; all of the reference, if ``None``. (templated)
    :param critical_columns: columns of which each one alone makes the dataset drift. (templated)
    :param threshold: the largest Kullback-Leibler divergence of a column that is no drift, in nats.
    :param drifted_share: from which share of drifted columns on the dataset drifts, above 0 to 1.
    :param min_rows: how many rows, and values in a column, both sides need to be judged.
    :param coefficient: what gives ``DriftCoefficient``: ``"divergence"``, or a ``"classifier"`` as in Azure
        Machine Learning, which needs scikit-learn.
    :param fail_on_drift: whether drift fails the task, without a retry, after the events were published.
    :param publish: whether to publish events.
    :param conn_id: the connection to the ingest endpoint.
    :param reference_id: the event's ``BaseDatasetId``; the path, if empty. (templated)
    :param current_id: the event's ``TargetDatasetId``; the path, if empty. (templated)
    :param start_time: the start of the current data's time window, ISO 8601; the run's data interval, if
        neither this nor ``end_time`` is given. (templated)
    :param end_time: the end of that window. (templated)
    """

    template_fields: Sequence[str] = (
        "name",
        "reference",
        "current",
        "columns",
        "critical_columns",
        "reference_id",
        "current_id",
        "start_time",
        "end_time",
    )

    def __init__(
        self,
        *,
        name: str,
        reference: Dataset,
        current: Dataset,
        columns: Sequence[str] | None = None,
        critical_columns: Sequence[str] = (),
        threshold: float = THRESHOLD,
        drifted_share: float = DRIFTED_SHARE,
        min_rows: int = MIN_ROWS,
        coefficient: Coefficient = "divergence",
        fail_on_drift: bool = False,
        publish: bool = True,
        conn_id: str | None = None,
        reference_id: str = "",
        current_id: str = "",
        start_time: datetime | str | None = None,
        end_time: datetime | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.reference = reference
        self.current = current
        self.columns = columns
        self.critical_columns = critical_columns
        self.threshold = threshold
        self.drifted_share = drifted_share
        self.min_rows = min_rows
        self.coefficient = coefficient
        self.fail_on_drift = fail_on_drift
        self.publish = publish
        self.conn_id = conn_id
        self.reference_id = reference_id
        self.current_id = current_id
        self.start_time = start_time
        self.end_time = end_time

    def render_template_fields(self, context: Context, jinja_env: Environment | None = None) -> None:
        """As Airflow does, except that it would call ``reference`` and ``current`` with arguments of its own."""
        for name in ("reference", "current"):
            if callable(given := getattr(self, name)):
                setattr(self, name, lambda given=given, **_: given)
        super().render_template_fields(context, jinja_env)

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the check.

        :return: the report (``DriftReport.to_dict``).
        :raises AirflowFailException: if the dataset drifts and ``fail_on_drift`` is set.
        """
        from ml_event_provider.drift.check import check
        from ml_event_provider.drift.datasets import load

        report, result = check(
            load(self.reference, "reference"),
            load(self.current, "current"),
            name=self.name,
            columns=self.columns,
            critical_columns=self.critical_columns,
            threshold=self.threshold,
            drifted_share=self.drifted_share,
            min_rows=self.min_rows,
            coefficient=self.coefficient,
            run_name=context["run_id"],
        )
        self.log.info("Drift check %r: %s", self.name, _summary(report))
        for column in report.columns:
            self.log.info("  %s", column.to_dict())
        if self.publish:
            self._publish(self._events(context, report, result))
        if report.drifted and self.fail_on_drift:
            raise AirflowFailException(f"drift check {self.name!r}: {_summary(report)}")
        return report.to_dict()

    def _events(self, context: Context, report: DriftReport, result: Any) -> list[Event]:
        from ml_event_provider.drift.datasets import dataset_id

        task_instance = context["ti"]
        where: dict[str, Any] = {
            "workspace": getattr(context["dag_run"], "team_name", None) or config.workspace(),
            "owner": self.owner,
            "dag_id": task_instance.dag_id,
            "run_id": task_instance.run_id,
            "task_id": task_instance.task_id,
            "map_index": -1 if task_instance.map_index is None else task_instance.map_index,
        }
        events = [validation_event(result, **where)]
        if report.drifted:
            window = (self.start_time, self.end_time)
            if not any(window):
                window = (context.get("data_interval_start"), context.get("data_interval_end"))
            events.append(
                drift_detected(
                    **report.event_fields(),
                    time=result.run_id.run_time,
                    base_dataset_id=self.reference_id or dataset_id(self.reference),
                    target_dataset_id=self.current_id or dataset_id(self.current),
                    start_time=window[0],
                    end_time=window[1],
                    **where,
                )
            )
        return events

    def _publish(self, events: list[Event]) -> None:
        from ml_event_provider.hooks.ml_events import MlEventHook

        try:
            ids = MlEventHook(self.conn_id).publish(events)
        except Exception as error:  # noqa: BLE001 - the check is done; telling of it must not fail the task
            self.log.warning("The check's %d event(s) were not handed over: %s", len(events), error)
        else:
            self.log.info("Published %s", ", ".join(ids))


def _summary(report: DriftReport) -> str:
    return (
        f"{report.status}; {len(report.drifted_columns)} of {len(report.judged)} judged columns drifted"
        f" ({', '.join(report.drifted_columns) or 'none'}), coefficient {report.coefficient:.3f},"
        f" {report.target_rows} rows against {report.base_rows}"
    )
