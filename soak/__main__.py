"""``python -m soak [--events N] [--rate N] [--seed N] [--calm]``: see the package."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lab.airflow import Airflow
from lab.ports import free_port
from lab.postgres import crash, postgres
from soak.chaos import Chaos
from soak.dispatchers import CLOCKS, Forker
from soak.judge import judge, receipts, rows
from soak.receiver import BAD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from soak.judge import Verdict

GOOD: Final = [f"good_{number}" for number in range(1, 13)]
#: How long all that can arrive may take to arrive when the feed has ended, in seconds.
DRAIN_SECONDS: Final = 240.0
SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ENDLESS: Final = "{% for a in range(9999) %}{% for b in range(9999) %}{{ a * b }}{% endfor %}{% endfor %}"


def rules_of(target: str, folder: Path) -> list[dict[str, object]]:
    """What is told to a target: each plain event, and each failure until its end."""
    plain: dict[str, object] = {"name": f"{target}: happened", "on": ["soak.happened"], "targets": [target]}
    if target == GOOD[0]:
        # A template that never ends: told with the built-in one.
        plain["template"] = "endless.j2"
    alert: dict[str, object] = {
        "name": f"{target}: failed",
        "on": ["soak.failed"],
        "by": ["data.job"],
        "resolve": {"on": ["soak.recovered"]},
        "targets": [target],
    }
    return [plain, alert]


@contextlib.contextmanager
def receiver(book: Path) -> Iterator[int]:
    """The receiver's port, while the block lasts."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "soak.receiver", str(port), str(book)])
    try:
        yield port
    finally:
        process.kill()
        process.wait()


def run(folder: Path, targets: list[str], arguments: argparse.Namespace) -> tuple[Verdict, dict[str, int]]:
    """One run; what was found, and which mishaps there were."""
    book = folder / "book.jsonl"
    book.touch()
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(postgres(folder / "postgresql"))
        port = stack.enter_context(receiver(book))
        airflow = Airflow(folder / "airflow", database=url, options=_options(targets, port, folder))
        airflow.cli("db", "migrate")
        _apply_rules(airflow, targets, folder)
        forkers = {
            clock: Forker(airflow.environment, offset, folder / "dispatchers.log") for clock, offset in CLOCKS.items()
        }
        for one in forkers.values():
            stack.callback(one.close)
        seconds = arguments.events / arguments.rate
        chaos = Chaos(
            forkers,
            lambda: crash(folder / "postgresql"),
            seconds=seconds,
            seed=arguments.seed,
            calm=arguments.calm,
        )
        stack.callback(chaos.stop)
        chaos.start()
        feed = [sys.executable, "-m", "soak.feed", str(arguments.events), str(arguments.rate)]
        with (folder / "feed.log").open("w") as log:
            subprocess.run(feed, env=airflow.environment, check=True, stdout=log, stderr=log)
        chaos.calm_down()
        expected = _expected(targets, arguments.events)
        _wait(url, set(GOOD), sum(expected.values()))
        if chaos.failed is not None:
            raise chaos.failed
        # The store first: what goes on to the bad ones meanwhile must not seem delivered and never arrived.
        stored = rows(url)
        verdict = judge(receipts(book), stored, good=set(GOOD), expected=expected)
        return verdict, dict(chaos.happened)


def _options(targets: list[str], port: int, folder: Path) -> dict[str, str]:
    unused = free_port()
    templates = folder / "templates"
    templates.mkdir()
    (templates / "endless.j2").write_text(ENDLESS)

    def connection(target: str) -> str:
        to = unused if target == "bad_closed" else port
        return json.dumps(
            {"conn_type": "mleventswebhook", "host": f"http://127.0.0.1:{to}/{target}", "password": SECRET}
        )

    return {
        **{f"AIRFLOW_CONN_{target.upper()}": connection(target) for target in targets},
        "AIRFLOW__ML_EVENTS__TEMPLATE_DIRECTORIES": str(templates),
        "AIRFLOW__ML_EVENTS__RECONCILE_SECONDS": "0",
        "AIRFLOW__ML_EVENTS__SEND_TIMEOUT_SECONDS": "5",
        "AIRFLOW__ML_EVENTS__LEASE_SECONDS": "15",
        "AIRFLOW__ML_EVENTS__RETRY_BASE_SECONDS": "1",
        "_AIRFLOW_PROCESS_CONTEXT": "server",
    }


def _apply_rules(airflow: Airflow, targets: list[str], folder: Path) -> None:
    made = [rule for target in targets for rule in rules_of(target, folder)]
    file = folder / "rules.json"
    file.write_text(json.dumps(made))
    airflow.cli("ml-events", "rules", "apply", "-f", str(file))
    _break_one_rule(airflow.database)


def _break_one_rule(url: str) -> None:
    """A rule that no version of ours can read, as a newer one may have left it behind."""
    from sqlalchemy import create_engine, text

    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO ml_event_definition (kind, workspace, name, version, enabled, managed_by, definition,"
                " created_at, updated_at) VALUES ('rule', 'default', 'broken', 1, true, 'file',"
                """ '{"name": "broken", "on": 7}', now(), now())"""
            )
        )
    engine.dispose()


def _expected(targets: list[str], events: int) -> dict[str, int]:
    rounds, rest = divmod(events, 5)
    if rest:
        raise SystemExit("--events must be a multiple of 5")
    expected: dict[str, int] = {}
    for target in targets:
        expected |= {f"{target}: happened": 3 * rounds, f"{target}: failed": 2 * rounds}
    return expected


def _wait(url: str, good: set[str], count: int) -> None:
    """Until all is matched, and nothing to a good target is under way."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < deadline:
        stored = rows(url)
        if len(stored) >= count and not any(
            one.conn_id in good and one.state in {"pending", "failed", "leased"} for one in stored
        ):
            return
        time.sleep(1)


def _told(name: str, verdict: Verdict, happened: dict[str, int]) -> None:
    print(f"\n{name}")
    print(f"  deliveries {verdict.deliveries:,}; arrived {verdict.received:,}, {verdict.again:,} of them again")
    print(f"  states: {', '.join(f'{state} {count:,}' for state, count in sorted(verdict.states.items()))}")
    print(f"  mishaps: {', '.join(f'{what} {count}' for what, count in sorted(happened.items()))}")
    print(f"  to good targets: p50 {verdict.percentile(0.5):.2f} s, p99 {verdict.percentile(0.99):.2f} s")
    for broken in verdict.broken[:20]:
        print(f"  BROKEN: {broken}")
    if len(verdict.broken) > 20:
        print(f"  … and {len(verdict.broken) - 20} more")


def main() -> int:
    """Run, print, and exit 1 if a promise was broken."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=5000, help="20 targets hear of each: 5000 are 100,000 deliveries")
    parser.add_argument("--rate", type=float, default=8.0, help="events a second")
    parser.add_argument("--seed", type=int, default=20261130)
    parser.add_argument("--calm", action="store_true", help="no mishaps")
    parser.add_argument("--keep", type=Path, help="keep logs, book and database in this folder")
    arguments = parser.parse_args()
    bad = [f"bad_{way}" for way in BAD]
    print(
        f"Soak: {arguments.events:,} events at {arguments.rate:g}/s, {len(GOOD)} good and {len(bad)} bad targets,"
        f" seed {arguments.seed}, {os.cpu_count()} cores"
    )
    p99: list[float] = []
    broken = 0
    with contextlib.ExitStack() as stack:
        folder = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ml-events-soak-")))
        for name, targets in (("good targets alone", GOOD), ("with the bad ones", [*GOOD, *bad])):
            part = folder / name.split()[0]
            part.mkdir(parents=True)
            verdict, happened = run(part, targets, arguments)
            _told(name, verdict, happened)
            p99.append(verdict.percentile(0.99))
            broken += len(verdict.broken)
    print(f"\np99 to good targets with the bad ones: {p99[1] / p99[0]:.2f} × that without; {broken} promises broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
