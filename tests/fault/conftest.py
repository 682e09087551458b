"""An Airflow whose components run as separate processes, so that each can be killed on its own."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from lab.postgres import postgres
from tests.fault.dispatchers import forker
from tests.peers.receiver import Receiver
from tests.system.conftest import Lab, make_lab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["forker"]

KILLER = '''
"""Kills the scheduler in the middle of a transaction: after our listener recorded, before Airflow commits."""

import os
import signal
from pathlib import Path

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

TRIGGER = Path(os.environ["AIRFLOW_HOME"]) / "kill-the-scheduler"


class Killer:
    @hookimpl(trylast=True)
    def on_dag_run_success(self, dag_run, msg):
        if TRIGGER.exists():
            TRIGGER.unlink()
            os.kill(os.getpid(), signal.SIGKILL)


class KillerPlugin(AirflowPlugin):
    name = "killer"
    listeners = [Killer()]
'''


class Parts(Lab):
    """A lab whose components are at hand one by one."""

    def start(self) -> None:
        """Start all components."""
        self.airflow.expected_codes = (-9,)
        self.api_server = self.airflow.start("api-server")
        self.dag_processor = self.airflow.start("dag-processor")
        self.triggerer = self.airflow.start("triggerer")
        self.scheduler = self.airflow.start("scheduler")
        self.airflow.wait_until_up()


@contextmanager
def parts_in(home: Path, *, database: str = "") -> Iterator[Parts]:
    """A lab in ``home`` whose components run, on SQLite unless ``database`` is given."""
    (home / "plugins").mkdir()
    (home / "plugins" / "killer.py").write_text(KILLER)
    with Receiver() as inbox:
        lab = Parts(make_lab(home, inbox, database=database), inbox)
        try:
            lab.start()
            yield lab
        finally:
            lab.airflow.stop()


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    with parts_in(tmp_path_factory.mktemp("parts")) as lab:
        yield lab


@pytest.fixture(scope="module")
def parts_on_postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    with (
        postgres(tmp_path_factory.mktemp("pg")) as url,
        parts_in(tmp_path_factory.mktemp("parts_pg"), database=url) as lab,
    ):
        yield lab
