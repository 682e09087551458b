"""A whole Airflow in a folder of its own: all components, and the dispatcher in its scheduler."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil

from lab.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

START_SECONDS = 180


class Airflow:
    """An ``airflow standalone`` (or single components of it) with its REST API and command line at hand."""

    def __init__(
        self,
        home: Path,
        *,
        dags: Path | None = None,
        options: Mapping[str, str] | None = None,
        database: str = "",
        port: int = 0,
        path: str = "",
        untouched: bool = False,
    ) -> None:
        self.home = home
        self.dags = dags or home / "dags"
        self.port = port or free_port()
        #: ``path`` is a sub-path that the API server lives under, as behind a proxy.
        self.url = f"http://127.0.0.1:{self.port}{path}"
        self.database = database or f"sqlite:///{home}/airflow.db"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._token = ""
        #: Exit codes of components that are no reason to give up waiting.
        self.expected_codes: tuple[int, ...] = ()
        home.mkdir(parents=True, exist_ok=True)
        self.dags.mkdir(parents=True, exist_ok=True)
        #: ``untouched`` leaves Airflow its own defaults, but for what keeps it to itself on this machine.
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "_AIRFLOW"))},
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
            "PYTHONUNBUFFERED": "1",
            **self._apart(),
            **({} if untouched else self._quick()),
            **(options or {}),
        }

    def _apart(self) -> dict[str, str]:
        """What keeps it to itself: a home, a database, ports, no calls home; and patience on a busy machine."""
        return {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.database,
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__HOST": "127.0.0.1",
            # The first request of a task has the API server build its routes: seconds of CPU, on a busy machine more
            # than Airflow's five tries of 5 s each, and the task fails before it began.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }

    def _quick(self) -> dict[str, str]:
        """What makes it answer quicker than by its own defaults, and lets this class ask it."""
        return {
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
            "AIRFLOW__ML_EVENTS__ALLOWED_HOSTS": "127.0.0.1, localhost",
        }

    @property
    def log(self) -> Path:
        """Where the components write."""
        return self.home / "airflow.log"

    def cli(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run ``airflow …`` to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if check and done.returncode:
            raise RuntimeError(f"airflow {' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}")
        return done

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start ``airflow standalone``, or another long-running command."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "airflow", *(command or ("standalone",))],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill one component and its children at once, as a power cut would."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._processes.remove(process)

    def stop(self) -> None:
        """End all that was started, children included."""
        for process in reversed(self._processes):
            kill_group(process)
        self._processes.clear()

    def wait_until_up(self) -> None:
        """Until the API server answers and the scheduler, triggerer and DAG processor are healthy."""

        def healthy() -> bool:
            try:
                answer = httpx.get(f"{self.url}/api/v2/monitor/health", timeout=5)
            except httpx.HTTPError:
                return False
            parts = answer.json() if answer.status_code == 200 else {}
            wanted = ("scheduler", "dag_processor", "triggerer")
            return all((parts.get(part) or {}).get("status") == "healthy" for part in wanted)

        self.wait_for(healthy, "Airflow to be healthy", seconds=START_SECONDS)

    def wait_for(self, done: Callable[[], Any], what: str, *, seconds: float = 120) -> Any:
        """Until ``done()`` is true; returns what it returned.

        :raises TimeoutError: with the log's last lines.
        """
        deadline = time.monotonic() + seconds
        while True:
            found = done()
            if found:
                return found
            for process in self._processes:
                if process.poll() not in (None, 0, *self.expected_codes):
                    raise RuntimeError(f"Airflow ended with code {process.returncode}:\n{self.last_lines()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {seconds:g} s for {what}\n{self.last_lines()}")
            time.sleep(0.25)

    def last_lines(self, count: int = 60) -> str:
        """The end of the log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])
        except FileNotFoundError:
            return "(no log)"

    def _credentials(self) -> dict[str, str]:
        if not self._token:
            self._token = httpx.get(f"{self.url}/auth/token", timeout=30).json()["access_token"]
        return {"Authorization": f"Bearer {self._token}"}

    def publish(self, event: Mapping[str, Any]) -> None:
        """Send a CloudEvent to the ingest endpoint."""
        headers = {**self._credentials(), "Content-Type": "application/cloudevents+json"}
        url = f"{self.url}/ml-events/v1/events"
        httpx.post(url, content=json.dumps(event), headers=headers, timeout=30).raise_for_status()

    def api(self, method: str, path: str, body: Any = None, *, expect: int | None = None) -> Any:
        """Call Airflow's REST API (``/api/v2`` is added unless the path begins with another)."""
        url = self.url + (path if path.startswith(("/ml-events", "/auth")) else f"/api/v2{path}")
        answer = httpx.request(method, url, json=body, headers=self._credentials(), timeout=30)
        if expect is not None:
            if answer.status_code != expect:
                raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        elif answer.is_error:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    def trigger(self, dag_id: str, *, run_id: str = "", conf: Mapping[str, Any] | None = None) -> str:
        """Unpause a DAG and start a run; returns its id."""

        def parsed() -> bool:
            try:
                self.api("PATCH", f"/dags/{dag_id}", {"is_paused": False})
            except RuntimeError:
                return False
            return True

        self.wait_for(parsed, f"DAG {dag_id} to be parsed", seconds=90)
        body = {"logical_date": None, "conf": dict(conf or {}), **({"dag_run_id": run_id} if run_id else {})}
        return str(self.api("POST", f"/dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """The state of a dag run."""
        return str(self.api("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def wait_for_run(self, dag_id: str, run_id: str, *, seconds: float = 180) -> str:
        """Until a dag run ended; returns its state."""
        return str(
            self.wait_for(
                lambda: (state := self.run_state(dag_id, run_id)) in {"success", "failed"} and state,
                f"run {run_id} of {dag_id} to end",
                seconds=seconds,
            )
        )

    def events(self, prefix: str = "") -> list[dict[str, Any]]:
        """The recorded events, oldest first, as CloudEvents documents, read from the database."""
        rows = self.query("SELECT body FROM ml_event_event ORDER BY seq")
        return [event for event in (json.loads(row[0]) for row in rows) if event["type"].startswith(prefix)]

    def deliveries(self) -> list[dict[str, Any]]:
        """The deliveries with rule and event, oldest first."""
        rows = self.query(
            "SELECT d.id, n.rule, d.conn_id, d.state, d.attempts, d.code, d.reason, e.type, e.subject, e.body"
            " FROM ml_event_delivery d JOIN ml_event_notification n ON n.id = d.notification_id"
            " JOIN ml_event_event e ON e.seq = n.event_seq ORDER BY e.seq, d.conn_id"
        )
        names = ("id", "rule", "conn_id", "state", "attempts", "code", "reason", "type", "subject", "event")
        found = [dict(zip(names, row, strict=True)) for row in rows]
        for one in found:
            one["event"] = json.loads(one["event"])
        return found

    def query(self, sql: str) -> list[Any]:
        """Read the metadata database."""
        from sqlalchemy import create_engine, text

        engine = create_engine(self.database)
        try:
            with engine.connect() as connection:
                return list(connection.execute(text(sql)))
        finally:
            engine.dispose()


def kill_group(process: subprocess.Popen[bytes], *, patience: float = 20) -> None:
    """End a process and its children: asked first, forced after ``patience`` seconds."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(patience)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        pass
    # Tasks run in process groups of their own, but in the session of the process that was started.
    for pid in session_of(process.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def session_of(leader: int) -> list[int]:
    """The processes of the session that ``leader`` began."""
    found = []
    for pid in psutil.pids():
        try:
            if os.getsid(pid) == leader:
                found.append(pid)
        except OSError:
            continue
    return found


@contextmanager
def running(airflow: Airflow) -> Iterator[Airflow]:
    """``airflow standalone`` for the time of the block."""
    airflow.start()
    try:
        airflow.wait_until_up()
        yield airflow
    finally:
        airflow.stop()
