"""Silences from the command line and over HTTP: what they say, what they mute, when they end."""

from __future__ import annotations

import getpass
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from ml_event_provider.dispatch import silences
from ml_event_provider.dispatch.matching import match_batch
from ml_event_provider.dispatch.rules import Rules
from ml_event_provider.rules.silences import Silence
from ml_event_provider.store import definitions, deliveries, events
from ml_event_provider.store.definitions import Kind
from ml_event_provider.store.engine import transaction, utc_now
from tests.integration.callers import user
from tests.integration.recorded import event

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi.testclient import TestClient

    from tests.integration.conftest import Command

pytestmark = pytest.mark.usefixtures("airflow_db")

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
ADD = ("silences", "add", "--reason", "Wartung 维护")
#: A pattern of 900 alternatives.
MUCH = {"$and": [{"$or": [{"data": {name: [number]}} for number in range(30)]} for name in ("x", "y")]}


def stored() -> dict[str, definitions.Stored]:
    with transaction() as connection:
        return {f"{one.workspace}/{one.name}": one for one in definitions.find(connection, Kind.SILENCE)}


def put(name: str = "quiet", **more: Any) -> Silence:
    """A silence that is active unless ``more`` says otherwise."""
    definition = {
        "name": name,
        "workspace": "default",
        "reason": "deployment",
        "author": "ada",
        "everything": True,
        "ends_at": (utc_now() + timedelta(hours=1)).isoformat(),
        **more,
    }
    definition = {name: value for name, value in definition.items() if value is not None}
    with transaction() as connection:
        definitions.put(connection, definition, managed_by="file", kind=Kind.SILENCE)
    return Silence.model_validate(definition)


def ago(**time: float) -> str:
    return (utc_now() - timedelta(**time)).isoformat()


def ahead(**time: float) -> str:
    return (utc_now() + timedelta(**time)).isoformat()


def states_of_deliveries() -> dict[str, str]:
    """The state of each delivery by its event's DAG, after matching."""
    match_batch(Rules(), limit=100)
    with transaction() as connection:
        return {one.recorded.event.data["dag_id"]: one.state for one in deliveries.latest(connection) if one.recorded}


# How a silence stands

WEEKLY = {"schedule": "0 2 * * sun", "duration": "3h", "timezone": "Europe/Berlin"}


@pytest.mark.parametrize(
    ("more", "state", "begins", "ends"),
    [
        ({"ends_at": "2026-11-22T13:00:00Z"}, "active", None, "2026-11-22T13:00:00+00:00"),
        ({"ends_at": "2026-11-22T12:00:00Z"}, "ended", None, "2026-11-22T12:00:00+00:00"),
        (
            {"starts_at": "2026-11-22T12:00:00Z", "ends_at": "2026-11-22T13:00:00Z"},
            "active",
            "2026-11-22T12:00:00+00:00",
            "2026-11-22T13:00:00+00:00",
        ),
        (
            {"starts_at": "2026-11-22T12:00:01Z", "ends_at": "2026-11-22T13:00:00Z"},
            "upcoming",
            "2026-11-22T12:00:01+00:00",
            "2026-11-22T13:00:00+00:00",
        ),
        # That day is a Sunday; at noon its window is over.
        ({"recurring": WEEKLY}, "upcoming", "2026-11-29T01:00:00+00:00", "2026-11-29T04:00:00+00:00"),
        ({"recurring": {**WEEKLY, "duration": "12h"}}, "active", None, "2026-11-22T13:00:00+00:00"),
        (
            {"recurring": {**WEEKLY, "duration": "12h"}, "ends_at": "2026-11-22T12:30:00Z"},
            "active",
            None,
            "2026-11-22T12:30:00+00:00",
        ),
        (
            {"recurring": WEEKLY, "ends_at": "2026-11-25T00:00:00Z"},
            "ended",
            None,
            "2026-11-25T00:00:00+00:00",
        ),
        (
            {"recurring": WEEKLY, "starts_at": "2026-12-01T00:00:00Z", "ends_at": "2026-12-06T02:00:00Z"},
            "upcoming",
            "2026-12-06T01:00:00+00:00",
            "2026-12-06T02:00:00+00:00",
        ),
    ],
)
def test_how_a_silence_stands(more: dict[str, Any], state: str, begins: str | None, ends: str) -> None:
    silence = Silence.model_validate({"name": "s", "reason": "r", "author": "a", "everything": True, **more})
    standing = silences.standing(silence, NOON)
    assert standing.state == state
    assert standing.begins == (None if begins is None else datetime.fromisoformat(begins))
    assert standing.ends == datetime.fromisoformat(ends)
    assert silence.covers(NOON) == (state == "active")


# Adding


def test_a_silence_mutes_what_it_names_and_nothing_else(ml_events: Command) -> None:
    with transaction() as connection:
        rule = {"name": "failures", "workspace": "default", "on": ["task failed"], "targets": ["inbox"]}
        definitions.put(connection, rule, managed_by="file")
    said = ml_events(*ADD, "--dag", "train_*", "--for", "2h")
    assert said.code == 0, said.err
    events.record_now(
        [
            event(f"e-{dag_id}", type="airflow.task_instance.failed", data={"dag_id": dag_id})
            for dag_id in ("train_a", "serve")
        ]
    )
    assert states_of_deliveries() == {"train_a": "muted", "serve": "pending"}


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (
            ["--everything", "--until", "2099-01-01T01:00:00+01:00"],
            {"everything": True, "ends_at": "2099-01-01T00:00:00Z"},
        ),
        (
            ["--rule", "a", "b *", "--rule", "c", "--until", "2099-01-01T00:00:00Z"],
            {"rules": ["a", "b *", "c"], "ends_at": "2099-01-01T00:00:00Z"},
        ),
        (
            ["--on", "task failed", "ml.*", "--dag", "train", "--from", "2098-12-31T00:00:00Z", "--for", "1d"],
            {
                "on": ["task failed", "ml.*"],
                "dags": ["train"],
                "starts_at": "2098-12-31T00:00:00Z",
                "ends_at": "2099-01-01T00:00:00Z",
            },
        ),
        (
            [
                *("--pattern", '{"data": {"model": ["churn"]}}'),
                *("--cron", "0 2 * * 0", "--for", "3h", "--timezone", "Europe/Berlin"),
            ],
            {
                "event_pattern": {"data": {"model": ["churn"]}},
                "recurring": {"schedule": "0 2 * * 0", "duration": "3h", "timezone": "Europe/Berlin"},
            },
        ),
        (
            ["--everything", "--cron", "@daily", "--for", "1h", "--until", "2099-01-01T00:00:00Z"],
            {
                "everything": True,
                "recurring": {"schedule": "@daily", "duration": "1h"},
                "ends_at": "2099-01-01T00:00:00Z",
            },
        ),
    ],
)
def test_a_silence_is_kept_as_the_options_say(ml_events: Command, options: list[str], kept: dict[str, Any]) -> None:
    said = ml_events(*ADD, "--name", "静", "-w", "fraud", "--by", "Ada", *options)
    assert said.code == 0, said.err
    assert said.out.startswith("added fraud/静: ")
    (one,) = stored().values()
    head = {"name": "静", "workspace": "fraud", "reason": "Wartung 维护", "author": "Ada"}
    assert one.definition == {**head, **kept}
    assert (one.managed_by, one.version) == ("cli", 1)


def test_without_a_name_it_gets_one_and_the_author_is_the_user_of_the_operating_system(ml_events: Command) -> None:
    said = ml_events(*ADD, "--everything", "--for", "90s")
    (place, one), *_ = stored().items()
    assert said.out.startswith(f"added {place}: active until ")
    assert place.startswith("default/silence-")
    assert one.definition["author"] == getpass.getuser()
    ends = datetime.fromisoformat(one.definition["ends_at"])
    assert timedelta(0) < ends - one.updated_at + timedelta(seconds=5) < timedelta(seconds=100)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--everything"], "say how long"),
        (["--everything", "--for", "2h", "--until", "2099-01-01T00:00:00Z"], "leave one out"),
        (["--everything", "--for", "2 hours"], "--for: '2 hours' is no duration"),
        (["--everything", "--for", "0s"], "--for: '0s' is 0"),
        (["--everything", "--until", "2099-01-01T00:00:00"], "--until: the time zone is missing"),
        (["--everything", "--until", "2020-01-01T00:00:00Z"], "--until 2020-01-01T00:00:00+00:00 is over"),
        (["--everything", "--cron", "0 2 * * 0"], "say with --for how long"),
        (["--everything", "--for", "1h", "--timezone", "UTC"], "--timezone is that of --cron"),
        (["--everything", "--for", "1h", "--cron", "61 * * * *"], "recurring.schedule: "),
        (["--everything", "--for", "1h", "--cron", "@daily", "--timezone", "Berlin"], "did you mean 'Europe/Berlin'"),
        (["--for", "1h"], "needs events, things or 'rules' that it mutes"),
        (["--everything", "--dag", "train", "--for", "1h"], "'everything: true' and none of them"),
        (["--pattern", "{", "--for", "1h"], "--pattern: not valid JSON"),
        (["--pattern", '{"x": ["\\ud800"]}', "--for", "1h"], "--pattern: '\\ud800' holds half a surrogate pair"),
        (["--pattern", '{"x": ["\\u0000"]}', "--for", "1h"], "--pattern: '\\x00' holds the character NUL"),
        (
            ["--pattern", json.dumps(MUCH), "--on", "x.y", "model version approved", "--for", "1h"],
            "its parts cannot be used together: ",
        ),
        (["--everything", "--until", "9999-12-31T23:59:59Z"], "--until: 9999-12-31T23:59:59+00:00 is not in the years"),
        (["--pattern", '{"data": {"x": [{"praefix": "a"}]}}', "--for", "1h"], "event_pattern"),
        (["--on", "airflow.nothing", "--for", "1h"], "on: 'airflow.nothing'"),
        (["--everything", "--for", "1h", "--name", "a\nb"], "name: holds a control character"),
    ],
)
def test_what_cannot_be_a_silence_is_said(ml_events: Command, options: list[str], problem: str) -> None:
    said = ml_events(*ADD, *options)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("error: ")
    assert problem in said.err
    assert stored() == {}


def test_a_name_is_free_again_once_its_silence_has_ended(ml_events: Command) -> None:
    options = (*ADD, "--name", "deploy", "--everything", "--for", "1h")
    assert ml_events(*options).code == 0
    said = ml_events(*options)
    assert said.code == 1
    assert "has a silence 'deploy' that has not ended" in said.err
    assert ml_events("silences", "end", "deploy").out == "ended default/deploy\n"
    assert ml_events(*options).code == 0
    assert [stored()[one].version for one in stored()] == [3]


# Ending and deleting


@pytest.mark.parametrize("recurring", [None, {"schedule": "* * * * *", "duration": "1h"}])
def test_ending_keeps_the_silence_and_its_history(ml_events: Command, recurring: Any) -> None:
    silence = put(recurring=recurring, ends_at=None if recurring else ahead(hours=1))
    assert ml_events("silences", "end", "quiet", "--by", "ben").code == 0
    one = stored()["default/quiet"]
    ended = Silence.model_validate(one.definition)
    assert silence.covers(utc_now())
    assert not ended.covers(utc_now())
    assert ended.model_copy(update={"ends_at": None}) == silence.model_copy(update={"ends_at": None})
    assert one.managed_by == "file"
    with transaction() as connection:
        versions = definitions.history(connection, "quiet", workspace="default", kind=Kind.SILENCE)
    assert [(one.change, one.author) for one in versions] == [("created", ""), ("ended", "ben")]
    assert ml_events("silences", "end", "quiet").out == "default/quiet had ended before\n"
    assert stored()["default/quiet"].version == 2


def test_one_that_has_not_begun_is_to_be_deleted_rather_than_ended(ml_events: Command) -> None:
    put(starts_at=ahead(minutes=30))
    said = ml_events("silences", "end", "quiet")
    assert said.code == 1
    assert "delete it" in said.err
    assert ml_events("silences", "delete", "quiet", "--by", "ben").out == "deleted default/quiet\n"
    assert stored() == {}
    with transaction() as connection:
        versions = definitions.history(connection, "quiet", workspace="default", kind=Kind.SILENCE)
    assert [(one.change, one.author) for one in versions] == [("created", ""), ("deleted", "ben")]


@pytest.mark.parametrize("action", ["end", "delete"])
def test_a_silence_that_does_not_exist_is_said(ml_events: Command, action: str) -> None:
    put(workspace="fraud")
    said = ml_events("silences", action, "quiet")
    assert said.code == 1
    assert said.err == "error: workspace 'default' has no silence 'quiet'; see `airflow ml-events silences list`\n"
    assert ml_events("silences", action, "quiet", "-w", "fraud").code == 0


# Listing and testing


def test_the_list_says_how_silences_stand(ml_events: Command) -> None:
    assert ml_events("silences", "list", "--all").out == "no silences\n"
    put("over", ends_at=ago(minutes=1))
    assert "--all" in ml_events("silences", "list").out
    put("later", starts_at=ahead(minutes=30), everything=None, dags=["train_*"], rules=["a", "b"])
    put("sundays", ends_at=None, recurring=WEEKLY, workspace="fraud", event_pattern={"x": [1]}, everything=None)
    put("present", ends_at="2099-01-01T00:00:00Z")
    lines = ml_events("silences", "list").out.splitlines()
    assert lines[0].split() == ["WORKSPACE", "NAME", "STATE", "BEGINS", "ENDS", "MUTES", "REASON", "AUTHOR"]
    assert [line.split()[:2] for line in lines[1:]] == [
        ["default", "later"],
        ["default", "present"],
        ["fraud", "sundays"],
    ]
    assert "upcoming" in lines[1]
    assert "dags: train_*, rules: a b" in lines[1]
    assert " ".join(lines[2].split()) == "default present active - 2099-01-01 00:00:00 everything deployment ada"
    found = ml_events("silences", "list", "--all", "-w", "default", "-o", "json").json
    assert [(one["name"], one["state"]) for one in found] == [
        ("later", "upcoming"),
        ("over", "ended"),
        ("present", "active"),
    ]


def test_one_that_cannot_be_read_does_not_hide_the_others(ml_events: Command, caplog: pytest.LogCaptureFixture) -> None:
    put("good")
    with transaction() as connection:
        definitions.put(connection, {"name": "bad", "workspace": "default"}, managed_by="file", kind=Kind.SILENCE)
    assert [one["name"] for one in ml_events("silences", "list", "-o", "json").json] == ["good"]
    assert "Silence bad of workspace default cannot be used" in caplog.text


def test_one_that_cannot_be_shown_does_not_hide_the_others(
    ml_events: Command, client: TestClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("good")
    put("worse")

    def standing(silence: Silence, moment: datetime) -> silences.Standing:
        return known(silence, moment + timedelta(days=366 * 8000) * (silence.name == "worse"))

    known = silences.standing
    monkeypatch.setattr(silences, "standing", standing)
    assert [one["name"] for one in ml_events("silences", "list", "-o", "json").json] == ["good"]
    assert [one["name"] for one in client.get(PATH, headers=user("OP")).json()["silences"]] == ["good"]
    assert caplog.text.count("How silence worse of workspace default stands cannot be told") == 2


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        ({"everything": None, "dags": ["train_*"]}, 0, "quiet: mutes the event's notifications\n    active until "),
        ({"everything": None, "dags": ["serve"]}, 1, 'data.dag_id: wants "serve", found train_churn'),
        ({"everything": None, "rules": ["failures", "x*"]}, 0, "notifications of the rules failures, x*"),
        (
            {"ends_at": "2020-01-01T00:00:00Z"},
            1,
            "quiet: would mute the event's notifications\n    ended until 2020-01-01",
        ),
        (
            {"ends_at": None, "starts_at": "2098-01-01T00:00:00Z", "recurring": WEEKLY},
            1,
            "upcoming from 2098-01-05 01:00",
        ),
    ],
)
def test_a_silence_is_tested_on_an_event(
    ml_events: Command, tmp_path: Path, more: dict[str, Any], code: int, says: str
) -> None:
    put(**more)
    path = tmp_path / "event.json"
    path.write_text(
        json.dumps(event("e-1", type="airflow.task_instance.failed", data={"dag_id": "train_churn"}).to_dict())
    )
    said = ml_events("silences", "test", "quiet", "--event", str(path))
    assert says in said.out
    assert said.code == code


# HTTP

BODY = {"reason": "deployment", "everything": True, "ends_at": "2099-01-01T00:00:00Z"}
PATH = "/ml-events/v1/silences"


def test_silences_are_added_seen_ended_and_deleted_over_http(client: TestClient) -> None:
    answer = client.post(PATH, json={**BODY, "name": "a/b 静?", "author": "mallory"}, headers=user("OP"))
    assert (answer.status_code, answer.json()["state"], answer.json()["author"]) == (201, "active", "op")
    (shown,) = client.get(PATH, headers=user("VIEWER")).json()["silences"]
    assert shown == {
        **BODY,
        "name": "a/b 静?",
        "workspace": "default",
        "author": "op",
        "state": "active",
        "begins": None,
        "ends": "2099-01-01T00:00:00Z",
    }
    one = f"{PATH}/{quote('a/b 静?', safe='')}"
    answer = client.post(f"{one}/end", headers=user("OP"))
    assert answer.json() == {"workspace": "default", "name": "a/b 静?", "ended": True}
    assert client.post(f"{one}/end", headers=user("OP")).json()["ended"] is False
    assert client.get(PATH, headers=user("OP")).json() == {"silences": []}
    (shown,) = client.get(f"{PATH}?ended=true", headers=user("OP")).json()["silences"]
    assert shown["state"] == "ended"
    assert client.delete(one, headers=user("OP")).status_code == 204
    assert client.delete(one, headers=user("OP")).status_code == 404
    assert stored() == {}


def test_each_workspace_has_its_own(client: TestClient) -> None:
    for workspace in ("default", "fraud"):
        answer = client.post(PATH, json={**BODY, "name": "s", "workspace": workspace}, headers=user("OP"))
        assert answer.status_code == 201
    (shown,) = client.get(f"{PATH}?workspace=fraud", headers=user("OP")).json()["silences"]
    assert (shown["workspace"], shown["name"]) == ("fraud", "s")
    assert client.delete(f"{PATH}/s?workspace=fraud", headers=user("OP")).status_code == 204
    assert set(stored()) == {"default/s"}


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"[]", "the request cannot be used"),
        (b"{", "not valid JSON"),
        (b"{}", "reason: is missing"),
        (json.dumps({**BODY, "everything": False}).encode(), "needs events, things or 'rules'"),
        (json.dumps({**BODY, "endsat": 1}).encode(), "did you mean 'ends_at'?"),
        (json.dumps({**BODY, "ends_at": "tomorrow"}).encode(), "ends_at: 'tomorrow' is no moment"),
        (
            json.dumps({**BODY, "starts_at": "9999-12-31T23:59:59Z", "recurring": WEEKLY, "ends_at": None}).encode(),
            "starts_at: 9999-12-31T23:59:59+00:00 is not in the years 1900 to 9900 in UTC",
        ),
        (
            json.dumps({**BODY, "everything": False, "event_pattern": MUCH, "pipelines": ["p"]}).encode(),
            "its parts cannot be used together: $or, ",
        ),
        (b'{"reason": "r", "event_pattern": {"x": ["\\ud800"]}}', "holds half a surrogate pair"),
    ],
)
def test_a_bad_silence_is_refused_with_words(client: TestClient, body: bytes, problem: str) -> None:
    answer = client.post(PATH, content=body, headers={**user("OP"), "content-type": "application/json"})
    assert answer.status_code == 400
    assert problem in answer.json()["detail"]
    assert stored() == {}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "?workspace=%00"),
        ("POST", "/%00/end"),
        ("POST", "/a%2Fb/end?workspace=%00"),
        ("DELETE", "/a%00b"),
        ("DELETE", "/quiet?workspace=%00"),
    ],
)
def test_nul_in_a_url_is_refused(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, f"{PATH}{path}", headers=user("OP"))
    assert (answer.status_code, answer.json()) == (400, {"detail": "the URL holds the character NUL (%00): remove it"})


@pytest.mark.parametrize("schedule", ["0 0 1 1 *", "0 0 29 2 *", "* * * * *"])
def test_one_that_begins_in_the_last_year_is_listed(client: TestClient, schedule: str) -> None:
    recurring = {"schedule": schedule, "duration": "31d", "timezone": "America/New_York"}
    body = {"reason": "r", "everything": True, "starts_at": "9900-12-31T23:59:59Z", "recurring": recurring}
    assert client.post(PATH, json=body, headers=user("OP")).status_code == 201
    assert [one["state"] for one in client.get(PATH, headers=user("OP")).json()["silences"]] == ["upcoming"]


def test_one_that_is_too_much_does_not_stop_the_dispatcher(caplog: pytest.LogCaptureFixture) -> None:
    """Stored by whatever does not read it, it is as if it were not there."""
    with transaction() as connection:
        rule = {"name": "failures", "workspace": "default", "on": ["task failed"], "targets": ["inbox"]}
        definitions.put(connection, rule, managed_by="file")
        silence = {"name": "much", "workspace": "default", "reason": "r", "author": "a", "ends_at": ahead(hours=1)}
        definitions.put(
            connection,
            {**silence, "event_pattern": MUCH, "pipelines": ["p"]},
            managed_by="api",
            kind=Kind.SILENCE,
        )
    events.record_now([event("e-1", type="airflow.task_instance.failed", data={"dag_id": "serve"})])
    assert states_of_deliveries() == {"serve": "pending"}
    assert "silence much of workspace default cannot be used" in caplog.text


def test_a_name_that_is_taken_is_refused(client: TestClient) -> None:
    put("quiet")
    answer = client.post(PATH, json={**BODY, "name": "quiet"}, headers=user("OP"))
    assert answer.status_code == 400
    assert "has not ended" in answer.json()["detail"]


@pytest.mark.parametrize(("role", "status"), [("VIEWER", 403), ("USER", 403), ("OP", 201), ("ADMIN", 201)])
def test_changing_silences_takes_the_right_to_edit_connections(client: TestClient, role: str, status: int) -> None:
    put("quiet")
    before = stored()
    answer = client.post(PATH, json={**BODY, "name": "new"}, headers=user(role))
    assert answer.status_code == status
    if status == 403:
        assert client.post(f"{PATH}/quiet/end", headers=user(role)).status_code == 403
        assert client.delete(f"{PATH}/quiet", headers=user(role)).status_code == 403
        assert stored() == before
