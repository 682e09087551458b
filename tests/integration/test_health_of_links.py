"""Without an address of its own Airflow cannot be linked to, and health says so."""

from __future__ import annotations

import pytest

from ml_event_provider.store.health import health

pytestmark = pytest.mark.usefixtures("airflow_db")


def told() -> list[str]:
    return [notice for notice in health()["notices"] if "base_url" in notice]


def test_a_missing_base_url_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__API__BASE_URL", raising=False)
    (notice,) = told()
    assert notice.startswith("[api] base_url is not set, so messages have no links to runs and logs: set it to")
    assert health()["problems"] == [problem for problem in health()["problems"] if "base_url" not in problem]


@pytest.mark.parametrize("base", ["/airflow", "airflow.example.com", "https://"])
def test_a_base_url_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, base: str) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base)
    (notice,) = told()
    assert "is no http(s) address" in notice


def test_a_base_url_is_no_news(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/sub")
    assert told() == []
