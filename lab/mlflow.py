"""A real MLflow tracking server with its model registry."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.peers import mlflow_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def mlflow(directory: Path) -> Iterator[str]:
    """A server with its files in ``directory`` for the time of the block; gives its URL.

    :raises RuntimeError: if there is no Python with MLflow, or the server does not start.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(mlflow_server.start, directory)
        try:
            server = starting.result()
        except pytest.fail.Exception as error:
            raise RuntimeError(str(error)) from None
        except BaseException:
            # Interrupted: only what has started can be stopped.
            starting.result().stop()
            raise
    try:
        yield server.url
    finally:
        server.stop()


def approve(url: str, model: str, version: str, *, by: str) -> None:
    """What a person does on the version's page: set the tag ``validation_status`` to ``approved``."""
    for key, value in (("approved_by", by), ("validation_status", "approved")):
        httpx.post(
            f"{url}/api/2.0/mlflow/model-versions/set-tag",
            json={"name": model, "version": version, "key": key, "value": value},
            timeout=30,
        ).raise_for_status()


def newest_version(url: str, model: str) -> dict[str, Any]:
    """The newest version of a model, as MLflow tells it."""
    answer = httpx.get(
        f"{url}/api/2.0/mlflow/model-versions/search",
        params={"filter": f"name='{model}'", "order_by": "version_number DESC", "max_results": 1},
        timeout=30,
    ).raise_for_status()
    return dict(answer.json()["model_versions"][0])
