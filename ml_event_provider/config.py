"""The ``[ml_events]`` options of ``airflow.cfg``: one function an option, defaults in ``get_provider_info``.

Airflow reads an option from ``AIRFLOW__ML_EVENTS__<OPTION>``, then ``airflow.cfg``, then the provider's
default. Each function's docstring is the option's meaning; units are in the name or the docstring.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SECTION = "ml_events"


def _conf() -> Any:
    """Airflow's configuration, imported when first asked for."""
    from airflow.configuration import conf

    return conf


def _option(name: str) -> str:
    from ml_event_provider.get_provider_info import option_default

    value = _conf().get(SECTION, name, fallback=option_default(name))
    return "" if value is None else str(value).strip()


def _number(name: str) -> float:
    text = _option(name)
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"[{SECTION}] {name} = {text!r} is not a number") from None


def _flag(name: str) -> bool:
    text = _option(name).lower()
    if text in {"true", "t", "1", "yes", "on"}:
        return True
    if text in {"false", "f", "0", "no", "off", ""}:
        return False
    raise ValueError(f"[{SECTION}] {name} = {text!r} is not True or False")


def _list(name: str) -> tuple[str, ...]:
    return tuple(item for item in (part.strip() for part in _option(name).replace("\n", ",").split(",")) if item)


@cache
def workspace() -> str:
    """``[ml_events] workspace``: the workspace of events whose DAG belongs to no Airflow team."""
    return _option("workspace") or "default"


@cache
def include_dags() -> tuple[str, ...]:
    """``[ml_events] include_dags``: shell patterns of DAG ids to capture; empty means all."""
    return _list("include_dags")


@cache
def exclude_dags() -> tuple[str, ...]:
    """``[ml_events] exclude_dags``: shell patterns of DAG ids never to capture."""
    return _list("exclude_dags")


@cache
def include_tasks() -> tuple[str, ...]:
    """``[ml_events] include_tasks``: shell patterns of ``dag_id.task_id`` to capture; empty means all."""
    return _list("include_tasks")


@cache
def exclude_tasks() -> tuple[str, ...]:
    """``[ml_events] exclude_tasks``: shell patterns of ``dag_id.task_id`` never to capture."""
    return _list("exclude_tasks")


@cache
def capture_running() -> bool:
    """``[ml_events] capture_running``: whether tasks that start are events too."""
    return _flag("capture_running")


@cache
def conn_id() -> str:
    """``[ml_events] conn_id``: the connection to the ingest endpoint, for processes without a database."""
    return _option("conn_id") or "ml_events_default"


@cache
def hand_over_seconds() -> float:
    """``[ml_events] hand_over_seconds``: how long a task process may spend handing over its events."""
    return _number("hand_over_seconds")


@cache
def spool_directory() -> Path:
    """``[ml_events] spool_directory``: where events wait while the API server cannot be reached."""
    configured = _option("spool_directory")
    if configured:
        return Path(configured).expanduser()
    return Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser() / "ml_events" / "spool"


@cache
def spool_megabytes() -> float:
    """``[ml_events] spool_megabytes``: the most that waits in the spool, in MiB."""
    return _number("spool_megabytes")


@cache
def embedded_dispatcher() -> bool:
    """``[ml_events] embedded_dispatcher``: whether the scheduler runs a dispatcher as its child."""
    return _flag("embedded_dispatcher")


@cache
def poll_seconds() -> float:
    """``[ml_events] poll_seconds``: how often an idle dispatcher looks for work."""
    return _number("poll_seconds")


@cache
def send_workers() -> int:
    """``[ml_events] send_workers``: how many deliveries one dispatcher sends at the same time."""
    return int(_number("send_workers"))


@cache
def lease_seconds() -> float:
    """``[ml_events] lease_seconds``: after how long another dispatcher takes over a delivery."""
    return _number("lease_seconds")


@cache
def send_timeout_seconds() -> float:
    """``[ml_events] send_timeout_seconds``: how long one attempt may take."""
    return _number("send_timeout_seconds")


@cache
def max_attempts() -> int:
    """``[ml_events] max_attempts``: after how many failed attempts a delivery is dead."""
    return int(_number("max_attempts"))


@cache
def retry_base_seconds() -> float:
    """``[ml_events] retry_base_seconds``: the first retry's wait, doubled for each further one."""
    return _number("retry_base_seconds")


@cache
def retry_max_seconds() -> float:
    """``[ml_events] retry_max_seconds``: the longest wait between two attempts."""
    return _number("retry_max_seconds")


@cache
def reconcile_seconds() -> float:
    """``[ml_events] reconcile_seconds``: how often the reconciler compares Airflow's tables; 0 is never."""
    return _number("reconcile_seconds")


@cache
def reconcile_grace_seconds() -> float:
    """``[ml_events] reconcile_grace_seconds``: how long after a change its own reporter may still come."""
    return _number("reconcile_grace_seconds")


@cache
def retention_days() -> float:
    """``[ml_events] retention_days``: after how long events and deliveries are pruned; 0 is never."""
    return _number("retention_days")


@cache
def max_body_bytes() -> int:
    """``[ml_events] max_body_bytes``: the largest request that the ingest endpoint reads."""
    return int(_number("max_body_bytes"))


@cache
def allowed_hosts() -> tuple[str, ...]:
    """``[ml_events] allowed_hosts``: internal hosts, addresses or networks that targets may reach."""
    return _list("allowed_hosts")


@cache
def template_directories() -> tuple[Path, ...]:
    """``[ml_events] template_directories``: the user's template folders, searched before the built-in one."""
    return tuple(Path(item).expanduser() for item in _list("template_directories"))


@cache
def max_targets() -> int:
    """``[ml_events] max_targets``: how many targets one rule may have."""
    return int(_number("max_targets"))


@cache
def max_contacts() -> int:
    """``[ml_events] max_contacts``: how many people a workspace's rules may reach, each counted once a channel."""
    return int(_number("max_contacts"))


@cache
def max_rules() -> int:
    """``[ml_events] max_rules``: how many rules a workspace may have."""
    return int(_number("max_rules"))


@cache
def notifications_per_hour() -> int:
    """``[ml_events] notifications_per_hour``: how many notifications one rule may send in an hour; 0 is any."""
    return int(_number("notifications_per_hour"))


@cache
def workspace_quotas() -> dict[str, dict[str, int]]:
    """``[ml_events] workspace_quotas``: other limits for some workspaces, as JSON."""
    text = _option("workspace_quotas")
    if not text:
        return {}
    example = '{"fraud": {"max_targets": 20}}'
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(f"[{SECTION}] workspace_quotas is no JSON ({error}); write it like {example}") from None
    for workspace_name, limits in found.items() if isinstance(found, dict) else [("", None)]:
        if not isinstance(limits, dict) or not all(
            name in QUOTAS and isinstance(limit, int) and limit >= 0 for name, limit in limits.items()
        ):
            raise ValueError(
                f"[{SECTION}] workspace_quotas: {workspace_name!r} has {limits!r}; write it like {example},"
                f" with any of {', '.join(QUOTAS)}"
            )
    return dict(found)


def quota(name: str, workspace_name: str) -> int:
    """The limit of that name (one of ``QUOTAS``) for a workspace."""
    limits = workspace_quotas().get(workspace_name, {})
    return limits[name] if name in limits else _QUOTAS[name]()


@cache
def max_hops() -> int:
    """``[ml_events] max_hops``: how many actions of rules may lead to one another before the chain is cut."""
    return int(_number("max_hops"))


@cache
def airflow_base_url() -> str:
    """``[api] base_url``: the address that links in messages start with, without a closing slash."""
    return str(_conf().get("api", "base_url", fallback="") or "").rstrip("/")


_QUOTAS: dict[str, Callable[[], int]] = {
    "max_targets": max_targets,
    "max_contacts": max_contacts,
    "max_rules": max_rules,
    "notifications_per_hour": notifications_per_hour,
}
#: The limits that a workspace may have of its own.
QUOTAS = tuple(_QUOTAS)

_OPTIONS: tuple[Callable[[], object], ...] = tuple(
    value for value in list(globals().values()) if hasattr(value, "cache_clear")
)


def forget() -> None:
    """Drop all cached values, so that the next call reads the configuration again (tests, reload)."""
    for option in _OPTIONS:
        option.cache_clear()  # type: ignore[attr-defined]
