"""Starts and ends the real parts of the story, all in one folder."""

from __future__ import annotations

import fcntl
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab.airflow import Airflow
from lab.inbox import Inbox
from lab.mlflow import mlflow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from demo.screen import Screen

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".demo"
RULES = ROOT / "examples" / "rules"

#: What differs from Airflow's and our defaults: shorter waits, and nothing that calls home.
OPTIONS = {
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    "GX_ANALYTICS_ENABLED": "False",
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
        registry: dict[str, object] = {"conn_type": "mleventsmlflow", "host": url}
        for conn_id, connection in {"mlflow_default": registry, **inbox.connections()}.items():
            airflow.environment[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(connection)
        screen.say(
            f"The inbox takes webhooks, DingTalk and Slack on {inbox.http.url()}, mail on port {inbox.mail.port}"
        )
        parts.callback(airflow.stop)
        airflow.start()
        applied = airflow.cli("ml-events", "rules", "apply", "-f", str(RULES)).stdout
        screen.say("airflow ml-events rules apply -f examples/rules", "bold")
        for line in applied.strip().splitlines():
            screen.line(f"    {line}")
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
