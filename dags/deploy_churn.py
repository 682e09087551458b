"""Deploys each churn model that was approved, and tells systems and people.

Connections: ``mlflow_default`` (type ``mleventsmlflow``), ``ml_slack`` (type ``slackwebhook``) and
``ml_dingtalk`` (type ``mleventsdingtalk``).
"""

from __future__ import annotations

from airflow.sdk import Asset, dag, task
from airflow.sdk.exceptions import AirflowSkipException

from ml_event_provider.hooks.mlflow import MLflowHook
from ml_event_provider.operators.events import PublishEventOperator, SendNotificationOperator

MODEL = "churn"
APPROVED = Asset("approved_churn_model")


@dag("example_deploy_churn", doc_md=__doc__, schedule=[APPROVED], tags=["ml", "churn"], default_args={"owner": "grace"})
def deploy_churn():
    @task
    def promote(triggering_asset_events=None) -> str:
        """Let the alias ``champion`` name the approved version: serving loads ``models:/churn@champion``."""
        approved = triggering_asset_events.get(APPROVED)
        if not approved:
            raise AirflowSkipException("nothing was approved: this DAG starts by itself when example_train_churn ends")
        version = approved[-1].extra["version"]
        MLflowHook().set_alias(MODEL, "champion", version)
        return version

    version = promote()

    # An event of your own: whatever rules ask for it act on it.
    PublishEventOperator(
        task_id="publish_deployed",
        event_type="com.example.model.deployed",
        subject=f"models/{MODEL}",
        data={"model": MODEL, "version": version, "alias": "champion"},
    )

    # A message to given targets, without a rule.
    SendNotificationOperator(
        task_id="tell_people",
        targets=["ml_slack", "ml_dingtalk"],
        title=f"The {MODEL} model is live",
        text="Version {{ ti.xcom_pull(task_ids='promote') }} was approved and serves as `champion` now.",
    ).set_upstream(version)


deploy_churn()
