"""Rules have a version each; whoever watches the fingerprint sees every change."""

from __future__ import annotations

from typing import Any

import pytest

from ml_event_provider.exceptions import NotFound
from ml_event_provider.store import definitions
from ml_event_provider.store.engine import transaction

pytestmark = pytest.mark.usefixtures("airflow_db")


def definition(name: str = "失败", **more: Any) -> dict[str, Any]:
    return {"workspace": "fraud", "name": name, "event_pattern": {"type": [{"prefix": "airflow."}]}, **more}


def put(document: dict[str, Any], managed_by: str = "files") -> str:
    with transaction() as connection:
        return definitions.put(connection, document, managed_by=managed_by)


def get(name: str = "失败", workspace: str = "fraud") -> definitions.Stored:
    with transaction() as connection:
        return definitions.get(connection, name, workspace=workspace)


def fingerprint() -> Any:
    with transaction() as connection:
        return definitions.fingerprint(connection)


def test_each_change_is_a_version_and_the_same_again_is_none() -> None:
    assert put(definition(severity="error")) == "created"
    assert put(dict(reversed(definition(severity="error").items()))) == "unchanged"
    assert put(definition(severity="info")) == "changed"
    assert put(definition(severity="info"), managed_by="api") == "changed"
    stored = get()
    assert (stored.version, stored.enabled, stored.managed_by) == (3, True, "api")
    assert stored.definition == definition(severity="info")


def test_workspaces_are_apart() -> None:
    put(definition())
    assert put({**definition(), "workspace": "churn"}) == "created"
    with transaction() as connection:
        assert [one.workspace for one in definitions.find(connection)] == ["churn", "fraud"]
        assert [one.name for one in definitions.find(connection, workspace="fraud")] == ["失败"]
        definitions.remove(connection, "失败", workspace="churn")
        assert [one.workspace for one in definitions.find(connection)] == ["fraud"]


def test_switching_off_and_on_is_a_version_each() -> None:
    put(definition())
    with transaction() as connection:
        definitions.set_enabled(connection, "失败", workspace="fraud", enabled=False)
    assert (get().enabled, get().version, get().definition["enabled"]) == (False, 2, False)
    with transaction() as connection:
        definitions.set_enabled(connection, "失败", workspace="fraud", enabled=True)
    assert (get().enabled, get().version) == (True, 3)


def test_fingerprint_follows_every_change_and_nothing_else() -> None:
    seen = [fingerprint()]
    put(definition("a"))
    seen.append(fingerprint())
    put(definition("b"))
    seen.append(fingerprint())
    put(definition("a", severity="info"))
    seen.append(fingerprint())
    with transaction() as connection:
        definitions.set_enabled(connection, "b", workspace="fraud", enabled=False)
    seen.append(fingerprint())
    with transaction() as connection:
        definitions.remove(connection, "b", workspace="fraud")
        definitions.put(connection, definition("c", severity="info"), managed_by="files")
    seen.append(fingerprint())
    assert len(set(seen)) == len(seen)
    put(definition("a", severity="info"))
    assert fingerprint() == seen[-1]


@pytest.mark.parametrize("act", ["get", "remove", "set_enabled"])
def test_unknown_rule_is_not_found(act: str) -> None:
    put({**definition(), "workspace": "churn"})
    more = {"enabled": False} if act == "set_enabled" else {}
    with transaction() as connection, pytest.raises(NotFound, match="workspace 'fraud' has no rule '失败'"):
        getattr(definitions, act)(connection, "失败", workspace="fraud", **more)


def test_large_definition_is_kept() -> None:
    large = definition(event_pattern={"id": [f"失败-{n}" for n in range(20_000)]})
    put(large)
    assert get().definition == large


@pytest.mark.parametrize("kind", [kind for kind in definitions.Kind if kind != definitions.Kind.RULE])
def test_whatever_is_defined_can_be_rolled_back(kind: definitions.Kind) -> None:
    first, second = ({"workspace": "fraud", "name": "one", "description": text} for text in ("first", "second"))
    with transaction() as connection:
        for each in (first, second):
            definitions.put(connection, each, managed_by="files", kind=kind)
        assert definitions.roll_back(connection, "one", 1, workspace="fraud", kind=kind) == "changed"
        stored = definitions.get(connection, "one", workspace="fraud", kind=kind)
        assert (stored.version, stored.definition) == (3, first)
        assert [one.kind for one in definitions.find(connection, kind)] == [kind]
        assert definitions.find(connection) == []
        with pytest.raises(NotFound, match=f"{kind.replace('_', ' ')} 'one' has no version 9"):
            definitions.roll_back(connection, "one", 9, workspace="fraud", kind=kind)
