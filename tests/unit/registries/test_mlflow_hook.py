from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

import pytest
import requests
from airflow.sdk.exceptions import AirflowNotFoundException

from ml_event_provider.exceptions import RegistryError
from ml_event_provider.hooks.mlflow import MLflowHook
from ml_event_provider.registries import RegistryRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.peers.mlflow_relay import Relay
    from tests.peers.mlflow_server import MlflowServer


@pytest.fixture
def hook(mlflow_server: MlflowServer, connect: Callable[..., str]) -> MLflowHook:
    return MLflowHook(connect(mlflow_server.url))


def stored_run(server: MlflowServer, run_id: str) -> dict[str, Any]:
    answer = requests.get(f"{server.url}/api/2.0/mlflow/runs/get", params={"run_id": run_id}, timeout=20)
    run: dict[str, Any] = answer.json()["run"]
    return run


def test_a_run_is_logged_from_start_to_end(hook: MLflowHook, mlflow_server: MlflowServer, model: str) -> None:
    run_id = hook.create_run(model, run_name="first", tags={"team": "fraud"})
    hook.log_metrics(run_id, {"auc": 0.91, "loss": 0.2}, step=3)
    hook.finish_run(run_id)
    run = stored_run(mlflow_server, run_id)
    assert run["info"]["run_name"] == "first"
    assert run["info"]["status"] == "FINISHED"
    assert 0 < run["info"]["start_time"] <= run["info"]["end_time"]
    assert {metric["key"]: (metric["value"], metric["step"]) for metric in run["data"]["metrics"]} == {
        "auc": (0.91, 3),
        "loss": (0.2, 3),
    }
    assert {"key": "team", "value": "fraud"} in run["data"]["tags"]


def test_a_metric_that_is_no_number_is_logged_as_mlflow_logs_it(
    hook: MLflowHook, mlflow_server: MlflowServer, model: str
) -> None:
    run_id = hook.create_run(model)
    hook.log_metrics(run_id, {"loss": math.nan, "up": math.inf, "down": -math.inf, "auc": 0.5})
    logged = {metric["key"]: str(metric["value"]) for metric in stored_run(mlflow_server, run_id)["data"]["metrics"]}
    assert logged["auc"] == "0.5"
    assert logged["loss"] == "NaN"
    assert logged.keys() == {"loss", "up", "down", "auc"}


def test_a_tag_that_is_no_text_is_kept_as_one(hook: MLflowHook, mlflow_server: MlflowServer, model: str) -> None:
    tags: dict[str, Any] = {"folds": 1, "share": 0.5, "final": True}
    expected = {"folds": "1", "share": "0.5", "final": "True"}
    run = stored_run(mlflow_server, hook.create_run(model, tags=tags))
    assert expected.items() <= {tag["key"]: tag["value"] for tag in run["data"]["tags"]}.items()
    hook.register_model_version(model, "s3://bucket/a", tags=tags)
    hook.set_version_tag(model, "1", "rank", 2)  # type: ignore[arg-type]
    assert hook.get_version(model).tags == {**expected, "rank": "2"}


@pytest.mark.parametrize("source", [math.nan, object(), "\ud800"])
def test_what_cannot_be_sent_is_no_server_out_of_reach(hook: MLflowHook, model: str, source: Any) -> None:
    with pytest.raises(RegistryRefused, match=r"cannot be sent|RESOURCE_|INVALID_|INTERNAL_ERROR|BAD_REQUEST"):
        hook.register_model_version(model, source)


def test_more_metrics_than_one_call_takes_are_all_logged(
    hook: MLflowHook, mlflow_server: MlflowServer, model: str
) -> None:
    run_id = hook.create_run(model)
    hook.log_metrics(run_id, {f"m{number}": number for number in range(1_001)})
    assert len(stored_run(mlflow_server, run_id)["data"]["metrics"]) == 1_001


def test_two_runs_of_one_experiment_share_it(hook: MLflowHook, mlflow_server: MlflowServer, model: str) -> None:
    runs = [stored_run(mlflow_server, hook.create_run(model)) for _ in range(2)]
    assert len({run["info"]["experiment_id"] for run in runs}) == 1


def test_an_experiment_that_another_task_makes_in_between_is_used(
    hook: MLflowHook, mlflow_server: MlflowServer, relay: Relay, connect: Callable[..., str], model: str
) -> None:
    relay.upstream = mlflow_server.url
    other = MLflowHook(connect(mlflow_server.url, "other"))
    # The second request is the attempt to create what the first one did not find.
    relay.before = lambda number: other.create_run(model) if number == 2 else None
    run_id = MLflowHook(connect(relay.url, "relayed")).create_run(model)
    assert [seen[1].partition("?")[0].rpartition("mlflow/")[2] for seen in relay.seen] == [
        "experiments/get-by-name",
        "experiments/create",
        "experiments/get-by-name",
        "runs/create",
    ]
    assert stored_run(mlflow_server, run_id)["info"]["status"] == "RUNNING"


def test_registering_makes_the_model_once_and_counts_versions(hook: MLflowHook, model: str) -> None:
    first = hook.register_model_version(model, "s3://bucket/a", tags={"stage": "x"}, description="first")
    second = hook.register_model_version(model, "s3://bucket/b")
    assert (first.version, first.tags, first.description) == ("1", {"stage": "x"}, "first")
    assert second.version == "2"
    assert hook.get_version(model) == second


def test_tags_and_aliases_are_set(hook: MLflowHook, model: str) -> None:
    hook.register_model_version(model, "s3://bucket/a")
    hook.set_version_tag(model, "1", "validation_status", "approved")
    hook.set_alias(model, "champion", "1")
    found = hook.get_version(model, "@champion")
    assert (found.version, found.tags, found.aliases) == (
        "1",
        {"validation_status": "approved"},
        ("champion",),
    )


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda hook, model: hook.set_version_tag(model, "9", "a", "b"), "RESOURCE_DOES_NOT_EXIST"),
        (
            lambda hook, model: hook.register_model_version(model, "/etc/passwd"),
            "Invalid model version source",
        ),
        (lambda hook, model: hook.register_model_version("a/b", "s3://x/y"), "Invalid model name"),
        (lambda hook, model: hook.finish_run("0" * 32), "RESOURCE_DOES_NOT_EXIST"),
    ],
)
def test_a_refused_write_says_why(hook: MLflowHook, model: str, act: Callable[..., Any], words: str) -> None:
    with pytest.raises(RegistryRefused, match=words):
        act(hook, model)


def test_the_connection_test_tells_the_servers_version(hook: MLflowHook, mlflow_server: MlflowServer) -> None:
    version = requests.get(f"{mlflow_server.url}/version", timeout=20).text
    assert hook.test_connection() == (
        True,
        f"MLflow {version} at {mlflow_server.url} answers and its models can be read.",
    )


def test_the_connection_test_repeats_a_refusal(relay: Relay, connect: Callable[..., str]) -> None:
    relay.script.append((401, {}, b"You are not authenticated."))
    works, words = MLflowHook(connect(relay.url, password="wr0ng")).test_connection()
    assert not works
    assert "HTTP 401: You are not authenticated." in words
    assert "wr0ng" not in words


def test_a_silent_server_is_given_up_after_the_timeout(relay: Relay, connect: Callable[..., str]) -> None:
    release = threading.Event()
    relay.before = lambda number: release.wait(20)
    try:
        with pytest.raises(RegistryError, match=r"did not answer within 0\.2 s"):
            MLflowHook(connect(relay.url), timeout=0.2).get_version("m", "1")
    finally:
        release.set()


def test_a_connection_that_is_not_defined_is_airflows_error() -> None:
    with pytest.raises(AirflowNotFoundException, match="nowhere"):
        MLflowHook("nowhere").get_version("m")
