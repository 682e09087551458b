"""``MLflowHook``: logs runs and registers model versions over REST, without the MLflow client."""

from __future__ import annotations

import time
from math import isfinite, isnan
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from ml_event_provider.exceptions import RegistryError
from ml_event_provider.registries import ModelVersion, RegistryRefused
from ml_event_provider.registries.mlflow import LATEST, MlflowRegistry, read_version
from ml_event_provider.registries.mlflow_rest import base_url, call, fetch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ml_event_provider.connection import Connection

_EXISTS = "RESOURCE_ALREADY_EXISTS"
_MISSING = "RESOURCE_DOES_NOT_EXIST"
#: The most metrics that ``runs/log-batch`` takes in one call.
_BATCH = 1000


class MLflowHook(BaseHook):
    """One MLflow tracking server.

    Every method that fails raises ``RegistryError`` with MLflow's own words.

    :param mlflow_conn_id: a connection of type ``mleventsmlflow``: the server's URL as host, login and
        password, or a password alone as bearer token.
    :param timeout: the longest wait for one answer, in seconds.
    """

    conn_name_attr = "mlflow_conn_id"
    default_conn_name = "mlflow_default"
    conn_type = "mleventsmlflow"
    hook_name = "ML Events: MLflow registry"

    def __init__(self, mlflow_conn_id: str = default_conn_name, *, timeout: float = 30.0) -> None:
        super().__init__()
        self.mlflow_conn_id = mlflow_conn_id
        self.timeout = timeout

    def get_conn(self) -> Connection:
        """The connection; each request is its own, so there is no session to hold."""
        return self.get_connection(self.mlflow_conn_id)

    def get_version(self, model: str, version: str = LATEST) -> ModelVersion:
        """Read a version: its number, ``latest`` or ``@alias``."""
        return MlflowRegistry().get_version(self.get_conn(), model, version, timeout=self.timeout)

    def create_run(self, experiment: str, *, run_name: str = "", tags: Mapping[str, str] | None = None) -> str:
        """Start a run in an experiment, which is made if it does not exist; return the run's id."""
        body = {
            "experiment_id": self._experiment_id(experiment),
            "run_name": run_name,
            "start_time": _now(),
            "tags": _pairs(tags),
        }
        return str(self._post("runs/create", body)["run"]["info"]["run_id"])

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], *, step: int = 0) -> None:
        """Log values of metrics at ``step``; NaN and infinity are values, too."""
        now = _now()
        rows = [{"key": key, "value": _number(value), "timestamp": now, "step": step} for key, value in metrics.items()]
        for start in range(0, len(rows), _BATCH):
            self._post("runs/log-batch", {"run_id": run_id, "metrics": rows[start : start + _BATCH]})

    def finish_run(self, run_id: str, status: str = "FINISHED") -> None:
        """End a run as ``FINISHED``, ``FAILED`` or ``KILLED``."""
        self._post("runs/update", {"run_id": run_id, "status": status, "end_time": _now()})

    def register_model_version(
        self,
        model: str,
        source: str,
        *,
        run_id: str = "",
        tags: Mapping[str, str] | None = None,
        description: str = "",
    ) -> ModelVersion:
        """Register the files at ``source`` as the next version of a model, which is made if missing.

        :param source: where the model's files are, as MLflow writes it (``mlflow-artifacts:/…``, ``s3://…``).
        """
        try:
            self._post("registered-models/create", {"name": model})
        except RegistryRefused as error:
            if error.code != _EXISTS:
                raise
        body = {
            "name": model,
            "source": source,
            "run_id": run_id,
            "tags": _pairs(tags),
            "description": description,
        }
        return read_version(self.get_conn(), self._post("model-versions/create", body))

    def set_version_tag(self, model: str, version: str, key: str, value: str) -> None:
        """Set a tag of a version; what is no text becomes one."""
        self._post("model-versions/set-tag", {"name": model, "version": version, "key": key, "value": str(value)})

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Let ``alias`` name this version of the model, and no other."""
        self._post("registered-models/alias", {"name": model, "alias": alias, "version": version})

    def test_connection(self) -> tuple[bool, str]:
        """Say whether the server answers and lets this user read models, in its own words."""
        try:
            connection = self.get_conn()
            call(connection, "registered-models/search", query={"max_results": 1}, timeout=self.timeout)
            version, _ = fetch(connection, "/version", timeout=self.timeout)
        except RegistryError as error:
            return False, str(error)
        told = f" {version.text.strip()[:50]}" if version.status == 200 else ""
        return True, f"MLflow{told} at {base_url(connection)} answers and its models can be read."

    def _experiment_id(self, name: str) -> str:
        try:
            return self._find_experiment(name)
        except RegistryRefused as error:
            if error.code != _MISSING:
                raise
        try:
            return str(self._post("experiments/create", {"name": name})["experiment_id"])
        except RegistryRefused as error:
            if error.code != _EXISTS:
                raise
        # Another task made it in between.
        return self._find_experiment(name)

    def _find_experiment(self, name: str) -> str:
        query = {"experiment_name": name}
        answer = call(self.get_conn(), "experiments/get-by-name", query=query, timeout=self.timeout)
        return str(answer["experiment"]["experiment_id"])

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return call(self.get_conn(), path, body=body, timeout=self.timeout)


def _pairs(tags: Mapping[str, str] | None) -> list[dict[str, str]]:
    # MLflow takes any value, and keeps an empty text for what is none.
    return [{"key": str(key), "value": str(value)} for key, value in (tags or {}).items()]


def _number(value: float) -> float | str:
    """A number as JSON has it, and as protobuf's JSON names what JSON has not."""
    number = float(value)
    if isnan(number):
        return "NaN"
    return number if isfinite(number) else "Infinity" if number > 0 else "-Infinity"


def _now() -> int:
    """Milliseconds since 1970, as MLflow counts."""
    return int(time.time() * 1000)
