"""A real MLflow tracking server with its registry, on a free port of the loopback interface."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

if TYPE_CHECKING:
    from collections.abc import Callable

INTERPRETER = "ML_EVENTS_MLFLOW_PYTHON"
START_SECONDS = 120


@dataclass(frozen=True)
class MlflowServer:
    """The running server; ``url`` has no closing slash."""

    url: str
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """End the server and its workers, which share its process group."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                break
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                continue
        self.process.wait()


def interpreter() -> Path:
    """The Python that has MLflow; it lives apart from Airflow, with pins of its own."""
    configured = os.environ.get(INTERPRETER)
    root = Path(__file__).resolve().parents[2]
    path = Path(configured) if configured else root / ".venv-mlflow" / "bin" / "python"
    if not path.exists():
        pytest.fail(
            f"no Python with MLflow at {path}: at the repository's root run `python3 -m venv .venv-mlflow &&"
            f" .venv-mlflow/bin/pip install mlflow -c constraints-mlflow.txt`, or set {INTERPRETER}",
            pytrace=False,
        )
    return path


def start(directory: Path) -> MlflowServer:
    """Start a server with SQLite and artifacts in ``directory`` and wait until it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = directory / "server.log"
    command = [
        *(str(interpreter()), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{directory / 'mlflow.db'}", "--workers", "1"),
        *("--artifacts-destination", str(directory / "artifacts")),
    ]
    # The MLflow server must not see this process's Airflow or Python settings.
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=directory, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    server = MlflowServer(f"http://127.0.0.1:{port}", process)
    deadline = time.monotonic() + START_SECONDS
    try:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if requests.get(f"{server.url}/health", timeout=2).text == "OK":
                    return server
            except requests.RequestException:
                time.sleep(0.2)
    except BaseException:
        server.stop()
        raise
    server.stop()
    pytest.fail(f"the MLflow server did not start: {log.read_text()[-2000:]}", pytrace=False)


_SERVER = pytest.StashKey[MlflowServer]()


@pytest.fixture(scope="session")
def mlflow_server(request: pytest.FixtureRequest) -> MlflowServer:
    """One server for the whole test run, however many places import this fixture."""
    config = request.config
    if _SERVER not in config.stash:
        directory = tempfile.TemporaryDirectory(prefix="ml-events-mlflow-", ignore_cleanup_errors=True)
        config.add_cleanup(directory.cleanup)
        config.stash[_SERVER] = start(Path(directory.name))
        config.add_cleanup(config.stash[_SERVER].stop)
    return config.stash[_SERVER]


@pytest.fixture
def model() -> str:
    """A model name that no other test uses, with characters that URLs and JSON must escape."""
    return f"churn & co é {uuid.uuid4().hex[:8]}"


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Define an Airflow connection by an environment variable; returns its id."""

    def define(host: str, conn_id: str = "mlflow_default", conn_type: str = "mleventsmlflow", **more: str) -> str:
        value = json.dumps({"conn_type": conn_type, "host": host, **more})
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", value)
        return conn_id

    return define
