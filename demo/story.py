"""The story: a model is trained, approved and deployed; data drifts; a night goes wrong."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from demo import expected
from demo.expected import CHANNELS, Notification
from demo.feed import Feed
from lab.mlflow import approve, newest_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from demo.screen import Screen
    from demo.world import World

#: How long one step may take on a slow machine, in seconds.
PATIENCE = 180
#: The name of the runs that the story triggers.
RUN = "demo"
#: Which message of each channel is shown at the end: one that holds this.
_SHOWN = {
    "dingtalk": "aggregate_sessions",
    "slack": "Drift",
    "email": "load_orders",
    "webhook": "com.example.model.deployed",
}


class UnexpectedError(Exception):
    """A notification came that is no part of the story."""


class Story:
    """Tells the story on a running world and follows what comes of it."""

    def __init__(self, world: World, screen: Screen) -> None:
        self._world = world
        self._airflow = world.airflow
        self._screen = screen
        self._feed = Feed(world.airflow, screen)
        self._due: list[Notification] = []

    def tell(self) -> list[str]:
        """From the first training to the last message; return what went otherwise than expected."""
        self._train()
        self._approve()
        self._drift_and_a_bad_night()
        self._settle()
        return self.problems()

    def problems(self) -> list[str]:
        """What is missing in the inbox by now, or there but should not be."""
        letters = self._world.inbox.letters()
        self._feed.poll()
        return expected.problems(self._feed.told, letters, self._due)

    def _train(self) -> None:
        self._screen.section("A model is trained and waits for its approval")
        self._screen.say(
            "Trigger dags/train_churn.py. Nobody approves its model at first: the run misses its deadline."
        )
        run = self._airflow.trigger("example_train_churn", run_id=RUN)
        self._until(lambda: self._waits("example_train_churn", run), "ModelApprovalSensor to wait in the triggerer")
        version = newest_version(self._world.mlflow, "churn")
        metrics = ", ".join(f"{tag['key']} {tag['value']}" for tag in version["tags"])
        self._screen.say(
            f"Version {version['version']} of the model churn is registered in MLflow ({metrics});"
            " the sensor is deferred: no worker slot is taken."
        )
        self._arrive(expected.APPROVAL_MISSING)

    def _approve(self) -> None:
        self._screen.section("Somebody approves it in MLflow, and it is deployed")
        self._screen.say(
            "Set the tag validation_status = approved over MLflow's REST API, as its page does."
            " The next request to the inbox will be answered HTTP 503."
        )
        self._world.inbox.fail_next(503)
        approve(self._world.mlflow, "churn", "1", by="grace@example.com")
        self._arrive(expected.APPROVED)

    def _drift_and_a_bad_night(self) -> None:
        self._screen.section("Data drifts, and a night goes wrong")
        self._screen.say(
            "Trigger dags/check_drift.py and dags/nightly_features.py: one task fails, one is retried,"
            " one is killed with SIGKILL, which Airflow itself tells nobody of."
        )
        self._airflow.trigger("example_check_drift", run_id=RUN)
        self._airflow.trigger("example_nightly_features", run_id=RUN)
        self._arrive([*expected.DRIFT, *expected.BAD_NIGHT])

    def _settle(self) -> None:
        """Nothing more may come: wait until nothing is under way, and a little longer."""
        quiet_since = time.monotonic()

        def quiet() -> bool:
            nonlocal quiet_since
            if any(one.under_way for one in self._feed.told):
                quiet_since = time.monotonic()
            return time.monotonic() - quiet_since > 5

        self._until(quiet, "the dispatcher to come to rest")

    def _waits(self, dag_id: str, run_id: str) -> bool:
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/wait_for_approval"
        return bool(self._airflow.api("GET", path)["state"] == "deferred")

    def _arrive(self, notifications: Iterable[Notification]) -> None:
        """Follow until the inbox has these."""
        self._due.extend(notifications)

        def complete() -> bool:
            got = expected.arrived(self._feed.told, self._world.inbox.letters())
            return not Counter(self._due) - Counter(got)

        self._until(complete, "notifications to arrive")

    def _until(self, done: Callable[[], bool], what: str) -> None:
        """Follow until ``done()``; what nobody expected ends the story at once."""

        def look() -> bool:
            if wrong := expected.surplus(self._feed.told, self._world.inbox.letters()):
                raise UnexpectedError(f"ended early, for nobody expected {wrong[0]}: {self._reason(wrong[0])}")
            return done()

        self._feed.until(look, what, seconds=PATIENCE)

    def _reason(self, notification: Notification) -> str:
        """What the task of an unexpected event raised, where there is such a thing."""
        reasons = [
            f"{raised.get('type', '')} {raised.get('message', '')}"
            for one in self._feed.told
            if (one.event["type"], one.about) == notification[:2] and (raised := one.event["data"].get("exception"))
        ]
        return reasons[0] if reasons else "see its task's log"

    def summarize(self) -> None:
        """Everything that was sent as one table, and one message of each channel as it came in."""
        letters = self._world.inbox.letters()
        self._screen.section("What was sent")
        counts = Counter(
            (told.event["type"], delivery.rule, delivery.conn_id)
            for told in self._feed.told
            for delivery in told.deliveries
            if delivery.state == "delivered"
        )
        rows = [(*key, count) for key, count in sorted(counts.items())]
        self._screen.table(("event type", "rule", "target", "messages"), rows)
        self._screen.line()
        silent = sum(not told.deliveries for told in self._feed.told)
        self._screen.say(
            f"{len(self._feed.told)} events were recorded; no rule asked for {silent} of them."
            f" {sum(counts.values())} messages were delivered in"
            f" {sum(one.attempts for told in self._feed.told for one in told.deliveries)} attempts."
        )
        self._screen.section("What people and systems got: one message of each channel")
        for conn_id, channel in CHANNELS.items():
            accepted = [one for one in letters if one.channel == channel and one.accepted]
            # Those that hold the word first.
            for letter in sorted(accepted, key=lambda one: _SHOWN[channel] not in one.text)[:1]:
                self._screen.framed(f"{conn_id} ({channel})", letter.text, most=45)
