"""What an event is about, by its type: the natural key of a condition, and what undoes an event."""

from __future__ import annotations

import json
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.rules.fields import value_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Which fields name the thing that changed, by how the type begins. The first that fits counts.
_NATURAL: Final = (
    ("airflow.dag_run.", ("data.dag_id",)),
    ("airflow.task_instance.", ("data.dag_id", "data.task_id", "data.map_index")),
    ("airflow.asset.", ("data.uri",)),
    ("airflow.dag.", ("data.bundle_name", "data.filename")),
    ("airflow.deadline.", ("data.dag_id",)),
    ("ml.model_version.", ("data.registry", "data.model", "data.version")),
    ("ml.data_validation.", ("data.checkpoint", "data.data_asset")),
    ("ml.dataset.", ("data.DataDriftName",)),
    ("ml.run.", ("data.run_id", "data.metric")),
    ("ml.target.", ("data.conn_id",)),
)
_OTHERS: Final = ("source", "subject")

#: The event that undoes another.
_OPPOSITES: Final[dict[str, dict[str, Any]]] = {
    "airflow.dag_run.failed": {"type": ["airflow.dag_run.success"]},
    "airflow.dag_run.success": {"type": ["airflow.dag_run.failed"]},
    "airflow.task_instance.failed": {"type": ["airflow.task_instance.success"]},
    "airflow.task_instance.up_for_retry": {"type": ["airflow.task_instance.success"]},
    "airflow.task_instance.upstream_failed": {"type": ["airflow.task_instance.success"]},
    "airflow.task_instance.success": {"type": ["airflow.task_instance.failed"]},
    "airflow.deadline.missed": {"type": ["airflow.dag_run.success"]},
    "ml.data_validation.failed": {"type": ["ml.data_validation.success"]},
    "ml.data_validation.success": {"type": ["ml.data_validation.failed"]},
    "ml.target.unreachable": {"type": ["ml.target.recovered"]},
    "ml.target.recovered": {"type": ["ml.target.unreachable"]},
}

_as_json: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True).encode
#: A longer key is kept as its beginning and a hash.
MAX_KEY: Final = 400


@lru_cache(maxsize=4096)
def natural_paths(event_type: str) -> tuple[str, ...]:
    """The fields that name what an event of this type is about."""
    return next((paths for start, paths in _NATURAL if event_type.startswith(start)), _OTHERS)


def key_of(document: Mapping[str, Any], by: Sequence[str] | None) -> str:
    """An event's key: the JSON list of its values at ``by``, or of its natural key where ``by`` is ``None``."""
    paths = natural_paths(str(document.get("type"))) if by is None else by
    return key_from([value_at(document, path) for path in paths])


def compared_key(document: Mapping[str, Any], by: Sequence[str]) -> str | None:
    """The key by which two events are compared; ``None`` where a value is absent (null, ``""`` or ``[]``).

    What two events both lack makes them no pair.
    """
    values = [value_at(document, path) for path in by]
    return None if any(value is None or value in ("", []) for value in values) else key_from(values)


def key_from(values: Sequence[Any]) -> str:
    """The key of these values."""
    text = _as_json(list(values))
    if len(text) <= MAX_KEY:
        return text
    return text[: MAX_KEY - 65] + " " + sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def opposite(types: Sequence[str]) -> list[dict[str, Any]] | None:
    """The patterns of the events that undo those of the given types, or ``None`` where one has no opposite."""
    found: list[dict[str, Any]] = []
    for name in types:
        undone = _OPPOSITES.get(name)
        if undone is None:
            return None
        if undone not in found:
            found.append(undone)
    return found
