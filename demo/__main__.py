"""``python -m demo``: exit code 0 if each expected notification arrived, verified; 1 if not, saying which."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from demo.screen import Screen
from demo.story import Story, UnexpectedError
from demo.world import HOME, ROOT, World, world

if TYPE_CHECKING:
    from pathlib import Path


def main() -> int:
    """Tell the story; ``KEEP=1`` leaves all running until Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    # All talk is on the loopback address, whatever proxy stands between this machine and others.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
    screen = Screen()
    screen.line("ML events for Airflow: models, data and pipelines tell what happens to them", "bold")
    screen.section("Start MLflow, an inbox and Airflow")
    screen.say(f"Databases, logs and messages are in {_short(HOME)}/; Airflow's log: airflow/airflow.log there.")
    try:
        with world(screen) as parts:
            try:
                return _tell(parts, screen)
            finally:
                # What was started must be ended, whatever else is pressed.
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                parts.inbox.save(HOME / "inbox")
                screen.line()
                screen.say("Stopping Airflow, MLflow and the inbox …", "dim")
    except KeyboardInterrupt:
        screen.say("Interrupted; all that was started is stopped.", "yellow")
        return 130
    except (RuntimeError, OSError) as error:
        screen.framed("FAILED", str(error), most=60)
        return 1


def _tell(parts: World, screen: Screen) -> int:
    story = Story(parts, screen)
    try:
        problems = story.tell()
    except (TimeoutError, UnexpectedError) as error:
        problems = [str(error).splitlines()[0], *story.problems()]
    story.summarize()
    screen.section("Result")
    for problem in problems:
        screen.say(f"✗ {problem}", "red")
    if problems:
        screen.framed(f"errors in {_short(parts.airflow.log)}", _errors(parts.airflow.last_lines(5000)))
    else:
        screen.say("✓ Each expected notification arrived once, rightly signed or logged in; no other came.", "green")
    screen.say(f"All messages as they came are in {_short(HOME)}/inbox/.")
    if os.environ.get("KEEP", "") not in {"", "0"}:
        _keep(parts, screen)
    else:
        screen.say("`KEEP=1 make demo` leaves all running, to look around in Airflow's and MLflow's pages.")
    return 1 if problems else 0


def _keep(parts: World, screen: Screen) -> None:
    screen.line()
    screen.line(f"  Airflow  {parts.airflow.url}", "bold")
    screen.line(f"  MLflow   {parts.mlflow}", "bold")
    screen.line(f"  Inbox    {parts.inbox.http.url()}, mail on port {parts.inbox.mail.port}", "bold")
    screen.say("All runs on until Ctrl-C.")
    with suppress(KeyboardInterrupt):
        threading.Event().wait()


def _errors(log: str) -> str:
    """The last lines that tell of something wrong."""
    lines = [line for line in log.splitlines() if re.search(r"\[(error|critical)|Error\b|Traceback", line)]
    return "\n".join(lines[-12:]) or "none"


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
