"""The first hour of a new user: the README's commands, as printed, on an Airflow with its own defaults.

PostgreSQL, each component a process of its own, and nothing set but what keeps it to itself on this machine: examples
are loaded, there is no ``[api] base_url``, and Airflow makes its own ``jwt_secret`` and passwords.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import textwrap
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from airflow import __version__ as airflow_version
from packaging.version import Version

from lab.airflow import Airflow
from lab.postgres import postgres
from tests.peers.receiver import SLACK_PATH, Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.system, pytest.mark.postgres]

CHECKOUT = Path(__file__).parents[2]
README = (CHECKOUT / "README.md").read_text("utf-8")
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
_FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_TROUBLE = re.compile(r"\[(?:error|critical) *\]|\b(?:ERROR|CRITICAL)\b|\"level\":\s*\"(?:error|critical)\"|Traceback")
#: Where a log's next entry begins.
_NEW = re.compile(r"\{|\[?\d{4}-\d\d-\d\d|INFO:|\[info")
_OURS = re.compile(r"ml_event|ml-event|mlevent|airflow_provider_ml", re.IGNORECASE)
#: How many of the README's commands look at what came of it, at the end.
LOOKS = 3

FAILS = """
from airflow.sdk import dag, task


@dag(schedule=None)
def fails():
    @task
    def divide():
        return 1 / 0

    divide()


fails()
"""


def five_minutes(language: str) -> list[str]:
    """The blocks of a language in the README's five minutes, in order."""
    start = README.index("## Five minutes")
    section = README[start : README.index("\nRules say more than", start)]
    return [textwrap.dedent(found[3]) for found in _FENCE.finditer(section) if found[2] == language]


def commands(*, at: str) -> list[str]:
    """The commands of the five minutes, with ``at`` in place of Slack; the package is installed already."""
    joined = "\n".join(five_minutes("bash")).replace("\\\n", " ")
    joined = joined.replace("https://hooks.slack.com/services", at).replace("T…/B…/…", SLACK_PATH)
    return [line for line in joined.splitlines() if line.startswith("airflow ")]


@pytest.fixture(scope="module")
def inbox() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, inbox: Receiver) -> Iterator[Airflow]:
    """The Airflow after all that the five minutes say before "let a task fail"."""
    home = tmp_path_factory.mktemp("untouched")
    with postgres(tmp_path_factory.mktemp("pg")) as url:
        one = Airflow(home, database=url, untouched=True)
        # The inbox is on this machine, which the README says must be named.
        assert "AIRFLOW__ML_EVENTS__ALLOWED_HOSTS" in "".join(five_minutes("bash"))
        one.environment["AIRFLOW__ML_EVENTS__ALLOWED_HOSTS"] = "127.0.0.1"
        (home / "dags" / "fails.py").write_text(FAILS)
        (home / "rules.yaml").write_text(five_minutes("yaml")[0])
        for line in commands(at=inbox.url("/slack/services")):
            if not line.startswith(
                ("airflow ml-events events", "airflow ml-events deliveries", "airflow ml-events he")
            ):
                run(one, line)
        for component in COMPONENTS:
            one.start(component)
        try:
            one.wait_until_up()
            yield one
        finally:
            one.stop()


def run(airflow: Airflow, line: str) -> str:
    """Run a command line in the home, as a person does; it must succeed, and show nobody a traceback."""
    done = subprocess.run(
        shlex.split(line),
        env=airflow.environment,
        cwd=airflow.home,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stdout + done.stderr, line
    return done.stdout


def test_a_task_that_fails_is_told_by_the_readmes_own_commands(airflow: Airflow, inbox: Receiver) -> None:
    airflow.wait_for(lambda: "fails" in dags(airflow), "the DAG to be parsed", seconds=300)
    run(airflow, "airflow dags unpause fails")
    run(airflow, "airflow dags trigger fails")
    airflow.wait_for(lambda: delivered(airflow, "fails"), "the message about the task", seconds=240)
    airflow.wait_for(lambda: len(delivered(airflow, "fails")) == 2, "that about the run", seconds=120)
    assert sorted(one["type"] for one in delivered(airflow, "fails")) == [
        "airflow.dag_run.failed",
        "airflow.task_instance.failed",
    ]
    told = [one.body.decode() for one in inbox.requests if "divide" in one.body.decode()]
    assert len(told) == 1
    assert "division by zero" in told[0]
    assert all(one.verified for one in inbox.requests)
    printed = {line: run(airflow, line) for line in commands(at="")[-LOOKS:]}
    assert list(printed) == [
        "airflow ml-events events list",
        "airflow ml-events deliveries list",
        "airflow ml-events health",
    ]
    assert "airflow.task_instance.failed" in printed["airflow ml-events events list"]
    assert "delivered" in printed["airflow ml-events deliveries list"]
    assert printed["airflow ml-events health"].startswith("healthy\n")
    assert json.loads(run(airflow, "airflow ml-events health -o json"))["status"] == "healthy"


@pytest.mark.skipif(Version(airflow_version) < Version("3.3.0"), reason="Airflow shows no examples of providers")
def test_the_examples_are_there_and_can_be_triggered_by_hand(airflow: Airflow) -> None:
    ours = {"example_check_drift", "example_deploy_churn", "example_nightly_features", "example_train_churn"}
    airflow.wait_for(lambda: ours <= dags(airflow), "the examples to be parsed", seconds=300)
    errors = airflow.query("SELECT filename, stacktrace FROM import_error")
    assert [one for one in errors if _OURS.search(one[1])] == []
    run(airflow, "airflow dags unpause example_deploy_churn")
    run(airflow, "airflow dags trigger example_deploy_churn")
    ended = "SELECT state FROM dag_run WHERE dag_id = 'example_deploy_churn' AND state IN ('success', 'failed')"
    assert airflow.wait_for(lambda: airflow.query(ended), "the example to end", seconds=240)[0][0] == "success"


def test_no_log_tells_of_trouble_of_ours(airflow: Airflow) -> None:
    logs = [airflow.log, *(airflow.home / "logs").rglob("*.log")]
    assert any("fails" in str(path) for path in logs), "no log of the task"
    # The checkout's folder may be called as we are.
    texts = {path: path.read_text(errors="replace").replace(f"{CHECKOUT}/", "") for path in logs}
    found = [f"{path}\n{part}" for path, text in texts.items() for part in troubles(text)]
    assert not found, "\n\n".join(found)
    assert "shall not contain '_'" not in airflow.log.read_text(errors="replace")


def troubles(text: str) -> Iterator[str]:
    """What a log tells of errors in which our names stand: a line, with the traceback that follows it."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if _TROUBLE.search(line):
            part = [line, *takewhile(lambda one: not _NEW.match(one), lines[number + 1 :])]
            if _OURS.search("\n".join(part)):
                yield "\n".join(part)


def test_troubles_are_seen_where_our_names_stand_in_them() -> None:
    theirs = "[error] Failed to import plugin x\nTraceback (most recent call last):\nKeyError: 'y'\n"
    ours = "2026-11-30T12:00:00Z [error    ] Could not load provider module airflow_provider_ml_events for example DAGs"
    deep = (
        "Traceback (most recent call last):\n" + "  File a\n" * 50 + "  File ml_event_provider/plugins/ml_events.py\n"
    )
    assert list(troubles(f"[info] ml_event_provider is here\n{theirs}2026-11-30 [info] ml_event_provider\n")) == []
    assert list(troubles(f"{theirs}{ours}\n")) == [ours]
    assert len(list(troubles(deep))) == 1


def dags(airflow: Airflow) -> set[str]:
    return {row[0] for row in airflow.query("SELECT dag_id FROM dag WHERE NOT is_stale")}


def delivered(airflow: Airflow, dag_id: str) -> list[dict]:
    found = [one for one in airflow.deliveries() if one["event"]["data"].get("dag_id") == dag_id]
    return [one for one in found if one["state"] == "delivered"]
