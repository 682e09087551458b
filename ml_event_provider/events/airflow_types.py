"""The data of the ``airflow.*`` event types. Needs pydantic, so only ``catalogue`` imports it, and late."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class EventData(BaseModel):
    """What all data models share: further fields are allowed; an optional one may be null or absent."""

    model_config = ConfigDict(extra="allow", frozen=True)


class DagRunData(EventData):
    """A dag run."""

    dag_id: str = Field(description="The DAG.")
    run_id: str = Field(description="The run, unique in its DAG.")
    state: str = Field(description="The run's state after the change.")
    previous_state: str | None = Field(None, description="The state before, where known.")
    run_type: str | None = Field(None, description="How the run came about: scheduled, manual, backfill, asset…")
    logical_date: AwareDatetime | None = Field(None, description="The run's logical date.")
    data_interval_start: AwareDatetime | None = Field(None, description="The first moment of the data's interval.")
    data_interval_end: AwareDatetime | None = Field(None, description="The moment after the data's interval.")
    run_after: AwareDatetime | None = Field(None, description="Not before this moment may the run start.")
    queued_at: AwareDatetime | None = Field(None, description="When the run was queued.")
    start_date: AwareDatetime | None = Field(None, description="When the run started.")
    end_date: AwareDatetime | None = Field(None, description="When the run ended.")
    duration: float | None = Field(None, description="Seconds from start to end.")
    clear_number: int | None = Field(None, description="How often the run was cleared.")
    triggered_by: str | None = Field(None, description="What made the run: timetable, ui, rest_api, cli, asset…")
    triggering_user: str | None = Field(None, description="The user who made the run.")
    message: str | None = Field(None, description="Airflow's own words about the change.")
    tags: list[str] | None = Field(None, description="The DAG's tags.")
    url: str | None = Field(None, description="The run's page in Airflow.")


class TaskException(EventData):
    """What a task raised."""

    type: str | None = Field(None, description="The exception's class.")
    message: str | None = Field(None, description="The exception's text.")
    traceback: str | None = Field(None, description="The traceback, as Python prints it.")


class TaskInstanceData(EventData):
    """One try of a task instance."""

    dag_id: str = Field(description="The DAG.")
    run_id: str = Field(description="The run, unique in its DAG.")
    task_id: str = Field(description="The task, unique in its DAG.")
    map_index: int = Field(description="The index of a mapped task instance; -1 if the task is not mapped.")
    try_number: int = Field(description="The try, from 1; 0 if the task never started.")
    try_id: UUID = Field(description="Airflow's own UUID of this try.")
    state: str = Field(description="The state after the change.")
    previous_state: str | None = Field(None, description="The state before, where known.")
    max_tries: int | None = Field(None, description="How many retries the task has.")
    operator: str | None = Field(None, description="The operator's class.")
    tags: list[str] | None = Field(None, description="The DAG's tags.")
    queue: str | None = Field(None, description="The executor's queue.")
    pool: str | None = Field(None, description="The pool that gave the slot.")
    hostname: str | None = Field(None, description="The host that ran the try.")
    start_date: AwareDatetime | None = Field(None, description="When the try started.")
    end_date: AwareDatetime | None = Field(None, description="When the try ended.")
    duration: float | None = Field(None, description="Seconds from start to end.")
    logical_date: AwareDatetime | None = Field(None, description="The run's logical date.")
    run_type: str | None = Field(None, description="How the run came about: scheduled, manual, backfill, asset…")
    exception: TaskException | None = Field(None, description="What the task raised, where it is known.")
    log_url: str | None = Field(None, description="The try's log in Airflow.")
    url: str | None = Field(None, description="The task instance's page in Airflow.")
    manual: bool | None = Field(None, description="Whether somebody set the state by hand.")


class AssetCreatedData(EventData):
    """An asset."""

    name: str = Field(description="The asset's name.")
    uri: str = Field(description="The asset's URI.")
    asset_id: int | None = Field(None, description="The asset's number in this Airflow.")
    group: str | None = Field(None, description="The asset's group.")
    extra: dict[str, Any] | None = Field(None, description="The extra fields of the asset or of its event.")


class AssetUpdatedData(AssetCreatedData):
    """An update of an asset."""

    source_dag_id: str | None = Field(None, description="The DAG that updated the asset.")
    source_task_id: str | None = Field(None, description="The task that updated the asset.")
    source_run_id: str | None = Field(None, description="The run that updated the asset.")
    source_map_index: int | None = Field(None, description="The mapped task instance that updated the asset.")
    timestamp: AwareDatetime | None = Field(None, description="When Airflow took note of the update.")


class DagImportErrorData(EventData):
    """A DAG file that cannot be imported."""

    filename: str = Field(description="The file, relative to its bundle.")
    bundle_name: str | None = Field(None, description="The DAG bundle.")
    message: str | None = Field(None, description="What was raised: the exception and the first line of its text.")
    stacktrace: str | None = Field(None, description="The whole stack trace.")


class DeadlineMissedData(EventData):
    """A dag run's deadline that passed."""

    dag_id: str = Field(description="The DAG.")
    run_id: str = Field(description="The run, unique in its DAG.")
    deadline_id: UUID | None = Field(None, description="Airflow's own UUID of the deadline.")
    deadline_time: AwareDatetime | None = Field(None, description="The deadline.")
    name: str | None = Field(None, description="The deadline alert's name.")
    state: str | None = Field(None, description="The run's state when the deadline passed.")
    url: str | None = Field(None, description="The run's page in Airflow.")
