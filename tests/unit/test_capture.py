"""Patterns and opt-outs decide what becomes an event."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ml_event_provider import capture, config


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> Any:
    def set_options(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"AIRFLOW__ML_EVENTS__{name.upper()}", value)
        config.forget()

    return set_options


@pytest.mark.parametrize(
    ("given", "dag_id", "captured"),
    [
        ({}, "train", True),
        ({"include_dags": "train"}, "train", True),
        ({"include_dags": "train"}, "train_2", False),
        ({"include_dags": "train_*, score"}, "train_2", True),
        ({"include_dags": "train_*\nscore"}, "score", True),
        ({"include_dags": "train_*"}, "Train_2", False),
        ({"include_dags": "train_[12]"}, "train_3", False),
        ({"exclude_dags": "train_*"}, "train_2", False),
        ({"exclude_dags": "train_*"}, "score", True),
        ({"include_dags": "*", "exclude_dags": "scratch_?"}, "scratch_1", False),
        ({"include_dags": " , "}, "train", True),
        ({"include_dags": "训练*"}, "训练_2", True),
    ],
)
def test_dag_patterns(options: Any, given: dict[str, str], dag_id: str, captured: bool) -> None:
    options(**given)
    assert capture.dag_is_captured(dag_id) is captured
    assert capture.task_is_captured(dag_id, "fit") is captured


@pytest.mark.parametrize(
    ("given", "task_id", "captured"),
    [
        ({"include_tasks": "train.fit"}, "fit", True),
        ({"include_tasks": "train.fit"}, "load", False),
        ({"include_tasks": "*.fit"}, "group.fit", True),
        ({"include_tasks": "fit"}, "fit", False),
        ({"exclude_tasks": "*.wait_*"}, "wait_1", False),
        ({"include_tasks": "train.*", "exclude_tasks": "train.load"}, "load", False),
    ],
)
def test_task_patterns(options: Any, given: dict[str, str], task_id: str, captured: bool) -> None:
    options(**given)
    assert capture.task_is_captured("train", task_id) is captured


def test_off_tag_opts_a_dag_out() -> None:
    assert not capture.dag_is_captured("train", {"nightly", "ml-events:off"})
    assert not capture.task_is_captured("train", "fit", tags=["ml-events:off"])
    assert capture.dag_is_captured("train", {"ml-events:on"})


@pytest.mark.parametrize(
    ("params", "out"),
    [
        (None, False),
        ({}, False),
        ({"ml_events": False}, True),
        ({"ml_events": True}, False),
        ({"ml_events": None}, False),
        ({"other": False}, False),
    ],
)
def test_param_opts_a_task_out(params: Any, out: bool) -> None:
    task = SimpleNamespace(params=params)
    assert capture.opted_out(task) is out
    assert capture.task_is_captured("train", "fit", task=task) is not out


def test_airflows_own_params_opt_a_task_out() -> None:
    from airflow.sdk.definitions.param import ParamsDict

    assert capture.opted_out(SimpleNamespace(params=ParamsDict({"ml_events": False})))
    assert not capture.opted_out(SimpleNamespace(params=ParamsDict({"ml_events": True})))


def test_missing_task_is_not_opted_out() -> None:
    assert not capture.opted_out(None)
