"""The data of the ``ml.*`` event types. Needs pydantic, so only ``catalogue`` imports it, and late."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, Field

from ml_event_provider.events.airflow_types import EventData

Approval = Literal["pending", "approved", "rejected"]


class ModelVersionApprovalData(EventData):
    """A model version's approval status."""

    registry: str = Field(description="The registry's kind: mlflow, sagemaker…")
    model: str = Field(description="The registered model's name.")
    version: str = Field(description="The version, as the registry writes it.")
    status: Approval = Field(description="The status after the change.")
    previous_status: Approval | None = Field(None, description="The status before, where known.")
    previous_seen: AwareDatetime | None = Field(None, description="When it was last seen so.")
    tags: dict[str, str] | None = Field(None, description="The version's tags.")
    aliases: list[str] | None = Field(None, description="The version's aliases.")
    link: str | None = Field(None, description="The version's page in the registry.")
    run_id: str | None = Field(None, description="The registry's training run that made the version.")
    dag_id: str | None = Field(None, description="The DAG that noticed or made the change.")
    dag_run_id: str | None = Field(None, description="The run of that DAG.")
    task_id: str | None = Field(None, description="The task of that run.")


class FailedExpectation(EventData):
    """An expectation that the data did not meet."""

    expectation_type: str | None = Field(None, description="The expectation's type.")
    column: str | None = Field(None, description="The column.")
    severity: str | None = Field(None, description="Great Expectations' severity: critical, warning or info.")
    observed_value: Any = Field(None, description="What was seen.")
    detail: str | None = Field(None, description="What was expected, or the error met.")


class DataValidationData(EventData):
    """The result of a Great Expectations checkpoint."""

    checkpoint: str = Field(description="The checkpoint's name.")
    success: bool = Field(description="Whether all expectations were met.")
    evaluated: int | None = Field(None, description="How many expectations were evaluated.")
    successful: int | None = Field(None, description="How many of them were met.")
    unsuccessful: int | None = Field(None, description="How many of them were not met.")
    failed_expectations: list[FailedExpectation] | None = Field(None, description="The expectations not met.")
    data_asset: str | None = Field(None, description="The data asset that was checked.")
    batch_id: str | None = Field(None, description="The batch that was checked.")
    run_name: str | None = Field(None, description="The checkpoint run's name.")
    data_docs_url: str | None = Field(None, description="The result's page in the data docs.")
    dag_id: str | None = Field(None, description="The DAG that ran the checkpoint.")
    run_id: str | None = Field(None, description="The run of that DAG.")
    task_id: str | None = Field(None, description="The task of that run.")


class ColumnDrift(EventData):
    """The drift of one column."""

    column: str | None = Field(None, description="The column.")
    method: str | None = Field(None, description="The measure: ks, psi, wasserstein, js…")
    value: float | None = Field(None, description="The measure's value.")
    threshold: float | None = Field(None, description="The value at which the column counts as drifted.")
    drifted: bool | None = Field(None, description="Whether it does.")


class DatasetDriftData(EventData):
    """A drift check; the first eight fields are those of Azure's ``DatasetDriftDetected``."""

    DataDriftId: str = Field(description="The drift monitor's id.")
    DataDriftName: str = Field(description="The drift monitor's name.")
    RunId: str = Field(description="The check's id.")
    BaseDatasetId: str = Field(description="The baseline dataset.")
    TargetDatasetId: str = Field(description="The dataset compared with it.")
    DriftCoefficient: float = Field(description="How far the two can be told apart: 0 not at all, 1 always.")
    StartTime: AwareDatetime | None = Field(None, description="The first moment of the target's data.")
    EndTime: AwareDatetime | None = Field(None, description="The moment after the target's data.")
    method: str | None = Field(None, description="How the coefficient was measured.")
    threshold: float | None = Field(None, description="The coefficient at which this event is made.")
    base_rows: int | None = Field(None, description="How many baseline rows were compared.")
    target_rows: int | None = Field(None, description="How many target rows were compared.")
    drifted_columns: list[str] | None = Field(None, description="The columns that drifted.")
    drifted_share: float | None = Field(None, description="Their share of all judged columns, from 0 to 1.")
    columns: list[ColumnDrift] | None = Field(None, description="Each compared column.")
    dag_id: str | None = Field(None, description="The DAG that ran the check.")
    run_id: str | None = Field(None, description="The run of that DAG.")
    task_id: str | None = Field(None, description="The task of that run.")


class RunMetricData(EventData):
    """One logged value of a training run's metric."""

    run_id: str = Field(description="The training run, as its tracker names it.")
    metric: str = Field(description="The metric's name.")
    value: float = Field(description="The value.")
    step: int | None = Field(None, description="The step at which it was logged.")
    project: str | None = Field(None, description="The tracker's project or experiment.")
    run_name: str | None = Field(None, description="The run's name for people.")
    model: str | None = Field(None, description="The model that is trained.")
    link: str | None = Field(None, description="The run's page in the tracker.")
    dag_id: str | None = Field(None, description="The DAG that logged it.")
    dag_run_id: str | None = Field(None, description="The run of that DAG.")
    task_id: str | None = Field(None, description="The task of that run.")


class AbsenceData(EventData):
    """Events that did not come."""

    rule: str = Field(description="The rule that waits for them.")
    key: list[Any] = Field(description="What they would have been about: the values of the rule's 'by'.")
    by: list[str] | None = Field(None, description="The fields that the values are from.")
    last: AwareDatetime | None = Field(None, description="When the last such event was.")
    within: float | None = Field(None, description="How many seconds may pass without one.")
    missed: AwareDatetime | None = Field(None, description="The moment of the schedule after which none came.")


class NotificationData(EventData):
    """A notification that a DAG's author asked for."""

    title: str | None = Field(None, description="One line.")
    text: str | None = Field(None, description="The message.")
    link: str | None = Field(None, description="Where to read on.")


class TargetData(EventData):
    """Whether a target can be reached."""

    conn_id: str = Field(description="The target's connection.")
    since: str = Field(description="Since when it cannot be reached, or could not.")
    failures: int = Field(description="How many attempts failed in a row.")
    code: str = Field(description="The last failure's code: HTTP 503, timeout…")
    reason: str = Field(description="The last failure in words.")
    waiting: int = Field(description="How many deliveries wait for it.")
