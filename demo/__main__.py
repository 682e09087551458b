"""``python -m demo``: exit code 0 if each expected notification arrived, verified; 1 if not, saying which."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from typing import Any

from demo.screen import Screen
from demo.story import Story
from demo.world import HOME, ROOT, World, world


def main() -> int:
    """Tell the story; ``KEEP=1`` leaves all running until Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    screen = Screen()
    screen.line("ML events for Airflow: models, data and pipelines that tell what happens to them", "bold")
    screen.section("Start MLflow, an inbox and Airflow")
    screen.say(f"Logs, database and messages are in {_short(HOME)}/; Airflow writes to {_short(HOME)}/airflow/airflow.log")
    try:
        with world(screen) as parts:
            try:
                return _tell(parts, screen)
            finally:
                parts.inbox.save(HOME / "inbox")
                screen.line()
                screen.say("Stopping Airflow, MLflow and the inbox …", "dim")
                # What was started must be ended, whatever else is pressed.
                signal.signal(signal.SIGINT, signal.SIG_IGN)
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
    except TimeoutError as error:
        problems = [str(error), *story.problems()]
    story.summarize()
    screen.section("Result")
    if problems:
        for problem in problems:
            screen.say(f"✗ {problem}", "red")
        screen.framed(f"errors in {_short(parts.airflow.log)}", _errors(parts.airflow.last_lines(5000)), most=60)
    else:
        screen.say("✓ Each expected notification arrived once, with a valid signature or login, and no other.", "green")
    if os.environ.get("KEEP", "") not in {"", "0"}:
        _keep(parts, screen)
    else:
        screen.say(f"Messages as they came: {_short(HOME)}/inbox/. `KEEP=1 make demo` leaves all running, to look around.")
    return 1 if problems else 0


def _errors(log: str) -> str:
    """The last lines that tell of something wrong."""
    lines = [line for line in log.splitlines() if re.search(r"\[(error|critical)|Error\b|Traceback", line)]
    return "\n".join(lines[-25:]) or "none"


def _keep(parts: World, screen: Screen) -> None:
    screen.say(f"Airflow  {parts.airflow.url}", "bold")
    screen.say(f"MLflow   {parts.mlflow}", "bold")
    screen.say(f"Inbox    {parts.inbox.http.url()}, mail on port {parts.inbox.mail.port}", "bold")
    screen.say("All runs on until Ctrl-C.")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        pass


def _short(path: Any) -> str:
    return str(path.relative_to(ROOT))


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
