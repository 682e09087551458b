"""``ModelApprovalSensor``: holds a DAG until a person or a check has approved a model version."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn, cast

from airflow.sdk import BaseHook, BaseSensorOperator, PokeReturnValue
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)

from ml_event_provider import config
from ml_event_provider.events.strict_json import storable
from ml_event_provider.exceptions import InvalidEvent, RegistryError
from ml_event_provider.extensions import registry_named
from ml_event_provider.registries import Approval, ApprovalPolicy
from ml_event_provider.registries.watch import Watch
from ml_event_provider.sources.model_registry import approval_changed
from ml_event_provider.triggers.model_approval import ModelApprovalTrigger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from ml_event_provider.connection import Connection
    from ml_event_provider.events import Event
    from ml_event_provider.registries.watch import Sighting

#: Where a rescheduled sensor finds what it saw before, in Airflow's task state store.
_STATE_KEY = "ml_event_model_approval"
#: How long after the trigger's own time-out Airflow ends the deferral, where the triggerer does not.
_GRACE = timedelta(seconds=60)


class ModelApprovalSensor(BaseSensorOperator):
    """Waits until a registered model's version is approved.

    Returns ``{model, version, status, tags, aliases, link, run_id}``. A rejection fails the task at once,
    without a retry. The change (pending to approved, say) is published as
    ``ml.model_version.approval_changed``, also where the version was decided before the first look.

    :param model: the registered model's name. (templated)
    :param version: its version; ``latest`` or ``@alias`` is resolved once, at the first look. (templated)
    :param registry: the registry's name, as its plugin gives it. (templated)
    :param conn_id: the connection to the registry. (templated)
    :param tag: the tag that holds the status. (templated)
    :param approved: the tag's value or values that mean approved, compared without case. (templated)
    :param rejected: the tag's value or values that mean rejected. (templated)
    :param alias: if given, a version is approved by bearing this alias, not by the tag. (templated)
    :param deferrable: whether to wait in the triggerer, without a worker slot.
    :param fail_on_rejection: if false, a rejection ends the wait with ``status`` ``"rejected"`` and success.
    :param publish: whether to publish the change as an event.
    :param max_registry_errors: after how many errors in a row the registry is given up; below that the wait
        goes on. What cannot get better (no such version, wrong password) fails the task at once.
    :param request_timeout: the longest wait for one answer of the registry, in seconds.
    """

    template_fields: Sequence[str] = (
        "model",
        "version",
        "registry",
        "conn_id",
        "tag",
        "approved",
        "rejected",
        "alias",
    )
    ui_color = "#e8f0d8"

    def __init__(
        self,
        *,
        model: str,
        version: str | int = "latest",
        registry: str = "mlflow",
        conn_id: str = "mlflow_default",
        tag: str = "validation_status",
        approved: str | Sequence[str] = ("approved",),
        rejected: str | Sequence[str] = ("rejected",),
        alias: str = "",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        fail_on_rejection: bool = True,
        publish: bool = True,
        max_registry_errors: int = 10,
        request_timeout: float = 15.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.version = version
        self.registry = registry
        self.conn_id = conn_id
        self.tag = tag
        self.approved = approved
        self.rejected = rejected
        self.alias = alias
        self.deferrable = deferrable
        self.fail_on_rejection = fail_on_rejection
        self.publish = publish
        self.max_registry_errors = max_registry_errors
        self.request_timeout = request_timeout
        self._watch: Watch | None = None

    def execute(self, context: Context) -> Any:
        """Wait in the way that ``deferrable`` and ``mode`` name."""
        if self.deferrable:
            return self._execute_deferrable(context)
        watch = self._watch = self._remembered(context) or self._new_watch()
        try:
            return super().execute(context)
        except AirflowSensorTimeout as error:
            raise AirflowSensorTimeout(self._timed_out(watch)) from error
        except AirflowSkipException as error:
            # Without a cause it is the base class's soft time-out.
            if error.__cause__ is not None:
                raise
            raise AirflowSkipException(self._timed_out(watch)) from error

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Look once."""
        watch = self._watch = self._watch or self._new_watch()
        self._look(watch)
        if watch.decision is None:
            self._remember(context, watch)
            return False
        return PokeReturnValue(is_done=True, xcom_value=self._finish(context, watch, watch.decision))

    def resume(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Go on after the trigger's event."""
        watch = Watch.from_dict(event["watch"])
        if event["error"]:
            self._end(RegistryError(event["error"]))
        if watch.decision is None:
            self._end(AirflowSensorTimeout(self._timed_out(watch)))
        return self._finish(context, watch, watch.decision)

    def _execute_deferrable(self, context: Context) -> dict[str, Any]:
        watch = self._new_watch()
        self._look(watch)
        if watch.decision is not None:
            return self._finish(context, watch, watch.decision)
        limit = timedelta(seconds=self.timeout)
        self.defer(
            trigger=ModelApprovalTrigger(
                registry=self.registry,
                conn_id=self.conn_id,
                watch=watch.to_json(),
                poll_interval=self.poke_interval,
                request_timeout=self.request_timeout,
                end_time=datetime.now(UTC) + limit,
            ),
            method_name="resume",
            timeout=limit + _GRACE,
        )

    def _new_watch(self) -> Watch:
        policy = ApprovalPolicy(
            tag=self.tag, approved=_texts(self.approved), rejected=_texts(self.rejected), alias=self.alias
        )
        return Watch(model=self.model, version=str(self.version), policy=policy, max_errors=self.max_registry_errors)

    def _look(self, watch: Watch) -> None:
        asked = watch.version
        try:
            watch.look(
                registry_named(self.registry),
                cast("Connection", BaseHook.get_connection(self.conn_id)),
                timeout=self.request_timeout,
                now=datetime.now(UTC),
            )
        except RegistryError as error:
            self._end(error)
        if watch.errors:
            self.log.warning("Error %d of %d in a row: %s", watch.errors, watch.max_errors, watch.last_error)
            return
        if asked != watch.version:
            self.log.info("Version %r of model %r is %s.", asked, watch.model, watch.version)
        self.log.info("%s: %s", watch.label(), watch.state())

    def _finish(self, context: Context, watch: Watch, decision: Sighting) -> dict[str, Any]:
        if self.publish:
            self._publish(context, watch, decision)
        if decision.status is Approval.REJECTED and self.fail_on_rejection:
            self._end(AirflowFailException(f"{watch.label()} was not approved: {watch.state()}"))
        version = decision.version
        # Airflow keeps it in its database, which does not store each character that a registry accepts.
        result: dict[str, Any] = storable(
            {
                "model": version.model,
                "version": version.version,
                "status": str(decision.status),
                "tags": dict(version.tags),
                "aliases": list(version.aliases),
                "link": version.link,
                "run_id": version.run_id,
            }
        )
        return result

    def _publish(self, context: Context, watch: Watch, decision: Sighting) -> None:
        """Publish the change. The version was decided; that this cannot be told must not fail the task."""
        from ml_event_provider.hooks.ml_events import MlEventHook

        try:
            event = self._event(context, watch, decision)
        except InvalidEvent as error:
            self.log.warning("The change of %s was not published: %s", watch.label(), error)
        else:
            MlEventHook().hand_over([event])

    def _event(self, context: Context, watch: Watch, decision: Sighting) -> Event:
        ti = context["ti"]
        old, pending = None, watch.pending
        if self.alias and decision.status is Approval.APPROVED:
            key, new = f"alias:{self.alias}", self.alias
        else:
            key, new = self.tag, decision.version.tags.get(self.tag, str(decision.status))
            old = None if pending is None else pending.version.tags.get(self.tag)
        return approval_changed(
            workspace=getattr(context.get("dag_run"), "team_name", None) or config.workspace(),
            registry=self.registry,
            instance=self.conn_id,
            model_version=decision.version,
            previous=None if pending is None else pending.status,
            previous_time=None if pending is None else pending.time,
            status=decision.status,
            key=key,
            old=old,
            new=new,
            time=decision.time,
            origin="worker",
            owner=self.owner,
            dag_id=ti.dag_id,
            dag_run_id=ti.run_id,
            task_id=ti.task_id,
        )

    def _timed_out(self, watch: Watch) -> str:
        errors = f"; the registry's last error: {watch.last_error}" if watch.last_error else ""
        return (
            f"{watch.label()} was not approved within {self.timeout:g} s: waited for {watch.policy.wanted()},"
            f" last seen {watch.state()}{errors}"
        )

    def _end(self, error: Exception) -> NoReturn:
        """Fail, or skip where ``soft_fail`` or ``never_fail`` ask for it, in the same words."""
        if self.never_fail or (self.soft_fail and isinstance(error, AirflowException)):
            # After a deferral the base class's own words take the exception's place.
            self.log.warning("Skipping: %s", error)
            raise AirflowSkipException(str(error)) from error
        raise error

    def _store(self, context: Context) -> Any:
        """Airflow's task state store, in the mode in which every look is another process."""
        if not self.reschedule:
            return None
        store = context.get("task_state_store")
        if store is None:
            raise AirflowFailException(
                "mode='reschedule' needs the task state store of Airflow 3.3 to remember what was seen:"
                " use deferrable=True or mode='poke'"
            )
        return store

    def _remembered(self, context: Context) -> Watch | None:
        store = self._store(context)
        known = store and store.get(_STATE_KEY)
        # A retry or a cleared task is another wait.
        if not known or known["try_number"] != context["ti"].try_number:
            return None
        return Watch.from_dict(known["watch"])

    def _remember(self, context: Context, watch: Watch) -> None:
        if store := self._store(context):
            store.set(_STATE_KEY, {"try_number": context["ti"].try_number, "watch": watch.to_json()})


def _texts(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
