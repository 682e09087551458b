"""A realistic event of each built-in type, for previews, tests and the documentation."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from ml_event_provider.events.model import Event

_SITE: Final = "https://airflow.example.com"
_RUN: Final = {"dag_id": "churn_training", "run_id": "scheduled__2026-11-22T06:00:00+00:00"}
_RUN_URL: Final = f"{_SITE}/dags/churn_training/runs/scheduled__2026-11-22T06%3A00%3A00%2B00%3A00"
_TRACEBACK: Final = """Traceback (most recent call last):
  File "/opt/airflow/lib/python3.11/site-packages/airflow/sdk/task_runner.py", line 1412, in run
    result = execute(context=context)
  File "/opt/airflow/dags/churn/train.py", line 87, in train
    model = fit(features, labels)
  File "/opt/airflow/dags/churn/model.py", line 41, in fit
    return pipeline.fit(features, labels)
  File "/opt/airflow/lib/python3.11/site-packages/sklearn/pipeline.py", line 655, in fit
    self._final_estimator.fit(Xt, y, **last_step_params["fit"])
  File "/opt/airflow/lib/python3.11/site-packages/sklearn/utils/validation.py", line 1389, in check_X_y
    raise ValueError(msg)
ValueError: Found input variables with inconsistent numbers of samples: [18204, 18199]
"""
_IMPORT_TRACE: Final = """Traceback (most recent call last):
  File "/opt/airflow/dags/churn_scoring.py", line 6, in <module>
    from churn.features import window_features
ImportError: cannot import name 'window_features' from 'churn.features' (/opt/airflow/dags/churn/features.py)
"""


def _dag_run(state: str, previous: str, **more: Any) -> dict[str, Any]:
    return {
        **_RUN,
        "run_type": "scheduled",
        "state": state,
        "previous_state": previous,
        "logical_date": "2026-11-22T06:00:00+00:00",
        "data_interval_start": "2026-11-21T06:00:00+00:00",
        "data_interval_end": "2026-11-22T06:00:00+00:00",
        "run_after": "2026-11-22T06:00:00+00:00",
        "queued_at": "2026-11-22T06:00:01+00:00",
        "start_date": "2026-11-22T06:00:03+00:00",
        "clear_number": 0,
        "triggered_by": "timetable",
        "tags": ["churn", "training"],
        "url": _RUN_URL,
        **more,
    }


def _task(state: str, previous: str | None, **more: Any) -> dict[str, Any]:
    return {
        **_RUN,
        "task_id": "train",
        "map_index": -1,
        "try_number": 3,
        "max_tries": 2,
        "state": state,
        "previous_state": previous,
        "operator": "PythonOperator",
        "tags": ["churn", "training"],
        "queue": "gpu",
        "pool": "default_pool",
        "hostname": "worker-7.ml.internal",
        "logical_date": "2026-11-22T06:00:00+00:00",
        "run_type": "scheduled",
        "log_url": f"{_RUN_URL}/tasks/train?try_number=3",
        "url": _RUN_URL,
        "try_id": "019aa5ef-53c4-7c11-9d2a-0f6f1e3b7a55",
        **more,
    }


_ENDED: Final = {
    "start_date": "2026-11-22T06:00:05+00:00",
    "end_date": "2026-11-22T06:18:47+00:00",
    "duration": 1122.4,
}
_FAILURE: Final = {
    "type": "ValueError",
    "message": "Found input variables with inconsistent numbers of samples: [18204, 18199]",
    "traceback": _TRACEBACK,
}
_RUN_ENDED: Final = {"end_date": "2026-11-22T06:19:02+00:00", "duration": 1139.0}
_TASK_NAMES: Final = {
    "dag_id": "churn_monitoring",
    "run_id": "manual__2026-11-22T06:30:00+00:00",
    "task_id": "check",
}
_ASSET: Final = {"name": "churn_features", "uri": "s3://ml-features/churn/", "group": "features"}

_DATA: Final[dict[str, dict[str, Any]]] = {
    "airflow.dag_run.running": _dag_run("running", "queued"),
    "airflow.dag_run.success": _dag_run("success", "running", **_RUN_ENDED),
    "airflow.dag_run.failed": _dag_run("failed", "running", message="Task(s) with failed state: train", **_RUN_ENDED),
    "airflow.task_instance.running": _task("running", "queued", start_date=_ENDED["start_date"], try_number=1),
    "airflow.task_instance.success": _task("success", "running", **_ENDED),
    "airflow.task_instance.failed": _task("failed", "running", exception=_FAILURE, **_ENDED),
    "airflow.task_instance.up_for_retry": _task(
        "up_for_retry", "running", exception=_FAILURE, **{**_ENDED, "try_number": 2}
    ),
    "airflow.task_instance.skipped": _task("skipped", None, task_id="notify_team", try_number=0, max_tries=0),
    "airflow.task_instance.upstream_failed": _task(
        "upstream_failed", None, task_id="register", try_number=0, hostname=None
    ),
    "airflow.task_instance.removed": _task("removed", None, task_id="old_export", try_number=0, hostname=None),
    "airflow.asset.created": {**_ASSET, "extra": {"team": "growth"}},
    "airflow.asset.updated": {
        **_ASSET,
        "extra": {"rows": 18204},
        "source_dag_id": "churn_features",
        "source_task_id": "write",
        "source_run_id": "scheduled__2026-11-22T05:00:00+00:00",
        "source_map_index": -1,
        "timestamp": "2026-11-22T05:12:09+00:00",
    },
    "airflow.dag.import_error": {
        "filename": "/opt/airflow/dags/churn_scoring.py",
        "bundle_name": "dags-folder",
        "message": "ImportError: cannot import name 'window_features' from 'churn.features'",
        "stacktrace": _IMPORT_TRACE,
    },
    "airflow.deadline.missed": {
        **_RUN,
        "deadline_time": "2026-11-22T07:00:00+00:00",
        "name": "training_done_by_seven",
        "state": "running",
        "url": _RUN_URL,
    },
    "ml.model_version.approval_changed": {
        "registry": "mlflow",
        "model": "churn_classifier",
        "version": "14",
        "previous_status": "pending",
        "status": "approved",
        "tags": {"validation_status": "approved", "auc": "0.913"},
        "aliases": ["champion"],
        "link": "https://mlflow.example.com/#/models/churn_classifier/versions/14",
        "run_id": "7c1f0d3a9b4e4c55a8b7f0a1d2c3e4f5",
    },
    "ml.data_validation.success": {
        "checkpoint": "churn_features",
        "success": True,
        "evaluated": 12,
        "successful": 12,
        "unsuccessful": 0,
        "failed_expectations": [],
        "data_asset": "features_daily",
        "data_docs_url": "https://docs.example.com/data/churn_features/2026-11-22.html",
        **_TASK_NAMES,
    },
    "ml.data_validation.failed": {
        "checkpoint": "churn_features",
        "success": False,
        "evaluated": 12,
        "successful": 10,
        "unsuccessful": 2,
        "failed_expectations": [
            {
                "expectation_type": "expect_column_values_to_not_be_null",
                "column": "tenure_months",
                "severity": "critical",
                "observed_value": 0.0312,
                "detail": "568 of 18204 values are unexpected",
            },
            {
                "expectation_type": "expect_column_mean_to_be_between",
                "column": "monthly_charge",
                "severity": "warning",
                "observed_value": 81.27,
                "detail": "expected between 55 and 75",
            },
        ],
        "data_asset": "features_daily",
        "data_docs_url": "https://docs.example.com/data/churn_features/2026-11-22.html",
        **_TASK_NAMES,
    },
    "ml.dataset.drift_detected": {
        "DataDriftId": "0f6c9a52-3d27-5d0e-9a55-6d1b2f4f9b11",
        "DataDriftName": "churn_features_weekly",
        "RunId": "manual__2026-11-22T06:30:00+00:00",
        "BaseDatasetId": "features_2026_10",
        "TargetDatasetId": "features_2026_11_22",
        "DriftCoefficient": 0.3141,
        "StartTime": "2026-11-15T00:00:00+00:00",
        "EndTime": "2026-11-22T00:00:00+00:00",
        "method": "classifier_mcc",
        "threshold": 0.2,
        "base_rows": 72816,
        "target_rows": 18204,
        "drifted_columns": ["monthly_charge", "contract_type"],
        "drifted_share": 0.4,
        "columns": [
            {
                "column": "monthly_charge",
                "method": "wasserstein",
                "value": 0.482,
                "threshold": 0.1,
                "drifted": True,
            },
            {
                "column": "contract_type",
                "method": "jensen_shannon",
                "value": 0.171,
                "threshold": 0.1,
                "drifted": True,
            },
            {
                "column": "tenure_months",
                "method": "wasserstein",
                "value": 0.031,
                "threshold": 0.1,
                "drifted": False,
            },
            {
                "column": "country",
                "method": "jensen_shannon",
                "value": 0.012,
                "threshold": 0.1,
                "drifted": False,
            },
            {"column": "age", "method": "wasserstein", "value": 0.022, "threshold": 0.1, "drifted": False},
        ],
        **_TASK_NAMES,
    },
    "ml.run.metric_logged": {
        "run_id": "4f1d2c7a9e0b4c6d8f3a5b7c9d1e2f30",
        "metric": "val_loss",
        "value": 0.3127,
        "step": 4200,
        "project": "churn",
        "run_name": "churn-xgb-2026-11-22",
        "model": "churn_classifier",
        "link": "https://mlflow.example.com/#/experiments/7/runs/4f1d2c7a9e0b4c6d8f3a5b7c9d1e2f30",
    },
    "ml.event.absent": {
        "rule": "nightly features are ready",
        "key": ["nightly_features"],
        "by": ["data.dag_id"],
        "last": "2026-11-21T05:41:12+00:00",
        "within": 86400.0,
    },
    "ml.target.unreachable": {
        "conn_id": "team_slack",
        "since": "2026-11-22T06:18:31+00:00",
        "failures": 5,
        "code": "connection refused",
        "reason": "https://chat.example.com: nothing listens there",
        "waiting": 37,
    },
    "ml.target.recovered": {
        "conn_id": "team_slack",
        "since": "2026-11-22T05:02:10+00:00",
        "failures": 11,
        "code": "HTTP 503",
        "reason": "upstream is restarting",
        "waiting": 112,
    },
    "ml.notification.requested": {
        "title": "Churn model 14 is ready for review",
        "text": "AUC rose from 0.897 to 0.913.\nPlease look at the report before noon.",
        "link": "https://mlflow.example.com/#/models/churn_classifier/versions/14",
        "reviewers": ["ana", "li"],
    },
}

_SUBJECTS: Final = {
    "airflow.dag_run": f"dags/churn_training/runs/{_RUN['run_id']}",
    "airflow.task_instance": f"dags/churn_training/runs/{_RUN['run_id']}/tasks/train",
    "airflow.asset": "assets/churn_features",
    "airflow.dag": "dags/churn_scoring.py",
    "airflow.deadline": f"dags/churn_training/runs/{_RUN['run_id']}/deadlines/training_done_by_seven",
    "ml.model_version": "models/churn_classifier/versions/14",
    "ml.data_validation": "checkpoints/churn_features",
    "ml.dataset": "datadrifts/churn_features_weekly",
    "ml.run": "runs/4f1d2c7a9e0b4c6d8f3a5b7c9d1e2f30/metrics/val_loss",
    "ml.event": "nightly_features",
    "ml.target": "team_slack",
    "ml.notification": "notifications/review",
}


def sample_events() -> dict[str, Event]:
    """One event of each built-in type, by type. The same at each call."""
    events = {}
    for number, (name, data) in enumerate(_DATA.items(), 1):
        family = name.rpartition(".")[0]
        events[name] = Event(
            id=f"00000000-0000-5000-8000-{number:012d}",
            source="/airflow/growth" if family.startswith("airflow.") else "/ml/growth",
            type=name,
            subject=_SUBJECTS[family],
            time=datetime(2026, 11, 22, 6, 19, 2, tzinfo=UTC),
            data={key: value for key, value in data.items() if value is not None},
            workspace="growth",
            owner="ana" if family in ("airflow.task_instance", "airflow.dag_run") else "",
            origin="worker" if family == "airflow.task_instance" else "scheduler",
        )
    return events
