"""Which state changes are captured: the ``[ml_events]`` patterns and the opt-outs in DAG files.

A DAG opts out with the tag ``ml-events:off``, a task with ``params={"ml_events": False}``.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from ml_event_provider import config

if TYPE_CHECKING:
    from collections.abc import Iterable

OFF_TAG = "ml-events:off"
TASK_PARAM = "ml_events"


def dag_is_captured(dag_id: str, tags: Iterable[str] = ()) -> bool:
    """Whether changes of this DAG become events."""
    if OFF_TAG in tags:
        return False
    included = config.include_dags()
    if included and not any(fnmatchcase(dag_id, pattern) for pattern in included):
        return False
    return not any(fnmatchcase(dag_id, pattern) for pattern in config.exclude_dags())


def task_is_captured(dag_id: str, task_id: str, *, tags: Iterable[str] = (), task: Any = None) -> bool:
    """Whether changes of this task become events; ``task`` is the operator where it is at hand."""
    if not dag_is_captured(dag_id, tags):
        return False
    name = f"{dag_id}.{task_id}"
    included = config.include_tasks()
    if included and not any(fnmatchcase(name, pattern) for pattern in included):
        return False
    if any(fnmatchcase(name, pattern) for pattern in config.exclude_tasks()):
        return False
    return not opted_out(task)


def opted_out(task: Any) -> bool:
    """Whether the operator carries ``params={"ml_events": False}``."""
    params = getattr(task, "params", None)
    if not params or TASK_PARAM not in params:
        return False
    return params[TASK_PARAM] is False
