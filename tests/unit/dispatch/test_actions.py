"""An action that cannot be carried out as it is written is refused with words, before Airflow is asked."""

from __future__ import annotations

from typing import Any

import pytest

from ml_event_provider.dispatch.actions import MAX_VALUES_BYTES, perform
from ml_event_provider.events.hops import run_id_of
from ml_event_provider.targets import Outcome
from tests.peers.samples import sample_event

DELIVERY = "0b6f2a53-6f0f-5a55-9c0a-1c9b2a1d4e5f"


def refused(action: dict[str, Any], **data: Any) -> tuple[str, str]:
    result = perform(
        action, event=sample_event(data=data), delivery_id=DELIVERY, rule="deploy", workspace="default", hops=1
    )
    assert result.outcome is Outcome.REFUSED
    return result.code, result.reason


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model": "{{ data.modle }}"}, "{what}.model was not used: there is no 'modle'"),
        ({"a": [{"b": "{{ oops"}]}, "{what}.a[0].b was not used: line 1: unexpected end of template"),
        ({"a": "{{ data.__class__ }}"}, "{what}.a was not used: line 1: reads '__class__' of dict"),
        ({"a": "x" * MAX_VALUES_BYTES}, "{what} has 65,545 bytes; 65,536 are allowed"),
    ],
    ids=["missing field", "syntax", "forbidden", "too large"],
)
@pytest.mark.parametrize(
    ("kind", "what", "form"),
    [("trigger_dag", "conf", {"dag_id": "deploy"}), ("asset_event", "extra", {"uri": "s3://models/churn"})],
)
def test_a_template_that_fails_is_refused_and_named(
    kind: str, what: str, form: dict[str, Any], values: dict[str, Any], words: str
) -> None:
    code, reason = refused({kind: {**form, what: values}}, model="churn")
    assert code == "template"
    assert reason.startswith(words.format(what=what))


@pytest.mark.parametrize("action", [{}, {"delete_dag": {"dag_id": "x"}}, {"trigger_dag": None}])
def test_an_unknown_action_is_refused(action: dict[str, Any]) -> None:
    assert refused(action)[0] == "no such action"


def test_a_runs_id_fits_airflows_column_and_pattern() -> None:
    run_id = run_id_of(1, DELIVERY)
    assert run_id == f"ml_events__hop1__{DELIVERY}"
    assert len(run_id) <= 250
