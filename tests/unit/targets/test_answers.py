from __future__ import annotations

import pytest

from ml_event_provider.targets import Outcome
from ml_event_provider.targets.answers import LONGEST_WAIT, outcome_of, retry_after
from ml_event_provider.targets.network import Answer

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


def now() -> float:
    return NOW


@pytest.mark.parametrize(
    ("statuses", "outcome"),
    [
        ([200, 201, 202, 204, 299], Outcome.DELIVERED),
        ([408, 425, 429, 500, 501, 502, 503, 504, 507, 599], Outcome.RETRY),
        ([300, 301, 302, 303, 304, 307, 308], Outcome.REFUSED),
        ([400, 401, 403, 404, 405, 409, 410, 413, 415, 418, 422, 451], Outcome.REFUSED),
        ([101, 199, 600, 999], None),
    ],
)
def test_one_table_says_what_a_status_means(statuses: list[int], outcome: Outcome | None) -> None:
    for status in statuses:
        result = outcome_of(Answer(status=status, body=b"words of the remote"), now)
        assert result.code == f"HTTP {status}"
        if outcome is None:
            assert result.outcome is not Outcome.DELIVERED
        else:
            assert (status, result.outcome) == (status, outcome)
        if not 300 <= status < 400:
            assert result.reason == "words of the remote"


def test_a_status_without_words_is_told_by_its_phrase() -> None:
    assert outcome_of(Answer(status=410), now).reason == "Gone"


def test_a_redirect_tells_where_it_leads_without_its_path() -> None:
    answer = Answer(status=307, headers={"location": "http://user:pw@169.254.169.254/latest/secret?x=y"})
    reason = outcome_of(answer, now).reason
    assert "http://169.254.169.254" in reason
    assert "secret" not in reason
    assert "pw" not in reason


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 120 ", 120.0),
        ("0", 0.0),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
        ("Tuesday, 14-Nov-23 22:14:20 GMT", 60.0),
        ("Tue Nov 14 22:14:20 2023", 60.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
        ("99999999999", LONGEST_WAIT),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_WAIT),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("Tue, 99 Nov 2023 22:14:20 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str, seconds: float | None) -> None:
    assert retry_after(Answer(status=429, headers={"retry-after": header}), now) == seconds


@pytest.mark.parametrize("status", [429, 503])
def test_the_wait_that_the_remote_asks_for_is_in_the_result(status: int) -> None:
    result = outcome_of(Answer(status=status, headers={"retry-after": "9"}), now)
    assert result.retry_after == 9.0
