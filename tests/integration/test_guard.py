"""Nothing that a listener raises reaches Airflow."""

from __future__ import annotations

import inspect
import logging

import pytest
from airflow.exceptions import AirflowException

from ml_event_provider.listeners import dag_runs, guard, lifecycle, task_instances


class TaskTimeout(BaseException):
    """As Airflow's own time-out: no ``Exception``."""


@pytest.mark.parametrize("error", [ValueError("boom"), AirflowException("boom"), TaskTimeout("boom")])
def test_whatever_is_raised_is_logged_and_counted(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    counted: list[str] = []
    monkeypatch.setattr(guard, "count", counted.append)

    @guard.guarded
    def listener(value: int) -> None:
        raise error

    with caplog.at_level(logging.ERROR, guard.log.name):
        listener(value=1)
    assert counted == ["listener_errors"]
    assert caplog.records[-1].exc_info is not None
    assert caplog.records[-1].exc_info[1] is error


def test_result_of_a_good_listener_is_untouched() -> None:
    called: list[int] = []
    guard.guarded(called.append)(7)
    assert called == [7]


@pytest.mark.parametrize("module", [dag_runs, task_instances, lifecycle])
def test_every_listener_is_guarded(module: object) -> None:
    listeners = [one for name, one in vars(module).items() if name.startswith(("on_", "before_"))]
    assert listeners
    assert all(hasattr(one, "__wrapped__") for one in listeners)
    assert all(inspect.unwrap(one) is not one for one in listeners)


@pytest.mark.parametrize("order", [SystemExit(0), KeyboardInterrupt()])
def test_an_order_to_end_is_obeyed(order: BaseException) -> None:
    @guard.guarded
    def listener() -> None:
        raise order

    with pytest.raises(type(order)):
        listener()
