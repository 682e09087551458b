"""Each option has one function, one default and one meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.configuration import conf

from ml_event_provider import config
from ml_event_provider.get_provider_info import OPTIONS, get_provider_info, option_default

NOT_OURS = {"airflow_base_url"}
FUNCTIONS = {one.__name__ for one in config._OPTIONS} - NOT_OURS


def test_every_option_has_a_function_and_every_function_an_option() -> None:
    assert set(OPTIONS) == FUNCTIONS


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_function_names_its_option(name: str) -> None:
    assert f"[ml_events] {name}``" in str(getattr(config, name).__doc__)


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_airflow_knows_the_default(name: str) -> None:
    assert (conf.get("ml_events", name) or "") == option_default(name)


DEFAULTS: dict[str, Any] = {
    "workspace": "default",
    "include_dags": (),
    "exclude_dags": (),
    "include_tasks": (),
    "exclude_tasks": (),
    "capture_running": True,
    "conn_id": "ml_events_default",
    "hand_over_seconds": 3.0,
    "spool_megabytes": 200.0,
    "embedded_dispatcher": True,
    "poll_seconds": 0.5,
    "send_workers": 16,
    "lease_seconds": 60.0,
    "send_timeout_seconds": 15.0,
    "max_attempts": 34,
    "retry_base_seconds": 5.0,
    "retry_max_seconds": 3600.0,
    "reconcile_seconds": 10.0,
    "reconcile_grace_seconds": 15.0,
    "retention_days": 90.0,
    "max_body_bytes": 4 * 1024 * 1024,
    "allowed_hosts": (),
    "max_targets": 5,
    "max_contacts": 100,
    "max_rules": 1000,
    "notifications_per_hour": 0,
    "workspace_quotas": {},
    "max_hops": 3,
    "template_directories": (),
}


def test_defaults_as_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", "/srv/airflow")
    assert {name: getattr(config, name)() for name in DEFAULTS} == DEFAULTS
    assert config.spool_directory() == Path("/srv/airflow/ml_events/spool")
    assert set(DEFAULTS) | {"spool_directory"} == set(OPTIONS)


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_option_has_all_that_airflow_wants(name: str) -> None:
    option = OPTIONS[name]
    assert set(option) == {"description", "version_added", "type", "example", "default"}
    assert option["type"] in {"string", "boolean", "integer", "float"}
    assert option["description"].endswith(".")
    assert get_provider_info()["config"]["ml_events"]["options"][name] is option


def set_option(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> Any:
    monkeypatch.setenv(f"AIRFLOW__ML_EVENTS__{name.upper()}", value)
    config.forget()
    return getattr(config, name)()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("workspace", " fraud ", "fraud"),
        ("workspace", "", "default"),
        ("conn_id", "", "ml_events_default"),
        ("include_dags", "a, b ,,\nc", ("a", "b", "c")),
        ("capture_running", "off", False),
        ("capture_running", "YES", True),
        ("capture_running", "", False),
        ("send_workers", "4", 4),
        ("poll_seconds", "1e-1", 0.1),
        ("spool_directory", "~/spool", Path("~/spool").expanduser()),
        ("template_directories", "/a, ~/b", (Path("/a"), Path("~/b").expanduser())),
    ],
)
def test_values_are_read(monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: object) -> None:
    assert set_option(monkeypatch, name, text) == value


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("poll_seconds", "fast", r"\[ml_events\] poll_seconds = 'fast' is not a number"),
        ("send_workers", "", r"\[ml_events\] send_workers = '' is not a number"),
        ("capture_running", "maybe", r"\[ml_events\] capture_running = 'maybe' is not True or False"),
    ],
)
def test_bad_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        set_option(monkeypatch, name, text)


def test_value_is_read_once_until_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set_option(monkeypatch, "workspace", "a") == "a"
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__WORKSPACE", "b")
    assert config.workspace() == "a"
    config.forget()
    assert config.workspace() == "b"


@pytest.mark.parametrize(("base_url", "shown"), [("https://a.example.com/sub/", "https://a.example.com/sub"), ("", "")])
def test_base_url_has_no_closing_slash(monkeypatch: pytest.MonkeyPatch, base_url: str, shown: str) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    config.forget()
    assert config.airflow_base_url() == shown


def test_a_workspace_may_have_limits_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__WORKSPACE_QUOTAS", '{"fraud": {"max_targets": 20}}')
    config.forget()
    found = {name: config.quota("max_targets", name) for name in ("fraud", "other")}
    assert found == {"fraud": 20, "other": 5}
    assert config.quota("max_rules", "fraud") == 1000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no JSON"),
        ("[]", "write it like"),
        ('{"fraud": 5}', "'fraud' has 5"),
        ('{"fraud": {"targets": 5}}', "with any of max_targets"),
        ('{"fraud": {"max_targets": -1}}', "'fraud' has"),
        ('{"fraud": {"max_targets": "many"}}', "'fraud' has"),
    ],
)
def test_wrong_quotas_say_how_to_write_them(monkeypatch: pytest.MonkeyPatch, text: str, words: str) -> None:
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__WORKSPACE_QUOTAS", text)
    config.forget()
    with pytest.raises(ValueError, match=words):
        config.quota("max_targets", "fraud")
