"""Ids depend on what changed alone. The vectors are a promise: another id would record a change twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_event_provider.events.identity import NAMESPACE, change_id, dag_run_id, model_version_id, task_try_id

CREATED = datetime(2026, 11, 1, 12, 0, 0, 123_457, tzinfo=UTC)
TRY = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (change_id("a", None, "", 3), "6f128598-4cf9-5ed5-9fa1-55f6e711d094"),
        (change_id("é", "中", "😀"), "c6112f66-d4a8-5f03-8b85-95f5ccfb8a57"),
        (task_try_id("default", TRY, "failed"), "eab2f72b-eee7-5a91-868a-24bb8302eb43"),
        (task_try_id("default", TRY, "failed", 1), "274c3947-dd0a-5124-b4e5-817f2c0b23e9"),
        (
            dag_run_id("default", "train", "manual__1", CREATED, 0, "success"),
            "5f771780-deff-5a70-ba45-6d7059c2c9e7",
        ),
        (
            dag_run_id("default", "train", "manual__1", None, 2, "failed", 1),
            "d327ac59-f4cd-5327-a870-3e088f234110",
        ),
        (
            model_version_id("default", "mlflow", "fraud", "7", "tag.validation_status", None, "approved"),
            "c0da34b6-04be-5f12-b9ef-520425ce7bb4",
        ),
    ],
)
def test_ids_are_the_same_for_ever(made: str, expected: str) -> None:
    assert made == expected
    assert UUID(made).version == 5


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_an_id_is_a_uuid_of_version_5(text: str) -> None:
    assert change_id(text) == str(uuid5(NAMESPACE, f"{len(text)}:{text}"))


PARTS = st.lists(st.none() | st.text(st.sampled_from("a1:/-"), max_size=4), max_size=4)


@given(PARTS, PARTS)
def test_no_separator_in_a_part_makes_two_changes_one(one: list[str | None], other: list[str | None]) -> None:
    assert (change_id(*one) == change_id(*other)) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "bc"), ("ab", "c")),
        (("a/1:b",), ("a", "b")),
        ((None,), ("",)),
        ((None,), ("-",)),
        (("a",), ("a", None)),
        (("\ud800",), ("\\ud800",)),
        (("\ud800",), ("\udfff",)),
    ],
)
def test_what_looks_alike_differs(one: tuple[object, ...], other: tuple[object, ...]) -> None:
    assert change_id(*one) != change_id(*other)


def test_a_try_is_named_alike_however_its_uuid_is_written() -> None:
    written = [TRY, TRY.upper(), UUID(TRY), TRY.replace("-", ""), f"urn:uuid:{TRY}"]
    assert len({task_try_id("default", each, "failed") for each in written}) == 1


def test_a_run_is_named_alike_in_every_time_zone() -> None:
    there = CREATED.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert dag_run_id("w", "d", "r", there, 0, "failed") == dag_run_id("w", "d", "r", CREATED, 0, "failed")


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))
def test_runs_created_a_microsecond_apart_differ(created: datetime) -> None:
    later = created + timedelta(microseconds=1)
    assert dag_run_id("w", "d", "r", created, 0, "failed") != dag_run_id("w", "d", "r", later, 0, "failed")


def test_each_part_of_a_change_counts() -> None:
    base = ("w", "d", "r", CREATED, 0, "failed", 0)
    others = ("x", "x", "x", None, 1, "success", 1)
    ids = [dag_run_id(*base)] + [
        dag_run_id(*(*base[:index], other, *base[index + 1 :]))  # type: ignore[arg-type]
        for index, other in enumerate(others)
    ]
    assert len(set(ids)) == len(ids)
    tried = [
        task_try_id("w", TRY, "failed"),
        task_try_id("x", TRY, "failed"),
        task_try_id("w", TRY, "success"),
    ]
    tried += [task_try_id("w", TRY[:-1] + "0", "failed"), task_try_id("w", TRY, "failed", 1)]
    assert len(set(tried)) == len(tried)


def test_a_naive_creation_time_is_refused_because_its_moment_depends_on_the_machine() -> None:
    with pytest.raises(TypeError, match="offset-naive"):
        dag_run_id("w", "d", "r", CREATED.replace(tzinfo=None), 0, "failed")
