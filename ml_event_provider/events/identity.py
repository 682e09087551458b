"""Deterministic event ids: whoever sees a change first, listener, worker, webhook, poll or reconciler,
gives it the same id, and the store's unique key does the rest.

An id is a UUIDv5 over what changed, never over who saw it or when. Two things that may differ in anything that
matters differ in their id, or one is dropped as a duplicate; what differs each time the same thing is seen (a process
id, an address, a duration) is not part of it, or it is told each time. What each id is made of:

==================================  ==================================================================================
dag run, task try, model version    the functions below
result of a validation, drift       workspace, name of the check, its run's name and time, the dag run, what it found
asset, asset event                  workspace, Airflow's row, URI (and the moment of the event)
import error                        workspace, bundle, file, Airflow's row, the text without what passes (``steady``)
missed deadline                     workspace, dag, run, Airflow's UUID of the deadline and its moment
published by an operator            workspace, dag, run and its start, task, map index, type, and which clear
absent event                        workspace, rule, key, the moment until which it was awaited
notification, delivery, alert       the rule, its key and the event's place; a delivery's target and its position there
==================================  ==================================================================================

Ids of what several of us see (runs, tries, assets, asset events, deadlines, model versions) can never change: an event
recorded by an earlier version would be recorded again.

A task try is named by Airflow's own UUID of the try (``task_instance.id``, kept as ``task_instance_id`` in
``task_instance_history``). ``dag_run.clear_number`` would not do: it rises for *every* clear, also while
other tasks of the run are running, so that a worker and the reconciler would disagree; and a run that is
deleted and created again under the same ``run_id`` starts its try numbers anew. A dag run is named by its
creation time beside ``run_id`` and ``clear_number`` for the same reason.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha1
from uuid import UUID

NAMESPACE = UUID("6d6c6576-656e-5473-8000-000000000001")
_START = NAMESPACE.bytes
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def change_id(*parts: object) -> str:
    """The id of the change that ``parts`` name, outermost first. ``None`` differs from ``""``."""
    texts = []
    for part in parts:
        text = str(part)
        # Length prefixes keep ("a", "bc") and ("ab", "c") apart.
        texts.append("-" if part is None else f"{len(text)}:{text}")
    # Half a surrogate pair cannot be UTF-8; the length keeps its escape apart from the same letters.
    name = "/".join(texts).encode("utf-8", "backslashreplace")
    # As uuid.uuid5, in half of its time: each event, alert and delivery asks for one.
    found = sha1(_START + name, usedforsecurity=False).hexdigest()
    variant = "89ab"[int(found[16], 16) & 3]
    return f"{found[:8]}-{found[8:12]}-5{found[13:16]}-{variant}{found[17:20]}-{found[20:32]}"


def task_try_id(workspace: str, try_uuid: UUID | str, state: str, repetition: int = 0) -> str:
    """The id of a task try's change to ``state``.

    ``repetition`` counts how often before a try was set to this state by hand with another state between.
    """
    parts: tuple[object, ...] = (workspace, "task_instance", str(UUID(str(try_uuid))), state)
    return change_id(*parts, repetition) if repetition else change_id(*parts)


def dag_run_id(
    workspace: str,
    dag_id: str,
    run_id: str,
    created_at: datetime | None,
    clear_number: int,
    state: str,
    repetition: int = 0,
) -> str:
    """The id of a dag run's change to ``state``. ``created_at`` has a time zone, any."""
    created = None if created_at is None else (created_at - _EPOCH) // timedelta(microseconds=1)
    parts: tuple[object, ...] = (workspace, "dag_run", dag_id, run_id, created, clear_number, state)
    return change_id(*parts, repetition) if repetition else change_id(*parts)


def model_version_id(
    workspace: str, registry: str, model: str, version: str, key: str, old: str | None, new: str | None
) -> str:
    """The id of a model version's change of ``key`` (a tag, an alias) from ``old`` to ``new``, the first time.

    A registry does not say how often a version changed in this way: whoever has the recorded events does, and gives the
    later ones :func:`again_id`.
    """
    return change_id(workspace, "model_version", registry, model, version, key, old, new)


def again_id(first: str, times: int) -> str:
    """The id of a change that is like the one with the id ``first``, and the ``times``-th after it (from 1)."""
    return change_id("again", first, times)
