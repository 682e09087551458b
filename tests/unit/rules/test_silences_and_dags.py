"""Which DAGs a silence names, so that it is shown to those who may see them."""

from __future__ import annotations

from typing import Any

import pytest

from ml_event_provider.rules.silences import Silence


def named(**wants: Any) -> set[str]:
    return Silence(name="s", reason="r", author="ada", ends_at="2099-01-01T00:00:00Z", **wants).dags_named()


@pytest.mark.parametrize(
    ("wants", "expected"),
    [
        ({"everything": True}, set()),
        ({"rules": ["train*"]}, set()),
        ({"models": ["churn"]}, set()),
        ({"on": ["task failed"]}, set()),
        ({"dags": ["a", "b"]}, {"a", "b"}),
        ({"dags": ["a*"]}, {'{"wildcard": "a*"}'}),
        ({"pipelines": ["p"]}, {"p"}),
        ({"event_pattern": {"data": {"dag_id": ["a", {"prefix": "b"}]}}}, {"a", '{"prefix": "b"}'}),
        ({"event_pattern": {"$or": [{"data": {"dag_id": ["a"]}}, {"data": {"source_dag_id": ["b"]}}]}}, {"a", "b"}),
        ({"event_pattern": {"subject": ["dags/a/runs/x", "models/churn"]}}, {"a"}),
        ({"event_pattern": {"subject": [{"prefix": "dags/a"}]}}, {'{"prefix": "dags/a"}'}),
    ],
)
def test_a_silence_names_the_dags_whose_events_it_asks_for(wants: dict[str, Any], expected: set[str]) -> None:
    assert named(**wants) == expected
