"""What nobody wants any more does not go out: with its rule, or by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from ml_event_provider.dispatch.matching import match_batch
from ml_event_provider.dispatch.rules import Rules
from ml_event_provider.store import (
    cancelling,
    definitions,
    deliveries,
    events,
    leases,
    notifications,
    schema,
    settlements,
)
from ml_event_provider.store.engine import transaction, utc_now
from ml_event_provider.store.schema import DeliveryState
from tests.integration.recorded import EVENT, event

if TYPE_CHECKING:
    from tests.integration.conftest import Command, File

pytestmark = pytest.mark.usefixtures("airflow_db")

WAYS_ON = (DeliveryState.PENDING, DeliveryState.FAILED, DeliveryState.LEASED)
ENDS = (DeliveryState.DELIVERED, DeliveryState.DEAD, DeliveryState.MUTED, DeliveryState.OVERTAKEN)


def put_rule(name: str = "r", workspace: str = "default", **more: Any) -> None:
    with transaction() as connection:
        definition = {"name": name, "workspace": workspace, "on": [EVENT.type], "targets": ["inbox"], **more}
        definitions.put(connection, definition, managed_by="file")


def put_delivery(
    delivery_id: str,
    state: DeliveryState,
    *,
    rule: str = "r",
    workspace: str = "default",
    conn_id: str = "inbox",
    version: int = 1,
) -> str:
    """A delivery in a state, leased by ``them`` where it is leased."""
    with transaction() as connection:
        events.record(connection, [EVENT])
        (recorded,) = events.find(connection, EVENT.id)
        notifications.create(
            connection,
            [
                notifications.NewNotification(
                    id=f"n-{delivery_id}",
                    workspace=workspace,
                    rule=rule,
                    rule_version=version,
                    severity="error",
                    event_seq=recorded.seq,
                    deliveries=(notifications.NewDelivery(id=delivery_id, conn_id=conn_id),),
                )
            ],
            now=utc_now(),
        )
        values: dict[str, Any] = {"state": state, "code": "HTTP 503", "reason": "busy"}
        if state is DeliveryState.LEASED:
            values |= {"lease_owner": "them", "lease_until": utc_now() + timedelta(minutes=1)}
        connection.execute(update(schema.delivery).where(schema.delivery.c.id == delivery_id).values(values))
    return delivery_id


def states(*ids: str) -> list[str]:
    with transaction() as connection:
        return [deliveries.get(connection, one).state for one in ids]


def remove(name: str = "r", workspace: str = "default") -> None:
    with transaction() as connection:
        definitions.remove(connection, name, workspace=workspace, author="ada")


def settle(delivery_id: str, state: DeliveryState) -> None:
    """``them`` who leased it say how it ended."""
    now = utc_now()
    ended = settlements.Settlement(
        delivery_id=delivery_id,
        number=1,
        started_at=now,
        milliseconds=1,
        outcome="x",
        code="x",
        reason="x",
        state=state,
        next_attempt_at=now if state is DeliveryState.FAILED else None,
    )
    with transaction() as connection:
        settlements.settle(connection, [ended], owner="them", now=now)


@pytest.mark.parametrize("state", WAYS_ON)
def test_what_a_deleted_rule_had_still_to_send_is_called_off_and_says_why(state: DeliveryState) -> None:
    put_rule()
    put_delivery("d", state)
    remove()
    with transaction() as connection:
        one = deliveries.get(connection, "d")
        due = leases.due_lanes(connection, now=utc_now(), furthest=utc_now() + timedelta(days=1))
    assert (one.state, one.code, one.reason) == ("cancelled", "cancelled", "its rule was deleted by ada")
    assert one.finished_at is not None
    assert due == []


@pytest.mark.parametrize("state", ENDS)
def test_what_has_ended_stays_as_it_ended(state: DeliveryState) -> None:
    put_rule()
    put_delivery("d", state)
    remove()
    assert states("d") == [state]


def test_other_rules_and_what_was_sent_without_a_rule_go_on() -> None:
    put_rule()
    put_rule(workspace="fraud")
    put_rule("other")
    kept = [
        put_delivery("a", DeliveryState.FAILED, rule="other"),
        put_delivery("b", DeliveryState.FAILED, workspace="fraud"),
        put_delivery("c", DeliveryState.FAILED, version=0),
        put_delivery("e", DeliveryState.FAILED, rule="never was a rule"),
    ]
    remove()
    assert states(*kept) == ["failed"] * 4


def test_one_under_way_that_fails_stays_called_off_and_one_that_arrived_says_so() -> None:
    put_rule()
    ids = [put_delivery(name, DeliveryState.LEASED) for name in ("fails", "dies", "arrives")]
    remove()
    settle("fails", DeliveryState.FAILED)
    settle("dies", DeliveryState.DEAD)
    settle("arrives", DeliveryState.DELIVERED)
    assert states(*ids) == ["cancelled", "cancelled", "delivered"]


def test_what_another_dispatcher_made_of_a_rule_while_it_was_deleted_is_called_off_in_its_next_round() -> None:
    rules = Rules()
    put_rule()
    put_rule("other")
    events.record_now([event("e-2")])
    match_batch(rules, limit=10)
    remove()
    put_delivery("late", DeliveryState.PENDING)
    put_delivery("others", DeliveryState.PENDING, rule="other")
    events.record_now([event("e-3")])
    match_batch(rules, limit=10)
    assert states("late", "others") == ["cancelled", "pending"]


def test_a_rule_of_the_same_name_made_anew_sends_its_own() -> None:
    put_rule()
    put_delivery("old", DeliveryState.PENDING)
    remove()
    put_rule()
    put_delivery("new", DeliveryState.PENDING)
    match_batch(Rules(), limit=10)
    assert states("old", "new") == ["cancelled", "pending"]


def test_pruning_and_switching_a_pack_off_delete_rules_with_what_they_had_to_send(
    ml_events: Command, file: File
) -> None:
    put_rule()
    put_delivery("pruned", DeliveryState.FAILED)
    ml_events("rules", "apply", "--prune", "-f", file("rules.yaml", "{name: new, on: x.y, targets: [inbox]}"))
    assert ml_events("packs", "enable", "pipelines", "--set", "targets=inbox").code == 0
    with transaction() as connection:
        rule = next(one for one in definitions.find(connection) if one.managed_by.startswith("pack"))
    put_delivery("packed", DeliveryState.FAILED, rule=rule.name)
    assert ml_events("packs", "disable", "pipelines").code == 0
    assert states("pruned", "packed") == ["cancelled", "cancelled"]


# By hand


def test_deliveries_are_called_off_by_their_ids(ml_events: Command) -> None:
    for name in ("a", "b", "c"):
        put_delivery(name, DeliveryState.FAILED)
    said = ml_events("deliveries", "cancel", "a", "b", "a", "--by", "grace")
    assert said.out.startswith("2 cancelled; ")
    assert states("a", "b", "c") == ["cancelled", "cancelled", "failed"]
    assert "cancelled by grace" in ml_events("deliveries", "list", "--state", "cancelled").out


def test_all_but_one_that_can_be_called_off_is_none(ml_events: Command) -> None:
    put_delivery("a", DeliveryState.FAILED)
    put_delivery("b", DeliveryState.DELIVERED)
    said = ml_events("deliveries", "cancel", "a", "b")
    assert said.code == 1
    assert said.err == "error: delivery 'b' is delivered: only one that is still to go out can be cancelled\n"
    assert ml_events("deliveries", "cancel", "a", "nope").err.startswith("error: there is no delivery 'nope'")
    assert states("a") == ["failed"]


@pytest.mark.parametrize(
    ("options", "gone"),
    [
        (("--rule", "r"), {"a", "b", "c"}),
        (("--rule", "r", "--rule", "s"), {"a", "b", "c", "d"}),
        (("--target", "mail"), {"b"}),
        (("--rule", "r", "-w", "fraud"), {"c"}),
        (("-w", "default"), {"a", "b", "d"}),
        (("--rule", "nope"), set()),
    ],
)
def test_deliveries_are_called_off_by_kind(ml_events: Command, options: tuple[str, ...], gone: set[str]) -> None:
    put_delivery("a", DeliveryState.PENDING)
    put_delivery("b", DeliveryState.FAILED, conn_id="mail")
    put_delivery("c", DeliveryState.LEASED, workspace="fraud")
    put_delivery("d", DeliveryState.PENDING, rule="s")
    put_delivery("e", DeliveryState.DEAD)
    assert ml_events("deliveries", "cancel", *options).out.startswith(f"{len(gone)} cancelled")
    assert {name for name in "abcde" if states(name) == ["cancelled"]} == gone


@pytest.mark.parametrize("arguments", [(), ("a", "--rule", "r")])
def test_it_must_be_said_which(ml_events: Command, arguments: tuple[str, ...]) -> None:
    put_delivery("a", DeliveryState.FAILED)
    said = ml_events("deliveries", "cancel", *arguments)
    assert (said.code, said.err.startswith("error: name deliveries by their ids, or all of some kind")) == (1, True)
    assert states("a") == ["failed"]


@pytest.mark.parametrize("state", [DeliveryState.CANCELLED, DeliveryState.OVERTAKEN])
def test_what_was_called_off_or_overtaken_can_be_sent_all_the_same(ml_events: Command, state: DeliveryState) -> None:
    put_delivery("a", state)
    assert ml_events("deliveries", "retry", "a").code == 0
    assert states("a") == ["pending"]


def test_nothing_is_called_off_for_no_ids() -> None:
    put_delivery("a", DeliveryState.FAILED)
    with transaction() as connection:
        assert cancelling.cancel(connection, [], reason="x", now=utc_now()) == 0
    assert states("a") == ["failed"]


# Switched by hand


def rule_file(file: File, **more: Any) -> str:
    import json

    return file("rules.json", json.dumps({"name": "r", "on": "x.y", "targets": ["inbox"], **more}))


def enabled() -> bool:
    with transaction() as connection:
        return definitions.get(connection, "r", workspace="default").enabled


@pytest.mark.parametrize("written", [{}, {"enabled": True}])
def test_a_rule_switched_off_by_hand_stays_off_when_its_file_is_applied_again(
    ml_events: Command, file: File, written: dict[str, Any]
) -> None:
    path = rule_file(file, **written)
    ml_events("rules", "apply", "-f", path)
    said = ml_events("rules", "disable", "r").out
    assert said == "disabled default/r\nit came from a file: applying that again leaves it so\n"
    for _ in range(2):
        plan = ml_events("rules", "apply", "-f", path, "--plan").out
        assert "stays switched off, as by hand; `airflow ml-events rules enable r` ends that" in plan
        assert ml_events("rules", "apply", "-f", path).out.endswith("1 unchanged\n")
        assert not enabled()
    changed = rule_file(file, severity="error", **written)
    assert "changed" in ml_events("rules", "apply", "-f", changed).out
    assert not enabled()
    ml_events("rules", "enable", "r")
    assert "by hand" not in ml_events("rules", "apply", "-f", changed).out
    assert enabled()


def test_a_rule_switched_on_by_hand_stays_on_and_the_files_own_change_counts(ml_events: Command, file: File) -> None:
    ml_events("rules", "apply", "-f", rule_file(file, enabled=False))
    ml_events("rules", "enable", "r")
    assert "stays switched on" in ml_events("rules", "apply", "-f", rule_file(file, enabled=False)).out
    assert enabled()
    ml_events("rules", "apply", "-f", rule_file(file))
    assert enabled()
    ml_events("rules", "apply", "-f", rule_file(file, enabled=False))
    assert not enabled()
    ml_events("rules", "apply", "-f", rule_file(file))
    assert enabled()
