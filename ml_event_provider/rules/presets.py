"""Readable names for what a rule waits for, in place of event types in ``on``."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.events.catalogue import EVENT_TYPES
from ml_event_provider.exceptions import InvalidRule

if TYPE_CHECKING:
    from collections.abc import Iterable

_APPROVAL: Final = "ml.model_version.approval_changed"

#: What each name stands for, as an event pattern.
PRESETS: Final[dict[str, dict[str, Any]]] = {
    "pipeline job started": {"type": ["airflow.dag_run.running"]},
    "pipeline job completed": {"type": ["airflow.dag_run.success"]},
    "pipeline job failed": {"type": ["airflow.dag_run.failed"]},
    "task completed": {"type": ["airflow.task_instance.success"]},
    "task failed": {"type": ["airflow.task_instance.failed"]},
    "task will be retried": {"type": ["airflow.task_instance.up_for_retry"]},
    "fault tolerance triggered": {"type": ["airflow.task_instance.up_for_retry"]},
    "model version status changed": {"type": [_APPROVAL]},
    "model version approved": {"type": [_APPROVAL], "data": {"status": ["approved"]}},
    "model version rejected": {"type": [_APPROVAL], "data": {"status": ["rejected"]}},
    "run metric logged": {"type": ["ml.run.metric_logged"]},
    "drift detected": {"type": ["ml.dataset.drift_detected"]},
    "data validation failed": {"type": ["ml.data_validation.failed"]},
    "data validation passed": {"type": ["ml.data_validation.success"]},
    "deadline missed": {"type": ["airflow.deadline.missed"]},
    "dag import failed": {"type": ["airflow.dag.import_error"]},
}

_TYPE = re.compile(r"[\w.*:/-]+")


@lru_cache(4096)
def wanted(entry: str) -> dict[str, Any]:
    """The event pattern of one entry of ``on``: a preset, an event type, or one with ``*`` for any characters.

    Rules share it: it must not be changed.

    :raises InvalidRule: if it is none of them, or an ``airflow.`` type that does not exist.
    """
    preset = PRESETS.get(" ".join(entry.lower().split()))
    if preset is not None:
        return preset
    if not _TYPE.fullmatch(entry):
        raise InvalidRule(
            f"{entry!r} is neither an event type nor a preset{nearest(entry.lower(), PRESETS)};"
            f" presets are {', '.join(PRESETS)}"
        )
    if "**" in entry:
        raise InvalidRule(f"{entry!r} has **; a single * stands for any characters")
    if entry.startswith("airflow."):
        form = re.compile(".*".join(map(re.escape, entry.split("*"))))
        if not any(form.fullmatch(name) for name in EVENT_TYPES):
            raise InvalidRule(
                f"{entry!r} is no event type of Airflow{nearest(entry, EVENT_TYPES)}; types are"
                f" {', '.join(name for name in EVENT_TYPES if name.startswith('airflow.'))}"
            )
    return {"type": [{"wildcard": entry} if "*" in entry else entry]}


def nearest(text: str, known: Iterable[str]) -> str:
    """A hint at the known name that ``text`` may have meant, or nothing."""
    found = get_close_matches(text, list(known), 1, 0.6)
    return f"; did you mean {found[0]!r}?" if found else ""
