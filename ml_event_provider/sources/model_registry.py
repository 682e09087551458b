"""Turns a model version's change of approval into an event. Pure: plain values in, an event out."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from ml_event_provider.events.identity import model_version_id
from ml_event_provider.events.model import Event, attribute_text

if TYPE_CHECKING:
    from datetime import datetime

    from ml_event_provider.registries.model import Approval, ModelVersion

APPROVAL_CHANGED = "ml.model_version.approval_changed"


def registry_source(registry: str, instance: str = "") -> str:
    """The CloudEvents ``source`` of one registry's events; ``instance`` (a connection id) tells two apart."""
    return "/registries/" + "/".join(quote(part, safe="", errors="replace") for part in (registry, instance) if part)


def approval_changed(
    *,
    workspace: str,
    registry: str,
    model_version: ModelVersion,
    previous: Approval | None,
    status: Approval,
    key: str,
    old: str | None,
    new: str | None,
    time: datetime,
    origin: str,
    previous_time: datetime | None = None,
    instance: str = "",
    owner: str = "",
    dag_id: str = "",
    dag_run_id: str = "",
    task_id: str = "",
) -> Event:
    """``ml.model_version.approval_changed``: a version went from ``previous`` to ``status``.

    :param previous: the status before, or ``None`` where nobody saw one.
    :param previous_time: when the version was last seen so; with it the store tells a change that came again
        from one that another has told.
    :param key: what in the registry told the change (a tag, an alias), from ``old`` to ``new``: the event's
        identity, beside the version.
    :param dag_id: the DAG, with ``dag_run_id`` and ``task_id``, that waited for the change.
    """
    model, version = model_version.model, model_version.version
    return Event(
        id=model_version_id(workspace, registry, model, version, key, old, new),
        source=attribute_text("source", registry_source(registry, instance)),
        type=APPROVAL_CHANGED,
        subject=attribute_text("subject", f"models/{model}/versions/{version}"),
        time=time,
        workspace=workspace,
        owner=attribute_text("owner", owner),
        origin=origin,
        data={
            "registry": registry,
            "model": model,
            "version": version,
            "previous_status": None if previous is None else str(previous),
            "previous_seen": None if previous_time is None else previous_time.isoformat().replace("+00:00", "Z"),
            "status": str(status),
            "tags": dict(model_version.tags),
            "aliases": list(model_version.aliases),
            "link": model_version.link or None,
            "run_id": model_version.run_id or None,
            "dag_id": dag_id or None,
            "dag_run_id": dag_run_id or None,
            "task_id": task_id or None,
        },
    )
