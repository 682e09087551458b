"""Trains a churn model, registers it in MLflow and waits until somebody approves it there.

Connections: ``mlflow_default`` (type ``mleventsmlflow``). Needs scikit-learn where the tasks run.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Asset, DeadlineAlert, DeadlineReference, Metadata, dag, task

from ml_event_provider import callbacks
from ml_event_provider.hooks.mlflow import MLflowHook
from ml_event_provider.sensors.model_approval import ModelApprovalSensor

MODEL = "churn"
APPROVED = Asset("approved_churn_model")


@dag(
    "example_train_churn",
    doc_md=__doc__,
    schedule=None,
    tags=["ml", "churn"],
    default_args={"owner": "ada"},
    # Somebody is told when a version waits for its approval for too long.
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(seconds=30),
        callback=callbacks.deadline_alert_callback(),
    ),
)
def train_churn():
    @task
    def train(run_id: str) -> str:
        """Train, log the run and its metrics, register the model; return its version."""
        from sklearn.datasets import load_breast_cancer
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import accuracy_score, roc_auc_score
        from sklearn.model_selection import train_test_split
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        # Stands in for your customers: a table of numbers with one yes-or-no column.
        features, left = load_breast_cancer(return_X_y=True, as_frame=True)
        train_x, test_x, train_y, test_y = train_test_split(features, left, random_state=7)
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(train_x, train_y)

        mlflow = MLflowHook()
        run = mlflow.create_run("churn", run_name=run_id)
        metrics = {
            "accuracy": accuracy_score(test_y, model.predict(test_x)),
            "roc_auc": roc_auc_score(test_y, model.predict_proba(test_x)[:, 1]),
        }
        mlflow.log_metrics(run, metrics)
        mlflow.finish_run(run)
        tags = {name: f"{value:.4f}" for name, value in metrics.items()}
        return mlflow.register_model_version(MODEL, f"runs:/{run}/model", run_id=run, tags=tags).version

    approval = ModelApprovalSensor(
        task_id="wait_for_approval",
        model=MODEL,
        version=train(),
        poke_interval=5,
        timeout=timedelta(days=7).total_seconds(),
        deferrable=True,
    )

    @task(outlets=[APPROVED])
    def release(version: dict):
        """Start the DAGs that are scheduled on the approved model."""
        yield Metadata(APPROVED, extra={"model": version["model"], "version": version["version"]})

    release(approval.output)


train_churn()
