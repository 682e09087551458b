"""Actions: what a rule does in Airflow about an event. Trying again does nothing that was done already."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ml_event_provider.events.hops import run_id_of
from ml_event_provider.exceptions import InvalidRule, NotFound, TemplateProblem
from ml_event_provider.messages.plain import one_line
from ml_event_provider.messages.values import json_value, render_values
from ml_event_provider.redaction import redact
from ml_event_provider.store import airflow_actions
from ml_event_provider.store.airflow_actions import MARK
from ml_event_provider.targets import Result

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ml_event_provider.events.model import Event

#: The most that an action's filled ``conf`` or ``extra`` may have as JSON, in bytes.
MAX_VALUES_BYTES = 64 * 1024
#: An event with more data than this, as JSON in bytes, is handed to a run without it.
MAX_DATA_BYTES = 16 * 1024


def perform(
    action: Mapping[str, Any], *, event: Event, delivery_id: str, rule: str, workspace: str, hops: int
) -> Result:
    """Perform one action about an event and say how it went, in Airflow's words.

    ``action`` has one key: ``trigger_dag``, ``asset_event``, ``pause_dag`` or ``unpause_dag``. Texts in its ``conf``
    or ``extra`` are templates over ``event``, ``data``, ``rule``, ``workspace``, ``hops`` and ``delivery_id``.
    ``delivery_id`` is a UUID that is the same at each try, and so must be ``hops``, which count this action too.

    Only what may help later is worth another try: the DAG or asset is not there. Raises what the database raises.
    """
    about: dict[str, Any] = {"rule": rule, "workspace": workspace, "hops": hops, "delivery_id": delivery_id}
    missing = "no dag"
    try:
        match {kind: form for kind, form in action.items() if form is not None}:
            case {"trigger_dag": form}:
                return _trigger(form, event, about)
            case {"asset_event": form}:
                missing = "no asset"
                return _asset_event(form, event, about)
            case {"pause_dag": form}:
                return _pause(form, about, paused=True)
            case {"unpause_dag": form}:
                return _pause(form, about, paused=False)
        return Result.refused("no such action", f"there is no action {', '.join(action)!r}")
    except TemplateProblem as error:
        return Result.refused("template", str(error))
    except InvalidRule as error:
        return Result.refused("not allowed", str(error))
    except NotFound as error:
        # It may be deployed at any moment: tried again like an unreachable target.
        return Result.retry(missing, str(error))
    except ValueError as error:
        return Result.refused(type(error).__name__, one_line(redact(str(error))))


def _trigger(form: Mapping[str, Any], event: Event, about: Mapping[str, Any]) -> Result:
    conf = _filled(form.get("conf"), event, about, "conf")
    run_id = run_id_of(about["hops"], about["delivery_id"])
    run = airflow_actions.trigger_dag(
        form["dag_id"],
        run_id=run_id,
        conf={**conf, MARK: {**about, **_told(event)}},
        rule=about["rule"],
        workspace=about["workspace"],
    )
    if not run.new:
        return Result.delivered("already triggered", run_id)
    return Result.delivered("triggered", f"{run_id}{'; the DAG is paused: the run waits' if run.paused else ''}")


def _asset_event(form: Mapping[str, Any], event: Event, about: Mapping[str, Any]) -> Result:
    extra = _filled(form.get("extra"), event, about, "extra")
    mark = {"delivery_id": about["delivery_id"], "hops": about["hops"], "rule": about["rule"], "event_id": event.id}
    new = airflow_actions.create_asset_event(
        uri=form.get("uri"),
        name=form.get("name"),
        extra={**extra, MARK: mark},
        delivery_id=about["delivery_id"],
        rule=about["rule"],
        workspace=about["workspace"],
    )
    return Result.delivered("created" if new else "already created", str(form.get("uri") or form.get("name")))


def _pause(form: Mapping[str, Any], about: Mapping[str, Any], *, paused: bool) -> Result:
    changed = airflow_actions.pause_dag(form["dag_id"], paused=paused, rule=about["rule"], workspace=about["workspace"])
    state = "paused" if paused else "unpaused"
    return Result.delivered(state if changed else f"already {state}", form["dag_id"])


def _filled(values: Mapping[str, Any] | None, event: Event, about: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The user's values with their templates filled."""
    filled: dict[str, Any] = render_values(values or {}, {"event": event, "data": event.data, **about}, what=what)
    found = _size(filled)
    if found > MAX_VALUES_BYTES:
        raise TemplateProblem(
            f"{what} has {found:,} bytes; {MAX_VALUES_BYTES:,} are allowed: hand over a name or link, and let the DAG"
            " read the rest"
        )
    return filled


def _told(event: Event) -> dict[str, Any]:
    """What a run is told about the event that it answers."""
    told = {"event_id": event.id, "event_type": event.type, "subject": event.subject}
    data = json_value(event.data)
    return told if _size(data) > MAX_DATA_BYTES else {**told, "data": data}


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())
