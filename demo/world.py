"""Starts and ends the real parts of the story, all in one folder."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from demo.screen import Screen
from lab.airflow import Airflow
from lab.inbox import Inbox
from lab.mlflow import mlflow

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".demo"
RULES = ROOT / "examples" / "rules"

#: What differs from the defaults, so that the story takes minutes: all of it is about waiting.
OPTIONS = {
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__ML_EVENTS__RECONCILE_SECONDS": "2",
    "AIRFLOW__ML_EVENTS__RECONCILE_GRACE_SECONDS": "5",
    "AIRFLOW__ML_EVENTS__RETRY_BASE_SECONDS": "1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The running parts."""

    airflow: Airflow
    inbox: Inbox
    mlflow: str


@contextmanager
def world(screen: Screen) -> Iterator[World]:
    """MLflow, the inbox and a whole Airflow with the rules applied, for the time of the block.

    :raises RuntimeError: if a part does not start, or another demo runs here.
    """
    with ExitStack() as parts:
        _fresh_home(parts)
        inbox = parts.enter_context(Inbox())
        airflow = Airflow(HOME / "airflow", dags=ROOT / "dags", options=OPTIONS)
        with ThreadPoolExecutor(1) as pool:
            migration = pool.submit(airflow.cli, "db", "migrate")
            url = parts.enter_context(mlflow(HOME / "mlflow"))
            screen.say(f"MLflow answers on {url}")
            migration.result()
        connections = {"mlflow_default": {"conn_type": "ml_events_mlflow", "host": url}, **inbox.connections()}
        for conn_id, connection in connections.items():
            airflow.environment[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(connection)
        screen.say(f"The inbox takes webhooks, DingTalk, Slack ({inbox.http.url()}) and mail (port {inbox.mail.port})")
        parts.callback(airflow.stop)
        applied = airflow.cli("ml-events", "rules", "apply", "-f", str(RULES)).stdout
        screen.say("airflow ml-events rules apply -f examples/rules", "bold")
        for line in applied.strip().splitlines():
            screen.line(f"    {line}")
        airflow.start()
        airflow.wait_until_up()
        screen.say(f"Airflow is up on {airflow.url}, with the dispatcher in its scheduler")
        yield World(airflow=airflow, inbox=inbox, mlflow=url)


def _fresh_home(parts: ExitStack) -> None:
    """An empty folder that no other demo uses at the same time."""
    HOME.mkdir(exist_ok=True)
    lock = parts.enter_context((HOME / "lock").open("w"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RuntimeError(f"another demo runs in {HOME}: end it with Ctrl-C where it runs") from None
    for entry in HOME.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != "lock":
            entry.unlink()
