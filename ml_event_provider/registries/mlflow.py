"""MLflow's model registry, over its REST API. Approval is a convention there: a tag or an alias."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from ml_event_provider.exceptions import RegistryError
from ml_event_provider.hookspecs import hookimpl
from ml_event_provider.registries.mlflow_rest import base_url, call
from ml_event_provider.registries.model import ModelVersion, RegistryRefused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ml_event_provider.connection import Connection
    from ml_event_provider.registries.model import Approval, ApprovalPolicy, Registry

LATEST: Final = "latest"


class MlflowRegistry:
    """The registry of an MLflow tracking server; the connection's host is its URL."""

    name = "mlflow"

    def get_version(self, connection: Connection, model: str, version: str, *, timeout: float) -> ModelVersion:
        """Read one version: a number, ``latest`` (the highest number) or ``@alias``."""
        if version.startswith("@"):
            query = {"name": model, "alias": version[1:]}
            answer = call(connection, "registered-models/alias", query=query, timeout=timeout)
        else:
            if version == LATEST:
                version = _latest(connection, model, timeout)
            query = {"name": model, "version": version}
            answer = call(connection, "model-versions/get", query=query, timeout=timeout)
        return read_version(connection, answer)

    def approval(self, version: ModelVersion, policy: ApprovalPolicy) -> Approval:
        """The status that the version's tags and aliases tell."""
        return policy.status(version)


def read_version(connection: Connection, answer: Mapping[str, Any]) -> ModelVersion:
    """The version in an answer of MLflow (``{"model_version": {…}}``).

    :raises RegistryError: if there is none in it.
    """
    try:
        found = answer["model_version"]
        model, version = str(found["name"]), str(found["version"])
        tags = {str(tag["key"]): str(tag.get("value", "")) for tag in found.get("tags", ())}
        aliases = tuple(map(str, found.get("aliases", ())))
    except (KeyError, TypeError, AttributeError):
        raise RegistryError(
            f"MLflow at {base_url(connection)} answered without a model version: {str(answer)[:200]}"
        ) from None
    return ModelVersion(
        model=model,
        version=version,
        tags=tags,
        aliases=aliases,
        run_id=str(found.get("run_id", "")),
        description=str(found.get("description", "")),
        link=f"{base_url(connection)}/#/models/{quote(model, safe='')}/versions/{quote(version, safe='')}",
    )


def _latest(connection: Connection, model: str, timeout: float) -> str:
    """The highest version number. The search answers without aliases: read the version by its number."""
    # MLflow's filter has no escapes: the name stands between quotes that it does not hold.
    mark = '"' if "'" in model else "'"
    if mark in model:
        raise RegistryRefused(f"MLflow cannot search for {model!r}, which holds both kinds of quotes: name the version")
    query: dict[str, str | int] = {
        "filter": f"name={mark}{model}{mark}",
        "order_by": "version_number DESC",
        "max_results": 1,
    }
    answer = call(connection, "model-versions/search", query=query, timeout=timeout)
    found = answer.get("model_versions") or []
    if not found:
        # Tells a model that does not exist in MLflow's own words.
        call(connection, "registered-models/get", query={"name": model}, timeout=timeout)
        raise RegistryRefused(f"model {model!r} has no version yet at MLflow {base_url(connection)}")
    return str(found[0]["version"])


@hookimpl
def ml_event_registries() -> Iterable[Registry]:
    """The built-in registry."""
    return [MlflowRegistry()]
