"""Compares last week's customers with those that the churn model was trained on.

Needs ``airflow-provider-ml-events[great-expectations]`` and scikit-learn where the tasks run.
"""

from __future__ import annotations

from airflow.sdk import dag

from ml_event_provider.operators.drift import DriftCheckOperator

COLUMNS = ["mean radius", "mean texture", "mean smoothness", "mean symmetry"]


def training_data():
    """What the model was trained on; a path or URI of a Parquet or CSV file does as well."""
    from sklearn.datasets import load_breast_cancer

    return load_breast_cancer(as_frame=True).data[COLUMNS]


def last_week():
    """The newest data. Two of the four columns are no longer what they were."""
    frame = training_data().sample(500, random_state=7)
    frame["mean radius"] *= 1.3
    frame["mean texture"] += 4
    return frame


@dag("example_check_drift", doc_md=__doc__, schedule=None, tags=["ml", "churn"], default_args={"owner": "grace"})
def check_drift():
    DriftCheckOperator(
        task_id="compare",
        name="churn features",
        reference=training_data,
        current=last_week,
        reference_id="customers/training",
        current_id="customers/last-week",
    )


check_drift()
